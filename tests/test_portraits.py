"""Pictures of the face model: points fall where their skin is drawn; sliders move the head; maps compared."""

import io

import numpy as np
import pytest
import torch
from tiny_people import atelier

from facet import face_model, portraits, report
from facet.rendering.compare_maps import compare_maps
from facet.synthetic import sitting

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


def test_portrait_sliders_take_the_picture_anew():
    from facet import sliders

    cast, shots = sitting.sit(atelier(), [5], sitting.posed(0.0), size=64, seed=3, plain=True)
    before = sitting.take(atelier(), cast, shots, size=64)[0]
    assert (sliders.dialled(atelier(), cast, shots, {}, size=64) - before).abs().mean() < 1e-3
    darker = sliders.dialled(atelier(), cast, shots, {"exposure": -1.5}, size=64)
    assert darker.mean() < 0.8 * before.mean()
    for dial, value in (
        ("yaw", 60.0),
        ("smile", 1.0),
        ("gaze", -1.0),
        ("light from", 90.0),
        ("hat", "fedora"),
    ):
        values = {dial: value, "hard light": 1.0} if dial == "light from" else {dial: value}
        base = sliders.dialled(atelier(), cast, shots, {**values, dial: ""} if dial == "hat" else {}, size=64)
        changed = sliders.dialled(atelier(), cast, shots, values, size=64)
        assert (changed - base).abs().amax(dim=0).gt(0.05).float().mean() > 0.002, dial
    with pytest.raises(ValueError, match="nothing is called sun"):
        sliders.dialled(atelier(), cast, shots, {"sun": 1.0}, size=64)
    screen, column = sliders.portrait_sliders(atelier(), cast, shots, size=64).children
    first = screen.value
    controls = {made.description: made for made in column.children}
    assert list(controls) == [*sliders.DIALS, *sliders.WORN]
    assert controls["melanin"].value == pytest.approx(float(cast.skin.melanin[0]), abs=0.02)
    controls["yaw"].value = 45.0
    assert screen.value != first
    controls["yaw"].value = 0.0
    controls["glasses"].value = "glasses"
    assert len(screen.value) > 500


def test_maps_are_compared(model):
    row = compare_maps(model, 32, batch=2, generator=torch.Generator().manual_seed(0), repeats=1)
    assert 0 < row["error_999"] <= row["error_max"] < 1e-3
    assert row["times_faster"] == pytest.approx(row["rasterised_ms"] / row["product_ms"])


def test_a_palette_makes_pictures_smaller(rng):
    from PIL import Image

    ramp = np.linspace(0, 1, 96 * 96).reshape(96, 96, 1) * np.array([1.0, 0.9, 0.8])
    ramp = (ramp + rng.normal(0, 0.01, ramp.shape)).clip(0, 1)
    image = report.as_image(ramp)
    full, small = report.png_bytes(image), report.png_bytes(image, colours=64)
    assert len(small) < 0.6 * len(full)
    one, other = (np.asarray(Image.open(io.BytesIO(b)).convert("RGB")).astype(int) for b in (full, small))
    assert np.abs(one - other).mean() < 4


def test_charts_get_a_palette_and_pictures_of_many_colours_keep_theirs(rng):
    import matplotlib.pyplot as plt
    from PIL import Image

    figure, axes = plt.subplots()
    axes.plot(rng.normal(size=(40, 3)), label=["one", "two", "three"])
    axes.legend()
    chart = report.as_image(figure)
    every = np.stack(np.meshgrid(*[np.linspace(0, 1, 64)] * 2), axis=2)
    colourful = report.as_image(np.concatenate((every, 1 - every[..., :1]), axis=2))
    for image, paletted in ((chart, True), (colourful, False)):
        found = Image.open(io.BytesIO(report.png_bytes(image)))
        assert (found.mode == "P") == paletted
        apart = np.asarray(found.convert("RGB")).astype(int) - np.asarray(image)
        assert np.abs(apart).max(axis=2).mean() <= report.UNSEEN
        assert report.png_bytes(image) == report.png_bytes(image)
    assert len(report.png_bytes(chart)) < 0.6 * len(report.png_bytes(chart, colours=0))
    assert Image.open(io.BytesIO(report.png_bytes(chart, colours=0))).mode == "RGB"
