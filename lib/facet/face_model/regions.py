"""The 68 iBUG landmarks and the regions of the UV weight mask, placed once on the mean head and mirrored.

Coordinates are millimetres in the model frame with the origin in the middle of the head (nose tip near
(0, −14, 113)). The nearest vertices are taken; the mesh's mirror table makes the other half, so both are
exactly symmetric.
"""

import numpy as np

from facet.landmarks68 import FLIP

# Subject's left half and midline, iBUG numbering. `None` for z: the front-most vertex seen from the front.
PLACED = {
    8: (0, -86, 85), 9: (19, -84.5, 74), 10: (35, -78.5, 56), 11: (48, -69.5, 39), 12: (57.5, -56.5, 25),
    13: (65, -39, 16), 14: (69.5, -20, 12), 15: (72.5, 0, 11), 16: (73, 20, 12),
    22: (11, 35, None), 23: (19, 40, None), 24: (29, 42, None), 25: (39, 40.5, None), 26: (48, 34.5, None),
    27: (0, 23, 93.5), 28: (0, 11, 97.5), 29: (0, -1, 105), 30: (0, -14, 112.5),
    33: (0, -25, 103), 34: (6.5, -23.8, None), 35: (13.5, -21.8, None),
    42: (17.8, 20.6, None), 43: (26.8, 26.6, None), 44: (37, 27.1, None), 45: (44.6, 23, None),
    46: (37, 18.5, None), 47: (27, 18.6, None),
    51: (0, -38, None), 52: (6, -37, None), 53: (15, -40.5, None), 54: (24, -47.8, None),
    55: (16, -55.5, None), 56: (8, -58.3, None), 57: (0, -58.8, None),
    62: (0, -45.6, None), 63: (10, -45.2, None), 64: (21.8, -47, None), 65: (10, -47.4, None),
    66: (0, -47.8, None),
}  # fmt: skip
JAW_LINE = np.array(
    [(6, -36), (14, -48), (24, -64), (38, -77), (55, -85), (73, -89), (85, -91), (120, -93)], float
)
LANDMARKS, FEATURES, FACE, NECK = 16.0, 4.0, 3.0, 0.0


def place_landmarks(points: np.ndarray, mirror: np.ndarray) -> np.ndarray:
    """(68,) vertex indices of the face patch.

    Args:
        points: (V, 3) mean face patch; mirror: (V,) mirror table.
    """
    midline = mirror == np.arange(len(points))
    found = np.full(68, -1)
    for number, (x, y, z) in PLACED.items():
        allowed = np.flatnonzero(midline if x == 0 else points[:, 0] > 0.5)
        if z is None:
            flat = np.linalg.norm(points[allowed, :2] - (x, y), axis=1)
            near = allowed[flat < flat.min() + 0.8]
            vertex = near[np.argmax(points[near, 2])]
        else:
            vertex = allowed[np.argmin(np.linalg.norm(points[allowed] - (x, y, z), axis=1))]
        found[number], found[FLIP[number]] = vertex, mirror[vertex]
    if (found < 0).any() or len(set(found.tolist())) != 68:
        raise ValueError(
            f"{found.tolist()}: the 68 landmarks do not fall on 68 different vertices of the face patch."
        )
    return found


def vertex_weights(points: np.ndarray, triangles: np.ndarray, part: np.ndarray) -> np.ndarray:
    """(V,) weight of each vertex without the landmarks.

    4 eyes, nose and mouth, 3 the rest of the face, 0 neck and lip membrane.

    Args:
        points: (V, 3) mean face patch; triangles: (F, 3); part: (F,) 0 skin, 1 eye bridge, 2 lip membrane.
    """
    x, y, z = np.abs(points[:, 0]), points[:, 1], points[:, 2]
    weights = np.full(len(points), FACE)
    eyes = ((x - 31) / 20) ** 2 + ((y - 23) / 12) ** 2 < 1
    nose = (x < 6 + 15 * np.clip((26 - y) / 46, 0, 1)) & (y < 26) & (y > -28)
    mouth = (x / 31) ** 2 + ((y + 48) / 16) ** 2 < 1
    weights[(eyes | nose | mouth) & (z > 60)] = FEATURES
    weights[y < np.interp(z, JAW_LINE[:, 0], JAW_LINE[:, 1])] = NECK
    lips, skin = np.unique(triangles[part == 2]), np.unique(triangles[part != 2])
    weights[np.setdiff1d(lips, skin)] = NECK
    return weights
