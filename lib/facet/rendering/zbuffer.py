"""Which triangle each pixel shows: boxes around triangles, cut into tiles, whose pixels are tested together.

Without gradients. Results are the same from run to run on the CPU and on CUDA: the winner is the largest of
integer keys, whatever the order they arrive in.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from facet.rendering.fragments import Candidates, corner_rows, corner_weights, edge_functions, weighted

# Work is cut into pieces of so many elements: small ones stay in a CPU's cache, large ones fill a GPU.
_CORNER_PIECE = {"cpu": 1 << 17, "cuda": 1 << 25}
_TILE_PIECE = {"cpu": 1 << 16, "cuda": 1 << 21}
_BITS = 2
_TILE = 1 << _BITS  # pixels, side of a tile
_LOW_BITS = 0x7FFFFFFF
_EMPTY = torch.iinfo(torch.int64).min


class ZBuffer:
    """The nearest triangle so far at each pixel of B images.

    Attributes:
        shape: (B, H, W); keys: (B·H·W,) int64, depth in the high half, complement of the triangle's index in
            the low half; front: (B·H·W,) float32, the depth.
    """

    def __init__(self, shape: tuple[int, int, int], device: torch.device):
        self.shape = shape
        self.keys = torch.full((math.prod(shape),), _EMPTY, device=device)
        self.front = torch.full((math.prod(shape),), -torch.inf, device=device)

    def keep(self, pixel: Tensor, depth: Tensor, triangle: Tensor) -> None:
        """Enter triangles (N,) at pixels (N,) of the flattened images; of equal depths the lower index."""
        bits = (depth + 0.0).view(torch.int32)  # + 0.0 turns -0 into 0
        ordered = bits ^ ((bits >> 31) & _LOW_BITS)  # negative floats order backwards as integers
        key = (ordered.to(torch.int64) << 32) | (_LOW_BITS - triangle)
        self.keys.scatter_reduce_(0, pixel, key, "amax")
        self.front.scatter_reduce_(0, pixel, depth, "amax")

    def backs(self) -> Tensor:
        """(B, ⌈H/T⌉, ⌈W/T⌉) depth behind which nothing is seen of a tile that begins in a cell of T × T."""
        cells = F.max_pool2d(-self.front.view(-1, 1, *self.shape[1:]), _TILE, ceil_mode=True)
        return -F.max_pool2d(cells, 2, 1, padding=1)[:, 0, 1:, 1:]

    def winners(self) -> tuple[Tensor, Tensor]:
        """(N,) covered pixels of the flattened images, ascending, and their triangles."""
        covered = (self.keys != _EMPTY).nonzero().squeeze(1)
        return covered, _LOW_BITS - (self.keys.index_select(0, covered) & 0xFFFFFFFF)


@dataclass(eq=False)
class Boxes:
    """n triangles and the pixels whose centres lie in the box around each.

    Attributes:
        image, triangle: (n,); x0, x1, y0, y1: (n,) first and last pixel.
        corners: nine or twelve columns (n,): x, y, z and 1/w of the first, the second and the third corner.
    """

    image: Tensor
    triangle: Tensor
    x0: Tensor
    x1: Tensor
    y0: Tensor
    y1: Tensor
    corners: list[Tensor]

    def rows(self, index: Tensor | slice) -> Boxes:
        """Some of the boxes."""

        def some(column: Tensor) -> Tensor:
            return column[index] if isinstance(index, slice) else column.index_select(0, index)

        columns = (self.image, self.triangle, self.x0, self.x1, self.y0, self.y1)
        return Boxes(*map(some, columns), list(map(some, self.corners)))

    @property
    def across(self) -> Tensor:
        """(n,) tiles in a row."""
        return ((self.x1 - self.x0) >> _BITS) + 1

    @property
    def tiles(self) -> Tensor:
        """(n,) tiles in all."""
        return self.across * (((self.y1 - self.y0) >> _BITS) + 1)


def paint(
    vertices: Tensor,
    triangles: Tensor,
    size: tuple[int, int],
    inverse_depth_w: Tensor | None,
    cull_backfaces: bool | int,
    accept: Callable[[Candidates], Tensor] | None,
    opaque: int,
) -> tuple[Tensor, Tensor]:
    """(N,) covered pixels of the flattened images, ascending, and the triangles that they show.

    Arguments are those of `rasterise`.
    """
    batch, count = vertices.shape[:2]
    faces = triangles.shape[-2]
    one_sided = faces if cull_backfaces is True else int(cull_backfaces)
    device = "cuda" if vertices.is_cuda else "cpu"
    images = max(1, _CORNER_PIECE[device] // max(faces, 1))
    found = [torch.zeros(2, 0, dtype=torch.int64, device=vertices.device)]
    for first in range(0, batch if faces and count else 0, images):
        some = slice(first, first + images)
        own = triangles if triangles.ndim == 2 else triangles[some]
        tables = [vertices[some, :, axis].contiguous() for axis in range(3)]
        tables += [] if inverse_depth_w is None else [inverse_depth_w[some].contiguous()]
        boxes = _boxes(tables, own, size, one_sided)
        buffer = ZBuffer((len(tables[0]), *size), vertices.device)
        early = boxes.triangle < opaque
        for chosen, asked in ((early, None), (~early, accept)):  # what is opaque hides much of what is not
            part = boxes.rows(chosen.nonzero().squeeze(1))
            backs = buffer.backs() if opaque and asked else None
            for piece in pieces(part.tiles, _TILE_PIECE[device]):
                _paint(buffer, part.rows(piece), backs, asked, first)
        covered, seen = buffer.winners()
        found.append(torch.stack([covered + first * size[0] * size[1], seen]))
    return torch.cat(found, dim=1).unbind()


def _boxes(tables: list[Tensor], triangles: Tensor, size: tuple[int, int], one_sided: int) -> Boxes:
    """Boxes of the triangles that can be seen, of which so many first ones from the front only.

    Args:
        tables: x, y, z and perhaps 1/w (images, V); triangles: (F, 3) or (images, F, 3).
    """
    count, faces = tables[0].shape[1], triangles.shape[-2]
    corners, ranges = triangles.mT.reshape(*triangles.shape[:-2], -1), []  # (3 F,) or (images, 3 F)
    for table, length in zip(tables, size[::-1], strict=False):
        chosen = table.index_select(1, corners) if triangles.ndim == 2 else table.gather(1, corners)
        a, b, c = chosen.view(len(table), 3, -1).unbind(1)
        low = torch.minimum(torch.minimum(a, b), c).ceil_().clamp_(min=0)
        high = torch.maximum(torch.maximum(a, b), c).floor_().clamp_(max=length - 1)
        ranges += [low.view(-1), high.view(-1)]
    holds = (ranges[0] <= ranges[1]).logical_and_(ranges[2] <= ranges[3]).nonzero().squeeze(1)
    image = torch.div(holds, faces, rounding_mode="floor")
    triangle = holds - image * faces
    rows = corner_rows(triangles, triangle, image, count).mT.reshape(-1)
    corners = [c for table in tables for c in table.view(-1).index_select(0, rows).view(3, -1)]
    ax, bx, cx, ay, by, cy = corners[:6]
    area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)  # negative on front faces (y is down)
    seen = ((area < 0) | ((area > 0) & (triangle >= one_sided))) & torch.isfinite(area)
    for w in corners[9:]:
        seen &= w > 0
    ranges = [bound.index_select(0, holds).to(torch.int64) for bound in ranges]
    return Boxes(image, triangle, *ranges, corners).rows(seen.nonzero().squeeze(1))


def _paint(
    buffer: ZBuffer,
    boxes: Boxes,
    backs: Tensor | None,
    accept: Callable[[Candidates], Tensor] | None,
    first: int,
) -> None:
    """Test the pixel centres of boxes, a tile at a time, and keep what is nearest.

    Args:
        backs: of the buffer some time ago; first: number of the buffer's first image, for the hook.
    """
    which, left, top = _tiles(boxes, backs)
    part = boxes.rows(which)
    lines = torch.arange(_TILE, device=which.device)[:, None]
    column, row = left + lines, top + lines  # (T, n)
    nan = part.corners[0].new_tensor(torch.nan)  # as a coordinate, it lies inside no triangle
    inner_x, inner_y = torch.where(column > part.x1, nan, column), torch.where(row > part.y1, nan, row)
    x, y = [c - inner_x for c in part.corners[:3]], [(c - inner_y)[:, None] for c in part.corners[3:6]]
    edges = edge_functions(x, y)  # (T, T, n)
    low = torch.minimum(torch.minimum(edges[0], edges[1]), edges[2])
    high = torch.maximum(torch.maximum(edges[0], edges[1]), edges[2])
    weights = corner_weights(edges, part.corners[9:])
    depth = weighted(part.corners[6:9], weights).to(torch.float32)
    _, height, width = buffer.shape
    start = (part.image * height + row.clamp(max=height - 1)) * width
    pixel = start.to(torch.int32)[:, None] + column.clamp(max=width - 1).to(torch.int32)
    nearer = depth >= buffer.front.index_select(0, pixel.view(-1)).view_as(depth)
    nearer &= (low >= 0) ^ (high <= 0)  # the edge functions agree in sign and are not all zero
    chosen = nearer.view(-1).nonzero().squeeze(1)
    pixel, depth = (values.view(-1).index_select(0, chosen) for values in (pixel, depth))
    lane = torch.div(chosen, len(which), rounding_mode="floor")
    tile = chosen - lane * len(which)
    triangle = part.triangle.index_select(0, tile)
    if accept is not None:
        image, row, column = (values.index_select(0, tile) for values in (part.image + first, top, left))
        barycentrics = torch.stack([weight.view(-1).index_select(0, chosen) for weight in weights]).mT
        row, column = row + (lane >> _BITS), column + (lane & (_TILE - 1))
        accepted = accept(Candidates(image, triangle, row, column, barycentrics)).nonzero().squeeze(1)
        pixel, depth, triangle = (values.index_select(0, accepted) for values in (pixel, depth, triangle))
    buffer.keep(pixel.to(torch.int64), depth, triangle)


def _tiles(boxes: Boxes, backs: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """(n,) boxes, left columns and top rows of the tiles that may show something."""
    tiles = boxes.tiles
    which = torch.repeat_interleave(tiles)
    within = torch.arange(len(which), device=which.device)
    within -= (tiles.cumsum(0) - tiles).index_select(0, which)
    across = boxes.across.index_select(0, which)
    down = torch.div(within, across, rounding_mode="floor")
    left = boxes.x0.index_select(0, which) + ((within - down * across) << _BITS)
    top = boxes.y0.index_select(0, which) + (down << _BITS)
    shown = _reached([corner.index_select(0, which) for corner in boxes.corners[:6]], left, top)
    if backs is not None:
        z = torch.stack(boxes.corners[6:9])
        nearest = z.amax(0) + 1e-5 * z.abs().amax(0)  # interpolation rounds
        cell = boxes.image.index_select(0, which) * backs.shape[1] + (top >> _BITS)
        back = backs.reshape(-1).index_select(0, cell * backs.shape[2] + (left >> _BITS))
        shown &= ~(nearest.index_select(0, which) < back)
    shown = shown.nonzero().squeeze(1)
    return tuple(part.index_select(0, shown) for part in (which, left, top))


def _reached(corners: list[Tensor], left: Tensor, top: Tensor) -> Tensor:
    """(n,) bool, False for tiles whose pixel centres all lie outside the same edge of their triangle.

    An edge function changes by at most |Δx| + |Δy| of the edge for each pixel along both axes.
    """
    x, y = left + (_TILE - 1) / 2, top + (_TILE - 1) / 2
    x, y = [corner - x for corner in corners[:3]], [corner - y for corner in corners[3:]]
    edges = edge_functions(x, y)
    turn = -(edges[0] + edges[1] + edges[2]).sign()
    outside = torch.full_like(turn, -torch.inf)
    for edge, a, b in zip(edges, (1, 2, 0), (2, 0, 1), strict=True):
        reach = ((x[a] - x[b]).abs() + (y[a] - y[b]).abs()) * (_TILE / 2)
        outside = torch.maximum(outside, edge * turn - reach)
    size = sum(part.abs() for part in (*x, *y))
    return ~(outside > 1e-6 * (size + 1).square())  # edge functions round


def pieces(counts: Tensor, limit: int) -> list[slice]:
    """Slices of boxes that hold `counts` tiles or pixels each, with about `limit` of them together."""
    if not len(counts):
        return []
    ends = counts.cumsum(0)
    total = int(ends[-1])
    if total <= limit:
        return [slice(0, len(counts))]
    marks = torch.arange(limit, total, limit, device=counts.device)
    cuts = torch.searchsorted(ends, marks).unique().tolist()
    return [slice(a, b) for a, b in zip([0, *cuts], [*cuts, len(counts)], strict=True) if b > a]
