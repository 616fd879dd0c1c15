"""Albums: photographs without any 3D, ready to train on: cropped, with 68 landmarks that a detector found.

An album is one `.npz` file: images (N, 3, L, L) uint8 (context windows, see `augment.augment_geometry`),
landmarks (N, 68, 2) in pixels of the crop, names (N,), size S of the crop. `reconstruction.albums` makes it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from facet.augment import Augmentation, augment_colour, augment_geometry
from facet.coefficients.batches import NO_COLOUR, NO_DISTURBANCE
from facet.rendering import downsample

KEYS = ("images", "landmarks", "names", "size")


@dataclass(frozen=True)
class Album:
    """An opened album, see above."""

    images: Tensor
    landmarks: Tensor
    names: tuple[str, ...]
    size: int

    def __len__(self) -> int:
        return len(self.images)

    @classmethod
    def load(cls, path: str | os.PathLike) -> Album:
        """Read an album.

        Raises:
            FileNotFoundError: there is none.
            ValueError: the file is no album.
        """
        if not Path(path).is_file():
            raise FileNotFoundError(f"no album at {path}: make it by `facet data album FOLDER -o {path}`")
        try:
            with np.load(path) as stored:
                images, landmarks, names, size = (stored[key] for key in KEYS)
        except (KeyError, ValueError, OSError, EOFError) as error:
            raise ValueError(f"{path} is no album ({error}): make it by `facet data album`") from None
        return cls(torch.from_numpy(images), torch.from_numpy(landmarks), tuple(names.tolist()), int(size))

    def rows(self, index: slice) -> Album:
        """Some of its photographs."""
        return Album(self.images[index], self.landmarks[index], self.names[index], self.size)


@dataclass
class AlbumBatches:
    """Batches of an album, as `CoefficientBatches` gives them without labels; pure functions of the step."""

    album: Album
    batch: int
    augmentation: Augmentation
    seed: int
    size: int

    @property
    def pictures(self) -> Album:
        """What `CoefficientValidation` counts."""
        return self.album

    def __call__(self, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Images (B, 3, S, S), and "photo" (B, 3, R, R) and "landmarks" (B, 68, 2)."""
        wanted = torch.arange(step * self.batch, (step + 1) * self.batch)
        epochs, count = wanted // len(self.album), len(self.album)
        orders = [self._order(epoch)[wanted[epochs == epoch] % count] for epoch in epochs.unique().tolist()]
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        return self.make(torch.cat(orders), None, generator)

    def make(self, photos: Tensor, side: Tensor | None, generator: torch.Generator):
        """The batch of given photographs; `side` is of people with several pictures and not used."""
        size = self.album.size
        images, geometry = augment_geometry(
            self.album.images[photos], generator, self.augmentation, image_size=size
        )
        images = augment_colour(images, generator, replace(self.augmentation, **NO_DISTURBANCE))
        marks = geometry.move_landmarks(self.album.landmarks[photos].float())
        target = {"photo": downsample(images, size // self.size), "landmarks": marks}
        return augment_colour(images, generator, replace(self.augmentation, **NO_COLOUR)), target

    def _order(self, epoch: int) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed * 7919 + epoch)
        return torch.randperm(len(self.album), generator=generator)
