"""Rooms and halls: walls, windows, doors, shelves, lamps, plants, sofas and people, painted as plain shapes.

Each thing takes the canvas and how brightly the room is lit. They are meant to be seen out of focus.
"""

import math

import torch

from facet.synthetic.canvas import Canvas

SKINS = ((0.62, 0.4, 0.3), (0.45, 0.26, 0.17), (0.2, 0.1, 0.06), (0.08, 0.04, 0.025))


def room(c: Canvas) -> None:
    """Two walls, a ceiling or a floor, three to six things, light from a side, warm or cool."""
    corner, tone, side, level, warm, ceiling, count = c.draw(7)
    wall = c.pick(tone, lightness=(0.12, 0.6))
    c.fill(wall, 0.9)
    c.rectangle(0, 0, 0.15 + 0.7 * corner, 1, wall * (0.6 + 0.5 * side), 0.1)
    if ceiling < 0.35:
        c.rectangle(0, 0, 1, 0.1 + 0.2 * ceiling, c.colour(0.55, 0.55, 0.53))
    elif ceiling > 0.7:
        c.rectangle(0, 0.55 + 0.4 * ceiling, 1, 1, c.pick(level, lightness=(0.05, 0.35)), 0.1)
    kinds = c.draw(3 + int(4 * count))
    for kind in sorted(kinds):  # windows and doors first, people last
        _FURNITURE[int(kind * len(_FURNITURE))](c, 0.5 + 0.7 * level)
    c.light(c.ramp(0.5 * float(side > 0.5), 0.6, 1.3))
    cast = c.colour(1 + 0.35 * (warm - 0.4), 1.0, 1 - 0.5 * (warm - 0.4))
    c.light((0.7 + 0.7 * level) * cast[:, None, None])


def hall(c: Canvas) -> None:
    """A shop, an office, a gym: shelves, lamps in the ceiling, people."""
    level, tone = c.draw(2)
    c.fill(c.pick(tone, lightness=(0.15, 0.5)), c.ramp(0.25, 1.2, 0.6))
    c.rectangle(0, 0, 1, 0.22, c.colour(0.35, 0.36, 0.37))
    for k in range(6):
        x, y = (k % 3) * 0.37 + 0.1 * tone, 0.04 + 0.1 * (k // 3)
        c.rectangle(x, y, x + 0.16, y + 0.025, c.colour(2.5, 2.6, 2.5) * (0.5 + level))
    for paint in (_shelf, _shelf, person, person, _door if tone < 0.5 else _frames):
        paint(c, 0.5 + 0.6 * level)
    c.light(c.ramp(tone, 0.8, 1.2))


def _window(c: Canvas, light: float) -> None:
    left, top, wide, high, bars, curtain = c.draw(6)
    left, right, top = left - 0.15, left + 0.15 + 0.3 * wide, 0.3 * top - 0.1
    bottom = top + 0.35 + 0.4 * high
    sky = c.colour(0.85, 0.95, 1.1) * light
    c.rectangle(left - 0.015, top - 0.015, right + 0.015, bottom + 0.015, c.colour(0.5, 0.5, 0.48))
    c.rectangle(left, top, right, bottom, sky)
    outside = top + (0.4 + 0.5 * wide) * (bottom - top)
    c.rectangle(left, outside, right, bottom, c.colour(0.25, 0.35, 0.15) * light)
    for k in range(1, 2 + int(3 * bars)):
        x = left + (right - left) * k / (2 + int(3 * bars))
        c.rectangle(x - 0.006, top, x + 0.006, bottom, c.colour(0.4, 0.4, 0.38))
    c.rectangle(left, (top + bottom) / 2 - 0.006, right, (top + bottom) / 2 + 0.006, c.colour(0.4, 0.4, 0.38))
    if curtain < 0.6:
        cloth = c.pick(curtain, lightness=(0.2, 0.7))
        for k in range(8):
            x = left - 0.06 + 0.016 * k
            c.rectangle(x, top - 0.05, x + 0.016, 1.0, cloth * (0.7 + 0.35 * math.sin(2.3 * k) ** 2))


def _door(c: Canvas, light: float) -> None:
    x, wide, tone = c.draw(3)
    colour = c.pick(tone, lightness=(0.08, 0.6)) * light
    left, right = x - 0.1, x + 0.15 + 0.1 * wide
    c.rectangle(left - 0.02, 0.02, right + 0.02, 1.0, 1.25 * colour)
    c.rectangle(left, 0.04, right, 1.0, colour, 0.1)
    c.rectangle(left + 0.04, 0.1, right - 0.04, 0.45, 0.85 * colour, -0.1)


def _frames(c: Canvas, light: float) -> None:
    for x, y, wide, high, tone in torch.rand((2, 5), generator=c.generator, device=c.device).tolist():
        wide, high, top = 0.08 + 0.2 * wide, 0.08 + 0.22 * high, 0.05 + 0.4 * y
        c.rectangle(x - 0.012, top - 0.012, x + wide + 0.012, top + high + 0.012, c.pick(tone) * 0.3 * light)
        c.rectangle(x, top, x + wide, top + high, c.pick(tone + 0.3, lightness=(0.1, 0.8)) * light, 0.2)
        c.ellipse(x + wide / 2, top + 0.6 * high, wide / 3, high / 4, c.pick(tone + 0.6) * light, edge=2)


def _shelf(c: Canvas, light: float) -> None:
    """Boards with books, boxes or bottles."""
    left, wide, rows, tone = c.draw(4)
    left, right = left - 0.2, left + 0.1 + 0.5 * wide
    back = c.pick(tone, lightness=(0.02, 0.3)) * light
    c.rectangle(left, 0.0, right, 1.0, 0.5 * back)
    step = 0.16 + 0.12 * rows
    x0, x1 = (round(min(max(v, 0.0), 1.0) * c.size) for v in (left, right))
    for row in range(round(1 / step)):
        base = (row + 0.7) * step
        y0, y1 = (round(min(max(v, 0.0), 1.0) * c.size) for v in (base - step, base))
        part = c.pixels[:, y0:y1, x0:x1]
        things = torch.rand((3, 24), generator=c.generator, device=c.device)
        ends = left + (0.015 + 0.04 * things[0]).cumsum(0)
        which = torch.searchsorted(ends, c.axis[x0:x1]).clamp(max=23)
        top = (base - step * (0.45 + 0.35 * things[1]) * (things[2] > 0.15))[which]
        colours = c.palette[(things[2] * 8).long().clamp(max=7)] * (0.6 + 0.5 * things[:1].T) * light
        there = (c.axis[y0:y1, None] > top).float()
        part += there * (colours[which].T[:, None, :] - part)
        c.rectangle(left, base, right, base + 0.014, 1.3 * back)


def _lamp(c: Canvas, light: float) -> None:
    x, y, wide = c.draw(3)
    y, wide = 0.1 + 0.4 * y, 0.04 + 0.05 * wide
    warm = c.colour(1.0, 0.72, 0.42)
    c.pixels += 0.5 * c.glow(x, y, 0.22) * warm[:, None, None]
    c.rectangle(x - 0.006, y, x + 0.006, 1.0, c.colour(0.05, 0.05, 0.05))
    for k in range(6):  # a shade that widens downward
        half = wide * (0.6 + 0.08 * k)
        c.rectangle(
            x - half, y + wide * (k / 3 - 1), x + half, y + wide * (k / 3 - 0.6), warm * (1.5 + 2 * light)
        )


def _plant(c: Canvas, light: float) -> None:
    x, y, tone = c.draw(3)
    y = 0.35 + 0.4 * y
    for dx, dy, size, green in torch.rand((26, 4), generator=c.generator, device=c.device).tolist():
        leaf = c.colour(0.03 + 0.06 * tone, 0.09, 0.025) * (light * (0.4 + 2 * green * (1 - dy)))
        c.ellipse(x + 0.25 * (dx - 0.5), y + 0.4 * (dy - 0.5), 0.01 + 0.03 * size, 0.02 + 0.05 * green, leaf)


def _sofa(c: Canvas, light: float) -> None:
    x, y, tone = c.draw(3)
    colour, top = c.pick(tone, lightness=(0.04, 0.45)) * light, 0.6 + 0.25 * y
    c.ellipse(x, top + 0.3, 0.5, 0.32, colour, edge=2)
    c.rectangle(x - 0.5, top + 0.15, x + 0.5, 1.0, 0.8 * colour, 0.2)
    c.ellipse(x + 0.2, top + 0.12, 0.12, 0.1, c.pick(tone + 0.4, lightness=(0.05, 0.6)) * light, edge=2)


def person(c: Canvas, light: float) -> None:
    x, y, size, skin, cloth = c.draw(5)
    size, y = 0.05 + 0.07 * size, 0.3 + 0.25 * y
    wear = c.pick(cloth, lightness=(0.02, 0.5)) * light
    hair = c.colour(0.03, 0.02, 0.015) * (0.5 + 3 * cloth**3)
    c.ellipse(x, y + 6.1 * size, 1.9 * size, 5 * size, wear, edge=1.5)
    c.ellipse(x, y - 0.25 * size, 0.85 * size, 1.1 * size, hair, edge=1.5)
    c.ellipse(x, y + 0.2 * size, 0.7 * size, 0.95 * size, c.colour(*SKINS[int(skin * 4)]) * light, edge=1.5)


_FURNITURE = (_window, _window, _door, _frames, _shelf, _lamp, _plant, _sofa, person)
