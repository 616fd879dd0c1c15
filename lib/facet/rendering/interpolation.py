"""Attributes of what pixels show: interpolated, spread over the image, averaged; maps in texture space."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from facet.rendering.fragments import Fragments, corner_rows, weighted
from facet.rendering.rasteriser import rasterise

_PIECE = {"cpu": 1 << 17, "cuda": 1 << 25}  # samples worked on at a time


def interpolate(
    fragments: Fragments,
    triangles: Tensor,
    attributes: Tensor | None = None,
    *,
    corner_attributes: Tensor | None = None,
) -> Tensor:
    """Attributes at each pixel: Σ b_i a_i over the corners of its triangle, 0 where the image is empty.

    Args:
        triangles: (F, 3) or (B, F, 3), those of `rasterise`.
        attributes: (B, V, C) or (1, V, C), one value a vertex.
        corner_attributes: (F, 3, C) or (B, F, 3, C) instead, one value a corner, for texture coordinates
            with seams.

    Returns:
        (B, H, W, C).

    Raises:
        ValueError: not exactly one of the two kinds of attributes is given, or a batch does not fit.
    """
    values = interpolate_covered(fragments, triangles, attributes, corner_attributes=corner_attributes)
    return spread(values, fragments)


def spread(values: Tensor, fragments: Fragments) -> Tensor:
    """Values (N, C) of the N covered pixels as images (B, H, W, C), 0 where they are empty."""
    shape = fragments.shape
    empty = values.new_zeros(math.prod(shape), values.shape[1])
    return empty.index_copy(0, fragments.covered, values).view(*shape, -1)


def interpolate_covered(
    fragments: Fragments,
    triangles: Tensor,
    attributes: Tensor | None = None,
    *,
    corner_attributes: Tensor | None = None,
) -> Tensor:
    """`interpolate` at the N covered pixels only, in the order of `fragments.covered`: (N, C)."""
    if (attributes is None) == (corner_attributes is None):
        raise ValueError("give either attributes or corner_attributes")
    batch, triangle, image = fragments.shape[0], fragments.seen, fragments.image
    if corner_attributes is not None:
        if corner_attributes.ndim == 4:
            triangle = triangle + image * corner_attributes.shape[1]
        values = corner_attributes.reshape(-1, 3, corner_attributes.shape[-1]).index_select(0, triangle)
    else:
        if attributes.ndim != 3 or len(attributes) not in (1, batch):
            raise ValueError(f"attributes must be ({batch} or 1, V, C), not {tuple(attributes.shape)}")
        count = attributes.shape[1] if len(attributes) > 1 else 0  # one row for all images, or one for each
        corners = corner_rows(triangles, triangle, image, count)
        values = attributes.reshape(-1, attributes.shape[2])[corners]
    return (fragments.weights.to(values.dtype)[..., None] * values).sum(1)


def blended(table: Tensor, corners: Tensor, weights: Tensor) -> Tensor:
    """(N, C), stored column by column, of a table (C, V): Σ_k w_k table[:, r_k].

    Args:
        corners: (3, N) r; weights: (N, 3) w, as `Fragments` have them.
    """
    out = table.new_empty(len(table), corners.shape[1])
    step = _PIECE["cuda" if table.is_cuda else "cpu"]
    for first in range(0, corners.shape[1], step):
        some = slice(first, first + step)
        rows, shares = corners[:, some].unbind(), weights[some].unbind(1)
        for column, values in zip(out, table, strict=True):
            column[some] = weighted([values.index_select(0, row) for row in rows], shares)
    return out.mT


def corner_blended(table: Tensor, triangle: Tensor, weights: Tensor) -> Tensor:
    """(N, C), stored column by column, of a table (C, 3 F) of values for each corner of F triangles."""
    return blended(table, torch.stack([3 * triangle + k for k in range(3)]), weights)


def rows_of(columns: Tensor, index: Tensor) -> Tensor:
    """(K, C) rows of (N, C), both stored column by column."""
    return torch.stack([column.index_select(0, index) for column in columns.unbind(1)]).mT


def turned(vectors: Tensor, rotation: Tensor) -> Tensor:
    """(N, 3) rotation (3, 3) times vectors (N, 3), both stored column by column."""
    return torch.stack([weighted(vectors.unbind(1), row) for row in rotation]).mT


def averaged(columns: Sequence[Tensor], fragments: Fragments, k: int) -> Tensor:
    """(B, C, H/k, W/k) means over k × k pixels of C columns (N,), which are 0 where the images are empty."""
    planes = []
    for column in columns:
        plane = column.new_zeros(math.prod(fragments.shape)).index_copy_(0, fragments.covered, column)
        planes.append(downsample(plane.view(fragments.shape), k))
    return torch.stack(planes, dim=3).permute(0, 3, 1, 2)


def downsample(image: Tensor, k: int) -> Tensor:
    """Mean of k × k pixels: (..., H·k, W·k) → (..., H, W). ValueError: the size is no multiple of k."""
    if image.shape[-2] % k or image.shape[-1] % k:
        raise ValueError(f"an image of {image.shape[-2]} x {image.shape[-1]} cannot be divided by {k}")
    return sum(image[..., i::k, j::k] for i in range(k) for j in range(k)) / k**2


def map_from_mesh(vertices: Tensor, uv: Tensor, triangles: Tensor, size: int, *, fill: float = 0.0) -> Tensor:
    """The position map, rasterised in texture space (the slow reference; in float64 inside).

    Texel (i, j) takes the surface point at u = (j + ½)/S, v = (i + ½)/S.

    Args:
        vertices: (B, V, 3), any frame.
        uv: (V, 2) in [0, 1]; the triangles must not overlap there.
        triangles: (F, 3), of either winding.
        fill: value of texels outside all triangles.

    Returns:
        (B, 3, S, S) in the type of `vertices`.
    """
    plane = functional.pad(uv.double() * size - 0.5, (0, 1))[None]
    fragments = rasterise(plane, triangles, size, cull_backfaces=False)
    shared = vertices.permute(1, 0, 2).reshape(1, len(uv), -1)  # (1, V, B·3)
    texels = interpolate(fragments, triangles, shared.double())
    texels = torch.where(fragments.mask[..., None], texels, fill)[0]
    return texels.view(size, size, -1, 3).permute(2, 3, 0, 1).contiguous().to(vertices.dtype)
