"""One protocol for every system and test set: predict in batches, score, one tidy row a sample and measure.

Measures (`metric`) and what they are divided by (`normaliser`); a value over "mm" is in millimetres, every
other one in per cent of its normaliser:

    exact             vertex to its own true place after the best similarity    all four
    exact-unaligned   the same as predicted                                     all four
    depth             |Δz| along the camera's axis after the best similarity    mm, bbox
    depth-unaligned   the same as predicted                                     mm, bbox
    landmarks         68 landmarks in the image (2D), as predicted              landmark-box, interocular
    icp               prediction → true surface after ICP (when asked for)      mm, bbox, interocular
    icp-reverse       true vertices → predicted surface, same alignment         mm, bbox, interocular

All four are mm, bbox, interocular and landmark-box. Only vertices with `model.weight > 0`, and triangles
between them, are counted and aligned; `bbox` is the diagonal of those predicted vertices in the state that is
scored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import pandas as pd
import torch
from torch import Tensor

from facet.evaluation.distances import aligned, depth_error, exact_error, landmark_error, nme
from facet.evaluation.icp import icp_error
from facet.evaluation.mean_face import MeanFace, MeanFaceTruePose
from facet.evaluation.normalisers import bbox, interocular, landmark_box
from facet.evaluation.statistics import TIDY_COLUMNS


@dataclass(frozen=True)
class Surface:
    """A prediction without the model's correspondence (VRN), see `volumetric.evaluate_surfaces`.

    Attributes:
        vertices: (N, 3) pixels, image frame.
        triangles: (F, 3).
        landmarks: (68, 2 or 3) pixels, or None.
    """

    vertices: Tensor
    triangles: Tensor
    landmarks: Tensor | None = None


def evaluate(
    predict: Callable[..., Tensor],
    samples: Iterable[Mapping],
    model,
    *,
    name: str | None = None,
    variant: str = "",
    test_set: str,
    batch: int = 16,
    icp: bool = False,
    keep: Sequence[str] = (),
    device: str | torch.device = "cpu",
) -> pd.DataFrame:
    """Score one predictor on one test set.

    Args:
        predict: (B, C, S, S) images → (B, V, 3) vertices in pixels of the crop, image frame. With an
            attribute `needs_truth` it is called with the true vertices too.
        samples: mappings with `images` (C, S, S), `vertices` (V, 3) true pixels in the image frame, `scale`
            pixels per millimetre at the face, `yaw`, `pitch` (degrees) and `identity`.
        model: the face model: `landmarks` (68,), `weight` (V,), `triangles` (F, 3).
        name: the model's name in the tables; None takes `predict.name`.
        variant: of the model.
        test_set: name of the frozen set.
        batch: samples a call.
        icp: also the scan-like error (about a second a sample).
        keep: further keys of the samples to keep as columns (age, gender, ...).
        device: where the images go; scores are computed in double precision on the CPU.

    Returns:
        One row a sample and measure: TIDY_COLUMNS, `sample` (its number), and `keep`.
    """
    name = name or getattr(predict, "name", None)
    if name is None:
        raise ValueError("evaluate needs a name: the predictor has none")
    counted = Counted(model)
    rows: list[dict] = []
    for first, group in _batches(samples, batch):
        truth = torch.stack([sample["vertices"] for sample in group])
        images = torch.stack([sample["images"] for sample in group]).to(device)
        extra = (truth.to(device),) if getattr(predict, "needs_truth", False) else ()
        predicted = predict(images, *extra)
        scale = torch.tensor([float(sample["scale"]) for sample in group], dtype=torch.float64)
        scores = _score(predicted, truth.double().cpu(), scale, counted, icp=icp)
        for i, sample in enumerate(group):
            about = {key: sample[key] for key in ("identity", "yaw", "pitch", *keep)}
            about |= {"model": name, "variant": variant, "test_set": test_set, "sample": first + i}
            for (metric, kind), values in scores.items():
                rows.append(about | {"metric": metric, "normaliser": kind, "value": float(values[i])})
    if not rows:
        raise ValueError(f"test set {test_set!r} has no samples")
    return pd.DataFrame(rows, columns=[*TIDY_COLUMNS, "sample", *keep])


def mean_face_rows(samples: Iterable[Mapping], model, *, test_set: str, **options) -> pd.DataFrame:
    """:func:`evaluate` of both mean faces, the rows that every table has; options as there."""
    samples = list(samples)
    if not samples:
        raise ValueError(f"test set {test_set!r} has no samples")
    predictors = (MeanFace(model, samples[0]["images"].shape[-1]), MeanFaceTruePose(model))
    return pd.concat(
        [evaluate(p, samples, model, test_set=test_set, **options) for p in predictors], ignore_index=True
    )


def position_map_predictor(
    network, model, *, smooth: bool = False, noise: float = 0.0
) -> Callable[[Tensor], Tensor]:
    """A predictor from a position-map network in eval mode: photos → map → vertices at the model's UV.

    A network of one view gets the first three channels of a pair, the front photo.

    Args:
        network: gives position maps over the UV of `model`.
        model: the face model.
        smooth: False reads the bare map; True takes the mean of the answers to the photos and to their
            mirrors, smoothed against the mean face.
        noise: with `smooth`, mm of it behind which the most probable face is sought, as `facet.reconstruct`
            does; 0 does not.
    """
    from facet.face_model import vertices_from_map
    from facet.face_model.once import once_for
    from facet.networks import predict
    from facet.reconstruction import vertices_of_crops

    device = next(network.parameters()).device
    face = model if model.uv.device == device else once_for(model, ("on", device), lambda: model.to(device))

    def predict_vertices(images: Tensor) -> Tensor:
        images = images[:, : 3 * network.views].to(device)
        if smooth:
            return vertices_of_crops(network, images, face, noise=noise)
        return vertices_from_map(predict(network, images), face.uv)

    predict_vertices.name = network.name
    return predict_vertices


class Counted:
    """The part of the model that is scored."""

    def __init__(self, model):
        mask = model.weight.cpu() > 0
        self.vertices = mask.nonzero()[:, 0]  # (K,)
        triangles = model.triangles.cpu()
        number = torch.cumsum(mask, dim=0) - 1
        self.triangles = number[triangles[mask[triangles].all(dim=1)]]  # into the counted vertices
        self.landmarks = model.landmarks.cpu()


def _batches(samples: Iterable[Mapping], size: int) -> Iterator[tuple[int, list[Mapping]]]:
    source, first = iter(samples), 0
    while group := list(islice(source, size)):
        yield first, group
        first += len(group)


def _score(predicted, truth: Tensor, scale: Tensor, counted: Counted, *, icp: bool) -> dict:
    """{(metric, normaliser): (B,) values}, in mm or per cent."""
    landmarks = truth[:, counted.landmarks]
    true_sizes = {"interocular": interocular(landmarks), "landmark-box": landmark_box(landmarks)}
    face = truth[:, counted.vertices]
    if predicted.shape != truth.shape:
        raise ValueError(f"predicted {tuple(predicted.shape)} and true vertices {tuple(truth.shape)} differ")
    predicted = predicted.detach().double().cpu()
    ours = predicted[:, counted.vertices]
    moved = aligned(ours, face, align="similarity")
    scores: dict[tuple[str, str], Tensor] = {}
    for suffix, shown in (("", moved), ("-unaligned", ours)):
        sizes = {"mm": scale, "bbox": bbox(shown)} | true_sizes
        exact, depth = exact_error(shown, face, align="none"), depth_error(shown, face, align="none")
        scores |= _divide("exact" + suffix, exact, sizes)
        scores |= _divide("depth" + suffix, depth, {kind: sizes[kind] for kind in ("mm", "bbox")})
    marks = predicted[:, counted.landmarks]
    scores |= _divide("landmarks", landmark_error(marks, landmarks), true_sizes)
    if icp:
        scores |= _score_icp(ours, marks, face, landmarks, scale, true_sizes, counted)
    return scores


def _score_icp(predicted, predicted_landmarks, face, landmarks, scale, true_sizes, counted) -> dict:
    """Both directions of the scan-like error."""
    sides: dict[str, list[Tensor]] = {"icp": [], "icp-reverse": []}
    boxes = []
    for ours, marks, vertices, true in zip(predicted, predicted_landmarks, face, landmarks, strict=True):
        found = icp_error(
            ours,
            vertices,
            predicted_triangles=counted.triangles,
            true_triangles=counted.triangles,
            predicted_landmarks=marks,
            true_landmarks=true,
        )
        sides["icp"].append(found.forward.mean())
        sides["icp-reverse"].append(found.backward.mean())
        boxes.append(bbox(found.aligned[None])[0])
    sizes = {"mm": scale, "bbox": torch.stack(boxes), "interocular": true_sizes["interocular"]}
    scores: dict = {}
    for metric, means in sides.items():
        scores |= _divide(metric, torch.stack(means)[:, None], sizes)
    return scores


def _divide(metric: str, distances: Tensor, sizes: Mapping[str, Tensor]) -> dict:
    """Mean distances over each size: millimetres for "mm", else per cent."""
    return {
        (metric, kind): nme(distances, size) * (1 if kind == "mm" else 100) for kind, size in sizes.items()
    }
