"""Bodies of a mesh: which of its vertices hang together, and what is left when only the largest is kept.

VRN's volumes have small bodies beside the face ("bumps", the more the head is turned). The review takes them
away by dynamic label merging over the mesh's triangles; `components` does the same by scipy.
"""

from collections.abc import Callable

import numpy as np

UNLABELLED = -1


def merge_labels(
    triangles: np.ndarray, count: int, *, watch: Callable[[int, np.ndarray], None] | None = None
) -> np.ndarray:
    """Label the vertices by going once over the triangles (Volumetric, section 3.1).

    A triangle without a labelled vertex founds a new label. Else its smallest label, taken through the tree
    of what was merged before, becomes the father of its others and the label of its three corners. In the
    end every vertex gets the first father of its label.

    Args:
        triangles: (F, 3).
        count: of vertices.
        watch: is called with the number of triangles seen and the labels (count,) as they would stand, about
            twenty times.

    Returns:
        (count,) labels from 0 in the order of their bodies' first triangles; UNLABELLED is in no triangle.
    """
    label = [UNLABELLED] * count
    father: list[int] = []

    def first(of: int) -> int:
        while father[of] != of:
            father[of] = father[father[of]]  # relate directly to the father's father
            of = father[of]
        return of

    every = max(1, len(triangles) // 20)
    for number, corners in enumerate(triangles.tolist()):
        known = {first(label[corner]) for corner in corners if label[corner] != UNLABELLED}
        if known:
            smallest = min(known)
            for other in known:
                father[other] = smallest
        else:
            smallest = len(father)
            father.append(smallest)
        for corner in corners:
            label[corner] = smallest
        if watch is not None and (number % every == 0 or number == len(triangles) - 1):
            watch(number + 1, _settled(label, first))
    return _renumbered(_settled(label, first))


def _settled(label: list[int], first: Callable[[int], int]) -> np.ndarray:
    return np.array([UNLABELLED if of == UNLABELLED else first(of) for of in label])


def _renumbered(labels: np.ndarray) -> np.ndarray:
    """Labels 0, 1, … in ascending order of the old ones."""
    used = labels != UNLABELLED
    out = np.full(len(labels), UNLABELLED)
    out[used] = np.unique(labels[used], return_inverse=True)[1]
    return out


def components(triangles: np.ndarray, count: int) -> np.ndarray:
    """(count,) as `merge_labels`, by scipy's connected components of the mesh's edges."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    start, end = triangles.ravel(), np.roll(triangles, 1, axis=1).ravel()
    graph = coo_matrix((np.ones(len(start), dtype=bool), (start, end)), shape=(count, count))
    _, found = connected_components(graph, directed=False)
    out = np.full(count, UNLABELLED)
    order: dict[int, int] = {}
    bodies, where = np.unique(found[triangles[:, 0]], return_index=True)
    for body in bodies[np.argsort(where)].tolist():
        order[body] = len(order)
    used = np.unique(triangles)
    out[used] = [order[body] for body in found[used].tolist()]
    return out


def sizes(labels: np.ndarray) -> np.ndarray:
    """(bodies,) number of vertices of each body."""
    return np.bincount(labels[labels != UNLABELLED])


def largest_body(
    vertices: np.ndarray, triangles: np.ndarray, labels: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The mesh's largest body alone.

    Args:
        vertices: (V, 3); triangles: (F, 3).
        labels: (V,) of the bodies; None takes `components`.

    Returns:
        Its vertices and triangles, in their old order.
    """
    labels = components(triangles, len(vertices)) if labels is None else labels
    kept = labels == sizes(labels).argmax()
    number = np.cumsum(kept) - 1
    return vertices[kept], number[triangles[kept[triangles[:, 0]]]]
