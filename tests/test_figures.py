"""Figures: what stands in them, where it stands, and pictures of meshes the right way round."""

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.colors import to_rgb

from facet import evaluation, figures, geometry, pictures
from facet.evaluation import tables


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def ball(count=24):
    """A closed-enough half ball (V, 3) toward +z in the model frame, outward triangles."""
    axis = torch.linspace(-1, 1, count)
    v, u = torch.meshgrid(axis, axis, indexing="ij")
    points = torch.stack(
        (torch.sin(1.5 * u), -torch.sin(1.5 * v), torch.cos(1.5 * u) * torch.cos(1.5 * v)), dim=-1
    )
    index = torch.arange(count * count).view(count, count)
    a, b, c, d = index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]
    triangles = torch.cat([torch.stack(t, -1).reshape(-1, 3) for t in ((a, b, c), (a, c, d))])
    return torch.nn.functional.normalize(points.reshape(-1, 3), dim=1), triangles


def in_image(points, scale=20.0, centre=(32.0, 32.0)):
    matrix = geometry.model_to_image(0.0, 0.0, 0.0, scale, torch.tensor([centre]))
    return geometry.transform_points(matrix, points[None])[0]


def tidy():
    generator = np.random.default_rng(0)
    rows = [
        (model, "", "tiny", person, yaw, 0, "exact", "mm", size * generator.uniform(0.5, 1.5))
        for model, size in (("twoview", 1.0), ("mean-face", 4.0), ("prn", 2.0))
        for person in range(8)
        for yaw in (-40, 0, 40)
    ]
    return pd.DataFrame(rows, columns=evaluation.TIDY_COLUMNS)


def test_every_model_has_its_own_colour():
    assert len({to_rgb(c) for c in figures.COLOURS.values()}) == len(figures.COLOURS) == 13
    assert figures.colour("something new") == figures.INK


def test_ced_lists_models_from_best_to_worst_and_is_monotone():
    frame = tidy()
    axes = figures.plot_ced(frame, metric="exact", normaliser="mm").axes[0]
    names = [text.get_text().split()[0] for text in axes.get_legend().get_texts()]
    assert names == ["twoview", "prn", "mean-face"]
    for line, name in zip(axes.get_lines(), names, strict=True):
        assert line.get_color() == figures.colour(name)
        assert (np.diff(line.get_ydata()) >= 0).all()
        expected = evaluation.ced(frame[frame["model"] == name]["value"])
        at = np.searchsorted(line.get_xdata(), 1.5, side="right") - 1
        assert line.get_ydata()[at] == pytest.approx(100 * expected.at(1.5))
    assert "mm" in axes.get_xlabel()
    with pytest.raises(ValueError, match="no rows of 'icp'"):
        figures.plot_ced(frame, metric="icp", normaliser="mm")
    other = frame.assign(test_set="other")
    with pytest.raises(ValueError, match="one test set"):
        figures.plot_ced(pd.concat([frame, other]), metric="exact", normaliser="mm")


def test_error_by_yaw_shows_the_group_means():
    frame = tidy()
    axes = figures.plot_error_by_yaw(frame, metric="exact", normaliser="mm", centres=(-40, 0, 40)).axes[0]
    lines = {line.get_label(): line for line in axes.get_lines()}
    means = frame[frame["model"] == "prn"].groupby("yaw")["value"].mean()
    np.testing.assert_allclose(lines["prn"].get_xdata(), means.index)
    np.testing.assert_allclose(lines["prn"].get_ydata(), means)


def test_history_marks_the_best_validation():
    samples = np.arange(1, 6) * 1000
    loss = [0.5, 0.2, 0.1, 0.15, 0.12]
    rows = [{"samples": n, "train_loss": v / 2, "val_loss": v} for n, v in zip(samples, loss, strict=True)]
    axes = figures.plot_history(rows).axes[0]
    ring = next(line for line in axes.get_lines() if line.get_marker() == "o")
    assert (ring.get_xdata()[0], ring.get_ydata()[0]) == (3.0, 0.1)
    both = figures.plot_history({"prn": rows, "twoview": pd.DataFrame(rows)})
    assert [t.get_text() for t in both.axes[0].get_legend().get_texts()][:2] == ["prn", "twoview"]


def test_a_history_begins_where_its_network_began():
    rows = [
        {"samples": n, "train_loss": 0.1, "val_loss": 0.1} for n in (1000, 2000, 2100)
    ]  # the last is the rest of an epoch
    axes = figures.plot_history({"prn": rows, "residual": rows}, before={"residual": 80_000}).axes[0]
    thin, thick = (
        [
            line.get_xdata()
            for line in axes.get_lines()
            if line.get_linewidth() == width and len(line.get_xdata())
        ]
        for width in (0.9, 1.8)
    )
    assert [list(x) for x in thin] == [[1.0, 2.0], [81.0, 82.0]]
    assert [x[-1] for x in thick if len(x) == 3] == [2.1, 82.1]


def test_a_history_without_its_training_loss():
    rows = [{"samples": n, "train_loss": 9.0, "val_loss": 0.1} for n in (1000, 2000)]
    axes = figures.plot_history({"rotation": rows}, training=False).axes[0]
    assert not [line for line in axes.get_lines() if 9.0 in line.get_ydata()]
    assert "training" not in axes.get_legend().get_texts()[-1].get_text()


def test_angles_have_a_true_minus_and_no_signed_zero():
    assert [figures.degrees(a, sign=True) for a in (-30.2, 60, -0.3)] == ["−30°", "+60°", "0°"]
    assert figures.degrees(12) == "12°"
    assert [figures.number(v) for v in (-0.004, -0.07, 1.0)] == ["0.00", "−0.07", "1.00"]


def test_curves_take_the_styles_they_are_given():
    axes = figures.plot_ced(tidy(), metric="exact", normaliser="mm", styles={"prn": ("#123456", "--")}).axes[
        0
    ]
    line = next(line for line in axes.get_lines() if line.get_label().startswith("prn"))
    assert (line.get_color(), line.get_linestyle()) == ("#123456", "--")


def test_curves_that_lie_on_each_other_are_drawn_once():
    frame = tidy()
    same = frame[frame["model"] == "mean-face"].assign(model="mean-face-true-pose")
    for draw in (figures.plot_ced, figures.plot_error_by_yaw):
        axes = draw(pd.concat([frame, same]), metric="exact", normaliser="mm").axes[0]
        names = [text.get_text().split()[0] for text in axes.get_legend().get_texts()]
        assert sorted(names) == ["mean-face", "prn", "twoview"]


def test_axes_name_a_measure_in_words():
    axes = figures.plot_ced(tidy(), metric="exact", normaliser="mm").axes[0]
    assert axes.get_xlabel() == "shape error (mm)"
    assert tables.measure_name("landmarks", "landmark-box") == "landmark error (% of landmark-box)"
    assert tables.measure_name("bumps", "mm") == "bumps (mm)"
    named = tables.measures(tidy()[3:5])
    assert named.index.tolist() == [3, 4]
    assert set(named) == {"shape error (mm)"}


def test_images_in_every_form_give_the_same_array():
    pixels = np.random.default_rng(1).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    floating = torch.from_numpy(pixels).permute(2, 0, 1) / 255
    np.testing.assert_allclose(pictures.image_array(pixels), pictures.image_array(floating), atol=1e-7)
    assert pictures.image_array(pixels[:, :, 0]).shape == (6, 5, 3)
    with pytest.raises(ValueError, match="an image must be"):
        pictures.image_array(np.zeros((4, 4, 2)))


def test_image_grid():
    figure = figures.show_images(
        [np.zeros((4, 4, 3))] * 5, list("abcde"), columns=3, row_labels=("up", "down")
    )
    assert [axes.get_title() for axes in figure.axes[:5]] == list("abcde")
    assert [axes.get_visible() for axes in figure.axes] == [True] * 5 + [False]
    assert (figure.axes[0].get_ylabel(), figure.axes[3].get_ylabel()) == ("up", "down")


def test_landmarks_and_pose_box_are_drawn_in_pixels():
    photo = np.full((64, 64, 3), 0.5)
    points = torch.rand(68, 3, generator=torch.Generator().manual_seed(0)) * 60
    axes = figures.draw_landmarks(photo, points).axes[0]
    np.testing.assert_allclose(axes.collections[0].get_offsets(), points[:, :2].numpy(), rtol=1e-6)
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # y down

    # A brick turned by a known pose: the drawn front side has the brick's front corners.
    brick = torch.tensor([[x, y, z] for x in (-30.0, 30) for y in (-40.0, 40) for z in (-20.0, 20)])
    pose = (35.0, -10.0, 20.0)
    matrix = geometry.model_to_image(*pose, 0.5, torch.tensor([[32.0, 30.0]]))
    placed = geometry.transform_points(matrix, brick[None])[0]
    axes = figures.draw_pose_box(photo, placed, pose).axes[0]
    drawn = axes.patches[-1].get_xy()[:4]
    front = placed[brick[:, 2] > 0][:, :2].numpy()
    np.testing.assert_allclose(sorted(drawn.tolist()), sorted(front.tolist()), atol=1e-3)
    assert axes.get_title() == "yaw 35°  pitch −10°  roll 20°"


def test_position_map_has_three_channels_beside_the_picture():
    values = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0)) * 128
    figure = figures.plot_position_map(values)
    shown = [axes.images[0].get_array() for axes in figure.axes[:4]]
    for channel, image in zip(values, shown[1:], strict=True):
        np.testing.assert_allclose(image, channel.numpy())
    assert shown[0].shape == (16, 16, 3)


def test_a_mesh_is_drawn_upright_and_turned_the_right_way():
    points, triangles = ball()
    colors = torch.full((len(points), 3), 0.2)
    colors[points[:, 1] > 0.5, 0] = 1.0  # red on top
    colors[points[:, 0] > 0.5, 2] = 1.0  # blue on the subject's left
    picture = figures.render_mesh(in_image(points), triangles, 60, colors=colors)
    assert picture.shape == (60, 60, 3)
    red, blue = ((picture[:, :, i] - picture[:, :, 1]) > 0.15 for i in (0, 2))
    assert np.argwhere(red)[:, 0].mean() < 20
    assert np.argwhere(blue)[:, 1].mean() > 40
    np.testing.assert_allclose(picture[0, 0], 1, atol=1e-5)
    nose = torch.full((len(points), 3), 0.2)
    nose[points[:, 2] > 0.93] = torch.tensor([1.0, 0.2, 0.2])
    turned = figures.render_mesh(in_image(points), triangles, 60, view=45.0, colors=nose)
    where = np.argwhere(turned[:, :, 0] - turned[:, :, 1] > 0.2)[:, 1].mean()
    straight = figures.render_mesh(in_image(points), triangles, 60, view=0.0, colors=nose)
    before = np.argwhere(straight[:, :, 0] - straight[:, :, 1] > 0.2)[:, 1].mean()
    assert where > before + 8  # yaw > 0: to the image's right


def test_undoing_the_pose_gives_the_frontal_picture():
    points, triangles = ball()
    pose = (30.0, 12.0, -8.0)
    matrix = geometry.model_to_image(*pose, 20.0, torch.tensor([[32.0, 32.0]]))
    posed = geometry.transform_points(matrix, points[None])[0]
    frontal = figures.render_mesh(in_image(points), triangles, 48)
    assert np.abs(figures.render_mesh(posed, triangles, 48, pose=pose) - frontal).max() < 0.02
    assert np.abs(figures.render_mesh(posed, triangles, 48) - frontal).max() > 0.2


def test_a_prediction_is_shown_at_the_scale_of_the_truth():
    """One vertex far out shrinks a mesh that fits itself, but not one that is shown like another."""
    points, triangles = ball()
    truth, spiked = in_image(points), in_image(points).clone()
    spiked[-1] += torch.tensor([30.0, 0.0, 0.0])
    plain = figures.render_mesh(truth, triangles, 48)
    np.testing.assert_array_equal(figures.render_mesh(truth, triangles, 48, like=truth), plain)
    left = (slice(None), slice(0, 24))  # the spike is at the right
    shown = figures.render_mesh(spiked, triangles, 48, like=truth, view=0.0)
    assert np.abs(shown[left] - plain[left]).max() < 0.02
    assert np.abs(figures.render_mesh(spiked, triangles, 48)[left] - plain[left]).max() > 0.2


def test_overlay_leaves_the_photo_outside_of_the_mesh():
    points, triangles = ball()
    photo = np.random.default_rng(2).random((64, 64, 3)).astype(np.float32)
    mixed = figures.overlay_mesh(photo, in_image(points), triangles)
    outside = np.hypot(*(np.mgrid[:64, :64] - 32)) > 23
    np.testing.assert_allclose(mixed[outside], photo[outside], atol=1e-6)
    assert np.abs(mixed[32, 32] - photo[32, 32]).max() > 0.05


def test_without_relief_a_picture_shows_the_bare_colours():
    points, triangles = ball(8)
    colors = np.tile(np.array([[0.2, 0.5, 0.7]]), (len(points), 1))
    flat = figures.render_mesh(in_image(points), triangles, 30, colors=colors, relief=0.0)
    np.testing.assert_allclose(flat[15, 15], (0.2, 0.5, 0.7), atol=1e-5)
