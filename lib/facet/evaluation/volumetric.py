"""The volumetric systems' error: meshes without correspondence against a truth with one.

    NME = (1/N) Σ ‖x_k − y_k‖ / d   (Volumetric eq. 2), d the outer 3D interocular distance

over N vertices y_k of the true face region. The review does not say which point x_k of a mesh from a volume
belongs to y_k. As in the original paper, ICP tells: the truth is moved rigidly onto the prediction
(point-to-point, from where it lies), x_k is the prediction's closest surface point to the moved y_k, and then
the motion is forgotten: the distance is measured where things were predicted (`correspondence`), and for the
shape alone after undoing the motion (`correspondence-aligned`). Every system of a table goes through this,
also those that have a correspondence of their own. Closest points flatter a mesh that has surfaces
everywhere, the aligned ones most: such a number means nothing of a network that has not learnt yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import pandas as pd
import torch
from torch import Tensor

from facet.evaluation.distances import landmark_error
from facet.evaluation.icp import icp, open3d_scene
from facet.evaluation.normalisers import interocular, landmark_box
from facet.evaluation.protocol import Surface
from facet.evaluation.statistics import TIDY_COLUMNS
from facet.landmarks68 import NOSE_TIP

RADIUS = 85.0  # mm about the nose tip of the mean face: brows to chin, cheek to cheek
REGION = 19_000  # vertices of it that are scored, as many as in the paper
ICP_POINTS, ICP_ITERATIONS = 2000, 20


def face_region(model, *, count: int = REGION) -> Tensor:
    """(K,) vertices that are scored: `count` of those near the nose tip, drawn once for all."""
    tip = model.mean[model.landmarks[NOSE_TIP]]
    near = torch.linalg.vector_norm(model.mean - tip, dim=1) < RADIUS
    inside = (near & (model.weight > 0)).nonzero()[:, 0]
    drawn = torch.randperm(len(inside), generator=torch.Generator().manual_seed(0))[:count]
    return inside[drawn.sort().values.to(inside.device)]


def correspondences(
    truth: Tensor,
    vertices: Tensor,
    triangles: Tensor,
    *,
    points: int = ICP_POINTS,
    iterations: int = ICP_ITERATIONS,
) -> tuple[Tensor, Tensor]:
    """For every true point its point on the predicted surface, as it is and with the motion undone.

    Args:
        truth: (K, 3) points of the true face region.
        vertices: (V, 3) predicted, same frame; triangles: (F, 3).
        points: how many of the true ones drive ICP; iterations: of ICP.

    Returns:
        (K, 3) where predicted, and (K, 3) moved back onto the truth by the inverse of the motion.
    """
    truth, vertices = truth.double(), vertices.double()
    chosen = torch.randperm(len(truth), generator=torch.Generator().manual_seed(0))[:points]
    motion = icp(truth[chosen], vertices, iterations=iterations, scale=False)  # a scale would shrink faces
    found = closest_points(motion.apply(truth[None])[0], vertices, triangles)
    return found, motion.inverse().apply(found[None])[0]


def closest_points(points: Tensor, vertices: Tensor, triangles: Tensor) -> Tensor:
    """(N, 3) nearest points of a mesh's surface.

    By open3d where it is installed; else the nearest of the vertices, the edges' middles and the centroids,
    off by less than a third of an edge.
    """
    try:
        scene, query, centre = open3d_scene(points, vertices, triangles)
    except ImportError:
        from scipy.spatial import cKDTree

        corners = vertices[triangles]
        middles = (corners + corners.roll(1, dims=1)).flatten(0, 1) / 2
        cloud = torch.cat((vertices, middles, corners.mean(dim=1)))
        return cloud[torch.from_numpy(cKDTree(cloud.numpy()).query(points.numpy())[1])]
    found = scene.compute_closest_points(query)["points"].numpy()
    return torch.from_numpy(found).to(points) + centre


def evaluate_surfaces(
    surfaces: Iterable[Surface | None],
    samples: Iterable[Mapping],
    model,
    *,
    name: str,
    variant: str = "",
    test_set: str,
    keep: Sequence[str] = (),
) -> pd.DataFrame:
    """Tidy rows of `correspondence`, `correspondence-aligned`, `landmarks` and `found`, as `evaluate`'s.

    Args:
        surfaces: one a sample, in pixels of its crop; None where nothing was found. Such a sample has no
            error, so the errors' means flatter who finds less: `found` (100 or 0 %) stands beside them.
        samples, model, name, variant, test_set, keep: as there.

    Returns:
        One row a sample and measure, with `sample` and `keep`; normalisers mm and interocular (per cent), for
        landmarks landmark-box and interocular.
    """
    region, rows = face_region(model), []
    for number, (surface, sample) in enumerate(zip(surfaces, samples, strict=True)):
        about = {key: sample[key] for key in ("identity", "yaw", "pitch", *keep)}
        about |= {"model": name, "variant": variant, "test_set": test_set, "sample": number}
        for (metric, kind), value in _score(surface, sample, region, model.landmarks).items():
            rows.append(about | {"metric": metric, "normaliser": kind, "value": value})
    return pd.DataFrame(rows, columns=[*TIDY_COLUMNS, "sample", *keep])


def _score(surface: Surface | None, sample: Mapping, region: Tensor, marks: Tensor) -> dict:
    if surface is None:
        return {("found", "%"): 0.0}
    truth = sample["vertices"].double()
    eyes, scale = interocular(truth[None, marks])[0], float(sample["scale"])
    placed, aligned = correspondences(truth[region], surface.vertices, surface.triangles)
    scores = {("found", "%"): 100.0}
    for metric, found in (("correspondence", placed), ("correspondence-aligned", aligned)):
        error = torch.linalg.vector_norm(found - truth[region], dim=1).mean()
        scores |= {(metric, "mm"): float(error / scale), (metric, "interocular"): float(100 * error / eyes)}
    if surface.landmarks is not None:
        error = landmark_error(surface.landmarks[None].double(), truth[None, marks]).mean()
        box = landmark_box(truth[None, marks])[0]
        scores |= {
            ("landmarks", "landmark-box"): float(100 * error / box),
            ("landmarks", "interocular"): float(100 * error / eyes),
        }
    return scores
