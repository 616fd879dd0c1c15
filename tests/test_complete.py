"""What no loss counts is continued from what is counted, whatever the network says there."""

import numpy as np
import pytest
import torch

from facet import face_model
from facet.geometry import model_to_image, transform_points
from facet.reconstruction.complete import _harmonic, _smooth, complete

SIZE = 128


@pytest.fixture(scope="module")
def model():
    return face_model.load()


def placed(model, alpha_id, alpha_exp=None):
    """(V, 3) true vertices of a person, turned, and the (3, S, S) map of them."""
    matrix = model_to_image(20.0, 5.0, -8.0, 0.6, torch.tensor([[63.5, 63.5]]))
    alpha_exp = torch.zeros(1, 52) if alpha_exp is None else alpha_exp
    vertices = transform_points(matrix, model.blend(alpha_id, alpha_exp))[0]
    exact = face_model.sampler(model, SIZE, modes=alpha_id.shape[1]).map(alpha_id, alpha_exp, matrix)[0]
    return vertices - torch.tensor([0.0, 0.0, vertices[model.rim, 2].min()]), exact


@pytest.mark.assets
def test_garbage_where_nothing_counts_changes_nothing(model, generator):
    jaw = torch.zeros(1, 52)
    jaw[0, model.expression_names.index("jawOpen")] = 0.7
    truth, exact = placed(model, torch.randn(1, 24, generator=generator), jaw)
    uncounted = model.uv_weight(SIZE) == 0
    spoilt = exact.clone()
    spoilt[:, uncounted] = 90 * torch.randn(3, int(uncounted.sum()), generator=generator)
    vertices, filled = complete(spoilt, model, smoothing=0.0)
    again, same = complete(exact, model, smoothing=0.0)
    torch.testing.assert_close(vertices, again)
    torch.testing.assert_close(filled, same)
    torch.testing.assert_close(filled[:, ~uncounted], exact[:, ~uncounted], atol=1e-3, rtol=0)
    distance = (vertices - truth).norm(dim=1)
    counted = model.weight > 0
    assert distance[counted].mean() < 0.15
    assert distance[counted].max() < 3
    assert distance[~counted].mean() < 6  # an opened jaw pulls at the neck; the mean face's does not


@pytest.mark.assets
def test_the_mean_face_continues_itself(model):
    truth, exact = placed(model, torch.zeros(1, 1))
    vertices, filled = complete(exact, model)
    distance = (vertices - truth).norm(dim=1)
    assert distance[model.weight == 0].max() < 1
    error = (filled - exact).abs()  # lips: read from texels a millimetre off, where the map is steep
    assert error.max() < 2
    assert error.mean() < 0.02


@pytest.mark.assets
def test_smoothing_takes_noise_away_and_leaves_the_mean_face_sharp(model, generator):
    truth, exact = placed(model, torch.zeros(1, 1))
    counted = model.weight > 0
    sharp = (complete(exact, model)[0] - truth).norm(dim=1)[counted]
    assert sharp.mean() < 0.05
    noisy = exact + torch.randn(exact.shape, generator=generator)
    raw = (complete(noisy, model, smoothing=0.0)[0] - truth).norm(dim=1)[counted].mean()
    smooth = (complete(noisy, model)[0] - truth).norm(dim=1)[counted].mean()
    assert smooth < 0.3 * raw  # white noise falls to 1 / (2 √π σ) = 14 % at two texels


def test_smoothing_stays_inside_the_mask(generator):
    """Against a slow loop; what the mask leaves out has no say."""
    values, mask = torch.randn(2, 9, 9, generator=generator), torch.rand(9, 9, generator=generator) > 0.3
    spoilt = torch.where(mask, values, 1e6)
    out = _smooth(spoilt, mask.float(), 1.0)
    y, x = np.mgrid[:9, :9]
    for i, j in ((0, 0), (4, 4), (8, 3)):
        near = (np.abs(y - i) <= 3) & (np.abs(x - j) <= 3) & mask.numpy()
        weight = np.exp(-((y - i) ** 2 + (x - j) ** 2) / 2) * near
        expected = (values.numpy() * weight).sum(axis=(1, 2)) / weight.sum()
        np.testing.assert_allclose(out[:, i, j], expected, rtol=1e-4)


def test_harmonic_values_are_the_mean_of_their_neighbours():
    """A chain of five: the ends known, between them a straight line; a loose end copies its neighbour."""
    from scipy.sparse import coo_matrix

    start, end = np.array([0, 1, 2, 3]), np.array([1, 2, 3, 4])
    chain = coo_matrix((np.ones(4), (start, end)), shape=(5, 5))
    chain = (chain + chain.T).tocsr()
    values = np.array([[1.0], [77.0], [77.0], [4.0], [77.0]])
    known = np.array([True, False, False, True, False])
    np.testing.assert_allclose(_harmonic(values, known, chain)[:, 0], [1, 2, 3, 4, 4])
