"""Training batches: photos and what may be known of them, with and without 3D labels.

Without labels a target holds the photo and 68 places in it, as a landmark detector finds them (true places
with Gaussian noise): nothing of depth, shape, pose or light. Labels add the true position map.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from facet.augment import augment_colour, augment_geometry
from facet.coefficients.losses import CoefficientLoss
from facet.face_model import vertices_from_map
from facet.rendering import downsample
from facet.synthetic.batches import LEFT, Batches
from facet.synthetic.render import truth_maps

MAP = 32  # side of the position map that labels are given on
NOISE = 0.01  # standard deviation of a detector's landmarks, in x and in y, share of the crop's side


@dataclass
class CoefficientBatches(Batches):
    """As `Batches` of kind "front" or "all-poses", with other targets; `sampler` is of any size.

    Attributes:
        uv: (68, 2) of the landmarks; place: samples the positions of landmarks from people exactly.
        size: R, side of the photo that is explained; labels: whether targets hold the true map.
        noise: of the landmarks, see NOISE.
    """

    place: Callable | None = None
    size: int = 64
    labels: bool = False
    noise: float = NOISE

    def make(self, people: Tensor, side: Tensor, generator: torch.Generator):
        """Images (B, 3, S, S), and "photo" (B, 3, R, R), "landmarks" (B, 68, 2), maybe "map"."""
        first = torch.zeros_like(side)
        if self.kind == "all-poses":
            first = torch.randint(3, side.shape, generator=generator)
        context = self.pictures.stack(people, first)
        views = self.pictures.views.rows(self.pictures.view_rows(people, first))
        chosen = self.pictures.subjects.rows(views.subject)
        marks = views.project(self.place(chosen.alpha_id, chosen.alpha_exp))[0][..., :2]
        image_size = self.pictures.description.image_size
        images, geometry = augment_geometry(context, generator, self.augmentation, image_size=image_size)
        marks = geometry.move_landmarks(marks)
        marks = marks + self.noise * image_size * torch.randn(marks.shape, generator=generator)
        # what light and camera do is there to be explained; blur, boxes and noise are not
        plain = replace(self.augmentation, **NO_DISTURBANCE)
        images = augment_colour(images, generator, plain)
        target = {"photo": downsample(images, image_size // self.size), "landmarks": marks}
        if self.labels:
            target["map"] = geometry.move_map(truth_maps(self.sampler, self.pictures.subjects, views))
        return augment_colour(images, generator, replace(self.augmentation, **NO_COLOUR)), target


NO_DISTURBANCE = {
    "blur": (0.0, 0.0), "resample": (0.0, 1.0), "jpeg": (0.0, 90), "boxes": 0.0, "noise": 0.0,
    "uniform_noise": (0.0, 0.0),
}  # fmt: skip
NO_COLOUR = {
    "channel_scale": (1.0, 1.0), "brightness": 0.0, "contrast": (1.0, 1.0), "saturation": (1.0, 1.0),
    "grey": 0.0, "gamma": (0.0, 1.0), "shade": 0.0,
}  # fmt: skip


@dataclass
class FromMaps:
    """The same targets from any source of (images, position maps), such as `Stream`.

    Attributes:
        source: step → images (B, 3, S, S) and maps (B, 3, S, S); uv: (68, 2) of the landmarks.
    """

    source: Callable[[int], tuple[Tensor, Tensor]]
    uv: Tensor
    size: int
    labels: bool
    seed: int = 0
    noise: float = NOISE

    def __call__(self, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Images and the targets of step `step`."""
        images, maps = self.source(step)
        generator = torch.Generator(images.device).manual_seed(self.seed * 1_000_003 + step + 7)
        marks = vertices_from_map(maps, self.uv.to(maps))[..., :2]
        noise = torch.randn(marks.shape, generator=generator, device=images.device)
        photo = downsample(images, images.shape[-1] // self.size)
        target = {"photo": photo, "landmarks": marks + self.noise * images.shape[-1] * noise}
        if self.labels:
            target["map"] = functional.interpolate(maps, size=(MAP, MAP), mode="area")
        return images, target


@dataclass
class CoefficientValidation:
    """Every term of the loss over fixed batches of validation people."""

    batches: Batches
    loss: CoefficientLoss

    def __post_init__(self):
        count = len(self.batches.pictures)
        side = LEFT + torch.arange(count) % 2
        self._fixed = []
        for start in range(0, count, self.batches.batch):
            people = torch.arange(start, min(start + self.batches.batch, count))
            generator = torch.Generator().manual_seed(900_001 + start)
            self._fixed.append(self.batches.make(people, side[people], generator))

    @torch.no_grad()
    def __call__(self, network: nn.Module) -> dict[str, float]:
        """The weighted sum "loss", and each term by itself; every person counts once."""
        device = next(network.parameters()).device
        sums: dict[str, float] = {}
        people = 0
        for images, target in self._fixed:
            target = {name: value.to(device) for name, value in target.items()}
            terms = self.loss.terms(network(images.to(device)), target)
            for name, value in terms.items():
                sums[name] = sums.get(name, 0.0) + float(value) * len(images)
            people += len(images)
        means = {name: value / people for name, value in sums.items()}
        total = sum(getattr(self.loss.weights, name) * value for name, value in means.items())
        return {"loss": total, **means}
