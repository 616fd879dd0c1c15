"""Tiny data sets of synthetic people for tests, made with the real face model under another root.

python tiny_people.py makes the set that `killed()` describes, under FACET_HOME.
"""

import os
from functools import cache
from pathlib import Path

import torch

from facet.face_model import files
from facet.face_model import load as load_model
from facet.synthetic.dataset import Description, make
from facet.synthetic.portrait import Atelier
from facet.synthetic.render import Studio

SIZE = 64


@cache
def studio() -> Studio:
    """One studio a test process."""
    return Studio.open(load_model())


@cache
def atelier() -> Atelier:
    """One atelier a test process."""
    return Atelier.open(load_model())


def root(folder: Path) -> Path:
    """A root for FACET_HOME whose cache holds the built face model and nothing else."""
    cache_folder = folder / "data" / "cache"
    cache_folder.mkdir(parents=True)
    for path in files.ensure():
        os.symlink(path, cache_folder / path.name)
    return folder


def tiny(split: str = "train", poses: str = "two-view", people: int = 4, **changes) -> Description:
    """A few people at 64 pixels, two in a shard."""
    return Description(split, poses, people, SIZE, **{"shard": 2, **changes})


def killed() -> Description:
    """Six shards of one person each."""
    return tiny(people=6, shard=1)


def contents(folder: Path) -> dict[str, bytes]:
    """File name → bytes; what a killed process left under a temporary name does not count."""
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir()) if not p.name.startswith(".")}


if __name__ == "__main__":
    torch.set_num_threads(1)
    make(killed(), workers=1)
