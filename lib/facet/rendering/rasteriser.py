"""A batched z-buffer rasteriser in plain PyTorch.

Image frame: pixels, pixel centres at integers, x right, y down, z toward the camera (larger is nearer).
Triangles are counter-clockwise seen from outside in the (right-handed) model frame. The similarity into the
image frame is a reflection, but it mirrors the numbers and not the picture: a front face still looks
counter-clockwise on the screen, and because y points down its signed area (b - a) × (c - a) is negative.

Which triangle a pixel shows is found without gradients; barycentrics and depth of the winners are then
computed from the vertices by differentiable operations.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from facet.rendering.fragments import (
    Candidates,
    Fragments,
    corner_rows,
    corner_weights,
    edge_functions,
    weighted,
)
from facet.rendering.zbuffer import paint

_PIECE = {"cpu": 1 << 17, "cuda": 1 << 25}  # covered pixels worked on at a time


def rasterise(
    vertices: Tensor,
    triangles: Tensor,
    size: int | tuple[int, int],
    *,
    inverse_depth_w: Tensor | None = None,
    cull_backfaces: bool | int = True,
    accept: Callable[[Candidates], Tensor] | None = None,
    opaque: int = 0,
) -> Fragments:
    """The nearest triangle at each pixel centre.

    A pixel belongs to a triangle when its centre is inside or on an edge (Pineda 1988). Edge functions are
    taken relative to the pixel centre, which makes those of two triangles along their common edge exact
    opposites in floating point: closed meshes have no pinholes. Equal depths go to the lower triangle index.
    There is no clipping at the camera: triangles with a corner of non-positive 1/w, or with a corner that is
    not finite, are left out.

    Args:
        vertices: (B, V, 3) float, image frame.
        triangles: (F, 3) int64, counter-clockwise seen from outside in the model frame; or (B, F, 3), other
            ones in each image, padded with triangles without area such as (0, 0, 0).
        size: H = W, or (H, W).
        inverse_depth_w: (B, V) or (1, V), 1/w of each vertex for perspective-correct barycentrics and depth.
        cull_backfaces: leave out triangles that face away; a number leaves out those of so many first
            triangles only, and the others are seen from both sides.
        accept: gets the `Candidates` of a piece of work and returns (N,) bool; False lets what lies behind
            through.
        opaque: so many first triangles are there without asking the hook, and pixels that show them come
            first in the fragments of an image.

    Returns:
        Fragments of the (B, H, W) image.

    Raises:
        ValueError: a shape or type is wrong.
    """
    height, width = (size, size) if isinstance(size, int) else size
    _check(vertices, triangles, height, width, inverse_depth_w)
    if inverse_depth_w is not None:
        inverse_depth_w = inverse_depth_w.expand(vertices.shape[:2])
    with torch.no_grad():
        points = vertices.detach()
        size = height, width
        covered, seen = paint(points, triangles, size, inverse_depth_w, cull_backfaces, accept, opaque)
        if opaque:
            image = torch.div(covered, height * width, rounding_mode="floor")
            order = (2 * image + (seen >= opaque)).to(torch.int16).argsort(stable=True)
            covered, seen = covered.index_select(0, order), seen.index_select(0, order)
    return _fragments(vertices, triangles, (len(vertices), height, width), covered, seen, inverse_depth_w)


def _check(
    vertices: Tensor, triangles: Tensor, height: int, width: int, inverse_depth_w: Tensor | None
) -> None:
    if vertices.ndim != 3 or vertices.shape[2] != 3 or not vertices.is_floating_point():
        raise ValueError(f"vertices must be a float (B, V, 3), not {vertices.dtype} {tuple(vertices.shape)}")
    if triangles.ndim not in (2, 3) or triangles.shape[-1] != 3 or triangles.dtype != torch.int64:
        raise ValueError(f"triangles must be an int64 (F, 3), not {triangles.dtype} {tuple(triangles.shape)}")
    if triangles.ndim == 3 and len(triangles) != len(vertices):
        raise ValueError(f"{len(triangles)} sets of triangles do not fit {len(vertices)} images")
    if height < 1 or width < 1:
        raise ValueError(f"the image must have pixels, not {height} x {width}")
    if inverse_depth_w is not None:
        batch, count = vertices.shape[:2]
        if tuple(inverse_depth_w.shape) not in {(batch, count), (1, count)}:
            raise ValueError(f"inverse_depth_w must be {(batch, count)}, not {tuple(inverse_depth_w.shape)}")


def _fragments(
    vertices: Tensor,
    triangles: Tensor,
    shape: tuple[int, int, int],
    covered: Tensor,
    seen: Tensor,
    inverse_depth_w: Tensor | None,
) -> Fragments:
    """Barycentrics and depth of the winners, differentiable in vertices and 1/w."""
    tables = [vertices[..., axis].reshape(-1) for axis in range(3)]
    tables += [] if inverse_depth_w is None else [inverse_depth_w.reshape(-1)]
    pieces = [], [], []
    step = _PIECE["cuda" if vertices.is_cuda else "cpu"]
    for pixel, triangle in zip(covered.split(step), seen.split(step), strict=True):
        line = torch.div(pixel, shape[2], rounding_mode="floor")
        image = torch.div(line, shape[1], rounding_mode="floor")
        column, row = pixel - line * shape[2], line - image * shape[1]
        corners = corner_rows(triangles, triangle, image, vertices.shape[1]).mT.contiguous()
        x, y, z, *w = ([table.index_select(0, corner) for corner in corners] for table in tables)
        edges = edge_functions([part - column for part in x], [part - row for part in y])
        weights = corner_weights(edges, *w or [[]])
        for part, found in zip(pieces, (corners, torch.stack(weights), weighted(z, weights)), strict=True):
            part.append(found)
    corners, weights, z = (torch.cat(part, dim=-1) for part in pieces)
    return Fragments(shape, covered, seen, corners, weights.mT, z)
