"""Pose ranges of the papers; cameras beside the orthographic map and beside TwoView's perspective chain."""

import math

import pytest
import torch
from torch import Tensor

from facet.crop import crop_matrix
from facet.geometry import model_to_image, rotation_matrix, transform_points
from facet.synthetic.poses import (
    FLORENCE_YAW,
    Camera,
    florence_poses,
    random_distance,
    rotation_poses,
    two_view_poses,
    wide_poses,
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


def test_wide_views_leave_no_yaw_out():
    """300W-LP's front photos (to 45°) and side photos (from 45° to 100°) on either side (TwoView 4.2)."""
    poses = wide_poses(generator(), 2000)
    between(poses.yaw[:, 0], -45, 45)
    between(poses.yaw[:, 1], -100, -45)
    between(poses.yaw[:, 2], 45, 100)
    between(poses.pitch, -20, 20)
    between(poses.roll, -20, 20)


def test_rotation_views_tile_the_half_circle():
    poses = rotation_poses(generator(), 2000)
    assert poses.yaw.shape == (2000, 8)
    for k in range(8):
        between(poses.yaw[:, k], -90 + 22.5 * k, -67.5 + 22.5 * k)
    between(poses.pitch, -25, 25)
    between(poses.roll, -25, 25)


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
    ours, inverse_w = Camera(scale, centre, torch.full_like(scale, torch.inf)).project(turned)
    torch.testing.assert_close(ours, expected)
    assert bool((inverse_w == 1).all())


def test_far_camera_tends_to_orthographic_and_near_enlarges():
    centre, scale = torch.tensor([[63.5, 63.5]], dtype=DOUBLE), torch.tensor([0.5], dtype=DOUBLE)
    flat = Camera(scale, centre, torch.full_like(scale, torch.inf)).project(points())[0]
    far = Camera(scale, centre, torch.tensor([1e7], dtype=DOUBLE)).project(points())[0]
    torch.testing.assert_close(far, flat, atol=1e-2, rtol=0)
    tip = torch.tensor([[[10.0, 20.0, 100.0]]], dtype=DOUBLE)
    near, inverse_w = Camera(scale, centre, torch.tensor([400.0], dtype=DOUBLE)).project(tip)
    factor = 400 / 300
    expected = torch.tensor([63.5 + 5 * factor, 63.5 - 10 * factor, 50.0], dtype=DOUBLE)
    torch.testing.assert_close(near[0, 0], expected)
    assert float(inverse_w) == pytest.approx(factor)


def perspective_matrix(
    near: float, far: float, left: float, right: float, bottom: float, top: float
) -> Tensor:
    """(4, 4) M_PERSP, eye to canonical screen space (TwoView eq. 2.8; Theoharis et al.).

    The eye looks along +z of a left-handed frame; left … top are where the frustum cuts the near plane. The
    equation as printed serves a frustum that is symmetric about the axis; the third column's shear serves
    any other.
    """
    width, height, depth = right - left, top - bottom, far - near
    rows = (
        (2 * near / width, 0.0, -(right + left) / width, 0.0),
        (0.0, 2 * near / height, -(top + bottom) / height, 0.0),
        (0.0, 0.0, (near + far) / depth, -2 * near * far / depth),
        (0.0, 0.0, 1.0, 0.0),
    )
    return torch.tensor(rows, dtype=torch.float64)


def viewport_matrix(low: tuple[float, float, float], high: tuple[float, float, float]) -> Tensor:
    """(4, 4) M_VIEWPORT from [−1, 1]³ to the box from `low` to `high` (TwoView eq. 2.9).

    `low` is the bottom left nearest corner; for our image frame its y is larger than that of `high`.
    """
    low_, high_ = torch.tensor(low, dtype=torch.float64), torch.tensor(high, dtype=torch.float64)
    matrix = torch.diag(torch.cat(((high_ - low_) / 2, torch.ones(1, dtype=torch.float64))))
    matrix[:3, 3] = (high_ + low_) / 2
    return matrix


def perspective_chain(
    points: Tensor,
    *,
    world_to_eye: Tensor,
    frustum: tuple[float, float, float, float, float, float],
    viewport: tuple[tuple[float, float, float], tuple[float, float, float]],
) -> tuple[Tensor, Tensor]:
    """Viewport · perspective · world→eye, then division by w (TwoView eq. 4.1).

    Args:
        points: (..., N, 3) in the world.
        world_to_eye: (4, 4) scale, rotation and translation into the eye's frame.
        frustum: (near, far, left, right, bottom, top) as :func:`perspective_matrix` takes them.
        viewport: the corners that :func:`viewport_matrix` takes.

    Returns:
        (..., N, 3) viewport coordinates (z is the non-linear depth of the z-buffer), and (..., N) w, the
        depth before the eye.
    """
    matrix = viewport_matrix(*viewport) @ perspective_matrix(*frustum) @ world_to_eye.to(torch.float64)
    homogeneous = torch.cat((points, torch.ones_like(points[..., :1])), dim=-1).to(torch.float64)
    moved = homogeneous @ matrix.to(points.device).T
    w = moved[..., 3]
    return (moved[..., :3] / w[..., None]).to(points.dtype), w.to(points.dtype)


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
    size = 0.8 + 0.2 * torch.rand(5, generator=generator())
    centre = 127.5 + torch.arange(5.0)[:, None].expand(5, 2)
    camera = Camera(size, centre, random_distance(generator(), 5))
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
