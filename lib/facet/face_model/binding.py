"""How a worn thing follows a head: each of its vertices hangs on three points of the coarse head.

    p = Σ_k w_k c[r_k] + s ∘ o   (MakeHuman's proxies)

with the offset o in mm of the reference head and s the head's width, height and depth beside the reference's.
Offsets that turn are given in the frame of the three points instead, so lashes go with the lid and lower
teeth with the jaw. Points beyond the coarse head are anchors, each a fixed combination of its vertices: the
teeth hang on them.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass
class Frame:
    """What binding needs to know of a coarse head of V vertices.

    Attributes:
        ends: (3, 2, n) vertices whose means span width, height and depth; extent: (3,) mm of the reference.
        anchor_rows: (R,) vertices; anchor_weights: (A, R): anchor a is V + a.
        mirror: (V + A,) mirror partners; lips: (3, 2) vertices of upper and lower lip that touch at rest.
    """

    ends: Tensor
    extent: Tensor
    anchor_rows: Tensor
    anchor_weights: Tensor
    mirror: Tensor
    lips: Tensor

    def gap(self, coarse: Tensor) -> Tensor:
        """(B,) mm between the lips, negative where they are pressed together."""
        height = coarse[..., 1].index_select(1, self.lips.reshape(-1)).view(-1, 3, 2)
        return (height[..., 0] - height[..., 1]).amax(dim=1)

    def points(self, coarse: Tensor) -> Tensor:
        """(B, V + A, 3) coarse heads (B, V, 3) and their anchors."""
        chosen = coarse.index_select(1, self.anchor_rows)
        return torch.cat([coarse, torch.einsum("ar,brc->bac", self.anchor_weights.to(coarse), chosen)], dim=1)

    def scale(self, coarse: Tensor) -> Tensor:
        """(B, 3) width, height and depth of coarse heads beside those of the reference."""
        ends = coarse.index_select(1, self.ends.reshape(-1)).view(len(coarse), 3, 2, -1, 3).mean(dim=3)
        span = (ends[:, :, 1] - ends[:, :, 0]).diagonal(dim1=1, dim2=2)
        return span / self.extent


def follow(
    points: Tensor, references: Tensor, weights: Tensor, offsets: Tensor, turns: Tensor, scale: Tensor
) -> Tensor:
    """(N, 3) places of bound vertices.

    Args:
        points: (P, 3) mm; references: (N, 3) rows of it; weights: (N, 3), each row sums to 1.
        offsets: (N, 3) mm; turns: (N,) bool, offsets in the frame of the three points; scale: (N, 3).
    """
    corners = [points.index_select(0, references[:, k]) for k in range(3)]
    place = sum(corner * weights[:, k : k + 1] for k, corner in enumerate(corners))
    moved = offsets * scale
    some = turns.nonzero()[:, 0]
    if len(some):
        axes = frames(*(corner[some] for corner in corners))
        turned = (axes * offsets[some, None]).sum(dim=2) * scale[some].mean(dim=1, keepdim=True)
        moved = moved.index_copy(0, some, turned)
    return place + moved


def frames(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """(N, 3, 3) axes as columns: along a → b, in the plane, and the normal of triangles."""
    along = F.normalize(b - a, dim=1)
    normal = F.normalize(torch.linalg.cross(b - a, c - a), dim=1)
    return torch.stack([along, torch.linalg.cross(normal, along), normal], dim=2)


def offsets_of(
    places: Tensor, points: Tensor, references: Tensor, weights: Tensor, turns: Tensor, scale: Tensor
) -> Tensor:
    """(N, 3) offsets with which `follow` gives `places`, for `scale` (3,) of the head in `points`."""
    corners = [points.index_select(0, references[:, k]) for k in range(3)]
    moved = places - sum(corner * weights[:, k : k + 1] for k, corner in enumerate(corners))
    turned = (frames(*corners) * moved[:, :, None]).sum(dim=1) / scale.mean()
    return torch.where(turns[:, None], turned, moved / scale)
