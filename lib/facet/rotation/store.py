"""Pictures that are made once and stored: in shards, resumable, each renamed into place whole."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from facet import paths
from facet.files import write_beside

VERSION = 2  # of everything that this package makes; part of every key


@dataclass(frozen=True)
class Store:
    """`count` uint8 arrays of one shape, made when asked for.

    Attributes:
        name: of the folder, for people; about: plain values that decide the content.
        count: how many; shard: how many a file.
        make: (N,) rows → (N, C, L, L) float in [0, 1]; called with a shard's rows in pieces of `together`.
    """

    name: str
    about: dict[str, object]
    count: int
    make: Callable[[Tensor], Tensor]
    shard: int = 100
    together: int = 10

    @property
    def folder(self) -> Path:
        """Where its shards are; sets that differ in their number alone share them, a short last one too."""
        text = json.dumps({**self.about, "version": VERSION, "shard": self.shard}, sort_keys=True)
        return paths.CACHE / "rotation" / f"{self.name}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"

    def open(self, *, say: Callable[[str], None] | None = None) -> "Stored":
        """The arrays; missing shards, and those that a smaller set has cut short, are made first."""
        files = [self.folder / f"{k:05d}.npy" for k in range(-(-self.count // self.shard))]
        for number, file in enumerate(files):
            needed = len(self._rows(number))
            if not file.is_file() or len(np.load(file, mmap_mode="r")) < needed:
                self._make_shard(number, file)
                if say is not None:
                    say(f"{self.name}: {number + 1} of {len(files)} shards")
        return Stored([np.load(file, mmap_mode="r") for file in files], self.shard)

    def _rows(self, number: int) -> Tensor:
        return torch.arange(number * self.shard, min(self.count, (number + 1) * self.shard))

    def _make_shard(self, number: int, file: Path) -> None:
        parts = [
            (self.make(some).clamp(0, 1) * 255).round().to(torch.uint8)
            for some in self._rows(number).split(self.together)
        ]
        with write_beside(file) as temporary:
            np.save(temporary, torch.cat(parts).cpu().numpy())


@dataclass
class Stored:
    """Opened shards."""

    shards: list[np.ndarray]
    size: int

    def stack(self, rows: Tensor) -> Tensor:
        """(N, C, L, L) uint8."""
        found = [self.shards[row // self.size][row % self.size] for row in rows.tolist()]
        return torch.from_numpy(np.stack(found))
