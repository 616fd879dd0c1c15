"""Eyes: iris, pupil, white and the lids' shade on them; and how much of its surrounding the head sees.

A point of an eyeball is named by its place in the eye's own frame at rest: x toward the temple, y up, z out
of the pupil, the eyeball's radius 1. The eyeballs of the mesh turn with the eyeLook expressions, so what is
painted there looks where the person looks; the lids' edges are brought into the same frame in every pose.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from facet.face_model import PARTS, FaceModel
from facet.rendering.rasteriser import rasterise
from facet.rendering.texture import hashed
from facet.synthetic.paint import smooth
from facet.synthetic.subjects import Subjects

if TYPE_CHECKING:
    from facet.synthetic.skin import Skin

NAMES = ("eye_left", "eye_right")
OUTWARD = ((1.0, 1.0, 1.0), (-1.0, 1.0, 1.0))  # x of either eye points to its temple
RINGS, SPOKES = 24, 96  # of the packed irises
MARGIN = 11  # points along the edge of each lid
CORNEA = 0.62  # radius of its curvature
# Linear colours, from brown to grey, and how likely each is for dark and for light European skin.
IRISES = (
    (0.03, 0.015, 0.008), (0.052, 0.025, 0.012), (0.085, 0.043, 0.02), (0.12, 0.08, 0.034),
    (0.1, 0.11, 0.06), (0.075, 0.12, 0.18), (0.11, 0.17, 0.23), (0.14, 0.165, 0.175),
)  # fmt: skip
DARK_EYED = (0.52, 0.38, 0.09, 0.01, 0.0, 0.0, 0.0, 0.0)
LIGHT_EYED = (0.03, 0.12, 0.16, 0.14, 0.14, 0.16, 0.15, 0.1)
SCLERA, FLESH = (0.52, 0.47, 0.44), (0.42, 0.18, 0.15)


@dataclass
class Eyes:
    """What every person's eyes share; the left eye first.

    Attributes:
        iris: (K, 3, RINGS, SPOKES) factors on the iris' colour, from the pupil outward, and around from the
            temple upward.
        centre: (2, 3), radius: (2,) of the eyeballs on the reference head, mm.
        vertices: (2, E) of the head; inverse: (2, 4, E) takes their positions to the affine map there.
        margin: (2, 2, MARGIN, 3) vertices of the head, margin_weight: theirs: points along the upper and the
            lower lid from the nose outward.
        occlusion: (Vh,) share of the surrounding that each vertex of the head sees, 1 on eyeballs.
    """

    iris: Tensor
    centre: Tensor
    radius: Tensor
    vertices: Tensor
    inverse: Tensor
    margin: Tensor
    margin_weight: Tensor
    occlusion: Tensor

    def place(self, rest: Tensor, side: Tensor) -> Tensor:
        """(N, 3) places in the eye's frame of points (N, 3) of the reference head; side: (N,) 0 left."""
        return (rest - self.centre[side]) / self.radius[side, None] * rest.new_tensor(OUTWARD)[side]


@dataclass
class EyePose:
    """Eyes of M heads.

    Attributes:
        frame: (M, 2, 3, 3) rows: the eye's x, y and z axes, unit, in the frame of the heads.
        lids: (M, 2, 2, MARGIN, 2) x, y of the upper and the lower lid in the eye's frame.
    """

    frame: Tensor
    lids: Tensor


@dataclass
class EyeColour:
    """N points of eyeballs.

    Attributes:
        albedo: (N, 3) linear; specular: (N,); roughness: (N,).
        normal: (N, 3) unit, of cornea and white, in the frame of the heads; occlusion: (N,) between lids.
    """

    albedo: Tensor
    specular: Tensor
    roughness: Tensor
    normal: Tensor
    occlusion: Tensor


def open_eyes(model: FaceModel, path: Path | None = None) -> Eyes:
    """Eyes for a loaded face model, from the packed file; None is that under data/cache, made if missing."""
    from safetensors.torch import load_file

    from facet.synthetic import eye_assets

    packed = load_file(path or eye_assets.ensure())
    balls = [model.head_triangles[model.head_part == PARTS.index(name)].unique() for name in NAMES]
    rest = torch.stack([model.head_rest[ball] for ball in balls])  # (2, E, 3)
    low, high = rest.amin(dim=1), rest.amax(dim=1)
    centre, radius = (low + high) / 2, (high - low)[:, :2].mean(dim=1) / 2
    own = (rest - centre[:, None]) / radius[:, None, None] * rest.new_tensor(OUTWARD)[:, None]
    margin, weight = _margins(model, centre)
    return Eyes(
        iris=packed["iris"].to(rest) / 127.5,
        centre=centre,
        radius=radius,
        vertices=torch.stack(balls),
        inverse=torch.linalg.pinv(functional.pad(own, (0, 1), value=1.0).double()).to(rest),
        margin=margin,
        margin_weight=weight,
        occlusion=packed["occlusion"].to(rest) / 255,
    )


def pose_eyes(eyes: Eyes, head: Tensor) -> EyePose:
    """Where the eyes of heads (M, Vh, 3) look, and where their lids are."""
    ball = head[:, eyes.vertices]  # (M, 2, E, 3)
    affine = eyes.inverse @ ball  # (M, 2, 4, 3) rows: axes, centre
    axes, centre = affine[:, :, :3], affine[:, :, 3]
    points = (head[:, eyes.margin] * eyes.margin_weight[..., None]).sum(-2)  # (M, 2, 2, MARGIN, 3)
    lids = (points - centre[:, :, None, None]) @ torch.linalg.inv(axes)[:, :, None]
    return EyePose(functional.normalize(axes, dim=3), lids[..., :2])


def eye_colour(
    eyes: Eyes, pose: EyePose, place: Tensor, side: Tensor, image: Tensor, skin: Skin, person: Tensor
) -> EyeColour:
    """Colours of N points of eyeballs.

    Args:
        place: (N, 3) of `Eyes.place`; side: (N,) 0 left, 1 right; image: (N,) row of the pose.
        skin: `Skin` table; person: (N,) its row.
    """
    radius = place[:, :2].norm(dim=1) + 2.0 * (place[:, 2] < 0)
    angle = torch.atan2(place[:, 1], place[:, 0])
    rim, pupil, ring, *_ = skin.eye[person].unbind(1)
    upper, lower = (_apart(place[:, :2], pose.lids[image, side, k]) for k in (0, 1))
    colour = _white(place, radius, angle, lower, skin.seed[person] + side, skin.eye[person])
    within = ((radius - pupil) / (rim - pupil)).clamp(0, 1)
    iris = skin.iris_colour[person] * _spokes(eyes.iris, skin.iris[person], within, angle)
    iris = iris * (1 - ring * smooth(within - 0.88, 0.13))[:, None]
    iris = (
        iris * (1.15 - 0.5 * place[:, 1] / rim * within)[:, None]
    )  # light gathers below, through the cornea
    colour = _over(colour, iris, smooth(rim - radius, 0.028))
    colour = _over(colour, torch.full_like(colour, 0.004), smooth(pupil - radius, 0.02))
    shade = (
        0.75 * (-upper / 0.17).exp()
        + 0.2 * (-lower / 0.08).exp()
        + 0.35 * smooth(place[:, 0].abs() - 0.6, 0.4)
    )
    shade = shade.clamp(max=0.9)
    colour = colour * (1 - 0.55 * shade)[:, None]
    bulge = functional.normalize(
        torch.cat(
            [place[:, :2] / CORNEA, (1 - (radius / CORNEA).square()).clamp(min=0.05).sqrt()[:, None]], 1
        ),
        dim=1,
    )
    normal = _over(functional.normalize(place, dim=1), bulge, smooth(rim + 0.03 - radius, 0.07))
    normal = functional.normalize(normal[:, None] @ pose.frame[image, side], dim=2)[:, 0]
    cornea = smooth(rim + 0.02 - radius, 0.05)
    return EyeColour(colour.clamp(0, 1), 0.25 + 0.1 * cornea, 0.22 - 0.13 * cornea, normal, 1 - 0.7 * shade)


def catch_light(normals: Tensor, toward: Tensor, width: Tensor) -> Tensor:
    """(N,) 1 where a mirror shows a round light, 0 elsewhere: what makes eyes look alive.

    Args:
        normals: (N, 3) unit, frame of the image; toward: (N, 3) unit, the light; width: (N,) its angular
            radius in radians.
    """
    mirrored = 2 * normals[:, 2:] * normals - normals.new_tensor([0.0, 0.0, 1.0])
    angle = (mirrored * toward).sum(1).clamp(-1, 1).acos()
    return smooth(width - angle, 0.25 * width)


def draw_eyes(
    generator: torch.Generator, subjects: Subjects, melanin: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Columns iris (N,), iris_colour (N, 3) and eye (N, 6) of `Skin`."""
    count = len(subjects)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(count, *shape, generator=generator)

    fair = (subjects.ancestry[:, 2] * ((0.55 - melanin) / 0.35).clamp(0, 1))[:, None]
    likely = torch.tensor(DARK_EYED) * (1 - fair) + torch.tensor(LIGHT_EYED) * fair
    chosen = torch.multinomial(likely, 1, generator=generator)[:, 0]
    near = (chosen + torch.randint(-1, 2, (count,), generator=generator)).clamp(0, len(IRISES) - 1)
    colour = torch.tensor(IRISES)[chosen] * 0.7 + torch.tensor(IRISES)[near] * 0.3
    colour = colour * uniform(0.8, 1.25, 1) * uniform(0.93, 1.07, 3)
    aged = ((subjects.years - 30) / 50).clamp(0, 1)
    eye = torch.stack(
        [
            uniform(0.385, 0.425), uniform(0.115, 0.175) - 0.03 * aged, uniform(0.3, 0.8),
            uniform(0.0, 0.6) ** 1.5 + 0.15 * aged, 0.5 * aged * uniform(0, 1) + 0.3 * melanin,
            uniform(0.85, 1.08),
        ],
        dim=1,
    )  # fmt: skip
    return torch.randint(9, (count,), generator=generator), colour, eye


def plain_irises() -> Tensor:
    """(9, 3, RINGS, SPOKES) uint8 painted fibres, where npm was absent."""
    angle = torch.arange(SPOKES) * (2 * torch.pi / SPOKES)
    within = (torch.arange(RINGS) + 0.5)[:, None] / RINGS
    out = []
    for k in range(9):
        fibres = torch.sin((17 + 2 * k) * angle + 6 * within + k) * torch.sin((7 + k) * angle - 3 * within)
        collar = (-((within - 0.25 - 0.02 * k) / 0.12).square()).exp()
        out.append((1 + 0.25 * fibres + 0.2 * collar)[None].expand(3, -1, -1))
    return (torch.stack(out) * 127.5).clamp(0, 255).byte()


def _white(place: Tensor, radius: Tensor, angle: Tensor, lower: Tensor, seed: Tensor, eye: Tensor) -> Tensor:
    """(N, 3) the white of the eye: yellowish with age, red toward the corners and along its veins."""
    red, yellow, bright = eye[:, 3:].unbind(1)
    tint = torch.stack([torch.ones_like(yellow), 1 - 0.06 * yellow, 1 - 0.22 * yellow], dim=1)
    white = place.new_tensor(SCLERA) * tint * bright[:, None]
    vein = (1 - _noise(angle * (12 / torch.pi), 7 * radius, seed).abs()).clamp(min=0) ** 7
    vein = vein * smooth(radius - 0.55, 0.2)
    corner = smooth(place[:, 0].abs() - 0.72, 0.28)
    flesh = 0.22 * red + 0.4 * red * vein + 0.4 * corner + 0.5 * smooth(0.05 - lower, 0.04)
    return _over(white, white.new_tensor(FLESH).expand_as(white), flesh.clamp(max=0.8))


def _spokes(irises: Tensor, which: Tensor, within: Tensor, angle: Tensor) -> Tensor:
    """(N, 3) bilinear lookup in polar textures that close around."""
    rings, spokes = irises.shape[2:]
    table = irises.permute(0, 2, 3, 1).reshape(-1, 3)
    row = (within * rings - 0.5).clamp(0, rings - 1)
    column = torch.remainder(angle / (2 * torch.pi), 1.0) * spokes
    top, left = row.floor().clamp(max=rings - 2), column.floor()
    down, right = (row - top)[:, None], (column - left)[:, None]
    out = 0
    for i, share in ((0, 1 - down), (1, down)):
        base = (which * rings + top.long() + i) * spokes
        near, far = base + left.long() % spokes, base + (left.long() + 1) % spokes
        out = out + share * (table[near] * (1 - right) + table[far] * right)
    return out


def _noise(u: Tensor, v: Tensor, seed: Tensor) -> Tensor:
    """(N,) smooth noise in about ±1 on unit cells; u closes after 24."""
    low = torch.stack([u, v], dim=1).floor()
    share = torch.stack([u, v], dim=1) - low
    share = share * share * (3 - 2 * share)
    out = 0
    for i in (0, 1):
        for j in (0, 1):
            cell = (low[:, 0].long() + i) % 24, low[:, 1].long() + j
            weight = (share[:, 0] if i else 1 - share[:, 0]) * (share[:, 1] if j else 1 - share[:, 1])
            out = out + weight * (2 * hashed(seed, *cell) - 1)
    return 1.7 * out


def _apart(at: Tensor, lid: Tensor) -> Tensor:
    """(N,) distance of points (N, 2) from polylines (N, MARGIN, 2)."""
    a, b = lid[:, :-1], lid[:, 1:]
    along = b - a
    share = (((at[:, None] - a) * along).sum(2) / along.square().sum(2).clamp(min=1e-8)).clamp(0, 1)
    return (at[:, None] - a - share[..., None] * along).norm(dim=2).amin(dim=1)


def _over(below: Tensor, above: Tensor, alpha: Tensor) -> Tensor:
    return below + (above - below) * alpha[:, None]


def _margins(model: FaceModel, centre: Tensor) -> tuple[Tensor, Tensor]:
    """`margin` and `margin_weight` of `Eyes`: what borders the visible eyeball on the reference head.

    The head is looked at from the front, 10 pixels a millimetre around each eye.
    """
    size, scale = 400, 10.0
    corners, weights = [], []
    for name, (outward, *_), middle in zip(NAMES, OUTWARD, centre, strict=True):
        points = (model.head_rest - middle) * model.head_rest.new_tensor([scale, -scale, 1.0])
        points[:, :2] += size / 2
        seen = rasterise(points[None], model.head_triangles, size)
        triangle, barycentrics = seen.triangle[0], seen.barycentrics[0]
        white = model.head_part[triangle.clamp(min=0)] == PARTS.index(name)
        columns = white.any(dim=0).nonzero()[:, 0]
        low, high = int(columns[0]), int(columns[-1])
        chosen = torch.linspace(low + 4, high - 4, MARGIN, device=points.device).round().long()
        chosen = chosen if outward > 0 else chosen.flip(0)
        rows = torch.arange(size, device=points.device)[:, None].expand(-1, size)
        top = torch.where(white, rows, size).amin(dim=0)[chosen] - 1
        bottom = torch.where(white, rows, -1).amax(dim=0)[chosen] + 1
        for row in (top, bottom):
            corners.append(model.head_triangles[triangle[row, chosen]])
            weights.append(barycentrics[row, chosen])
    shape = (2, 2, MARGIN, 3)
    return torch.stack(corners).view(shape), torch.stack(weights).view(shape)
