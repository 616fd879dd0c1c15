"""A face from one photo by coefficients: the network's answer, and what fitting the photo itself adds."""

from __future__ import annotations

from dataclasses import dataclass

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
    matrix = square(box, size)
    crop = crop_image(image, matrix, size).to(device)
    numbers, renderer, curve = network(crop), renderer_of(face), []
    if refine:
        if landmarks is None:
            marks = renderer.landmarks(network.layout.read(numbers), size)[..., :2]
        else:
            points = apply(matrix.numpy(), np.asarray(landmarks, dtype=np.float64)[:, :2])
            marks = torch.from_numpy(points)[None].to(crop)
        photo = torch.nn.functional.adaptive_avg_pool2d(crop, min(PHOTO_SIZE, size))
        criterion = photo_loss(renderer, network.layout, size, loss)
        target = {"photo": photo, "landmarks": marks}
        numbers, curve = fitting.refine(criterion, numbers, target, steps=refine)
    return Fitted(numbers, network.layout, renderer, size, crop[0], matrix, tuple(curve))


def photo_loss(
    renderer: FaceRenderer, layout: Layout, size: int, weights: Weights | None = None
) -> CoefficientLoss:
    """What a refinement on one photo goes down: the loss of training, without labels."""
    return CoefficientLoss(renderer, layout, size, weights or Weights(), squared=False, attention=True)


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
