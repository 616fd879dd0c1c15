"""A saw becomes a curve, what lies behind it stays, and numbers are left alone."""

import numpy as np
import pytest
import torch
import trimesh

from facet import face_model, pictures, viewers
from facet.evaluation.protocol import Counted
from facet.face_model.tutte import boundary_loops
from facet.outline import SHORTEST, smooth_outline

RADIUS, TOOTH = 50.0, 0.8


def disk(around: int, *, tooth: float) -> tuple[np.ndarray, np.ndarray]:
    """(V, 3) rings of `around` vertices, of which every other one of the outermost is moved out; (F, 3)."""
    rings = around // 6
    angle = 2 * np.pi * np.arange(around) / around
    radius = np.repeat(RADIUS * np.linspace(1, 0.1, rings), around).reshape(rings, around)
    radius[0] += tooth * (-1.0) ** np.arange(around)
    points = np.stack((radius * np.cos(angle), radius * np.sin(angle), 0 * radius), axis=2).reshape(-1, 3)
    here = np.arange(around)
    following = np.roll(here, -1)
    triangles = []
    for ring in range(rings - 1):
        outer, inner = ring * around, (ring + 1) * around
        triangles += [
            np.column_stack((outer + here, outer + following, inner + here)),
            np.column_stack((outer + following, inner + following, inner + here)),
        ]
    return points, np.concatenate(triangles)


def radii(points: np.ndarray, count: int) -> np.ndarray:
    return np.linalg.norm(points[:count, :2], axis=1)


def test_the_teeth_of_a_circle_go_and_its_size_stays():
    saw, triangles = disk(180, tooth=TOOTH)
    smooth = smooth_outline(saw, triangles)
    np.testing.assert_allclose(radii(smooth, 180), RADIUS, atol=0.01)
    np.testing.assert_array_equal(smooth[5 * 180 : -180], saw[5 * 180 : -180])  # four rings move along
    assert np.abs(smooth[180:] - saw[180:]).max() < 0.5 * TOOTH
    round_already, _ = disk(180, tooth=0.0)
    np.testing.assert_allclose(smooth_outline(round_already, triangles), round_already, atol=0.01)


def test_it_is_the_same_in_every_frame():
    rng = np.random.default_rng(0)
    saw, triangles = disk(150, tooth=TOOTH)
    matrix, offset = rng.normal(size=(3, 3)), rng.normal(size=3)
    there = smooth_outline(saw @ matrix + offset, triangles)
    np.testing.assert_allclose(there, smooth_outline(saw, triangles) @ matrix + offset, atol=1e-10)


def test_what_has_no_long_outline_stays():
    few, triangles = disk(SHORTEST - 1, tooth=TOOTH)
    assert smooth_outline(few, triangles) is few
    many, triangles = disk(SHORTEST, tooth=TOOTH)
    assert np.abs(smooth_outline(many, triangles) - many).max() > 0.5 * TOOTH
    ball = trimesh.creation.icosphere(3)
    assert smooth_outline(ball.vertices, ball.faces) is ball.vertices
    touching = np.concatenate([triangles, triangles + len(many) - 1])  # they share a vertex of both outlines
    twice = np.concatenate([many, many[1:]])
    assert smooth_outline(twice, touching) is twice


def test_pictures_and_viewers_show_the_smooth_outline():
    saw, triangles = disk(180, tooth=3.0)
    even, _ = disk(180, tooth=0.0)
    place = np.array([64.0, 64.0, 0.0])
    sawn, smooth = (
        pictures.draw_mesh(torch.from_numpy(points + place).float(), torch.from_numpy(triangles), 128)
        for points in (saw, even)
    )
    assert np.abs(sawn - smooth).mean() < 2e-3
    shown = viewers.show_mesh(saw, triangles).objects[0].vertices
    np.testing.assert_allclose(radii(shown, 180), RADIUS, atol=0.1)
    one, other = (np.asarray(viewers.still(points, triangles, size=96)) / 255 for points in (saw, even))
    assert np.abs(one - other).mean() < 2e-3


@pytest.mark.assets
@pytest.mark.parametrize("counted", [False, True])
def test_of_the_face_only_the_rim_moves_and_nothing_folds(counted, generator):
    model = face_model.load()
    vertices = model.blend(torch.randn(1, 24, generator=generator), torch.zeros(1, 52))[0].numpy()
    triangles = model.triangles.numpy()
    if counted:
        part = Counted(model)
        vertices, triangles = vertices[part.vertices.numpy()], part.triangles.numpy()
    smooth = smooth_outline(vertices, triangles)
    assert smooth.dtype == vertices.dtype
    moved = np.linalg.norm(smooth - vertices, axis=1)
    assert moved.max() < 3.0  # mm
    assert (moved > 0).mean() < 0.06
    a, b, c = vertices[triangles].transpose(1, 0, 2)
    before = np.cross(b - a, c - a)
    a, b, c = smooth[triangles].transpose(1, 0, 2)
    assert ((before * np.cross(b - a, c - a)).sum(axis=1) > 0).all()

    loop = boundary_loops(triangles)[0]

    def turning(points):
        edges = np.roll(points[loop], -1, axis=0) - points[loop]
        edges /= np.linalg.norm(edges, axis=1, keepdims=True)
        return np.degrees(np.arccos((edges * np.roll(edges, -1, axis=0)).sum(axis=1).clip(-1, 1)))

    assert turning(smooth).mean() < 0.25 * turning(vertices).mean()
