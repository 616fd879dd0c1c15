"""What no loss counts, so that no network learns it: the rim of neck, the skin between the lips.

Their vertices take the place that the mean face gives them, and move along with the counted vertices that
they border on: p = T(mean) + d, T the similarity that fits the mean face to the counted vertices, d the
harmonic continuation of the counted vertices' own differences.
"""

import weakref
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from facet.geometry import similarity

# Least share of counted texels that a vertex is read from, by bilinear weight; only they are read.
COUNTED = 0.05


@dataclass(frozen=True)
class Rim:
    """What continues a face model's counted vertices, at one size of the position map.

    Attributes:
        counted: (S, S) bool, texels that the loss counts.
        triangle: (S²,) the triangle of each texel's centre; corners: (S², 3) its barycentric coordinates.
        neighbours: (V, V) scipy matrix, 1 where an edge joins two vertices.
    """

    counted: Tensor
    triangle: Tensor
    corners: Tensor
    neighbours: object


_rims: dict[tuple[int, int], Rim] = {}


def complete(position_map: Tensor, face) -> tuple[Tensor, Tensor]:
    """Vertices of a position map, and the map, both with the uncounted parts continued.

    Args:
        position_map: (3, S, S), image frame.
        face: a face model.

    Returns:
        (V, 3) vertices and (3, S, S) map, in the map's frame.
    """
    from facet.face_model import vertices_from_map

    uv = face.uv.to(position_map)
    if bool((face.weight > 0).all()):
        return vertices_from_map(position_map[None], uv)[0], position_map
    rim = _rim(face, position_map.shape[-1])
    mask = rim.counted.to(position_map)
    read = vertices_from_map(torch.cat((position_map * mask, mask[None]))[None], uv)[0]  # (V, 4)
    known = (read[:, 3] > COUNTED) & (face.weight > 0)
    vertices = read[:, :3] / read[:, 3:].clamp(min=COUNTED)
    mean = face.mean.to(vertices)
    weights = known.to(torch.float64)
    fit = similarity(mean[None].double(), vertices[None].double(), weights, reflect=True)
    base = fit.apply(mean[None].double())[0]
    difference = _harmonic((vertices - base).cpu().numpy(), known.cpu().numpy(), rim.neighbours)
    vertices = torch.where(known[:, None], vertices, (base + torch.from_numpy(difference).to(base)).float())
    triangles = face.triangles[rim.triangle]
    texels = (vertices[triangles] * rim.corners[..., None]).sum(dim=1).T.view_as(position_map)
    return vertices, torch.where(rim.counted, position_map, texels)


def _harmonic(values: np.ndarray, known: np.ndarray, neighbours) -> np.ndarray:
    """(V, C) values that are kept where known (V,), and elsewhere are the mean of their neighbours'."""
    from scipy.sparse import diags
    from scipy.sparse.linalg import splu

    unknown = np.flatnonzero(~known)
    among = neighbours[unknown]
    degree = np.asarray(among.sum(axis=1)).ravel()
    matrix = diags(degree) - among[:, unknown]
    out = values.astype(np.float64).copy()
    out[unknown] = splu(matrix.tocsc()).solve(among[:, np.flatnonzero(known)] @ out[known])
    return out


def _rim(face, size: int) -> Rim:
    """Made once for a face model, and forgotten with it."""
    key = (id(face), size)
    if key not in _rims:
        _rims[key] = _make_rim(face, size)
        weakref.finalize(face, _rims.pop, key, None)
    return _rims[key]


def _make_rim(face, size: int) -> Rim:
    from scipy.sparse import coo_matrix

    from facet.face_model.position_map import texel_lookup

    triangle, corners = texel_lookup(face, size)
    pairs = face.triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2).cpu().numpy()
    start, end = np.concatenate((pairs, pairs[:, ::-1])).T
    count = len(face.mean)
    neighbours = coo_matrix((np.ones(len(start)), (start, end)), shape=(count, count)).tocsr()
    neighbours.data[:] = 1.0  # an inner edge was counted by both of its triangles
    return Rim(face.uv_weight(size) > 0, triangle, corners, neighbours)
