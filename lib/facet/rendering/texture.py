"""Texture lookup: bilinear, antialiased through a pyramid, and alpha by stochastic coverage.

Texture coordinates: u right, v down from the top of the texture, both in [0, 1]; texel (i, j) of an H × W
texture is centred at u = (j + ½)/W, v = (i + ½)/H. Beyond the outermost centres the edge texels go on.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(eq=False)
class Pyramid:
    """A texture and its halvings in one table (Williams 1983); build once, sample often.

    Attributes:
        texels: (B, T, C), the levels one after another, each row by row.
        sizes: (L, 2) int64 height and width of each level.
        starts: (L,) int64 first texel of each level.
    """

    texels: Tensor
    sizes: Tensor
    starts: Tensor


def pyramid(texture: Tensor, levels: int | None = None) -> Pyramid:
    """The levels of a texture (B, C, H, W), each the area average of the last at half size, down to 1 × 1."""
    images = [texture]
    while max(images[-1].shape[2:]) > 1 and (levels is None or len(images) < levels):
        height, width = images[-1].shape[2:]
        images.append(functional.adaptive_avg_pool2d(images[-1], ((height + 1) // 2, (width + 1) // 2)))
    sizes = torch.tensor([image.shape[2:] for image in images], device=texture.device)
    counts = sizes.prod(1)
    texels = torch.cat([image.flatten(2) for image in images], 2).transpose(1, 2).contiguous()
    return Pyramid(texels, sizes, counts.cumsum(0) - counts)


def sample_texture(
    texture: Tensor | Pyramid, uv: Tensor, *, antialias: bool = False, mask: Tensor | None = None
) -> Tensor:
    """Texture colours at each pixel.

    Args:
        texture: (B, C, Ht, Wt) or (1, C, Ht, Wt), or its `pyramid`.
        uv: (B, H, W, 2), u right and v down from the top of the texture.
        antialias: blend the two levels of the pyramid that fit the pixel's footprint; else bilinear.
        mask: (B, H, W) bool, pixels to look up (`Fragments.mask`), 0 elsewhere; footprints end at it.

    Returns:
        (B, H, W, C).

    Raises:
        ValueError: the batches do not fit.
    """
    table = texture if isinstance(texture, Pyramid) else pyramid(texture, None if antialias else 1)
    batch, height, width = uv.shape[:3]
    if len(table.texels) not in (1, batch):
        raise ValueError(f"{len(table.texels)} textures do not fit {batch} images")
    level = footprint_level(uv, tuple(table.sizes[0].tolist()), mask).reshape(-1) if antialias else None
    chosen = torch.arange(uv[..., 0].numel(), device=uv.device)
    if mask is not None:
        chosen = mask.flatten().nonzero().squeeze(1)
    image = torch.div(chosen, height * width, rounding_mode="floor")
    colours = sample_points(
        table, image, uv.reshape(-1, 2).index_select(0, chosen), None if level is None else level[chosen]
    )
    empty = colours.new_zeros(batch * height * width, colours.shape[1])
    return empty.index_copy(0, chosen, colours).view(batch, height, width, -1)


def sample_points(table: Pyramid, image: Tensor, uv: Tensor, level: Tensor | None = None) -> Tensor:
    """Colours at points: image (N,) int64, uv (N, 2), level (N,) float in halvings or None → (N, C)."""
    if len(table.texels) == 1:
        image = torch.zeros_like(image)
    base = image * table.texels.shape[1]
    if level is None:
        return _bilinear(table, base, uv, torch.zeros_like(image))
    level = level.clamp(0, len(table.sizes) - 1)
    fine = level.floor()
    blend = (level - fine).to(table.texels.dtype)[:, None]
    fine = fine.to(torch.int64)
    coarse = (fine + 1).clamp(max=len(table.sizes) - 1)
    return _bilinear(table, base, uv, fine) * (1 - blend) + _bilinear(table, base, uv, coarse) * blend


def _bilinear(table: Pyramid, base: Tensor, uv: Tensor, level: Tensor) -> Tensor:
    """(N, C) from the given level of each point; base is the first texel of its image's table."""
    size = table.sizes[level].flip(1)  # (N, 2) width and height
    place = (uv * size - 0.5).clamp(min=0).minimum((size - 1).to(uv.dtype))
    low = place.detach().floor()
    fraction = (place - low).to(table.texels.dtype)
    low = low.to(torch.int64)
    high = torch.minimum(low + 1, size - 1)
    base = base + table.starts[level]
    top, bottom = base + low[:, 1] * size[:, 0], base + high[:, 1] * size[:, 0]
    texels = table.texels.reshape(-1, table.texels.shape[2])
    right, down = fraction[:, :1], fraction[:, 1:]
    upper = texels[top + low[:, 0]] * (1 - right) + texels[top + high[:, 0]] * right
    lower = texels[bottom + low[:, 0]] * (1 - right) + texels[bottom + high[:, 0]] * right
    return upper * (1 - down) + lower * down


def footprint_level(uv: Tensor, size: tuple[int, int], mask: Tensor | None = None) -> Tensor:
    """Level of the pyramid that fits each pixel: log2 of its larger side in texels, at least 0.

    Differences go to the nearer of the two neighbours in texture space, so that seams and silhouettes, where
    one of them lies on another part of the texture, do not blur.

    Args:
        uv: (B, H, W, 2).
        size: (Ht, Wt) of the texture.
        mask: (B, H, W) bool; neighbours outside it do not count.

    Returns:
        (B, H, W) float, without gradients.
    """
    with torch.no_grad():
        texels = uv * uv.new_tensor([size[1], size[0]])
        sides = [_step(texels, axis, mask) for axis in (1, 2)]
        return torch.maximum(*sides).clamp(min=1).log2()


def _step(texels: Tensor, axis: int, mask: Tensor | None) -> Tensor:
    """(B, H, W) distance to the nearer neighbour along an image axis, 0 where there is none."""
    length = texels.shape[axis]
    step = texels.diff(dim=axis).norm(dim=-1)
    if mask is not None:
        both = mask.narrow(axis, 1, length - 1) & mask.narrow(axis, 0, length - 1)
        step = step.masked_fill(~both, torch.inf)
    border = torch.full_like(texels[..., 0].narrow(axis, 0, 1), torch.inf)
    nearer = torch.minimum(torch.cat([step, border], axis), torch.cat([border, step], axis))
    return nearer.masked_fill(nearer.isinf(), 0)


def hashed(seed: Tensor, *parts: Tensor) -> Tensor:
    """Float32 in [0, 1) of integer seeds and parts of shapes that broadcast, the same on every device.

    Steps of Knuth's MMIX generator, high bits brought down to the low ones; products wrap around alike
    everywhere. One step more at the end unties neighbours, which differ in the last part alone.
    """
    state = seed
    for part in (*parts, 0):
        state = (state ^ part).mul_(0x5851F42D4C957F2D).add_(0x14057B7EF767814F)
        state ^= (state >> 29).bitwise_and_(0x7FFFFFFFF)
    return (state >> 24).bitwise_and_(0xFFFFFF).to(torch.float32).div_(0x1000000)
