"""A face from one photo by coefficients: the network's answer, and what fitting the photo itself adds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn

from facet.coefficients.fitting import refine as descend
from facet.coefficients.losses import CoefficientLoss, Weights
from facet.coefficients.person import Person, full_vertices
from facet.crop import crop_box_from_bounds, crop_image, invert
from facet.networks.layout import Coefficients, Layout
from facet.reconstruction import weights
from facet.reconstruction.crops import ask_twice

PHOTO_SIZE = 64  # side of the picture that is compared with the photo; less for smaller crops
# Whose landmarks guide a refinement, the first that is at hand: the landmark network, or a position map's.
DETECTORS = ("landmarks", "prn", "mobile")


@dataclass(frozen=True)
class Fitted:
    """What was fitted to a crop of a photo.

    Attributes:
        numbers: (1, total); layout: reads them; person: makes pictures of them; size: S of the crop.
        crop: (3, S, S); matrix: (2, 3) float64 from the photo to it; curve: loss before and after each step.
    """

    numbers: Tensor
    layout: Layout
    person: Person
    size: int
    crop: Tensor
    matrix: Tensor
    curve: tuple[float, ...] = ()

    @property
    def face(self) -> Coefficients:
        """The coefficients."""
        return self.layout.read(self.numbers)

    def vertices(self, model) -> Tensor:
        """(V, 3) of the whole face patch, pixels of the crop."""
        return full_vertices(model, self.person, self.face, self.size)[0]

    def to_photo(self, points: Tensor) -> np.ndarray:
        """(N, 2) pixels of the photo of points (N, 2 or 3) in pixels of the crop."""
        back = invert(self.matrix[None])[0]
        return (points[:, :2].cpu().double() @ back[:, :2].T + back[:, 2]).numpy()


@torch.no_grad()
def fit(
    image: np.ndarray,
    box: np.ndarray,
    network: nn.Module,
    face,
    *,
    landmarks: np.ndarray | None = None,
    refine: int = 0,
    loss: Weights | None = None,
) -> Fitted:
    """The network's answer to a crop, refined by some steps down the loss.

    Args:
        image: (H, W, 3) uint8; box: (4,) of the landmarks.
        network: of output "coefficients", in eval mode; face: the face model on its device.
        landmarks: (68, 2) pixels of the photo, for the refinement; None keeps those that are found.
        refine: steps of Adam; loss: weights of the terms.
    """
    size, device = network.image_size, next(network.parameters()).device
    matrix = crop_box_from_bounds(torch.from_numpy(np.asarray(box, dtype=np.float64))).matrix(size)
    crop = crop_image(image, matrix, size).to(device)
    numbers, person, curve = network(crop), person_of(face), []
    if refine:
        if landmarks is None:
            marks = person.landmarks(network.layout.read(numbers), size)[..., :2]
        else:
            points = torch.from_numpy(np.asarray(landmarks, dtype=np.float64)[:, :2])
            marks = (points @ matrix[0, :, :2].mT + matrix[0, :, 2])[None].to(crop)
        photo = torch.nn.functional.adaptive_avg_pool2d(crop, min(PHOTO_SIZE, size))
        criterion = CoefficientLoss(
            person, network.layout, size, loss or Weights(), squared=False, attention=True
        )
        target = {"photo": photo, "landmarks": marks}
        numbers, curve = descend(criterion, numbers, target, steps=refine)
    return Fitted(numbers, network.layout, person, size, crop[0], matrix[0], tuple(curve))


def person_of(face) -> Person:
    """What makes pictures of coefficients, made once for a face model."""
    return _person(_Key(face))


class _Key:
    """A face model by its identity, which can be looked up."""

    def __init__(self, face):
        self.face = face

    def __hash__(self) -> int:
        return id(self.face)

    def __eq__(self, other) -> bool:
        return self.face is other.face


@lru_cache(maxsize=2)
def _person(key: _Key) -> Person:
    return Person.open(key.face)


def detected(image: np.ndarray, box: np.ndarray, face) -> np.ndarray | None:
    """(68, 2) landmarks of a photo, in its pixels, by the first of DETECTORS with weights here, or None.

    Args:
        image: (H, W, 3) uint8; box: (4,) of the landmarks; face: the face model.
    """
    from facet.face_model import vertices_from_map
    from facet.reconstruction.landmarks import find_landmarks

    network = _detector(face.device)
    if network is None:
        return None
    if network.name == "landmarks":
        return find_landmarks(image, box, network)
    matrix = crop_box_from_bounds(torch.from_numpy(np.asarray(box, dtype=np.float64))).matrix(
        network.image_size
    )
    found = ask_twice(network, crop_image(image, matrix, network.image_size).to(face.device))
    places = vertices_from_map(found, face.uv.to(found)[face.landmarks])[0, :, :2].cpu().double()
    back = invert(matrix)[0]
    return (places @ back[:, :2].T + back[:, 2]).numpy()


def _detector(device: str | torch.device) -> nn.Module | None:
    for name in DETECTORS:
        try:
            return weights.load(name, device)
        except FileNotFoundError:
            continue
    return None
