"""Where skin lies in MakeHuman's UV: a chart of texels, what is known of each of them, and noise on them.

A `Chart` is made once for a size of texture and serves every person. All shapes are drawn by the texel's
place on the reference head (`FaceModel.head_rest`: millimetres, nose tip at (0, −14, 113)), |x| where both
sides are alike.
"""

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from facet.face_model import PARTS, FaceModel
from facet.rendering.interpolation import interpolate_covered
from facet.rendering.normals import vertex_normals
from facet.rendering.rasteriser import rasterise
from facet.rendering.texture import hashed
from facet.synthetic.finish import to_linear
from facet.synthetic.paint import line, smooth

SKIN, BODY = PARTS.index("skin"), PARTS.index("body")
UPPER_LIP = ((0, -37.6), (4, -36.6), (9, -37.6), (16, -41), (24.5, -47.2))  # |x|, y
LOWER_LIP = ((0, -59), (8, -58.3), (16, -55), (24.5, -47.6))
LIPS = (24.5, 68.0)  # largest |x|, least z
HAIRLINE = ((-110, -62), (-60, -45), (-38, -28), (-14, 8), (10, 20), (30, 50), (58, 80), (100, 90))  # z, y
BEARD_LINE = ((0, 12), (12, -2), (30, -24), (55, -36), (80, -33), (100, -30))  # z, y
# Mounds of colour: centre |x|, y, z and reach along the three axes, mm.
MOUNDS = {
    "cheeks": (43, -10, 80, 15, 14, 30),
    "nose": (0, -15, 108, 13, 12, 18),
    "wings": (16, -19, 92, 6, 8, 10),
    "ears": (86, 2, -12, 9, 34, 30),
    "forehead": (0, 68, 88, 42, 20, 40),
    "chin": (0, -80, 92, 17, 11, 18),
    "beside": (27, -56, 82, 9, 14, 20),  # the mouth
    "under_eyes": (29, 9, 80, 13, 5, 16),
    "bags": (31, 11, 80, 12, 3.5, 16),
    "lids": (31, 32, 80, 15, 5, 14),
    "sockets": (18, 26, 80, 8, 11, 16),
    "cheekbones": (55, -2, 60, 15, 10, 22),
    "temples": (66, 42, 40, 14, 24, 26),
    "bridge": (0, 10, 98, 8, 20, 16),
    "neck": (0, -110, 20, 90, 22, 90),
}
# Wrinkles: width in mm and polylines in (x, y); the two sides are two wrinkles.
CREASES = {
    "forehead1": (1.9, ((-44, 51), (-30, 55), (-14, 54), (0, 53), (14, 54), (30, 55), (44, 51))),
    "forehead2": (1.9, ((-46, 59), (-28, 64), (-12, 62.5), (0, 61), (12, 62.5), (28, 64), (46, 59))),
    "forehead3": (1.9, ((-42, 68), (-25, 72), (-8, 70.5), (8, 70), (25, 72), (42, 68))),
    "forehead4": (2.0, ((-34, 78), (-16, 80.5), (0, 79), (16, 80), (34, 78))),
    "nasion": (1.8, ((-9, 27), (0, 25.5), (9, 27))),
    "neck1": (2.4, ((-62, -90), (-30, -101), (0, -105), (30, -101), (62, -90))),
    "neck2": (2.4, ((-60, -104), (-30, -114), (0, -117), (30, -114), (60, -104))),
    "frown": (1.8, ((5.5, 33), (6.8, 42), (8.5, 51))),
    "crow1": (1.7, ((51, 25), (58, 29.5), (66, 33))),
    "crow2": (1.7, ((52, 21), (60, 20.5), (69, 19))),
    "crow3": (1.7, ((50, 17), (57, 11.5), (65, 5))),
    "pouch": (1.9, ((16, 15), (22, 9.5), (31, 7), (41, 10), (48, 15))),
    "trough": (2.4, ((16, 15), (22, 6), (31, 1), (40, -1))),
    "nasolabial": (2.6, ((18.5, -15), (25, -23), (30, -35), (32.5, -49))),
    "marionette": (2.1, ((25.5, -51), (28.5, -60), (29, -71))),
}
SIDED = ("frown", "crow1", "crow2", "crow3", "pouch", "trough", "nasolabial", "marionette")
WRINKLES = tuple(
    name + side for name in CREASES for side in (("_left", "_right") if name in SIDED else ("",))
)
CELLS = (34.0, 9.0, 3.6, 2.0)  # mm, the cells of the four noises
LONGEST_STEP = 14.0  # mm between neighbouring texels of one surface; more is a seam


@dataclass
class Lattice:
    """Smooth noise on the cells of a cubic lattice (Perlin's value noise) at fixed places.

    Attributes:
        key: (L, 3) int64 lattice points; corner: (M, 8) which of them surround each of the M places, and
            weight: (M, 8) how much each counts, of unit length.
    """

    key: Tensor
    corner: Tensor
    weight: Tensor

    @classmethod
    def at(cls, place: Tensor, cell: float) -> "Lattice":
        """The lattice of places (M, 3), cells in the same unit."""
        low = (place / cell).floor()
        share = place / cell - low
        share = share * share * (3 - 2 * share)
        offset = torch.cartesian_prod(*[torch.arange(2, device=place.device)] * 3)  # (8, 3)
        weight = torch.where(offset == 1, share[:, None], 1 - share[:, None]).prod(2)
        corner = low.long()[:, None] + offset + 512
        packed, index = (corner @ corner.new_tensor([1 << 20, 1 << 10, 1])).unique(return_inverse=True)
        key = torch.stack([packed >> 20, (packed >> 10) & 1023, packed & 1023], dim=1)
        return cls(key, index, weight / weight.norm(dim=1, keepdim=True))

    def noise(self, seed: Tensor) -> Tensor:
        """(N, M) of mean 0 and variance 1, almost all within ±2, for seeds (N,)."""
        values = hashed(seed[:, None], *self.key.unbind(1)) * (2 * 3**0.5) - 3**0.5
        return functional.embedding_bag(
            self.corner, values.mT.contiguous(), per_sample_weights=self.weight, mode="sum"
        ).mT.contiguous()


@dataclass
class Freckles:
    """Dots around jittered points of a cubic lattice, at the F places where they may be.

    Attributes:
        key: (L, 3) lattice points; corner: (8 F,) those around each place; away: (F, 8, 3) cells from them.
    """

    key: Tensor
    corner: Tensor
    away: Tensor

    @classmethod
    def at(cls, place: Tensor, cell: float) -> "Freckles":
        """The lattice of places (F, 3), cells in the same unit."""
        lattice = Lattice.at(place, cell)
        points = lattice.key[lattice.corner] - 512
        return cls(lattice.key, lattice.corner.reshape(-1), (place / cell)[:, None] - points)

    def dots(self, seed: Tensor, share: Tensor) -> Tensor:
        """(N, F) in [0, 1] for seeds (N,) and the share (N,) of points that have a dot."""
        dice = [hashed(seed[:, None] + 11 * k, *self.key.unbind(1)) for k in range(4)]
        there = (dice[3] < 0.8 * share[:, None]) * (0.35 + 0.65 * dice[0])
        points = torch.stack([*(0.8 * d - 0.4 for d in dice[:3]), there], dim=2)  # (N, L, 4)
        own = torch.arange(len(seed), device=seed.device)[:, None] * len(self.key)
        around = functional.embedding(self.corner + own, points.flatten(0, 1))  # (N, 8 F, 4)
        off = self.away.flatten(0, 1) - around[..., :3]
        dot = (1 - off.square().sum(2) / (0.12 + 0.13 * share[:, None])).clamp(min=0)
        return (dot * around[..., 3]).unflatten(1, (-1, 8)).amax(2)


@dataclass
class Chart:
    """The M texels of a texture of S × S that skin, body, mouth, tongue and eye sockets cover.

    Attributes:
        size: S; texel: (M,) flat index; nearest: (S²,) which of the M each texel takes its colour from.
        place: (M, 3) on the reference head; part: (M,) index into PARTS.
        neighbours: (4, M) left, right, upper and lower; slope: (M, 2, 2) takes differences of height across
            and down the texture to slopes sideways and upward (see `skin.bumped`).
        inner: (M,) 0 at the chart's borders, 1 a few texels inside.
        mounds: (len(MOUNDS), M); wrinkles: (len(WRINKLES), M), each in [0, 1].
        lips, scalp: (M,) mm inside their lines; others in [0, 1]: temple, crown, beard, face, bare (of hair).
        front: (F,) texels where face > 0; lattices: noises of CELLS; sites: (P, 3) places where spots may be;
            freckles: of the front.
    """

    size: int
    texel: Tensor
    nearest: Tensor
    place: Tensor
    part: Tensor
    neighbours: Tensor
    slope: Tensor
    inner: Tensor
    mounds: Tensor
    wrinkles: Tensor
    lips: Tensor
    scalp: Tensor
    temple: Tensor
    crown: Tensor
    beard: Tensor
    face: Tensor
    bare: Tensor
    front: Tensor
    lattices: tuple[Lattice, ...]
    sites: Tensor
    freckles: Freckles

    def skin(self, value: Tensor) -> Tensor:
        """Values (..., M), 0 on what is neither face nor body."""
        return value * ((self.part == SKIN) | (self.part == BODY))


def chart(model: FaceModel, size: int) -> Chart:
    """Rasterise the reference head into texture space and draw every shape on it."""
    kept = torch.ones_like(model.head_part, dtype=torch.bool)
    for name in ("eye_left", "eye_right"):  # painted by themselves, see `eyes`
        kept &= model.head_part != PARTS.index(name)
    triangles, corners = model.head_triangles[kept], model.head_uv[kept].double().reshape(-1, 2)
    plane = torch.stack([corners[:, 0], 1 - corners[:, 1], torch.zeros_like(corners[:, 0])], dim=1)
    plane[:, :2] = plane[:, :2] * size - 0.5
    flat = torch.arange(len(plane), device=plane.device).view(-1, 3)
    fragments = rasterise(plane[None], flat, size, cull_backfaces=False)
    part = model.head_part[kept][fragments.triangle.clamp(min=0)]
    normals = vertex_normals(model.head_rest[None], model.head_triangles, frame="model")[0]
    known = torch.cat([model.head_rest, normals], dim=1)[triangles]
    known = interpolate_covered(fragments, flat, corner_attributes=known.double())
    place, normals = known[:, :3].float(), functional.normalize(known[:, 3:], dim=1).float()
    texel, part = fragments.covered, part.view(-1)[fragments.covered]
    grid = torch.full((size * size,), -1, device=texel.device).index_copy(
        0, texel, torch.arange(len(texel), device=texel.device)
    )
    neighbours, slope = _slopes(grid.view(size, size), texel, place, normals)
    front = model.head_rest[model.head_triangles[model.head_part == SKIN].unique()]
    shapes = _shapes(place, (part == SKIN) | (part == BODY))
    return Chart(
        size=size, texel=texel, nearest=_nearest(grid.view(size, size)), place=place, part=part,
        neighbours=neighbours, slope=slope, inner=_inner(grid.view(size, size), texel, size),
        **shapes, front=(shapes["face"] > 0).nonzero()[:, 0],
        lattices=tuple(Lattice.at(place, cell) for cell in CELLS),
        freckles=Freckles.at(place[shapes["face"] > 0], 4.0),
        sites=front[(face_weight(front) > 0.5) & (lip_depth(front) < -4)],
    )  # fmt: skip


def details(chart: Chart, textures: Tensor) -> Tensor:
    """(S, 3, M) what photographed skins add to their own tone, in optical density −ln(albedo).

    Tone, hair, lips and painted lashes are taken out: only what is finer than about a centimetre stays, and
    half of what is coarser on the face. Skins are brought to a like contrast; the mean over the face is 0.

    Args:
        textures: (S, 3, H, W) sRGB in [0, 1], MakeHuman's layout.
    """
    small = functional.adaptive_avg_pool2d(to_linear(textures), chart.size).flatten(2)
    density = -small[:, :, chart.texel].clamp(min=0.01).log()
    weight = ((chart.part == SKIN) | (chart.part == BODY)).float()
    reach = max(3, chart.size // 80 | 1)
    skin = weight * smooth(-5 - chart.lips, 3.0)
    low = sum(w * _around(chart, density, w, reach) for w in (skin, weight - skin))
    coarse = low - _around(chart, low, skin, 4 * reach + 1)
    grey = coarse.mean(1, keepdim=True)
    coarse = grey + 0.35 * (coarse - grey)  # lamps coloured them …
    fine = (density - low) * weight * chart.inner
    fine = fine * (1 - (-((chart.lips + 2) / 5).square()).exp())  # where lips end in a picture is its own
    grey = fine.mean(1, keepdim=True)
    fine = grey + (0.2 + 0.4 * chart.face) * (fine - grey)  # … and so did hair
    calm = chart.face * chart.inner * weight
    coarse = coarse * calm * smooth(-6 - chart.lips, 4.0) * (1 - chart.mounds[_mound("lids")])
    spread = ((fine.square() * calm).sum(2) / calm.sum()).mean(1).sqrt()
    gain = (0.045 / spread.clamp(min=1e-4)).clamp(0.4, 1.6)[:, None, None]
    out = (fine * gain * (0.6 + 0.4 * chart.face) + 0.5 * coarse).clamp(-0.45, 0.45)
    return out - ((out * chart.face).sum(2) / chart.face.sum())[..., None] * weight


def face_weight(place: Tensor) -> Tensor:
    """(M,) 1 on the front of the face from brows' height to chin, without ears, scalp and neck."""
    x, y, z = place[:, 0].abs(), place[:, 1], place[:, 2]
    return smooth(z - 38, 14.0) * smooth(y + 92, 8.0) * smooth(76 - y, 10.0) * smooth(72 - x, 6.0)


def lip_depth(place: Tensor) -> Tensor:
    """(M,) mm inside the outline of the lips, negative outside."""
    x, y = place[:, 0].abs(), place[:, 1]
    inside = torch.minimum(line(UPPER_LIP, x) - y, y - line(LOWER_LIP, x))
    half_width, back = LIPS
    return torch.minimum(torch.minimum(inside, half_width - x), 0.5 * (place[:, 2] - back))


def _shapes(place: Tensor, skin: Tensor) -> dict[str, Tensor]:
    x, y, z = place[:, 0].abs(), place[:, 1], place[:, 2]
    mounds = []
    for *centre, a, b, c in MOUNDS.values():
        away = (torch.stack([x, y, z], dim=1) - place.new_tensor(centre)) / place.new_tensor((a, b, c))
        mounds.append((-away.square().sum(1)).exp() * skin)
    ear = smooth(x - 75.5, 1.5) * smooth(1 - ((y - 1) / 31).square() - ((z + 10) / 21).square(), 0.15)
    lips = torch.where(skin, lip_depth(place), -100.0)
    philtrum = smooth(27 - x, 2.0) * smooth(y + 28.5, 2.5) * smooth(z - 55, 8.0)
    beard = smooth(line(BEARD_LINE, z) - y, 7.0) * (1 - philtrum) * smooth(-lips, 1.0)
    beard = beard * smooth(y + 103, 14.0) * smooth(z + 2, 9.0) * (1 - ear)
    soul = smooth(y + 62, 3.0) * smooth(x - 9, 4.0) * smooth(-52 - y, 5.0)  # bare beside the tuft
    beard = beard * (1 - 0.8 * soul * smooth(30 - x, 6.0))
    scalp = y - line(HAIRLINE, z) + 0.0022 * x.square() * smooth(z - 40, 25.0) * smooth(y - 20, 15.0)
    scalp = scalp - 0.0045 * (x - 30).clamp(min=0).square() * smooth(z - 58, 12.0)
    return {
        "mounds": torch.stack(mounds),
        "wrinkles": _wrinkles(place) * skin,
        "lips": lips,
        "scalp": torch.where(skin, scalp, -100.0),
        "temple": smooth(x - 22, 14.0) * smooth(50 - (x - 38).abs(), 16.0) * smooth(z - 30, 22.0),
        "crown": (-(((y - 130) / 45).square() + ((z + 15) / 62).square() + (x / 48).square()).square()).exp(),
        "beard": beard * skin,
        "face": face_weight(place) * smooth(-lips - 2, 2.0) * skin,
        "bare": (1 - ear) * skin,
    }


def _wrinkles(place: Tensor) -> Tensor:
    """(W, M) shares of full depth."""
    out = []
    for name, (width, points) in CREASES.items():
        for side in (1.0, -1.0) if name in SIDED else (0.0,):
            sideways = place[:, 0] if side == 0 else place[:, 0] * side
            groove = _stroke(torch.stack([sideways, place[:, 1]], dim=1), points, width)
            reach = 0.0 if name.startswith("neck") else 35.0
            out.append(groove * smooth(place[:, 2] - reach, 12.0))
    return torch.stack(out)


def _stroke(at: Tensor, points: tuple, width: float) -> Tensor:
    """(M,) of points (M, 2): 1 on the middle of a polyline, falling off across it and toward its ends."""
    knots = at.new_tensor(points)
    best, along = torch.full_like(at[:, 0], torch.inf), torch.zeros_like(at[:, 0])
    for k, (a, b) in enumerate(itertools.pairwise(knots)):
        share = (((at - a) @ (b - a)) / (b - a).square().sum()).clamp(0, 1)
        distance = (at - a - share[:, None] * (b - a)).square().sum(1)
        along = torch.where(distance < best, (k + share) / (len(knots) - 1), along)
        best = torch.minimum(best, distance)
    return (-best / width**2).exp() * (4 * along * (1 - along)).clamp(0, 1).sqrt()


def _slopes(grid: Tensor, texel: Tensor, place: Tensor, normals: Tensor) -> tuple[Tensor, Tensor]:
    """`neighbours` and `slope` of a chart from the grid (S, S) of its texels, −1 where it has none."""
    own = torch.arange(len(texel), device=texel.device)
    padded = functional.pad(grid, (1, 1, 1, 1), value=-1)
    near = []
    for rows, columns in ((1, 0), (1, 2), (0, 1), (2, 1)):
        other = padded[rows : rows + len(grid), columns : columns + len(grid)].reshape(-1)[texel]
        other = torch.where(other >= 0, other, own)
        far = (place[other] - place).norm(dim=1) > LONGEST_STEP * 512 / len(grid)
        near.append(torch.where(far, own, other))
    up = functional.normalize(place.new_tensor([0.0, 1.0, 0.0]) - normals[:, 1:2] * normals, dim=1)
    frame = torch.stack([torch.linalg.cross(up, normals), up], dim=1)  # (M, 2, 3) sideways, up
    steps = torch.stack([place[near[1]] - place[near[0]], place[near[3]] - place[near[2]]], dim=1)
    flat = torch.einsum("mkc,mfc->mkf", steps, frame)  # how far a step goes sideways and up
    scale = flat.square().sum((1, 2))
    good = torch.linalg.det(flat).abs() > 0.05 * scale
    inverse = torch.linalg.inv(torch.where(good[:, None, None], flat, torch.eye(2, device=flat.device)))
    steep = 1 - normals[:, 1].abs().clamp(0, 1) ** 8  # the frame spins where the surface looks up or down
    return torch.stack(near), inverse * (good * steep)[:, None, None]


def _inner(grid: Tensor, texel: Tensor, size: int) -> Tensor:
    """(M,) distance from the border of the chart over six texels of a texture of 512, at most 1."""
    inside = (grid >= 0).float()[None, None]
    steps = max(2, round(6 * size / 512))
    depth = torch.zeros_like(inside)
    for _ in range(steps):
        inside = -functional.max_pool2d(-inside, 3, 1, 1)
        depth = depth + inside
    return smooth(depth.view(-1)[texel] / steps - 0.5, 0.5)


def _nearest(grid: Tensor) -> Tensor:
    """(S²,) the texel of the chart nearest to each texel, by jump flooding (Rong & Tan 2006)."""
    size = len(grid)
    row, column = torch.meshgrid(*[torch.arange(size, device=grid.device)] * 2, indexing="ij")
    here = row * size + column
    best = torch.where(grid >= 0, here, -1)
    step = size // 2
    while step:
        for down, right in ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)):
            other = best[(row + down * step).clamp(0, size - 1), (column + right * step).clamp(0, size - 1)]
            best = torch.where(
                _apart(other, row, column, size) < _apart(best, row, column, size), other, best
            )
        step //= 2
    return grid.reshape(-1)[best.reshape(-1)]


def _apart(other: Tensor, row: Tensor, column: Tensor, size: int) -> Tensor:
    away = (torch.div(other, size, rounding_mode="floor") - row).square() + (other % size - column).square()
    return torch.where(other >= 0, away, 1 << 40)


def _around(chart: Chart, values: Tensor, weight: Tensor, side: int) -> Tensor:
    """(S, C, M) weighted mean over about 1.7 sides: three boxes, nearly a Gaussian."""
    image = torch.cat([values * weight, weight.expand(len(values), 1, -1)], dim=1)
    canvas = image.new_zeros(*image.shape[:2], chart.size * chart.size).index_copy(2, chart.texel, image)
    canvas = canvas.unflatten(2, (chart.size, chart.size))
    for _ in range(6):  # along one axis, then along the other
        total = functional.pad(canvas, (side // 2 + 1, side // 2)).cumsum(3)
        canvas = ((total[..., side:] - total[..., :-side]) / side).mT
    image = canvas.flatten(2)[:, :, chart.texel]
    return image[:, :-1] / image[:, -1:].clamp(min=1e-3)


def _mound(name: str) -> int:
    return list(MOUNDS).index(name)
