"""How smooth a surface is: the angles at which neighbouring triangles of a position map meet.

Residual (thesis, 4.6, figure 4.7) counts the share of neighbouring triangles whose normals differ by less
than an angle, and reports 97 % under 15° for its network. The triangles are those between neighbouring
texels, so a finer map has smaller angles: curves compare at one size.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

LIMIT = 15.0  # degrees


def dihedral_angles(position_map: Tensor, inside: Tensor | None = None) -> Tensor:
    """Angles between the normals of all triangles that share an edge.

    Every square of four texels a b / c d is cut into a-c-b and b-c-d. Each triangle meets up to three others:
    across its diagonal, its horizontal and its vertical edge.

    Args:
        position_map: (B, 3, S, S), any frame and unit.
        inside: (S, S) bool; only pairs whose four texels lie inside count. None counts all.

    Returns:
        (B, N) degrees in [0, 180].
    """
    p = position_map.double().permute(0, 2, 3, 1)  # (B, S, S, 3)
    a, b, c, d = p[:, :-1, :-1], p[:, :-1, 1:], p[:, 1:, :-1], p[:, 1:, 1:]
    upper = torch.linalg.cross(c - a, b - a, dim=-1)  # (B, S-1, S-1, 3)
    lower = torch.linalg.cross(b - d, c - d, dim=-1)
    upper, lower = (torch.nn.functional.normalize(n, dim=-1) for n in (upper, lower))
    whole = torch.ones(p.shape[1:3], dtype=torch.bool) if inside is None else inside.cpu()
    at = {"a": whole[:-1, :-1], "b": whole[:-1, 1:], "c": whole[1:, :-1], "d": whole[1:, 1:]}
    square = at["a"] & at["b"] & at["c"] & at["d"]
    pairs = (
        (upper, lower, square),
        # the lower triangle of a square and the upper one of the square below share the edge c-d
        (lower[:, :-1], upper[:, 1:], (at["b"] & at["c"] & at["d"])[:-1] & at["c"][1:]),
        # the lower triangle and the upper one of the square at the right share the edge b-d
        (lower[:, :, :-1], upper[:, :, 1:], (at["b"] & at["c"] & at["d"])[:, :-1] & at["b"][:, 1:]),
    )
    found = []
    for first, second, where in pairs:
        cosine = (first * second).sum(dim=-1).clamp(-1, 1)
        found.append(cosine[:, where.to(cosine.device)])
    return torch.rad2deg(torch.cat(found, dim=1).acos())


def share_under(angles: Tensor, limit: float = LIMIT) -> float:
    """Share of pairs that meet at less than `limit` degrees, 0 to 1."""
    return float((angles < limit).double().mean())


def smoothness_curve(angles: Tensor, degrees: np.ndarray) -> np.ndarray:
    """Share of pairs that meet at less than each of some degrees, 0 to 1."""
    values = np.sort(angles.flatten().cpu().numpy())
    return np.searchsorted(values, degrees, side="left") / len(values)
