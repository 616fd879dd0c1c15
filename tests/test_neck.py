"""The torso turns, the face patch does not: closed forms, signs, smoothness."""

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from facet.face_model import load
from facet.geometry import rotation_matrix
from facet.synthetic.dataset import read_bank
from facet.synthetic.neck import JAW, LIMITS, Neck, bend, draw_neck, rotation_vector

pytestmark = pytest.mark.assets
ANGLES = torch.tensor([[50.0, 0.0, 0.0], [0.0, -18.0, 0.0], [-30.0, 15.0, 12.0], [7.0, 3.0, -19.0]])


@pytest.fixture(scope="module")
def model():
    return load()


@pytest.fixture(scope="module")
def neck(model):
    return Neck.of(model)


@pytest.fixture(scope="module")
def heads(model):
    return model.blend_head(read_bank("train")["alpha_id"][:4].float())


def test_face_and_skull_keep_their_bits(model, heads):
    bent = bend(heads, model, ANGLES)
    places = model.blend_head(torch.zeros(1, 1))[0].numpy()
    in_patch = cKDTree(model.mean.numpy()).query(places)[0] < 0.01
    assert in_patch.sum() > 8000
    # the triangles that cross the patch's rim stay too: what is drawn of the patch is the patch
    touching = model.head_triangles[torch.from_numpy(in_patch)[model.head_triangles].any(dim=1)].unique()
    assert torch.equal(bent[:, touching], heads[:, touching])
    above = model.head_rest[:, 1] > JAW
    assert torch.equal(bent[:, above], heads[:, above])
    inner = model.head_triangles[(model.head_part != 0) & (model.head_part != 6)].unique()
    assert torch.equal(bent[:, inner], heads[:, inner])
    assert ((bent - heads).norm(dim=-1).amax(dim=1) > 5).all()


def test_nothing_moves_without_a_turn(model, heads):
    torch.testing.assert_close(bend(heads, model, torch.zeros(4, 3)), heads, atol=1e-6, rtol=0)


def test_shoulders_turn_back_about_the_base_of_the_neck(model, neck, heads):
    bent = bend(heads, model, ANGLES).numpy()
    full = (neck.weight == 1).numpy()
    assert full.sum() > 100
    rotation = rotation_matrix(*ANGLES.unbind(dim=1)).numpy()
    for k in range(4):
        pivot = heads[k, neck.ring].mean(dim=0).numpy()
        expected = (heads[k].numpy()[full] - pivot) @ rotation[k] + pivot  # rows times R: the inverse
        np.testing.assert_allclose(bent[k][full], expected, atol=2e-3)


def test_shoulders_stay_in_the_world(model, neck, heads):
    """Turned as the head is, the torso has its old orientation."""
    bent = bend(heads, model, ANGLES)
    turned = bent @ rotation_matrix(*ANGLES.unbind(dim=1)).mT
    full = neck.weight == 1
    shift = (turned - heads)[:, full]
    assert (shift - shift.mean(dim=1, keepdim=True)).abs().amax() < 5e-3


def test_signs(model, neck, heads):
    """The head turned to the subject's left leaves the left shoulder in front, seen from the head."""
    full = (neck.weight == 1) & (model.head_rest[:, 0] > 100)
    moved = (bend(heads[:1], model, torch.tensor([[40.0, 0.0, 0.0]])) - heads[:1])[0, full]
    assert moved[:, 2].min() > 30
    moved = (bend(heads[:1], model, torch.tensor([[0.0, 0.0, 15.0]])) - heads[:1])[0, full]
    assert moved[:, 1].max() < -15  # tilted to the right: the left shoulder lies lower, seen from the head


def test_weights_are_smooth_and_even(model, neck):
    weight, rest = neck.weight, model.head_rest.numpy()
    assert (weight.min(), weight.max()) == (0, 1)
    edges = torch.cat([model.head_triangles[:, [0, 1]], model.head_triangles[:, [1, 2]]])
    assert (weight[edges[:, 0]] - weight[edges[:, 1]]).abs().max() < 0.3
    mirrored = cKDTree(rest).query(rest * [-1, 1, 1])[1]
    assert (weight - weight[torch.from_numpy(mirrored)]).abs().max() < 0.02


def test_a_twisted_neck_does_not_grow_thin(model, neck, heads):
    """About an upright axis everything keeps its distance from it."""
    bent = bend(heads, model, torch.tensor([[60.0, 0.0, 0.0]]).expand(4, 3))
    pivot = heads[:, neck.ring].mean(dim=1, keepdim=True)
    radius = [(v - pivot)[:, neck.moving][..., [0, 2]].norm(dim=-1) for v in (heads, bent)]
    torch.testing.assert_close(radius[0], radius[1], atol=1e-3, rtol=0)
    torch.testing.assert_close(bent[..., 1], heads[..., 1], atol=1e-3, rtol=0)


def test_turns_end_at_the_limits(model, heads):
    beyond = bend(heads, model, torch.tensor([[150.0, 80.0, -90.0]]).expand(4, 3))
    yaw, pitch, roll = LIMITS
    assert torch.equal(beyond, bend(heads, model, torch.tensor([[yaw, pitch, -roll]]).expand(4, 3)))


def test_rotation_vectors_are_scipys():
    angles = torch.tensor([[10.0, 5.0, -3.0], [-60.0, 20.0, 15.0], [0.0, 0.0, 0.0], [89.0, -1.0, 2.0]])
    rotation = rotation_matrix(*angles.unbind(dim=1))
    expected = Rotation.from_matrix(rotation.numpy()).as_rotvec()
    np.testing.assert_allclose(rotation_vector(rotation).numpy(), expected, atol=1e-5)


def test_torsos_follow_partly():
    yaw = torch.linspace(-100, 100, 4001)
    zero = torch.zeros_like(yaw)
    one, two = (draw_neck(torch.Generator().manual_seed(9), yaw, zero, zero) for _ in range(2))
    assert torch.equal(one, two)
    assert (one.abs() <= torch.tensor(LIMITS)).all()
    turned = yaw.abs() > 30
    share = one[turned, 0] / yaw[turned]
    assert 0.5 < share.mean() < 0.75
    assert (share > 0).float().mean() > 0.97
    assert one[yaw.abs() < 3, 0].std() < 8
    assert one[:, 1].std() == pytest.approx(3, rel=0.1)
