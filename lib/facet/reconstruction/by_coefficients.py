"""A face from one photo or two by coefficients: the network's answer, and what fitting the photos adds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from facet.coefficients import fitting
from facet.coefficients.losses import CoefficientLoss, Weights
from facet.coefficients.renderer import FaceRenderer, full_vertices
from facet.crop import crop_image
from facet.face_model.once import once_for
from facet.networks.layout import Coefficients, Layout
from facet.reconstruction.crops import apply, square, to_photo
from facet.reconstruction.landmarks import located
from facet.reconstruction.views import View

PHOTO_SIZE = 64  # side of the picture that is compared with the photo; less for smaller crops
# Chosen on validation people, as they are, masked, in sunglasses, laughing and blurred: notebook 14.
PHOTO = 40.0  # weight of the photo's term, twice that of training
OUTLIERS = 1.0  # of landmarks, hundredths of the crop's side: see `CoefficientLoss`


class Photo(NamedTuple):
    """A photo to be fitted.

    Attributes:
        image: (H, W, 3) uint8; box: (4,) of the landmarks.
        landmarks: (68, 2) pixels of the photo, for the refinement; None keeps those that are found.
    """

    image: np.ndarray
    box: np.ndarray
    landmarks: np.ndarray | None = None


@dataclass(frozen=True)
class Fitted:
    """What was fitted to a crop of a photo.

    Attributes:
        numbers: (1, total); layout: reads them; renderer: makes pictures of them; size: S of the crop.
        crop: (3, S, S); matrix: (2, 3) float64 from the photo to it; curve: loss before and after each step.
    """

    numbers: Tensor
    layout: Layout
    renderer: FaceRenderer
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
        return full_vertices(model, self.renderer, self.face, self.size)[0]

    def to_photo(self, points: Tensor) -> np.ndarray:
        """(N, 2) pixels of the photo of points (N, 2 or 3) in pixels of the crop."""
        return to_photo(self.matrix, points)


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
    """The network's answer to a crop, refined by some steps down the loss: `fit_together` of one photo."""
    return fit_together([Photo(image, box, landmarks)], network, face, refine=refine, loss=loss)[0]


@torch.no_grad()
def fit_together(
    photos: Sequence[Photo], network: nn.Module, face, *, refine: int = 0, loss: Weights | None = None
) -> list[Fitted]:
    """The network's answers to photos of one person, with the mean of their identities, refined together.

    Args:
        network: of output "coefficients", in eval mode; face: the face model on its device.
        refine: steps of Adam; loss: weights of the terms.
    """
    size, device = network.image_size, next(network.parameters()).device
    matrices = [square(photo.box, size) for photo in photos]
    crops = [crop_image(photo.image, m, size) for photo, m in zip(photos, matrices, strict=True)]
    crops = torch.cat(crops).to(device)
    numbers, renderer, curve = network(crops), renderer_of(face), []
    if refine or len(photos) > 1:
        marks = renderer.landmarks(network.layout.read(numbers), size)[..., :2].clone()
        for row, (photo, matrix) in enumerate(zip(photos, matrices, strict=True)):
            if photo.landmarks is not None:
                points = apply(matrix.numpy(), np.asarray(photo.landmarks, dtype=np.float64)[:, :2])
                marks[row] = torch.from_numpy(points).to(marks)
        criterion = photo_loss(renderer, network.layout, size, loss)
        target = {
            "photo": torch.nn.functional.adaptive_avg_pool2d(crops, min(PHOTO_SIZE, size)),
            "landmarks": marks,
        }
        person = torch.zeros(len(photos), dtype=torch.int64, device=device)
        numbers, curve = fitting.refine(criterion, numbers, target, steps=refine, person=person)
    about = network.layout, renderer, size
    return [
        Fitted(numbers[row : row + 1], *about, crops[row], matrices[row], tuple(curve))
        for row in range(len(photos))
    ]


def photo_loss(
    renderer: FaceRenderer, layout: Layout, size: int, weights: Weights | None = None
) -> CoefficientLoss:
    """What a refinement on photos goes down: the loss of training without labels, but kinder to outliers.

    Colour differences count by their length and on what looks like skin, so hair and glasses matter little;
    landmarks that are far from where the face wants them, as those guessed behind a mask, draw it less
    (OUTLIERS).
    """
    weights = weights or Weights(photo=PHOTO)
    return CoefficientLoss(renderer, layout, size, weights, squared=False, attention=True, outliers=OUTLIERS)


def renderer_of(face) -> FaceRenderer:
    """What makes pictures of coefficients, made once for a face model."""
    return once_for(face, "renderer", lambda: FaceRenderer.open(face.to("cpu")).to(face.device))


def detected(image: np.ndarray, box: np.ndarray, face) -> np.ndarray | None:
    """(68, 2) landmarks of a photo, in its pixels; None where none that fit are found (`landmarks.located`).

    Args:
        image: (H, W, 3) uint8; box: (4,) of the landmarks; face: the face model.
    """
    try:
        return located(View("the photo", image, box, True), face).landmarks
    except FileNotFoundError:
        return None
