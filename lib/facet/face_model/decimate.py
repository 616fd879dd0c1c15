"""The face patch with fewer triangles, between some of its own vertices.

Since no new vertex is made, every shape of the linear model is decimated by choosing rows. Vertices are taken
farthest first (Gonzalez 1985), closer to each other around eyes, nose and mouth; the patch is a disk whose UV
covers a square, so the Delaunay triangulation there is a mesh of it; then edges are flipped until it is a
Delaunay mesh of the surface (opposite angles add up to at most 180°).
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from facet.face_model.model import FaceModel
from facet.face_model.position_map import texel_lookup

CLOSER = 2.0  # how much closer vertices lie where the weight mask says eyes, nose, mouth
RIM = 0.25  # of the vertices, at most so many for the rim and the borders of the openings
LOOKUP = 256  # side of the grid that tells which part of the patch a triangle covers
_INSIDE = np.array([[1, 1, 1], [4, 1, 1], [1, 4, 1], [1, 1, 4]]) / np.array([[3], [6], [6], [6]])


@dataclass(frozen=True)
class Decimated:
    """Some vertices of the face patch and the triangles between them.

    Attributes:
        vertices: (V',) indices into the patch, ascending; triangles: (F', 3) into `vertices`, wound as there.
        part: (F',) as `FaceModel.triangle_part`; landmarks: (68,) into `vertices`.
    """

    vertices: Tensor
    triangles: Tensor
    part: Tensor
    landmarks: Tensor


def decimate(model: FaceModel, count: int) -> Decimated:
    """The face patch with `count` vertices, the 68 landmarks among them; about twice as many triangles.

    Raises:
        ValueError: fewer than 200 vertices are asked for, or more than there are.
    """
    points, uv = model.mean.cpu().double().numpy(), model.uv.cpu().double().numpy()
    if not 200 <= count <= len(points):
        raise ValueError(f"a decimated face has 200 to {len(points):,} vertices, not {count:,}")
    chosen = _choose(model, points, uv, count)
    triangles = _triangulate(uv[chosen], points[chosen])
    part = _parts(model, uv[chosen], triangles)
    landmarks = np.searchsorted(chosen, model.landmarks.cpu().numpy())
    values = (torch.from_numpy(v).to(model.device) for v in (chosen, triangles, part, landmarks))
    return Decimated(*values)


def _choose(model: FaceModel, points: np.ndarray, uv: np.ndarray, count: int) -> np.ndarray:
    """(count,) vertices, ascending."""
    triangles, part = model.triangles.cpu().numpy(), model.triangle_part.cpu().numpy()
    corners = [int(((uv - corner) ** 2).sum(1).argmin()) for corner in ((0, 0), (0, 1), (1, 0), (1, 1))]
    chosen = [*model.landmarks.tolist(), *corners]
    pace = np.where(model.weight.cpu().numpy() >= 4, CLOSER, 1.0)
    axes, gap = np.ascontiguousarray(points.T), np.full(len(points), np.inf)

    def distance(vertex: int) -> np.ndarray:
        x, y, z = (axis - axis[vertex] for axis in axes)
        return np.sqrt(x * x + y * y + z * z)

    for vertex in chosen:
        np.minimum(gap, distance(vertex), out=gap)
    borders = np.zeros(len(points), bool)
    borders[model.rim.cpu().numpy()] = True
    borders[np.intersect1d(triangles[part == 0], triangles[part > 0])] = True
    for allowed, wanted in ((borders, int(RIM * count)), (np.ones(len(points), bool), count)):
        while len(chosen) < wanted:
            vertex = int(np.where(allowed, gap * pace, -1.0).argmax())
            chosen.append(vertex)
            np.minimum(gap, distance(vertex), out=gap)
    return np.unique(chosen)


def _triangulate(uv: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(F, 3) Delaunay in UV, then flipped to Delaunay on the surface; wound as the patch's triangles."""
    from scipy.spatial import Delaunay

    triangles = Delaunay(uv).simplices
    area = _area(*(uv[triangles[:, k]] for k in range(3)))
    triangles = np.where((area > 0)[:, None], triangles[:, ::-1], triangles)[np.abs(area) > 1e-12]
    return _flipped(triangles.tolist(), uv, points)


def _area(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """(...) twice the signed areas of triangles in the plane (..., 2)."""
    u, v = b - a, c - a
    return u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]


def _flipped(triangles: list[list[int]], uv: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The triangles after Lawson's flips: an edge goes where the angles opposite to it exceed 180°.

    On plain numbers: an edge at a time, arrays of three cost more than what they hold.
    """
    places, corners = uv.tolist(), points.tolist()
    owner = {(t[k], t[k - 2]): number for number, t in enumerate(triangles) for k in range(3)}
    waiting = sorted(edge for edge in owner if edge[::-1] in owner and edge[0] < edge[1])
    for _ in range(20 * len(waiting)):
        if not waiting:
            break
        a, b = waiting.pop()
        if (a, b) not in owner or (b, a) not in owner:
            continue
        left, right = owner[a, b], owner[b, a]
        c, d = (sum(triangles[t]) - a - b for t in (left, right))
        if _angle(corners, c, a, b) + _angle(corners, d, a, b) <= math.pi + 1e-6:
            continue
        if not (_downwards(places, d, b, c) and _downwards(places, c, a, d)):
            continue
        for number, new in ((left, [d, b, c]), (right, [c, a, d])):
            triangles[number] = new
        del owner[a, b], owner[b, a]
        for number in (left, right):
            t = triangles[number]
            owner |= {(t[k], t[k - 2]): number for k in range(3)}
        waiting += [(a, d), (d, b), (b, c), (c, a)]
    return np.array(triangles)


def _angle(points: list[list[float]], at: int, a: int, b: int) -> float:
    """At a corner of a triangle in space."""
    x, y, z = points[at]
    ux, uy, uz = points[a][0] - x, points[a][1] - y, points[a][2] - z
    vx, vy, vz = points[b][0] - x, points[b][1] - y, points[b][2] - z
    cross = math.hypot(uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx)
    return math.atan2(cross, ux * vx + uy * vy + uz * vz)


def _downwards(uv: list[list[float]], a: int, b: int, c: int) -> bool:
    """Whether a triangle of the UV square is wound as the patch's are, and is no line."""
    (x, y), (bx, by), (cx, cy) = uv[a], uv[b], uv[c]
    return (bx - x) * (cy - y) - (by - y) * (cx - x) <= -1e-12


def _parts(model: FaceModel, uv: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """(F,) the part of the patch that most of each triangle covers, by places inside it."""
    texel, _ = texel_lookup(model, LOOKUP)
    part = model.triangle_part[texel].view(LOOKUP, LOOKUP).cpu().numpy()
    places = np.einsum("pk,fkc->fpc", _INSIDE, uv[triangles])
    column, row = np.moveaxis((places * LOOKUP).astype(int).clip(0, LOOKUP - 1), 2, 0)
    votes = part[row, column]  # (F, places)
    return np.stack([(votes == k).sum(axis=1) for k in range(3)]).argmax(axis=0)
