"""The list of systems: a network is one small file that registers its class under a name.

To add one: write `networks/<name>.py` with a class decorated by `@register("<name>", ...)`, taking keyword
arguments image_size and width (and its own options), and import that file in `networks/__init__.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class System:
    """A registered network: its class, how it is called in tables, and how many photos it reads."""

    name: str
    title: str
    views: int
    source: str
    output: str  # "map": (B, 3, S, S) position map; others name what the network gives
    network: Callable[..., nn.Module]


SYSTEMS: dict[str, System] = {}


def register(
    name: str, *, title: str, views: int, source: str, output: str = "map"
) -> Callable[[type[nn.Module]], type[nn.Module]]:
    """Class decorator that enters a network into SYSTEMS.

    Raises:
        ValueError: the name is taken.
    """

    def enter(network: type[nn.Module]) -> type[nn.Module]:
        if name in SYSTEMS:
            raise ValueError(f"two networks are called {name!r}")
        SYSTEMS[name] = System(name, title, views, source, output, network)
        return network

    return enter


def build(name: str, *, image_size: int = 256, width: float = 1.0, seed: int = 0, **options) -> nn.Module:
    """A freshly initialised network; one seed gives one set of weights, whatever was drawn before.

    Args:
        name: a key of SYSTEMS.
        image_size: S, side of photos and position map in pixels, a multiple of 32.
        width: factor on the channel counts (1.0: the papers' network).
        seed: of the initial weights; the global generator is left as it was.
        options: passed to the network.

    Returns:
        nn.Module with .name, .views (photos it reads), .image_size, .width and .output;
        for position maps forward maps (B, 3 * views, S, S) RGB in [0, 1] to (B, 3, S, S) in [0, 1].

    Raises:
        ValueError: the name or an argument is not known.
    """
    if name not in SYSTEMS:
        raise ValueError(f"unknown system {name!r}; known: {', '.join(sorted(SYSTEMS))}")
    system = SYSTEMS[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            network = system.network(image_size=image_size, width=width, **options)
        except TypeError as error:
            raise ValueError(f"{name}: {error}") from error
    network.name, network.views, network.output = name, system.views, system.output
    network.image_size, network.width = image_size, width
    return network
