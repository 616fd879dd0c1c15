"""Spherical harmonics beside scipy and integration, lights, and texture lookup beside scipy and averages."""

import math

import numpy as np
import pytest
import torch

from facet.rendering import (
    footprint_level,
    harmonics,
    pyramid,
    random_sh,
    sample_texture,
    shade,
    soft_light,
    spherical_harmonics,
)

ORDER = [(0, 0), (1, -1), (1, 0), (1, 1), (2, -2), (2, -1), (2, 0), (2, 1), (2, 2)]


def directions(count, seed=0):
    vectors = torch.randn(count, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.nn.functional.normalize(vectors, dim=-1)


def sphere_grid(rows=400, columns=200):
    """Directions (N, 3) and solid angles (N,) of Gauss-Legendre points: integrals over the sphere."""
    z, weight = np.polynomial.legendre.leggauss(rows)
    phi = np.arange(columns) * 2 * math.pi / columns
    z, phi = np.meshgrid(z, phi, indexing="ij")
    r = np.sqrt(1 - z**2)
    points = np.stack([r * np.cos(phi), r * np.sin(phi), z], -1).reshape(-1, 3)
    return torch.from_numpy(points), torch.from_numpy(np.repeat(weight, columns) * 2 * math.pi / columns)


def test_harmonics_equal_scipy():
    special = pytest.importorskip("scipy.special")
    points = directions(200)
    theta, phi = points[:, 2].acos().numpy(), torch.atan2(points[:, 1], points[:, 0]).numpy()
    ours = harmonics(points)
    for k, (degree, order) in enumerate(ORDER):
        value = special.sph_harm_y(degree, abs(order), theta, phi)  # complex, with the Condon-Shortley sign
        part = value.imag if order < 0 else value.real
        expected = part * (math.sqrt(2) * (-1) ** order if order else 1)
        np.testing.assert_allclose(ours[:, k], expected, atol=1e-12)


def test_the_basis_integrates_the_clamped_cosine():
    """Random radiance of order 2: coefficients · basis equals (1/π) ∫ L(ω) max(0, n·ω) dω."""
    omega, weight = sphere_grid()
    coefficients = torch.randn(9, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    radiance = harmonics(omega) @ coefficients
    normals = directions(20, seed=2)
    expected = ((normals @ omega.T).clamp(min=0) * (radiance * weight)).sum(1) / math.pi
    np.testing.assert_allclose(spherical_harmonics(normals) @ coefficients, expected, atol=1e-4)


def test_monte_carlo_irradiance_of_a_light():
    """A soft light's coefficients against rays drawn at random from a von Mises-Fisher radiance."""
    kappa, draws = 2.0, 400_000
    axis, normals = directions(1, seed=3)[0], directions(12, seed=4)
    omega = directions(draws, seed=5)
    density = kappa / (4 * math.pi * math.sinh(kappa)) * (kappa * omega @ axis).exp()
    radiosity = ((normals @ omega.T).clamp(min=0) * density).mean(1) * 4 * math.pi / math.pi
    facing = ((omega @ axis).clamp(min=0) * density).mean() * 4
    sh = soft_light(axis, torch.ones(3).double(), torch.tensor(kappa).double())
    ours = spherical_harmonics(normals) @ sh[:, 0]
    np.testing.assert_allclose(ours, radiosity / facing, atol=0.03)  # what lies beyond order 2 is missing
    assert (spherical_harmonics(axis) @ sh[:, 0]).item() == pytest.approx(1, abs=1e-6)


def test_uniform_radiance_leaves_the_albedo():
    albedo = torch.rand(2, 4, 5, 3, generator=torch.Generator().manual_seed(0))
    normals = directions(40).float().view(2, 4, 5, 3)
    sh = torch.zeros(2, 9, 3)
    sh[:, 0] = math.sqrt(4 * math.pi)
    torch.testing.assert_close(shade(albedo, normals, sh), albedo)


def test_light_from_above_lights_what_faces_up():
    """In the image frame y points down: light from y < 0 falls on normals with y < 0."""
    up = torch.tensor([0.0, -1, 0])
    normals = torch.stack([up, -up]).view(1, 1, 2, 3)
    white = torch.ones(1, 1, 2, 3)
    for light in (
        shade(white, normals, soft_light(up, torch.ones(3), torch.tensor(3.0))[None]),
        shade(white, normals, None, (up[None], torch.ones(1, 3))),
    ):
        assert light[0, 0, 0, 0] == pytest.approx(1, abs=1e-5)
        assert light[0, 0, 1, 0] < 0.15
        assert (light >= 0).all()


def test_directional_lights_add_up():
    albedo, normals = (
        torch.rand(1, 3, 3, 3, generator=torch.Generator().manual_seed(1)),
        directions(9).float(),
    )
    direction, colour = torch.tensor([[[0.0, 0, 2], [3, 0, 0]]]), torch.tensor([[[1.0, 0.5, 0], [0, 0, 1]]])
    result = shade(albedo, normals.view(1, 3, 3, 3), None, (direction, colour)).view(-1, 3)
    cosine = normals[:, [2, 0]].clamp(min=0)
    torch.testing.assert_close(result, albedo.view(-1, 3) * (cosine @ colour[0]))
    with pytest.raises(ValueError, match="needs"):
        shade(albedo, normals.view(1, 3, 3, 3), None)


def test_random_light_is_reproducible_positive_and_near_white():
    sh = random_sh(torch.Generator().manual_seed(7), 400)
    assert sh.shape == (400, 9, 3)
    assert torch.equal(sh, random_sh(torch.Generator().manual_seed(7), 400))
    assert not torch.equal(sh, random_sh(torch.Generator().manual_seed(8), 400))
    front = directions(500).float()
    front[:, 2] = front[:, 2].abs()
    light = torch.einsum("nk,bkc->bnc", spherical_harmonics(front), sh)
    mean = light.mean(1)
    assert mean.min() > 0.3
    assert mean.max() < 1.6
    assert (light < 0).float().mean() < 0.02
    warmth = mean[:, 0] / mean[:, 2]
    assert warmth.min() > 0.55
    assert warmth.max() < 1.8
    assert warmth.quantile(0.9) > 1.08
    assert warmth.quantile(0.1) < 0.92
    vertical = sh[:, 1].mean(1)  # coefficient of y: light comes from above more often than from below
    assert (vertical < 0).float().mean() > 0.75
    assert 0.4 < (sh[:, 3].mean(1) > 0).float().mean() < 0.6  # from the left as often as from the right


def test_shading_gradients():
    normals = directions(4).view(1, 2, 2, 3).requires_grad_()
    sh = random_sh(torch.Generator().manual_seed(0), 1).double().requires_grad_()
    albedo = torch.rand(1, 2, 2, 3, dtype=torch.float64).requires_grad_()
    light = (directions(1, seed=9).requires_grad_(), torch.ones(1, 3, dtype=torch.float64))
    assert torch.autograd.gradcheck(
        lambda a, n, s, d: shade(a, n, s, (d, light[1])), (albedo, normals, sh, light[0])
    )


@pytest.fixture
def texture():
    return torch.rand(2, 3, 12, 20, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_bilinear_equals_scipy(texture):
    ndimage = pytest.importorskip("scipy.ndimage")
    uv = torch.rand(2, 9, 7, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 1.2 - 0.1
    ours = sample_texture(texture, uv)
    for image in range(2):
        where = [uv[image, ..., 1].numpy() * 12 - 0.5, uv[image, ..., 0].numpy() * 20 - 0.5]
        for channel in range(3):
            plane = texture[image, channel].numpy()
            expected = ndimage.map_coordinates(plane, where, order=1, mode="nearest")
            np.testing.assert_allclose(ours[image, ..., channel], expected, atol=1e-12)
    shared = sample_texture(texture[:1], uv)
    torch.testing.assert_close(shared[0], ours[0])
    with pytest.raises(ValueError, match="2 textures do not fit 3"):
        sample_texture(texture, torch.zeros(3, 1, 1, 2))


def test_u_is_the_column_and_v_the_row_from_the_top(texture):
    uv = torch.tensor([(7 + 0.5) / 20, (2 + 0.5) / 12], dtype=torch.float64).expand(2, 1, 1, 2)
    torch.testing.assert_close(sample_texture(texture, uv)[:, 0, 0], texture[:, :, 2, 7])


def grid_uv(size):
    centres = (torch.arange(size) + 0.5) / size
    v, u = torch.meshgrid(centres, centres, indexing="ij")
    return torch.stack([u, v], -1)[None]


def test_antialiased_lookup_averages_what_a_pixel_covers():
    texture = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    small = sample_texture(texture, grid_uv(8), antialias=True)
    expected = torch.nn.functional.avg_pool2d(texture, 8).permute(0, 2, 3, 1)
    torch.testing.assert_close(small, expected)
    checks = ((torch.arange(64)[:, None] + torch.arange(64)) % 2).float().expand(1, 1, 64, 64)
    assert sample_texture(checks, grid_uv(20), antialias=True).std() < 0.02
    assert sample_texture(checks, grid_uv(20)).std() > 0.15
    large = grid_uv(100)
    torch.testing.assert_close(sample_texture(texture, large, antialias=True), sample_texture(texture, large))


def test_a_pyramid_gives_the_same_as_its_texture():
    texture = torch.rand(1, 3, 13, 9, generator=torch.Generator().manual_seed(3))
    table = pyramid(texture)
    assert table.sizes.tolist() == [[13, 9], [7, 5], [4, 3], [2, 2], [1, 1]]
    torch.testing.assert_close(table.texels[0, -1], texture[0].mean((1, 2)), atol=0.1, rtol=0)
    uv = grid_uv(5)
    assert torch.equal(sample_texture(table, uv, antialias=True), sample_texture(texture, uv, antialias=True))
    assert torch.equal(sample_texture(table, uv), sample_texture(texture, uv))


def test_seams_and_silhouettes_do_not_blur():
    uv = grid_uv(16).clone()
    uv[:, :, 8:, 0] -= 0.5  # the right half shows the left half of the texture again
    plain = footprint_level(uv, (64, 64))
    assert plain.min() == plain.max() == 2
    mask = torch.zeros(1, 16, 16, dtype=torch.bool)
    mask[:, 5:10, 4:6] = True
    masked = footprint_level(uv * mask[..., None], (64, 64), mask)
    assert (masked[mask] == 2).all()
    texture = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(4))
    colours = sample_texture(texture, uv, antialias=True, mask=mask)
    assert (colours[~mask] == 0).all()
    torch.testing.assert_close(colours[mask], sample_texture(texture, uv, antialias=True)[mask])


def test_texture_gradients():
    texture = torch.rand(1, 2, 5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    uv = torch.rand(1, 3, 3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(6))
    inputs = (texture.requires_grad_(), uv.requires_grad_())
    assert torch.autograd.gradcheck(sample_texture, inputs)
    assert torch.autograd.gradcheck(lambda t: sample_texture(t, uv.detach(), antialias=True), inputs[:1])
