"""What the numbers of the Coefficients network mean: 257 with Basel's sizes, fewer with ours.

In order: identity, expression, texture, light (nine spherical harmonics for each of red, green, blue),
rotation (three angles), translation (three lengths). Every number is dimensionless and of the order of 1; all
zeros are the mean face seen from the front in plain white light.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

LIGHT, ROTATION, TRANSLATION = 27, 3, 3
# One unit: standard deviations, share of full strength, standard deviations, radiance, degrees, mm.
EXPRESSION_UNIT, LIGHT_UNIT, ROTATION_UNIT = 0.3, 0.5, 20.0
TRANSLATION_UNIT = (20.0, 20.0, 150.0)
AMBIENT = 0.9 * math.sqrt(4 * math.pi)  # of a white surface: 0.9


class Coefficients(NamedTuple):
    """A face and how it is seen; B faces.

    Attributes:
        identity: (B, K) standard deviations; expression: (B, E) strengths; texture: (B, T) standard
            deviations.
        light: (B, 9, 3) coefficients of `rendering.spherical_harmonics` in the image frame.
        angles: (B, 3) yaw, pitch, roll in degrees; translation: (B, 3) mm along the model frame's axes.
    """

    identity: Tensor
    expression: Tensor
    texture: Tensor
    light: Tensor
    angles: Tensor
    translation: Tensor


@dataclass(frozen=True)
class Layout:
    """How many numbers describe what; Basel 2009 in the report: 80, 64 and 80."""

    identity: int = 80
    expression: int = 64
    texture: int = 80

    @property
    def sizes(self) -> tuple[int, ...]:
        return self.identity, self.expression, self.texture, LIGHT, ROTATION, TRANSLATION

    @property
    def total(self) -> int:
        """257 with Basel's sizes."""
        return sum(self.sizes)

    def read(self, numbers: Tensor) -> Coefficients:
        """Coefficients of (B, total) numbers.

        Raises:
            ValueError: there are more or fewer.
        """
        if numbers.ndim != 2 or numbers.shape[1] != self.total:
            raise ValueError(f"{self.total} numbers a face are expected, not {tuple(numbers.shape)}")
        identity, expression, texture, light, rotation, translation = numbers.split(self.sizes, dim=1)
        ambient = numbers.new_zeros(9, 3)
        ambient[0] = AMBIENT
        return Coefficients(
            identity,
            EXPRESSION_UNIT * expression,
            texture,
            ambient + LIGHT_UNIT * light.reshape(-1, 3, 9).mT,
            ROTATION_UNIT * rotation,
            translation * numbers.new_tensor(TRANSLATION_UNIT),
        )

    def write(self, faces: Coefficients) -> Tensor:
        """(B, total) numbers: the inverse of `read`."""
        light = faces.light.clone()
        light[:, 0] -= AMBIENT
        return torch.cat(
            (
                faces.identity,
                faces.expression / EXPRESSION_UNIT,
                faces.texture,
                light.mT.reshape(-1, LIGHT) / LIGHT_UNIT,
                faces.angles / ROTATION_UNIT,
                faces.translation / faces.translation.new_tensor(TRANSLATION_UNIT),
            ),
            dim=1,
        )
