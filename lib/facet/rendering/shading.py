"""Light on Lambertian surfaces: spherical harmonics of order 2, directional lights, random natural light.

Directions are in the frame of the normals; `random_sh` speaks of the image frame (x right, y down, z toward
the camera), so light from above has y < 0. Colours are linear factors; an image in sRGB shaded as if it were
linear is the usual simplification of this field.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

# Real orthonormal harmonics in the order (l, m) = (0,0) (1,-1) (1,0) (1,1) (2,-2) (2,-1) (2,0) (2,1) (2,2):
# c, c y, c z, c x, c xy, c yz, c (3z² - 1), c xz, c (x² - y²), without the Condon-Shortley sign.
_CONSTANTS = (
    math.sqrt(1 / (4 * math.pi)),
    *(math.sqrt(3 / (4 * math.pi)),) * 3,
    *(math.sqrt(15 / (4 * math.pi)),) * 2,
    math.sqrt(5 / (16 * math.pi)),
    math.sqrt(15 / (4 * math.pi)),
    math.sqrt(15 / (16 * math.pi)),
)
_DEGREES = (0, 1, 1, 1, 2, 2, 2, 2, 2)
LUMINANCE = (0.2126, 0.7152, 0.0722)  # of linear red, green, blue (ITU-R BT.709)
# Clamped-cosine convolution over π: A_l/π = 1, 2/3, 1/4 (Ramamoorthi & Hanrahan 2001, eq. 8).
_LAMBERT = (1.0, 2 / 3, 1 / 4)


def harmonics(directions: Tensor) -> Tensor:
    """Real orthonormal spherical harmonics Y_lm up to l = 2 of unit directions: (..., 3) → (..., 9)."""
    return torch.stack(_harmonics(directions), -1)


def _harmonics(directions: Tensor) -> list[Tensor]:
    x, y, z = directions.unbind(-1)
    terms = (torch.ones_like(x), y, z, x, x * y, y * z, 3 * z * z - 1, x * z, x * x - y * y)
    return [c * term for c, term in zip(_CONSTANTS, terms, strict=True)]


def spherical_harmonics(normals: Tensor) -> Tensor:
    """The basis in which light coefficients give the radiosity of a white Lambertian surface.

    radiosity(n) = (1/π) ∫ L(ω) max(0, n·ω) dω = Σ_lm L_lm (A_l/π) Y_lm(n) for radiance L = Σ L_lm Y_lm, with
    A_l/π = 1, 2/3, 1/4 (Ramamoorthi & Hanrahan 2001). Order (0,0) (1,-1) (1,0) (1,1) (2,-2) (2,-1) (2,0)
    (2,1) (2,2), proportional to 1, y, z, x, xy, yz, 3z²-1, xz, x²-y². Uniform radiance 1 is L_00 = √(4π), the
    rest 0, and gives 1.

    Args:
        normals: (..., 3), unit.

    Returns:
        (..., 9).
    """
    lambert = normals.new_tensor([_LAMBERT[degree] for degree in _DEGREES])
    return harmonics(normals) * lambert


def radiosity(normals: Tensor, sh: Tensor) -> Tensor:
    """(N, 3) radiosity of white surfaces under coefficients (9, 3) of `spherical_harmonics`.

    Args:
        normals: (N, 3), unit, stored column by column as the result is.
    """
    count = len(normals)
    padded = F.pad(normals.mT, (0, -count % 16)).mT  # products round alike in whole blocks only
    terms = [_LAMBERT[degree] * term for degree, term in zip(_DEGREES, _harmonics(padded), strict=True)]
    return (sh.mT @ torch.stack(terms))[:, :count].mT


def soft_light(direction: Tensor, colour: Tensor, sharpness: Tensor) -> Tensor:
    """Coefficients of a soft lobe of light: a von Mises-Fisher distribution of radiance around a direction.

    L_lm = c a_l(κ) Y_lm(d) with a_0 = 1, a_1 = coth κ - 1/κ, a_2 = 1 - 3 a_1/κ, scaled by c so that a white
    surface facing the light has the given colour. κ → 0 is ambient light, κ → ∞ a directional one, cut at
    order 2.

    Args:
        direction: (..., 3), unit, toward the light.
        colour: (..., 3).
        sharpness: (...), κ > 0.

    Returns:
        (..., 9, 3).
    """
    kappa = sharpness.double().clamp(min=1e-2)
    first = 1 / kappa.tanh() - 1 / kappa
    attenuation = torch.stack([torch.ones_like(kappa), first, 1 - 3 * first / kappa], -1)
    # Σ_m Y_lm(d)² = (2l + 1)/4π
    gain = attenuation.new_tensor(
        [_LAMBERT[degree] * (2 * degree + 1) / (4 * math.pi) for degree in range(3)]
    )
    facing = (attenuation * gain).sum(-1, keepdim=True)
    lobe = (attenuation / facing)[..., list(_DEGREES)].to(direction.dtype) * harmonics(direction)
    return lobe[..., None] * colour[..., None, :]


def shade(
    albedo: Tensor,
    normals: Tensor,
    sh: Tensor | None,
    directional: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """Albedo times the light that reaches a Lambertian surface; no shadows.

    Args:
        albedo: (B, H, W, 3).
        normals: (B, H, W, 3), unit, outward; zero where the image is empty.
        sh: (B, 9, 3) coefficients of `spherical_harmonics`, or None.
        directional: direction (B, 3) or (B, L, 3) toward each light, of any length, and colour of the same
            shape, the radiosity of a white surface that faces it; or None.

    Returns:
        (B, H, W, 3), not below 0; strong light exceeds 1.

    Raises:
        ValueError: there is no light at all.
    """
    if sh is None and directional is None:
        raise ValueError("shade needs spherical harmonics, a directional light, or both")
    light = torch.zeros_like(albedo)
    if sh is not None:
        light = torch.einsum("bhwk,bkc->bhwc", spherical_harmonics(normals), sh).clamp(min=0)
    if directional is not None:
        direction, colour = (part if part.ndim == 3 else part[:, None] for part in directional)
        direction = F.normalize(direction, dim=-1)
        cosine = torch.einsum("bhwx,blx->bhwl", normals, direction).clamp(min=0)
        light = light + torch.einsum("bhwl,blc->bhwc", cosine, colour)
    return albedo * light


def tint(generator: torch.Generator, shape: tuple[int, ...], cast: float) -> Tensor:
    """(*shape, 3) colours near white, with a warm (red up, blue down) or cool cast and luminance 1."""
    warmth = torch.empty(shape, device=generator.device).uniform_(-cast, cast, generator=generator)
    green = torch.empty(shape, device=generator.device).uniform_(-cast / 5, cast / 5, generator=generator)
    colour = torch.stack([1 + warmth, 1 + green, 1 - warmth], -1)
    return colour / (colour @ colour.new_tensor(LUMINANCE))[..., None]


def toward(azimuth: Tensor, elevation: Tensor) -> Tensor:
    """(..., 3) unit directions of the image frame; azimuth to the right, elevation upward, in radians."""
    across = elevation.cos()
    return torch.stack([across * azimuth.sin(), -elevation.sin(), across * azimuth.cos()], -1)


def random_sh(generator: torch.Generator, batch: int) -> Tensor:
    """Natural light: ambient with a brighter sky, a soft key light, a weaker fill, sometimes a rim light.

    Colours are near white; each light has its own warm or cool cast. The exposure is set so that the light
    averaged over normals toward the camera is between 0.55 and 1.15.

    Args:
        generator: on the device where the result shall live.

    Returns:
        (batch, 9, 3) coefficients for `shade` with image-frame normals.
    """

    def draw(low: float, high: float) -> Tensor:
        return torch.empty(batch, device=generator.device).uniform_(low, high, generator=generator)

    normal = torch.randn(batch, 2, device=generator.device, generator=generator)
    zero = torch.zeros(batch, device=generator.device)
    key_azimuth = (math.radians(50) * normal[:, 0]).clamp(-2.2, 2.2)
    fill_azimuth = -key_azimuth.sign() * draw(0.3, 1.4)
    rim_azimuth = math.pi + 0.8 * normal[:, 1]
    lights = (  # azimuth, elevation, strength, sharpness κ, colour cast
        (zero, zero + math.pi / 2, draw(0.15, 0.6), draw(0.1, 1.0), 0.15),
        (key_azimuth, draw(-0.2, 1.2), draw(0.2, 1.0), draw(1.0, 6.0), 0.25),
        (fill_azimuth, draw(-0.3, 0.6), draw(0.0, 0.4), draw(0.5, 3.0), 0.2),
        (rim_azimuth, draw(-0.2, 0.8), (draw(-1.0, 0.5)).clamp(min=0), draw(1.0, 4.0), 0.25),
    )
    sh = sum(
        soft_light(toward(azimuth, elevation), strength[:, None] * tint(generator, (batch,), cast), sharpness)
        for azimuth, elevation, strength, sharpness, cast in lights
    )
    frontal = spherical_harmonics(front_normals().to(sh)).mean(0)
    luminance = torch.einsum("k,bkc->bc", frontal, sh) @ sh.new_tensor(LUMINANCE)
    return sh * (draw(0.55, 1.15) / luminance.clamp(min=1e-3))[:, None, None]


def front_normals(count: int = 64) -> Tensor:
    """(count, 3) unit normals as an orthographic picture of a sphere shows them (uniform over its disk)."""
    step = torch.arange(count, dtype=torch.float64) + 0.5
    radius, angle = (step / count).sqrt(), step * math.pi * (3 - math.sqrt(5))  # a sunflower spiral
    return torch.stack([radius * angle.cos(), radius * angle.sin(), (1 - radius**2).sqrt()], -1)
