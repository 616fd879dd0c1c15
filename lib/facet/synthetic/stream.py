"""Training batches rendered on the fly, on the training device: new pictures at every step."""

from dataclasses import dataclass

import torch
from torch import Tensor

from facet.augment import Augmentation, augment
from facet.face_model import UVSampler, load, sampler
from facet.synthetic.batches import FRONT, KINDS, LEFT
from facet.synthetic.dataset import read_bank
from facet.synthetic.poses import two_view_poses
from facet.synthetic.render import Studio, context_size, render, truth_maps
from facet.synthetic.subjects import draw_subjects, draw_views


@dataclass
class Stream:
    """As `Batches`, without files: a step's pictures are a pure function of (seed, step).

    Attributes:
        studio, sampler: on the device; kind: "front", "pair" or "all-poses"; image_size: S.
    """

    studio: Studio
    sampler: UVSampler
    bank: dict[str, Tensor]
    kind: str
    batch: int
    image_size: int
    augmentation: Augmentation
    seed: int
    device: torch.device

    @classmethod
    def open(
        cls,
        kind: str,
        batch: int,
        image_size: int,
        augmentation: Augmentation,
        *,
        seed: int = 0,
        device: str = "auto",
    ) -> "Stream":
        """Load face model, skins and bank onto the device ("auto": CUDA if there is one)."""
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {KINDS}, got {kind!r}")
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        model = load(device)
        studio = Studio.open(model, device)
        maps = sampler(model, image_size)
        return cls(
            studio,
            maps,
            read_bank("train"),
            kind,
            batch,
            image_size,
            augmentation,
            seed,
            torch.device(device),
        )

    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        """Images (B, 3·views, S, S) and front position maps (B, 3, S, S) of step `step`, on the device."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        rows = torch.randint(len(self.bank["alpha_id"]), (self.batch,), generator=generator)
        model = self.studio.model
        subjects = draw_subjects(generator, model, self.bank, rows).to(self.device)
        poses = two_view_poses(generator, self.batch)
        side = LEFT + torch.randint(2, (self.batch,), generator=generator)
        first = torch.full_like(side, FRONT)
        if self.kind == "all-poses":
            first = torch.randint(3, side.shape, generator=generator)
        views = draw_views(generator, model, subjects, poses, image_size=self.image_size)
        shown = [first, side] if self.kind == "pair" else [first]
        size = context_size(self.image_size)
        pictures = []
        for which in shown:
            some = views.rows(torch.arange(self.batch) * 3 + which).to(self.device)
            shift = (size - self.image_size) // 2
            pictures.append(render(self.studio, subjects, some, size=size, shift=shift))
        target = truth_maps(
            self.sampler, subjects, views.rows(torch.arange(self.batch) * 3 + first).to(self.device)
        )
        on_device = torch.Generator(self.device).manual_seed(self.seed * 1_000_003 + step)
        return augment(torch.cat(pictures, dim=1), target, on_device, self.augmentation)
