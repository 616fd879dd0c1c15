"""Things in front of faces: hands, masks, scarves, phones, cups, microphones, hair, poles, shoulders.

An occluder is a set of tapered capsules (fingers, handles, strands) and one convex sheet (mask, scarf, phone,
cup, sleeve), both placed by the face's projected landmarks. `paint_occluders` reads their signed distances
and heights at each pixel and shades them by the light that it finds on the face, whose colour a hand takes.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from facet.rendering.shading import LUMINANCE
from facet.synthetic.finish import hashed_normal
from facet.synthetic.occluder_shapes import BUILDERS, CAPSULES, FAR, PLANES, Face
from facet.synthetic.subjects import Table

SHARE = 0.12
KINDS = ("none", *BUILDERS)
WEIGHTS = (0.34, 0.15, 0.12, 0.08, 0.06, 0.06, 0.08, 0.05, 0.06)


@dataclass
class Occluder(Table):
    """What stands before M pictures; lengths in pixels, colours linear.

    Attributes:
        kind: (M,) index of KINDS.
        capsules: (M, 20, 8) x, y, radius of both ends, lift toward the camera, 1 for a nail at the second
            end; radius 0 is none.
        planes: (M, 24, 3) the sheet: nx x + ny y ≤ c on every row; round: (M,) rounding of its corners.
        dome: (M, 2, 4) the sheet's height h √(1 − |q|²): rows of q in x, y, 1, and h in the last column.
        fold: (M, 5) wave vector (radians a pixel), how crooked, height and sag of the sheet's folds.
        patch: (M, 2, 3) rows of q in x, y, 1: the sheet has the colour `trim` (M, 3) where |q| < 1 in both.
        front: (M,) 1 where the sheet covers the capsules, else 0.
        limb, cloth: (M, 3) albedo of capsules and sheet; skin: (M,) 1 where `limb` is a factor on the face's.
        weave, gloss: (M,) strength of fine texture, of shine; soft: (M,) width of the edge; shadow: (M,).
        blend: (M,) width in which capsules flow together.
        face: (M, 4) centre and half axes; anchors: (M, 7, 2) where the face's colour and light are read.
        seed: (M,) of the texture.
    """

    kind: Tensor
    capsules: Tensor
    planes: Tensor
    round: Tensor
    dome: Tensor
    fold: Tensor
    patch: Tensor
    trim: Tensor
    front: Tensor
    limb: Tensor
    cloth: Tensor
    skin: Tensor
    weave: Tensor
    gloss: Tensor
    soft: Tensor
    shadow: Tensor
    blend: Tensor
    face: Tensor
    anchors: Tensor
    seed: Tensor


def draw_occluders(
    generator: torch.Generator,
    landmarks: Tensor,
    image_size: int,
    *,
    share: float = SHARE,
    hair: Tensor | None = None,
    kind: str = "",
) -> Occluder:
    """Occluders of a share of the pictures.

    Args:
        landmarks: (M, 68, 2) float32, pixels of the pictures to be painted; hidden ones where they project.
        share: of the pictures that have one.
        hair: (M, 3) linear colours of strands; None draws browns and blacks.
        kind: one of KINDS that all of them are of; "" draws it.
    """
    count = len(landmarks)
    table = _nothing(landmarks)
    drawn = torch.multinomial(
        torch.tensor((0.0, *WEIGHTS)), max(count, 1), replacement=True, generator=generator
    )
    if kind:
        drawn = torch.full_like(drawn, KINDS.index(kind))
    table.kind = drawn[:count] * (torch.rand(count, generator=generator) < share)
    table.seed = torch.randint(2**31 - 1, (count,), generator=generator)
    for number, (name, build) in enumerate(BUILDERS.items(), 1):
        rows = (table.kind == number).nonzero()[:, 0]
        if len(rows):
            face = Face(generator, landmarks[rows], image_size)
            shape = build(face)
            if hair is not None and name == "hair":
                shape["limb"] = hair[rows]
            shape["capsules"] = F.pad(shape["capsules"], (0, 0, 0, CAPSULES - shape["capsules"].shape[1]))
            for column, value in shape.items():
                getattr(table, column)[rows] = torch.as_tensor(value, dtype=torch.float32)
    return table


def _nothing(landmarks: Tensor) -> Occluder:
    count = len(landmarks)
    low, high = landmarks.amin(dim=1), landmarks.amax(dim=1)
    ends = torch.cat([(low + high) / 2, (high - low) * 0.62], 1)
    cheeks = ((2, 31, 36), (14, 35, 45), (5, 48, 31), (11, 54, 35), (29, 31, 2), (29, 35, 14), (6, 10, 57))
    zero, one = torch.zeros(count), torch.ones(count)
    return Occluder(
        kind=torch.zeros(count, dtype=torch.int64),
        capsules=torch.zeros(count, CAPSULES, 8),
        planes=torch.tensor([0.0, 0.0, -FAR]).repeat(count, PLANES, 1),
        round=one.clone(),
        dome=torch.zeros(count, 2, 4),
        fold=torch.zeros(count, 5),
        patch=torch.tensor([0.0, 0.0, 2.0]).repeat(count, 2, 1),
        trim=torch.ones(count, 3),
        front=one.clone(),
        limb=torch.ones(count, 3),
        cloth=torch.ones(count, 3),
        skin=zero.clone(),
        weave=zero.clone(),
        gloss=zero.clone(),
        soft=one.clone(),
        shadow=zero.clone(),
        blend=one.clone(),
        face=ends,
        anchors=torch.stack([landmarks[:, list(p)].mean(1) for p in cheeks], 1),
        seed=torch.zeros(count, dtype=torch.int64),
    )


@torch.no_grad()
def paint_occluders(picture: Tensor, occluder: Occluder) -> tuple[Tensor, Tensor]:
    """Pictures with their occluders, and how much of each pixel these cover.

    Args:
        picture: (M, 3, H, W) linear radiance.
        occluder: M rows, on the same device.

    Returns:
        (M, 3, H, W) and alpha (M, 1, H, W) in [0, 1].
    """
    picture = picture.clone(memory_format=torch.contiguous_format)
    alpha = torch.zeros_like(picture[:, :1])
    rows = (occluder.kind > 0).nonzero()[:, 0]
    for some in rows.split(max(1, len(rows)) if picture.is_cuda else 1):  # on a CPU, what fits its cache
        picture[some], alpha[some] = _paint(picture[some], occluder.rows(some))
    return picture, alpha


def _paint(picture: Tensor, o: Occluder) -> tuple[Tensor, Tensor]:
    height, width = picture.shape[2:]
    x = torch.arange(width, device=picture.device, dtype=picture.dtype)[None, None, :]
    y = torch.arange(height, device=picture.device, dtype=picture.dtype)[None, :, None]
    smooth = F.interpolate(hashed_normal(o.seed, (1, 12, 12)), (height, width), mode="bicubic")[:, 0]
    fine = hashed_normal(o.seed + 1, (1, height, width))[:, 0]
    skin, level, light = _light(picture, o.anchors)
    limbs, limb_height, nails = _capsules(o, x, y)
    sheet, sheet_height = _sheet(o, x, y, smooth)
    weave = 1 + o.weave[:, None, None] * (0.6 * fine + 0.4 * smooth)
    limb = o.limb * torch.where(o.skin[:, None] > 0, skin, level)
    limb_colour = _shade(limb_height, light, o.gloss, limb[:, :, None, None], level, o.skin)
    limb_colour = limb_colour * (weave * (1 + 0.3 * nails))[:, None]
    soft, front = o.soft[:, None, None], o.front[:, None, None]
    near = 1 - 0.5 * (1 - front) * torch.exp(-limbs.clamp(0, 50) / (0.03 * width))
    trim = (o.trim - o.cloth)[:, :, None, None] * _patch(o, x, y)
    cloth = (o.cloth[:, :, None, None] + trim) * level[:, :, None, None]
    cloth_colour = _shade(sheet_height, light, o.gloss, cloth, level) * (weave * near)[:, None]
    a, b = ((0.5 - d / soft).clamp(0, 1) for d in (limbs, sheet))
    a, b = a * (1 - front * b), b * (1 - (1 - front) * a)
    alpha = (a + b)[:, None]
    cast = torch.exp(-torch.minimum(limbs, sheet).clamp(0, 50) / (0.03 * width)) * _inside(o.face, x, y)
    behind = picture * (1 - o.shadow[:, None, None] * cast)[:, None]
    return behind * (1 - alpha) + limb_colour * a[:, None] + cloth_colour * b[:, None], alpha


def _capsules(o: Occluder, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Signed distance, height in pixels, and nails, each (N, H, W), of the capsules' union."""
    distance = (x + y).new_full((len(o), y.shape[1], x.shape[2]), FAR)
    height, nails = -distance, torch.zeros_like(distance)
    blend = o.blend[:, None, None].clamp(min=1e-3)
    used = (o.capsules[:, :, 2] > 0).any(0).tolist()
    nailed = (o.capsules[:, :, 7] > 0).any(0).tolist()
    for k in (k for k in range(CAPSULES) if used[k]):
        x0, y0, r0, x1, y1, r1, lift, nail = o.capsules[:, k, :, None, None].unbind(1)
        along, down = x1 - x0, y1 - y0
        length = (along.square() + down.square()).clamp(min=1e-6)
        t = ((x - x0) * (along / length) + (y - y0) * (down / length)).clamp_(0.0, 1.0)
        far = ((x - x0) - t * along).square_().add_(((y - y0) - t * down).square_()).sqrt_()
        radius = r0 + t * (r1 - r0)
        absent = (r0 == 0) * FAR
        inside = radius - far - absent
        top = (far / radius.clamp_(min=0.1)).add_(1).mul_(inside.clamp(min=0)).mul_(0.75)
        top = top.add_(inside.clamp(max=0), alpha=8.0).add_(lift)
        if nailed[k]:
            nails = nails.maximum(_nail(x, y, x1, y1, along, down, length.sqrt(), r1) * nail)
        distance = torch.minimum(distance, -inside)
        both = (blend - (height - top).abs()).clamp_(min=0).square_()
        height = torch.maximum(height, top).add_(both / (4 * blend))
    return distance, height, nails


def _nail(x, y, x1, y1, along, down, length, radius) -> Tensor:
    """(N, H, W) 1 on an oval at the end of a finger, an edge of a fifth of its size around it."""
    radius = radius.clamp(min=0.1)
    forward = ((x - x1) * along + (y - y1) * down) / length
    across = ((x - x1) * down - (y - y1) * along) / length
    oval = ((forward + 0.15 * radius) / (0.85 * radius)).square() + (across / (0.62 * radius)).square()
    return ((1.1 - oval) / 0.3).clamp_(0.0, 1.0)


def _sheet(o: Occluder, x: Tensor, y: Tensor, smooth: Tensor) -> tuple[Tensor, Tensor]:
    """Signed distance (corners rounded) and height (N, H, W) of the sheet."""
    corner = o.round[:, None, None]
    total = torch.zeros_like(smooth)
    used = (o.planes[:, :, 2] < FAR).any(0).tolist()
    for k in (k for k in range(PLANES) if used[k]):
        nx, ny, c = o.planes[:, k, :, None, None].unbind(1)
        total += (x * (nx / corner) + (y * ny - c) / corner).clamp_(-40.0, 60.0).exp_()
    row = o.dome[:, :, :, None, None]
    q = [row[:, k, 0] * x + row[:, k, 1] * y + row[:, k, 2] for k in (0, 1)]
    far = q[0].square_() + q[1].square_()
    bulge = row[:, 0, 3] * (1 - far).clamp_(min=0.0).sqrt_()
    wave_x, wave_y, crooked, depth, sag = o.fold[:, :, None, None].unbind(1)
    folds = torch.sin(wave_x * x + wave_y * y + crooked * smooth + sag * far) * depth
    return corner * total.log(), bulge + folds


def _patch(o: Occluder, x: Tensor, y: Tensor) -> Tensor:
    """(N, 1, H, W) coverage of the sheet's other colour."""
    row = o.patch[:, :, :, None, None]
    q = [(row[:, k, 0] * x + row[:, k, 1] * y + row[:, k, 2]).abs() for k in (0, 1)]
    steep = o.patch[:, :, :2].norm(dim=2).amax(1).clamp(min=1e-6)[:, None, None]
    return ((1 - torch.maximum(*q)) / steep + 0.5).clamp_(0.0, 1.0)[:, None]


def _shade(
    height: Tensor, light: Tensor, gloss: Tensor, colour: Tensor, level: Tensor, skin: Tensor | None = None
) -> Tensor:
    """(N, 3, H, W) radiance of a height field (N, H, W) that has `colour` where it faces the camera."""
    ground = F.pad(height[:, None].clamp(min=-50.0), (1, 1, 1, 1), mode="replicate")[:, 0]
    slope_x = (ground[:, 1:-1, 2:] - ground[:, 1:-1, :-2]).div_(2).clamp_(-2.5, 2.5)
    slope_y = (ground[:, 2:, 1:-1] - ground[:, :-2, 1:-1]).div_(2).clamp_(-2.5, 2.5)
    lx, ly, lz = light[:, :, None, None].unbind(1)
    facing = (slope_x.square() + slope_y.square()).add_(1).rsqrt_()
    lit = (lz - slope_x * lx - slope_y * ly).mul_(facing)
    shade = (0.5 + lit.clamp(min=0)) * (0.4 + 0.6 * facing) / (0.5 + lz)
    raised = height[:, None].clamp(min=0)
    around = F.avg_pool2d(F.avg_pool2d(raised, 4, ceil_mode=True), 3, 1, 1, count_include_pad=False)
    hollow = (F.interpolate(around, raised.shape[2:], mode="bilinear") - raised)[:, 0]
    shade = shade * (1 - (hollow / (0.03 * height.shape[2])).clamp_(0.0, 0.5))
    shine = (lit + facing).div_(2).clamp_(min=0).square_().square_().square_()
    shine = shine.square() * (gloss * level[:, 0])[:, None, None]
    shades = shade[:, None]
    if skin is not None:  # whose shadows are red
        red = skin[:, None, None, None] * (1 - shades).clamp(min=0)
        shades = shades * (1 - red * red.new_tensor([0.0, 0.15, 0.22])[:, None, None])
    return shades * colour + shine[:, None]


def _light(picture: Tensor, anchors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Colour of the face (N, 3), light's level (N, 1) and direction toward it (N, 3), read at the anchors."""
    soft = F.avg_pool2d(picture, 4, ceil_mode=True, count_include_pad=False)
    height, width = soft.shape[2:]
    column = (anchors[..., 0] / 4).floor().long().clamp(0, width - 1)
    row = (anchors[..., 1] / 4).floor().long().clamp(0, height - 1)
    index = (row * width + column)[:, None].expand(-1, 3, -1)
    seen = soft.flatten(2).gather(2, index)  # (N, 3, P)
    bright = (seen * seen.new_tensor(LUMINANCE)[:, None]).sum(1)
    middle = bright.argsort(dim=1, stable=True)[:, 3:6]
    skin = seen.gather(2, middle[:, None].expand(-1, 3, -1)).mean(2)
    level = (bright.median(dim=1, keepdim=True).values * picture.mean(dim=(1, 2, 3))[:, None]).sqrt() / 0.25
    away = anchors - anchors.mean(1, keepdim=True)
    away = away / away.square().sum(2).mean(1).sqrt().clamp(min=1.0)[:, None, None]
    change = ((bright / bright.mean(1, keepdim=True).clamp(min=1e-4) - 1)[..., None] * away).mean(1)
    sideways = 1.5 * change + change.new_tensor([0.0, -0.45])
    toward = torch.cat([sideways.clamp(-1.2, 1.2), torch.full_like(sideways[:, :1], 0.8)], 1)
    return skin, level.clamp(0.25, 2.5), F.normalize(toward, dim=1)


def _inside(face: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """(N, H, W) 1 within the ellipse of the face, falling to 0 outside."""
    cx, cy, rx, ry = face[:, :, None, None].unbind(1)
    far = ((x - cx) / rx.clamp(min=1)).square() + ((y - cy) / ry.clamp(min=1)).square()
    return ((1.3 - far) / 0.4).clamp(0.0, 1.0)
