"""How synthetic heads stand and what looks at them: pose samplers and cameras.

A vertex V of the model frame (mm) is turned to P = R V (head rotation of `geometry.rotation_matrix`, still
the model's axes) and projected into the image frame (pixels, y down, z toward the camera, left-handed).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

TWO_VIEW_YAW = {"front": (-14.0, 14.0), "left": (-100.0, -67.5), "right": (67.5, 100.0)}
TWO_VIEW_TILT = 9.0
# What 300W-LP's photos are sorted by: front photos to 45°, side photos from there on (TwoView 4.2).
WIDE_YAW = {"front": (-45.0, 45.0), "left": (-100.0, -45.0), "right": (45.0, 100.0)}
WIDE_TILT = 20.0
ROTATION_YAW = tuple(-90.0 + 22.5 * k for k in range(8))
ROTATION_TILT = 25.0
FLORENCE_YAW = (-80.0, -60.0, -40.0, -20.0, 0.0, 20.0, 40.0, 60.0, 80.0)
FLORENCE_PITCH = (-15.0, 0.0, 15.0)
NEAREST = 350.0
"""Distance in mm of a phone held for a self-portrait."""


@dataclass(frozen=True)
class Poses:
    """Yaw, pitch, roll in degrees, three tensors of one shape."""

    yaw: Tensor
    pitch: Tensor
    roll: Tensor

    def flatten(self) -> Poses:
        """The poses in one row, people outermost."""
        return Poses(self.yaw.flatten(), self.pitch.flatten(), self.roll.flatten())


def two_view_poses(generator: torch.Generator, people: int) -> Poses:
    """Front, left and right view of each person, (people, 3) (TwoView figure 4.4)."""
    return _three_views(generator, people, TWO_VIEW_YAW, TWO_VIEW_TILT)


def wide_poses(generator: torch.Generator, people: int) -> Poses:
    """Front, left and right view of each person, (people, 3), without the gaps of `two_view_poses`.

    Front photos are turned by up to 45°, side photos by 45° to 100°, all tilted by up to 20° either way: no
    yaw between the profiles is left out, as none is in 300W-LP.
    """
    return _three_views(generator, people, WIDE_YAW, WIDE_TILT)


# Sets of a front, a left and a right view of each person.
THREE_VIEWS = {"two-view": two_view_poses, "wide": wide_poses}


def rotation_poses(generator: torch.Generator, people: int) -> Poses:
    """Eight views of each person that cover profile to profile, (people, 8) (Rotation figure 4.3).

    The thesis lists −90, ±67.5, ±45, ±22.5, 0 (eight numbers), "plus U[0, 22.5]": read as the lower edges of
    eight bins that tile [−90, 90].
    """
    start = torch.tensor(ROTATION_YAW, device=generator.device)
    yaw = start + _uniform(generator, (people, len(ROTATION_YAW)), 0.0, 22.5)
    return _with_tilt(generator, yaw, ROTATION_TILT)


def florence_poses() -> Poses:
    """The 27 poses of the Florence protocol, (27,), pitch outermost, roll 0 (Rotation section 5.2.1)."""
    pitch, yaw = torch.meshgrid(torch.tensor(FLORENCE_PITCH), torch.tensor(FLORENCE_YAW), indexing="ij")
    return Poses(yaw.flatten(), pitch.flatten(), torch.zeros(yaw.numel()))


@dataclass(frozen=True)
class Camera:
    """A batch of cameras; orthographic where `distance` is infinite.

    With (X, Y, Z) = P − origin and d = distance:

        x = cx + s X d / (d − Z),   y = cy − s Y d / (d − Z),   z = s Z

    so a point in the plane of the origin has the same size in every camera, and z stays a length.

    Attributes:
        scale: (B,) s, pixels per millimetre in the plane Z = 0.
        centre: (B, 2) pixel at which `origin` lands; the optical axis goes through it.
        distance: (B,) mm from the camera to the plane Z = 0; `inf` is orthographic.
        origin: (B, 3) mm, in the model's axes after the head's rotation; None is 0.
    """

    scale: Tensor
    centre: Tensor
    distance: Tensor
    origin: Tensor | None = None

    @classmethod
    def florence(cls, vertices: Tensor, image_size: int, *, field_of_view: float = 60.0) -> Camera:
        """The camera of the Florence protocol for turned heads (Rotation appendix B).

        It looks along −z at the middle of the box in x and y from z = 3 h / (2 tan yfov) + the 85th
        percentile of z, h the head's height; yfov, not its half, stands in the tangent, as in the script.

        Args:
            vertices: (B, N, 3) mm, turned to the pose to be seen, before the camera.
            image_size: S.
            field_of_view: vertical, degrees.
        """
        low, high = vertices.amin(dim=1), vertices.amax(dim=1)
        height = high[:, 1] - low[:, 1]
        count = vertices.shape[1]
        rank = min(round(count * 0.85), count - 1)
        plane = vertices[:, :, 2].sort(dim=1).values[:, rank]
        distance = 3 * height / (2 * math.tan(math.radians(field_of_view)))
        focal = image_size / 2 / math.tan(math.radians(field_of_view) / 2)
        origin = torch.cat(((low + high)[:, :2] / 2, plane[:, None]), dim=1)
        centre = torch.full_like(origin[:, :2], (image_size - 1) / 2)
        return cls(focal / distance, centre, distance, origin)

    def project(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Image-frame points, and what interpolates them in perspective.

        Args:
            points: (B, N, 3) P = R V in mm.

        Returns:
            (B, N, 3) pixels, and 1/w (B, N) = d / (d − Z): attributes are linear in the image after
            multiplication by it. It is 1 everywhere for an orthographic camera.

        Raises:
            ValueError: a point lies at or behind the camera.
        """
        origin = 0.0 if self.origin is None else self.origin[:, None]
        points = points - origin
        w = 1 - points[..., 2] / self.distance[:, None]
        if not bool((w > 0).all()):
            raise ValueError("points lie behind the camera: enlarge its distance")
        inverse_w = 1 / w
        scale = self.scale[:, None]
        x = self.centre[:, :1] + scale * points[..., 0] * inverse_w
        y = self.centre[:, 1:] - scale * points[..., 1] * inverse_w
        return torch.stack((x, y, scale * points[..., 2]), dim=-1), inverse_w

    def moved(self, matrix: Tensor) -> Camera:
        """The camera whose pictures are shifted and enlarged by (B, 2, 3) crop matrices (no turn).

        Raises:
            ValueError: a matrix turns or mirrors the picture.
        """
        scale = matrix[:, 0, 0]
        expected = torch.diag_embed(torch.stack((scale, scale), dim=1))
        if not bool(((matrix[:, :, :2] - expected).abs().amax() < 1e-4) & (scale > 0).all()):
            raise ValueError("a camera can follow shifts and scales only: warp the picture to turn it")
        centre = scale[:, None] * self.centre + matrix[:, :, 2]
        return Camera(self.scale * scale, centre, self.distance, self.origin)


def random_distance(
    generator: torch.Generator, batch: int, *, nearest: float = NEAREST, orthographic: float = 0.25
) -> Tensor:
    """(B,) distances in mm, evenly spread in 1/distance from `nearest` to infinity.

    A share `orthographic` is infinite: crops of far photographs, and 300W-LP's weak perspective.
    """
    inverse = _uniform(generator, (batch,), 0.0, 1.0) / nearest
    far = _uniform(generator, (batch,), 0.0, 1.0) < orthographic
    return torch.where(far, math.inf, 1 / inverse.clamp(min=1e-7))


def _three_views(
    generator: torch.Generator, people: int, ranges: dict[str, tuple[float, float]], tilt: float
) -> Poses:
    low, high = torch.tensor(tuple(ranges.values()), device=generator.device).T
    yaw = low + (high - low) * _uniform(generator, (people, 3), 0.0, 1.0)
    return _with_tilt(generator, yaw, tilt)


def _with_tilt(generator: torch.Generator, yaw: Tensor, tilt: float) -> Poses:
    pitch = _uniform(generator, tuple(yaw.shape), -tilt, tilt)
    roll = _uniform(generator, tuple(yaw.shape), -tilt, tilt)
    return Poses(yaw, pitch, roll)


def _uniform(generator: torch.Generator, shape: tuple[int, ...], low: float, high: float) -> Tensor:
    return low + (high - low) * torch.rand(shape, generator=generator, device=generator.device)
