"""Truth by points: the 68 landmarks of a picture, for `Batches` and `Stream`."""

from dataclasses import dataclass

import torch
from torch import Tensor

from facet.augment import Augmentation, Geometry, augment_colour, augment_geometry
from facet.face_model import FaceModel, UVSampler, sampler_at
from facet.synthetic.render import truth_texels


@dataclass
class LandmarkTruth:
    """Pictures with their landmarks.

    Attributes:
        sampler: at the 68 landmarks; image_size: S.
    """

    sampler: UVSampler
    image_size: int

    @classmethod
    def open(cls, model: FaceModel, image_size: int, *, modes: int | None = None) -> "LandmarkTruth":
        """With `modes` of the model's identity modes (default: the model's own)."""
        return cls(sampler_at(model, *alone(model.landmarks), modes=modes), image_size)

    def __call__(self, context, subjects, views, relief, generator, augmentation) -> tuple[Tensor, dict]:
        """Images (B, 3, S, S) and {"landmarks": (B, 68, 2) pixels}; see `batches.map_truth`."""
        landmarks = truth_texels(self.sampler, subjects, views)
        images, geometry = augmented(context, generator, augmentation, image_size=self.image_size)
        return images, {"landmarks": geometry.move_landmarks(landmarks[..., :2])}


def alone(vertices: Tensor) -> tuple[Tensor, Tensor]:
    """Corners and weights, for `sampler_at`, of single vertices (N,) of the patch."""
    weights = torch.zeros(len(vertices), 3, device=vertices.device)
    weights[:, 0] = 1.0
    return vertices[:, None].expand(-1, 3), weights


def augmented(
    context: Tensor, generator: torch.Generator, augmentation: Augmentation, *, image_size: int
) -> tuple[Tensor, Geometry]:
    """Pictures (B, 3, S, S) of context windows, and what moved them: `augment.augment` without a map."""
    images, geometry = augment_geometry(context, generator, augmentation, image_size=image_size)
    return augment_colour(images, generator, augmentation), geometry
