"""Every training of the project by system and variant, whichever module knows its recipe."""

from collections.abc import Sequence

from torch import nn

from facet.profiles import Profile
from facet.rotation import recipes as rotation
from facet.training import recipes
from facet.training.history import History
from facet.training.obtain import Recipe, Task


def known() -> tuple[tuple[str, str], ...]:
    """All pairs (system, variant) that can be trained."""
    return (*recipes.known(), *rotation.TRAININGS)


def recipe(
    system: str, profile: Profile, *, variant: str = "", seed: int | None = None, device: str = "auto"
) -> Recipe:
    """As `training.recipes.recipe`, for every system."""
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


def _book(system: str, variant: str):
    """The module that knows a training."""
    return rotation if (system, variant) in rotation.TRAININGS else recipes
