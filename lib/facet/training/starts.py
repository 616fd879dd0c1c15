"""Trainings that begin where another one ended.

The thesis of Residual (4.2, 4.5) takes a trained PRN for its first stage, trains the second with the first
one frozen, and then both. The further samples are a budget of their own: who compares such a network with
PRN compares it with a PRN that has gone on for as many samples ("longer").
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from facet.networks.registry import build
from facet.training.obtain import Recipe
from facet.training.weights import configuration_hash, load_weights, read_metadata

EPOCHS = 16  # validations of a further training


@dataclass(frozen=True)
class Start:
    """How a (system, variant) goes on from another.

    Attributes:
        origin: (system, variant) whose weights are taken.
        share: of the profile's samples, that it is trained further.
        frozen: share of the steps during which stage 1 learns nothing.
        options: of the network.
        loss: of `position_losses`.
    """

    origin: tuple[str, str] = ("prn", "")
    share: float = 0.3
    frozen: float = 0.0
    options: tuple[tuple[str, object], ...] = ()
    loss: tuple[tuple[str, object], ...] = ()


_STAGES = (("name", "stages"), ("briefs", 1.0))
STARTED = {
    ("residual", ""): Start(frozen=0.5, options=(("squash", "tanh"),), loss=_STAGES),
    ("residual", "logit"): Start(
        frozen=0.5, options=(("squash", "tanh"), ("join", "logit")), loss=_STAGES
    ),  # ours: Delta = 0 leaves Brief as it is
    ("prn", "longer"): Start(),
}


def started(recipe: Recipe, origin: Recipe, start: Start, profile) -> Recipe:
    """A plain recipe, made to go on from the trained network of another one."""
    steps = max(1, round(start.share * profile.steps))
    options = dict(start.options)
    if start.frozen:
        options["frozen_steps"] = round(start.frozen * steps)
    if "refinement_width" in profile.options and recipe.system == "residual":
        options["refinement_width"] = float(profile.options["refinement_width"])
    every = max(1, steps // EPOCHS)
    settings = replace(
        recipe.settings, steps=steps, validate_every=every, warmup=min(recipe.settings.warmup, steps // 10)
    )
    about = {"name": origin.name, "hash": configuration_hash(origin.configuration())}
    data = {**recipe.data, "start": about, "loss": {**recipe.data["loss"], **dict(start.loss)}}
    return replace(recipe, settings=settings, options={**recipe.options, **options}, data=data)


def begin(network: nn.Module, start: dict[str, str], folders: Iterable[Path]) -> None:
    """Give an untrained network the weights that its recipe's `data["start"]` names.

    Args:
        network: of the same kind, or with a method `start_from`.
        start: name of the weights' file, and the hash of the configuration it must have.
        folders: where such files are.

    Raises:
        FileNotFoundError: no folder has that file, or only of another configuration.
    """
    for path in (Path(folder) / f"{start['name']}.safetensors" for folder in folders):
        if path.is_file() and read_metadata(path).get("configuration_hash") == start["hash"]:
            take_over(network, trained_network(path))
            return
    raise FileNotFoundError(
        f"this training goes on from {start['name']}, whose weights are not on this machine: "
        f"train {start['name'].split('-')[0]} in the same profile first (`facet train`)"
    )


def trained_network(path: Path) -> nn.Module:
    """The network of a weights file, as its metadata say."""
    known = read_metadata(path)["configuration"]
    network = build(
        known["system"], image_size=known["image_size"], width=known["width"], **known.get("options", {})
    )
    load_weights(network, path)
    return network


@torch.no_grad()
def take_over(network: nn.Module, other: nn.Module) -> None:
    """The other's weights: through `start_from` where the network has one, else as they are."""
    if hasattr(network, "start_from"):
        network.start_from(other)
    else:
        network.load_state_dict(other.state_dict())
