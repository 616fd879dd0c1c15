"""What people's skin and eyes look like, and a texture of each person's head in MakeHuman's UV.

`draw_skin` draws the table, `bake` paints it with `skin_paint` on the texels that `skin_chart` knows.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from facet.face_model import FaceModel
from facet.face_model.skins import HELD_OUT
from facet.rendering.interpolation import turned
from facet.rendering.normals import unit
from facet.rendering.texture import Pyramid
from facet.synthetic.eyes import draw_eyes
from facet.synthetic.finish import to_linear
from facet.synthetic.skin_chart import MOUNDS, WRINKLES, Chart, chart, details
from facet.synthetic.skin_paint import from_lab, paint, to_lab, tone
from facet.synthetic.subjects import Subjects, Table

CHANNELS = ("red", "green", "blue", "specular", "slope_side", "slope_up")
SIZES = (256, 512)
LEVELS = 6
ITA_SPAN = ((-78.0, -4.0), (-8.0, 64.0), (18.0, 76.0))  # degrees, of the three ancestries
ITA_ENDS = (-62.0, 64.0)  # where spans fold back
# Melanin, haemoglobin and their spread at places of everybody's face.
PIGMENT = {
    "cheeks": (-0.02, 0.7, 0.4), "nose": (0.0, 0.9, 0.4), "wings": (0.02, 0.8, 0.4), "ears": (0.0, 1.3, 0.4),
    "forehead": (0.025, -0.2, 0.6), "chin": (0.01, 0.4, 0.5), "beside": (0.035, 0.0, 0.6),
    "under_eyes": (0.03, 0.35, 0.5), "lids": (0.04, 0.5, 0.4), "sockets": (0.035, 0.3, 0.5),
    "temples": (0.025, -0.3, 0.5), "neck": (0.0, -0.3, 0.6),
}  # fmt: skip
DEEPEST = {
    "forehead": 0.8, "nasion": 0.6, "neck": 0.8, "frown": 0.8, "crow": 0.7, "pouch": 0.6, "trough": 0.5,
    "nasolabial": 1.0, "marionette": 0.8,
}  # fmt: skip
YOUNG = {"nasolabial": 0.15, "pouch": 0.12, "neck1": 0.15, "neck2": 0.1}  # mm that the young have too
LIPSTICKS = (
    (0.42, 0.03, 0.05), (0.3, 0.02, 0.05), (0.5, 0.1, 0.1), (0.45, 0.13, 0.14), (0.48, 0.09, 0.16),
    (0.33, 0.08, 0.08), (0.22, 0.03, 0.05), (0.5, 0.18, 0.16), (0.4, 0.05, 0.13),
)  # fmt: skip
SHADOWS = ((0.12, 0.07, 0.05), (0.1, 0.08, 0.07), (0.26, 0.14, 0.11), (0.13, 0.08, 0.09), (0.07, 0.08, 0.1))
FABRICS = (
    (0.75, 0.74, 0.72), (0.03, 0.03, 0.035), (0.02, 0.04, 0.1), (0.18, 0.18, 0.19), (0.06, 0.1, 0.2),
    (0.35, 0.03, 0.04), (0.05, 0.12, 0.07), (0.4, 0.32, 0.2), (0.25, 0.12, 0.07), (0.5, 0.4, 0.12),
    (0.3, 0.42, 0.55), (0.55, 0.25, 0.25), (0.2, 0.08, 0.18), (0.08, 0.25, 0.28), (0.5, 0.48, 0.42),
)  # fmt: skip
WEAVES = (0.5, 0.16, 0.12, 0.22)  # how often each of PATTERNS is worn
_PIECE = {"cpu": 1 << 17, "cuda": 1 << 24}  # texels painted at a time


@dataclass
class Skin(Table):
    """N people's skin and eyes. Colours are linear albedo.

    Attributes:
        seed: (N,) of all painted noise.
        texture: (N, 2) photographed skins, mix: (N,) share of the second.
        melanin: (N,) 0 very light (ITA 60°) … 1 very dark (ITA −60°); haemoglobin, warmth: (N,) redness and
            yellowness against people of that melanin, in standard deviations.
        pigment: (N, 2, P) melanin and haemoglobin added at the places of MOUNDS.
        relief: (N, 3) strength of photographed detail and of blotches, pores in mm.
        spots: (N, 4) freckles, moles, blemishes, age spots, each 0 … 1.
        wrinkles: (N, W) depth of WRINKLES in mm.
        lips: (N, 5) colour, softness of their edge in mm, share of that colour.
        makeup: (N, 5) foundation, eye shadow and its colour.
        hair: (N, 3) colour of stubble, painted brows and of what is cropped or under hair.
        stubble: (N,); scalp: (N, 4) cover, shift of the hairline and of the temples in mm, bald crown;
            brow: (N, 4) thickness, height and arch in mm, density (for `bake(…, brows=True)`).
        gloss: (N, 3) shine of the skin, of nose and forehead on top of it, of the lips.
        cloth: (N, 2, 3) colours; weave: (N, 4) pattern of PATTERNS, its period, height of the collar and
            depth of its V in mm.
        iris: (N,) texture; iris_colour: (N, 3); eye: (N, 6) radius of iris and pupil (eyeball 1), dark ring,
            redness, yellowness and brightness of the white.
    """

    seed: Tensor
    texture: Tensor
    mix: Tensor
    melanin: Tensor
    haemoglobin: Tensor
    warmth: Tensor
    pigment: Tensor
    relief: Tensor
    spots: Tensor
    wrinkles: Tensor
    lips: Tensor
    makeup: Tensor
    hair: Tensor
    stubble: Tensor
    scalp: Tensor
    brow: Tensor
    gloss: Tensor
    cloth: Tensor
    weave: Tensor
    iris: Tensor
    iris_colour: Tensor
    eye: Tensor


def atlas(
    model: FaceModel, textures: Tensor, sizes: tuple[int, ...] = SIZES
) -> tuple[dict[int, Chart], dict[int, Tensor]]:
    """Charts by size and photographed details by size, for `bake`; textures (S, 3, H, W) sRGB."""
    charts = {size: chart(model, size) for size in sizes}
    return charts, {size: details(charts[size], textures) for size in sizes}


@torch.no_grad()
def bake(
    atlas: dict[int, Chart], skins: dict[int, Tensor], skin: Skin, *, size: int, brows: bool = False
) -> Pyramid:
    """A texture of each person: (N, 6, size, size) as CHANNELS, with its halvings.

    Albedo is linear; specular is the strength of the shine, 0 dull, about 0.5 on skin, 1 wet; slopes are the
    rise of fine relief, mm per mm, in the frame of `bumped`.

    Args:
        atlas, skins: what `atlas` made; brows: paint them too (where no wardrobe brings them).
    """
    known, detail = atlas[size], skins[size]
    sides = torch.tensor([size >> k for k in range(LEVELS)], device=known.place.device)
    starts = sides.square().cumsum(0) - sides.square()
    texels = known.place.new_empty(len(skin), int(sides.square().sum()), len(CHANNELS))
    people = max(1, _PIECE["cuda" if known.place.is_cuda else "cpu"] // len(known.texel))
    for first in range(0, len(skin), people):
        some = slice(first, first + people)
        rows = paint(known, detail, skin.rows(some), brows).mT.contiguous()  # (n, M, 6)
        own = torch.arange(len(rows), device=rows.device)[:, None] * rows.shape[1]
        image = functional.embedding(known.nearest + own, rows.flatten(0, 1)).unflatten(1, (size, size))
        for start in starts.tolist():
            texels[some, start : start + image.shape[1] ** 2] = image.flatten(1, 2)
            image = image[:, ::2] + image[:, 1::2]
            image = (image[:, :, ::2] + image[:, :, 1::2]) / 4
    return Pyramid(texels, torch.stack([sides, sides], dim=1), starts)


def bumped(normals: Tensor, slopes: Tensor, axes: Tensor) -> Tensor:
    """Unit normals (N, 3) tilted by a texture's slopes (N, 2), all stored column by column.

    The tangents of a normal n are up, the head's y axis less its part along n, and sideways, up × n, which is
    the head's x axis where the face looks forward. n′ = n − slope_side · sideways − slope_up · up.

    Args:
        axes: (3, 3), the head's x, y and z axes as columns in the frame of the normals (for the image frame
            diag(1, −1, 1) · rotation).
    """
    own = turned(normals, axes.mT)
    up = unit(own.new_tensor([0.0, 1.0, 0.0]) - own[:, 1:2] * own)
    side = torch.linalg.cross(up, own)
    return turned(unit(own - slopes[:, :1] * side - slopes[:, 1:] * up), axes)


def draw_skin(generator: torch.Generator, subjects: Subjects, names: list[str], *, split: str) -> Skin:
    """Skin and eyes of subjects, as age, gender and ancestry have them.

    `hair` follows `subjects.hair`; whoever dresses the people puts the colour of their hair there, and in
    `scalp[:, 0]` how much of it stands or shows under what they wear.

    Args:
        names: of the photographed skins; split: "train", "validation" or "test": HELD_OUT skins are for test.
    """
    draw = _Draw(generator, subjects)
    melanin, haemoglobin, warmth = draw.pigments()
    scalp, stubble = draw.hair()
    lips, makeup, blush = draw.face_paint(melanin, haemoglobin, warmth)
    pigment = draw.places(melanin)
    pigment[:, 1, _at("cheekbones")] += blush
    iris, iris_colour, eye = draw_eyes(generator, subjects, melanin)
    return Skin(
        seed=torch.randint(2**31, (draw.count,), generator=generator),
        texture=draw.textures(names, split),
        mix=draw.uniform(0, 0.6),
        melanin=melanin,
        haemoglobin=haemoglobin,
        warmth=warmth,
        pigment=pigment,
        relief=torch.stack([draw.uniform(0.7, 1.35), draw.uniform(0.3, 1.2), draw.uniform(0.02, 0.06)], 1),
        spots=draw.spots(melanin),
        wrinkles=draw.wrinkles(),
        lips=lips,
        makeup=makeup,
        hair=to_linear(subjects.hair),
        stubble=stubble,
        scalp=scalp,
        brow=torch.stack(
            [draw.uniform(2.4, 5.0), draw.uniform(-3, 3), 2 * draw.normal(), draw.uniform(0.4, 0.95)], 1
        ),
        gloss=torch.stack([draw.uniform(0.3, 0.5), draw.uniform(0, 0.22), draw.uniform(0.5, 0.8)], 1),
        cloth=draw.cloth(),
        weave=draw.weave(),
        iris=iris,
        iris_colour=iris_colour,
        eye=eye,
    )


class _Draw:
    """Random numbers for N people, correlated with who they are."""

    def __init__(self, generator: torch.Generator, subjects: Subjects):
        self.generator, self.people, self.count = generator, subjects, len(subjects)
        self.years, self.female = subjects.years, subjects.gender > 0.5
        self.old = ((self.years - 30) / 45).clamp(0, 1)  # 0 at 30, 1 from 75

    def uniform(self, low: float = 0.0, high: float = 1.0, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(self.count, *shape, generator=self.generator)

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(self.count, *shape, generator=self.generator).clamp(-2.2, 2.2)

    def some(self, share: float | Tensor) -> Tensor:
        return (torch.rand(self.count, generator=self.generator) < share).float()

    def pigments(self) -> tuple[Tensor, Tensor, Tensor]:
        """Melanin, even over the ITA that each ancestry spans, haemoglobin, warmth."""
        span = self.people.ancestry.pow(1.6)
        span = (span / span.sum(dim=1, keepdim=True)) @ torch.tensor(ITA_SPAN)
        angle = span[:, 0] + (span[:, 1] - span[:, 0]) * self.uniform()
        angle = torch.minimum(torch.maximum(angle, 2 * ITA_ENDS[0] - angle), 2 * ITA_ENDS[1] - angle)
        asian = self.people.ancestry[:, 1]
        return (60 - angle) / 120, 0.8 * self.normal() - 0.5 * asian, 0.8 * self.normal() + 0.5 * asian

    def textures(self, names: list[str], split: str) -> Tensor:
        """(N, 2): the person's own and another one of their age; details carry no tone."""
        ages = [name.split("_")[0] for name in names]
        allowed = [k for k, name in enumerate(names) if split == "test" or name not in HELD_OUT]
        own = self.people.skin.tolist()
        pools = [[k for k in allowed if ages[k] == ages[row]] or allowed for row in own]
        dice = self.uniform().tolist()
        other = [pool[int(share * len(pool))] for pool, share in zip(pools, dice, strict=True)]
        return torch.tensor([own, other]).T.contiguous()

    def places(self, melanin: Tensor) -> Tensor:
        """(N, 2, P) pigment at MOUNDS."""
        out = torch.zeros(self.count, 2, len(MOUNDS))
        for name, (brown, red, spread) in PIGMENT.items():
            more = 1 + spread * self.normal()
            out[:, 0, _at(name)] = brown * more.clamp(min=0)
            out[:, 1, _at(name)] = red * more.clamp(min=0) * (1.1 - 0.6 * melanin)
        ruddy = self.uniform() ** 2 * (1.3 - melanin)
        for name, share in (("cheeks", 1.6), ("nose", 1.6), ("wings", 1.0), ("ears", 1.2), ("chin", 0.7)):
            out[:, 1, _at(name)] += share * ruddy
        tired = (0.5 + 0.7 * self.old) * self.uniform() ** 1.3
        out[:, 0, _at("under_eyes")] += 0.16 * tired
        out[:, 0, _at("sockets")] += 0.1 * tired
        out[:, 1, _at("under_eyes")] += 0.7 * tired
        return out

    def spots(self, melanin: Tensor) -> Tensor:
        """(N, 4) freckles of light people, moles, blemishes of the young, age spots."""
        light = ((0.45 - melanin) / 0.3).clamp(0, 1) * (1 - 0.6 * self.people.ancestry[:, 1])
        freckles = self.some(0.2 * light) * self.uniform(0.25, 1.0) + self.some(0.25 * light) * 0.12
        young = (1.2 - (self.years - 18) / 25).clamp(0.15, 1)
        blemishes = self.some(0.45) * self.uniform(0, 0.6) * young
        return torch.stack(
            [freckles.clamp(max=1), 0.35 * self.uniform() ** 2, blemishes, self.uniform() * self.old**2], 1
        )

    def wrinkles(self) -> Tensor:
        """(N, W) depths in mm; the two sides of a face are nearly alike."""
        strength = ((self.years - 22) / 50).clamp(0, 1.1) ** 1.3
        out = torch.empty(self.count, len(WRINKLES))
        shared = {name: self.uniform() for name in ("forehead", "crow", "neck")}
        for k, name in enumerate(WRINKLES):
            stem = name.removesuffix("_left").removesuffix("_right")
            if not name.endswith("_right"):
                group = shared.get(stem.rstrip("1234"), self.uniform())
                depth = DEEPEST[stem.rstrip("1234")] * strength * (0.3 + 0.7 * group)
                depth = depth * self.uniform(0.5, 1.0) + YOUNG.get(stem, 0.0) * self.uniform()
            out[:, k] = depth * self.uniform(0.8, 1.0)
        return out

    def hair(self) -> tuple[Tensor, Tensor]:
        """Scalp (N, 4) and stubble (N,)."""
        male = 1 - self.female.float()
        receding = male * self.some(0.15 + 0.5 * self.old)
        scalp = torch.stack(
            [
                self.uniform(0.75, 0.97),
                5 * self.normal() - 2 * self.female + receding * self.uniform(0, 12),
                receding * self.uniform(4, 26) + self.uniform(0, 5),
                receding * self.some(0.4) * self.uniform(0.3, 1.0),
            ],
            dim=1,
        )
        shaved = self.some(0.55) * self.uniform(0.04, 0.22) + self.some(0.3) * self.uniform(0.15, 0.55)
        return scalp, male * shaved.clamp(max=0.6)

    def face_paint(self, melanin: Tensor, haemoglobin: Tensor, warmth: Tensor) -> tuple[Tensor, ...]:
        """Lips (N, 5), make-up (N, 5) and the haemoglobin of blush (N,)."""
        skin = to_lab(tone(melanin, haemoglobin, warmth))
        light = (1.15 - melanin).clamp(0.25, 1.0)
        shift = torch.stack([-6 - 3 * light + 2 * self.normal(), 4 + 8 * light, -1.5 + 0.5 * light], 1)
        shift[:, 1] += 2 * self.normal() - 3 * self.old
        natural = from_lab(skin + shift).clamp(0.01, 0.9)
        adorned = self.some(torch.where(self.female, 0.55, 0.02))
        painted = adorned * self.some(0.75)
        stick = torch.tensor(LIPSTICKS)[
            torch.randint(len(LIPSTICKS), (self.count,), generator=self.generator)
        ]
        stick = stick * (1 - 0.45 * melanin[:, None]) * self.uniform(0.8, 1.2, 1)
        cover = (painted * self.uniform(0.35, 0.95))[:, None]
        softness = torch.where(painted > 0, self.uniform(1.1, 1.4), self.uniform(1.2, 2.0))
        colour = natural + (stick - natural) * cover
        lips = torch.cat([colour, softness[:, None], self.uniform(0.7, 0.95, 1).maximum(cover)], dim=1)
        shade = torch.tensor(SHADOWS)[torch.randint(len(SHADOWS), (self.count,), generator=self.generator)]
        shade = shade * (1 - 0.6 * melanin[:, None])
        shadow = adorned * self.some(0.6) * self.uniform(0.1, 0.5)
        makeup = torch.cat([(adorned * self.uniform(0.2, 0.9))[:, None], shadow[:, None], shade], dim=1)
        return lips, makeup, adorned * self.some(0.6) * self.uniform(0.4, 2.2)

    def cloth(self) -> Tensor:
        """(N, 2, 3): a colour, and one near it or its contrary."""
        first = torch.tensor(FABRICS)[torch.randint(len(FABRICS), (self.count,), generator=self.generator)]
        second = torch.tensor(FABRICS)[torch.randint(len(FABRICS), (self.count,), generator=self.generator)]
        near = self.some(0.4)[:, None]
        both = torch.stack([first, near * first * 0.55 + (1 - near) * second], dim=1)
        return (both * self.uniform(0.7, 1.2, 1, 1) * self.uniform(0.9, 1.1, 2, 3)).clamp(0.01, 0.85)

    def weave(self) -> Tensor:
        """(N, 4) pattern, period, height of the collar, depth of its V."""
        pattern = torch.multinomial(torch.tensor(WEAVES), self.count, True, generator=self.generator).float()
        vee = self.some(0.3) * self.uniform(8, 30)
        return torch.stack([pattern, self.uniform(14, 34), self.uniform(-12, 12), vee], dim=1)


def _at(name: str) -> int:
    return list(MOUNDS).index(name)
