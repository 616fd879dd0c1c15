"""Loop subdivision with limit positions, as sparse matrices (Loop 1987).

One coarse mesh, many levels, ONE surface: whatever the level, every returned vertex lies on the limit
surface of the coarse mesh, so the level-1 head that is rendered and the level-2 face patch that is the
ground truth agree. Matrices act on coarse vertices after blending: `fine = matrix @ coarse`.
"""

import numpy as np
import scipy.sparse as sparse


def edges_of(triangles: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unique edges (E, 2) sorted, the edge opposite each corner (F, 3), and faces an edge (E,) borders."""
    corners = np.stack(
        [triangles[:, [1, 2]], triangles[:, [2, 0]], triangles[:, [0, 1]]], axis=1
    )  # (F, 3, 2)
    edges, inverse, counts = np.unique(
        np.sort(corners.reshape(-1, 2), axis=1), axis=0, return_inverse=True, return_counts=True
    )
    if counts.max() > 2:
        raise ValueError("Loop subdivision needs a manifold mesh: an edge borders more than two triangles.")
    return edges, inverse.reshape(-1, 3), counts


def neighbours(triangles: np.ndarray, vertices: int) -> sparse.csr_matrix:
    """(V, V) of ones where an edge joins two vertices."""
    start, end = triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2).T
    ones = np.ones(2 * len(start))
    joined = sparse.coo_matrix((ones, (np.r_[start, end], np.r_[end, start])), (vertices, vertices)).tocsr()
    joined.data[:] = 1.0  # an inner edge was counted by both of its triangles
    return joined


def subdivide(triangles: np.ndarray, vertices: int) -> tuple[sparse.csr_matrix, np.ndarray]:
    """One Loop step: the (V + E, V) matrix and the (4 F, 3) triangles; triangle f becomes 4 f … 4 f + 3.

    Interior vertex of valence n: (1 − n β) v + β Σ neighbours, β = (5/8 − (3/8 + cos(2π/n)/4)²)/n; edge:
    3/8, 3/8, 1/8, 1/8. On a boundary: 1/8, 3/4, 1/8 and midpoints.
    """
    edges, opposite, counts = edges_of(triangles)
    on_boundary, neighbours = _rings(edges, counts, vertices)
    valence = np.asarray(neighbours.sum(axis=1)).ravel()
    beta = _beta(valence)
    even = sparse.diags(1 - valence * beta) + sparse.diags(beta) @ neighbours
    border = _border_neighbours(edges, counts, vertices)
    even = (
        sparse.diags((~on_boundary).astype(float)) @ even
        + sparse.diags(on_boundary * 0.75)
        + sparse.diags(on_boundary * 0.125) @ border
    )
    inner = counts == 2
    ends = np.where(inner, 3 / 8, 1 / 2)
    rows = np.repeat(np.arange(len(edges)), 2)
    odd = sparse.coo_matrix((np.repeat(ends, 2), (rows, edges.ravel())), (len(edges), vertices))
    face_edge, face_corner = opposite.ravel(), triangles.ravel()
    odd = odd + sparse.coo_matrix(
        (np.where(inner[face_edge], 1 / 8, 0.0), (face_edge, face_corner)), (len(edges), vertices)
    )
    a, b, c = (vertices + opposite).T  # new vertices opposite corners 0, 1, 2
    v0, v1, v2 = triangles.T
    fine = np.stack([[v0, c, b], [v1, a, c], [v2, b, a], [a, b, c]], axis=0).transpose(2, 0, 1).reshape(-1, 3)
    return sparse.vstack([even, odd]).tocsr(), fine


def limit(triangles: np.ndarray, vertices: int) -> sparse.csr_matrix:
    """(V, V) matrix that pushes vertices to the Loop limit surface.

    Interior: (1 − n χ) v + χ Σ neighbours with χ = 1/(3/(8 β) + n); boundary: 1/6, 2/3, 1/6.
    """
    edges, _, counts = edges_of(triangles)
    on_boundary, neighbours = _rings(edges, counts, vertices)
    valence = np.asarray(neighbours.sum(axis=1)).ravel()
    chi = np.where(valence > 0, 1 / (3 / (8 * np.maximum(_beta(valence), 1e-12)) + np.maximum(valence, 1)), 0)
    inner = sparse.diags(1 - valence * chi) + sparse.diags(chi) @ neighbours
    border = _border_neighbours(edges, counts, vertices)
    return (
        sparse.diags((~on_boundary).astype(float)) @ inner
        + sparse.diags(on_boundary * 2 / 3)
        + sparse.diags(on_boundary / 6) @ border
    ).tocsr()


def limit_levels(triangles: np.ndarray, vertices: int, level: int) -> tuple[sparse.csr_matrix, np.ndarray]:
    """Matrix from coarse vertices to limit positions of the given level, and that level's triangles."""
    matrix = sparse.identity(vertices, format="csr")
    for _ in range(level):
        step, triangles = subdivide(triangles, matrix.shape[0])
        matrix = step @ matrix
    return (limit(triangles, matrix.shape[0]) @ matrix).tocsr(), triangles


def subdivide_corners(corners: np.ndarray, levels: int = 1) -> np.ndarray:
    """(F, 3, C) corner attributes, such as a UV with seams, by midpoints to (4^levels F, 3, C).

    In the order of `subdivide`.
    """
    for _ in range(levels):
        p0, p1, p2 = corners[:, 0], corners[:, 1], corners[:, 2]
        a, b, c = (p1 + p2) / 2, (p2 + p0) / 2, (p0 + p1) / 2
        fine = np.stack([[p0, c, b], [p1, a, c], [p2, b, a], [a, b, c]])  # (4, 3, F, C)
        corners = fine.transpose(2, 0, 1, 3).reshape(-1, 3, corners.shape[-1])
    return corners


def _beta(valence: np.ndarray) -> np.ndarray:
    n = np.maximum(valence, 1)
    return (5 / 8 - (3 / 8 + np.cos(2 * np.pi / n) / 4) ** 2) / n


def _rings(edges: np.ndarray, counts: np.ndarray, vertices: int) -> tuple[np.ndarray, sparse.csr_matrix]:
    ones = np.ones(len(edges))
    half = sparse.coo_matrix((ones, (edges[:, 0], edges[:, 1])), (vertices, vertices))
    on_boundary = np.zeros(vertices, bool)
    on_boundary[edges[counts == 1].ravel()] = True
    return on_boundary, (half + half.T).tocsr()


def _border_neighbours(edges: np.ndarray, counts: np.ndarray, vertices: int) -> sparse.csr_matrix:
    return _rings(edges[counts == 1], np.ones(int((counts == 1).sum())), vertices)[1]
