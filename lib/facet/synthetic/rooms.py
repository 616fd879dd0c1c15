"""Richer backgrounds: rooms, streets, parks, studios, walls and lamps, as a lens shows them behind a face.

Every background is a function of one generator, so of one seed. It is painted in linear light on a
`canvas.Canvas`, small where the lens is far out of focus, and blurred by a disk, so that lamps and gaps in
leaves become discs. Training never sees stone walls and beaches, nor the texture photographs of every fifth
name, nor violet (`backgrounds.TEST_HUES`).
"""

import math
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from zlib import crc32

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from facet.paths import RAW
from facet.synthetic.backdrops import bokeh, brick, curtain, plain_wall, stone, studio, wood
from facet.synthetic.canvas import Canvas
from facet.synthetic.finish import to_linear
from facet.synthetic.indoors import hall, room
from facet.synthetic.outdoors import beach, foliage, street

TEXTURES = RAW / "dtd" / "images"
"""Describable Textures (Cimpoi et al. 2014), if someone has put them there: a folder of JPEGs a word."""
TEXTURE_SHARE = 0.2
SPLITS = ("train", "test")
PLAIN = -1
"""The seed of a background that shows nothing (drawn seeds are not negative)."""
GREY = 0.18  # linear, of that background

Family = tuple[Callable[[Canvas], None], float, float]
"""What paints, and the radii of the lens's disk, in sides of the picture."""
_SHARED: tuple[Family, ...] = (
    (plain_wall, 0.0, 0.01),
    (plain_wall, 0.0, 0.01),
    (studio, 0.006, 0.012),
    (studio, 0.006, 0.012),
    (bokeh, 0.015, 0.05),
    (room, 0.006, 0.02),
    (room, 0.01, 0.035),
    (room, 0.015, 0.04),
    (room, 0.015, 0.05),
    (hall, 0.01, 0.045),
    (foliage, 0.004, 0.02),
    (foliage, 0.01, 0.045),
    (street, 0.008, 0.025),
    (street, 0.015, 0.045),
    (brick, 0.0, 0.016),
    (wood, 0.0, 0.014),
    (curtain, 0.0, 0.016),
)
FAMILIES: dict[str, tuple[Family, ...]] = {
    "train": _SHARED,
    "test": (*_SHARED, *((stone, 0.009, 0.02),) * 4, *((beach, 0.006, 0.03),) * 4),
}


def background(seed: int, size: int, *, split: str = "train") -> Tensor:
    """The background (3, S, S) of a seed: that of :func:`scene_background`, or even grey for PLAIN."""
    if seed == PLAIN:
        return torch.full((3, size, size), GREY)
    return scene_background(torch.Generator().manual_seed(seed), size, split=split)


def scene_background(
    generator: torch.Generator, size: int, *, split: str = "train", textures: Path | None = TEXTURES
) -> Tensor:
    """A background.

    Args:
        generator: every draw, on the device where the picture shall live.
        size: S.
        split: "train" or "test" (which also serves validation).
        textures: folder with JPEGs (at any depth) that a fifth of the pictures then show; pictures depend on
            whether it is there, the other four fifths do not.

    Returns:
        (3, S, S) float32 linear light ≥ 0; windows, lamps and sky exceed 1.

    Raises:
        ValueError: another split.
    """
    if split not in SPLITS:
        raise ValueError(f'split must be "train" or "test", got {split!r}')
    kind, focus, photo, which = torch.rand(4, generator=generator, device=generator.device).tolist()
    files = texture_files(textures, split) if textures is not None and photo < TEXTURE_SHARE else ()
    if files:
        return _photograph(generator, size, files[int(which * len(files))])
    families = FAMILIES[split]
    paint, sharpest, softest = families[int(kind * len(families))]
    radius = (sharpest + (softest - sharpest) * focus) * size
    return _out_of_focus(generator, size, split, paint, radius)


@lru_cache(maxsize=8)
def texture_files(folder: Path, split: str) -> tuple[Path, ...]:
    """JPEGs below a folder: every fifth by its name's hash for the test split, the others for training."""
    found = sorted(folder.rglob("*.jpg"))
    return tuple(f for f in found if (crc32(f.name.encode()) % 5 == 0) == (split == "test"))


def _photograph(generator: torch.Generator, size: int, file: Path) -> Tensor:
    """A random part of a photograph, from two thirds of its shorter side to all of it."""
    zoom, x, y, light = torch.rand(4, generator=generator, device=generator.device).tolist()
    with Image.open(file) as image:
        image.draft("RGB", (size, size))  # JPEG decodes at a half or a quarter where that is enough
        side = round((0.67 + 0.33 * zoom) * min(image.size))
        left, top = (round(s * (n - side)) for s, n in zip((x, y), image.size, strict=True))
        part = image.convert("RGB").resize(
            (size, size), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side)
        )
    pixels = torch.from_numpy(np.array(part)).to(generator.device).permute(2, 0, 1).float() / 255
    return to_linear(pixels) * (0.5 + light)


def _out_of_focus(generator: torch.Generator, size: int, split: str, paint, radius: float) -> Tensor:
    """A painted scene behind a lens whose disk has a radius in pixels."""
    coarser = min(4, max(1, int(radius / 1.4)))
    canvas = Canvas(generator, max(16, math.ceil(size / coarser)), split)
    paint(canvas)
    picture = canvas.pixels[None].clamp_(min=0.0)
    if radius > 0.7:
        picture = _disk_blur(picture, radius / coarser)
    if coarser > 1:
        picture = F.interpolate(picture, (size, size), mode="bilinear")
    return picture[0].clamp_(min=0.0)


def _disk_blur(picture: Tensor, radius: float) -> Tensor:
    reach = math.ceil(radius)
    axis = torch.arange(-reach, reach + 1.0, device=picture.device)
    disk = (radius + 0.5 - torch.hypot(axis[None, :], axis[:, None])).clamp(0.0, 1.0)
    padded = F.pad(picture, (reach,) * 4, mode="replicate").transpose(0, 1)
    return F.conv2d(padded, (disk / disk.sum())[None, None]).transpose(0, 1)
