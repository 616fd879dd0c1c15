"""A person's own shape: shares that are known in advance, a middle line, and an edge that was made."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from facet.evaluation import edge_profile, measure, midline, personal_shape
from facet.geometry import model_to_image, transform_points


@pytest.fixture
def face(generator):
    """A cloud with a fifth of its vertices unscored."""
    mean = 60 * torch.randn(400, 3, generator=generator, dtype=torch.float64)
    weight = torch.full((400,), 3.0)
    weight[::5] = 0
    marks = torch.arange(1, 400, 5)[:68]
    return SimpleNamespace(mean=mean, weight=weight, landmarks=marks)


def people(face, generator, count=6):
    """(count, V, 3) shapes in millimetres, and the cameras that show them."""
    own = 2 * torch.randn(count, *face.mean.shape, generator=generator, dtype=torch.float64)
    angles = (torch.rand(3, count, generator=generator, dtype=torch.float64) - 0.5) * 60
    centre = 64 + torch.randn(count, 2, generator=generator, dtype=torch.float64)
    return own, model_to_image(*angles, torch.linspace(0.5, 0.9, count).double(), centre)


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_explained_share_of_a_shrunken_departure(face, generator, share):
    own, cameras = people(face, generator)
    truth = transform_points(cameras, face.mean + own)
    predicted = transform_points(cameras, face.mean + share * own)
    elsewhere = 1.3 * predicted + torch.tensor([3.0, -9.0, 20.0])  # no position, no size counts
    found = personal_shape(elsewhere, truth, face)
    # ‖(1 − a) d‖² leaves 1 − (1 − a)²; the fits take out a trace of the departure itself
    assert found.explained == pytest.approx(1 - (1 - share) ** 2, abs=0.02)
    assert found.gain == pytest.approx(share, abs=0.03)


def test_the_unscored_do_not_count(face, generator):
    own, cameras = people(face, generator)
    truth = transform_points(cameras, face.mean + own)
    predicted = truth.clone()
    predicted[:, ::5] += 500
    assert personal_shape(predicted, truth, face).explained == pytest.approx(1.0, abs=1e-9)


def test_measures_are_along_the_models_axes():
    marks = torch.zeros(1, 68, 3)
    marks[0, 30] = torch.tensor([0.0, 0.0, 12.0])  # nose tip
    marks[0, 36, 2], marks[0, 45, 2] = -4.0, -6.0  # eye corners
    marks[0, 4, 0], marks[0, 12, 0] = -50.0, 61.0  # the subject's left is x > 0
    row = measure(marks).iloc[0]
    assert row["nose tip before the eyes"] == pytest.approx(17.0)
    assert row["jaw width"] == pytest.approx(111.0)


def test_midline_runs_down_the_face():
    mirror = torch.tensor([3, 1, 2, 0, 4])
    uv = torch.tensor([[0.2, 0.5], [0.5, 0.9], [0.5, 0.1], [0.8, 0.5], [0.5, 0.5]])
    assert midline(SimpleNamespace(mirror=mirror, uv=uv)).tolist() == [2, 4, 1]


def test_edge_profile_finds_the_ring_that_is_wrong():
    interior = torch.zeros(16, 16, dtype=torch.bool)
    interior[3:13, 2:14] = True
    truth = torch.zeros(2, 3, 16, 16)
    predicted = truth.clone()
    predicted[:, 2, 3:13, 2:14] = 1.0  # a step at the mask's edge
    found = edge_profile(predicted, truth, interior, scale=torch.tensor([0.5, 0.5]), reach=3).set_index(
        "ring"
    )
    assert found.loc[1, "texels"] == 2 * 10 + 2 * 12 - 4
    assert found.loc[-1, "texels"] == 2 * 12 + 2 * 10 + 4
    assert np.allclose(found["error"].loc[[-3, -2, -1, 1, 2, 3]], [0, 0, 0, 2, 2, 2])
    assert found["roughness"].idxmax() == 1
    assert found.loc[[-3, -2, 2, 3], "roughness"].abs().max() == 0
    assert found["texels"].sum() == 256
    # a face that fills the square has its edge at the square's
    full = edge_profile(predicted, truth, torch.ones(16, 16, dtype=torch.bool), scale=torch.ones(2), reach=3)
    assert full["ring"].tolist() == [1, 2, 3]
    half = torch.zeros(16, 16, dtype=torch.bool)
    half[:8] = True
    upper = edge_profile(predicted, truth, interior, scale=torch.ones(2), reach=1, where=half)
    assert upper["texels"].tolist() == [8 * 16 - 5 * 12, 5 * 12]
