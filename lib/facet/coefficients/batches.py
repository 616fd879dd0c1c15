"""Training batches: photos and what may be known of them, with and without 3D labels.

Without labels a target holds the photo and 68 places in it, as a landmark detector finds them (true places
with Gaussian noise): nothing of depth, shape, pose or light. Labels add the true position map.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from facet.augment import Augmentation, Geometry, augment_colour, augment_geometry
from facet.coefficients.fitting import NOISE
from facet.face_model import FaceModel, UVSampler, sampler, sampler_at
from facet.rendering import downsample
from facet.synthetic.batches import Validation, moved
from facet.synthetic.points import alone
from facet.synthetic.render import truth_maps, truth_texels

MAP = 32  # side of the position map that labels are given on
NO_DISTURBANCE = {
    "blur": (0.0, 0.0), "resample": (0.0, 1.0), "jpeg": (0.0, 90), "boxes": 0.0, "noise": 0.0,
    "uniform_noise": (0.0, 0.0),
}  # fmt: skip
NO_COLOUR = {
    "channel_scale": (1.0, 1.0), "brightness": 0.0, "contrast": (1.0, 1.0), "saturation": (1.0, 1.0),
    "grey": 0.0, "gamma": (0.0, 1.0), "shade": 0.0,
}  # fmt: skip


@dataclass
class CoefficientTruth:
    """Pictures, and what coefficients have to explain of them: for `Batches.truth` and `Stream.truth`.

    Attributes:
        places: at the 68 landmarks; maps: at the texels of a map of any size, None without labels.
        image_size: S; photo_size: R, side of the photo that is explained, a divisor of S.
        noise: of the landmarks, see NOISE.
    """

    places: UVSampler
    maps: UVSampler | None
    image_size: int
    photo_size: int
    noise: float = NOISE

    @classmethod
    def open(
        cls, model: FaceModel, image_size: int, photo_size: int, *, labels: bool = False
    ) -> "CoefficientTruth":
        """With every mode of the model, which held-out people need."""
        modes = model.detail_modes
        maps = sampler(model, MAP, modes=modes) if labels else None
        places = sampler_at(model, *alone(model.landmarks), modes=modes)
        return cls(places, maps, image_size, photo_size)

    def __call__(self, context, subjects, views, relief, generator, augmentation) -> tuple[Tensor, dict]:
        """Images (B, 3, S, S), and "photo" (B, 3, R, R), "landmarks" (B, 68, 2), with labels "map"."""
        marks = truth_texels(self.places, subjects, views)[..., :2]
        sizes = {"image_size": self.image_size, "photo_size": self.photo_size}
        images, photo, geometry = pictured(context, generator, augmentation, **sizes)
        noise = torch.randn(marks.shape, generator=generator, device=generator.device)
        marks = geometry.move_landmarks(marks) + self.noise * self.image_size * noise.to(marks)
        target = {"photo": photo, "landmarks": marks}
        if self.maps is not None:
            target["map"] = geometry.move_map(truth_maps(self.maps, subjects, views))
        return images, target


def pictured(
    context: Tensor,
    generator: torch.Generator,
    augmentation: Augmentation,
    *,
    image_size: int,
    photo_size: int,
) -> tuple[Tensor, Tensor, Geometry]:
    """Pictures as a network sees them, the photos to be explained, and what moved both.

    What light and camera do to colours is there to be explained, so it is in both; blur, boxes, noise and
    compression are in the pictures alone.

    Returns:
        (B, 3, S, S), (B, 3, R, R) and the geometry.
    """
    images, geometry = augment_geometry(context, generator, augmentation, image_size=image_size)
    values = {name: getattr(augmentation, name) for name in Augmentation.__dataclass_fields__}
    images = augment_colour(images, generator, Augmentation(**values | NO_DISTURBANCE))  # no `Combined`
    photo = downsample(images, image_size // photo_size)
    return augment_colour(images, generator, replace(augmentation, **NO_COLOUR)), photo, geometry


class CoefficientValidation(Validation):
    """Every term of the loss over fixed batches of validation people."""

    @torch.no_grad()
    def __call__(self, network: nn.Module) -> dict[str, float]:
        """The weighted sum "loss", and each term by itself; every person counts once."""
        device = next(network.parameters()).device
        sums: dict[str, float] = {}
        people = 0
        for images, target in self._fixed:
            terms = self.loss.terms(network(images.to(device)), moved(target, device))
            for name, value in terms.items():
                sums[name] = sums.get(name, 0.0) + float(value) * len(images)
            people += len(images)
        means = {name: value / people for name, value in sums.items()}
        total = sum(getattr(self.loss.weights, name) * value for name, value in means.items())
        return {"loss": total, **means}
