"""Normals of triangle meshes, outward in right- and left-handed frames."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.weak import WeakTensorKeyDictionary

_INCIDENCE = WeakTensorKeyDictionary()  # triangles -> (version, (V, valence) table)


def triangle_normals(vertices: Tensor, triangles: Tensor) -> Tensor:
    """(b - a) × (c - a), twice the area long: (B, V, 3) → (B, F, 3); outward in the model frame only."""
    a, b, c = (vertices.index_select(1, triangles[:, corner]) for corner in range(3))
    return torch.linalg.cross(b - a, c - a)


def vertex_normals(vertices: Tensor, triangles: Tensor, *, frame: str | None = None) -> Tensor:
    """Unit normals that point outward in the frame of the vertices, each triangle weighted by its area.

    Triangles are counter-clockwise seen from outside in the right-handed model frame. In the left-handed
    image frame the cross product of the same corners points inward, so it is negated there. Without `frame`,
    the sign of the volume between the surface and its centroid tells which of the two it is; a nearly flat
    mesh has to be told.

    Args:
        vertices: (B, V, 3).
        triangles: (F, 3).
        frame: "model" (right-handed), "image" (left-handed) or None (find out for each mesh).

    Returns:
        (B, V, 3); zero at vertices without a triangle of non-zero area.

    Raises:
        ValueError: `frame` is unknown, or it is None and the mesh too flat to tell.
    """
    if frame not in (None, "model", "image"):
        raise ValueError(f'frame must be "model", "image" or None, not {frame!r}')
    faces = triangle_normals(vertices, triangles)
    if frame is None:
        faces = faces * _handedness(vertices, triangles, faces)[:, None, None]
    elif frame == "image":
        faces = -faces
    table = _incident_triangles(triangles, vertices.shape[1])
    faces = torch.cat([faces, torch.zeros_like(faces[:, :1])], 1)  # the row that pads the table
    summed = faces.index_select(1, table[0])
    for row in table[1:]:  # a fixed order of summation: the same bits on every run, on CUDA too
        summed = summed + faces.index_select(1, row)
    return functional.normalize(summed, dim=-1, eps=torch.finfo(summed.dtype).tiny)


def unit(vectors: Tensor) -> Tensor:
    """(N, 3) of length 1, of vectors (N, 3) stored column by column, as the result is."""
    return vectors / vectors.contiguous().norm(dim=1, keepdim=True).clamp_min(1e-12)


def _handedness(vertices: Tensor, triangles: Tensor, faces: Tensor) -> Tensor:
    """(B,) 1 where cross products of the triangles' edges point outward, -1 where they point inward."""
    with torch.no_grad():
        middle = vertices.mean(1, keepdim=True)
        flux = ((vertices.index_select(1, triangles[:, 0]) - middle) * faces).sum(
            (1, 2)
        )  # six times the volume
        area = faces.norm(dim=-1).sum(1)
        if (flux.abs() <= 1e-3 * area**1.5).any():  # a sphere has .2, a cap of 20 degrees .01
            raise ValueError('the mesh is too flat to tell its outside: pass frame="model" or frame="image"')
        return flux.sign()


def _incident_triangles(triangles: Tensor, count: int) -> Tensor:
    """(valence, V) int64: the triangles around each vertex in ascending order, padded with F; remembered."""
    version, table = _INCIDENCE.get(triangles, (None, None))
    if version == (triangles._version, count):
        return table
    corner_vertex, order = triangles.reshape(-1).sort(stable=True)
    valence = torch.bincount(corner_vertex, minlength=count)
    rank = torch.arange(len(order), device=order.device) - (valence.cumsum(0) - valence)[corner_vertex]
    table = triangles.new_full((max(1, int(valence.max())), count), len(triangles))
    table[rank, corner_vertex] = torch.div(order, 3, rounding_mode="floor")
    _INCIDENCE[triangles] = ((triangles._version, count), table)
    return table
