"""Sheets of synthetic people: every picture in its place, layers as the truth has them."""

import numpy as np
import pytest
import torch
from tiny_people import atelier

from facet import face_model, people_sheets
from facet.synthetic import sitting
from facet.synthetic.truth import CLASSES


def test_pictures_stand_in_rows():
    pictures = [torch.full((3, 4, 5), k / 10) for k in range(5)]
    sheet = people_sheets.contact_sheet(pictures, columns=3, gap=2)
    assert sheet.shape == (10, 19, 3)
    np.testing.assert_allclose(sheet[0, [0, 7, 14]], [[0.0] * 3, [0.1] * 3, [0.2] * 3])
    np.testing.assert_allclose(sheet[9, [0, 4, 11]], [[0.3] * 3, [0.3] * 3, [0.4] * 3])
    assert (sheet[4:6] == 1).all()
    assert (sheet[:, 5:7] == 1).all()
    assert (sheet[6:, 14:] == 1).all()


@pytest.fixture(scope="module")
def shown():
    """Two pictures, one of them from the side, and their truth."""
    cast, shots = sitting.sit(atelier(), [5, 9], sitting.posed([[0.0], [70.0]]), size=64, seed=3, plain=True)
    found = sitting.truth(atelier(), face_model.sampler(atelier().model, 16), cast, shots, size=64)
    return sitting.take(atelier(), cast, shots, size=64), found


@pytest.mark.assets
def test_layers_say_what_the_truth_says(shown):
    _, found = shown
    layers = people_sheets.layers(found, 1)
    assert list(layers) == ["depth", "normals", "PNCC", "albedo", "segmentation"]
    empty = found.depth[1].isnan()
    for name, layer in layers.items():
        assert layer.shape == (3, 80, 80), name
        assert 0 <= layer.min() <= layer.max() <= 1, name
    for name in ("depth", "normals", "PNCC", "albedo"):
        assert (layers[name][:, empty] == 1).all(), name
    nearest = found.depth[1].nan_to_num(-1e9).argmax()
    assert layers["depth"][0].flatten()[nearest] == 1
    facing = (found.normals[1, 2] > 0.97).nonzero()[0]
    assert layers["normals"][2, facing[0], facing[1]] > 0.98  # toward the camera is blue
    skin = found.segmentation[1] == CLASSES.index("skin")
    colour = torch.tensor(people_sheets.CLASS_COLOURS[CLASSES.index("skin")])
    assert torch.allclose(layers["segmentation"][:, skin], colour[:, None])
    assert len(people_sheets.CLASS_COLOURS) == len(CLASSES)


@pytest.mark.assets
def test_landmarks_are_drawn_as_seen_or_hidden(shown):
    pictures, found = shown
    marks = atelier().model.landmarks
    figure = people_sheets.truth_sheet(pictures, found, marks, shift=8.0)
    rows = figure.axes[::7]
    assert len(figure.axes) == 14
    for k, axes in enumerate(rows):
        seen, hidden = (drawn.get_offsets() for drawn in axes.collections)
        assert len(seen) == found.landmark_seen[k].sum()
        assert len(seen) + len(hidden) == 68
        place = found.vertices[k, marks[found.landmark_seen[k]], :2] + 8
        np.testing.assert_allclose(seen, place, atol=1e-4)
    assert found.landmark_seen[0].sum() > found.landmark_seen[1].sum()


def test_people_are_counted_by_age_and_tone():
    people = {
        "years": torch.tensor([20.0, 21.0, 40.0, 79.0]),
        "gender": torch.tensor([0.0, 1.0, 1.0, 0.0]),
        "ancestry": torch.eye(3)[[0, 0, 1, 2]],
        "melanin": torch.tensor([0.9, 0.55, 0.2, 0.2]),  # ITA −48°, −6°, 36°, 36°
    }
    everybody = {k: v.repeat_interleave(3, dim=0) for k, v in people.items()}
    everybody["melanin"] = torch.cat([everybody["melanin"][:-3], torch.tensor([0.0, 0.12, 0.3])])
    figure = people_sheets.plot_demographics(everybody)
    _, tones, within = figure.axes
    heights = [patch.get_height() for patch in tones.patches]
    np.testing.assert_allclose(heights, 100 / 12 * np.array([3, 3, 1, 3, 1, 1]), atol=1e-3)
    dark, fair = tones.patches[0].get_facecolor(), tones.patches[-1].get_facecolor()
    assert sum(dark[:3]) < 0.6 * sum(fair[:3])
    widths = np.array([patch.get_width() for patch in within.patches]).reshape(6, 3)
    np.testing.assert_allclose(widths.sum(axis=0), 100, atol=1e-3)
    np.testing.assert_allclose(widths[:, 0], [50, 50, 0, 0, 0, 0], atol=1e-3)


def test_measures_stand_where_they_differ():
    rows = [
        {"measure": name, "gender": gender, "shift": shift, "spread": 0.5}
        for name, shift in (("nose", -1.5), ("mouth", 2.0))
        for gender in ("men", "women")
    ]
    axes = people_sheets.plot_measures(rows).axes[0]
    men = axes.containers[0]
    np.testing.assert_allclose(men.lines[0].get_xdata(), [-1.5, 2.0])
    np.testing.assert_allclose(men.lines[2][0].get_segments()[1][:, 0], [1.0, 3.0])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["nose", "mouth"]
    low, high = axes.get_ylim()
    assert low > high  # the first measure on top


def test_actions_are_counted_once_for_both_sides():
    names = ("browDownLeft", "browDownRight", "jawOpen")
    alpha = torch.tensor([[0.0, 0.2, 0.9], [0.6, 0.0, 0.6], [0.0, 0.0, 0.2], [0.05, 0.0, 0.6]])
    axes = people_sheets.plot_expressions(alpha, names).axes[0]
    some, much = ([bar.get_height() for bar in bars] for bars in axes.containers)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["jawOpen", "browDown"]
    assert some == [100, 50]
    assert much == [75, 25]
