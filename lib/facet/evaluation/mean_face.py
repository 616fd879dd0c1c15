"""The two predictors that look at no pixel: what a network must beat to have learnt anything.

Both are called like any predictor of protocol.py. The face model is asked for `mean` (V, 3) in millimetres in
the model frame and `landmarks` (68,).
"""

from __future__ import annotations

import torch
from torch import Tensor

from facet.crop import crop_box, lift
from facet.geometry import image_flip, similarity


def mean_face_in_crop(model, image_size: int) -> Tensor:
    """The mean face, yaw 0, where the crop rule puts an unjittered face.

    Its 68 landmarks are cropped as a photograph's are: their box's centre lands in the middle of the crop and
    1.5 times the mean of the box's sides fills it. z is measured from the patch's rearmost vertex.

    Returns:
        (V, 3) pixels, image frame.
    """
    face = model.mean @ image_flip(model.mean)  # one pixel a millimetre, y down
    matrix = lift(crop_box(face[model.landmarks]).matrix(image_size))[0]  # (3, 4)
    placed = face @ matrix[:, :3].mT + matrix[:, 3]
    return torch.cat((placed[:, :2], placed[:, 2:] - placed[:, 2].min()), dim=1)


class MeanFace:
    """`mean-face`: the same vertices for every photo, :func:`mean_face_in_crop`."""

    name = "mean-face"
    needs_truth = False

    def __init__(self, model, image_size: int):
        self.vertices = mean_face_in_crop(model, image_size)

    def __call__(self, images: Tensor) -> Tensor:
        """(B, V, 3) pixels for (B, C, S, S) images."""
        return self.vertices.to(images.device).expand(len(images), -1, -1)


class MeanFaceTruePose:
    """`mean-face-true-pose`: the mean face under the similarity that fits the truth best.

    It is told position, size and pose, and knows nothing of the person or the expression.
    """

    name = "mean-face-true-pose"
    needs_truth = True

    def __init__(self, model):
        self.mean = model.mean
        self.counted = (model.weight > 0).to(model.mean.dtype)

    def __call__(self, images: Tensor, truth: Tensor) -> Tensor:
        """(B, V, 3) pixels for true vertices (B, V, 3) in pixels, image frame."""
        source = self.mean.to(truth).expand(len(truth), -1, -1)
        weights = self.counted.to(truth)
        return similarity(source, truth, weights, reflect=True).apply(source)
