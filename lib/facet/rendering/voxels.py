"""Voxels: which points of a lattice a closed mesh encloses, in batches, in plain PyTorch; and bit-packing.

Voxel frame: x along columns, y along rows, z along slices, voxel centres at integers; slice 0 is the farthest
from the camera. `Lattice` is the step from pixels of the crop to it.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

# Vertices are rounded to this part of a voxel: then every product below is exact in double precision.
_STEP = 2.0**-14
_LARGEST = 2.0**11  # voxels from the origin; what is farther out is drawn in to there


@dataclass(frozen=True)
class Lattice:
    """Cubes that tile the crop: W × H of them over its S × S pixels, D in depth.

    The volume is aligned with the image: voxel (0, 0) begins at the crop's corner. Depth begins a 32nd of the
    crop behind z = 0 (the deepest point of the face's rim), since in some profiles a cheek lies behind it.

    Attributes:
        image_size: S; volume: (H, W, D), H = W.
    """

    image_size: int
    volume: tuple[int, int, int]

    @property
    def pitch(self) -> float:
        """Pixels a voxel."""
        return self.image_size / self.volume[1]

    @property
    def behind(self) -> float:
        """z of the volume's back, pixels."""
        return -self.image_size / 32

    def to_voxels(self, points: Tensor) -> Tensor:
        """(..., 3) image-frame pixels -> voxels."""
        start = points.new_tensor([-0.5, -0.5, self.behind])
        return (points - start) / self.pitch - 0.5

    def to_pixels(self, points: Tensor) -> Tensor:
        """(..., 3) voxels -> image-frame pixels."""
        start = points.new_tensor([-0.5, -0.5, self.behind])
        return (points + 0.5) * self.pitch + start


def voxelise(
    vertices: Tensor, triangles: Tensor, volume: tuple[int, int, int], *, fill: bool = False
) -> Tensor:
    """Whether a closed mesh encloses the voxels' centres.

    A line along z through the centre of a column meets the surface in some triangles; a voxel's winding
    number is the sum over the triangles in front of it, +1 where the surface faces the camera, −1 where it
    faces away, and it lies inside where that is positive. Which triangles a line meets is decided in exact
    arithmetic, lines through an edge as if moved by (ε, ε²), so the whole column of a closed mesh always
    sums to 0: nothing leaks, at any pose.

    Args:
        vertices: (B, V, 3) voxels, z toward the camera; x right and y down, as in the image frame.
        triangles: (F, 3) int64, closed, counter-clockwise seen from outside in the model frame.
        volume: (H, W, D).
        fill: also count what lies between two parts of the mesh in a column, as if behind every part that
            the camera sees all were solid down to the last one.

    Returns:
        (B, D, H, W) bool.

    Raises:
        ValueError: the mesh is not closed.
    """
    height, width, depth = volume
    batch = len(vertices)
    place = (vertices.detach().double() / _STEP).round_().clamp_(-_LARGEST / _STEP, _LARGEST / _STEP) * _STEP
    image, row, column, x, y, z = _candidates(place, triangles, height, width)
    met, parts, sign = _met(*(tuple(along - centre for along in c) for c, centre in ((x, column), (y, row))))
    image, row, column = (which[met] for which in (image, row, column))
    weights = torch.stack(parts, dim=1)[met]
    # a line in the plane of a triangle seen from its side has three parts of 0: any height on it will do
    weights = torch.where(weights.sum(dim=1, keepdim=True) == 0, 1.0, weights)
    z = torch.stack([along[met] for along in z], dim=1)
    crossing = (weights * z).sum(dim=1) / weights.sum(dim=1)
    below = crossing.ceil().clamp(0, depth).long()  # so many slices lie behind the crossing
    facing = -sign[met].to(torch.int16)  # y is down: what faces the camera turns the other way
    cell = ((image * (depth + 1) + below) * height + row) * width + column
    counts = torch.zeros(batch * (depth + 1) * height * width, dtype=torch.int16, device=place.device)
    counts = counts.index_add_(0, cell, facing).view(batch, depth + 1, height, width)
    winding = counts.flip(1).cumsum(dim=1, dtype=torch.int16).flip(1)  # in front of slice k: at k + 1 and on
    if bool((winding[:, 0] != 0).any()):
        raise ValueError("the mesh is not closed: close its rim before it is voxelised")
    solid = winding[:, 1:] > 0
    if fill:
        solid = _fill(solid)
    return solid


def _fill(solid: Tensor) -> Tensor:
    """(B, D, H, W) bool: every column one run, from its first to its last voxel inside."""
    after = solid.flip(1).cumsum(dim=1, dtype=torch.int16).flip(1) > 0
    return after & (solid.cumsum(dim=1, dtype=torch.int16) > 0)


def _candidates(place: Tensor, triangles: Tensor, height: int, width: int) -> tuple:
    """Every column whose centre may lie in a triangle, row by row between the triangle's sides.

    Returns:
        (N,) image, row, column, and three (N,) each for the corners' x, y and z.
    """
    flat = [place[..., axis][:, triangles].flatten(0, 1).unbind(1) for axis in range(3)]  # three (B F,) each
    low = [torch.minimum(torch.minimum(*c[:2]), c[2]).ceil_().clamp_(min=0) for c in flat[:2]]
    last = (width - 1, height - 1)
    high = [
        torch.maximum(torch.maximum(*c[:2]), c[2]).floor_().clamp_(max=end)
        for c, end in zip(flat[:2], last, strict=True)
    ]
    kept = ((low[0] <= high[0]) & (low[1] <= high[1])).nonzero()[:, 0]
    x, y, z = ([along.index_select(0, kept) for along in c] for c in flat)
    first = low[1].index_select(0, kept)
    which, within = _repeat((high[1].index_select(0, kept) - first).long() + 1)
    row = first.index_select(0, which) + within  # one line of a triangle in each entry
    x, y = ([along.index_select(0, which) for along in c] for c in (x, y))
    left, right = torch.full_like(row, torch.inf), torch.full_like(row, -torch.inf)
    for k in range(3):
        (xa, xb), (ya, yb) = ((c[k], c[(k + 1) % 3]) for c in (x, y))
        crosses = (torch.minimum(ya, yb) <= row) & (row <= torch.maximum(ya, yb))
        rise = yb - ya
        share = ((row - ya) / torch.where(rise == 0, 1.0, rise)).clamp_(0, 1)
        at = xa + share * (xb - xa)
        level = rise == 0
        left = torch.minimum(left, torch.where(crosses, torch.where(level, torch.minimum(xa, xb), at), left))
        right = torch.maximum(
            right, torch.where(crosses, torch.where(level, torch.maximum(xa, xb), at), right)
        )
    begin = (left - 1e-6).ceil_().clamp_(min=0)  # sides are rounded here, and decided exactly in `_met`
    end = (right + 1e-6).floor_().clamp_(max=width - 1)
    line, within = _repeat((end - begin + 1).clamp_(min=0).long())
    column = begin.index_select(0, line).long() + within
    x, y = ([along.index_select(0, line) for along in c] for c in (x, y))
    which = which.index_select(0, line)
    z = [along.index_select(0, which) for along in z]
    image = torch.div(kept.index_select(0, which), len(triangles), rounding_mode="floor")
    return image, row.index_select(0, line).long(), column, x, y, z


def _repeat(counts: Tensor) -> tuple[Tensor, Tensor]:
    """(N,) entry k counts[k] times, and (N,) 0 to counts[k] - 1 for each."""
    which = torch.repeat_interleave(counts)
    start = counts.cumsum(0) - counts
    return which, torch.arange(len(which), device=counts.device) - start.index_select(0, which)


def _met(x: tuple, y: tuple) -> tuple[Tensor, list[Tensor], Tensor]:
    """Which triangles the line through the origin meets, their doubled parts, and the sign of their area.

    Args:
        x, y: three (N,) each, the corners relative to the column's centre.
    """
    parts, signs = [], []
    for k in range(3):
        a, b = (k + 1) % 3, (k + 2) % 3
        parts.append(x[a] * y[b] - y[a] * x[b])
        sign = parts[-1].sign()
        edge = (sign == 0).nonzero()[:, 0]
        if len(edge):
            beside = (y[a] - y[b])[edge].sign()
            sign[edge] = torch.where(beside == 0, (x[b] - x[a])[edge].sign(), beside)
        signs.append(sign)
    met = (signs[0] == signs[1]) & (signs[1] == signs[2]) & (signs[0] != 0)
    return met, parts, signs[0]


def pack(volume: Tensor) -> Tensor:
    """(B, D, H, W) bool -> (B, D/8, H, W) uint8, bit b of byte c is slice 8 c + b.

    Raises:
        ValueError: D is no multiple of 8.
    """
    if volume.shape[1] % 8:
        raise ValueError(f"a packed volume has a multiple of 8 slices, got {volume.shape[1]}")
    eights = volume.unflatten(1, (-1, 8)).to(torch.uint8)
    shift = torch.arange(8, dtype=torch.uint8, device=volume.device)[:, None, None]
    return (eights << shift).sum(dim=2, dtype=torch.uint8)


def unpack(packed: Tensor) -> Tensor:
    """(B, D, H, W) bool of what `pack` made."""
    shift = torch.arange(8, dtype=torch.uint8, device=packed.device)[:, None, None]
    return ((packed[:, :, None] >> shift) & 1).flatten(1, 2).bool()
