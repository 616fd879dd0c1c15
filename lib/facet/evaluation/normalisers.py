"""What an error is divided by. Papers differ here by a factor of three, so every table names it."""

from __future__ import annotations

import torch
from torch import Tensor

from facet.landmarks68 import OUTER_EYE_CORNERS

NORMALISERS = ("bbox", "interocular", "landmark-box")


def bbox(predicted: Tensor) -> Tensor:
    """3D diagonal of the predicted mesh's box (TwoView, Rotation).

    Args:
        predicted: (B, V, 3), after the alignment, so that it has the truth's unit and size.

    Returns:
        (B,).
    """
    return torch.linalg.vector_norm(predicted.amax(dim=1) - predicted.amin(dim=1), dim=-1)


def interocular(true_landmarks: Tensor) -> Tensor:
    """3D distance of the true outer eye corners, landmarks 36 and 45 (Volumetric).

    Args:
        true_landmarks: (B, 68, 3).

    Returns:
        (B,).
    """
    _check(true_landmarks, 3)
    right, left = (true_landmarks[:, corner] for corner in OUTER_EYE_CORNERS)
    return torch.linalg.vector_norm(left - right, dim=-1)


def landmark_box(true_landmarks: Tensor) -> Tensor:
    """sqrt(w · h) of the box around the true landmarks in the image (AFLW2000-3D).

    Args:
        true_landmarks: (B, 68, 2 or 3) pixels.

    Returns:
        (B,).
    """
    _check(true_landmarks, 2)
    sides = true_landmarks[..., :2].amax(dim=1) - true_landmarks[..., :2].amin(dim=1)
    return sides.prod(dim=-1).sqrt()


def _check(landmarks: Tensor, coordinates: int) -> None:
    if landmarks.ndim != 3 or landmarks.shape[1] != 68 or landmarks.shape[2] < coordinates:
        raise ValueError(f"landmarks must be (B, 68, {coordinates}), got {tuple(landmarks.shape)}")
