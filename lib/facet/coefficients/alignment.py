"""Five-point alignment: eyes, nose and corners of the mouth to where a standard face has them.

What MTCNN gives for a photo, here from any 68 landmarks. The similarity turns the picture upright, which the
crop rule of `facet.crop` does not.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from facet.crop import crop_image
from facet.landmarks68 import GROUPS, MOUTH_CORNERS, NOSE_TIP

NAMES = ("right eye", "left eye", "nose", "right corner of the mouth", "left corner of the mouth")


def five_points(landmarks: Tensor) -> Tensor:
    """(..., 5, D) in the order of NAMES of landmarks (..., 68, D); an eye is the mean of its six."""
    eyes = [landmarks[..., list(GROUPS[side]), :].mean(dim=-2) for side in ("right_eye", "left_eye")]
    others = [landmarks[..., number, :] for number in (NOSE_TIP, *MOUTH_CORNERS)]
    return torch.stack([*eyes, *others], dim=-2)


def plane_similarity(source: Tensor, target: Tensor) -> Tensor:
    """(B, 2, 3) least-squares similarities x ↦ s R x + t of points (B, N, 2); no mirror.

    With points as complex numbers, z' = a z + b: a = Σ conj(z − z̄)(z' − z̄') / Σ |z − z̄|².

    Raises:
        ValueError: shapes differ, or all points of a set coincide.
    """
    if source.shape != target.shape or source.ndim != 3 or source.shape[2] != 2:
        raise ValueError(f"two (B, N, 2) sets are wanted, got {tuple(source.shape)}, {tuple(target.shape)}")
    middle, aim = source.mean(dim=1, keepdim=True), target.mean(dim=1, keepdim=True)
    z, w = source - middle, target - aim
    spread = z.square().sum(dim=(1, 2))
    if not bool((spread > 0).all()):
        raise ValueError("the points coincide: no similarity is determined")
    cos = (z * w).sum(dim=(1, 2)) / spread
    sin = (z[..., 0] * w[..., 1] - z[..., 1] * w[..., 0]).sum(dim=1) / spread
    linear = torch.stack((torch.stack((cos, -sin), -1), torch.stack((sin, cos), -1)), dim=1)
    shift = aim[:, 0] - (linear @ middle.mT)[..., 0]
    return torch.cat((linear, shift[..., None]), dim=2)


def align(landmarks: Tensor, standard: Tensor) -> Tensor:
    """(B, 2, 3) similarities for `crop.crop_image` that send landmarks (B, 68, 2) to a standard face's.

    Args:
        standard: (68, 2) or (B, 68, 2) pixels of the crop, such as those of the mean face in it.
    """
    return plane_similarity(five_points(landmarks), five_points(standard).expand(len(landmarks), -1, -1))


def aligned(
    photo: np.ndarray | Tensor, landmarks: Tensor, standard: Tensor, size: int
) -> tuple[Tensor, Tensor]:
    """Crops with the five points of each face where a standard face has them, as the report crops photos.

    Args:
        photo: one photograph (H, W, 3) of B faces, or photos (B, 3, H, W), see `crop.crop_image`.
        landmarks: (B, 68, 2) in its pixels; standard: as of :func:`align`; size: S of the crops.

    Returns:
        (B, 3, S, S) in [0, 1], and the five points (B, 5, 2) in their pixels.
    """
    matrix = align(landmarks, standard.to(landmarks))
    points = five_points(landmarks) @ matrix[:, :, :2].mT + matrix[:, None, :, 2]
    return crop_image(photo, matrix, size), points
