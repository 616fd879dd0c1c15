"""What cameras, light and files do to a photograph's pixels: the parts of `augment.augment_colour`.

Each function takes photos (N, 3, H, W), a generator and the ranges of an `augment.Augmentation`, and returns
photos of the same shape, in [0, 1] up to rounding. Draws are few and small and made on the generator's
device; rare effects are computed only for the photos that get them.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from facet.jpeg import LUMA, jpeg

if TYPE_CHECKING:
    from facet.augment import Augmentation


def colours(photos: Tensor, generator: torch.Generator, augmentation: Augmentation) -> Tensor:
    """Channel scale, brightness, contrast about the mean, saturation, grey, a light ramp.

    One 3×3 matrix a photo, diag(channel) · contrast · (saturation I + (1 − saturation) 1 luma), applied
    about the photo's mean.
    """
    count = photos.shape[0]
    a = augmentation
    channel = _channel_factors(generator, count, a)
    brightness = _uniform(generator, (count, 1), (-a.brightness, a.brightness))
    contrast = _uniform(generator, (count, 1), a.contrast)
    saturation = _uniform(generator, (count, 1), a.saturation)
    grey = torch.rand((count, 1), generator=generator, device=generator.device) < a.grey
    saturation = saturation.masked_fill(grey, 0.0)
    channel = torch.where(grey, channel.mean(dim=1, keepdim=True), channel)
    unit = torch.eye(3, device=generator.device)
    luma = torch.tensor(LUMA, device=generator.device).expand(3, 3)
    mixing = saturation[:, :, None] * unit + (1 - saturation[:, :, None]) * luma
    matrix = (channel[:, :, None] * contrast[:, :, None] * mixing).to(photos)
    flat = photos.flatten(2)
    mean = flat.mean(dim=2)
    level = (mean @ torch.tensor(LUMA, device=photos.device, dtype=photos.dtype))[:, None]
    offset = (channel * (1 - contrast)).to(photos) * level + brightness.to(photos)
    out = (matrix @ flat).add_(offset[:, :, None]).view_as(photos)  # quicker than baddbmm
    if a.shade > 0:
        out *= _ramp(generator, count, a.shade, photos)
    return out.clamp_(0.0, 1.0)


def soften(photos: Tensor, generator: torch.Generator, augmentation: Augmentation) -> Tensor:
    """Gaussian blur of some photos, shrinking and enlarging of some."""
    count, _, height, width = photos.shape
    draw = torch.rand((4, count), generator=generator, device=generator.device)
    largest = augmentation.blur[1] * width / 128
    some = (draw[0] < augmentation.blur[0]).nonzero()[:, 0].to(photos.device)
    if some.numel() and largest > 0:
        sigma = (0.2 + 0.8 * draw[1].to(photos.device)[some]) * largest
        photos[some] = gaussian_blur(photos[some], sigma)
    for i in (draw[2] < augmentation.resample[0]).nonzero()[:, 0].tolist():
        factor = 1 + float(draw[3, i]) * (augmentation.resample[1] - 1)
        small = (max(8, round(height / factor)), max(8, round(width / factor)))
        shrunk = F.interpolate(photos[i : i + 1], small, mode="bilinear", antialias=True)
        photos[i] = F.interpolate(shrunk, (height, width), mode="bilinear")[0]
    return photos


def gaussian_blur(photos: Tensor, sigma: Tensor) -> Tensor:
    """Blur each photo (N, 3, H, W) with its own standard deviation (N,) in pixels; edges are repeated."""
    count, channels, height, width = photos.shape
    radius = max(1, math.ceil(2.5 * float(sigma.max())))
    offsets = torch.arange(-radius, radius + 1, device=photos.device, dtype=photos.dtype)
    kernel = torch.exp(-0.5 * (offsets / sigma[:, None].to(photos)) ** 2)
    kernel = (kernel / kernel.sum(dim=1, keepdim=True)).repeat_interleave(channels, dim=0)[:, None, None]
    planes = photos.reshape(1, count * channels, height, width)
    planes = F.pad(planes, (radius, radius, radius, radius), mode="replicate")
    planes = F.conv2d(planes, kernel, groups=count * channels)
    planes = F.conv2d(planes, kernel.mT, groups=count * channels)
    return planes.view(count, channels, height, width)


def gamma(photos: Tensor, generator: torch.Generator, augmentation: Augmentation) -> Tensor:
    """Raise some photos to a power."""
    draw = torch.rand((2, photos.shape[0]), generator=generator, device=generator.device)
    some = (draw[0] < augmentation.gamma[0]).nonzero()[:, 0]
    if some.numel():
        power = torch.exp((2 * draw[1, some] - 1) * math.log(augmentation.gamma[1])).to(photos)
        some = some.to(photos.device)
        photos[some] = photos[some].clamp_(min=1e-6).pow_(power[:, None, None, None])
    return photos


def occlude(photos: Tensor, generator: torch.Generator, augmentation: Augmentation) -> Tensor:
    """Paint random boxes over some photos: their number, place, size and filling are random."""
    a = augmentation
    count, _, height, width = photos.shape
    low, high = a.box_count
    draw = torch.rand((count, high, 9), generator=generator, device=generator.device).tolist()
    chance = torch.rand((count, 2), generator=generator, device=generator.device).tolist()
    tile = (
        _noise_tile(generator, max(height, width), photos) if "noise" in a.box_fill and a.boxes > 0 else None
    )
    for i, (has_boxes, number) in enumerate(chance):
        if has_boxes >= a.boxes:
            continue
        for x, y, w, h, kind, *rest in draw[i][: low + int(number * (high - low + 1))]:
            box_w = max(1, round(width * (a.box_size[0] + w * (a.box_size[1] - a.box_size[0]))))
            box_h = max(1, round(height * (a.box_size[0] + h * (a.box_size[1] - a.box_size[0]))))
            left, top = round(x * width - box_w / 2), round(y * height - box_h / 2)
            rows, columns = slice(max(0, top), max(0, top + box_h)), slice(max(0, left), max(0, left + box_w))
            target = photos[i, :, rows, columns]
            fill = a.box_fill[int(kind * len(a.box_fill))]
            target.copy_(_filling(fill, rest, target, tile))
    return photos


def add_noise(photos: Tensor, generator: torch.Generator, augmentation: Augmentation) -> Tensor:
    """Gaussian noise of a random strength a photo, and random colours in a random share of the pixels.

    Normal draws are dear: one tile, larger than a photo, is drawn for the whole batch, and each photo reads
    it at its own offset, with its own sign.
    """
    count, _, height, width = photos.shape
    draw = torch.rand((6, count), generator=generator, device=generator.device)
    if augmentation.noise > 0:
        tile = torch.randn((3, 2 * height, 2 * width), generator=generator, device=generator.device)
        tile = tile.to(photos)
        strength = draw[0] * augmentation.noise * (draw[1] < augmentation.noise_chance)
        signed = (strength * torch.where(draw[5] < 0.5, -1.0, 1.0)).tolist()
        tops, lefts = (draw[2] * height).long().tolist(), (draw[3] * width).long().tolist()
        for i, amount in enumerate(signed):
            part = tile[:, tops[i] : tops[i] + height, lefts[i] : lefts[i] + width]
            photos[i].add_(part, alpha=amount)
        photos.clamp_(0.0, 1.0)
    chance, share = augmentation.uniform_noise
    for i in (draw[4] < chance).nonzero()[:, 0].tolist():
        which = torch.rand((1, height, width), generator=generator, device=generator.device)
        values = torch.rand((3, height, width), generator=generator, device=generator.device).to(photos)
        photos[i] = torch.where((which < share * float(draw[0, i])).to(photos.device), values, photos[i])
    return photos


def combine(photos: Tensor, generator: torch.Generator, augmentation: Augmentation) -> Tensor:
    """For each photo some of Gaussian noise, random colours and boxes: `augmentation.kinds` says how many."""
    count = photos.shape[0]
    low, high = augmentation.kinds
    draw = torch.rand((count, 4), generator=generator, device=generator.device)
    number = low + (draw[:, 3:] * (high - low + 1)).floor()
    chosen = draw[:, :3].argsort(dim=1).argsort(dim=1) < number  # (N, 3)
    plain = {"boxes": 0.0, "noise": 0.0, "uniform_noise": (0.0, 0.0)}
    always = {"noise": augmentation.noise, "noise_chance": 1.0}
    share = {"uniform_noise": (1.0, augmentation.uniform_noise[1])}
    changes = ((add_noise, always), (add_noise, share), (occlude, {"boxes": 1.0}))
    for some, (change, settings) in zip(chosen.T, changes, strict=True):
        rows = some.nonzero()[:, 0].to(photos.device)
        if rows.numel():
            only = replace(augmentation, **{**plain, **settings})
            photos[rows] = change(photos[rows], generator, only)
    return photos


def compress(photos: Tensor, generator: torch.Generator, augmentation: Augmentation) -> Tensor:
    """What JPEG takes from some photos, at a random quality."""
    draw = torch.rand((2, photos.shape[0]), generator=generator, device=generator.device)
    some = (draw[0] < augmentation.jpeg[0]).nonzero()[:, 0]
    if some.numel():
        lowest = augmentation.jpeg[1]
        quality = (lowest + (90 - lowest) * draw[1, some]).to(photos)
        some = some.to(photos.device)
        photos[some] = jpeg(photos[some], quality, subsample=False)
    return photos


def _channel_factors(generator: torch.Generator, count: int, a: Augmentation) -> Tensor:
    """(N, 3) factors; as many channels as drawn are changed, the others keep 1."""
    factor = _uniform(generator, (count, 3), a.channel_scale)
    order = torch.rand((count, 4), generator=generator, device=generator.device)
    low, high = a.channels
    number = low + (order[:, 3:] * (high - low + 1)).floor()
    rank = order[:, :3].argsort(dim=1).argsort(dim=1)
    return torch.where(rank < number, factor, 1.0)


def _ramp(generator: torch.Generator, count: int, shade: float, like: Tensor) -> Tensor:
    """(N, 1, H, W) factors 1 + strength · (a unit direction · position in [−1, 1]²)."""
    draw = torch.rand((2, count), generator=generator, device=generator.device)
    turn, strength = 2 * math.pi * draw[0], shade * draw[1]
    weight = torch.stack((strength * torch.cos(turn), strength * torch.sin(turn)), dim=1).to(like)
    height, width = like.shape[2:]
    y = torch.linspace(-1, 1, height, device=like.device, dtype=like.dtype)
    x = torch.linspace(-1, 1, width, device=like.device, dtype=like.dtype)
    ramp = 1 + weight[:, 0, None, None] * x + weight[:, 1, None, None] * y[:, None]
    return ramp[:, None]


def _noise_tile(generator: torch.Generator, size: int, like: Tensor) -> Tensor:
    """(3, size, size) coloured noise in grains of about a fortieth of the picture."""
    grain = max(2, size // 40)
    coarse = torch.rand(
        (1, 3, -(-size // grain), -(-size // grain)), generator=generator, device=generator.device
    )
    tile = F.interpolate(coarse, scale_factor=float(grain), mode="nearest")[0, :, :size, :size]
    return tile.to(like)


def _filling(kind: str, numbers: list[float], target: Tensor, tile: Tensor | None) -> Tensor:
    """What fills a box (3, h, w); `numbers` are three or more draws from U[0, 1]."""
    if kind == "black":
        return torch.zeros_like(target)
    if kind == "colour":
        return target.new_tensor(numbers[:3])[:, None, None].expand_as(target)
    if kind == "noise":
        height, width = target.shape[1:]
        top = int(numbers[0] * (tile.shape[1] - height))
        left = int(numbers[1] * (tile.shape[2] - width))
        return tile[:, top : top + height, left : left + width]
    raise ValueError(f'box_fill holds "black", "colour" or "noise", got {kind!r}')


def _uniform(generator: torch.Generator, shape: tuple[int, ...], span: tuple[float, float]) -> Tensor:
    low, high = span
    return low + (high - low) * torch.rand(shape, generator=generator, device=generator.device)
