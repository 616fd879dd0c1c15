"""The face patch: the disk of level-2 triangles that carries the position map.

Hairline to chin with a rim of neck, ears left out, the eye openings bridged and the lips joined by a
membrane. Every choice is made on one mean head and mirrored, so the patch is symmetric under the mesh's
mirror table.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sparse

from facet.face_model.tutte import boundary_loops

CENTRE_Z, CENTRE_Y, HALF_HEIGHT, HALF_AZIMUTH = -6.0, 2.0, 107.0, 79.0  # mm, mm, mm, degrees; see `inside`


@dataclass
class Patch:
    """The chosen part of the level-2 mesh.

    Attributes:
        vertices: (V,) indices into the level-2 mesh; triangles: (F, 3) into the patch.
        part: (F,) 0 skin, 1 eyes, 2 lips; mirror: (V,) mirror partners in the patch.
    """

    vertices: np.ndarray
    triangles: np.ndarray
    part: np.ndarray
    mirror: np.ndarray


def inside(points: np.ndarray) -> np.ndarray:
    """Which points (V, 3), mm from the middle of the head, are face: a superellipse in azimuth and height."""
    azimuth = np.degrees(np.arctan2(points[:, 0], points[:, 2] - CENTRE_Z))
    height = (points[:, 1] - CENTRE_Y) / HALF_HEIGHT
    return np.abs(azimuth / HALF_AZIMUTH) ** 3 + np.abs(height) ** 3 < 1


def cut(points: np.ndarray, triangles: np.ndarray, skin: np.ndarray, mirror: np.ndarray) -> Patch:
    """The face patch of the level-2 mesh.

    Args:
        points: (V, 3) level-2 limit positions of a mean head, millimetres, middle of the head at the origin.
        triangles: (F, 3); skin: (F,) outer skin, without cavities, eyes and tongue; mirror: (V,) mirror
        table.
    """
    chosen = triangles[skin & inside(points)[triangles].all(axis=1)]
    chosen = _tidy(_largest_component(chosen))
    loops = boundary_loops(chosen)
    outer = max(loops, key=lambda loop: np.ptp(points[loop, 1]))
    holes = [loop for loop in loops if loop is not outer]
    bridges, parts = [], []
    for hole in holes:
        middle = points[hole].mean(axis=0)
        if middle[0] > 5:  # the subject's left eye, and its mirror image
            bridge = _zip(points, *_chains(points, hole))
            bridges += [bridge, mirror[bridge][:, ::-1]]
            parts += [np.full(2 * len(bridge), 1)]
        elif middle[0] > -5:
            bridge = _zip(points, *_half_chains(points, hole))
            bridges += [bridge, mirror[bridge][:, ::-1]]
            parts += [np.full(2 * len(bridge), 2)]
    joined = np.concatenate([chosen, *bridges])
    part = np.concatenate([np.zeros(len(chosen), int), *parts])
    used, flat = np.unique(joined, return_inverse=True)
    position = np.full(len(points), -1)
    position[used] = np.arange(len(used))
    return Patch(used, flat.reshape(-1, 3), part, position[mirror[used]])


def _largest_component(triangles: np.ndarray) -> np.ndarray:
    n = int(triangles.max()) + 1
    ones = np.ones(triangles.size)
    graph = sparse.coo_matrix((ones, (triangles.ravel(), np.roll(triangles, 1, axis=1).ravel())), (n, n))
    labels = sparse.csgraph.connected_components(graph, directed=False)[1][triangles[:, 0]]
    return triangles[labels == np.bincount(labels).argmax()]


def _tidy(triangles: np.ndarray) -> np.ndarray:
    """Drop triangles until no inner edge joins two boundary vertices.

    With such an edge the Tutte embedding would have a flat triangle.
    """
    while True:
        half = np.sort(
            np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), axis=1
        )
        edges, inverse, counts = np.unique(half, axis=0, return_inverse=True, return_counts=True)
        border = np.zeros(int(triangles.max()) + 1, bool)
        border[edges[counts == 1].ravel()] = True
        chord = (counts == 2) & border[edges].all(axis=1)
        count = border[triangles].sum(axis=1)
        bad = (count == 3) | chord[inverse].reshape(3, -1).any(axis=0)
        if not bad.any():
            return triangles
        triangles = _largest_component(triangles[~bad])


def _chains(points: np.ndarray, hole: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The two chains of a hole's rim from its inner to its outer corner (x smallest to largest)."""
    loop = np.roll(hole, -int(np.argmin(points[hole, 0])))
    turn = int(np.argmax(points[loop, 0]))
    return loop[: turn + 1], np.concatenate([loop[:1], loop[turn:][::-1]])


def _half_chains(points: np.ndarray, hole: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Upper and lower chain of a hole astride the midline, from there to the subject's left corner."""
    first, second = _chains(points, hole)

    def left(chain):
        return chain[points[chain, 0] > -1e-6]

    return left(first), left(second)


def _zip(points: np.ndarray, forward: np.ndarray, backward: np.ndarray) -> np.ndarray:
    """Triangles between two chains side by side; wound against the rim, so that they face outward."""
    length = [
        np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(points[c], axis=0), axis=1))])
        for c in (forward, backward)
    ]
    s, t = length[0] / length[0][-1], length[1] / length[1][-1]
    i = j = 0
    out = []
    while i < len(forward) - 1 or j < len(backward) - 1:
        if j == len(backward) - 1 or (i < len(forward) - 1 and s[i + 1] <= t[j + 1]):
            out.append((forward[i + 1], forward[i], backward[j]))
            i += 1
        else:
            out.append((backward[j], backward[j + 1], forward[i]))
            j += 1
    return np.array([tri for tri in out if len(set(tri)) == 3])
