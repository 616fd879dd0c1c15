"""Procedural backgrounds, in place of photographs of textures (TwoView listing A.2 pastes the DTD textures).

Each picture is one of several families, coloured by a small palette of natural colours, with uneven light
and a random sharpness. Training never sees two of the families (cells, waves), nor violet palettes.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

TEST_HUES = (0.72, 0.9)
"""Hues (violet to magenta, of a circle of 1) that are saturated in the palettes of test backgrounds only."""


def background(generator: torch.Generator, batch: int, size: int, *, split: str = "train") -> Tensor:
    """Random backgrounds.

    Args:
        generator: every draw; pictures are made one after the other, so the first ones do not depend on
            `batch`.
        batch: B.
        size: S.
        split: "train" or "test" (which also serves validation).

    Returns:
        (B, 3, S, S) float32 in [0, 1], on the generator's device.

    Raises:
        ValueError: another split.
    """
    if split not in FAMILIES:
        raise ValueError(f'split must be "train" or "test", got {split!r}')
    families = FAMILIES[split]
    pictures = []
    for _ in range(batch):
        kind, softness, grain = _numbers(generator, 3)
        palette = natural_colours(generator, 6, split=split)
        picture = families[int(kind * len(families))](generator, size, palette)
        pictures.append(_finish(generator, picture, softness, grain))
    return torch.stack(pictures) if pictures else torch.empty((0, 3, size, size), device=generator.device)


def natural_colours(generator: torch.Generator, count: int, *, split: str = "train") -> Tensor:
    """(count, 3) colours of one picture: mostly dull, around two hues, of spread lightness."""
    draw = torch.rand((count, 3), generator=generator, device=generator.device)
    base = torch.rand((4,), generator=generator, device=generator.device)
    hue = torch.where(draw[:, 0] < 0.5, base[0], base[1]) + 0.04 * (draw[:, 0] - 0.5)
    saturation = 0.75 * draw[:, 1] ** 2 * (0.3 + base[2])
    hue = hue % 1.0
    if split == "train":
        reserved = (hue > TEST_HUES[0]) & (hue < TEST_HUES[1])
        saturation = torch.where(reserved, 0.15 * saturation, saturation)
    value = 0.05 + 0.9 * draw[:, 2]
    offset = torch.tensor((5.0, 3.0, 1.0), device=generator.device)
    k = (offset + 6 * hue[:, None]) % 6
    chroma = torch.minimum(k, 4 - k).clamp(0.0, 1.0)
    return value[:, None] * (1 - saturation.clamp(max=1.0)[:, None] * chroma)


def noise_octaves(generator: torch.Generator, size: int, channels: int, *, roughness: float = 0.5) -> Tensor:
    """(channels, S, S) fractal noise in [0, 1]: octaves twice as fine and `roughness` times as strong."""
    field = torch.rand((1, channels, 3, 3), generator=generator, device=generator.device) - 0.5
    strength = 1.0
    while field.shape[-1] < size:
        finer = min(size, 2 * field.shape[-1])
        strength *= roughness
        field = F.interpolate(field, (finer, finer), mode="bilinear")
        detail = torch.rand(field.shape, generator=generator, device=generator.device) - 0.5
        field = field + strength * detail
    return (field[0] * (1.2 * (1 - roughness) + 0.6) + 0.5).clamp_(0.0, 1.0)


def _clouds(generator: torch.Generator, size: int, palette: Tensor) -> Tensor:
    (roughness,) = _numbers(generator, 1)
    return _blend(noise_octaves(generator, size, 1, roughness=0.4 + 0.45 * roughness)[0], palette[:3])


def _mottled(generator: torch.Generator, size: int, palette: Tensor) -> Tensor:
    (roughness,) = _numbers(generator, 1)
    field = noise_octaves(generator, size, 4, roughness=0.4 + 0.45 * roughness) - 0.5
    return palette[0][:, None, None] + 0.6 * field[:1] + 0.2 * field[1:]


def _gradient(generator: torch.Generator, size: int, palette: Tensor) -> Tensor:
    return _blend(_coordinate(generator, size), palette[:3])


def _stripes(generator: torch.Generator, size: int, palette: Tensor) -> Tensor:
    count, duty, edge = _numbers(generator, 3)
    phase = _coordinate(generator, size) * (2 + 22 * count**2)
    return _step(phase % 1.0, 0.2 + 0.6 * duty, edge, palette)


def _checks(generator: torch.Generator, size: int, palette: Tensor) -> Tensor:
    count, ratio, edge, turn = _numbers(generator, 4)
    x, y = _axes(generator, size, turn)
    periods = 1 + 9 * count
    product = torch.sin(2 * math.pi * periods * x) * torch.sin(2 * math.pi * periods * (0.5 + ratio) * y)
    return _step(0.5 + 0.5 * product, 0.5, 0.2 * edge, palette)


def _dots(generator: torch.Generator, size: int, palette: Tensor) -> Tensor:
    count, radius, edge, turn = _numbers(generator, 4)
    x, y = _axes(generator, size, turn)
    cells = 2 + 10 * count
    distance = torch.hypot((x * cells) % 1.0 - 0.5, (y * cells) % 1.0 - 0.5)
    return _step(distance * 2, 0.3 + 0.5 * radius, edge, palette)


def _room(generator: torch.Generator, size: int, palette: Tensor) -> Tensor:
    """Walls, doors, windows, shelves: upright rectangles, each with its own gradient."""
    y = torch.linspace(0, 1, size, device=generator.device)[:, None]
    picture = palette[0][:, None, None] * (1.1 - 0.3 * y).expand(1, size, size)
    draw = torch.rand((14, 6), generator=generator, device=generator.device).tolist()
    for centre_x, centre_y, wide, high, colour, light in draw[: 5 + int(9 * draw[0][5])]:
        left, top = int((centre_x - wide**2 / 2) * size), int((centre_y - high**2 / 2) * size)
        right, bottom = left + max(3, int(wide**2 * size)), top + max(3, int(high**2 * size))
        part = picture[:, max(0, top) : max(0, bottom), max(0, left) : max(0, right)]
        part.copy_((palette[int(colour * len(palette))] * (0.6 + 0.7 * light))[:, None, None].expand_as(part))
    return picture


def _lights(generator: torch.Generator, size: int, palette: Tensor) -> Tensor:
    """Out-of-focus spots of light before a gradient."""
    picture = _gradient(generator, size, palette * 0.7)
    draw = torch.rand((16, 5), generator=generator, device=generator.device).tolist()
    axis = torch.arange(size, device=generator.device, dtype=torch.float32)
    for x, y, radius, colour, strength in draw:
        reach = max(2, int((0.02 + 0.13 * radius) * size))
        left, top = int(x * size) - reach, int(y * size) - reach
        rows, columns = slice(max(0, top), top + 2 * reach), slice(max(0, left), left + 2 * reach)
        distance = torch.hypot(axis[None, columns] - x * size, axis[rows, None] - y * size)
        inside = (reach - distance).clamp_(0.0, 1.0) * (0.2 + 0.6 * strength)
        picture[:, rows, columns] += inside * (0.3 + palette[int(colour * len(palette))])[:, None, None]
    return picture


def _plaid(generator: torch.Generator, size: int, palette: Tensor) -> Tensor:
    across = _bands(generator, size, palette)
    down = _bands(generator, size, palette)
    return 0.5 * (across[:, :, None] + down[:, None, :])


def _cells(generator: torch.Generator, size: int, palette: Tensor) -> Tensor:
    """Voronoi cells: pebbles, tiles, leaves."""
    points = torch.rand((24, 2), generator=generator, device=generator.device)
    axis = torch.linspace(0, 1, size, device=generator.device)
    across = (axis[None, :] - points[:, :1]).square()
    down = (axis[None, :] - points[:, 1:]).square()
    distance, nearest = (across[:, None, :] + down[:, :, None]).min(dim=0)
    colours = palette[nearest % len(palette)].permute(2, 0, 1)
    return colours * (1.1 - 2.5 * distance.sqrt())


def _waves(generator: torch.Generator, size: int, palette: Tensor) -> Tensor:
    """Wood grain, water, draped cloth: stripes bent by noise."""
    count, bend = _numbers(generator, 2)
    noise = noise_octaves(generator, size, 1, roughness=0.4)[0]
    phase = _coordinate(generator, size) * (3 + 12 * count) + noise * (1 + 5 * bend)
    return _blend(0.5 + 0.5 * torch.sin(2 * math.pi * phase), palette[:3])


Family = Callable[[torch.Generator, int, Tensor], Tensor]
_SHARED: tuple[Family, ...] = (_clouds, _mottled, _gradient, _room, _room, _stripes)
FAMILIES: dict[str, tuple[Family, ...]] = {
    "train": (*_SHARED, _checks, _dots, _lights, _plaid),
    "test": (*_SHARED, _cells, _cells, _waves, _waves),
}


def _finish(generator: torch.Generator, picture: Tensor, softness: float, grain: float) -> Tensor:
    """Uneven light, fine texture or none, a lens out of focus (half of the time)."""
    size = picture.shape[-1]
    if softness > 0.5:
        small = max(8, int(size / (1 + 10 * (softness - 0.5))))
        picture = F.interpolate(picture[None], (small, small), mode="bilinear", antialias=True)
        picture = F.interpolate(picture, (size, size), mode="bicubic")[0]
    if grain > 0.4:
        texture = noise_octaves(generator, size, 1, roughness=0.8) - 0.5
        picture = picture + (0.3 * (grain - 0.4)) * texture
    light = 0.75 + 0.5 * _coordinate(generator, size)
    return (picture * light).clamp(0.0, 1.0)


def _numbers(generator: torch.Generator, count: int) -> list[float]:
    return torch.rand(count, generator=generator, device=generator.device).tolist()


def _coordinate(generator: torch.Generator, size: int) -> Tensor:
    """(S, S) that rises from 0 to 1 in a random direction."""
    (turn,) = _numbers(generator, 1)
    return _axes(generator, size, turn)[0]


def _axes(generator: torch.Generator, size: int, turn: float) -> tuple[Tensor, Tensor]:
    """Two (S, S) coordinates, turned by a share of the circle, both within [0, 1]."""
    axis = torch.linspace(-0.5, 0.5, size, device=generator.device) / math.sqrt(2)
    cos, sin = math.cos(2 * math.pi * turn), math.sin(2 * math.pi * turn)
    x, y = axis[None, :], axis[:, None]
    return cos * x + sin * y + 0.5, cos * y - sin * x + 0.5


def _blend(value: Tensor, palette: Tensor) -> Tensor:
    """(3, S, S) from values in [0, 1]: three colours, linear between them."""
    low = (1 - 2 * value).clamp(min=0.0)
    high = (2 * value - 1).clamp(min=0.0)
    weights = torch.stack((low, 1 - low - high, high)).flatten(1)  # (3, S S)
    return (palette[:3].T @ weights).view(3, *value.shape)


def _step(value: Tensor, threshold: float, edge: float, palette: Tensor) -> Tensor:
    """Two colours, divided at the threshold by a ramp."""
    weight = ((value - threshold) / (0.02 + 0.2 * edge) + 0.5).clamp_(0.0, 1.0)
    return palette[0][:, None, None] + weight * (palette[1] - palette[0])[:, None, None]


def _bands(generator: torch.Generator, size: int, palette: Tensor) -> Tensor:
    """(3, S) bands of random widths, repeated two to six times."""
    draw = torch.rand(8, generator=generator, device=generator.device)
    ends = (draw[:6] + 0.15).cumsum(0) / (draw[:6] + 0.15).sum()
    axis = torch.linspace(0, 2 + 4 * float(draw[6]), size, device=generator.device) % 1.0
    index = torch.searchsorted(ends, axis).clamp(max=len(palette) - 1)
    return palette[index].T
