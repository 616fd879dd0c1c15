"""Random light has the exposure it promises; shadows fall where a ray says so."""

import math

import pytest
import torch

from facet.rendering.shading import front_normals, spherical_harmonics
from facet.synthetic.lights import LUMINANCE, cast, draw_lights, lit

SQUARE = torch.tensor([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]])
SIDES = torch.tensor([[0, 1, 2], [0, 2, 3]])


def test_exposure_and_shapes(generator):
    drawn = draw_lights(generator, 200)
    assert drawn.sh.shape == (200, 9, 3)
    torch.testing.assert_close(drawn.direction.norm(dim=2), torch.ones(200, 2))
    normals = front_normals().float()
    soft = torch.einsum("nk,bkc->bnc", spherical_harmonics(normals), drawn.sh).clamp(min=0)
    hard = (normals @ drawn.direction[:, 0].mT).clamp(min=0).mT[..., None] * drawn.colour[:, :1]
    level = (soft + hard).mean(dim=1) @ torch.tensor(LUMINANCE)
    assert level.min() > 0.6 - 1e-3
    assert level.max() < 1.2 + 1e-3
    without = (drawn.colour[:, 0].amax(dim=1) == 0).float().mean()
    assert 0.25 < without < 0.6  # overcast
    again = draw_lights(torch.Generator().manual_seed(0), 3)
    assert torch.equal(again.sh, draw_lights(torch.Generator().manual_seed(0), 3).sh)


def scene(height):
    """A floor of 200 mm that faces the camera and a square of 60 mm that floats before it."""
    floor = SQUARE * 100
    floating = SQUARE * 30 + torch.tensor([0.0, 0.0, height])
    return torch.cat([floor, floating])[None], torch.cat([SIDES, SIDES + 4])


@pytest.mark.parametrize("azimuth", [-0.6, 0.0, 0.4])
def test_shadow_falls_where_the_ray_says(azimuth):
    height = 50.0
    points, triangles = scene(height)
    direction = torch.tensor([[math.sin(azimuth), -0.3, math.cos(azimuth)]])
    shadows = cast(points, triangles, direction, torch.tensor([1.0]))
    axis = torch.linspace(-90, 90, 61)
    x, y = torch.meshgrid(axis, axis, indexing="xy")
    floor = torch.stack([x.flatten(), y.flatten(), torch.zeros(x.numel())], dim=1)
    found = lit(shadows, floor, 0)
    # a ray from the floor to the light meets the square's plane here; the image frame's y points down
    reach = height / direction[0, 2]
    at = floor[:, :2] + reach * direction[0, :2] * torch.tensor([1.0, -1.0])
    inside = at.abs().amax(dim=1)
    assert found[inside < 22].max() < 0.2
    assert found[inside > 38].min() > 0.8
    top = torch.tensor([[0.0, 0.0, height], [20.0, -20.0, height]])
    assert lit(shadows, top, 0).min() > 0.9


def test_a_larger_light_has_a_softer_edge():
    points, triangles = scene(50.0)
    direction = torch.tensor([[0.0, 0.0, 1.0]])
    line = torch.stack([torch.linspace(0, 60, 121), torch.zeros(121), torch.zeros(121)], dim=1)
    wide = []
    for softness in (1.0, 6.0):
        share = lit(cast(points, triangles, direction, torch.tensor([softness])), line, 0)
        wide.append(int(((share > 0.1) & (share < 0.9)).sum()))
    assert wide[0] < wide[1]


def test_scenes_do_not_mix():
    points, triangles = scene(50.0)
    moved = points.clone()
    moved[:, 4:, 0] += 60
    both = cast(
        torch.cat([points, moved]), triangles, torch.tensor([[0.0, 0, 1]]).expand(2, 3), torch.ones(2)
    )
    found = [float(lit(both, torch.zeros(1, 3), picture)) for picture in (0, 1)]
    assert found == pytest.approx([0.0, 1.0], abs=0.05)
