"""A smooth outline for an open mesh.

The face patch is cut from the head along whole triangles, so its outline is a saw whose teeth are about a
millimetre deep. In a file, a viewer or a picture that looks torn; here the outline becomes the curve that it
goes to and fro about, and the vertices near it move along. No number of the evaluation comes from this.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

WIDTH = 4.0  # standard deviation of the Gaussian along the outline, vertices
RINGS = 4  # of vertices that move along
SHORTEST = 100  # vertices of an outline; where it has fewer, they are its corners


@dataclass(frozen=True)
class _Outline:
    """Of one mesh: its longest boundary (L,), the vertices that move along (N,), and how they do.

    Attributes:
        coupling: (N, L) scipy matrix; solver: of the equations (N, N) of scipy.
    """

    loop: np.ndarray
    near: np.ndarray
    coupling: object
    solver: object


def smooth_outline(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """The vertices with the mesh's longest boundary smoothed; a closed mesh comes back as it is.

    Along the boundary p → 2 G p − G G p, G a Gaussian: that takes the teeth and keeps the size. The next
    rings take the harmonic continuation of what the boundary moved by, beyond them nothing moves. Positions
    come out as the same linear map of positions whatever they are, so it is the same in every frame.

    Args:
        vertices: (V, C), any frame and unit.
        triangles: (F, 3).

    Returns:
        (V, C) of the same type.
    """
    from scipy.ndimage import gaussian_filter1d

    triangles = np.ascontiguousarray(triangles, dtype=np.int64)
    outline = _outline(triangles.tobytes())
    if outline is None:
        return vertices
    edge = vertices[outline.loop].astype(np.float64)
    even = gaussian_filter1d(edge, WIDTH, axis=0, mode="wrap")
    moved = 2.0 * even - gaussian_filter1d(even, WIDTH, axis=0, mode="wrap") - edge
    out = vertices.copy()
    out[outline.loop] += moved.astype(vertices.dtype)
    out[outline.near] += outline.solver.solve(outline.coupling @ moved).astype(vertices.dtype)
    return out


@lru_cache(maxsize=8)
def _outline(triangles: bytes) -> _Outline | None:
    """Of the triangles (F, 3) int64; None where there is no outline that can be smoothed."""
    from scipy.sparse import diags
    from scipy.sparse.linalg import splu

    from facet.face_model.subdivision import neighbours
    from facet.face_model.tutte import boundary_loops

    triangles = np.frombuffer(triangles, dtype=np.int64).reshape(-1, 3)
    try:
        loops = boundary_loops(triangles)
    except ValueError:  # it touches itself
        return None
    if not loops or len(loops[0]) < SHORTEST:
        return None
    count = int(triangles.max()) + 1
    joined = neighbours(triangles, count)
    reached = np.zeros(count)
    reached[loops[0]] = 1.0
    for _ in range(RINGS):
        reached = ((joined @ reached + reached) > 0).astype(float)
    reached[np.concatenate(loops)] = 0.0
    near = np.flatnonzero(reached)
    among = joined[near]
    matrix = diags(np.asarray(among.sum(axis=1)).ravel()) - among[:, near]
    return _Outline(loops[0], near, among[:, loops[0]], splu(matrix.tocsc()))
