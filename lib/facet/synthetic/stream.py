"""Training batches rendered on the fly, on the training device: new pictures at every step."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from facet.augment import Augmentation
from facet.face_model import UVSampler, load, sampler
from facet.synthetic import portrait
from facet.synthetic.batches import FRONT, KINDS, LEFT, map_truth
from facet.synthetic.beards import Beards
from facet.synthetic.dataset import open_studio, read_bank
from facet.synthetic.portrait import Atelier
from facet.synthetic.poses import THREE_VIEWS
from facet.synthetic.render import Studio, context_size, render
from facet.synthetic.subjects import draw_subjects, draw_views


@dataclass
class Stream:
    """As `Batches`, without files: a step's pictures are a pure function of (seed, step).

    Attributes:
        studio, sampler: on the device; desk: a studio on the CPU, where everything is drawn, so that a step's
            people do not depend on the device; kind: "front", "pair" or "all-poses"; image_size: S.
        generation: of synthetic people; beards, truth: as in `Batches`; poses: a key of `THREE_VIEWS`.
    """

    studio: Studio | Atelier
    desk: Studio | Atelier
    sampler: UVSampler | None
    bank: dict[str, Tensor]
    kind: str
    batch: int
    image_size: int
    augmentation: Augmentation
    seed: int
    device: torch.device
    generation: int = 1
    beards: Beards | None = None
    truth: Callable | None = None
    poses: str = "two-view"

    @classmethod
    def open(
        cls,
        kind: str,
        batch: int,
        image_size: int,
        augmentation: Augmentation,
        *,
        generation: int = 1,
        beards: bool = False,
        seed: int = 0,
        device: str = "auto",
        truth: Callable | None = None,
        poses: str = "two-view",
    ) -> "Stream":
        """Load face model, skins and bank onto the device ("auto": CUDA if there is one).

        Args:
            truth: makes what `Batches.truth` is of the face model on the device; None for position maps.
        """
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {KINDS}, got {kind!r}")
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        model = load(device)
        studio = open_studio(generation, model, device)
        desk = studio if device == "cpu" else open_studio(generation, load())
        maps = None if truth else sampler(model, image_size)
        return cls(
            studio,
            desk,
            maps,
            read_bank("train"),
            kind,
            batch,
            image_size,
            augmentation,
            seed,
            torch.device(device),
            generation,
            Beards.open(model) if beards else None,
            truth(model) if truth else None,
            poses,
        )

    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        """Images (B, 3·views, S, S) and front position maps (B, 3, S, S) of step `step`, on the device."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        rows = torch.randint(len(self.bank["alpha_id"]), (self.batch,), generator=generator)
        people, shots, subjects, views = self._draw(generator, rows)
        side = LEFT + torch.randint(2, (self.batch,), generator=generator)
        first = torch.full_like(side, FRONT)
        if self.kind == "all-poses":
            first = torch.randint(3, side.shape, generator=generator)
        shown = [first, side] if self.kind == "pair" else [first]
        size = context_size(self.image_size)
        window = {"size": size, "shift": (size - self.image_size) // 2}
        take = {1: render, 2: portrait.photograph}[self.generation]
        start = torch.arange(self.batch) * 3
        pictures = [take(self.studio, people, shots.rows(start + k).to(self.device), **window) for k in shown]
        seen = views.rows(start + first).to(self.device)
        relief = None if self.beards is None else self.beards.of_views(subjects, people.outfit, seen)
        on_device = torch.Generator(self.device).manual_seed(self.seed * 1_000_003 + step)
        told = torch.cat(pictures, dim=1), subjects, seen, relief, on_device, self.augmentation
        return map_truth(self.sampler, *told) if self.truth is None else self.truth(*told)

    def _draw(self, generator: torch.Generator, rows: Tensor):
        """People on the device and their shots, and the tables of both that the truth needs."""
        desk, size = self.desk, self.image_size
        if self.generation == 1:
            people = draw_subjects(generator, desk.model, self.bank, rows)
            poses = THREE_VIEWS[self.poses](generator, self.batch)
            views = draw_views(generator, desk.model, people, poses, image_size=size)
            people = people.to(self.device)
            return people, views, people, views
        cast = portrait.draw_cast(generator, desk, self.bank, rows)
        poses = THREE_VIEWS[self.poses](generator, self.batch)
        shift = (context_size(size) - size) // 2
        shots = portrait.draw_shots(generator, desk, cast, poses, image_size=size, shift=shift)
        cast = cast.to(self.device)
        return cast, shots, cast.subjects, shots.views
