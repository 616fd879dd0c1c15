"""Skin painted on a chart: tone, pigment, spots, wrinkles, lips, make-up, hair on skin, the wet parts, cloth.

Colour is reckoned in optical density, −ln(linear albedo). A person's tone is where melanin and haemoglobin
put it; photographed skins add detail only, and more of either pigment moves a place along the same two
directions, so that nothing turns orange or grey.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from facet.face_model import PARTS
from facet.rendering.texture import hashed
from facet.synthetic.paint import BROW_LINE, line, smooth
from facet.synthetic.skin_chart import MOUNDS, WRINKLES, Chart

if TYPE_CHECKING:
    from facet.synthetic.skin import Skin

# Skin tones: ITA in degrees (Chardon 1991), a* and b* of CIELAB (D65) as people of that ITA have on average.
TONES = (
    (-75, 8.5, 9), (-60, 10, 11.5), (-45, 11, 13.8), (-30, 11.6, 16), (-10, 11.8, 17.3), (10, 11.6, 17.6),
    (28, 11.2, 16.8), (41, 10.6, 15.4), (55, 9.8, 13.4), (70, 8.5, 11),
)  # fmt: skip
SPOTS = (5, 8, 5)  # moles, blemishes, age spots at most
PATTERNS = ("plain", "striped", "checked", "knit")
WET = {"mouth": (0.36, 0.12, 0.11, 0.45), "tongue": (0.44, 0.19, 0.17, 0.45)}
CAVITY = (0.56, 0.26, 0.22)  # what mixes with the skin's tone where the lids end
_BAGS, _LIDS = list(MOUNDS).index("bags"), list(MOUNDS).index("lids")
_OILY = [list(MOUNDS).index(name) for name in ("nose", "forehead", "chin")]
_SUN = [list(MOUNDS).index(name) for name in ("cheeks", "nose", "bridge", "forehead")]
_POUCHES = [k for k, name in enumerate(WRINKLES) if name.startswith("pouch")]
# sRGB primaries, D65: rows X, Y, Z over the white's.
_XYZ = ((0.43395, 0.37621, 0.18983), (0.21267, 0.71515, 0.07217), (0.01776, 0.10947, 0.87276))


def ita_of(melanin: Tensor) -> Tensor:
    """Individual typology angle in degrees of a melanin coordinate: 60 at 0, −60 at 1."""
    return 60 - 120 * melanin


def to_lab(linear: Tensor) -> Tensor:
    """(..., 3) CIELAB (D65) of linear RGB."""
    t = linear @ linear.new_tensor(_XYZ).mT
    f = torch.where(t > 216 / 24389, t.clamp(min=1e-6) ** (1 / 3), (24389 / 27 * t + 16) / 116)
    x, y, z = f.unbind(-1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=-1)


def from_lab(lab: Tensor) -> Tensor:
    """(..., 3) linear RGB of CIELAB (D65), unclipped."""
    y = (lab[..., 0] + 16) / 116
    f = torch.stack([y + lab[..., 1] / 500, y, y - lab[..., 2] / 200], dim=-1)
    t = torch.where(f > 6 / 29, f**3, (116 * f - 16) * 27 / 24389)
    return t @ torch.linalg.inv(lab.new_tensor(_XYZ)).mT


def tone(melanin: Tensor, haemoglobin: Tensor, warmth: Tensor) -> Tensor:
    """(N, 3) linear albedo of skin with the given pigments (see `Skin`)."""
    angle = ita_of(melanin)
    red, yellow = (line(tuple((t[0], t[k]) for t in TONES), angle) for k in (1, 2))
    yellow = yellow * (1 + 0.085 * warmth)
    light = 50 + yellow * torch.deg2rad(angle.clamp(-72, 72)).tan()
    return from_lab(torch.stack([light, red + 1.5 * haemoglobin, yellow], dim=1)).clamp(0.01, 0.95)


def densities(melanin: Tensor, haemoglobin: Tensor, warmth: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Optical density (N, 3) of the tone, and what a unit of melanin and of haemoglobin add to it."""
    base = -tone(melanin, haemoglobin, warmth).log()
    inside = melanin.clamp(0.12, 0.88)  # lightness runs away beyond
    more, less = (-tone(inside + step, haemoglobin, warmth).log() for step in (0.08, -0.08))
    shift = base.new_tensor([-0.9, 2.2, 0.2]) + melanin[:, None] * base.new_tensor([0.0, -0.8, 1.0])
    redder = (
        -from_lab(to_lab((-base).exp()) + shift).clamp(min=0.005).log()
    )  # brown, not purple, on dark skin
    return base, (more - less) / 0.16, redder - base


def paint(chart: Chart, detail: Tensor, skin: Skin, brows: bool) -> Tensor:
    """(N, 6, M) channels of the chart's texels, see `skin.bake`; detail (S, 3, M) of `skin_chart.details`."""
    noise = [lattice.noise(skin.seed + k) for k, lattice in enumerate(chart.lattices)]
    bare = 1 - 0.65 * skin.makeup[:, :1]  # what foundation lets through
    share = torch.stack([1 - skin.mix, skin.mix], dim=1)
    share = share * (bare * skin.relief[:, :1] / share.norm(dim=1, keepdim=True))
    photographed = sum(detail[skin.texture[:, k]] * share[:, k, None, None] for k in range(2))
    spots, height = _spots(chart, skin, noise, bare)
    grooves = skin.wrinkles @ chart.wrinkles
    middle = (chart.mounds * chart.face).sum(1, keepdim=True) / chart.face.sum()
    pigment = skin.pigment @ (chart.mounds - middle) + spots
    pigment += bare[:, None] * skin.relief[:, 1, None, None] * _blotches(noise)
    pigment[:, 0] += 0.11 * grooves
    pigment[:, 1] += 0.25 * grooves
    base, per_melanin, per_haemoglobin = densities(skin.melanin, skin.haemoglobin, skin.warmth)
    density = photographed + base[:, :, None]
    density += pigment[:, :1] * per_melanin[:, :, None]
    density += pigment[:, 1:] * per_haemoglobin[:, :, None]
    colour = (-density).exp()
    height = height - grooves
    height -= skin.relief[:, 2, None] / 0.045 * photographed.mean(1) * (0.3 + 0.7 * chart.face)
    height += 2.2 * chart.mounds[_BAGS] * skin.wrinkles[:, _POUCHES].mean(1, keepdim=True)
    shine = skin.gloss[:, :1] + skin.gloss[:, 1:2] * (chart.mounds[_OILY].amax(0))
    shine = shine * (1 + 0.16 * noise[2] + 0.1 * noise[3])
    colour, shine = _lips(chart, skin, noise, colour, photographed, shine)
    colour = _shadow_lids(chart, skin, colour)
    colour = _hair(chart, skin, noise, colour, brows)
    colour, shine = _wet(chart, skin, noise, colour, shine)
    colour, shine, height = _dress(chart, skin, noise, colour, shine, height)
    steps = height[:, chart.neighbours[1::2]] - height[:, chart.neighbours[::2]]  # (N, 2, M)
    slopes = torch.stack([(steps * chart.slope[:, k].mT).sum(1) for k in range(2)], dim=1)
    return torch.cat([colour.clamp(0, 1), shine.clamp(0, 1)[:, None], slopes.clamp(-1, 1)], dim=1)


def _blotches(noise: list[Tensor]) -> Tensor:
    """(N, 2, M) melanin and haemoglobin that vary without any place of their own."""
    return torch.stack([0.02 * noise[0] + 0.012 * noise[1], 0.2 * noise[1] + 0.14 * noise[2]], dim=1)


def _spots(chart: Chart, skin: Skin, noise: list[Tensor], bare: Tensor) -> tuple[Tensor, Tensor]:
    """Melanin and haemoglobin (N, 2, M) of freckles, moles, blemishes and age spots, and mm of height."""
    slot = torch.arange(sum(SPOTS), device=skin.seed.device)
    kind = torch.repeat_interleave(torch.arange(3, device=slot.device), slot.new_tensor(SPOTS))
    dice = [hashed(skin.seed[:, None], slot + 100 * k) for k in range(4)]
    there = (dice[0] < skin.spots[:, 1:][:, kind]) * (0.6 + 0.4 * dice[3])
    where = chart.sites[(dice[1] * len(chart.sites)).long()]  # (N, K, 3)
    low, high = (slot.new_tensor(c, dtype=torch.float32)[kind] for c in ((1.0, 1.5, 2.6), (1.8, 3.4, 6.5)))
    radius = (low + (high - low) * dice[2] ** 2) * max(1.0, (256 / chart.size) ** 0.5)
    place = chart.place[chart.front].mT
    away = where.square().sum(2)[..., None] + place.square().sum(0) - 2 * where @ place
    dots = (1 - away / (2.2 * radius.square())[..., None]).clamp(min=0).square() * there[..., None]
    dots = torch.stack([part.sum(1) for part in dots.split(SPOTS, dim=1)], dim=1)
    dots = torch.cat([dots, chart.freckles.dots(skin.seed, skin.spots[:, 0])[:, None]], dim=1)
    dots = dots.new_zeros(*dots.shape[:2], len(chart.texel)).index_copy(2, chart.front, dots)
    moles, blemishes, age, freckles = dots.unbind(1)
    sun = (chart.mounds[_SUN].sum(0) * 1.4 + 0.25 * chart.face).clamp(max=1) * chart.face
    freckles = freckles * sun
    melanin = 0.2 * freckles + 0.5 * moles + 0.17 * age * (1 + 0.3 * noise[3])
    haemoglobin = 2.2 * blemishes + 0.4 * freckles
    out = torch.stack([melanin, haemoglobin], dim=1) * bare[:, None]
    return out, 0.5 * moles + 0.4 * blemishes


def _lips(
    chart: Chart, skin: Skin, noise: list[Tensor], colour: Tensor, photographed: Tensor, shine: Tensor
) -> tuple[Tensor, Tensor]:
    edge = chart.lips + 0.2 * noise[2]
    inside = smooth(edge, skin.lips[:, 3:4])
    creases = (-1.2 * photographed - 0.05 * noise[3][:, None]).exp()
    lips = skin.lips[:, :3, None] * creases * (1 - 0.1 * smooth(chart.lips - 9, 4.0))
    colour = colour + (lips - colour) * (inside * skin.lips[:, 4:])[:, None]
    return colour, shine + (skin.gloss[:, 2:] * (1 + 0.15 * noise[3]) - shine) * inside


def _shadow_lids(chart: Chart, skin: Skin, colour: Tensor) -> Tensor:
    alpha = skin.makeup[:, 1:2] * (1.3 * chart.mounds[_LIDS]).clamp(max=1)
    return colour + (skin.makeup[:, 2:, None] - colour) * alpha[:, None]


def _hair(chart: Chart, skin: Skin, noise: list[Tensor], colour: Tensor, brows: bool) -> Tensor:
    """Stubble, what covers the scalp and, where asked for, brows."""
    hair = skin.hair[:, :, None]
    shaved = hair * 0.7 + 0.3 * colour * colour.new_tensor([0.75, 0.9, 1.0])[:, None]
    fair = smooth((skin.hair.mean(1) / tone(skin.melanin, skin.haemoglobin, skin.warmth).mean(1)).log(), 0.5)
    alpha = chart.beard * (skin.stubble * (1 - 0.7 * fair))[:, None] * (0.75 + 0.2 * noise[3]).clamp(0, 1)
    colour = colour + (shaved - colour) * alpha[:, None]
    cover, shift, temples, bald = skin.scalp[:, :, None].unbind(1)
    within = chart.scalp - shift - temples * chart.temple
    crop = smooth(within + 1.6 * noise[2] + 2 * noise[1], 13.0) * chart.bare * (1 - bald * chart.crown)
    alpha = cover * crop * (0.92 + 0.06 * noise[3]).clamp(0, 1)
    colour = colour + (hair * (0.95 + 0.1 * noise[3] + 0.05 * noise[2])[:, None] - colour) * alpha[:, None]
    if brows:
        x, y, z = chart.place[:, 0].abs(), chart.place[:, 1], chart.place[:, 2]
        thickness, height, arch, density = skin.brow[:, :, None].unbind(1)
        along = (x - 8) / 42
        middle = line(BROW_LINE, x) + height + arch * (along - 0.5)
        off = (y - middle) / (thickness * (1.15 - 0.7 * along).clamp(0.3, 1.2))
        inside = smooth(x - 8, 3.0) * smooth(50 - x, 4.0) * (z > 40) * (-off.pow(4)).exp()
        alpha = chart.skin(inside * density * (0.75 + 0.2 * noise[3]).clamp(0, 1))
        colour = colour + (hair * 0.8 - colour) * alpha[:, None]
    return colour


def _wet(
    chart: Chart, skin: Skin, noise: list[Tensor], colour: Tensor, shine: Tensor
) -> tuple[Tensor, Tensor]:
    """Mouth, tongue, and the flesh behind the lids."""
    for name, (*flesh, gloss) in WET.items():
        some = (chart.part == PARTS.index(name)).float()
        deep = 0.25 + 0.75 * smooth(chart.place[:, 2] - 62, 30.0)
        flesh = colour.new_tensor(flesh)[:, None] * deep * (1 + 0.06 * noise[1])[:, None]
        colour, shine = colour + (flesh - colour) * some, shine + (gloss - shine) * some
    some = (chart.part == PARTS.index("eye_cavity")).float()
    flesh = 0.6 * tone(skin.melanin, skin.haemoglobin, skin.warmth) + 0.4 * colour.new_tensor(CAVITY)
    return colour + (flesh[:, :, None] - colour) * some, shine + (0.9 - shine) * some


def _dress(
    chart: Chart, skin: Skin, noise: list[Tensor], colour: Tensor, shine: Tensor, height: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Cloth on the body below the collar: two colours in a pattern, a hem, folds."""
    x, y, z = chart.place[:, 0], chart.place[:, 1], chart.place[:, 2]
    pattern, period, collar, depth = skin.weave[:, :, None].unbind(1)
    below = under_collar(chart.place, collar, depth)
    down = 2 * torch.pi * (y - 0.45 * x.abs() - 0.3 * z.abs()) / period
    across = 2 * torch.pi * (x + 0.6 * z) / period
    striped, checked = smooth(down.cos(), 0.35), 0.5 * (smooth(down.cos(), 0.3) + smooth(across.cos(), 0.3))
    knit = 0.5 + 0.2 * noise[3]
    second = torch.where(pattern == 1, striped, torch.where(pattern == 2, checked, knit * (pattern == 3)))
    hem = smooth(13 - below, 1.5)
    second = second * (1 - hem)
    cloth = skin.cloth[:, :1].mT + (skin.cloth[:, 1:] - skin.cloth[:, :1]).mT * second[:, None]
    seam = (-((below - 13) / 2.5).square()).exp()
    cloth = cloth * (1 + 0.05 * noise[1] + 0.06 * noise[3] - 0.3 * seam)[:, None]
    worn = chart.skin(smooth(below, 1.6))
    folds = 1.6 * noise[0] * smooth(below - 8, 8.0) + 1.5 * hem + 0.25 * noise[3]
    contact = chart.skin(0.35 * smooth(below + 5, 5.0) * (1 - worn))  # where cloth keeps light from skin
    colour = colour * (1 - contact[:, None])
    return (
        colour + (cloth - colour) * worn[:, None],
        shine + (0.06 - shine) * worn,
        height + (folds - height) * worn,
    )


def under_collar(place: Tensor, collar: Tensor, depth: Tensor) -> Tensor:
    """(..., K) mm that places (K, 3) of the reference head lie below a collar's edge; negative above it.

    Args:
        collar, depth: height of the collar and depth of its V in mm (`Skin.weave`), broadcast to (..., K).
    """
    x, y, z = place.unbind(-1)
    vee = depth * (1 - x.abs() / 52).clamp(min=0) * smooth(z + 20, 15.0)
    return -132 + collar - 0.38 * (z - 10) - vee - y
