"""What lens, sensor, camera and file make of light: linear radiance becomes an sRGB picture.

`draw_finish` draws one row a picture, `apply_finish` is a pure function of radiance and table: vignetting,
lens and motion blur, low resolution, exposure and white balance, sensor noise, highlight shoulder, sRGB, tone
curve and colours, sharpening, JPEG. An effect that no picture of a batch has costs nothing, one that a row
does not have leaves that picture alone, and `Finish.plain` encodes sRGB only.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from facet.jpeg import LUMA, jpeg
from facet.rendering.shading import LUMINANCE
from facet.synthetic.subjects import Table

REACH = 1 / 16
"""Disks and paths spread light at most this far, in sides of the picture; they are cut off there."""
SEPIA = (1.08, 0.98, 0.78)
_LINEAR_END, _ENCODED_END = 0.0031308, 0.04045  # where the straight part of the sRGB curve ends


@dataclass
class Finish(Table):
    """Camera and file of M pictures; lengths in pixels.

    Attributes:
        vignette: (M, 3) share of light lost at a corner, centre x, y (−1 … 1 across the picture).
        blur: (M,) σ of the lens; defocus: (M,) radius of the disk; motion: (M, 2) path x, y in an exposure.
        shrink: (M,) ≥ 1, the picture was this many times smaller when it was taken.
        exposure: (M,) stops; white_balance: (M, 3) gains.
        noise: (M, 3) variance of shot noise at signal 1, σ of read noise, share of chroma in [0, 1].
        grain: (M, 2) σ by which denoising smeared the noise's luma and chroma; seed: (M,) of the noise.
        knee: (M,) signal at which highlights start to roll off, 1 clips.
        curve: (M, 3) midtones, contrast, black level; saturation, sepia: (M,), of sRGB values.
        sharpen: (M, 2) amount and σ of the halo.
        quality: (M,) of JPEG, 0 is none.
    """

    vignette: Tensor
    blur: Tensor
    defocus: Tensor
    motion: Tensor
    shrink: Tensor
    exposure: Tensor
    white_balance: Tensor
    noise: Tensor
    grain: Tensor
    seed: Tensor
    knee: Tensor
    curve: Tensor
    saturation: Tensor
    sepia: Tensor
    sharpen: Tensor
    quality: Tensor

    @classmethod
    def plain(cls, count: int) -> "Finish":
        """Rows that encode sRGB and change nothing else."""
        one, zero = torch.ones(count), torch.zeros(count)
        return cls(
            vignette=torch.zeros(count, 3),
            blur=zero.clone(),
            defocus=zero.clone(),
            motion=torch.zeros(count, 2),
            shrink=one.clone(),
            exposure=zero.clone(),
            white_balance=torch.ones(count, 3),
            noise=torch.zeros(count, 3),
            grain=torch.zeros(count, 2),
            seed=torch.zeros(count, dtype=torch.int64),
            knee=one.clone(),
            curve=torch.zeros(count, 3),
            saturation=one.clone(),
            sepia=zero.clone(),
            sharpen=torch.zeros(count, 2),
            quality=zero.clone(),
        )


def draw_finish(generator: torch.Generator, count: int, *, image_size: int) -> Finish:
    """Finishes of `count` pictures: mostly decent phone or press photographs, and a tail of bad ones.

    How bad is one number a picture, which the strengths of blur, low resolution, noise and compression share.
    """

    def uniform(low: float = 0.0, high: float = 1.0, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand((count, *shape), generator=generator)

    def normal(spread: float, limit: float = 2.5) -> Tensor:
        return spread * torch.randn(count, generator=generator).clamp(-limit, limit)

    def some(share: float) -> Tensor:
        return (torch.rand(count, generator=generator) < share).float()

    pixel = image_size / 256
    worse = 0.15 + 0.85 * uniform() ** 3
    path = some(0.1) * (uniform(1.0, 3.0) + worse * uniform(0.0, 9.0)) * pixel
    turn = uniform(0.0, math.pi)
    smeared = some(0.4)
    noisy = some(0.75) * (1 - 0.55 * smeared)  # denoising also weakens what it smears
    shot = noisy**2 * 10 ** (uniform(-4.6, -3.7) + 1.3 * worse)
    read = noisy * 10 ** (uniform(-3.6, -3.0) + 0.9 * worse)
    grain = smeared[:, None] * torch.stack([uniform(0.4, 0.8), uniform(0.6, 1.8)], 1) * pixel
    tinted, grey = some(0.7), some(0.04)
    return Finish(
        vignette=torch.cat([(some(0.5) * uniform(0.0, 0.5))[:, None], uniform(-0.6, 0.6, 2)], 1),
        blur=some(0.7) * (uniform(0.3, 0.75) + 0.8 * worse**2 * uniform()) * pixel,
        defocus=some(0.12) * (uniform(0.6, 1.2) + 2.8 * worse * uniform()) * pixel,
        motion=torch.stack([path * turn.cos(), path * turn.sin()], 1),
        shrink=1 + some(0.18) * (uniform(0.2, 0.8) + 3.2 * worse * uniform()),
        exposure=some(0.7) * normal(0.3) + some(0.1) * uniform(-1.8, 1.3),
        white_balance=_balance(
            tinted * normal(0.12) + some(0.05) * uniform(0.1, 0.45), tinted * normal(0.03)
        ),
        noise=torch.stack([shot, read, uniform(0.0, 0.8)], 1),
        grain=grain,
        seed=torch.randint(2**31, (count,), generator=generator),
        knee=1 - some(0.75) * uniform(0.1, 0.5),
        curve=torch.stack(
            [some(0.6) * normal(0.1), some(0.7) * uniform(-0.2, 0.5), some(0.45) * normal(0.02)], 1
        ),
        saturation=(1 - grey) * (1 + some(0.6) * uniform(-0.3, 0.25)),
        sepia=some(0.015) * uniform(0.4, 1.0),
        sharpen=torch.stack([some(0.45) * uniform(0.2, 1.1), uniform(0.6, 1.5) * pixel], 1),
        quality=some(0.85) * (98 - 73 * worse * uniform()),
    )


@torch.no_grad()
def apply_finish(pictures: Tensor, finish: Finish) -> Tensor:
    """Photographs of linear radiance.

    Args:
        pictures: (M, 3, H, W) linear RGB ≥ 0, where 1 is white at exposure 0.
        finish: M rows, on the same device.

    Returns:
        (M, 3, H, W) sRGB in [0, 1].

    Raises:
        ValueError: the table has another number of rows.
    """
    if len(finish) != len(pictures):
        raise ValueError(f"{len(finish)} finishes do not fit {len(pictures)} pictures")
    step = max(1, len(pictures)) if pictures.is_cuda else 1  # on a CPU, what fits its cache
    out = torch.empty_like(pictures, memory_format=torch.contiguous_format)
    for k in range(0, len(pictures), step):
        piece = slice(k, k + step)
        light = pictures[piece].clone(memory_format=torch.contiguous_format)
        out[piece] = _expose(light, finish.rows(piece))
    return out


def _expose(light: Tensor, finish: Finish) -> Tensor:
    """`apply_finish` of a few pictures, which it overwrites."""
    _where(finish.vignette[:, 0] > 0, light, finish, vignette)
    _where(finish.blur > 0, light, finish, soften)
    _where((finish.defocus > 0) | (finish.motion != 0).any(1), light, finish, smudge)
    _where(finish.shrink > 1, light, finish, shrink)
    light *= (finish.white_balance * torch.exp2(finish.exposure)[:, None])[:, :, None, None]
    _where((finish.noise[:, :2] > 0).any(1), light, finish, add_noise)
    _where(finish.knee < 1, light, finish, roll_off)
    out = to_srgb(light)
    _where((finish.saturation != 1) | (finish.sepia > 0), out, finish, recolour)
    _where((finish.curve != 0).any(1), out, finish, bend)
    _where(finish.sharpen[:, 0] > 0, out, finish, sharpen)
    _where(finish.quality > 0, out, finish, lambda p, f: jpeg(p, f.quality, subsample=True))
    return out


def to_srgb(linear: Tensor) -> Tensor:
    """sRGB values of linear light, both in [0, 1] (IEC 61966-2-1); what lies outside is clipped."""
    linear = linear.clamp(0.0, 1.0)
    start = 1.055 * _LINEAR_END ** (1 / 2.4)
    bright = linear.clamp(min=_LINEAR_END).pow_(1 / 2.4).mul_(1.055).sub_(start)
    return bright.add_(linear.clamp_(max=_LINEAR_END), alpha=12.92).clamp_(0.0, 1.0)


def to_linear(encoded: Tensor) -> Tensor:
    """Linear light of sRGB values, the inverse of `to_srgb`."""
    encoded = encoded.clamp(0.0, 1.0)
    start = ((_ENCODED_END + 0.055) / 1.055) ** 2.4
    bright = ((encoded.clamp(min=_ENCODED_END) + 0.055) / 1.055).pow_(2.4).sub_(start)
    return bright.add_(encoded.clamp_(max=_ENCODED_END), alpha=1 / 12.92).clamp_(0.0, 1.0)


def vignette(pictures: Tensor, finish: Finish) -> Tensor:
    """Light falls by 1 − v r², r the distance from the centre in half diagonals."""
    loss, x, y = finish.vignette[:, :, None].unbind(1)
    across, down = (torch.linspace(-1, 1, n, device=pictures.device) for n in pictures.shape[:1:-1])
    far = ((across - x).square()[:, None, :] + (down - y).square()[:, :, None]) / 2
    return pictures * (1 - loss[..., None] * far).clamp(min=0.1)[:, None]


def soften(pictures: Tensor, finish: Finish) -> Tensor:
    """A Gaussian lens."""
    reach = math.ceil(max(pictures.shape[2:]) / 48)
    return _separable(pictures, taps(finish.blur, reach))


def smudge(pictures: Tensor, finish: Finish) -> Tensor:
    """Disk ∗ path, by one Fourier transform; the picture's edge goes on beyond it."""
    height, width = pictures.shape[2:]
    reach = math.ceil(max(height, width) * REACH)
    padded = F.pad(pictures, (reach,) * 4, mode="replicate")
    shape = padded.shape[2:]
    offsets = torch.arange(-reach, reach + 1, device=pictures.device, dtype=pictures.dtype)
    turn = torch.arange(64, device=pictures.device) + 0.5  # a sunflower spiral fills the disk
    angle, radius = turn * (math.pi * (3 - math.sqrt(5))), (turn / 64).sqrt()
    disk = torch.stack([radius * angle.cos(), radius * angle.sin()], 1) * finish.defocus[:, None, None]
    path = torch.linspace(-0.5, 0.5, 49, device=pictures.device)[:, None] * finish.motion[:, None, :]
    response = torch.fft.rfft2(padded)
    for points in (disk, path):
        kernel = F.pad(splat(points, offsets), (0, shape[1] - len(offsets), 0, shape[0] - len(offsets)))
        response *= torch.fft.rfft2(kernel.roll((-reach, -reach), (1, 2)))[:, None]
    out = torch.fft.irfft2(response, s=shape)
    return out[:, :, reach : reach + height, reach : reach + width].clamp(min=0.0)


def splat(points: Tensor, offsets: Tensor) -> Tensor:
    """(N, K, K) kernels, rows first: mean bilinear weights of points (N, T, 2) on a grid of offsets (K,)."""
    across, down = ((1 - (points[..., k, None] - offsets).abs()).clamp(min=0) for k in (0, 1))
    kernel = down.mT @ across
    return kernel / kernel.sum(dim=(1, 2), keepdim=True)


def taps(sigma: Tensor, reach: int) -> Tensor:
    """(N, 2 · reach + 1) Gaussian weights of sum 1, zero beyond 3.5 σ; σ = 0 is the identity."""
    offsets = torch.arange(-reach, reach + 1.0, device=sigma.device)
    weights = torch.exp(-0.5 * (offsets / sigma[:, None].clamp(min=1e-3)).square())
    weights = weights * (offsets.abs() <= (3.5 * sigma[:, None]).ceil())
    return weights / weights.sum(dim=1, keepdim=True)


def shrink(pictures: Tensor, finish: Finish) -> Tensor:
    """Down by area and up by bilinear interpolation: one matrix for the rows, one for the columns."""
    rows, columns = (_resampling(finish.shrink, n)[:, None] for n in pictures.shape[2:])
    return rows @ (pictures @ columns.mT)


def _resampling(factor: Tensor, size: int) -> Tensor:
    """(N, size, size): means over round(size / factor) equal cells, then linear between their centres."""
    cells = (size / factor).round().clamp(min=1)[:, None, None]
    index = torch.arange(size, device=factor.device, dtype=factor.dtype)
    edge, pixel = index[:, None] * (size / cells), index[None, :]
    overlap = torch.minimum(edge + size / cells, pixel + 1) - torch.maximum(edge, pixel)
    down = overlap.clamp(min=0) * (cells / size)
    place = ((index[:, None] + 0.5) * (cells / size) - 0.5).clamp(min=0).minimum(cells - 1)
    up = (1 - (place - index).abs()).clamp(min=0) * (index < cells)
    return up @ down


def add_noise(pictures: Tensor, finish: Finish) -> Tensor:
    """Noise of variance shot · signal + read², part of it alike in the three channels."""
    fields = hashed_normal(finish.seed, (4, *pictures.shape[2:]))
    smear = finish.grain > 0
    _where(smear[:, 0], fields[:, :1], finish, lambda n, f: _smear(n, f.grain[:, 0]))
    _where(smear[:, 1], fields[:, 1:], finish, lambda n, f: _smear(n, f.grain[:, 1]))
    shot, read, chroma = finish.noise[:, :, None, None, None].unbind(1)
    field = fields[:, 1:].mul_(chroma.sqrt()).add_(fields[:, :1] * (1 - chroma).sqrt())
    deviation = (pictures * shot + read.square()).sqrt_()
    return field.mul_(deviation).add_(pictures).clamp_(min=0.0)


def hashed_normal(seed: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """(N, *shape) nearly normal numbers of mean 0 and variance 1 (four summed bytes), the same on any device.

    A 32-bit integer hash of place and seed; products wrap around alike everywhere.
    """
    place = torch.arange(math.prod(shape), device=seed.device, dtype=torch.int32)
    state = _mix(_mix(seed.to(torch.int32))[:, None] ^ place)
    pairs = (state & 0xFF00FF).add_(state.bitwise_right_shift_(8).bitwise_and_(0xFF00FF))
    total = (pairs & 0xFFFF).add_(pairs.bitwise_right_shift_(16))
    return total.to(torch.float32).sub_(510).mul_(math.sqrt(3 / (256**2 - 1))).view(-1, *shape)


def _mix(state: Tensor) -> Tensor:
    """A bijection of int32 that spreads every bit, in place."""
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B - 2**32), (16, 1)):
        state ^= (state >> shift).bitwise_and_(2 ** (32 - shift) - 1)
        state *= factor
    return state


def _smear(noise: Tensor, sigma: Tensor) -> Tensor:
    """Noise (N, C, H, W) blurred, its variance kept."""
    weights = taps(sigma, 6)
    return _separable(noise, weights / weights.square().sum(1, keepdim=True).sqrt())


def _separable(planes: Tensor, weights: Tensor) -> Tensor:
    """Planes (N, C, H, W), edges repeated, filtered both ways with odd symmetric weights (N, K)."""
    reach = weights.shape[1] // 2
    used = [k for k, some in enumerate((weights > 0).any(0).tolist()) if some]
    for axis, pad in ((3, (reach, reach, 0, 0)), (2, (0, 0, reach, reach))):
        padded, size = F.pad(planes, pad, mode="replicate"), planes.shape[axis]
        planes = torch.zeros_like(planes)
        for k in used:
            planes.addcmul_(padded.narrow(axis, k, size), weights[:, k, None, None, None])
    return planes


def roll_off(pictures: Tensor, finish: Finish) -> Tensor:
    """Above the knee k: k + (1 − k)(1 − exp(−(x − k)/(1 − k))), which never clips."""
    knee = finish.knee[:, None, None, None]
    over = (pictures - knee).clamp_(min=0).div_(knee - 1).exp_().neg_().add_(1).mul_(1 - knee)
    return torch.minimum(pictures, knee).add_(over)


def bend(pictures: Tensor, finish: Finish) -> Tensor:
    """Tone curve y + y(1 − y)(m + c(2y − 1)) of sRGB values, monotone for |m| + c ≤ 1, and black level."""
    middle, contrast, black = finish.curve[:, :, None, None, None].unbind(1)
    bow = pictures * contrast.mul(2) + (middle - contrast)
    out = (pictures - pictures.square()).mul_(bow).add_(pictures)
    return out.mul_(1 - black).add_(black).clamp_(0.0, 1.0)


def recolour(pictures: Tensor, finish: Finish) -> Tensor:
    """Saturation about the luma (0 is black and white), then sepia mixed in."""
    luma = torch.tensor(LUMA, device=pictures.device).expand(3, 3)
    brown = torch.tensor(SEPIA, device=pictures.device)[:, None] * luma
    colour, sepia = finish.saturation[:, None, None], finish.sepia[:, None, None]
    matrix = colour * torch.eye(3, device=pictures.device) + (1 - colour) * luma
    matrix = (1 - sepia) * matrix + sepia * brown
    return (matrix @ pictures.flatten(2)).view_as(pictures).clamp_(0.0, 1.0)


def sharpen(pictures: Tensor, finish: Finish) -> Tensor:
    """Unsharp mask of the luma: p + a (y − y ∗ Gauss), with its halo."""
    luma = torch.einsum("nchw,c->nhw", pictures, torch.tensor(LUMA, device=pictures.device))[:, None]
    soft = _separable(luma, taps(finish.sharpen[:, 1], 5))
    halo = (luma - soft).mul_(finish.sharpen[:, 0, None, None, None])
    return (pictures + halo).clamp_(0.0, 1.0)


def _balance(warmth: Tensor, magenta: Tensor) -> Tensor:
    """(N, 3) gains of luminance 1: red up and blue down by `warmth` (in log 2), green down by `magenta`."""
    gains = torch.exp2(torch.stack([warmth, -magenta, -warmth], 1))
    return gains / (gains @ gains.new_tensor(LUMINANCE))[:, None]


def _where(chosen: Tensor, pictures: Tensor, finish: Finish, effect) -> None:
    """Replace the chosen rows of the pictures by the effect's."""
    rows = chosen.nonzero()[:, 0]
    if len(rows) == len(pictures):
        pictures.copy_(effect(pictures, finish))
    elif len(rows):
        pictures[rows] = effect(pictures[rows], finish.rows(rows))
