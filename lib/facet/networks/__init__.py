"""Networks: photos -> position maps, volumes, landmarks. `build(name)` makes one, SYSTEMS lists them."""

from facet.networks import (  # noqa: F401  (importing a file registers its systems)
    coefficients,
    landmarks,
    one_pass,
    prn,
    residual,
    rotation,
    twoview,
    vrn,
)
from facet.networks.counting import layers_table, macs, parameters, systems_table
from facet.networks.landmarks import predict_landmarks
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
    "predict_landmarks",
    "systems_table",
    "to_pixels",
]
