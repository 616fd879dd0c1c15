"""Pictures of volumes: slices, voxels as cubes, heat-maps over a photo, labels as colours; arrays alone."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from facet import landmarks68
from facet.pictures import image_array

INSIDE = (0.82, 0.35, 0.55)
GROUP_COLOURS = {
    "jaw": (0.35, 0.70, 0.95), "brow": (0.95, 0.75, 0.20), "nose": (0.45, 0.85, 0.50),
    "eye": (0.95, 0.45, 0.35), "lips": (0.90, 0.45, 0.85),
}  # fmt: skip


def slices(volume: Tensor, photo=None, *, size: int = 160) -> list[np.ndarray]:
    """Three cuts through the middle of what is inside, each (size, size, 3): from the front, side and top.

    Args:
        volume: (D, H, W) probabilities or bool.
        photo: (3, S, S) or (S, S, 3) that the front cut is laid over.
    """
    values = volume.float()
    where = (values > 0.5).nonzero()
    middle = where.float().mean(dim=0).round().long() if len(where) else torch.tensor(values.shape) // 2
    k, i, j = middle.tolist()
    front = _painted(values[k], size, photo)
    side = _painted(values[:, :, j].T, size)  # rows y, columns z: the face looks to the right
    top = _painted(values[:, i], size)  # the camera is at the bottom
    return [front, side, top]


def _painted(cut: Tensor, size: int, photo=None) -> np.ndarray:
    share = torch.nn.functional.interpolate(cut[None, None], (size, size), mode="nearest")[0, 0].numpy()
    if photo is None:
        below = np.ones((size, size, 3), dtype=np.float32)
    else:
        picture = torch.from_numpy(image_array(photo).copy()).permute(2, 0, 1)[None]
        below = torch.nn.functional.interpolate(picture, (size, size), mode="bilinear")[0]
        below = below.permute(1, 2, 0).numpy()
    opacity = 0.75 * share[..., None] if photo is None else 0.6 * share[..., None]
    return (below * (1 - opacity) + opacity * np.array(INSIDE)).clip(0, 1).astype(np.float32)


def cubes(volume: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """The outer sides of the voxels of a bool volume (D, H, W): vertices (N, 3) in voxels, and triangles."""
    inside = torch.nn.functional.pad(volume.bool(), (1,) * 6)
    corners, triangles, count = [], [], 0
    for axis, (u, v) in ((0, (1, 2)), (1, (2, 0)), (2, (0, 1))):
        for step in (1, -1):
            open_side = inside & ~torch.roll(inside, -step, dims=axis)
            at = open_side.nonzero().float() - 1
            if not len(at):
                continue
            quad = torch.zeros(4, 3)
            quad[:, axis] = 0.5 * step
            ends = torch.tensor([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * 0.5
            quad[:, u], quad[:, v] = ends[:, 0], ends[:, 1] * step
            place = (at[:, None] + quad).reshape(-1, 3)
            start = count + 4 * torch.arange(len(at))[:, None, None]
            # seen from outside in the right-handed frame, which turns y: the order is reversed
            triangles.append((start + torch.tensor([[0, 1, 2], [0, 2, 3]])).reshape(-1, 3))
            corners.append(place.flip(1))  # (z, y, x) to (x, y, z)
            count += len(place)
    return torch.cat(corners).numpy(), torch.cat(triangles).numpy()


def heat(photo, maps: Tensor, *, strength: float = 0.85) -> np.ndarray:
    """(S, S, 3) the photo, darkened, with heat-maps (68, h, h) in [0, 1] over it, one colour a part."""
    picture = 0.45 * image_array(photo)
    size = picture.shape[0]
    shown = torch.nn.functional.interpolate(maps[None].float(), (size, size), mode="bilinear")[0].numpy()
    out = picture.copy()
    for group, members in landmarks68.GROUPS.items():
        colour = next(c for part, c in GROUP_COLOURS.items() if part in group or _alias(part, group))
        level = strength * shown[list(members)].max(axis=0)[..., None]
        out = out * (1 - level) + level * np.array(colour)
    return out.clip(0, 1).astype(np.float32)


def _alias(part: str, group: str) -> bool:
    return part == "nose" and group == "nostrils"


def label_colours(labels: np.ndarray) -> np.ndarray:
    """(V, 3) a colour for every label, pale for vertices without one; the smallest labels differ most."""
    golden = 0.61803398875
    hue = (labels.astype(np.float64) * golden) % 1.0
    k = (np.array([0.0, 8.0, 4.0])[None] + 12 * hue[:, None]) % 12
    light = 0.62
    colours = light - 0.34 * np.clip(np.minimum(k - 3, 9 - k), -1, 1)
    colours[labels < 0] = 0.88
    return colours
