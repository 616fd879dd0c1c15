"""A square of linear light to paint on: rectangles, ellipses, gradients and noise, in shares of its side."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from facet.synthetic.backgrounds import natural_colours, noise_octaves
from facet.synthetic.finish import to_linear


class Canvas:
    """(3, S, S) linear light, the random numbers of one picture, and brushes. y runs down.

    Attributes:
        pixels: (3, S, S), may exceed 1 where a lamp or the sky is seen.
        palette: (8, 3) linear colours that go together, more or less dull.
    """

    def __init__(self, generator: torch.Generator, size: int, split: str):
        self.generator, self.size, self.split = generator, size, split
        self.device = generator.device
        self.axis = (torch.arange(size, device=self.device) + 0.5) / size
        colours = to_linear(natural_colours(generator, 8, split=split))
        self.palette = colours + (0.1 + 0.65 * self.draw(1)[0]) * (colours.mean(1, keepdim=True) - colours)
        self.pixels = torch.zeros(3, size, size, device=self.device)

    def draw(self, count: int) -> list[float]:
        """Numbers in [0, 1]."""
        return torch.rand(count, generator=self.generator, device=self.device).tolist()

    def colour(self, *rgb: float) -> Tensor:
        return torch.tensor(rgb, device=self.device)

    def pick(self, number: float, *, lightness: tuple[float, float] | None = None) -> Tensor:
        """(3,) a colour of the palette, its mean brought within bounds; near numbers pick different ones."""
        chosen = self.palette[int(number * 997) % len(self.palette)]
        if lightness is None:
            return chosen
        mean = float(chosen.mean())
        return chosen * (min(max(mean, lightness[0]), lightness[1]) / max(mean, 1e-3))

    def field(self, channels: int = 1, *, roughness: float = 0.5) -> Tensor:
        """(channels, S, S) fractal noise in [0, 1]."""
        return noise_octaves(self.generator, self.size, channels, roughness=roughness)

    def stretched(self, across: float, down: float) -> Tensor:
        """(S, S) smooth noise in [0, 1] with about so many waves across and down."""
        shape = [max(2, round(n)) for n in (2 * down, 2 * across)]
        coarse = torch.rand((1, 1, *shape), generator=self.generator, device=self.device)
        between = [max(self.size // 6, 2 * n) for n in shape]
        smooth = F.interpolate(coarse, between, mode="bicubic")  # then bilinear, which is quicker
        return F.interpolate(smooth, (self.size, self.size), mode="bilinear")[0, 0].clamp_(0.0, 1.0)

    def fill(self, colour: Tensor, shade: Tensor | float = 1.0) -> None:
        """Everything in one colour (3,), times a shade that broadcasts to (S, S)."""
        self.pixels.copy_(colour[:, None, None] * torch.as_tensor(shade, device=self.device))

    def light(self, factor: Tensor) -> None:
        """Multiply by a factor that broadcasts to (3, S, S)."""
        self.pixels *= factor

    def ramp(self, turn: float, low: float, high: float) -> Tensor:
        """(S, S) factors from low to high in the direction `turn` (a share of the circle, 0 to the right)."""
        cos, sin = math.cos(2 * math.pi * turn), math.sin(2 * math.pi * turn)
        along = cos * (self.axis[None, :] - 0.5) + sin * (self.axis[:, None] - 0.5)
        return (along * ((high - low) / 1.2) + (low + high) / 2).clamp_(min=0.0)

    def glow(self, x: float, y: float, reach: float) -> Tensor:
        """(S, S) light that falls from 1 at a point to a quarter at `reach`."""
        across, down = ((self.axis - x) / reach).square(), ((self.axis - y) / reach).square()
        return 1 / (1 + across[None, :] + down[:, None]).square()

    def rectangle(
        self, left: float, top: float, right: float, bottom: float, colour: Tensor, tilt: float = 0.0
    ) -> None:
        """A rectangle, brighter to the right by `tilt`."""
        x0, x1, y0, y1 = (round(v * self.size) for v in (left, right, top, bottom))
        part = self.pixels[:, max(0, y0) : max(0, y1), max(0, x0) : max(0, x1)]
        if part.numel():
            colour = colour[:, None, None]
            if tilt:
                colour = colour * torch.linspace(1 - tilt, 1 + tilt, part.shape[2], device=self.device)
            part.copy_(colour)

    def ellipse(
        self, x: float, y: float, wide: float, high: float, colour: Tensor, *, edge: float = 1.0
    ) -> None:
        """An ellipse of half axes `wide` and `high`, its edge so many pixels soft."""
        x0, x1 = (round((x + s * wide) * self.size) + s for s in (-1, 1))
        y0, y1 = (round((y + s * high) * self.size) + s for s in (-1, 1))
        rows, columns = slice(max(0, y0), max(0, y1)), slice(max(0, x0), max(0, x1))
        part = self.pixels[:, rows, columns]
        if part.numel():
            across, down = (self.axis[columns] - x) / wide, (self.axis[rows] - y) / high
            far = torch.hypot(across[None, :], down[:, None])
            inside = ((1 - far) * (min(wide, high) * self.size / edge) + 0.5).clamp_(0.0, 1.0)
            part.add_((colour[:, None, None] - part) * inside)
