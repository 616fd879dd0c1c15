"""Every training of the project by system and variant, whichever module knows its recipe."""

from collections.abc import Sequence

from torch import nn

from facet.profiles import Profile
from facet.rotation import recipes as rotation
from facet.training import recipes
from facet.training.history import History
from facet.training.obtain import Task
from facet.training.recipe import Recipe

TRIAL = 150  # steps of a network that is shown before it has weights


def known() -> tuple[tuple[str, str], ...]:
    """All pairs (system, variant) that have a name among released weights."""
    return (*recipes.known(), *rotation.TRAININGS)


def every() -> tuple[tuple[str, str], ...]:
    """All pairs (system, variant) that can be trained."""
    return (*recipes.every(), *rotation.TRAININGS)


def named(name: str, variant: str = "") -> tuple[str, str]:
    """(system, variant) of a name such as "prn-longer", or of a system's name and a variant beside it."""
    systems = {system for system, _ in every()}
    if not variant and name not in systems:
        for system in sorted(systems, key=len, reverse=True):  # vrn-guided before vrn
            if name.startswith(f"{system}-"):
                return system, name.removeprefix(f"{system}-")
    return name, variant


def recipe(
    system: str, profile: Profile, *, variant: str = "", seed: int | None = None, device: str = "auto"
) -> Recipe:
    """As `training.recipes.recipe`, for every system."""
    if (system, variant) not in every():
        asked, *names = ("-".join(filter(None, pair)) for pair in ((system, variant), *every()))
        raise ValueError(f"nothing is known of training {asked}; known: {', '.join(names)}")
    return _book(system, variant).recipe(system, profile, variant=variant, seed=seed, device=device)


def task(made: Recipe, profile: Profile, *, workers: int = 2, say=None) -> Task:
    """As `training.recipes.task`, for every system."""
    return _book(made.system, made.variant).task(made, profile, workers=workers, say=say)


def trained(system: str, profile: Profile, *, variant: str = "", **options) -> tuple[nn.Module, History]:
    """As `training.recipes.trained`, for every system."""
    return _book(system, variant).trained(system, profile, variant=variant, **options)


def ready(
    systems: Sequence[tuple[str, str]], profile: Profile, *, train: str = "auto", seed: int | None = None
) -> tuple[list[tuple[str, str]], str]:
    """As `training.recipes.ready`, for every system."""
    return recipes.ready(systems, profile, train=train, seed=seed, find=recipe)


def shown(
    systems: Sequence[str], profile: Profile, *, train: str = "auto", seed: int | None = None, device: str
) -> tuple[dict[str, nn.Module], dict[str, History], str]:
    """Networks to look at, their histories, and a sentence on those that have no weights yet.

    Such a network is trained for TRIAL steps, under another profile's name, so that everything can be shown.

    Raises:
        ValueError: one has no weights and `train` is "never".
    """
    found, _ = ready([(system, "") for system in systems], profile, train=train, seed=seed)
    trial = profile.with_(
        name=f"{profile.name}-trial",
        validate_every=100,
        options={"hourglass_samples": TRIAL * profile.batch, "volume_samples": TRIAL * profile.batch},
    )
    networks, histories, missing = {}, {}, []
    for system in systems:
        there = (system, "") in found or train == "never"
        if not there:
            missing.append(system)
        about = {"seed": seed, "device": device, "train": train if there else "auto"}
        networks[system], histories[system] = trained(system, profile if there else trial, **about)
        networks[system].to(device)
    names = ", ".join(missing)
    note = f"Trained for {TRIAL} steps only, for want of weights: {names}; `facet train` makes them."
    return networks, histories, note if missing else ""


def _book(system: str, variant: str):
    """The module that knows a training."""
    return rotation if (system, variant) in rotation.TRAININGS else recipes
