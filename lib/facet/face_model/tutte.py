"""Tutte embedding of a disk in the unit square (Tutte 1963): the UV layout of the position map."""

import numpy as np
import scipy.sparse as sparse
from scipy.sparse.linalg import splu


def boundary_loops(triangles: np.ndarray) -> list[np.ndarray]:
    """Boundary loops as vertex sequences, the mesh on their left, longest first."""
    half = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    n = int(triangles.max()) + 1
    code, twin = half[:, 0] * n + half[:, 1], half[:, 1] * n + half[:, 0]
    border = half[~np.isin(code, twin)]
    following = {}
    for a, b in border.tolist():
        if a in following:
            raise ValueError(f"the boundary touches itself at vertex {a}: the patch is no disk there.")
        following[a] = b
    loops = []
    while following:
        start = current = min(following)
        loop = []
        while True:
            loop.append(current)
            current = following.pop(current)
            if current == start:
                break
        loops.append(np.array(loop))
    return sorted(loops, key=len, reverse=True)


def embed(triangles: np.ndarray, vertices: np.ndarray, mirror: np.ndarray, *, rounds: int = 4) -> np.ndarray:
    """(V, 2) UV in the unit square, u to the subject's left, v down; mirror-symmetric about u = ½.

    Every inner vertex is a positive combination of its neighbours and the boundary is convex, so by Tutte's
    theorem no triangle flips. Plain Laplacian weights squeeze eyes and mouth into a few texels; so the
    weights start as mean values (Floater 2003) and are divided, `rounds` times, by the stretch at the
    neighbour (Yoshizawa et al. 2004), which evens the area out and keeps them positive. The boundary is
    laid on the square by arc length, its corners at an eighth, three eighths … of the way round from the
    top of the forehead.

    Args:
        triangles: (F, 3) of a topological disk, counter-clockwise seen from outside.
        vertices: (V, 3) positions that the layout follows (model frame), mirror-symmetric.
        mirror: (V,) each vertex's mirror partner.
    """
    loops = boundary_loops(triangles)
    if len(loops) != 1:
        raise ValueError(f"a disk has one boundary, this patch has {len(loops)}.")
    boundary = np.zeros((len(vertices), 2))
    loop = loops[0]
    boundary[loop] = _square(vertices[loop], mirror[loop] == loop)
    weights = _mean_value_weights(triangles, vertices)
    uv = _solve(weights, loop, boundary)
    for _ in range(rounds):
        weights = weights @ sparse.diags(1 / _stretch(triangles, vertices, uv))
        uv = _solve(weights, loop, boundary)
    return (uv + uv[mirror] * [-1, 1] + [1, 0]) / 2


def _solve(weights: sparse.csr_matrix, loop: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """Place each inner vertex at the weighted mean of its neighbours."""
    uv = uv.copy()
    laplacian = sparse.diags(np.asarray(weights.sum(1)).ravel()) - weights
    laplacian = (sparse.diags(1 / laplacian.diagonal()) @ laplacian).tocsr()
    inner = np.setdiff1d(np.arange(len(uv)), loop)
    solver = splu(laplacian[inner][:, inner].tocsc())
    uv[inner] = solver.solve(-(laplacian[inner][:, loop] @ uv[loop]))
    return uv


def _mean_value_weights(triangles: np.ndarray, vertices: np.ndarray) -> sparse.csr_matrix:
    """(V, V) weights w_ij = (tan(α/2) + tan(β/2)) / |p_i − p_j| with the angles at i beside the edge."""
    n = len(vertices)
    total = sparse.csr_matrix((n, n))
    for k in range(3):
        i, j, m = triangles[:, k], triangles[:, (k + 1) % 3], triangles[:, (k + 2) % 3]
        a, b = vertices[j] - vertices[i], vertices[m] - vertices[i]
        la, lb = np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)
        cosine = np.clip((a * b).sum(1) / np.maximum(la * lb, 1e-12), -0.999, 0.999)
        half = np.sqrt((1 - cosine) / (1 + cosine))  # tan of half the angle at i
        total = total + sparse.coo_matrix((half / np.maximum(la, 1e-3), (i, j)), (n, n))
        total = total + sparse.coo_matrix((half / np.maximum(lb, 1e-3), (i, m)), (n, n))
    return total.tocsr()


def _stretch(triangles: np.ndarray, vertices: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """(V,) root-mean-square stretch from UV to the surface around each vertex (Sander et al. 2001)."""
    area = np.maximum(np.abs(signed_areas(triangles, uv)), 1e-12)
    q = vertices[triangles]
    (u1, v1), (u2, v2), (u3, v3) = (uv[triangles[:, k]].T for k in range(3))
    du = (q[:, 0].T * (v2 - v3) + q[:, 1].T * (v3 - v1) + q[:, 2].T * (v1 - v2)) / (2 * area)
    dv = (q[:, 0].T * (u3 - u2) + q[:, 1].T * (u1 - u3) + q[:, 2].T * (u2 - u1)) / (2 * area)
    squared = ((du**2).sum(0) + (dv**2).sum(0)) / 2
    real = 0.5 * np.linalg.norm(np.cross(q[:, 1] - q[:, 0], q[:, 2] - q[:, 0]), axis=1)
    top, bottom = np.zeros(len(uv)), np.zeros(len(uv))
    for k in range(3):
        np.add.at(top, triangles[:, k], squared * real)
        np.add.at(bottom, triangles[:, k], real)
    ratio = np.sqrt(top / np.maximum(bottom, 1e-12))
    return np.clip(ratio / np.median(ratio), 0.1, 10.0)


def _square(points: np.ndarray, on_midline: np.ndarray) -> np.ndarray:
    """Unit-square positions of an ordered loop; the highest midline point sits at (½, 0)."""
    midline = np.flatnonzero(on_midline)
    top = midline[np.argmax(points[midline, 1])]
    order = np.roll(np.arange(len(points)), -top)
    step = np.linalg.norm(np.diff(points[order], axis=0, append=points[order[:1]]), axis=1)
    t = np.concatenate([[0], np.cumsum(step)[:-1]]) / step.sum()
    if points[order[1], 0] < 0:  # runs to the subject's right first: measure it the other way round
        t = (1 - t) % 1
    corners = np.array([1, 3, 5, 7]) / 8
    for corner in corners:  # a vertex in each corner of the square, so that no triangle is cut off
        t[np.argmin(np.abs(t - corner))] = corner
    knots = np.concatenate([[0], corners, [1]])
    uv = np.zeros((len(points), 2))
    uv[order, 0] = np.interp(t, knots, [0.5, 1, 1, 0, 0, 0.5])
    uv[order, 1] = np.interp(t, knots, [0, 0, 1, 1, 0, 0])
    return uv


def signed_areas(triangles: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """(F,) signed areas in UV; one sign for all means that no triangle is flipped."""
    a, b, c = (uv[triangles[:, k]] for k in range(3))
    return 0.5 * ((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0])
