"""Pictures of the face model: points fall where their skin is drawn; sliders move the head; maps compared."""

import io

import numpy as np
import pytest
import torch

from facet import face_model, portraits, report
from facet.rendering.compare_maps import compare_maps

pytestmark = pytest.mark.assets


@pytest.fixture(scope="module")
def model():
    return face_model.load()


@pytest.mark.parametrize("yaw", [-70.0, 0.0, 40.0])
def test_points_fall_on_their_skin(model, yaw):
    """Painting the head red around the nose tip shows red exactly where `place` puts it."""
    head = model.blend_head(torch.zeros(1, 1))[0]
    tip = model.mean[model.landmarks[30]]
    near = (head - tip).norm(dim=1) < 6
    colours = np.where(near[:, None].numpy(), (1.0, 0.0, 0.0), (0.5, 0.5, 0.5))
    seen = portraits.portrait(model, head, yaw=yaw, size=120, colors=colours)
    red = np.argwhere(seen.image[..., 0] - seen.image[..., 1] > 0.15)[:, ::-1]  # x, y
    assert len(red) > 3
    assert np.abs(red.mean(axis=0) - seen.place(tip[None])[0, :2].numpy()).max() < 2.5


def test_checkers_and_unrolled_patch_agree(model):
    """The painted board, laid out in its square, is a regular board again."""
    picture = portraits.unrolled(model, model.mean, 128, colors=portraits.checkers(model, 4))
    blue = picture[..., 2] > 1.2 * picture[..., 0]
    i, j = np.mgrid[16:128:32, 16:128:32]
    assert (blue[i, j] == ((i // 32 + j // 32) % 2 == 1)).all()


def test_sliders_move_the_head(model):
    pytest.importorskip("k3d")
    from facet.sliders import face_sliders

    box = face_sliders(model, modes=2, expressions=("jawOpen",))
    mesh, sliders = box.children[0].objects[0], box.children[1].children
    before = np.array(mesh.vertices)
    sliders[2].value = 1.0
    moved = np.linalg.norm(np.array(mesh.vertices) - before, axis=1)
    assert 8 < moved.max() < 60
    assert (moved < 0.1).mean() > 0.3
    with pytest.raises(ValueError, match="no expression mouthWide"):
        face_sliders(model, expressions=("mouthWide",))


def test_maps_are_compared(model):
    row = compare_maps(model, 32, batch=2, generator=torch.Generator().manual_seed(0), repeats=1)
    assert 0 < row["error_999"] <= row["error_max"] < 1e-3
    assert row["times_faster"] == pytest.approx(row["rasterised_ms"] / row["product_ms"])


def test_a_palette_makes_pictures_smaller(rng):
    from PIL import Image

    ramp = np.linspace(0, 1, 96 * 96).reshape(96, 96, 1) * np.array([1.0, 0.9, 0.8])
    ramp = (ramp + rng.normal(0, 0.01, ramp.shape)).clip(0, 1)
    full, small = report.png_bytes(ramp), report.png_bytes(ramp, colours=64)
    assert len(small) < 0.6 * len(full)
    one, other = (np.asarray(Image.open(io.BytesIO(b)).convert("RGB")).astype(int) for b in (full, small))
    assert np.abs(one - other).mean() < 4
