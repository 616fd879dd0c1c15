"""Skin textures in MakeHuman's UV: the downloaded MakeHuman skins, or painted ones where npm was absent.

The textures are downloaded by name from npm and stay under data/ (their files name an AGPL-derived
licence); nothing of them is tracked. Names are `<age>_<ancestry>_<gender>[number]`.
"""

import io
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from facet import paths

# Only test people wear them.
HELD_OUT = (
    "middleage_asian_female",
    "old_african_male",
    "young_caucasian_female2",
    "young_african_male",
)
SIZE = 512
TONES = {"african": (0.30, 0.19, 0.13), "asian": (0.72, 0.53, 0.41), "caucasian": (0.80, 0.61, 0.52)}


def load_textures(source, *, say=print) -> tuple[list[str], Tensor, Tensor]:
    """Names, one blob of JPEG bytes, and the (n + 1,) offsets of each image in it."""
    found = downloaded()
    if found:
        say(f"{len(found)} MakeHuman skins")
        images = [(name, _read(path)) for name, path in found]
    else:
        say("no MakeHuman skins under data/raw (npm absent?): painting plain ones")
        images = paint(source)
    blobs = [np.frombuffer(_jpeg(image), np.uint8) for _, image in images]
    offsets = np.concatenate([[0], np.cumsum([len(blob) for blob in blobs])])
    return [name for name, _ in images], torch.from_numpy(np.concatenate(blobs)), torch.from_numpy(offsets)


def decode(blob: Tensor, offsets: Tensor) -> Tensor:
    """(n, 3, 512, 512) float32 textures in [0, 1] of the stored JPEG images."""
    from PIL import Image

    raw, out = blob.numpy().tobytes(), []
    for a, b in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
        image = np.asarray(Image.open(io.BytesIO(raw[a:b])).convert("RGB"))
        out.append(torch.from_numpy(image.copy()).permute(2, 0, 1).float() / 255)
    return torch.stack(out)


def downloaded() -> list[tuple[str, Path]]:
    """(name, file) of each MakeHuman skin on this machine, sorted; suits and cartoons left out."""
    found = []
    for path in sorted(paths.RAW.glob("**/skins/*/textures/*_diffuse*.png")):
        folder, stem = path.parents[1].name, path.stem
        digits = "".join(c for c in stem.rsplit("diffuse", 1)[1] if c.isdigit())
        if folder.count("_") == 2:
            found.append((folder + (digits if folder.startswith("young_caucasian") else ""), path))
    return found


def paint(source) -> list[tuple[str, np.ndarray]]:
    """Plain skins: a tone for each ancestry, blotches, redder cheeks and lips, paler with age.

    Eighteen, with names as the real ones have.
    """
    from scipy.interpolate import LinearNDInterpolator

    flat = source.uv_corners.reshape(-1, 2)
    skin = np.repeat(np.isin(source.part, (0, 6)), 3)
    where = source.reference().numpy()[source.triangles.reshape(-1)]
    grid = (np.arange(SIZE // 2) + 0.5) / (SIZE // 2)
    u, v = np.meshgrid(grid, 1 - grid)
    position = LinearNDInterpolator(flat[skin], where[skin], fill_value=0.0)(u, v)  # (S, S, 3)
    x, y, z = np.abs(position[..., 0]), position[..., 1], position[..., 2]
    lips = np.exp(-(((x / 20) ** 2 + ((y + 48) / 9) ** 2) ** 3)) * (z > 60)
    cheeks = np.exp(-((x - 42) ** 2 + (y + 8) ** 2) / 500) * (z > 40)
    random, images = np.random.default_rng(7), []
    for age, pale in (("young", 0.0), ("middleage", 0.05), ("old", 0.1)):
        for ancestry, tone in TONES.items():
            for gender in ("female", "male"):
                colour = np.asarray(tone) * (1 - pale) + pale * 0.7 + random.normal(0, 0.02, 3)
                blotches = sum(_noise(random, k) / k**0.5 for k in (6, 16, 48, 120)) * (0.02 + pale / 4)
                image = colour + blotches[..., None] * [1, 0.8, 0.7]
                image = (
                    image + cheeks[..., None] * [0.05, -0.02, -0.02] + lips[..., None] * [0.02, -0.12, -0.09]
                )
                images.append((f"{age}_{ancestry}_{gender}", (np.clip(image, 0, 1) * 255).astype(np.uint8)))
    return images


def _noise(random: np.random.Generator, cells: int) -> np.ndarray:
    from PIL import Image

    coarse = Image.fromarray(random.normal(0, 1, (cells, cells)).astype(np.float32))
    return np.asarray(coarse.resize((SIZE // 2, SIZE // 2), Image.Resampling.BICUBIC))


def _read(path: Path) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.open(path).convert("RGB").resize((SIZE, SIZE)))


def _jpeg(image: np.ndarray) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(image).resize((SIZE, SIZE)).save(out, "JPEG", quality=93, subsampling=0)
    return out.getvalue()
