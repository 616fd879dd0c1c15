"""The soft rasteriser: every triangle colours every pixel near it a little, so that pictures have gradients.

A triangle j at pixel p has the probability

    D_j(p) = sigmoid(± d(p, j)² / σ)          + inside, − outside; d: distance to the triangle's outline

and the picture and its coverage are (Liu et al. 2019, Soft Rasterizer)

    I(p) = Σ_j w_j C_j(p),   w_j = D_j exp(z_j/γ) / Σ_k D_k exp(z_k/γ),       α(p) = 1 − Π_j (1 − D_j(p)).

Outside of a triangle, colour C_j and depth z_j are those of its nearest point. σ is in square pixels, γ in
pixels of depth (the original divides both by the picture's size). σ, γ → 0 gives the hard rasteriser. No
background takes part in I: a picture is put on something by `I α + background (1 − α)`.

On an edge that two triangles share, both have probability ½ and α is ¾, though the surface is closed there: a
seam. With `closed`, such edges are no outline from inside: distances inside count to the other edges, and a
triangle without any covers its pixels fully.

Pairs of a pixel and a triangle that count are found without gradients, and worked through in pieces. With
more than one piece, each is computed again in the backward pass: memory holds the pairs' numbers (eight
integers or flags each) and one piece, whatever the picture's size and the number of triangles.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from facet.rendering.zbuffer import pieces

CUT = 1e-4  # a triangle whose probability at a pixel is less than this does not count there
SLIVER = 1e-3  # a triangle with less of its longest side's square for an area counts as its nearest edge
_FULL = 50.0  # log-odds of a triangle that covers its pixels fully
PIECE = {"cpu": 1 << 19, "cuda": 1 << 22}  # pairs worked on at a time
CANDIDATES = {"cpu": 1 << 18, "cuda": 1 << 23}  # pairs looked at at a time


@dataclass(eq=False)
class SoftImage:
    """A softly rasterised picture.

    Attributes:
        colour: (B, H, W, C) attributes, 0 where no triangle is near.
        alpha: (B, H, W) coverage in [0, 1].
    """

    colour: Tensor
    alpha: Tensor

    def over(self, background: Tensor) -> Tensor:
        """(B, C, H, W) the picture on a background (B, C, H, W) of as many channels: stitched in."""
        alpha = self.alpha[:, None]
        return background + alpha * (self.colour.permute(0, 3, 1, 2) - background)


@dataclass(eq=False)
class _Pairs:
    """N pairs of a pixel and a triangle; all (N,).

    image, triangle, pixel (of the flattened B·H·W), column, row; edge: number of the nearest one, from corner
    `edge` to the next; inside: bool; full: bool, inside and without any outline.
    """

    image: Tensor
    triangle: Tensor
    pixel: Tensor
    column: Tensor
    row: Tensor
    edge: Tensor
    inside: Tensor
    full: Tensor

    def __len__(self) -> int:
        return len(self.pixel)

    def piece(self, where: slice) -> _Pairs:
        return _Pairs(*(getattr(self, name)[where] for name in self.__dataclass_fields__))


def soft_rasterise(
    vertices: Tensor,
    triangles: Tensor,
    attributes: Tensor,
    size: int | tuple[int, int],
    *,
    sigma: float,
    gamma: float,
    cull_backfaces: bool = True,
    closed: bool = False,
    piece: int | None = None,
) -> SoftImage:
    """A picture that is differentiable in positions and attributes.

    Args:
        vertices: (B, V, 3) float, image frame, pixels; z toward the camera.
        triangles: (F, 3) int64, counter-clockwise seen from outside in the model frame.
        attributes: (B, V, C), colours or anything else, linear on a triangle as it appears on the screen.
        size: H = W, or (H, W).
        sigma: σ, square pixels; the outline is soft over about 2 √σ pixels either way.
        gamma: γ, pixels of depth.
        cull_backfaces: leave out triangles that face away.
        closed: no seams between neighbours that face the same way, see above; False is the published formula.
        piece: pairs of a pixel and a triangle worked on at a time (None: by device).

    Raises:
        ValueError: a shape or a number does not fit.
    """
    height, width = (size, size) if isinstance(size, int) else size
    _check(vertices, triangles, attributes, sigma, gamma)
    batch, count = vertices.shape[:2]
    with torch.no_grad():
        pairs = _find(vertices.detach(), triangles, height, width, sigma, cull_backfaces, closed)
    piece = piece or PIECE["cuda" if vertices.is_cuda else "cpu"]
    table = torch.cat((vertices, attributes), dim=2).reshape(batch * count, -1)
    total = batch * height * width

    if len(pairs) <= piece:
        sums = _splat(table, triangles, pairs, count, total, sigma, gamma, None)
    else:
        pieces = [pairs.piece(slice(k, k + piece)) for k in range(0, len(pairs), piece)]
        with torch.no_grad():
            top = table.new_full((total,), -math.inf)
            for some in pieces:
                strength = _terms(table, triangles, some, count, sigma, gamma)[0]
                top.scatter_reduce_(0, some.pixel, strength, "amax")
        sums = 0
        for some in pieces:
            arguments = (table, triangles, some, count, total, sigma, gamma, top)
            sums = sums + checkpoint(_splat, *arguments, use_reentrant=False, preserve_rng_state=False)
    weight, opacity = sums[:, :1], sums[:, 1]
    colour = sums[:, 2:] / torch.where(weight > 0, weight, 1)
    shape = (batch, height, width)
    return SoftImage(colour.view(*shape, -1), -torch.expm1(-opacity).view(shape))


def _check(vertices: Tensor, triangles: Tensor, attributes: Tensor, sigma: float, gamma: float) -> None:
    if vertices.ndim != 3 or vertices.shape[2] != 3 or not vertices.is_floating_point():
        raise ValueError(f"vertices must be a float (B, V, 3), not {vertices.dtype} {tuple(vertices.shape)}")
    if triangles.ndim != 2 or triangles.shape[1] != 3 or triangles.dtype != torch.int64:
        raise ValueError(f"triangles must be an int64 (F, 3), not {triangles.dtype} {tuple(triangles.shape)}")
    if attributes.ndim != 3 or attributes.shape[:2] != vertices.shape[:2]:
        raise ValueError(
            f"attributes must be (B, V, C) for vertices {tuple(vertices.shape)}, not "
            f"{tuple(attributes.shape)}"
        )
    if not (sigma > 0 and gamma > 0):
        raise ValueError(f"sigma and gamma must be positive, got {sigma:g} and {gamma:g}")


def _find(
    vertices: Tensor,
    triangles: Tensor,
    height: int,
    width: int,
    sigma: float,
    cull_backfaces: bool,
    closed: bool,
) -> _Pairs:
    """All pairs with a probability of at least CUT."""
    faces, device = len(triangles), vertices.device
    furthest = sigma * math.log(1 / CUT - 1)  # of squared distances
    reach = math.sqrt(furthest)
    corner = vertices[:, triangles.flatten()].view(-1, 3, 3)  # (B·F, corner, coordinate)
    x, y = corner[:, :, 0], corner[:, :, 1]
    area = (x[:, 1] - x[:, 0]) * (y[:, 2] - y[:, 0]) - (y[:, 1] - y[:, 0]) * (x[:, 2] - x[:, 0])
    x0, x1 = (x.amin(1) - reach).ceil().clamp(min=0), (x.amax(1) + reach).floor().clamp(max=width - 1)
    y0, y1 = (y.amin(1) - reach).ceil().clamp(min=0), (y.amax(1) + reach).floor().clamp(max=height - 1)
    seen = area < 0 if cull_backfaces else area != 0
    inner = _inner_edges(triangles, area.view(-1, faces)) if closed else None  # (B·F, 3)
    keep = (seen & torch.isfinite(area) & (x0 <= x1) & (y0 <= y1)).nonzero()[:, 0]
    x, y, x0, x1, y0, y1 = (part[keep] for part in (x, y, x0, x1, y0, y1))
    x0, y0, wide = x0.long(), y0.long(), (x1 - x0).long() + 1
    counts = wide * ((y1 - y0).long() + 1)
    parts = []
    for some in pieces(counts, CANDIDATES["cuda" if device.type == "cuda" else "cpu"]):
        which = torch.repeat_interleave(counts[some]) + some.start
        starts = counts[some].cumsum(0) - counts[some]
        within = torch.arange(len(which), device=device) - starts[which - some.start]
        across = wide[which]
        down = torch.div(within, across, rounding_mode="floor")
        column, row = x0[which] + within - down * across, y0[which] + down
        ignored = None if inner is None else inner[keep[which]]
        distance, edge, inside = _nearest(x[which] - column[:, None], y[which] - row[:, None], ignored)
        near = (inside | (distance <= furthest)).nonzero()[:, 0]
        where = keep[which[near]]
        image = torch.div(where, faces, rounding_mode="floor")
        column, row = column[near], row[near]
        pixel = (image * height + row) * width + column
        full = torch.isinf(distance[near])
        parts.append((image, where - image * faces, pixel, column, row, edge[near], inside[near], full))
    if not parts:
        empty = torch.zeros(0, dtype=torch.int64, device=device)
        return _Pairs(*[empty] * 6, empty.bool(), empty.bool())
    return _Pairs(*(torch.cat(part) for part in zip(*parts, strict=True)))


def _inner_edges(triangles: Tensor, area: Tensor) -> Tensor:
    """(B·F, 3) bool: edge k, from corner k to the next, has a neighbour that faces the same way.

    Args:
        area: (B, F) signed.
    """
    start, end = triangles, triangles.roll(-1, 1)
    count = int(triangles.max()) + 1
    own, other = (start * count + end).flatten(), (end * count + start).flatten()
    order = own.argsort()
    place = torch.searchsorted(own[order], other).clamp(max=len(own) - 1)
    neighbour = order[place]
    exists = own[neighbour] == other
    signs = area.sign()
    same = signs[:, torch.div(neighbour, 3, rounding_mode="floor")] == signs.repeat_interleave(3, dim=1)
    return (exists & same).view(-1, 3)


def _nearest(x: Tensor, y: Tensor, ignored: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """(N,) squared distance of the origin to triangles (N, 3), their nearest edge, whether it is inside.

    Edges `ignored` (N, 3) do not count from inside; the distance is infinite where no other is left.
    """
    along_x, along_y = x.roll(-1, 1) - x, y.roll(-1, 1) - y
    turn = x * along_y - y * along_x  # twice the areas with the origin, on one side of 0 if it is inside
    inside = (turn >= 0).all(1) | (turn <= 0).all(1)
    share = -(x * along_x + y * along_y) / (along_x.square() + along_y.square())
    share = share.nan_to_num(0).clamp_(0, 1)
    distance = (x + share * along_x).square() + (y + share * along_y).square()
    if ignored is not None:
        distance = distance.masked_fill(ignored & inside[:, None], math.inf)
    distance, edge = distance.min(1)
    return distance, edge, inside


def _terms(
    table: Tensor, triangles: Tensor, pairs: _Pairs, count: int, sigma: float, gamma: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Of N pairs: log D + z/γ (N,), log-odds of D (N,), attributes (N, C); differentiable in the table.

    Args:
        table: (B·V, 3 + C) positions and attributes; count: V.
    """
    rows = triangles.index_select(0, pairs.triangle) + (pairs.image * count)[:, None]
    corner = table.index_select(0, rows.flatten()).view(-1, 3, table.shape[1])
    place = torch.stack((pairs.column, pairs.row), dim=1).to(table.dtype)
    plane = corner[:, :, :2] - place[:, None]  # (N, 3, 2) relative to the pixel
    x, y = plane.unbind(2)
    # inside: barycentrics from areas
    turn = x.roll(-1, 1) * y.roll(-2, 1) - y.roll(-1, 1) * x.roll(-2, 1)
    area, longest = turn.sum(1, keepdim=True), (plane - plane.roll(1, 1)).square().sum(2).amax(1)
    solid = pairs.inside[:, None] & (area.abs() > SLIVER * longest[:, None])
    within = turn / torch.where(solid, area, 1)
    # outside, and in slivers: of the nearest point of the nearest edge
    number = torch.arange(len(rows), device=table.device)
    following = (pairs.edge + 1) % 3
    start, end = plane[number, pairs.edge], plane[number, following]
    along = end - start
    share = (-(start * along).sum(1) / along.square().sum(1).clamp(min=1e-12)).clamp(0, 1)
    first = functional.one_hot(pairs.edge, 3).to(table.dtype)
    on_edge = first + share[:, None] * (functional.one_hot(following, 3) - first)
    weights = torch.where(solid, within, on_edge)
    # the nearest point moves along the edge without changing the distance: no gradient through `share`
    distance = (start + share.detach()[:, None] * along).square().sum(1)
    odds = torch.where(pairs.inside, distance, -distance) / sigma
    odds = torch.where(pairs.full, _FULL, odds)
    values = (weights[:, :, None] * corner[:, :, 2:]).sum(1)
    return functional.logsigmoid(odds) + values[:, 0] / gamma, odds, values[:, 1:]


def _splat(
    table: Tensor,
    triangles: Tensor,
    pairs: _Pairs,
    count: int,
    total: int,
    sigma: float,
    gamma: float,
    top: Tensor | None,
) -> Tensor:
    """(total, 2 + C) of each pixel: Σ w, −log Π(1 − D), Σ w C, with w scaled by exp(−top), which cancels."""
    strength, odds, values = _terms(table, triangles, pairs, count, sigma, gamma)
    if top is None:
        top = table.new_full((total,), -math.inf)
        top.scatter_reduce_(0, pairs.pixel, strength.detach(), "amax")
    weight = (strength - top[pairs.pixel]).exp()[:, None]
    each = torch.cat((weight, functional.softplus(odds)[:, None], weight * values), dim=1)
    return table.new_zeros(total, each.shape[1]).index_add(0, pairs.pixel, each)
