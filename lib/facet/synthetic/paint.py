"""The colour of each visible point before light: skin, brows, lips, stubble, cropped hair, eyes, clothes.

Everything is painted by the point's place on the reference head (`FaceModel.head_rest`: millimetres, origin
in the middle of the head, nose tip at (0, −14, 113)), so it moves with the surface and needs no texture of
its own.
"""

import torch
from torch import Tensor

from facet.face_model import PARTS, FaceModel
from facet.rendering.fragments import Fragments
from facet.rendering.interpolation import interpolate_covered
from facet.rendering.texture import Pyramid, sample_points
from facet.synthetic.subjects import Subjects

BROW_LINE = ((8, 35.5), (19, 41), (29, 43), (39, 41.5), (50, 34.5))
UPPER_LIP = ((0, -38), (6, -37), (15, -40.5), (25, -47.5))
LOWER_LIP = ((0, -59), (8, -58.5), (16, -55.5), (25, -48))
HAIRLINE = ((-110, -50), (-40, -35), (-12, 5), (12, 16), (35, 54), (60, 76), (100, 84))  # z, y
BEARD_LINE = ((0, 10), (20, -12), (50, -34), (80, -28), (100, -27))  # z, y
COLLAR = -128.0
PLAIN = {"mouth": (0.2, 0.07, 0.06), "tongue": (0.45, 0.18, 0.16), "eye_cavity": (0.35, 0.2, 0.17)}


def paint(
    model: FaceModel, skins: Pyramid, subjects: Subjects, fragments: Fragments
) -> tuple[Tensor, Tensor]:
    """Albedo (N, 3) and gloss (N, 1) of the N covered pixels of B pictures, one subject each."""
    shape = fragments.triangle.shape
    covered = fragments.covered
    image = torch.div(covered, shape[1] * shape[2], rounding_mode="floor")
    part = model.head_part[fragments.triangle.view(-1)[covered]]
    rest = interpolate_covered(fragments, model.head_triangles, model.head_rest[None])
    uv = interpolate_covered(fragments, model.head_triangles, corner_attributes=model.head_uv)
    noise = speckle(rest, subjects.grain[image])
    skin = sample_points(skins, subjects.skin[image], torch.stack([uv[:, 0], 1 - uv[:, 1]], dim=1))
    colour = paint_skin(skin * subjects.skin_gain[image], rest, noise, subjects, image)
    for name, side in (("eye_left", 1.0), ("eye_right", -1.0)):
        some = (part == PARTS.index(name)).nonzero()[:, 0]
        colour[some] = _eye(model, name, side, rest[some], subjects, image[some])
    for name, tone in PLAIN.items():
        colour[part == PARTS.index(name)] = colour.new_tensor(tone)
    body = (part == PARTS.index("body")) & (rest[:, 1] < COLLAR)
    some = body.nonzero()[:, 0]
    colour[some] = subjects.cloth[image[some]] * (0.85 + 0.3 * noise[some, None])
    skin_parts = (part == PARTS.index("skin")) | (part == PARTS.index("body"))
    return colour.clamp_(0, 1), (subjects.gloss[image] * (skin_parts & ~body))[:, None]


def paint_skin(skin: Tensor, rest: Tensor, noise: Tensor, subjects: Subjects, image: Tensor) -> Tensor:
    """Lips, stubble, cropped hair and brows over skin colours (N, 3) at places (N, 3)."""
    x, y, z = rest[:, 0].abs(), rest[:, 1], rest[:, 2]
    hair = subjects.hair[image] * (0.6 + 0.8 * noise[:, None])
    lips = (
        smooth(line(UPPER_LIP, x) - y, 1.5)
        * smooth(y - line(LOWER_LIP, x), 1.5)
        * smooth(25 - x, 1.5)
        * (z > 60)
    )
    colour = skin * (1 + (subjects.lips[image] - 1) * lips[:, None])
    moustache = ~((x < 26) & (y > -37) & (z > 60)) | (y < -29)
    beard = smooth(line(BEARD_LINE, z) - y, 5.0) * (1 - lips) * (y > -112) * (z > -5) * moustache
    colour = _over(colour, hair, beard * subjects.stubble[image] * (0.35 + 0.65 * noise))
    scalp, ear = subjects.scalp[image], (x > 76) & (y < 45) & (z > -45) & (z < 25)
    edge = line(HAIRLINE, z) + scalp[:, 1] * smooth(z - 20, 20.0) - 0.0035 * x.square() * smooth(z - 50, 15.0)
    crop = smooth(y - edge + 5 * (noise - 0.5), 4.0) * ~ear
    colour = _over(colour, hair, crop * scalp[:, 0])
    brow = subjects.brow[image]
    across = (x - 8) / 42
    middle = line(BROW_LINE, x) + brow[:, 1] + brow[:, 2] * (across - 0.5)
    thick = brow[:, 0] * (1.15 - 0.7 * across).clamp(0.3, 1.2)
    inside = smooth(x - 8, 3.0) * smooth(50 - x, 4.0) * torch.exp(-((y - middle) / thick).pow(4)) * (z > 40)
    return _over(colour, hair * 0.8, inside * brow[:, 3] * (0.45 + 0.55 * noise))


def speckle(place: Tensor, seed: Tensor) -> Tensor:
    """(N,) fixed noise in [0, 1] on cells of about 0.7 mm, by integer hashing: the same on every machine."""
    cell = (place * 1.4).floor().long()
    value = cell[:, 0] * 73856093 ^ cell[:, 1] * 19349663 ^ cell[:, 2] * 83492791 ^ seed
    value = (value ^ (value >> 13)) * 1274126177
    return ((value ^ (value >> 16)) & 0xFFFF).float() / 0xFFFF


def smooth(value: Tensor, width: float | Tensor) -> Tensor:
    """0 below −width, 1 above width, a smooth step between."""
    t = (value / (2 * width) + 0.5).clamp(0, 1)
    return t * t * (3 - 2 * t)


def _eye(model: FaceModel, name: str, side: float, rest: Tensor, subjects: Subjects, image: Tensor) -> Tensor:
    ball = model.head_rest[model.head_triangles[model.head_part == PARTS.index(name)].unique()]
    low, high = ball.amin(dim=0), ball.amax(dim=0)
    place = (rest - (low + high) / 2) / ((high - low).mean() / 2)
    radius = place[:, :2].norm(dim=1) + 2.0 * (place[:, 2] < 0)
    eye = subjects.eye[image]
    angle = torch.atan2(place[:, 1], place[:, 0])
    fibres = 0.75 + 0.25 * torch.sin(angle * 23 + 9 * radius) * torch.sin(angle * 7)
    within = (radius / eye[:, 0]).clamp(max=1)
    iris = subjects.iris[image] * (fibres * (1.45 - 0.9 * within.pow(4)))[:, None]
    sclera = radius.new_tensor((0.86, 0.82, 0.79)) * (1 - 0.3 * (radius[:, None] - 0.4).clamp(0, 1))
    colour = _over(sclera, iris, smooth(eye[:, 0] - radius, 0.03))
    colour = _over(colour, torch.full_like(colour, 0.02), smooth(eye[:, 1] - radius, 0.03))
    colour = colour * (1 - 0.45 * smooth(place[:, 1] - 0.28, 0.22))[:, None]  # the upper lid's shadow
    glint = smooth(0.09 - (place[:, :2] - eye[:, 2:] * place.new_tensor((side, 1.0)).abs()).norm(dim=1), 0.02)
    return _over(colour, torch.ones_like(colour), glint * (place[:, 2] > 0))


def _over(below: Tensor, above: Tensor, alpha: Tensor) -> Tensor:
    return below + (above - below) * alpha.clamp(0, 1)[:, None]


def line(knots: tuple, value: Tensor) -> Tensor:
    """Piecewise linear interpolation through (position, height) knots, constant outside."""
    table = value.new_tensor(knots)
    right = torch.searchsorted(table[:, 0].contiguous(), value.contiguous()).clamp(1, len(table) - 1)
    (x0, y0), (x1, y1) = table[right - 1].unbind(-1), table[right].unbind(-1)
    return y0 + (y1 - y0) * ((value - x0) / (x1 - x0)).clamp(0, 1)
