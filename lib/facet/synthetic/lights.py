"""Light as it falls on people: a soft surrounding, two lights that can be hard, and the shadows of the first.

Light is linear and in the image frame (x right, y down, z toward the camera). Soft light is spherical
harmonics of order 2; what is sharper than they can say stands in the two directional lights. The first of
them, the key, casts shadows of the head, its hair and what it wears: a variance shadow map (Donnelly &
Lauritzen 2006), whose blur is the size of the light.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from facet.rendering.interpolation import turned
from facet.rendering.rasteriser import rasterise
from facet.rendering.shading import (
    LUMINANCE,
    front_normals,
    soft_light,
    spherical_harmonics,
    tint,
    toward,
)
from facet.synthetic.subjects import Table

SHADOW_SIZE = 160  # pixels, side of the shadow map
WIDEST = 5.0  # pixels of the shadow map, largest blur
BIAS = 3.0  # mm that a point may lie behind what hides it
BLEEDING = 0.2  # share of the variance bound that counts as dark


@dataclass
class Lights(Table):
    """The light of M pictures.

    Attributes:
        sh: (M, 9, 3) soft light, coefficients for `spherical_harmonics`.
        direction: (M, 2, 3) unit, toward the two lights, the key first; colour: (M, 2, 3) what a white
            surface that faces them sends back.
        softness: (M,) blur of the key's shadow, mm.
    """

    sh: Tensor
    direction: Tensor
    colour: Tensor
    softness: Tensor


def draw_lights(generator: torch.Generator, count: int) -> Lights:
    """Random light: a sky, a key light (a window to the bare sun), a fill, a bounce, sometimes a rim light.

    The light on a white surface that looks toward the camera, averaged over such directions, is between 0.6
    and 1.2; exposure is the camera's business.
    """

    def draw(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, generator=generator)

    zero = torch.zeros(count)
    azimuth = (math.radians(48) * torch.randn(count, generator=generator)).clamp(-2.3, 2.3)
    elevation = draw(-0.15, 1.1)
    fill = -azimuth.sign() * draw(0.3, 1.6)
    rim = math.pi - azimuth.sign() * draw(0.2, 1.0)
    key = toward(azimuth, elevation)
    strength, colour = draw(0.25, 1.0), tint(generator, (count,), 0.22)
    hardness = (draw(-0.7, 1.0)).clamp(min=0)  # share of the key that is directional: none in two of five
    lobes = (
        (toward(zero, zero + math.pi / 2), draw(0.12, 0.5), tint(generator, (count,), 0.12), draw(0.2, 1.2)),
        (key, strength * (1 - hardness), colour, draw(1.5, 6.0)),
        (toward(fill, draw(-0.2, 0.6)), draw(0.0, 0.35), tint(generator, (count,), 0.2), draw(0.5, 3.0)),
        (toward(zero, zero - 1.2), draw(0.0, 0.18), tint(generator, (count,), 0.25), draw(0.3, 1.5)),
    )
    sh = sum(soft_light(d, s[:, None] * c, sharpness) for d, s, c, sharpness in lobes)
    behind = draw(-1.2, 0.9).clamp(min=0)[:, None] * tint(generator, (count,), 0.25)
    direction = torch.stack((key, toward(rim, draw(0.0, 0.9))), dim=1)
    colours = torch.stack(((strength * hardness)[:, None] * colour, behind), dim=1)
    normals = front_normals().float()
    soft = torch.einsum("nk,bkc->bnc", spherical_harmonics(normals), sh).clamp(min=0)
    hard = (normals @ direction[:, 0].mT).clamp(min=0).mT[..., None] * colours[:, :1]
    level = draw(0.6, 1.2) / ((soft + hard).mean(dim=1) @ torch.tensor(LUMINANCE))
    return Lights(
        sh * level[:, None, None], direction, colours * level[:, None, None], 1.0 + 14.0 * draw(0, 1) ** 2
    )


@dataclass
class Shadows:
    """The key light's view of B scenes: what `shadowed` asks.

    Attributes:
        moments: (B, 2, S, S) blurred depth toward the light and its square; frame: (B, 3, 3) rows right, down
            and toward the light; low: (B, 2), step: (B,) mm: pixel = (frame · point − low) / step.
    """

    moments: Tensor
    frame: Tensor
    low: Tensor
    step: Tensor


def cast(
    points: Tensor, triangles: Tensor, direction: Tensor, softness: Tensor, *, accept=None, opaque: int = 0
) -> Shadows:
    """The shadow map of meshes under a directional light.

    Args:
        points: (B, V, 3) mm, right-handed: x right, y up, z toward the camera.
        triangles: (F, 3) or (B, F, 3).
        direction: (B, 3) toward the light, image frame.
        softness: (B,) standard deviation of the blur, mm.
        accept, opaque: hook of `rasterise`, and how many first triangles it does not concern.
    """
    frame = _light_frame(direction * direction.new_tensor([1.0, -1.0, 1.0]))
    seen = points @ frame.mT
    low, high = seen[..., :2].amin(dim=1), seen[..., :2].amax(dim=1)
    step = (high - low).amax(dim=1) / (SHADOW_SIZE - 5)
    low = low - 2 * step[:, None]
    plane = torch.cat([(seen[..., :2] - low[:, None]) / step[:, None, None], seen[..., 2:]], dim=2)
    depth = rasterise(plane, triangles, SHADOW_SIZE, cull_backfaces=False, accept=accept, opaque=opaque).depth
    far = seen[..., 2].amin(dim=1)[:, None, None]
    depth = torch.maximum(depth, far)
    moments = torch.stack([depth, depth.square()], dim=1)
    return Shadows(_blur(moments, (softness / step).clamp(0.6, WIDEST)), frame, low, step)


def lit(shadows: Shadows, points: Tensor, picture: int) -> Tensor:
    """(N,) share of the key light that reaches points (N, 3) of one picture, mm as in `cast`.

    The one-tailed bound of Chebyshev's inequality on the depths around a point.
    """
    seen = turned(points, shadows.frame[picture])
    size = shadows.moments.shape[-1]
    place = (seen[:, :2] - shadows.low[picture]) / shadows.step[picture] * (2 / (size - 1)) - 1
    found = F.grid_sample(
        shadows.moments[picture : picture + 1], place[None, None], padding_mode="border", align_corners=True
    )
    mean, square = found[0, :, 0]
    behind = (mean - seen[:, 2] - BIAS).clamp_(min=0)
    variance = (square - mean.square()).clamp_(min=1.0)
    return ((variance / (variance + behind.square()) - BLEEDING) / (1 - BLEEDING)).clamp_(0, 1)


def _blur(maps: Tensor, deviation: Tensor) -> Tensor:
    """(B, C, S, S) blurred by a Gaussian of its own for each image, (B,) pixels."""
    batch, channels, size, _ = maps.shape
    reach = math.ceil(2.5 * WIDEST)
    line = torch.arange(-reach, reach + 1, device=maps.device) / deviation[:, None]
    kernel = torch.softmax(-0.5 * line.square(), dim=1).repeat_interleave(channels, dim=0)  # (B C, K)
    planes = F.pad(maps.reshape(1, -1, size, size), (reach,) * 4, mode="replicate")
    planes = F.conv2d(planes, kernel[:, None, :, None], groups=len(kernel))
    return F.conv2d(planes, kernel[:, None, None, :], groups=len(kernel)).view(batch, channels, size, size)


def _light_frame(direction: Tensor) -> Tensor:
    """(B, 3, 3) rows right, down, toward the light, of directions (B, 3)."""
    toward = F.normalize(direction, dim=1)
    up = toward.new_tensor([0.0, 1.0, 0.0]).expand_as(toward)
    side = toward.new_tensor([1.0, 0.0, 0.0]).expand_as(toward)
    helper = torch.where((toward[:, 1:2].abs() > 0.95), side, up)
    right = F.normalize(torch.linalg.cross(helper, toward), dim=1)
    return torch.stack([right, -torch.linalg.cross(toward, right), toward], dim=1)
