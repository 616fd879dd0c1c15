"""Trainings that begin where another one ended.

The thesis of Residual (4.2, 4.5) takes a trained PRN for its first stage, trains the second with the first
one frozen, and then both. The further samples are a budget of their own, on top of PRN's: who compares such a
network with PRN compares it with a PRN that has gone on for as many samples ("longer"). Its history begins
at 0; `recipes.samples_before` tells what came before.

All else is this project's, as for the PRN that it is compared with, and not the thesis': the profile's batch
(there 4), rate and augmentation (there the preset "residual" of `facet.augment`), and the mask 16 : 4 : 3 : 0
(there 1 : 0.4 : 0.3 : 0, in which eyes, nose, mouth and face count more beside the landmarks). The studies of
`facet.studies.residual` take the thesis' mask, and one of them its augmentation.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from facet.networks.registry import build
from facet.training.recipe import Recipe
from facet.training.weights import configuration_hash, load_weights, read_metadata

EPOCHS = 16  # validations of a further training
WIDE_FIRST = "wide-first"  # variant of what the networks of `facet.rotation` begin with
SECOND_PHOTOS = ("true", "rotated", "rotated-side", "both", "imitated")  # variants of its readers


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
    # The last 30 % of the profile's samples, after the 70 % of "wide-first".
    ("prn", "wide"): Start(origin=("prn", WIDE_FIRST)),
    ("one-pass", ""): Start(origin=("prn", WIDE_FIRST)),
    **{("twoview", kind): Start(origin=("twoview", WIDE_FIRST)) for kind in SECOND_PHOTOS},
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


def first_weights(recipe: Recipe, folders: Iterable[Path]) -> Path:
    """The weights' file that a recipe's training goes on from: `data["start"]` has its name and hash.

    Args:
        folders: where such files are.

    Raises:
        FileNotFoundError: no folder has that file, or only one of another configuration.
    """
    start, others = recipe.data["start"], []
    for path in (Path(folder) / f"{start['name']}.safetensors" for folder in folders):
        if path.is_file():
            if read_metadata(path).get("configuration_hash") == start["hash"]:
                return path
            others.append(path)
    reason = "whose weights are not on this machine"
    if others:
        reason = f"but {' and '.join(map(str, others))} was trained with another configuration"
    raise FileNotFoundError(
        f"{recipe.name} goes on from {start['name']}, {reason}: `{_command(recipe)}` makes it"
    )


def _command(recipe: Recipe) -> str:
    """What trains the network that a recipe goes on from."""
    system, variant = STARTED[recipe.system, recipe.variant].origin
    words = ["facet train", system, f"--variant {variant}" if variant else "", f"--profile {recipe.profile}"]
    seed = recipe.settings.seed
    return " ".join(filter(None, [*words, f"--seed {seed}" if seed else ""]))


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
