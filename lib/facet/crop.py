"""The 300W-LP crop: from landmarks or a box to a square image, and the same map for points.

All matrices here act on pixel coordinates whose integers are pixel centres, x right, y down.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

MARGIN = 1.5
"""Side of the crop over the mean side of the landmarks' box (TwoView listing A.1)."""


@dataclass(frozen=True)
class Box:
    """A square in a photograph.

    Attributes:
        centre: (..., 2) pixels, x and y.
        size: (...) pixels, the side.
    """

    centre: Tensor
    size: Tensor

    def matrix(self, image_size: int) -> Tensor:
        """(B, 2, 3) matrix of :func:`crop_matrix`; B = 1 for a single box."""
        return crop_matrix(self.centre.reshape(-1, 2), self.size.reshape(-1), image_size)


def crop_box(
    landmarks: Tensor,
    *,
    generator: torch.Generator | None = None,
    jitter: float = 0.1,
    truncate: bool = False,
) -> Box:
    """Crop square around the 68 landmarks (TwoView listing A.1).

    old_size = (w + h) / 2, size = 1.5 · old_size, centre = the middle of the landmarks' box. With a
    generator the centre moves by U[−jitter, jitter] · old_size in x and in y, and the size is multiplied by
    U[1 − jitter, 1 + jitter].

    Args:
        landmarks: (..., N, 2 or 3) pixels.
        generator: draws the jitter; None makes the crop without any.
        jitter: share of old_size.
        truncate: cut landmarks and the first size to integers, as the listing does.

    Returns:
        Box with centre (..., 2) and size (...).

    Raises:
        ValueError: wrong shape, or landmarks that all coincide.
    """
    landmarks = torch.as_tensor(landmarks)
    if landmarks.ndim < 2 or landmarks.shape[-1] not in (2, 3):
        raise ValueError(f"landmarks must be (..., N, 2 or 3), got {tuple(landmarks.shape)}")
    points = landmarks[..., :2].to(torch.get_default_dtype() if not landmarks.is_floating_point() else None)
    points = points.trunc() if truncate else points
    bounds = torch.cat((points.amin(dim=-2), points.amax(dim=-2)), dim=-1)
    return crop_box_from_bounds(bounds, generator=generator, jitter=jitter, truncate=truncate)


def crop_box_from_bounds(
    bounds: Tensor | tuple[float, float, float, float],
    *,
    generator: torch.Generator | None = None,
    jitter: float = 0.1,
    truncate: bool = False,
) -> Box:
    """:func:`crop_box` from the box (x0, y0, x1, y1) that bounds the 68 landmarks, (..., 4) pixels."""
    bounds = torch.as_tensor(bounds)
    bounds = bounds if bounds.is_floating_point() else bounds.to(torch.get_default_dtype())
    if bounds.shape[-1] != 4:
        raise ValueError(f"a box is (x0, y0, x1, y1), got shape {tuple(bounds.shape)}")
    sides = bounds[..., 2:] - bounds[..., :2]
    if not bool(((sides >= 0).all(dim=-1) & (sides.sum(dim=-1) > 0)).all()):
        raise ValueError("a box is (x0, y0, x1, y1) with x0 < x1 and y0 < y1, all finite")
    centre = (bounds[..., :2] + bounds[..., 2:]) / 2
    old_size = sides.mean(dim=-1)
    size = MARGIN * old_size
    size = size.trunc() if truncate else size
    if generator is not None:
        draw = torch.rand((*old_size.shape, 3), generator=generator, device=generator.device)
        draw = ((2 * draw - 1) * jitter).to(bounds)
        centre = centre + draw[..., :2] * old_size[..., None]
        size = size * (1 + draw[..., 2])
    return Box(centre, size)


def crop_matrix(centre: Tensor, size: Tensor, image_size: int) -> Tensor:
    """Similarity that sends the square's corners to (0, 0) and (S − 1, S − 1).

    Args:
        centre: (B, 2) pixels.
        size: (B,) pixels.
        image_size: S.

    Returns:
        (B, 2, 3), from photograph to crop pixels.
    """
    scale = (image_size - 1) / size
    shift = -scale[:, None] * (centre - size[:, None] / 2)
    zero = torch.zeros_like(scale)
    rows = (torch.stack((scale, zero, shift[:, 0]), dim=1), torch.stack((zero, scale, shift[:, 1]), dim=1))
    return torch.stack(rows, dim=1)


def lift(matrix: Tensor, z_offset: Tensor | float = 0.0) -> Tensor:
    """The map of image-frame points (x, y, z) that belongs to a 2D similarity: z is multiplied by its scale.

    Args:
        matrix: (B, 2, 3) similarities; a mirror (det < 0) is allowed, z is scaled by sqrt(|det|).
        z_offset: (B,) or a number, pixels added to z after scaling.

    Returns:
        (B, 3, 4).
    """
    out = matrix.new_zeros((matrix.shape[0], 3, 4))
    out[:, :2, :2] = matrix[:, :, :2]
    out[:, :2, 3] = matrix[:, :, 2]
    out[:, 2, 2] = similarity_scale(matrix)
    out[:, 2, 3] = z_offset
    return out


def similarity_scale(matrix: Tensor) -> Tensor:
    """(B,) scale of (B, 2, 3) similarities: sqrt(|det|)."""
    return torch.linalg.det(matrix[..., :2]).abs().sqrt()


def compose(second: Tensor, first: Tensor) -> Tensor:
    """The affine map that applies `first`, then `second`; (B, n, n + 1) for n = 2 or 3.

    With n = 3 it also chains a lift after a map from the model to the image frame.
    """
    n = first.shape[-2]
    product = second[..., :n] @ first
    return torch.cat((product[..., :n], product[..., n:] + second[..., n:]), dim=-1)


def invert(matrix: Tensor) -> Tensor:
    """Inverse of affine maps (B, n, n + 1)."""
    n = matrix.shape[-2]
    inverse = torch.linalg.inv(matrix[..., :n])
    return torch.cat((inverse, -inverse @ matrix[..., n:]), dim=-1)


def crop_image(image: np.ndarray | Tensor, matrix: Tensor, image_size: int, *, fill: str = "black") -> Tensor:
    """Sample square crops, bilinear; where the crop shrinks the photograph, averaged over each pixel's area.

    Args:
        image: one photograph (H, W, 3), uint8 or float in [0, 1], or a batch (B, 3, H, W) of the same types.
        matrix: (B, 2, 3) or (2, 3) from photograph to crop pixels; many matrices may share one photograph.
        image_size: S.
        fill: what lies outside of the photograph: "black", or "edge" (the nearest pixel).

    Returns:
        (B, 3, S, S) float32 in [0, 1].

    Raises:
        ValueError: shapes do not fit, or a crop does not touch the photograph.
    """
    if fill not in ("black", "edge"):
        raise ValueError(f'fill must be "black" or "edge", got {fill!r}')
    if isinstance(image, np.ndarray):
        image = np.require(image, requirements="W")  # torch warns of arrays that cannot be written to
    image = torch.as_tensor(image)
    if image.ndim == 3 and image.shape[2] == 3:
        image = image.permute(2, 0, 1)[None]
    if image.ndim != 4 or image.shape[1] != 3:
        raise ValueError(f"image must be (H, W, 3) or (B, 3, H, W), got {tuple(image.shape)}")
    matrix = matrix.reshape(-1, 2, 3).to(image.device, torch.float64)
    batch = max(image.shape[0], matrix.shape[0])
    if image.shape[0] not in (1, batch) or matrix.shape[0] not in (1, batch):
        raise ValueError(f"{image.shape[0]} images do not go with {matrix.shape[0]} matrices")
    images, matrices = image.expand(batch, -1, -1, -1), matrix.expand(batch, -1, -1)
    return torch.stack([_crop_one(i, m, image_size, fill) for i, m in zip(images, matrices, strict=True)])


def _crop_one(image: Tensor, matrix: Tensor, image_size: int, fill: str) -> Tensor:
    """(3, S, S) crop of a (3, H, W) photograph: shrink in blocks, then supersample, then average."""
    inverse = invert(matrix)
    shrink = 1.0 / float(similarity_scale(matrix))
    block = max(1, math.floor(shrink / 2))
    samples = max(1, math.ceil(shrink / block - 0.25))
    height, width = image.shape[1:]
    window, left, top = _window(image, inverse, image_size, block)
    axis = (
        torch.arange(image_size * samples, dtype=torch.float64, device=image.device) + 0.5
    ) / samples - 0.5
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    source = torch.stack((x, y), dim=-1) @ inverse[:, :2].mT + inverse[:, 2]  # photograph pixels
    origin = torch.tensor((left, top), dtype=torch.float64, device=image.device)
    pooled = (source - origin + 0.5) / block  # in blocks, 0 at the window's edge
    extent = torch.tensor((window.shape[2], window.shape[1]), dtype=torch.float64, device=image.device)
    grid = (2 * pooled / extent - 1).to(torch.float32)
    out = F.grid_sample(window[None], grid[None], padding_mode="border", align_corners=False)
    if fill == "black":
        edge = torch.tensor((width, height), dtype=torch.float64, device=image.device) - 0.5
        out = out * ((source >= -0.5) & (source <= edge)).all(dim=-1)
    return F.avg_pool2d(out, samples)[0] if samples > 1 else out[0]


def _window(image: Tensor, inverse: Tensor, image_size: int, block: int) -> tuple[Tensor, int, int]:
    """The part of the photograph that a crop reads, float, averaged in blocks; its left and top pixel."""
    height, width = image.shape[1:]
    last = float(image_size) - 0.5
    corners = torch.tensor(((-0.5, -0.5), (last, -0.5), (-0.5, last), (last, last)), dtype=torch.float64)
    reach = corners.to(inverse.device) @ inverse[:, :2].mT + inverse[:, 2]
    low, high = reach.amin(dim=0).floor().long() - 2 * block, reach.amax(dim=0).ceil().long() + 2 * block
    left, top = max(0, int(low[0])), max(0, int(low[1]))
    right, bottom = min(width, int(high[0]) + 1), min(height, int(high[1]) + 1)
    if left >= right or top >= bottom:
        raise ValueError("the crop lies outside of the photograph: check the box or the landmarks")
    part = image[:, top:bottom, left:right]
    part = part.to(torch.float32) / 255 if image.dtype == torch.uint8 else part.to(torch.float32)
    if block > 1:
        spare = (-(right - left) % block, -(bottom - top) % block)
        part = F.pad(part[None], (0, spare[0], 0, spare[1]), mode="replicate")[0]
        part = F.avg_pool2d(part, block)
    return part, left, top
