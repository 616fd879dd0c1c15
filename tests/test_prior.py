"""The face model as a prior: a basis of faces, and the most probable one behind noise."""

import pytest
import torch

from facet import face_model
from facet.geometry import model_to_image, transform_points
from facet.reconstruction.complete import complete
from facet.reconstruction.prior import _similarity_directions, prior
from facet.synthetic.expressions import draw_expressions

pytestmark = pytest.mark.assets


@pytest.fixture(scope="module")
def model():
    return face_model.load()


@pytest.fixture
def people(model, generator):
    """Four people who make faces, (4, V, 3) in the model frame."""
    identities = torch.randn(4, model.identity_modes, generator=generator)
    return model.blend(identities, draw_expressions(generator, model.expression_names, 4))


def in_image(vertices):
    """As a camera sees them: a pixel is 1.6 mm."""
    matrix = model_to_image(20.0, 5.0, -8.0, 0.625, torch.tensor([[63.5, 63.5]]))
    return transform_points(matrix[0], vertices)


def test_modes_are_orthonormal_and_hold_no_similarity(model):
    found = prior(model)
    counted = found.basis[:, found.counted].flatten(1)
    torch.testing.assert_close(counted @ counted.T, torch.eye(len(counted), dtype=torch.float64))
    rigid = _similarity_directions(found.mean)[:, found.counted].flatten(1)
    rigid = rigid / rigid.norm(dim=1, keepdim=True)
    assert (rigid @ counted.T).abs().max() < 1e-8
    assert (found.variance.diff() <= 0).all()


def test_similarity_directions_are_the_derivatives():
    points = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    turned = torch.linalg.matrix_exp(torch.tensor([[0.0, -1e-6, 0], [1e-6, 0, 0], [0, 0, 0]]).double())
    centred = points - points.mean(0)
    numeric = (centred @ turned.T - centred) / 1e-6
    torch.testing.assert_close(_similarity_directions(points)[5], numeric, atol=1e-5, rtol=0)


def test_variance_is_that_of_sampled_people(model, generator):
    """The spread of 200 people, each laid on the mean by the best similarity, along the widest mode."""
    found = prior(model)
    identities = torch.randn(200, model.identity_modes, generator=generator)
    faces = model.blend(identities, draw_expressions(generator, model.expression_names, 200)).double()
    codes = torch.stack([found.likely(in_image(f.float()), 0.0)[1][:3] for f in faces])
    assert (codes.std(dim=0) - 1).abs().max() < 0.2
    assert codes.mean(dim=0).abs().max() < 0.25


def test_without_noise_a_face_is_its_own_most_probable(model, people):
    found = prior(model)
    for seen in in_image(people):
        again, _ = found.likely(seen, 0.0)
        assert (again - seen)[found.counted].norm(dim=1).mean() < 0.12  # px; the modes that were cut off


def test_noise_is_taken_away_and_a_great_noise_leaves_the_mean(model, people, generator):
    found = prior(model)
    smooth = found.basis[:40].to(torch.float32)  # noise that lies among the modes, 1 mm of each
    size = int(found.counted.sum()) ** 0.5
    for truth in people:
        extra = torch.tensordot(size * torch.randn(40, generator=generator), smooth, dims=1)
        seen, exact = in_image(truth + extra), in_image(truth)
        kept = found.counted
        plain = (seen - exact)[kept].norm(dim=1).mean()
        assert (found.likely(seen, 1.0)[0] - exact)[kept].norm(dim=1).mean() < 0.7 * plain
        assert found.likely(seen, 1000.0)[1].abs().max() < 0.01


def test_the_result_follows_the_photo(model, people):
    """Turned and enlarged vertices give the same face, turned and enlarged."""
    found = prior(model)
    seen = in_image(people[:1])[0]
    moved = seen @ torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(3)))[0]
    proper = torch.linalg.det(torch.linalg.lstsq(seen - seen.mean(0), moved - moved.mean(0)).solution)
    moved = moved * (1.0 if proper > 0 else -1.0) * 1.7
    one, two = found.likely(seen)[1], found.likely(moved)[1]
    torch.testing.assert_close(one, two, atol=1e-3, rtol=1e-3)


def test_a_noisy_map_becomes_the_likely_face(model, people, generator):
    size = 128
    matrix = model_to_image(20.0, 5.0, -8.0, 0.625, torch.tensor([[63.5, 63.5]]))
    identities = torch.randn(1, model.identity_modes, generator=generator)
    exact = face_model.sampler(model, size).map(identities, torch.zeros(1, 52), matrix)[0]
    blotches = torch.nn.functional.interpolate(
        torch.randn(1, 3, 12, 12, generator=generator), size=size, mode="bicubic"
    )[0]
    truth = complete(exact, model)[0]
    counted = model.weight > 0
    plain = complete(exact + 2 * blotches, model)[0]
    likely, filled = complete(exact + 2 * blotches, model, noise=0.5)
    errors = [(found - truth)[counted].norm(dim=1).mean() for found in (plain, likely)]
    assert errors[1] < 0.75 * errors[0]
    from facet.face_model import vertices_from_map

    read = vertices_from_map(filled[None], model.uv)[0]
    assert (read - likely)[counted].norm(dim=1).mean() < 0.1
