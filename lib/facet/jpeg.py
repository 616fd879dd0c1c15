"""What JPEG takes from pictures, in batches, without a file: baseline coding and back (ITU-T T.81)."""

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

LUMA = (0.299, 0.587, 0.114)


def jpeg(pictures: Tensor, quality: Tensor, *, subsample: bool) -> Tensor:
    """Code and decode: the standard tables (annex K), libjpeg's scale of quality.

    Args:
        pictures: (N, 3, H, W) sRGB in [0, 1].
        quality: (N,) 1 … 100, of which the whole part counts.
        subsample: chroma at half size (4:2:0), as cameras and phones do; else 4:4:4.

    Returns:
        (N, 3, H, W) in [0, 1].
    """
    height, width = pictures.shape[2:]
    to_ycc, tables, transform = _constants(pictures.dtype, pictures.device)
    quality = quality.floor()
    percent = torch.where(quality < 50, (5000 / quality).floor(), 200 - 2 * quality)[:, None, None]
    steps = ((tables * percent + 50) / 100).floor().clamp(1.0, 255.0)[:, :, None]  # (N, 3, 1, 64)
    block = 16 if subsample else 8
    padded = F.pad(pictures, (0, -width % block, 0, -height % block), mode="replicate")
    ycc = (255 * to_ycc @ padded.flatten(2)).round_().view_as(padded)
    luma = _quantise(ycc[:, :1] - 128, steps[:, :1], transform) + 128
    chroma = ycc[:, 1:]
    if subsample:
        chroma = chroma[:, :, ::2] + chroma[:, :, 1::2]
        chroma = ((chroma[..., ::2] + chroma[..., 1::2]) / 4).round_()
    chroma = _quantise(chroma, steps[:, 1:], transform)
    if subsample:
        chroma = F.interpolate(chroma, scale_factor=2, mode="bilinear")
    rgb = torch.linalg.inv(to_ycc) / 255 @ torch.cat([luma, chroma], 1).flatten(2)
    return rgb.view_as(padded)[:, :, :height, :width].clamp(0.0, 1.0)


def _quantise(planes: Tensor, steps: Tensor, transform: Tensor) -> Tensor:
    """Planes (N, C, H, W) whose 8 × 8 blocks were rounded to steps (N, C, 1, 64) in the cosine transform."""
    count, channels, height, width = planes.shape
    split = planes.reshape(count, channels, height // 8, 8, width // 8, 8).transpose(3, 4)
    waves = split.reshape(count, channels, -1, 64) @ transform.T
    blocks = waves.div_(steps).round_().mul_(steps) @ transform
    return blocks.round_().view(split.shape).transpose(3, 4).reshape(planes.shape)


@lru_cache(maxsize=8)
def _constants(dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """RGB → YCbCr (3, 3) without offsets, quantisation tables (3, 64), the DCT of a block (64, 64)."""
    to_ycc = [LUMA, (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312)]
    luma = """
        16 11 10 16 24 40 51 61 12 12 14 19 26 58 60 55 14 13 16 24 40 57 69 56 14 17 22 29 51 87 80 62
        18 22 37 56 68 109 103 77 24 35 55 64 81 104 113 92 49 64 78 87 103 121 120 101
        72 92 95 98 112 100 103 99
    """
    corner = ((17, 18, 24, 47), (18, 21, 26, 66), (24, 26, 56, 99), (47, 66, 99, 99))
    chroma = torch.full((8, 8), 99.0)
    chroma[:4, :4] = torch.tensor(corner)
    tables = torch.stack((torch.tensor([float(v) for v in luma.split()]), chroma.flatten(), chroma.flatten()))
    k, n = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    dct = torch.cos(math.pi * (2 * n + 1) * k / 16) / 2
    dct[0] /= math.sqrt(2)
    transform = torch.kron(dct, dct)
    return tuple(t.to(device, dtype) for t in (torch.tensor(to_ycc), tables, transform))
