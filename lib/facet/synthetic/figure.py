"""The head's mesh for portraits: its chest goes on below the edge where the face model ends."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from facet.face_model import PARTS, FaceModel

WIDER, DEEPER, LOWER = 1.25, 1.1, 110.0  # what hangs below the edge, against the edge; mm
EDGE = 60.0  # mm above the lowest vertex that the edge lies within


@dataclass
class Figure:
    """A face model's head with a chest.

    Attributes:
        triangles: (F, 3), the face model's first; part: (F,); uv: (F, 3, 2), as in the face model.
        rim: (R,) vertices at the chest's edge; vertex Vh + r hangs below rim[r].
    """

    triangles: Tensor
    part: Tensor
    uv: Tensor
    rim: Tensor

    @cached_property
    def corner_uv(self) -> Tensor:
        """(2, 3 F) the UV of corner after corner, stored column by column."""
        return self.uv.view(-1, 2).mT.contiguous()

    @property
    def faces(self) -> int:
        return len(self.triangles)

    @classmethod
    def of(cls, model: FaceModel) -> "Figure":
        """The figure of a face model."""
        body = (model.head_part == PARTS.index("body")).nonzero()[:, 0]
        sides = [[0, 1], [1, 2], [2, 0]]
        edges, count = model.head_triangles[body][:, sides].reshape(-1, 2), len(model.head_rest)
        known = model.head_triangles[:, sides].reshape(-1, 2)
        single = ~torch.isin(edges[:, 1] * count + edges[:, 0], known[:, 0] * count + known[:, 1])
        height = model.head_rest[:, 1]
        chosen = (single & (height[edges[:, 0]] < height.min() + EDGE)).nonzero()[:, 0]
        edge, edge_uv = edges[chosen], model.head_uv[body][:, sides].reshape(-1, 2, 2)[chosen]
        rim, place = edge.unique(return_inverse=True)
        mirrored = _texture_above(model, body, rim)[place]  # (E, 2, 2): the cloth above, mirrored at the edge
        (a, b), (c, d) = edge.unbind(1), (place + count).unbind(1)
        (p, q), (r, s) = edge_uv.unbind(1), mirrored.unbind(1)
        new = model.head_part.new_full((2 * len(edge),), PARTS.index("body"))
        return cls(
            triangles=torch.cat([model.head_triangles, torch.stack([b, a, c], 1), torch.stack([b, c, d], 1)]),
            part=torch.cat([model.head_part, new]),
            uv=torch.cat([model.head_uv, torch.stack([q, p, r], 1), torch.stack([q, r, s], 1)]),
            rim=rim,
        )

    def hang(self, head: Tensor) -> Tensor:
        """(B, Vh + R, 3) heads (B, Vh, 3) with what hangs below."""
        edge = head[:, self.rim]
        middle = edge.mean(dim=1, keepdim=True)
        away = (edge - middle) * edge.new_tensor([WIDER, 0.0, DEEPER])
        return torch.cat([head, middle + away - edge.new_tensor([0.0, LOWER, 0.0])], dim=1)


def _texture_above(model: FaceModel, body: Tensor, rim: Tensor) -> Tensor:
    """(R, 2) UV of the body's vertices as far above the edge as the hem is below it."""
    corners = model.head_triangles[body].reshape(-1)
    uv = model.head_uv.new_zeros(len(model.head_rest), 2)
    uv[corners] = model.head_uv[body].reshape(-1, 2)
    own = corners.unique()
    above = model.head_rest[rim] + model.head_rest.new_tensor([0.0, 0.6 * LOWER, 0.0])
    return uv[own[torch.cdist(above, model.head_rest[own]).argmin(dim=1)]]
