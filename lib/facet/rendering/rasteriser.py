"""A batched z-buffer rasteriser in plain PyTorch.

Image frame: pixels, pixel centres at integers, x right, y down, z toward the camera (larger is nearer).
Triangles are counter-clockwise seen from outside in the (right-handed) model frame. The similarity into the
image frame is a reflection, but it mirrors the numbers and not the picture: a front face still looks
counter-clockwise on the screen, and because y points down its signed area (b - a) × (c - a) is negative.

Which triangle a pixel shows is found without gradients; barycentrics and depth of the winners are then
computed from the vertices by differentiable operations. Results are the same from run to run on the CPU and
on CUDA: the winner is the largest of integer keys, whatever the order they arrive in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

# Work is cut into pieces of so many elements: small ones stay in a CPU's cache, large ones fill a GPU.
_CORNER_PIECE = {"cpu": 1 << 18, "cuda": 1 << 25}
_CANDIDATE_PIECE = {"cpu": 1 << 20, "cuda": 1 << 25}
_LOW_BITS = 0x7FFFFFFF
_EMPTY = torch.iinfo(torch.int64).min


@dataclass(eq=False)
class Fragments:
    """What each pixel shows.

    Attributes:
        triangle: (B, H, W) int64, the triangle seen, -1 where there is none.
        barycentrics: (B, H, W, 3) weights of its corners, perspective-correct when 1/w was given; 0 if empty.
        depth: (B, H, W) interpolated z, -inf where empty.
    """

    triangle: Tensor
    barycentrics: Tensor
    depth: Tensor

    @property
    def mask(self) -> Tensor:
        """(B, H, W) bool, True where a triangle is seen."""
        return self.triangle >= 0

    @cached_property
    def covered(self) -> Tensor:
        """(N,) indices of the covered pixels in the flattened (B·H·W)."""
        return self.mask.flatten().nonzero().squeeze(1)


@dataclass(eq=False)
class Candidates:
    """N pairs of a triangle and a pixel centre inside it, shown to the `accept` hook before the depth test.

    Attributes:
        image, triangle, row, column: (N,) int64.
        barycentrics: (N, 3), as they would stand in the fragments.
    """

    image: Tensor
    triangle: Tensor
    row: Tensor
    column: Tensor
    barycentrics: Tensor


def rasterise(
    vertices: Tensor,
    triangles: Tensor,
    size: int | tuple[int, int],
    *,
    inverse_depth_w: Tensor | None = None,
    cull_backfaces: bool | int = True,
    accept: Callable[[Candidates], Tensor] | None = None,
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
        scene = _Scene(vertices.detach(), triangles, height, width, inverse_depth_w, cull_backfaces, accept)
        keys = scene.paint()
        triangle = torch.where(keys == _EMPTY, -1, _LOW_BITS - (keys & 0xFFFFFFFF))
    return _fragments(vertices, triangles, triangle.view(-1, height, width), inverse_depth_w)


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


@dataclass(eq=False)
class _Scene:
    """One call of `rasterise`: every step of finding the winners, without gradients."""

    vertices: Tensor
    triangles: Tensor
    height: int
    width: int
    inverse_depth_w: Tensor | None
    cull_backfaces: bool | int
    accept: Callable[[Candidates], Tensor] | None

    @property
    def shared(self) -> bool:
        """Whether all images have the same triangles."""
        return self.triangles.ndim == 2

    def paint(self) -> Tensor:
        """(B·H·W,) int64 keys: depth in the high half, complement of the triangle's index in the low half."""
        batch, count = self.vertices.shape[:2]
        faces = self.triangles.shape[-2]
        x, y, self.z = (self.vertices[..., axis].contiguous() for axis in range(3))
        keys = torch.full((batch * self.height * self.width,), _EMPTY, device=x.device)
        device = "cuda" if x.is_cuda else "cpu"
        images = max(1, _CORNER_PIECE[device] // max(faces, 1))
        for first in range(0, batch if faces and count else 0, images):
            some = slice(first, first + images)
            boxes = self._boxes(x[some], y[some], self.triangles if self.shared else self.triangles[some])
            boxes = self._facing(x, y, first, *boxes)
            counts = boxes[5]
            for piece in _pieces(counts, _CANDIDATE_PIECE[device]):
                self._paint_candidates(keys, *(part[piece] for part in boxes))
        return keys

    def _boxes(self, x: Tensor, y: Tensor, triangles: Tensor) -> tuple[Tensor, ...]:
        """Flat index in (images, F), first and last pixel of triangles whose box holds a pixel centre."""
        ranges, corners = [], triangles.mT.reshape(*triangles.shape[:-2], -1)  # (3 F,) or (images, 3 F)
        for coordinate, last in ((x, self.width - 1), (y, self.height - 1)):
            chosen = coordinate.index_select(1, corners) if self.shared else coordinate.gather(1, corners)
            a, b, c = chosen.view(len(x), 3, -1).unbind(1)
            low = torch.minimum(torch.minimum(a, b), c).ceil_().clamp_(min=0)
            high = torch.maximum(torch.maximum(a, b), c).floor_().clamp_(max=last)
            ranges += [low.view(-1), high.view(-1)]
        x0, x1, y0, y1 = ranges
        keep = (x0 <= x1).logical_and_(y0 <= y1).nonzero().squeeze(1)
        return keep, *(bound.index_select(0, keep).to(torch.int64) for bound in ranges)

    def _facing(
        self, x: Tensor, y: Tensor, first: int, index: Tensor, x0: Tensor, x1: Tensor, y0: Tensor, y1: Tensor
    ) -> tuple[Tensor, ...]:
        """Drop what cannot be seen; return image, triangle, x0, y0, box width, pixels in the box, corners.

        Corners are twelve columns of numbers: x, y, z and 1/w of the first, the second and the third.
        """
        faces, count = self.triangles.shape[-2], self.vertices.shape[1]
        image = torch.div(index, faces, rounding_mode="floor")
        triangle = index - image * faces
        image = image + first
        corners = corner_rows(self.triangles, triangle, image, count)
        cx, cy = x.view(-1)[corners], y.view(-1)[corners]
        area = _doubled_area(cx, cy)
        one_sided = faces if self.cull_backfaces is True else int(self.cull_backfaces)
        seen = (area < 0) | ((area > 0) & (triangle >= one_sided))
        seen &= torch.isfinite(area)
        tables = [cx, cy, self.z.view(-1)[corners]]
        if self.inverse_depth_w is not None:
            tables.append(self.inverse_depth_w.reshape(-1)[corners])
            seen &= (tables[-1] > 0).all(1)
        keep = seen.nonzero().squeeze(1)
        box_width = x1 - x0 + 1
        parts = (image, triangle, x0, y0, box_width, box_width * (y1 - y0 + 1))
        columns = [table[:, corner] for table in tables for corner in range(3)]
        return tuple(part.index_select(0, keep) for part in (*parts, *columns))

    def _paint_candidates(
        self,
        keys: Tensor,
        image: Tensor,
        triangle: Tensor,
        x0: Tensor,
        y0: Tensor,
        box_width: Tensor,
        counts: Tensor,
        *corners: Tensor,
    ) -> None:
        """Test every pixel centre of every box and keep the nearest triangle in `keys`."""
        which = torch.repeat_interleave(counts)  # (N,) position in the boxes
        starts = (counts.cumsum(0) - counts).index_select(0, which)
        within = torch.arange(len(which), device=keys.device) - starts
        wide = box_width.index_select(0, which)
        down = ((within + 0.5) / wide.double()).to(torch.int64)  # faster than the division of integers
        column = x0.index_select(0, which) + within - down * wide
        row = y0.index_select(0, which) + down
        x = [part.index_select(0, which) - column for part in corners[:3]]
        y = [part.index_select(0, which) - row for part in corners[3:6]]
        edges = _edge_functions(x, y)
        inside = _inside(edges).nonzero().squeeze(1)
        which, column, row = (part.index_select(0, inside) for part in (which, column, row))
        z, w = corners[6:9], corners[9:]
        weights = _weights(
            [edge.index_select(0, inside) for edge in edges], [part.index_select(0, which) for part in w]
        )
        image, triangle = image.index_select(0, which), triangle.index_select(0, which)
        depth = torch.stack([part.index_select(0, which) for part in z], 1).mul_(weights).sum(1)
        pixel = (image * self.height + row) * self.width + column
        key = _key(depth, triangle)
        if self.accept is not None:
            parts = (image, triangle, row, column, weights, pixel, key)
            nearer = (key > keys.index_select(0, pixel)).nonzero().squeeze(1)  # asking costs more than this
            *parts, pixel, key = (part.index_select(0, nearer) for part in parts)
            accepted = self.accept(Candidates(*parts)).nonzero().squeeze(1)
            pixel, key = pixel.index_select(0, accepted), key.index_select(0, accepted)
        keys.scatter_reduce_(0, pixel, key, "amax")


def corner_rows(triangles: Tensor, triangle: Tensor, image: Tensor, count: int) -> Tensor:
    """(N, 3) rows of the flattened (B·V) vertices: corners of triangle (N,) in image (N,)."""
    if triangles.ndim == 2:
        chosen = triangles.index_select(0, triangle)
    else:
        chosen = triangles.reshape(-1, 3).index_select(0, triangle + image * triangles.shape[1])
    return chosen + (image * count)[:, None]


def _pieces(counts: Tensor, limit: int) -> list[slice]:
    """Slices of the boxes with about `limit` pixels each."""
    if not len(counts):
        return []
    ends = counts.cumsum(0)
    total = int(ends[-1])
    if total <= limit:
        return [slice(0, len(counts))]
    marks = torch.arange(limit, total, limit, device=counts.device)
    cuts = torch.searchsorted(ends, marks).unique().tolist()
    return [slice(a, b) for a, b in zip([0, *cuts], [*cuts, len(counts)], strict=True) if b > a]


def _doubled_area(cx: Tensor, cy: Tensor) -> Tensor:
    """(N,) twice the signed area of triangles with corners (N, 3); negative on front faces (y is down)."""
    ax, ay = cx[:, 0], cy[:, 0]
    return (cx[:, 1] - ax) * (cy[:, 2] - ay) - (cy[:, 1] - ay) * (cx[:, 2] - ax)


def _edge_functions(x: Sequence[Tensor], y: Sequence[Tensor]) -> list[Tensor]:
    """Three (N,) edge functions: twice the area of the part opposite to each corner.

    Args:
        x, y: three (N,) each, the corners relative to the pixel centre.
    """
    (ax, bx, cx), (ay, by, cy) = x, y
    return [bx * cy - by * cx, cx * ay - cy * ax, ax * by - ay * bx]


def _inside(edges: list[Tensor]) -> Tensor:
    """(N,) bool, True where the three edge functions agree in sign and are not all zero."""
    low = torch.minimum(torch.minimum(edges[0], edges[1]), edges[2])
    high = torch.maximum(torch.maximum(edges[0], edges[1]), edges[2])
    return ((low >= 0) & (high > 0)) | ((high <= 0) & (low < 0))


def _weights(edges: Sequence[Tensor], inverse_depth_w: Sequence[Tensor]) -> Tensor:
    """(N, 3) barycentrics; with 1/w they are b_i/w_i over their sum (Blinn 1992), linear on the surface."""
    if inverse_depth_w:
        edges = [edge * w for edge, w in zip(edges, inverse_depth_w, strict=True)]
    weights = torch.stack(list(edges), 1)
    return weights / weights.sum(1, keepdim=True)


def _key(depth: Tensor, triangle: Tensor) -> Tensor:
    """(N,) int64 that orders by depth, then by lower triangle index."""
    bits = (depth.to(torch.float32) + 0.0).view(torch.int32)  # + 0.0 turns -0 into 0
    ordered = bits ^ ((bits >> 31) & _LOW_BITS)  # negative floats order backwards as integers
    return (ordered.to(torch.int64) << 32) | (_LOW_BITS - triangle)


def _fragments(
    vertices: Tensor, triangles: Tensor, triangle: Tensor, inverse_depth_w: Tensor | None
) -> Fragments:
    """Barycentrics and depth of the winners, differentiable in vertices and 1/w."""
    batch, height, width = triangle.shape
    empty = vertices.new_full((batch * height * width,), -torch.inf)
    fragments = Fragments(triangle, vertices.new_zeros(batch, height, width, 3), empty.view(triangle.shape))
    covered = fragments.covered
    image = torch.div(covered, height * width, rounding_mode="floor")
    within = covered - image * (height * width)
    row = torch.div(within, width, rounding_mode="floor")
    seen = triangle.view(-1).index_select(0, covered)
    corners = corner_rows(triangles, seen, image, vertices.shape[1])
    flat = vertices.reshape(-1, 3)
    column = within - row * width
    x, y = flat[:, 0][corners] - column[:, None], flat[:, 1][corners] - row[:, None]
    w = () if inverse_depth_w is None else inverse_depth_w.reshape(-1)[corners].unbind(1)
    weights = _weights(_edge_functions(x.unbind(1), y.unbind(1)), w)
    depth = (weights * flat[:, 2][corners]).sum(1)
    shape = (*triangle.shape, 3)
    fragments.barycentrics = (
        torch.zeros_like(empty)[:, None].expand(-1, 3).index_copy(0, covered, weights).view(shape)
    )
    fragments.depth = empty.index_copy(0, covered, depth).view(triangle.shape)
    return fragments
