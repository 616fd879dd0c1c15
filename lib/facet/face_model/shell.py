"""The face as a closed solid: the face surface, and a back across its rim.

The back is a fan of triangles from the rim to its centroid, which lies inside the head, so the solid is the
front of the head with the eyes' openings and the lips closed. For training the surface is read at a grid of
nodes over the UV square, the rim among them.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from facet.face_model.model import FaceModel
from facet.face_model.position_map import node_lookup


@dataclass(frozen=True)
class Shell:
    """A triangulated disk and what closes it.

    Attributes:
        triangles: (F, 3) of the closed surface; vertex `count` is the centroid of the rim.
        rim: (R, 2) the rim's edges; count: vertices of the disk.
    """

    triangles: Tensor
    rim: Tensor
    count: int

    def closed(self, vertices: Tensor) -> Tensor:
        """(B, V + 1, 3) the disk's vertices (B, V, 3), and the centroid of the rim as a curve."""
        ends = vertices[:, self.rim]  # (B, R, 2, 3)
        length = torch.linalg.vector_norm(ends[:, :, 1] - ends[:, :, 0], dim=-1, keepdim=True)
        centroid = (ends.mean(dim=2) * length).sum(dim=1, keepdim=True) / length.sum(dim=1, keepdim=True)
        return torch.cat((vertices, centroid), dim=1)


def close(triangles: Tensor, count: int) -> Shell:
    """The shell of a disk's triangles (F, 3) over `count` vertices.

    Raises:
        ValueError: the surface has no rim.
    """
    half = triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)
    code, twin = half[:, 0] * count + half[:, 1], half[:, 1] * count + half[:, 0]
    border = half[~torch.isin(code, twin)]
    if not len(border):
        raise ValueError("the surface has no rim: it is closed already")
    apex = torch.full_like(border[:, :1], count)
    fan = torch.cat((border.flip(1), apex), dim=1)
    return Shell(torch.cat((triangles, fan)), border, count)


def grid_shell(cells: int, device: torch.device | str = "cpu") -> Shell:
    """The shell over the (cells + 1)² nodes of the UV square, row by row."""
    node = torch.arange((cells + 1) ** 2, device=device).view(cells + 1, cells + 1)
    a, b, c, d = node[:-1, :-1], node[1:, :-1], node[:-1, 1:], node[1:, 1:]
    halves = (torch.stack(three, dim=-1).view(-1, 3) for three in ((a, b, c), (c, b, d)))
    return close(torch.cat(tuple(halves)), (cells + 1) ** 2)


def grid_corners(model: FaceModel, cells: int) -> tuple[Tensor, Tensor]:
    """Corners and weights, for `sampler_at`, of the nodes of `grid_shell`."""
    triangle, weights = node_lookup(model, cells)
    return model.triangles[triangle], weights
