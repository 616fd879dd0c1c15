"""Backdrops without depth: painted walls, studio paper, lamps at night, brick, wood, curtains, rubble."""

import math

import torch

from facet.synthetic.canvas import Canvas


def plain_wall(c: Canvas) -> None:
    """Paint or plaster, a lamp's or a window's light across it, sometimes a shadow's edge."""
    turn, rough, strength, shadow, place = c.draw(5)
    c.fill(c.pick(turn, lightness=(0.12, 0.7)), c.ramp(turn, 0.55, 1.15))
    c.light(1 + (0.05 + 0.2 * rough) * (c.field(roughness=0.5 + 0.4 * rough) - 0.5))
    c.light(0.75 + 0.5 * strength * c.glow(place, turn, 0.7))
    if shadow < 0.4:
        edge = (c.ramp(turn + 0.2, -1.0, 1.0) + place - 0.5) * (8 + 60 * strength)
        c.light(1 - 0.45 * edge.clamp(0.0, 1.0))


def studio(c: Canvas) -> None:
    """A painted or paper backdrop, mottled or even, with a spot behind the head."""
    hue, mottle, spot, x, dark = c.draw(5)
    greys = ((0.25, 0.25, 0.26), (0.1, 0.13, 0.18), (0.2, 0.16, 0.12), (0.7, 0.7, 0.7), (0.03, 0.03, 0.035))
    base = c.colour(*greys[int(hue * 5)])
    c.fill(base, 0.45 + (0.5 + 0.9 * spot) * c.glow(0.3 + 0.4 * x, 0.35 + 0.2 * dark, 0.45 + 0.4 * mottle))
    if mottle > 0.35:
        clouds = c.field(2, roughness=0.62)
        c.light(1 + 1.1 * mottle * (clouds[:1] - 0.5))
        c.light(1 + 0.25 * (clouds[1] - 0.5) * c.colour(1.0, 0.0, -1.0)[:, None, None])


def bokeh(c: Canvas) -> None:
    """Lamps at night, or a party's lights."""
    c.fill(c.pick(0.1, lightness=(0.004, 0.06)), c.ramp(0.25, 0.4, 1.6))
    for left, top, wide, level in torch.rand((4, 4), generator=c.generator, device=c.device).tolist():
        wall = c.pick(left, lightness=(0.005, 0.08))
        c.rectangle(left - 0.3, top - 0.1, left + wide / 2, 1.2, wall, level / 2)
    warm, large = c.draw(2)
    for x, y, hue, strength, radius in torch.rand((24, 5), generator=c.generator, device=c.device).tolist():
        tint = c.colour(1.0, 0.75 - 0.3 * warm, 0.6 - 0.5 * warm)
        if hue > 0.75:
            tint = c.pick(hue) / c.palette.mean()
        radius = 0.004 + (0.004 + 0.014 * large) * radius
        c.ellipse(x, 0.1 + 0.7 * y, radius, radius, tint * (1 + 30 * strength**3))


def brick(c: Canvas) -> None:
    count, tone, spread, turn, painted = c.draw(5)
    rows = 9 + 16 * count
    y = c.axis[:, None] * rows + 0.05 * c.stretched(2, 2) + c.axis[None, :] * (turn - 0.5)
    row = y.floor()
    x = c.axis[None, :] * rows / 2.6 + 0.5 * (row % 2)
    column = x.floor()
    table = torch.rand(1024, generator=c.generator, device=c.device)
    each = table[(row * 37 + column * 11).long() % 1024]
    edge = torch.minimum(1 - (2 * (y - row) - 1).abs(), 2.6 * (1 - (2 * (x - column) - 1).abs()))
    body = ((edge - 0.1) * 9).clamp_(0.0, 1.0)
    clay = c.colour(0.34, 0.13, 0.08) if painted < 0.6 else c.pick(tone, lightness=(0.1, 0.6))
    clay = clay * (0.6 + 0.7 * tone)
    mortar = c.colour(0.35, 0.33, 0.3) if painted < 0.6 else 0.8 * clay
    shade = 1 + (0.3 + 0.7 * spread) * (each - 0.5) + 0.35 * (c.field(roughness=0.8)[0] - 0.5)
    c.pixels.copy_(mortar[:, None, None] + body * (clay[:, None, None] * shade - mortar[:, None, None]))
    c.light(c.ramp(turn, 0.5, 1.2))


def wood(c: Canvas) -> None:
    count, tone, turn, upright, grain = c.draw(5)
    planks = 4 + 10 * count
    along = c.axis[None, :] * planks + 0.02 * c.stretched(1, 2)
    plank = along.floor().clamp(0, 31)
    table = torch.rand(32, generator=c.generator, device=c.device)[plank.long()]
    rings = torch.sin(40 * c.stretched(2 * planks, 2.5) + 9 * table)
    gap = ((1 - (2 * (along - plank) - 1).abs()) * 18).clamp_(0.15, 1.0)
    shade = (0.8 + 0.5 * (table - 0.5) + (0.05 + 0.12 * grain) * rings) * gap
    brown = c.colour(0.32, 0.2, 0.11) * (0.3 + 1.2 * tone)
    if tone > 0.75:
        brown = c.pick(grain, lightness=(0.1, 0.6))
    c.fill(brown, shade if upright < 0.6 else shade.T)
    c.light(c.ramp(turn, 0.6, 1.2))


def curtain(c: Canvas) -> None:
    count, tone, sharp, turn, weave = c.draw(5)
    bend = c.stretched(3 + 5 * count, 1.5)
    folds = torch.sin(2 * math.pi * (c.axis[None, :] * (4 + 12 * count) + 1.2 * bend))
    shade = 0.62 + 0.3 * folds + 0.25 * sharp * (folds.abs() - 0.5) * (bend - 0.3)
    c.fill(c.pick(tone, lightness=(0.04, 0.55)), shade.clamp_(min=0.1))
    c.light(1 + 0.25 * weave * (c.field(roughness=0.9) - 0.5))
    c.light(c.ramp(turn, 0.6, 1.2))


def stone(c: Canvas) -> None:
    """A wall of rubble: every stone is a Voronoi cell."""
    tone, gap, turn = c.draw(3)
    bend = 0.08 * (c.field(2, roughness=0.6) - 0.5)
    first = torch.full((c.size, c.size), 9.0, device=c.device)
    second, each = first.clone(), torch.zeros_like(first)
    for x, y, level in torch.rand((28, 3), generator=c.generator, device=c.device).tolist():
        far = (c.axis[None, :] + bend[0] - x).square() + 1.8 * (c.axis[:, None] + bend[1] - y).square()
        each += (far < first) * (level - each)
        second = torch.minimum(second, torch.maximum(first, far))
        first = torch.minimum(first, far)
    body = ((second.sqrt() - first.sqrt()) * (30 - 15 * gap)).clamp_(0.0, 1.0)
    shade = (0.5 + 0.6 * each) * (0.25 + 0.75 * body) * (0.7 + 0.6 * c.field(roughness=0.75)[0])
    c.fill(c.colour(0.33, 0.31, 0.28) * (0.5 + tone), shade)
    c.light(c.ramp(turn, 0.55, 1.2))
