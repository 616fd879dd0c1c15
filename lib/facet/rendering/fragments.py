"""What a rasteriser finds: the pixels that show a triangle, and candidates for them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


@dataclass(eq=False)
class Fragments:
    """What the N covered pixels of B images show.

    Attributes:
        shape: (B, H, W); covered: (N,) indices of the pixels in the flattened images: image by image, in each
            first those that show what is opaque, ascending.
        seen: (N,) int64, the triangle seen; corners: (3, N) rows of the flattened (B·V) vertices.
        weights: (N, 3) barycentrics, of each corner, perspective-correct when 1/w was given.
        z: (N,) interpolated depth.
    """

    shape: tuple[int, int, int]
    covered: Tensor
    seen: Tensor
    corners: Tensor
    weights: Tensor
    z: Tensor

    @property
    def image(self) -> Tensor:
        """(N,) int64, the image of each covered pixel."""
        return torch.div(self.covered, self.shape[1] * self.shape[2], rounding_mode="floor")

    @property
    def mask(self) -> Tensor:
        """(B, H, W) bool, True where a triangle is seen."""
        return self.triangle >= 0

    @cached_property
    def triangle(self) -> Tensor:
        """(B, H, W) int64, the triangle seen, -1 where there is none."""
        return self._image(self.seen, -1)

    @cached_property
    def barycentrics(self) -> Tensor:
        """(B, H, W, 3) weights of the triangle's corners, 0 where empty."""
        return self._image(self.weights, 0)

    @cached_property
    def depth(self) -> Tensor:
        """(B, H, W) interpolated z, -inf where empty."""
        return self._image(self.z, -torch.inf)

    def _image(self, values: Tensor, empty: float) -> Tensor:
        """(B, H, W, …) of values (N, …)."""
        rest = values.shape[1:]
        image = values.new_full((math.prod(self.shape), *rest), empty)
        return image.index_copy_(0, self.covered, values).view(*self.shape, *rest)


@dataclass(eq=False)
class Candidates:
    """N pairs of a triangle and a pixel centre inside it, shown to the `accept` hook before the depth test.

    Attributes:
        image, triangle, row, column: (N,) int64.
        barycentrics: (N, 3), as the weights of the fragments.
    """

    image: Tensor
    triangle: Tensor
    row: Tensor
    column: Tensor
    barycentrics: Tensor


def corner_rows(triangles: Tensor, triangle: Tensor, image: Tensor, count: int) -> Tensor:
    """(N, 3) rows of the flattened (B·V) vertices: corners of triangle (N,) in image (N,)."""
    if triangles.ndim == 2:
        chosen = triangles.index_select(0, triangle)
    else:
        chosen = triangles.reshape(-1, 3).index_select(0, triangle + image * triangles.shape[1])
    return chosen + (image * count)[:, None]


def edge_functions(x: list[Tensor], y: list[Tensor]) -> list[Tensor]:
    """Three edge functions: twice the area of the part opposite to each corner.

    Args:
        x, y: three each, of the corners relative to the pixel centre.
    """
    (ax, bx, cx), (ay, by, cy) = x, y
    return [bx * cy - by * cx, cx * ay - cy * ax, ax * by - ay * bx]


def corner_weights(edges: list[Tensor], inverse_depth_w: list[Tensor]) -> list[Tensor]:
    """Three barycentrics; with 1/w they are b_i/w_i over their sum (Blinn 1992), linear on the surface."""
    if inverse_depth_w:
        edges = [edge * w for edge, w in zip(edges, inverse_depth_w, strict=True)]
    total = edges[0] + edges[1] + edges[2]
    return [edge / total for edge in edges]


def weighted(values: Iterable[Tensor], weights: Iterable[Tensor]) -> Tensor:
    """Σ b_i a_i over three corners, in their order."""
    a, b, c = (value * weight for value, weight in zip(values, weights, strict=True))
    return a + b + c
