"""Pictures of fitted coefficients: stitched into the photo, and shape, albedo and light by themselves."""

from __future__ import annotations

import torch
from torch import Tensor

from facet.coefficients.renderer import FaceRenderer
from facet.networks.layout import Coefficients
from facet.rendering import downsample

SHARP = {"sigma": 0.02, "gamma": 0.2, "closed": True}  # for looking at; training blurs more, with seams
SUPERSAMPLING = 2
WHITE = 1.0


@torch.no_grad()
def shown(
    renderer: FaceRenderer,
    coefficients: Coefficients,
    size: int,
    *,
    show: str = "face",
    behind: Tensor | float = WHITE,
) -> Tensor:
    """(B, 3, size, size) pictures in [0, 1].

    Args:
        size: side of the pictures; the face fills them as it does its crop.
        show: "face", "albedo", "light" or "shape".
        behind: photos (B, 3, size, size) to stitch into, or a grey.
    """
    fine = size * SUPERSAMPLING
    picture = renderer.picture(coefficients, fine, crop=size, show=show, **SHARP)
    colour = picture.colour.clamp(0, 1).permute(0, 3, 1, 2)
    layers = downsample(
        torch.cat((colour * picture.alpha[:, None], picture.alpha[:, None]), 1), SUPERSAMPLING
    )
    if not isinstance(behind, Tensor):
        behind = torch.full_like(layers[:, :3], behind)
    return (layers[:, :3] + (1 - layers[:, 3:]) * behind).clamp(0, 1)


def explained(renderer: FaceRenderer, coefficients: Coefficients, photos: Tensor) -> list[Tensor]:
    """Five pictures a photo, one face after another: photo, stitched in, shape, albedo, light."""
    size = photos.shape[-1]
    parts = [photos, shown(renderer, coefficients, size, behind=photos)]
    parts += [shown(renderer, coefficients, size, show=name) for name in ("shape", "albedo", "light")]
    return [part[k] for k in range(len(photos)) for part in parts]


def one_at_a_time(
    renderer: FaceRenderer, layout, changes: dict[str, tuple[int, float]], size: int
) -> list[Tensor]:
    """Pictures of the mean face with one number changed at a time.

    Args:
        layout: of the numbers; changes: name → (which number, its value).
    """
    numbers = torch.zeros(len(changes), layout.total)
    for row, (which, value) in enumerate(changes.values()):
        numbers[row, which] = value
    return list(shown(renderer, layout.read(numbers), size))


def probability(
    corners: Tensor, size: int, *, sigma: float, gamma: float = 1.0, colours: Tensor | None = None
) -> Tensor:
    """(size, size) coverage of triangles (F, 3, 3) on their own, or (size, size, 3) the picture on white."""
    from facet.rendering.soft import soft_rasterise

    vertices = corners.reshape(1, -1, 3)
    triangles = torch.arange(vertices.shape[1]).view(-1, 3)
    paint = torch.zeros(1, vertices.shape[1], 3) if colours is None else colours.repeat_interleave(3, 0)[None]
    options = {"sigma": sigma, "gamma": gamma, "cull_backfaces": False}
    picture = soft_rasterise(vertices, triangles, paint, size, **options)
    if colours is None:
        return picture.alpha[0]
    return picture.over(torch.ones(1, 3, size, size))[0].permute(1, 2, 0)
