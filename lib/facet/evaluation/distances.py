"""Errors between surfaces in one correspondence: vertex i of the prediction is vertex i of the truth."""

from __future__ import annotations

import torch
from torch import Tensor

from facet.geometry import similarity

ALIGNMENTS = ("similarity", "none")


def aligned(predicted: Tensor, truth: Tensor, *, align: str, weights: Tensor | None = None) -> Tensor:
    """The prediction moved onto the truth.

    Args:
        predicted: (B, V, 3).
        truth: (B, V, 3), in the same frame.
        align: "similarity" (Umeyama, det > 0, so a mirrored face stays wrong) or "none".
        weights: (V,) or (B, V) weights of the fit.

    Returns:
        (B, V, 3) in the truth's unit.

    Raises:
        ValueError: `align` is unknown or the shapes differ.
    """
    if predicted.shape != truth.shape:
        raise ValueError(
            f"prediction {tuple(predicted.shape)} and truth {tuple(truth.shape)} differ in shape"
        )
    if align == "none":
        return predicted
    if align == "similarity":
        return similarity(predicted, truth, weights).apply(predicted)
    raise ValueError(f"alignment {align!r} is not one of {ALIGNMENTS}")


def exact_error(
    predicted: Tensor, truth: Tensor, *, align: str = "similarity", weights: Tensor | None = None
) -> Tensor:
    """Distance of each vertex to its own true place.

    Args:
        predicted: (B, V, 3).
        truth: (B, V, 3).
        align: "similarity" or "none".
        weights: weights of the fit, see :func:`aligned`.

    Returns:
        (B, V) distances in the truth's unit.
    """
    return torch.linalg.vector_norm(aligned(predicted, truth, align=align, weights=weights) - truth, dim=-1)


def depth_error(
    predicted: Tensor, truth: Tensor, *, align: str = "similarity", weights: Tensor | None = None
) -> Tensor:
    """|Δz| of each vertex along the camera's axis (image frame, z toward the camera).

    Args and alignment as for :func:`exact_error`. Without alignment z counts from the rearmost point of the
    patch's rim, so the origin is part of what is measured.

    Returns:
        (B, V) in the truth's unit.
    """
    return (aligned(predicted, truth, align=align, weights=weights) - truth)[..., 2].abs()


def landmark_error(predicted: Tensor, truth: Tensor, *, dimensions: int = 2) -> Tensor:
    """Distance of each landmark to its true place, never aligned.

    Args:
        predicted: (B, 68, 2 or 3) pixels.
        truth: (B, 68, 2 or 3).
        dimensions: 2 compares x and y (the field's AFLW2000-3D measure), 3 also z.

    Returns:
        (B, 68) in the truth's unit.
    """
    if min(predicted.shape[-1], truth.shape[-1]) < dimensions:
        raise ValueError(f"landmarks have fewer than {dimensions} coordinates")
    return torch.linalg.vector_norm(predicted[..., :dimensions] - truth[..., :dimensions], dim=-1)


def nme(distances: Tensor, size: Tensor) -> Tensor:
    """Normalised mean error (1/N) Σ ‖p_i − q_i‖ / d, as a fraction (multiply by 100 for per cent).

    Args:
        distances: (B, N).
        size: (B,) normaliser d in the same unit; always say which one it is.

    Returns:
        (B,).
    """
    if not bool((size > 0).all()):
        raise ValueError("a normaliser must be positive")
    return distances.mean(dim=-1) / size
