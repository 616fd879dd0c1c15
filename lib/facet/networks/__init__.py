"""Networks: photos -> UV position maps. `build(name)` makes one, SYSTEMS lists them."""

from facet.networks import one_pass, prn, rotation, twoview  # noqa: F401  (importing a file registers its systems)
from facet.networks.counting import layers_table, macs, parameters, systems_table
from facet.networks.ranges import from_pixels, predict, to_pixels
from facet.networks.registry import SYSTEMS, System, build

__all__ = [
    "SYSTEMS",
    "System",
    "build",
    "from_pixels",
    "layers_table",
    "macs",
    "parameters",
    "predict",
    "systems_table",
    "to_pixels",
]
