"""Rotations and similarities against scipy and closed forms, and the pinned sign conventions."""

import itertools

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from facet import geometry

NOSE = torch.tensor([[0.0, 0.0, 100.0]], dtype=torch.float64)  # model frame: z out of the face
CROWN = torch.tensor([[0.0, 100.0, 0.0]], dtype=torch.float64)
LEFT_EAR = torch.tensor([[70.0, 0.0, 0.0]], dtype=torch.float64)


def to_image(points, yaw=0.0, pitch=0.0, roll=0.0):
    centre = torch.tensor([[64.0, 60.0]], dtype=torch.float64)
    return geometry.transform_points(geometry.model_to_image(yaw, pitch, roll, 0.5, centre), points[None])[
        0, 0
    ]


def random_points(generator, batch=4, count=20):
    return torch.randn(batch, count, 3, generator=generator, dtype=torch.float64)


def random_angles(generator, count=64):
    span = torch.tensor([85.0, 85.0, 179.0], dtype=torch.float64)
    return ((torch.rand(count, 3, generator=generator, dtype=torch.float64) * 2 - 1) * span).unbind(dim=1)


def test_rotation_matrix_equals_scipy():
    yaw, pitch, roll = random_angles(torch.Generator().manual_seed(0))
    ours = geometry.rotation_matrix(yaw, pitch, roll)
    theirs = Rotation.from_euler("ZYX", torch.stack((roll, yaw, -pitch), dim=1).numpy(), degrees=True)
    np.testing.assert_allclose(ours.numpy(), theirs.as_matrix(), atol=1e-14)


def test_the_angle_between_rotations_equals_scipy():
    first, second = Rotation.random(200, random_state=0), Rotation.random(200, random_state=1)
    found = geometry.angle_between(*(torch.from_numpy(some.as_matrix()) for some in (first, second)))
    np.testing.assert_allclose(found, np.degrees((first.inv() * second).magnitude()), atol=1e-6)
    near = geometry.rotation_matrix(torch.tensor([0.0, 1e-3]).double(), 0.0, 0.0)
    assert float(geometry.angle_between(near[0], near[1])) == pytest.approx(1e-3, rel=1e-6)
    assert float(geometry.angle_between(near[0], near[0])) == 0


def test_euler_angles_equal_scipy():
    matrices = Rotation.random(100, random_state=np.random.RandomState(3)).as_matrix()
    roll, yaw, minus_pitch = Rotation.from_matrix(matrices).as_euler("ZYX", degrees=True).T
    upright = np.abs(minus_pitch) <= 90  # scipy's branch has |yaw| <= 90, ours has |pitch| <= 90
    ours = np.stack([a.numpy() for a in geometry.euler_angles(torch.from_numpy(matrices))])
    np.testing.assert_allclose(ours[:, upright], np.stack((yaw, -minus_pitch, roll))[:, upright], atol=1e-9)
    assert upright.sum() > 20
    assert (~upright).sum() > 20
    assert np.all(np.abs(ours[1]) <= 90)
    assert np.all(np.abs(ours[0, ~upright]) >= 90)


def test_positive_yaw_turns_the_nose_to_the_image_right():
    x, y, z = to_image(NOSE, yaw=30.0)
    assert x == pytest.approx(64 + 50 * np.sin(np.radians(30)))
    assert y == pytest.approx(60)
    assert z == pytest.approx(50 * np.cos(np.radians(30)))


def test_positive_pitch_lifts_the_nose():
    x, y, z = to_image(NOSE, pitch=20.0)
    assert x == pytest.approx(64)
    assert y == pytest.approx(60 - 50 * np.sin(np.radians(20)))  # up is smaller y
    assert z == pytest.approx(50 * np.cos(np.radians(20)))


def test_positive_roll_tilts_the_head_toward_the_subjects_right():
    x, y, _ = to_image(CROWN, roll=15.0)
    assert x == pytest.approx(64 - 50 * np.sin(np.radians(15)))  # the subject's right is the image's left
    assert y == pytest.approx(60 - 50 * np.cos(np.radians(15)))


def test_the_subjects_left_is_the_image_right():
    x, y, z = to_image(LEFT_EAR)
    assert (x, y, z) == (pytest.approx(99), pytest.approx(60), pytest.approx(0))


def test_order_of_the_rotations_is_pitch_then_yaw_then_roll():
    turned = geometry.rotation_matrix(90.0, 30.0, 0.0)
    # The nose is lifted first, and then carried round to the side: a pitch about the image's x axis after
    # the yaw would leave it in the horizontal plane.
    nose = turned @ torch.tensor([0.0, 0.0, 1.0])
    torch.testing.assert_close(nose, torch.tensor([np.cos(np.pi / 6), 0.5, 0.0]).float())


@pytest.mark.parametrize(
    "yaw", [-180.0, -135.0, -100.0, -90.0, -89.999, -45.0, 0.0, 67.5, 89.999, 90.0, 100.0]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_round_trip_of_angles(yaw, dtype):
    for pitch, roll in itertools.product((-80.0, -10.0, 0.0, 25.0), (-170.0, -20.0, 0.0, 40.0)):
        angles = torch.tensor([yaw, pitch, roll], dtype=dtype)
        rotation = geometry.rotation_matrix(*angles)
        found = torch.stack(geometry.euler_angles(rotation))
        torch.testing.assert_close(geometry.rotation_matrix(*found), rotation, atol=1e-6, rtol=0)
        if abs(abs(yaw) - 90) > 0.01:
            back = found - angles
            back = (back + 180) % 360 - 180
            torch.testing.assert_close(back, torch.zeros_like(back), atol=1e-3, rtol=0)


@pytest.mark.parametrize("yaw", [-90.0, 90.0])
def test_gimbal_lock_has_no_roll(yaw):
    rotation = geometry.rotation_matrix(torch.tensor(yaw, dtype=torch.float64), 10.0, 25.0)
    found_yaw, pitch, roll = geometry.euler_angles(rotation)
    assert found_yaw == pytest.approx(yaw)
    assert roll == 0
    torch.testing.assert_close(geometry.rotation_matrix(found_yaw, pitch, roll), rotation, atol=1e-12, rtol=0)


def test_angles_broadcast_and_keep_dtype():
    yaw = torch.zeros(5, 1, dtype=torch.float64)
    assert geometry.rotation_matrix(yaw, torch.zeros(3, dtype=torch.float64), 0.0).shape == (5, 3, 3, 3)
    assert geometry.rotation_matrix(yaw, 1.0, 2).dtype == torch.float64
    assert geometry.rotation_matrix(0, 0, 0).dtype == torch.float32
    assert geometry.rotation_matrix(torch.tensor(30), 0, 0).dtype == torch.float32


@pytest.mark.parametrize("reflect", [False, True])
def test_similarity_recovers_a_known_map(reflect):
    generator = torch.Generator().manual_seed(1)
    source = random_points(generator)
    rotation = geometry.rotation_matrix(*random_angles(generator, count=4))
    if reflect:
        rotation = geometry.image_flip(rotation) @ rotation
    truth = geometry.Similarity(
        torch.tensor([0.3, 1.0, 2.0, 5.0]).double(), rotation, random_points(generator)[:, 0]
    )
    found = geometry.similarity(source, truth.apply(source), reflect=reflect)
    torch.testing.assert_close(found.matrix(), truth.matrix(), atol=1e-12, rtol=0)
    wrong = geometry.similarity(source, truth.apply(source), reflect=not reflect)
    assert (torch.linalg.det(wrong.rotation) * torch.linalg.det(rotation) < 0).all()
    assert (wrong.apply(source) - truth.apply(source)).norm(dim=-1).mean() > 0.1


def test_rigid_similarity_equals_scipy_with_weights():
    generator = torch.Generator().manual_seed(2)
    source, target = random_points(generator), random_points(generator)
    weights = torch.rand(4, 20, generator=generator, dtype=torch.float64)
    found = geometry.similarity(source, target, weights, scale=False)
    assert torch.equal(found.scale, torch.ones(4, dtype=torch.float64))
    for i in range(4):
        centred = [p[i] - (weights[i, :, None] * p[i]).sum(0) / weights[i].sum() for p in (source, target)]
        theirs, _ = Rotation.align_vectors(centred[1].numpy(), centred[0].numpy(), weights=weights[i].numpy())
        np.testing.assert_allclose(found.rotation[i].numpy(), theirs.as_matrix(), atol=1e-10)


def test_similarity_is_a_minimum():
    generator = torch.Generator().manual_seed(4)
    source, target = random_points(generator, batch=1), random_points(generator, batch=1)
    weights = torch.rand(20, generator=generator, dtype=torch.float64)
    best = geometry.similarity(source, target, weights)

    def cost(matrix):
        residual = geometry.transform_points(matrix, source) - target
        return (weights * residual.square().sum(-1)).sum().item()

    for _ in range(50):
        yaw, pitch, roll, shift = (torch.randn(4, generator=generator, dtype=torch.float64) * 0.5).tolist()
        other = geometry.Similarity(
            best.scale * (1 + 0.01 * shift),
            geometry.rotation_matrix(torch.tensor(yaw).double(), pitch, roll) @ best.rotation,
            best.translation + 0.01 * shift,
        )
        assert cost(other.matrix()) > cost(best.matrix())


def test_zero_weight_points_do_not_matter():
    generator = torch.Generator().manual_seed(5)
    source, target = random_points(generator), random_points(generator)
    weights = torch.ones(20, dtype=torch.float64)
    weights[12:] = 0
    with_weights = geometry.similarity(source, target, weights)
    without = geometry.similarity(source[:, :12], target[:, :12])
    torch.testing.assert_close(with_weights.matrix(), without.matrix(), atol=1e-12, rtol=0)


def test_inverse_undoes():
    generator = torch.Generator().manual_seed(6)
    source, target = random_points(generator), random_points(generator)
    for reflect in (False, True):
        found = geometry.similarity(source, target, reflect=reflect)
        torch.testing.assert_close(found.inverse().apply(found.apply(source)), source, atol=1e-10, rtol=0)


@pytest.mark.parametrize("yaw", [-90.0, -30.0, 0.0, 60.0, 100.0])
def test_head_pose_from_the_image(yaw):
    generator = torch.Generator().manual_seed(7)
    points = 50 * random_points(generator, batch=1)
    pitch, roll = (0.0, 0.0) if abs(yaw) == 90 else (12.0, -7.0)
    matrix = geometry.model_to_image(yaw, pitch, roll, 0.7, torch.tensor([[60.0, 70.0]], dtype=torch.float64))
    assert torch.linalg.det(matrix[:, :, :3]) < 0
    found = geometry.similarity(points, geometry.transform_points(matrix, points), reflect=True)
    assert found.scale.item() == pytest.approx(0.7)
    assert [a.item() for a in found.head_pose()] == pytest.approx([yaw, pitch, roll], abs=1e-4)
    with pytest.raises(ValueError, match="reflect=True"):
        geometry.similarity(points, points).head_pose()


def test_300w_lp_angles_equal_the_published_matrices():
    pitch, yaw, roll = 0.2, -0.7, 0.4  # the elementary matrices as 3DDFA and face3d write them
    c, s = np.cos, np.sin
    about_x = np.array([[1, 0, 0], [0, c(pitch), s(pitch)], [0, -s(pitch), c(pitch)]])
    about_y = np.array([[c(yaw), 0, -s(yaw)], [0, 1, 0], [s(yaw), 0, c(yaw)]])
    about_z = np.array([[c(roll), s(roll), 0], [-s(roll), c(roll), 0], [0, 0, 1]])
    angles = torch.tensor([pitch, yaw, roll], dtype=torch.float64)
    np.testing.assert_allclose(
        geometry.rotation_from_300w_lp(*angles).numpy(), about_x @ about_y @ about_z, atol=1e-14
    )


def test_similarity_has_gradients():
    generator = torch.Generator().manual_seed(8)
    source = random_points(generator, batch=2, count=6).requires_grad_()
    target = random_points(generator, batch=2, count=6).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: geometry.similarity(a, b).matrix(), (source, target))


def test_errors_say_what_is_wrong():
    points = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(9))
    with pytest.raises(ValueError, match=r"two .*sets"):
        geometry.similarity(points, points[:, :4])
    with pytest.raises(ValueError, match="weights must be"):
        geometry.similarity(points, points, torch.ones(4))
    with pytest.raises(ValueError, match="negative"):
        geometry.similarity(points, points, -torch.ones(5))
    with pytest.raises(ValueError, match="all be zero"):
        geometry.similarity(points, points, torch.zeros(5))
    with pytest.raises(ValueError, match="coincide"):
        geometry.similarity(torch.zeros(1, 5, 3), points[:1])
    with pytest.raises(ValueError, match="centre must be"):
        geometry.model_to_image(0.0, 0.0, 0.0, 1.0, torch.zeros(2))
