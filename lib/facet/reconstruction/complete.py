"""From a network's position map to a surface: noise smoothed, and continued where no loss counts.

Both act on the difference to the mean face, not on the face: p = T(mean) + d, T the similarity that fits the
mean face to the map best. So smoothing blurs no nose and no eyelid, but a detail finer than it is the mean
face's. The rim of neck and the skin between the lips, which no loss counts and so no network learns, take the
harmonic continuation of d: they move along with what they border on.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from facet.face_model.once import once_for
from facet.geometry import similarity
from facet.reconstruction.prior import prior

# Standard deviation of the smoothing, share of the map's side: two texels at 128.
SMOOTHING = 1 / 64
# Least share of counted texels that a vertex is read from, by bilinear weight; only they are read.
COUNTED = 0.05


@dataclass(frozen=True)
class Rim:
    """What of a face model is needed here, at one size of the position map.

    Attributes:
        counted: (S, S) bool, texels that the loss counts.
        mean: (S², 3) mean face at the texels, float64.
        triangle: (S²,) the triangle of each texel's centre; corners: (S², 3) its barycentric coordinates.
        neighbours: (V, V) scipy matrix, 1 where an edge joins two vertices.
    """

    counted: Tensor
    mean: Tensor
    triangle: Tensor
    corners: Tensor
    neighbours: object


def complete(
    position_map: Tensor, face, *, smoothing: float = SMOOTHING, noise: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Vertices of a position map and the map itself, both smoothed and continued.

    Args:
        position_map: (3, S, S), image frame.
        face: a face model; one whose every vertex counts is read as it is.
        smoothing: standard deviation of a Gaussian over the map, share of S; 0 is none.
        noise: of what is left, mm: the most probable face behind it is returned (`prior`); 0 asks for none.

    Returns:
        (V, 3) vertices and (3, S, S) map, in the map's frame.
    """
    from facet.face_model import vertices_from_map

    uv = face.uv.to(position_map)
    if bool((face.weight > 0).all()):
        return vertices_from_map(position_map[None], uv)[0], position_map
    rim = _rim(face, position_map.shape[-1])
    mask = rim.counted.to(position_map)
    texels = position_map.flatten(1).T[None].double()  # (1, S², 3)
    fit = similarity(rim.mean[None], texels, mask.flatten()[None].double(), reflect=True)
    base = fit.apply(rim.mean[None])[0].T.view_as(position_map).to(position_map)
    difference = _smooth(position_map - base, mask, smoothing * len(mask))
    read = vertices_from_map(torch.cat((difference * mask, mask[None]))[None], uv)[0]  # (V, 4)
    known = (read[:, 3] > COUNTED) & (face.weight > 0)
    at_vertices = read[:, :3] / read[:, 3:].clamp(min=COUNTED)
    moved = _harmonic(at_vertices.cpu().numpy(), known.cpu().numpy(), rim.neighbours)
    at_vertices = torch.where(known[:, None], at_vertices, torch.from_numpy(moved).to(at_vertices))
    vertices = fit.apply(face.mean[None].double())[0].to(position_map) + at_vertices
    if noise > 0:
        vertices = prior(face).likely(vertices, noise)[0].to(position_map)
        return vertices, _at_texels(vertices, face, rim).T.view_as(position_map)
    continued = _at_texels(at_vertices, face, rim)
    return vertices, base + torch.where(rim.counted, difference, continued.T.view_as(base))


def _at_texels(values: Tensor, face, rim: Rim) -> Tensor:
    """(S², C) values at the texels of (V, C) values at the vertices."""
    return (values[face.triangles[rim.triangle]] * rim.corners[..., None]).sum(dim=1)


def _smooth(values: Tensor, mask: Tensor, deviation: float) -> Tensor:
    """(C, S, S) Gaussian means over the texels of a mask (S, S): nothing leaks in from outside of it."""
    if deviation <= 0:
        return values
    reach = int(np.ceil(3 * deviation))
    line = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / deviation) ** 2).to(values)
    planes = torch.cat((values * mask, mask[None]))[:, None]  # (C + 1, 1, S, S)
    planes = F.conv2d(planes, line.view(1, 1, -1, 1), padding=(reach, 0))
    planes = F.conv2d(planes, line.view(1, 1, 1, -1), padding=(0, reach))[:, 0]
    return planes[:-1] / planes[-1:].clamp(min=1e-6)


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
    return once_for(face, ("rim", size), lambda: _make_rim(face, size))


def _make_rim(face, size: int) -> Rim:
    from facet.face_model.position_map import texel_lookup
    from facet.face_model.subdivision import neighbours

    triangle, corners = texel_lookup(face, size)
    mean = (face.mean[face.triangles[triangle]] * corners[..., None]).sum(dim=1).double()
    joined = neighbours(face.triangles.cpu().numpy(), len(face.mean))
    return Rim(face.uv_weight(size) > 0, mean, triangle, corners, joined)
