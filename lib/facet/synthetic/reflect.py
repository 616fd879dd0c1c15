"""What skin, hair, eyes and cloth send back of the light on them, in linear light.

Diffuse light wraps around the terminator, red farthest: the cheapest likeness of light that travels under the
skin. Shine is a microfacet lobe (Walter et al. 2007) with Schlick's Fresnel term, hair's is Kajiya & Kay's
(1989) around the strand. Soft light shines too: the harmonics, looked up along the mirrored view.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from facet.rendering.shading import radiosity
from facet.synthetic.lights import Lights, Shadows, lit

WRAP = (0.32, 0.14, 0.08)  # of skin: how far red, green and blue reach around the terminator
DIELECTRIC = 0.028  # reflectance of skin seen straight on
BRIGHTEST = 0.6  # of a lobe: beyond, single samples sparkle


@dataclass
class Surface:
    """N samples of one picture; what has several columns is stored column by column.

    Attributes:
        soft: how many first ones may wrap, the others do not.
        albedo: (N, 3) linear; specular: (N,) factor on the shine; roughness: (N,); wrap: (N,) 1 skin, 0
            opaque.
        normals: (N, 3) unit, image frame (y down); points: (N, 3) mm as shadows were cast.
        occlusion: (N,) share of the surrounding that is seen.
    """

    soft: int
    albedo: Tensor
    specular: Tensor
    roughness: Tensor
    wrap: Tensor
    normals: Tensor
    points: Tensor
    occlusion: Tensor


def reflect(surface: Surface, lights: Lights, shadows: Shadows, picture: int) -> tuple[Tensor, Tensor]:
    """Light (N, 3) toward a camera on the z axis, and (N,) the share of the key light that arrives.

    Args:
        lights, shadows: of several pictures; picture: which of them.
    """
    normals, roughness, open_ = surface.normals, surface.roughness, surface.occlusion
    sh = lights.sh[picture]
    key = lit(shadows, surface.points, picture)
    pale = 1 - 0.35 * surface.wrap[:, None] * surface.albedo  # pale skin lights its own hollows
    light = radiosity(normals, sh).clamp_(min=0)
    _dim(light, open_, pale, surface.soft)
    mirrored = 2 * normals[:, 2:] * normals
    mirrored[:, 2] -= 1
    grazing = (1 - normals[:, 2].clamp(0, 1)) ** 5
    share = (DIELECTRIC + 0.25 * grazing) * (1 - roughness) * open_
    shine = radiosity(mirrored, sh).clamp_(min=0) * share[:, None]
    fringe = (normals.new_tensor(WRAP)[:, None] * surface.wrap).mT
    for k in range(2):
        toward, colour = lights.direction[picture, k], lights.colour[picture, k]
        if not bool(colour.any()):
            continue
        arrives = key if k == 0 else open_.square()  # no shadow map for the second light
        cosine = normals @ toward
        bent = ((cosine[:, None] + fringe) / (1 + fringe)).clamp_(min=0) * colour
        light += _dim(bent, arrives, 1 - 0.5 * fringe, surface.soft)
        shine += colour * (_lobe(normals, toward, cosine, roughness) * arrives)[:, None]
    return surface.albedo * light + surface.specular[:, None] * shine, key


def _dim(light: Tensor, share: Tensor, power: Tensor, soft: int) -> Tensor:
    """Light (N, 3) times share (N,) to a power (N, 3) that is 1 but in the first rows; in place."""
    light[:soft] *= share[:soft, None] ** power[:soft].contiguous()
    light[soft:] *= share[soft:, None]
    return light


def strand_shine(tangent: Tensor, albedo: Tensor, key: Tensor, lights: Lights, picture: int) -> Tensor:
    """(K, 3) shine of hair: a white lobe at the light, a coloured one a little further along the strand.

    Args:
        tangent: (K, 3) unit, image frame; key: (K,) share of the key light that arrives.
    """
    total = torch.zeros_like(albedo)
    for k in range(2):
        colour = lights.colour[picture, k]
        half = F.normalize(lights.direction[picture, k] + tangent.new_tensor([0.0, 0.0, 1.0]), dim=0)
        along = tangent @ half
        white = 0.06 * (1 - along.square()).clamp(min=0) ** 30
        tinted = 0.35 * (1 - (along + 0.15).square()).clamp(min=0) ** 7
        lobe = white[:, None] + tinted[:, None] * albedo
        total += colour * (lobe * key[:, None] if k == 0 else lobe)
    return total


def _lobe(normals: Tensor, toward: Tensor, cosine: Tensor, roughness: Tensor) -> Tensor:
    """(N,) microfacet lobe times the cosine, over π as the diffuse light is: GGX with Fresnel."""
    half = F.normalize(toward + toward.new_tensor([0.0, 0.0, 1.0]), dim=0)
    alpha = roughness.square()
    narrow = alpha.square()
    spread = narrow / ((normals @ half).clamp(min=0).square() * (narrow - 1) + 1).square().clamp(min=1e-6)
    fresnel = DIELECTRIC + (1 - DIELECTRIC) * (1 - half[2].clamp(0, 1)) ** 5
    seen, met, share = normals[:, 2].clamp(min=0.05), cosine.clamp(min=0), alpha / 2
    visible = 0.25 / ((seen * (1 - share) + share) * (met * (1 - share) + share).clamp(min=0.02))
    return (spread * fresnel * visible * met).clamp_(max=BRIGHTEST)
