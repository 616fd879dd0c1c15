"""Figures of a reconstruction: the part of the photo that is shown, and marks at their right place."""

import numpy as np
import pytest

from facet import sheets
from facet.reconstruction import Pose, Reconstruction


@pytest.fixture
def face():
    """A bulged 9 × 9 sheet of 80 pixels in a photo of 200 × 150."""
    line = np.linspace(-1, 1, 9)
    v, u = np.meshgrid(line, line, indexing="ij")
    vertices = np.stack((70 + 40 * u, 90 + 40 * v, 30 * (2 - u**2 - v**2)), axis=-1).reshape(-1, 3)
    index = np.arange(81).reshape(9, 9)
    a, b, c, d = index[:-1, :-1], index[1:, :-1], index[:-1, 1:], index[1:, 1:]
    triangles = np.concatenate([np.stack(t, -1).reshape(-1, 3) for t in ((a, b, c), (c, b, d))])
    return Reconstruction(
        vertices=vertices.astype(np.float32),
        triangles=triangles.astype(np.int64),
        landmarks=vertices[np.arange(68)].astype(np.float32),
        pose=Pose(0.0, 0.0, 0.0),
        image_size=(200, 150),
        system="prn",
        position_map=np.random.default_rng(0).random((3, 8, 8)).astype(np.float32),
        texture=np.full((8, 8, 3), 120, dtype=np.uint8),
        colors=np.full((81, 3), 120, dtype=np.uint8),
        confidence=np.linspace(0, 1, 81, dtype=np.float32),
        box=np.array([40.0, 60.0, 100.0, 120.0]),
    )


@pytest.fixture
def photo():
    y, x = np.mgrid[:200, :150]
    return np.stack((x, y, np.full_like(x, 255)), axis=-1).astype(np.uint8)


def test_the_region_is_the_photos_pixels_there(photo):
    part, corner = sheets.face_region(photo, (40, 60, 100, 120))
    assert part.shape == (126, 126, 3)
    np.testing.assert_array_equal(part[30, 50, :2] * 255, np.add(corner, (50, 30)))
    np.testing.assert_array_equal(corner, np.rint(np.array([70, 90]) - 63))


def test_beyond_the_photo_the_region_is_white(photo):
    part, corner = sheets.face_region(photo, (100, 150, 180, 230))
    there = np.array([149, 199]) - corner
    np.testing.assert_allclose(part[there[1], there[0]] * 255, (149, 199, 255), atol=1e-4)
    assert (part[there[1] + 1 :] == 1).all()
    assert (part[:, there[0] + 1 :] == 1).all()


def test_landmarks_and_points_are_drawn_where_they_are(photo, face):
    figure = sheets.photo_sheet(photo, face, points={8: (70.0, 120.0)})
    _, corner = sheets.face_region(photo, face.box)
    shown = figure.axes[1].collections[0].get_offsets()
    np.testing.assert_allclose(shown, face.landmarks[:, :2] - corner, atol=1e-4)
    np.testing.assert_allclose(figure.axes[1].lines[-1].get_xydata(), [(70, 120) - corner])


def test_every_sheet_is_a_figure(photo, face):
    assert len(sheets.mesh_sheet(face, size=32).axes) == 6
    assert len(sheets.mesh_sheet(face, size=32, truth=face.vertices + 1).axes) == 6
    assert len(sheets.map_sheet(photo, face).axes) == 6  # five pictures and a colour bar
    assert len(sheets.hero(photo, face, size=32).axes) == 4


def test_depth_is_shown_in_its_place(photo, face):
    axes = sheets.map_sheet(photo, face).axes[0]
    _, corner = sheets.face_region(photo, face.box, margin=sheets.CLOSE)
    depth = np.asarray(axes.images[-1].get_array().filled(np.nan))
    row, column = 90 - corner[1], 70 - corner[0]
    assert depth[row, column] == pytest.approx(60, abs=1.5)
    assert np.isnan(depth[0, 0])


def test_trimming_keeps_what_is_drawn_and_one_size_for_all():
    first, second = np.ones((2, 40, 40, 3))
    first[18:22, 12:14] = 0.2
    second[25, 20] = 0.5
    small = sheets._trimmed([first, second], margin=0.0)
    assert small[0].shape == small[1].shape == (16, 16, 3)
    for before, after in zip((first, second), small, strict=True):
        np.testing.assert_array_equal(np.sort(before[before < 1]), np.sort(after[after < 1]))
