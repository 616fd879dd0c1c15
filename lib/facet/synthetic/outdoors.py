"""Outdoors: sky, trees, streets and beaches."""

import torch

from facet.synthetic.canvas import Canvas
from facet.synthetic.indoors import person


def foliage(c: Canvas) -> None:
    """Trees: leaves at several scales, gaps of sky, trunks, a meadow."""
    horizon, warm, gaps, trunks, contrast = c.draw(5)
    horizon = 0.45 + 0.5 * horizon
    bright = _sky(c, horizon)
    leaves, cover = c.field(2, roughness=0.72)
    clumps = c.stretched(3, 3)
    shade = (leaves - 0.2 + 0.6 * (clumps - 0.5)).clamp_(min=0.06).pow_(1 + contrast) * bright
    green = c.colour(0.35 + 0.5 * warm, 0.6, 0.12 + 0.1 * warm)[:, None, None]
    there = ((cover + 0.6 * clumps - 0.55 - 0.25 * gaps) * 14 + 3 * c.axis[:, None]).clamp_(0.0, 1.0)
    c.pixels += there * (green * shade - c.pixels)
    stems = torch.rand((3, 3), generator=c.generator, device=c.device).tolist()
    for x, wide, tone in stems[: int(4 * trunks)]:
        bark = c.colour(0.09, 0.065, 0.045) * (0.4 + tone) * bright
        c.rectangle(x, -0.1, x + 0.02 + 0.09 * wide, horizon + 0.1, bark, 0.5)
    grass = c.colour(0.22 + 0.2 * warm, 0.33, 0.09)[:, None, None] * bright
    meadow = (0.4 + 0.4 * c.stretched(4, 14) + 0.3 * leaves) * grass
    below = ((c.axis - horizon) * 25).clamp(0.0, 1.0)[:, None]
    c.pixels += below * (meadow - c.pixels)
    c.light(c.ramp(warm, 0.7, 1.2))


def street(c: Canvas) -> None:
    """Houses with windows, a road, cars, signs, people."""
    horizon, count, night = c.draw(3)
    horizon = 0.6 + 0.3 * horizon
    bright = _sky(c, horizon)
    for x, wide, high, tone, rows, columns in sorted(
        torch.rand((5, 6), generator=c.generator, device=c.device).tolist(), key=lambda house: -house[2]
    ):
        left, right, top = x - 0.25, x + 0.1 + 0.25 * wide, horizon * (0.5 * (1 - high) - 0.1)
        wall = c.pick(tone, lightness=(0.06, 0.5)) * bright
        c.rectangle(left, top, right, horizon + 0.03, wall, 0.25)
        rows, columns = 2 + int(4 * rows), 2 + int(4 * columns)
        for k in range(rows * columns):
            u = left + (right - left) * (k % columns + 0.25) / columns
            v = top + (horizon - top) * (k // columns + 0.2) / rows
            lit = 3.0 if night < 0.25 and (k * 7 + rows) % 3 == 0 else 0.3 + 0.5 * ((k * 5) % 4 == 0)
            glass = (c.colour(1.0, 0.75, 0.4) if lit > 1 else c.colour(0.5, 0.6, 0.7) * bright) * lit
            c.rectangle(u, v, u + 0.5 * (right - left) / columns, v + 0.6 * (horizon - top) / rows, glass)
    c.rectangle(0, horizon, 1, 1, c.colour(0.14, 0.14, 0.15) * bright, 0.1)
    for x, y, tone, wide, _ in torch.rand((4, 5), generator=c.generator, device=c.device).tolist():
        car, y = c.pick(tone, lightness=(0.02, 0.6)) * bright, horizon + 0.06 * y
        c.ellipse(x, y, 0.08 + 0.08 * wide, 0.05, car, edge=2)
        c.ellipse(x, y - 0.03, 0.06 + 0.05 * wide, 0.04, 0.3 * car, edge=2)
        c.ellipse(x + 0.08, y, 0.012, 0.012, c.colour(6.0, 2.0 + 3 * tone, 1.0 + 3 * tone))
    for _ in range(int(3 * count)):
        person(c, 0.4 + 0.4 * bright)
    c.light(c.ramp(count, 0.75, 1.2) * (0.3 if night < 0.25 else 1.0))


def beach(c: Canvas) -> None:
    """Sky, sea with glitter, sand."""
    horizon, wet, warm, tone = c.draw(4)
    horizon, shore = 0.25 + 0.35 * horizon, 0.55 + 0.4 * wet
    bright = _sky(c, horizon)
    waves = c.stretched(6, 40)
    sea = (0.25 + 0.5 * waves)[None] * c.colour(0.2, 0.42, 0.5)[:, None, None] * bright
    sea = sea + 3 * bright * (waves - 0.86).clamp(min=0.0)
    c.pixels += ((c.axis - horizon) * 80).clamp(0.0, 1.0)[:, None] * (sea - c.pixels)
    sand = c.colour(0.55, 0.44, 0.3)[:, None, None] * (0.75 + 0.4 * c.field(roughness=0.7)) * bright
    line = shore + 0.08 * (c.stretched(2, 1)[:1] - 0.5)
    c.pixels += ((c.axis[:, None] - line) * 30).clamp(0.0, 1.0) * (sand - c.pixels)
    c.light(c.colour(1 + 0.3 * warm, 1.0, 1 - 0.35 * warm)[:, None, None] * c.ramp(tone, 0.8, 1.2))


def _sky(c: Canvas, horizon: float) -> float:
    """Sky above the horizon; returns how bright the day is."""
    blue, clouds, bright = c.draw(3)
    bright = 0.5 + 1.2 * bright
    top = c.colour(0.75 - 0.55 * blue, 0.8 - 0.35 * blue, 0.88) * bright
    share = (c.axis / max(horizon, 0.05)).clamp(max=1.0)[None, :, None]
    c.pixels.copy_((top[:, None, None] * (1 - share) + bright * share).expand_as(c.pixels))
    if clouds > 0.4:
        cover = (3 * (c.field(roughness=0.55) - 0.45)).clamp(0.0, 1.0) * clouds
        c.pixels += cover * (1.15 * bright - c.pixels)
    return bright
