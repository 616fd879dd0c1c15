"""Albums: photographs without any 3D, ready to train on: cropped, with 68 landmarks that a detector found.

An album is one `.npz` file: images (N, 3, L, L) uint8 (context windows, see `augment.augment_geometry`),
landmarks (N, 68, 2) in pixels of the crop, names (N,), size S of the crop. `reconstruction.albums` makes it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from facet.coefficients.batches import pictured
from facet.synthetic.batches import Batches

KEYS = ("images", "landmarks", "names", "size")


@dataclass(frozen=True)
class Album:
    """An opened album, see above."""

    images: Tensor
    landmarks: Tensor
    names: tuple[str, ...]
    size: int
    per_person: ClassVar[int] = 1  # photographs, as of `Pictures`

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
        except Exception as error:  # numpy, zipfile, zlib and tokenize raise their own for damaged files
            raise ValueError(f"{path} is no album ({error}): make it by `facet data album`") from None
        count, side = len(images) if images.ndim else 0, images.shape[-1:]
        shapes = (images.shape, landmarks.shape, names.shape, size.shape)
        if not count or shapes != ((count, 3, *side, *side), (count, 68, 2), (count,), ()):
            raise ValueError(
                f"{path} is no album (images {images.shape}, landmarks {landmarks.shape}): make it by "
                "`facet data album`"
            )
        return cls(torch.from_numpy(images), torch.from_numpy(landmarks), tuple(names.tolist()), int(size))

    def rows(self, index: slice) -> Album:
        """Some of its photographs."""
        return Album(self.images[index], self.landmarks[index], self.names[index], self.size)


@dataclass
class AlbumBatches(Batches):
    """Batches of an album (its `pictures`), as `CoefficientTruth` gives them without labels.

    Attributes:
        photo_size: R, side of the photo that is explained.
    """

    photo_size: int = 64

    def make(self, people: Tensor, side: Tensor, generator: torch.Generator):
        """Images (B, 3, S, S), and "photo" (B, 3, R, R) and "landmarks" (B, 68, 2), of given photographs."""
        album = self.pictures
        sizes = {"image_size": album.size, "photo_size": self.photo_size}
        images, photo, geometry = pictured(album.images[people], generator, self.augmentation, **sizes)
        marks = geometry.move_landmarks(album.landmarks[people].float())
        return images, {"photo": photo, "landmarks": marks}
