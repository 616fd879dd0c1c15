"""The error that one can measure against a scan: iterative closest points, then closest-point distances.

A scan has no correspondence with the prediction. As the papers do, the prediction is moved onto the scan by
its landmarks, then by ICP, and each vertex is compared with the nearest point of the scan's surface. The
exact error (distances.py) is the truth; this one flatters, because a vertex may slide along the surface.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from facet.geometry import Similarity, similarity

# Least spread of the moved points, share of the target's. The least-squares scale of noise is too small, step
# after step, until all points meet in one.
LEAST_SPREAD = 0.1


@dataclass(frozen=True)
class IcpError:
    """Closest-point distances in the truth's unit after alignment.

    Attributes:
        forward: (V,) predicted vertex → true surface.
        backward: (W,) true vertex → predicted surface.
        alignment: the similarity (batch 1) that was applied to the prediction.
        aligned: (V, 3) the prediction after it.
    """

    forward: Tensor
    backward: Tensor
    alignment: Similarity
    aligned: Tensor


def icp_error(
    predicted: Tensor,
    truth: Tensor,
    *,
    predicted_triangles: Tensor,
    true_triangles: Tensor,
    predicted_landmarks: Tensor | None = None,
    true_landmarks: Tensor | None = None,
    points: int = 5000,
    iterations: int = 30,
    scale: bool = True,
) -> IcpError:
    """Align one prediction to one scan and measure both ways.

    Args:
        predicted: (V, 3), any topology, same frame as the truth.
        truth: (W, 3).
        predicted_triangles: (F, 3).
        true_triangles: (G, 3).
        predicted_landmarks: (L, 3) for the start (Umeyama); None starts where the prediction lies.
        true_landmarks: (L, 3), given together with the predicted ones.
        points: how many predicted vertices drive the iterations (a fixed choice: same mesh, same vertices).
        iterations: point-to-point steps.
        scale: whether the steps also fit the scale.
    """
    predicted, truth = predicted.double(), truth.double()
    if (predicted_landmarks is None) != (true_landmarks is None):
        raise ValueError("icp_error needs the landmarks of both surfaces or of neither")
    start = None
    if predicted_landmarks is not None:
        start = similarity(predicted_landmarks.double()[None], true_landmarks.double()[None], scale=scale)
    chosen = torch.randperm(len(predicted), generator=torch.Generator().manual_seed(0))[:points]
    alignment = icp(predicted[chosen.sort().values], truth, start, iterations=iterations, scale=scale)
    aligned = alignment.apply(predicted[None])[0]
    return IcpError(
        forward=surface_distance(aligned, truth, true_triangles),
        backward=surface_distance(truth, aligned, predicted_triangles),
        alignment=alignment,
        aligned=aligned,
    )


def icp(
    source: Tensor,
    target: Tensor,
    start: Similarity | None = None,
    *,
    iterations: int = 30,
    scale: bool = True,
) -> Similarity:
    """Point-to-point ICP (Besl & McKay 1992) with scale.

    What is mostly noise would shrink to a point this way; then the start is returned.

    Args:
        source: (N, 3) moved points.
        target: (M, 3) fixed points.
        start: similarity (batch 1) to start from; None is the identity.
        iterations: steps; stops early when no correspondence changes.
        scale: False keeps the start's scale.

    Returns:
        The similarity (batch 1) from the original source to the target.
    """
    from scipy.spatial import cKDTree

    source, target = source.double(), target.double()
    tree = cKDTree(target.numpy())
    current = start
    nearest: np.ndarray | None = None
    for _ in range(iterations):
        moved = source if current is None else current.apply(source[None])[0]
        _, found = tree.query(moved.numpy())
        if nearest is not None and np.array_equal(found, nearest):
            break
        nearest = found
        matched = target[torch.from_numpy(found)]
        if scale:
            # Fitted from the original points: the same minimum as step by step, without rounding adding up.
            current = similarity(source[None], matched[None])
        else:
            current = _then(current, similarity(moved[None], matched[None], scale=False))
    collapsed = current is not None and current.scale * _spread(source) < LEAST_SPREAD * _spread(target)
    if current is None or collapsed:
        return start if start is not None else _identity()
    return current


def _spread(points: Tensor) -> Tensor:
    return (points - points.mean(dim=0)).square().sum(dim=1).mean().sqrt()


def surface_distance(points: Tensor, vertices: Tensor, triangles: Tensor) -> Tensor:
    """(N,) distance of each point to the nearest point of a triangle mesh, in the vertices' unit.

    Uses open3d's ray-casting scene where it is installed, else :func:`surface_distance_search`.
    """
    try:
        scene, query, _ = open3d_scene(points, vertices, triangles)
    except ImportError:
        return surface_distance_search(points, vertices, triangles)
    return torch.from_numpy(scene.compute_distance(query).numpy()).to(points.dtype)


def open3d_scene(points: Tensor, vertices: Tensor, triangles: Tensor):
    """A mesh as open3d's ray-casting scene, points to ask it about, and the (3,) centre both are taken from.

    Raises:
        ImportError: open3d is not installed.
    """
    import open3d

    centre = vertices[torch.unique(triangles)].mean(dim=0)  # single precision inside: keep numbers small
    scene = open3d.t.geometry.RaycastingScene(nthreads=1)
    scene.add_triangles((vertices - centre).numpy().astype(np.float32), triangles.numpy().astype(np.uint32))
    return scene, open3d.core.Tensor((points - centre).numpy().astype(np.float32)), centre


def surface_distance_search(
    points: Tensor, vertices: Tensor, triangles: Tensor, *, candidates: int = 12
) -> Tensor:
    """(N,) as :func:`surface_distance`, through the triangles whose centroids are nearest.

    Exact where the closest triangle is among the `candidates` of nearest centroid, which holds on meshes of
    even triangle size; otherwise a little too large.
    """
    from scipy.spatial import cKDTree

    corners = vertices[triangles]  # (F, 3, 3)
    tree = cKDTree(corners.mean(dim=1).numpy())
    _, near = tree.query(points.numpy(), k=min(candidates, len(triangles)))
    near = torch.from_numpy(np.atleast_2d(near.T).T)  # (N, K)
    best = points.new_full((len(points),), float("inf"))
    for column in near.unbind(dim=1):
        best = torch.minimum(best, point_triangle_distance(points, corners[column]))
    return best


def point_triangle_distance(points: Tensor, corners: Tensor) -> Tensor:
    """(N,) distance of point i to triangle i.

    The closest point of a triangle is the foot of the perpendicular where that lies inside, else it lies on
    one of the three edges (Ericson, Real-Time Collision Detection, 5.1.5).

    Args:
        points: (N, 3).
        corners: (N, 3, 3).
    """
    a, b, c = corners.unbind(dim=1)
    normal = torch.linalg.cross(b - a, c - a)
    squared = normal.square().sum(-1)
    inside = squared > 0
    for start, end in ((a, b), (b, c), (c, a)):
        inside &= (torch.linalg.cross(end - start, points - start) * normal).sum(-1) >= 0
    plane = ((points - a) * normal).sum(-1).abs() / squared.clamp_min(1e-300).sqrt()
    edges = torch.stack([_segment_distance(points, s, e) for s, e in ((a, b), (b, c), (c, a))]).amin(dim=0)
    return torch.where(inside, plane, edges)


def _segment_distance(points: Tensor, start: Tensor, end: Tensor) -> Tensor:
    along = end - start
    share = ((points - start) * along).sum(-1) / along.square().sum(-1).clamp_min(1e-300)
    return torch.linalg.vector_norm(points - start - share.clamp(0, 1)[:, None] * along, dim=-1)


def _identity() -> Similarity:
    eye = torch.eye(3, dtype=torch.float64)[None]
    return Similarity(scale=torch.ones(1).double(), rotation=eye, translation=torch.zeros(1, 3).double())


def _then(first: Similarity | None, second: Similarity) -> Similarity:
    """The similarity that applies `first` and then `second`."""
    if first is None:
        return second
    return Similarity(
        scale=second.scale * first.scale,
        rotation=second.rotation @ first.rotation,
        translation=second.apply(first.translation[:, None])[:, 0],
    )
