"""Training in slices: for a machine that is lent for minutes and hands back a few small files."""

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from torch import nn

from facet.files import check_folder, write_beside
from facet.paths import CACHE, WEIGHTS
from facet.training.checkpoint import FILE, read_checkpoint
from facet.training.history import History
from facet.training.obtain import Recipe, Task, alone, fitting, obtain_alone, training_folder
from facet.training.shards import export_shards, import_shards


def train_slice(
    recipe: Recipe,
    task: Callable[[], Task],
    *,
    out: str | os.PathLike,
    train: str = "auto",
    minutes: float | None = None,
    progress: str | None = "auto",
    weights: Path = WEIGHTS,
    cache: Path = CACHE,
) -> tuple[nn.Module, History]:
    """As `obtain`, but going on from what lies in `out`, and leaving there what the next slice needs.

    Args:
        recipe: the training; its checkpoint is also kept under `cache`, and the farther of the two goes on.
        task: makes the data; called only when training is needed.
        out: folder for shards of the checkpoint, or, when training has finished, for the weights file.
        train, minutes, progress, weights, cache: as in `obtain`.

    Raises:
        ValueError: shards are broken or belong to another training.
        OSError: nothing can be written to `out`, or another process is at this training.
        OutOfTime: raised by `task`; what lies in `out` stays.
    """
    out, folder = check_folder(out), training_folder(recipe, cache)
    how = {"train": train, "minutes": minutes, "progress": progress, "weights": weights, "cache": cache}
    with alone(recipe, cache, wait=False):
        if any(out.glob("shard-*.bin")):
            _take_over(out, folder)
        network, history = obtain_alone(recipe, task, **how)
        if not history.finished:
            export_shards(folder, out)
            return network, history
    path = fitting(recipe, weights=weights, cache=cache)[0]
    with write_beside(out / path.name) as temporary:
        shutil.copyfile(path, temporary)
    for shard in out.glob("shard-*.bin"):
        shard.unlink()
    return network, history


def _take_over(out: Path, folder: Path) -> None:
    """Put the shards' checkpoint into the training folder, unless the one there is as far."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as incoming:
        found = import_shards(out, incoming)
        if found["training"] != folder.name:
            raise ValueError(
                f"the shards in {out} are of the training {found['training']}, not of {folder.name}: "
                "name another folder"
            )
        if (folder / FILE).is_file() and read_checkpoint(folder)["step"] >= found["step"]:
            return
        for path in Path(incoming).iterdir():
            with write_beside(folder / path.name) as temporary:
                shutil.copyfile(path, temporary)
