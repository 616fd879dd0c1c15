"""Training batches from a data set of synthetic people: pure functions of the step."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from facet.augment import Augmentation, augment
from facet.face_model import UVSampler
from facet.synthetic.beards import Beards
from facet.synthetic.dataset import Pictures
from facet.synthetic.render import truth_maps

FRONT, LEFT, RIGHT = 0, 1, 2
KINDS = ("front", "pair", "all-poses")
VALIDATION = Augmentation(rotation=10.0, scale=(0.9, 1.1), translation=0.05)  # a detector's inaccuracy


def map_truth(
    sampler: UVSampler, context, subjects, views, relief, generator, augmentation
) -> tuple[Tensor, Tensor]:
    """Augmented pictures and their position maps, of context windows and the tables that made them."""
    return augment(context, truth_maps(sampler, subjects, views, relief), generator, augmentation)


@dataclass
class Batches:
    """Batches of a two-view data set, or of one with a front view alone.

    Kinds: "front" (the front picture), "pair" (front and one side picture; the map belongs to the front
    one), "all-poses" (any of the three pictures with its own map). "front" and "pair" with one seed show
    the same front pictures in the same order, so networks on one photo and on two learn from the same
    people.

    Attributes:
        pictures: data set of poses "two-view", for kind "front" also "front"; sampler: at its image size.
        kind: see above.
        batch: pictures or pairs a step; augmentation: ranges; seed: of order and augmentation.
        beards: whose volume the targets have; None for bare skin.
    """

    pictures: Pictures
    sampler: UVSampler | None
    kind: str
    batch: int
    augmentation: Augmentation
    seed: int = 0
    beards: Beards | None = None
    truth: Callable | None = None  # what the target is, called as `map_truth` without its sampler

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {KINDS}, got {self.kind!r}")
        if self.kind != "front" and self.pictures.per_person == 1:
            raise ValueError(f"the data set has one view a person, too few for kind {self.kind!r}")

    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        """Images (B, 3·views, S, S) in [0, 1] and front maps (B, 3, S, S) in pixels of step `step`."""
        people, side = self.items(step)
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        return self.make(people, side, generator)

    def items(self, step: int) -> tuple[Tensor, Tensor]:
        """(B,) people and (B,) their side views: each epoch passes once over every (person, side).

        Of a data set without side views, once over every person.
        """
        count = self._count
        wanted = torch.arange(step * self.batch, (step + 1) * self.batch)
        epochs = wanted // count
        item = torch.cat(
            [self._order(epoch)[wanted[epochs == epoch] % count] for epoch in epochs.unique().tolist()]
        )
        return item % len(self.pictures), LEFT + item // len(self.pictures)

    def make(self, people: Tensor, side: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The batch of given people."""
        first = torch.full_like(side, FRONT)
        if self.kind == "all-poses":
            first = torch.randint(3, side.shape, generator=generator)
        context = self.pictures.stack(people, first)
        if self.kind == "pair":
            context = torch.cat([context, self.pictures.stack(people, side)], dim=1)
        views = self.pictures.views.rows(self.pictures.view_rows(people, first))
        told = context, self.pictures.subjects, views, self.relief(views), generator, self.augmentation
        return map_truth(self.sampler, *told) if self.truth is None else self.truth(*told)

    def relief(self, views) -> Tensor | None:
        """The volume of the beards in some views, as `truth_maps` takes it; None for bare skin."""
        worn = self.pictures.subjects, self.pictures.outfit, views
        return None if self.beards is None else self.beards.of_views(*worn)

    @property
    def _count(self) -> int:
        return len(self.pictures) * (1 if self.pictures.per_person == 1 else 2)

    def _order(self, epoch: int) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed * 7919 + epoch)
        return torch.randperm(self._count, generator=generator)


def moved(target, device):
    """A target, a tensor or a dict of tensors, on another device."""
    if isinstance(target, dict):
        return {name: part.to(device) for name, part in target.items()}
    return target.to(device)


@dataclass
class Validation:
    """Mean loss over fixed batches of validation people: one pass, fixed draws."""

    batches: Batches
    loss: Callable[[Tensor, Tensor], Tensor]

    def __post_init__(self):
        count = len(self.batches.pictures)
        side = LEFT + torch.arange(count) % 2
        self._fixed = []
        for start in range(0, count, self.batches.batch):
            people = torch.arange(start, min(start + self.batches.batch, count))
            generator = torch.Generator().manual_seed(900_001 + start)
            self._fixed.append(self.batches.make(people, side[people], generator))

    @torch.no_grad()
    def __call__(self, network) -> float:
        """Mean loss of a network in eval mode; every person counts once."""
        total = people = 0.0
        device = next(network.parameters()).device
        for images, target in self._fixed:
            value = self.loss(network(images.to(device)), moved(target, device))
            total += float(value) * len(images)
            people += len(images)
        return total / people
