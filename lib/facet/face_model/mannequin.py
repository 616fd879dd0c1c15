"""The heads that wearables are fitted on: MakeHuman's base mesh, the reference head, and some people.

Build time only. Millimetres in the frame of `anny_source`, the origin in the middle of the head.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from facet.face_model import anny_source
from facet.face_model.binding import Frame
from facet.face_model.model import FaceModel

LOWER_TEETH, UPPER_TEETH = range(14992, 15060), range(15060, 15128)  # helpers of MakeHuman's base mesh
EYES = range(14598, 14742)
KEPT = 14742  # vertices of the base mesh before the helpers that anny leaves out
STILL = 1.0  # mm that a vertex may move in any expression and still count as skull
PEOPLE = 60  # modes that anchors are fitted to
RIDGE = 30.0  # mm², keeps the weights of anchors small


class Surface:
    """The skin of one head as points with normals."""

    def __init__(self, vertices: np.ndarray, triangles: np.ndarray):
        from scipy.spatial import cKDTree

        corners = vertices[triangles]
        faces = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        normals = np.zeros_like(vertices)
        for k in range(3):
            np.add.at(normals, triangles[:, k], faces)
        used = np.unique(triangles)
        self.points = vertices[used]
        self.normals = normals[used] / np.linalg.norm(normals[used], axis=1, keepdims=True)
        self.tree = cKDTree(self.points)

    def distance(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(n,) signed distance, positive outside, and (n, 3) the skin's normal there."""
        _, nearest = self.tree.query(points)
        normal = self.normals[nearest]
        return ((points - self.points[nearest]) * normal).sum(axis=1), normal


@dataclass
class Mannequin:
    """Heads to fit on.

    Attributes:
        base: (19158, 3) the base mesh with its helpers; row: (19158,) coarse vertex of each, −1 for none.
        template, reference: (V, 3) coarse heads; triangles: (F, 3) of their skin.
        still: (V,) bool, skin that no expression moves; frame: for binding; model: the face model.
    """

    base: np.ndarray
    row: np.ndarray
    template: np.ndarray
    reference: np.ndarray
    triangles: np.ndarray
    still: np.ndarray
    frame: Frame
    model: FaceModel

    @classmethod
    def load(cls, model: FaceModel) -> "Mannequin":
        """From `anny` and the built face model."""
        source = anny_source.load_source()
        import anny

        data = Path(anny.__file__).parent / "data"
        base = _base_mesh(data / "mpfb2" / "3dobjs" / "base.obj")
        template, reference = source.template.numpy(), source.reference().numpy()
        row = _rows(base, template)
        expressions = source.expressions.numpy()
        skin = np.isin(source.part, (anny_source.PARTS.index("skin"), anny_source.PARTS.index("body")))
        still = np.zeros(len(template), bool)
        still[np.unique(source.triangles[skin])] = True
        still &= np.linalg.norm(expressions, axis=2).max(axis=0) < STILL
        jaw = _jaw(data / "faceunits01" / "targets" / "faceunits", source.expression_names, base)
        people = np.concatenate([model.identity[:PEOPLE].numpy().astype(float), (reference - template)[None]])
        mouth = np.zeros(len(template), bool)
        mouth[np.unique(source.triangles[source.part == anny_source.PARTS.index("mouth")])] = True
        rows, weights = _anchors(template, expressions, people, base, jaw, mouth)
        opening = np.linalg.norm(expressions[source.expression_names.index("jawOpen")], axis=1)
        lips = _lips(reference, np.unique(source.triangles[skin]), opening)
        frame = _frame(reference, still, rows, weights, source.mirror, lips)
        return cls(base, row, template, reference, source.triangles[skin], still, frame, model)

    @property
    def eyes(self) -> float:
        """Height of the middle of the reference head's eyes, mm."""
        return float(self.reference[self.row[list(EYES)], 1].mean())

    def surface(self, coarse: Tensor) -> Surface:
        """The skin of a coarse head (V, 3)."""
        skin = self.model.head_part.numpy()
        chosen = np.isin(skin, (anny_source.PARTS.index("skin"), anny_source.PARTS.index("body")))
        fine = self.model._limit(self.model.head_matrix, coarse[None].float())[0]
        return Surface(fine.numpy().astype(float), self.model.head_triangles.numpy()[chosen])


def _rows(base: np.ndarray, template: np.ndarray) -> np.ndarray:
    """(19158,) coarse vertex at the place of each base vertex, −1 where there is none."""
    from scipy.spatial import cKDTree

    distance, nearest = cKDTree(template).query(base)
    kept = (distance < 1e-6) & (np.arange(len(base)) < KEPT)
    if kept.sum() != len(template):
        raise ValueError("anny's template is not MakeHuman's base mesh here; install anny 0.6.2.")
    return np.where(kept, nearest, -1)


def _base_mesh(path: Path) -> np.ndarray:
    rows = [line.split()[1:4] for line in path.read_text().splitlines() if line.startswith("v ")]
    return 100 * np.asarray(rows, float) - np.asarray(anny_source.MIDDLE)


def _jaw(folder: Path, names: list[str], base: np.ndarray) -> np.ndarray:
    """(52, 4, 3) affine maps [x y z 1] → motion of the lower teeth, one an expression."""
    corners = np.concatenate([base[LOWER_TEETH], np.ones((len(LOWER_TEETH), 1))], axis=1)
    maps = []
    for name in names:
        motion = np.zeros_like(base)
        for line in (folder / f"{name}.target").read_text().splitlines():
            if line.strip() and not line.startswith("#"):
                number, *step = line.split()[:4]
                motion[int(number)] = [100 * float(value) for value in step]
        maps.append(np.linalg.lstsq(corners, motion[LOWER_TEETH], rcond=None)[0])
    return np.stack(maps)


def _anchors(template: np.ndarray, expressions: np.ndarray, people: np.ndarray, base: np.ndarray, jaw, mouth):
    """Rows (R,) and weights (6, R) of three anchors in the lower teeth and three in the upper.

    They move as the teeth do in every expression, and from person to person as the mouth around them.

    Args:
        people: (K, V, 3) differences between heads; mouth: (V,) bool, the mouth's inside.
    """
    lower, upper = base[LOWER_TEETH].mean(axis=0), base[UPPER_TEETH].mean(axis=0)
    near = np.linalg.norm(template - (lower + upper) / 2, axis=1) < 95
    rows = near.nonzero()[0]
    shapes = np.concatenate([expressions, people])
    motion = shapes[:, rows].transpose(0, 2, 1).reshape(-1, len(rows))  # (shapes · 3, R)
    inside = np.concatenate([template[mouth], np.ones((mouth.sum(), 1))], axis=1)
    around = np.linalg.pinv(inside) @ people[:, mouth]  # (K, 4, 3)
    conditions = np.concatenate([template[rows].T, np.ones((1, len(rows)))])
    system = np.block(
        [[motion.T @ motion + RIDGE * np.eye(len(rows)), conditions.T], [conditions, np.zeros((4, 4))]]
    )
    weights = []
    for middle, acts in ((lower, jaw), (upper, 0 * jaw)):
        for step in ((0, 0, 25), (28, 0, -20), (-28, 0, -20)):
            place = np.append(middle + step, 1.0)
            target = np.einsum("c,ecx->ex", place, np.concatenate([acts, around])).ravel()
            weights.append(np.linalg.solve(system, np.concatenate([motion.T @ target, place]))[: len(rows)])
    return rows, np.stack(weights)


def _lips(reference: np.ndarray, skin: np.ndarray, opening: np.ndarray) -> np.ndarray:
    """(3, 2) vertices of upper and lower lip that are nearest to each other, at the right, middle and left.

    Args:
        skin: vertices to choose from; opening: (V,) mm that the jaw moves each.
    """
    x, y, z = reference[skin].T
    pairs = []
    for middle in (-5.5, 0.0, 5.5):
        near = skin[(np.abs(x - middle) < 1.5) & (y > -65) & (y < -30) & (z > 78)]
        upper, lower = near[opening[near] < 6], near[opening[near] > 15]
        apart = np.linalg.norm(reference[upper][:, None] - reference[lower], axis=2)
        i, j = np.unravel_index(apart.argmin(), apart.shape)
        pairs.append((upper[i], lower[j]))
    return np.asarray(pairs)


def _frame(reference, still, rows, weights, mirror, lips) -> Frame:
    """Extents between the outermost vertices of the skull, and the mirror of vertices and anchors."""
    skull = (still & (reference[:, 1] > -35)).nonzero()[0]
    order = np.argsort(reference[skull], axis=0, kind="stable")
    ends = torch.from_numpy(np.stack([skull[order[:16]].T, skull[order[-16:]].T], axis=1))
    mirrored = np.concatenate([mirror, len(reference) + np.array([0, 2, 1, 3, 5, 4])])
    made = Frame(ends, torch.ones(3), *map(torch.from_numpy, (rows, weights, mirrored, lips)))
    made.extent = made.scale(torch.from_numpy(reference)[None])[0]
    return made
