"""Who wears what: hair, beard, brows, lashes, teeth, glasses and hat of people, and their colours.

Shares are by gender, age and ancestry. Colours are linear light.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from facet.face_model.wearables import KINDS
from facet.synthetic.subjects import Subjects, Table

HELD_OUT = ("short_back", "curls_loose", "headband", "fedora_cocked")  # only test people wear them
# Under a hat only what lies close to the head.
UNDER_HATS = ("short_fade", "short_parted", "short_back", "long", "bob", "ponytail")
# Hair: how often men and women wear it; how often people of african, asian, caucasian ancestry; the age
# (years) at which that begins to fall; the range of its volume.
STYLES = {
    "afro": (1.3, 0.8, 5.0, 0.02, 0.1, 60, 0.6, 1.1),
    "bob": (0.04, 1.3, 0.4, 1.2, 1.2, 90, 0.95, 1.1),
    "braid": (0.0, 0.7, 0.6, 0.7, 0.7, 45, 0.95, 1.05),
    "curls": (0.08, 1.0, 2.0, 0.15, 0.6, 60, 0.85, 1.1),
    "curls_loose": (0.06, 0.9, 1.5, 0.2, 0.7, 60, 0.85, 1.1),
    "headband": (0.0, 0.4, 0.2, 0.3, 0.8, 40, 0.97, 1.05),
    "hawk": (0.1, 0.04, 0.5, 0.5, 1.0, 35, 0.4, 1.0),
    "fringe_long": (0.04, 0.8, 0.3, 1.2, 0.8, 50, 0.97, 1.08),
    "long": (0.03, 1.0, 0.4, 1.2, 1.0, 60, 0.97, 1.08),
    "long_layered": (0.06, 1.0, 0.3, 1.2, 1.0, 55, 0.9, 1.1),
    "long_parted": (0.03, 0.5, 0.3, 0.6, 0.6, 55, 0.97, 1.08),
    "ponytail": (0.03, 1.3, 0.8, 1.0, 1.0, 60, 0.95, 1.15),
    "short_full": (1.6, 0.25, 1.5, 1.0, 1.0, 90, 0.7, 1.25),
    "short_fade": (1.7, 0.2, 0.8, 1.0, 1.1, 90, 0.7, 1.3),
    "short_parted": (1.1, 0.5, 0.1, 1.2, 1.1, 90, 0.8, 1.2),
    "short_back": (1.4, 0.1, 0.6, 1.2, 1.0, 90, 0.7, 1.3),
}
# Natural hair from black over browns to blond, then reds: linear albedo.
SHADES = (
    (0.010, 0.009, 0.009),
    (0.022, 0.015, 0.011),
    (0.050, 0.029, 0.017),
    (0.105, 0.062, 0.033),
    (0.200, 0.130, 0.072),
    (0.380, 0.275, 0.160),
)
RED = (0.230, 0.072, 0.022)
GREY, WHITE = (0.2, 0.195, 0.19), (0.46, 0.45, 0.43)
DYES = ((0.03, 0.08, 0.30), (0.45, 0.06, 0.20), (0.22, 0.03, 0.25), (0.04, 0.22, 0.12), (0.45, 0.02, 0.02))
# How often each shade is seen with african, asian, caucasian ancestry.
SHARES = (
    (0.75, 0.22, 0.03, 0.0, 0.0, 0.0),
    (0.6, 0.3, 0.08, 0.02, 0.0, 0.0),
    (0.04, 0.2, 0.28, 0.22, 0.16, 0.1),
)
FRAMES = (
    (0.012, 0.012, 0.013),
    (0.09, 0.045, 0.02),
    (0.03, 0.05, 0.12),
    (0.35, 0.33, 0.3),
    (0.22, 0.03, 0.03),
)
GUM, LENS = (0.42, 0.12, 0.11), (0.02, 0.02, 0.022)
THICK_BROWS = ("brows_1", "brows_5", "brows_6")
CLOTHS = ((0.02, 0.02, 0.022), (0.09, 0.08, 0.07), (0.22, 0.16, 0.1), (0.06, 0.09, 0.05), (0.03, 0.05, 0.12))


@dataclass
class Outfit(Table):
    """What N people wear.

    Attributes:
        hair, beard, moustache, brows, lashes, teeth, glasses, hat: (N,) item numbers, −1 for none.
        hair_colour, beard_colour, brow_colour, lash_colour, tooth_colour, glasses_colour, hat_colour,
            accent: (N, 3) linear; accent is the headband's and the hat's ribbon.
        hair_gloss: (N,); hair_volume, beard_length: (N,) factors on the distance from the skin.
        mirrored: (N,) bool, hair with left and right exchanged.
        crop: (N,) how much of the scalp short hair covers that is painted, not modelled: 0 bald, 1 cropped;
            recession: (N,) mm that the painted hairline has gone back.
    """

    hair: Tensor
    beard: Tensor
    moustache: Tensor
    brows: Tensor
    lashes: Tensor
    teeth: Tensor
    glasses: Tensor
    hat: Tensor
    hair_colour: Tensor
    beard_colour: Tensor
    brow_colour: Tensor
    lash_colour: Tensor
    tooth_colour: Tensor
    glasses_colour: Tensor
    hat_colour: Tensor
    accent: Tensor
    hair_gloss: Tensor
    hair_volume: Tensor
    beard_length: Tensor
    mirrored: Tensor
    crop: Tensor
    recession: Tensor

    def worn(self) -> Tensor:
        """(N, 8) item numbers in the order of KINDS."""
        return torch.stack([getattr(self, kind) for kind in KINDS], dim=1)

    def lengths(self) -> Tensor:
        """(N, 8) factors on offsets in the order of KINDS."""
        one = torch.ones_like(self.hair_volume)
        return torch.stack([self.hair_volume, self.beard_length, one, one, one, one, one, one], dim=1)

    def palette(self) -> tuple[Tensor, Tensor, Tensor]:
        """First and second colours (N, 8, 3) and gloss (N, 8) in the order of KINDS."""
        beard, gloss = self.beard_colour, self.hair_gloss
        first = [self.hair_colour, beard, beard, self.brow_colour, self.lash_colour, self.tooth_colour]
        first = torch.stack([*first, self.glasses_colour, self.hat_colour], dim=1)
        second = first.clone()
        second[:, KINDS.index("hair")] = second[:, KINDS.index("hat")] = self.accent
        second[:, KINDS.index("teeth")] = second.new_tensor(GUM)
        second[:, KINDS.index("glasses")] = second.new_tensor(LENS)
        factors = gloss.new_tensor([1.0, 0.5, 0.5, 0.3, 0.3, 0.0, 0.0, 0.0])
        fixed = gloss.new_tensor([0.0, 0.0, 0.0, 0.0, 0.0, 0.7, 0.9, 0.08])
        return first, second, gloss[:, None] * factors + fixed


def draw_outfit(generator: torch.Generator, wardrobe, subjects: Subjects, *, split: str = "train") -> Outfit:
    """Outfits that fit the subjects' gender, age and ancestry; HELD_OUT styles are worn in `test` only."""
    count = len(subjects)

    def uniform(*shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        return low + (high - low) * torch.rand(shape, generator=generator)

    years, male = subjects.years.float(), subjects.gender < 0.5
    drawing = _Drawing(generator, wardrobe, split)
    colour, natural, grey = _hair_colour(generator, subjects)
    crop, recession, bare = _bareness(generator, subjects)
    hair = torch.where(bare, -1, drawing.hair(subjects))
    hat = torch.where(uniform(count) < 0.06, drawing.any_of("hat", count), -1)
    low = torch.tensor([-1, *(wardrobe.number(name) for name in UNDER_HATS)])
    hair = torch.where((hat >= 0) & ~torch.isin(hair, low), drawing.under_hat(subjects), hair)
    bearded = male & (uniform(count) < 0.3)
    lip = male & (uniform(count) < torch.where(bearded, 0.75, 0.07))
    seeing = uniform(count) < 0.06 + 0.12 * ((years - 18) / 62)
    dark = seeing & (uniform(count) < 0.12)
    lined = ~male | (uniform(count) < 0.6)
    faded = torch.lerp(natural, torch.tensor(WHITE) * 0.75, (0.8 * grey * uniform(count))[:, None])
    beard = faded * uniform(count, 1, low=0.6, high=1.0)
    brow = torch.minimum(faded * uniform(count, 1, low=0.35, high=0.8), torch.tensor(0.2))
    tooth = torch.tensor((0.72, 0.68, 0.58)) * uniform(count, 1, low=0.75, high=1.0)
    return Outfit(
        hair=hair,
        beard=torch.where(bearded, drawing.any_of("beard", count), -1),
        moustache=torch.where(lip, drawing.any_of("moustache", count), -1),
        brows=drawing.brows(male),
        lashes=torch.where(lined, drawing.any_of("lashes", count), -1),
        teeth=drawing.any_of("teeth", count),
        glasses=torch.where(
            seeing, torch.where(dark, *(wardrobe.number(n) for n in ("sunglasses", "glasses"))), -1
        ),
        hat=hat,
        hair_colour=colour,
        beard_colour=beard,
        brow_colour=brow,
        lash_colour=torch.minimum(0.3 * brow, torch.tensor(0.02)),
        tooth_colour=tooth * torch.stack([torch.ones(count), torch.ones(count), uniform(count, low=0.8)], 1),
        glasses_colour=_one_of(generator, FRAMES, count),
        hat_colour=_one_of(generator, CLOTHS, count),
        accent=uniform(count, 3) ** 2 * 0.6,
        hair_gloss=uniform(count, low=0.3, high=1.0),
        hair_volume=drawing.volume(hair),
        beard_length=uniform(count, low=0.35, high=1.1),
        mirrored=uniform(count) < 0.5,
        crop=crop,
        recession=recession,
    )


@dataclass
class _Drawing:
    """Items drawn from a wardrobe for a split; −1 where it has none."""

    generator: torch.Generator
    wardrobe: object
    split: str

    def names(self, kind: str) -> list[str]:
        return [n for n in self.wardrobe.of_kind(kind) if self.split == "test" or n not in HELD_OUT]

    def any_of(self, kind: str, count: int) -> Tensor:
        """(count,) items of a kind, each as likely as another; sunglasses are chosen elsewhere."""
        return self.chosen(self.names(kind), torch.ones(count, len(self.names(kind))))

    def chosen(self, names: list[str], share: Tensor) -> Tensor:
        """(N,) items by shares (N, len(names))."""
        if not names:
            return torch.full((len(share),), -1)
        numbers = torch.tensor([self.wardrobe.number(name) for name in names])
        return numbers[torch.multinomial(share, 1, generator=self.generator)[:, 0]]

    def hair(self, subjects: Subjects, among: tuple[str, ...] = tuple(STYLES)) -> Tensor:
        names = [n for n in self.names("hair") if n in among]
        style = torch.tensor([STYLES[n] for n in names]).view(-1, 8)
        female = subjects.gender.float()[:, None]
        share = style[:, 0] * (1 - female.round()) + style[:, 1] * female.round()
        share = share * (subjects.ancestry.float() @ style[:, 2:5].T)
        share = share * torch.exp(-(subjects.years.float()[:, None] - style[:, 5]).clamp(min=0) / 12)
        return self.chosen(names, share + 1e-6)

    def volume(self, hair: Tensor) -> Tensor:
        """(N,) factors on the distance of hair (N,) from the scalp, in the range of each style."""
        ranges = torch.ones(len(self.wardrobe) + 1, 2)  # the last row is for -1
        for name, style in STYLES.items():
            ranges[self.wardrobe.number(name)] = torch.tensor(style[6:])
        low, high = ranges[hair].unbind(1)
        return low + (high - low) * torch.rand(len(hair), generator=self.generator)

    def under_hat(self, subjects: Subjects) -> Tensor:
        return self.hair(subjects, UNDER_HATS)

    def brows(self, male: Tensor) -> Tensor:
        """Thick ones for men, any for women."""
        names = self.names("brows")
        thick = torch.tensor([float(n in THICK_BROWS) for n in names])
        return self.chosen(names, torch.where(male[:, None], 0.05 + thick, 1 - 0.7 * thick))


def _hair_colour(generator: torch.Generator, subjects: Subjects) -> tuple[Tensor, Tensor, Tensor]:
    """(N, 3) colours of hair, (N, 3) before it was dyed or turned grey, and (N,) how grey it has turned."""
    count, years = len(subjects), subjects.years.float()

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator)

    share = subjects.ancestry.float() @ torch.tensor(SHARES)
    dyed_blond = (uniform(count, 1) < 0.06) * torch.tensor([0.0, 0.1, 0.4, 1.0, 1.0, 0.6])
    place = torch.multinomial(share + dyed_blond, 1, generator=generator)[:, 0] + uniform(count) - 0.5
    table, place = torch.tensor(SHADES), place.clamp(0, len(SHADES) - 1)
    below = place.floor().long().clamp(max=len(SHADES) - 2)
    between = (place - below)[:, None]
    colour = table[below] ** (1 - between) * table[below + 1] ** between
    red = (uniform(count) < 0.09 * subjects.ancestry[:, 2].float())[:, None] * (0.4 + 0.6 * uniform(count, 1))
    colour = colour + (torch.tensor(RED) * (0.5 + uniform(count, 1)) - colour) * red
    grey = ((years - 45) / 40 + 0.5 * (uniform(count) - 0.5)).clamp(0, 1)
    kept = (subjects.gender > 0.5) & (uniform(count) < 0.55)  # women who dye their grey hair
    white = torch.lerp(torch.tensor(GREY), torch.tensor(WHITE), grey[:, None] ** 2)
    shown = torch.lerp(colour, white, torch.where(kept, 0.0, grey)[:, None])
    vivid = (uniform(count) < 0.02 * (years < 45))[:, None]
    shown = torch.where(vivid, _one_of(generator, DYES, count), shown)
    return shown * (0.85 + 0.3 * uniform(count, 1)), colour, grey


def _bareness(generator: torch.Generator, subjects: Subjects) -> tuple[Tensor, Tensor, Tensor]:
    """Painted cover (N,), recession in mm (N,), and (N,) bool: no modelled hair."""
    count, years, male = len(subjects), subjects.years.float(), subjects.gender < 0.5
    draw, cover, back = torch.rand(3, count, generator=generator).unbind()
    cropped = torch.where(male, 0.1 + 0.3 * subjects.ancestry[:, 0].float(), 0.02)
    bald = torch.where(male, 0.04 + 0.3 * ((years - 25) / 55).clamp(0, 1), 0.005)
    is_bald, is_cropped = draw < bald, (draw >= bald) & (draw < bald + cropped)
    crop = torch.where(is_bald, 0.35 * (cover - 0.5).clamp(min=0), 0.6 + 0.4 * cover)
    recession = torch.where(male, 25 * ((years - 25) / 55).clamp(0, 1) * back, 4 * back)
    return crop, recession, is_bald | is_cropped


def _one_of(generator: torch.Generator, colours: tuple, count: int) -> Tensor:
    table = torch.tensor(colours)
    chosen = table[torch.randint(len(table), (count,), generator=generator)]
    return chosen * (0.7 + 0.6 * torch.rand(count, 1, generator=generator))
