"""Pose ranges of the papers; cameras beside the orthographic map and beside TwoView's perspective chain."""

import math

import pytest
import torch

from facet.crop import crop_matrix
from facet.geometry import model_to_image, rotation_matrix, transform_points
from facet.synthetic.poses import (
    FLORENCE_YAW,
    Camera,
    florence_poses,
    pair_poses,
    perspective_chain,
    random_camera,
    random_distance,
    rotation_poses,
    two_view_poses,
)

DOUBLE = torch.float64


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def points(batch: int = 1, count: int = 40) -> torch.Tensor:
    return (torch.rand((batch, count, 3), generator=generator(), dtype=DOUBLE) - 0.5) * 200


def between(values: torch.Tensor, low: float, high: float) -> None:
    """All within the range, and the range nearly used up."""
    slack = 0.01 * (high - low)
    assert low <= float(values.min()) < low + slack
    assert high - slack < float(values.max()) <= high


def test_two_view_ranges():
    poses = two_view_poses(generator(), 2000)
    between(poses.yaw[:, 0], -14, 14)
    between(poses.yaw[:, 1], -100, -67.5)
    between(poses.yaw[:, 2], 67.5, 100)
    between(poses.pitch, -9, 9)
    between(poses.roll, -9, 9)


def test_rotation_views_tile_the_half_circle():
    poses = rotation_poses(generator(), 2000)
    assert poses.yaw.shape == (2000, 8)
    for k in range(8):
        between(poses.yaw[:, k], -90 + 22.5 * k, -67.5 + 22.5 * k)
    between(poses.pitch, -25, 25)
    between(poses.roll, -25, 25)


def test_pairs_are_front_and_side():
    poses = pair_poses(generator(), 4000)
    between(poses.yaw[:, 0], -45, 45)
    between(poses.yaw[:, 1].abs(), 45, 100)
    assert float(poses.yaw[:, 1].abs().min()) > 45
    assert 0.45 < float((poses.yaw[:, 1] > 0).float().mean()) < 0.55


def test_florence_grid():
    poses = florence_poses()
    assert sorted(set(zip(poses.yaw.tolist(), poses.pitch.tolist(), strict=True))) == [
        (yaw, pitch) for yaw in FLORENCE_YAW for pitch in (-15.0, 0.0, 15.0)
    ]
    assert float(poses.roll.abs().max()) == 0


@pytest.mark.parametrize("yaw", [-90.0, 0.0, 35.0, 90.0])
def test_orthographic_equals_model_to_image(yaw):
    centre = torch.tensor([[60.0, 66.0]], dtype=DOUBLE)
    scale = torch.tensor([0.4], dtype=DOUBLE)
    angle = torch.tensor(yaw, dtype=DOUBLE)
    expected = transform_points(model_to_image(angle, 10.0, -5.0, scale, centre), points())
    turned = points() @ rotation_matrix(angle, 10.0, -5.0).mT
    ours, inverse_w = Camera.orthographic(scale, centre).project(turned)
    torch.testing.assert_close(ours, expected)
    assert bool((inverse_w == 1).all())


def test_far_camera_tends_to_orthographic_and_near_enlarges():
    centre, scale = torch.tensor([[63.5, 63.5]], dtype=DOUBLE), torch.tensor([0.5], dtype=DOUBLE)
    flat = Camera.orthographic(scale, centre).project(points())[0]
    far = Camera(scale, centre, torch.tensor([1e7], dtype=DOUBLE)).project(points())[0]
    torch.testing.assert_close(far, flat, atol=1e-2, rtol=0)
    tip = torch.tensor([[[10.0, 20.0, 100.0]]], dtype=DOUBLE)
    near, inverse_w = Camera(scale, centre, torch.tensor([400.0], dtype=DOUBLE)).project(tip)
    factor = 400 / 300
    expected = torch.tensor([63.5 + 5 * factor, 63.5 - 10 * factor, 50.0], dtype=DOUBLE)
    torch.testing.assert_close(near[0, 0], expected)
    assert float(inverse_w) == pytest.approx(factor)


def test_perspective_chain_equals_camera():
    """TwoView eq. 4.1 for the frustum through the image's edges in the plane Z = 0."""
    size, distance, scale = 128, 420.0, 0.55
    centre = torch.tensor([[60.0, 70.0]], dtype=DOUBLE)
    near, far = 200.0, 800.0
    edges = torch.tensor([-0.5, size - 0.5], dtype=DOUBLE)
    left, right = ((edges - centre[0, 0]) / scale * near / distance).tolist()
    top, bottom = (-(edges - centre[0, 1]) / scale * near / distance).tolist()
    to_eye = torch.diag(torch.tensor([1.0, 1.0, -1.0, 1.0], dtype=DOUBLE))
    to_eye[2, 3] = distance  # the eye looks along the model's −z: depth = d − Z
    chain, w = perspective_chain(
        points(),
        world_to_eye=to_eye,
        frustum=(near, far, left, right, bottom, top),
        viewport=((-0.5, size - 0.5, 0.0), (size - 0.5, -0.5, 1.0)),
    )
    camera = Camera(torch.tensor([scale], dtype=DOUBLE), centre, torch.tensor([distance], dtype=DOUBLE))
    ours, inverse_w = camera.project(points())
    torch.testing.assert_close(chain[..., :2], ours[..., :2])
    torch.testing.assert_close(w, distance / inverse_w)
    planes = torch.tensor([[[0.0, 0.0, distance - near], [0.0, 0.0, distance - far]]], dtype=DOUBLE)
    depth = perspective_chain(
        planes,
        world_to_eye=to_eye,
        frustum=(near, far, left, right, bottom, top),
        viewport=((-0.5, size - 0.5, 0.0), (size - 0.5, -0.5, 1.0)),
    )[0][0, :, 2]
    torch.testing.assert_close(depth, torch.tensor([0.0, 1.0], dtype=DOUBLE))


def test_inverse_w_interpolates_straight_lines():
    """The middle of a pixel segment, weighted by 1/w, is the point of the line that projects there."""
    ends = torch.tensor([[[-50.0, 10.0, 90.0], [60.0, -20.0, -80.0]]], dtype=DOUBLE)
    camera = Camera(
        torch.tensor([0.5], dtype=DOUBLE),
        torch.tensor([[64.0, 64.0]], dtype=DOUBLE),
        torch.tensor([350.0], dtype=DOUBLE),
    )
    image, inverse_w = camera.project(ends)
    weight = 0.5 * inverse_w[0] / (0.5 * inverse_w[0]).sum()
    middle = (weight[:, None] * ends[0]).sum(dim=0)
    back = camera.project(middle[None, None])[0][0, 0, :2]
    torch.testing.assert_close(back, image[0, :, :2].mean(dim=0))


def test_florence_camera():
    """Beside a pinhole of 60° at the stated place; the head's height fills a fixed share of the picture."""
    vertices = points(2, 400)
    camera = Camera.florence(vertices, 256)
    low, high = vertices.amin(dim=1), vertices.amax(dim=1)
    z = torch.sort(vertices[..., 2], dim=1).values[:, 340]
    eye_z = 3 * (high - low)[:, 1] / (2 * math.tan(math.radians(60))) + z
    eye = torch.cat(((low + high)[:, :2] / 2, eye_z[:, None]), dim=1)
    relative = vertices - eye[:, None]
    focal = 128 / math.tan(math.radians(30))
    expected_x = 127.5 + focal * relative[..., 0] / -relative[..., 2]
    expected_y = 127.5 - focal * relative[..., 1] / -relative[..., 2]
    ours = camera.project(vertices)[0]
    torch.testing.assert_close(ours[..., 0], expected_x)
    torch.testing.assert_close(ours[..., 1], expected_y)


def test_camera_follows_a_crop():
    camera = random_camera(generator(), 5, image_size=256, scale=(0.8, 1.0))
    matrix = crop_matrix(torch.full((5, 2), 120.0), torch.full((5,), 150.0), 128)
    before = camera.project(points(5).float())[0]
    after = camera.moved(matrix).project(points(5).float())[0]
    expected = before[..., :2] @ matrix[:, :, :2].mT + matrix[:, None, :, 2]
    torch.testing.assert_close(after[..., :2], expected, atol=1e-3, rtol=0)
    torch.testing.assert_close(after[..., 2], before[..., 2] * 127 / 150, atol=1e-3, rtol=0)
    with pytest.raises(ValueError, match="warp the picture"):
        camera.moved(matrix.flip(1))


def test_distances_and_points_behind():
    distance = random_distance(generator(), 4000)
    assert 350.0 <= float(distance.min()) < 352
    assert 0.22 < float(distance.isinf().float().mean()) < 0.28
    assert 650 < float(distance[distance.isfinite()].median()) < 750
    camera = Camera(torch.ones(1), torch.zeros(1, 2), torch.tensor([50.0]))
    with pytest.raises(ValueError, match="behind the camera"):
        camera.project(torch.tensor([[[0.0, 0.0, 60.0]]]))
