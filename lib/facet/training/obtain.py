"""A trained network: released weights if they fit the configuration, else training."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from facet.deadline import Deadline
from facet.locks import claimed, holder
from facet.networks.registry import build
from facet.paths import CACHE, WEIGHTS
from facet.training.checkpoint import FILE
from facet.training.history import History
from facet.training.loop import fit
from facet.training.progress import tell
from facet.training.recipe import Recipe
from facet.training.starts import first_weights, take_over, trained_network
from facet.training.weights import (
    configuration_differences,
    configuration_hash,
    load_weights,
    preferred,
    provenance,
    read_metadata,
    save_weights,
)

TRAIN = ("auto", "always", "never")


@dataclass(frozen=True)
class Task:
    """What a network learns from: see `fit` for batches, validate and loss; `fit` may be another like it."""

    batches: Callable[[int], tuple[Tensor, Tensor]]
    validate: Callable[[nn.Module], float]
    loss: nn.Module
    fit: Callable[..., History] = fit


def obtain(
    recipe: Recipe,
    task: Callable[[], Task],
    *,
    train: str = "auto",
    minutes: float | None = None,
    progress: str | None = "auto",
    wait: bool = True,
    weights: Path = WEIGHTS,
    cache: Path = CACHE,
) -> tuple[nn.Module, History]:
    """The network of a recipe in eval mode, and its training history.

    One process at a time is at a training: it holds a lock beside the training's folder.

    Args:
        task: makes the data; called only when training is needed.
        train: "auto" takes `<name>.safetensors` of the cache or of the released weights (see `preferred`)
            if the configuration is equal, else trains; "always" trains; "never" raises where no file fits.
        minutes: in all, of which `fit` gets what `task` leaves; `history.finished` is False if that was not
            enough. A `task` that is to stop in time raises OutOfTime itself (`Deadline.between`).
        progress: as of `fit`.
        wait: for another process that is at this training, and take what it has made.
        weights: folder of released weights.
        cache: folder under which new weights and checkpoints are kept.

    Raises:
        ValueError: `train` is no known word, a weights file is broken, or `train` is "never" and no weights
            fit; the message says what differs.
        FileNotFoundError: the training goes on from another one, and has neither begun nor its weights.
        BlockingIOError: another process is at this training, and `wait` is False.
    """
    if train not in TRAIN:
        raise ValueError(f"train must be one of {', '.join(TRAIN)}, got {train!r}")
    how = {"train": train, "minutes": minutes, "progress": progress, "weights": weights, "cache": cache}
    if train == "never" or (train == "auto" and fitting(recipe, weights=weights, cache=cache)):
        return obtain_alone(recipe, task, **how)  # nothing is written
    with alone(recipe, cache, wait=wait, progress=progress):
        return obtain_alone(recipe, task, **how)


@contextmanager
def alone(recipe: Recipe, cache: Path, *, wait: bool, progress: str | None = "none") -> Iterator[None]:
    """Hold the lock of a recipe's training while the block runs.

    Raises:
        BlockingIOError: another process is at it, and `wait` is False.
    """
    if recipe.settings.devices * recipe.settings.nodes > 1:  # several processes are at it together
        yield
        return
    folder = training_folder(recipe, cache)
    lock = folder.with_name(f"{folder.name}.lock")
    with claimed(lock) as mine:
        if mine:
            yield
            return
    text = f"{recipe.name}: process {holder(lock) or 'unknown'} is at it"
    if not wait:
        raise BlockingIOError(text)
    tell(f"{text}, this one waits", progress)
    with claimed(lock, wait=True):
        yield


def obtain_alone(
    recipe: Recipe,
    task: Callable[[], Task],
    *,
    train: str,
    minutes: float | None,
    progress: str | None,
    weights: Path,
    cache: Path,
) -> tuple[nn.Module, History]:
    """As `obtain`, by who holds the training's lock (`alone`) or will not train."""
    deadline = Deadline.after(minutes)
    network = build(
        recipe.system,
        image_size=recipe.image_size,
        width=recipe.width,
        seed=recipe.settings.seed,
        **recipe.options,
    )
    if train != "always" and (known := fitting(recipe, weights=weights, cache=cache)):
        metadata = load_weights(network, known[0])
        return network.eval(), History(metadata["history"], finished=True)
    folders = Path(weights), Path(cache) / "weights"
    if train == "never":
        reasons = "; ".join(_misfit(folder / f"{recipe.name}.safetensors", recipe) for folder in folders)
        raise ValueError(f"no weights for {recipe.name}, and train is never: {reasons}")
    if "start" in recipe.data and not begun(recipe, cache):
        take_over(network, trained_network(first_weights(recipe, folders)))
    made = folders[1] / f"{recipe.name}.safetensors"
    data = task()
    return network, _train(network, recipe, data, made, minutes=deadline.minutes, progress=progress)


def fitting(recipe: Recipe, *, weights: Path = WEIGHTS, cache: Path = CACHE) -> list[Path]:
    """The files that hold a recipe's weights, released or trained on this machine; the first is to be taken.

    Raises:
        ValueError: a file is cut off.
    """
    name = f"{recipe.name}.safetensors"
    there = preferred(Path(weights) / name, Path(cache) / "weights" / name)
    return [path for path in there if not _misfit(path, recipe)]


def _misfit(path: Path, recipe: Recipe) -> str:
    """Why a file cannot stand for this recipe, or nothing."""
    if not path.is_file():
        return f"no weights at {path}"
    differing = configuration_differences(read_metadata(path), recipe.configuration())
    return f"{path} was trained with another {', '.join(differing)}" if differing else ""


def training_folder(recipe: Recipe, cache: Path = CACHE) -> Path:
    """Where the checkpoint of a recipe's training is kept while it has not finished."""
    return Path(cache) / "training" / f"{recipe.name}-{configuration_hash(recipe.configuration())}"


def begun(recipe: Recipe, cache: Path = CACHE) -> bool:
    """Whether a recipe's training has a checkpoint to go on from."""
    return (training_folder(recipe, cache) / FILE).is_file()


def _train(network: nn.Module, recipe: Recipe, task: Task, path: Path, *, minutes, progress) -> History:
    folder = training_folder(recipe, path.parents[1])
    history = task.fit(
        network,
        task.batches,
        task.validate,
        recipe.settings,
        loss=task.loss,
        folder=folder,
        minutes=minutes,
        progress=progress,
    )
    if history.finished:
        save_trained(network, recipe, history, path)
        load_weights(network, path)  # rounded as the next call will find it
        shutil.rmtree(folder, ignore_errors=True)
    return history


def save_trained(network: nn.Module, recipe: Recipe, history: History, path: Path) -> dict[str, object]:
    """Write a trained network with everything that is known of it; returns the file's metadata."""
    device = next(network.parameters()).device
    entries = {
        "system": recipe.system,
        "variant": recipe.variant,
        "profile": recipe.profile,
        "configuration": recipe.configuration(),
        "samples": history.rows[-1]["samples"] if history.rows else 0,
        "val_loss": history.best["val_loss"] if history.best else None,
        "history": history.rows,
        "note": recipe.note,
    }
    save_weights(network, path, provenance(device=device.type, **entries))
    return read_metadata(path)
