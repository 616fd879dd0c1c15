"""Rotations, similarities and the two coordinate frames.

Model frame: millimetres, x to the subject's left, y up, z out of the face; right-handed.
Image frame: pixels of the crop, pixel centres at integers, x right, y down, z toward the camera; left-handed.
A map from the model frame to the image frame therefore always has a negative determinant:
M = s · diag(1, −1, 1) · R.

Head pose, in degrees (in the model frame, R_x, R_y, R_z the usual right-handed rotations):

    R = R_z(roll) · R_y(yaw) · R_x(−pitch)

yaw > 0: the nose goes to the image's right; pitch > 0: the nose goes up;
roll > 0: the head tilts toward the subject's right.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor


def rotation_matrix(yaw: Tensor | float, pitch: Tensor | float, roll: Tensor | float) -> Tensor:
    """Head rotation R = R_z(roll) R_y(yaw) R_x(−pitch) in the model frame.

    Args:
        yaw: degrees, (...) or a number; the three are broadcast against each other.
        pitch: degrees.
        roll: degrees.

    Returns:
        (..., 3, 3) rotations, det = +1.
    """
    yaw, pitch, roll = _broadcast_angles(yaw, pitch, roll)
    cos_y, sin_y = torch.cos(yaw), torch.sin(yaw)
    cos_x, sin_x = torch.cos(-pitch), torch.sin(-pitch)
    cos_z, sin_z = torch.cos(roll), torch.sin(roll)
    rows = (
        (cos_z * cos_y, cos_z * sin_y * sin_x - sin_z * cos_x, cos_z * sin_y * cos_x + sin_z * sin_x),
        (sin_z * cos_y, sin_z * sin_y * sin_x + cos_z * cos_x, sin_z * sin_y * cos_x - cos_z * sin_x),
        (-sin_y, cos_y * sin_x, cos_y * cos_x),
    )
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def euler_angles(rotation: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Yaw, pitch and roll of a head rotation, the inverse of :func:`rotation_matrix`.

    Of the two triples that give one rotation, the one with |pitch| ≤ 90° is returned, so a face seen from
    behind its ear has yaw 100°, not yaw 80° standing on its head. Where the nose points exactly along the
    image's x axis (|yaw| = 90°) only roll ± pitch is determined: roll is then set to 0.

    Args:
        rotation: (..., 3, 3), det = +1.

    Returns:
        yaw (−180, 180], pitch [−90, 90], roll (−180, 180], each (...) in degrees.
    """
    cos_yaw = torch.hypot(rotation[..., 0, 0], rotation[..., 1, 0])
    yaw = torch.atan2(-rotation[..., 2, 0], cos_yaw)
    locked = cos_yaw < 16 * torch.finfo(rotation.dtype).eps
    roll = torch.atan2(rotation[..., 1, 0], rotation[..., 0, 0])
    roll = torch.where(locked, torch.zeros_like(roll), roll)
    # R_z(−roll) R = R_y R_x has second row (0, cos x, −sin x): well conditioned at every yaw.
    cos_z, sin_z = torch.cos(roll), torch.sin(roll)
    cos_x = cos_z * rotation[..., 1, 1] - sin_z * rotation[..., 0, 1]
    sin_x = sin_z * rotation[..., 0, 2] - cos_z * rotation[..., 1, 2]
    pitch = -torch.atan2(sin_x, cos_x)
    other = (cos_x < 0) & ~locked
    yaw = torch.where(other, torch.copysign(torch.full_like(yaw, torch.pi), yaw) - yaw, yaw)
    pitch = torch.where(other, pitch - torch.copysign(torch.full_like(pitch, torch.pi), pitch), pitch)
    roll = torch.where(other, roll - torch.copysign(torch.full_like(roll, torch.pi), roll), roll)
    return torch.rad2deg(yaw), torch.rad2deg(pitch), torch.rad2deg(roll)


def angle_between(first: Tensor, second: Tensor) -> Tensor:
    """By how many degrees, [0, 180], one rotation has to be turned to be another.

    Args:
        first: (..., 3, 3), det = +1.
        second: likewise; the two are broadcast against each other.

    Returns:
        (...) degrees: ‖R₁ − R₂‖ = 2√2 sin(θ/2), which small angles are read off without loss.
    """
    apart = torch.linalg.matrix_norm(first - second) / 8**0.5
    return torch.rad2deg(2 * torch.asin(apart.clamp(max=1)))


def model_to_image(
    yaw: Tensor | float,
    pitch: Tensor | float,
    roll: Tensor | float,
    scale: Tensor | float,
    centre: Tensor,
) -> Tensor:
    """Orthographic map from the model frame to the image frame: diag(s, −s, s) R and a shift.

    Args:
        yaw: degrees, (B,) or a number; so are pitch and roll.
        pitch: degrees.
        roll: degrees.
        scale: (B,) or a number, pixels per millimetre.
        centre: (B, 2) pixel (x, y) at which the model's origin lands; its z becomes 0.

    Returns:
        (B, 3, 4) matrices for :func:`transform_points`, det < 0.
    """
    if centre.ndim != 2 or centre.shape[1] != 2:
        raise ValueError(f"centre must be (B, 2), got {tuple(centre.shape)}")
    batch = centre.shape[0]
    angles = [torch.as_tensor(a, dtype=centre.dtype, device=centre.device) for a in (yaw, pitch, roll)]
    scale = torch.as_tensor(scale, dtype=centre.dtype, device=centre.device)
    rotation = rotation_matrix(*angles).expand(batch, 3, 3)
    linear = scale.reshape(-1, 1, 1) * image_flip(centre) @ rotation
    shift = torch.cat((centre, torch.zeros_like(centre[:, :1])), dim=1)
    return torch.cat((linear, shift[:, :, None]), dim=2)


def image_flip(like: Tensor) -> Tensor:
    """diag(1, −1, 1), the reflection between the model frame and the image frame, with `like`'s dtype."""
    return torch.diag(torch.tensor((1.0, -1.0, 1.0), dtype=like.dtype, device=like.device))


def transform_points(matrix: Tensor, points: Tensor) -> Tensor:
    """Apply affine maps: y = A x + t.

    Args:
        matrix: (B, 3, 4) or (3, 4), the columns A and then t.
        points: (B, N, 3) or (N, 3); the two batches are broadcast.

    Returns:
        (B, N, 3) in the frame that the matrix leads to.
    """
    linear, shift = matrix[..., :3], matrix[..., 3]
    return points @ linear.mT + shift[..., None, :]


@dataclass(frozen=True)
class Similarity:
    """y = scale · rotation · x + translation, batched.

    Attributes:
        scale: (B,) positive.
        rotation: (B, 3, 3) orthogonal; det = −1 where the map leads between the two frames.
        translation: (B, 3) in the unit of the target.
    """

    scale: Tensor
    rotation: Tensor
    translation: Tensor

    def apply(self, points: Tensor) -> Tensor:
        """(B, N, 3) points, mapped."""
        return transform_points(self.matrix(), points)

    def matrix(self) -> Tensor:
        """(B, 3, 4) matrices [s R | t]."""
        return torch.cat((self.scale[:, None, None] * self.rotation, self.translation[:, :, None]), dim=2)

    def inverse(self) -> Similarity:
        """The similarity that undoes this one."""
        back = self.rotation.mT
        scale = 1.0 / self.scale
        shift = -scale[:, None] * (back @ self.translation[:, :, None])[:, :, 0]
        return Similarity(scale=scale, rotation=back, translation=shift)

    def head_pose(self) -> tuple[Tensor, Tensor, Tensor]:
        """Yaw, pitch, roll (B,) in degrees of a map from the model frame to the image frame (det < 0).

        Raises:
            ValueError: the rotation is proper, so it does not lead into the image frame.
        """
        if bool((torch.linalg.det(self.rotation) > 0).any()):
            raise ValueError(
                "head_pose needs a map into the image frame (det < 0): similarity(..., reflect=True)"
            )
        return euler_angles(image_flip(self.rotation) @ self.rotation)


def similarity(
    source: Tensor,
    target: Tensor,
    weights: Tensor | None = None,
    *,
    scale: bool = True,
    reflect: bool = False,
) -> Similarity:
    """Least-squares similarity from source to target points (Umeyama, PAMI 1991, eq. 40–42).

    Minimises Σ w_i ‖target_i − (s R source_i + t)‖².

    Args:
        source: (B, N, 3).
        target: (B, N, 3), point i corresponds to source point i.
        weights: (N,) or (B, N), not negative; None weighs all alike.
        scale: False keeps s = 1 (a rigid motion).
        reflect: True forces det R < 0 (between the model and the image frame), False forces det R > 0.

    Returns:
        The similarity of each pair; differentiable where singular values differ.

    Raises:
        ValueError: shapes differ, fewer than three points, or points (with weight) that all coincide.
    """
    if source.ndim != 3 or source.shape != target.shape or source.shape[2] != 3 or source.shape[1] < 3:
        raise ValueError(
            f"similarity needs two (B, N >= 3, 3) sets, got {tuple(source.shape)}, {tuple(target.shape)}"
        )
    weights = _normalised_weights(weights, source)[:, :, None]  # (B, N, 1), sums to 1
    mean_source = (weights * source).sum(dim=1, keepdim=True)
    mean_target = (weights * target).sum(dim=1, keepdim=True)
    centred = source - mean_source
    covariance = (weights * (target - mean_target)).mT @ centred  # (B, 3, 3)
    variance = (weights * centred.square()).sum(dim=(1, 2))
    means = mean_source[:, 0], mean_target[:, 0]
    return similarity_of_moments(*means, covariance, variance, scale=scale, reflect=reflect)


def similarity_of_moments(
    mean_source: Tensor,
    mean_target: Tensor,
    covariance: Tensor,
    variance: Tensor,
    *,
    scale: bool = True,
    reflect: bool = False,
) -> Similarity:
    """:func:`similarity` of point sets of which only the moments are known (Umeyama 1991, eq. 40–42).

    Args:
        mean_source: (B, 3); so is mean_target.
        mean_target: (B, 3).
        covariance: (B, 3, 3) Σ w (target − mean)(source − mean)ᵀ, weights that sum to 1.
        variance: (B,) Σ w ‖source − mean‖².
        scale: see there; so is reflect.
        reflect: see there.

    Raises:
        ValueError: points that all coincide.
    """
    left, singular, right = torch.linalg.svd(covariance)  # right is Vᵀ
    handed = torch.sign(torch.linalg.det(left) * torch.linalg.det(right)).detach()
    last = -handed if reflect else handed
    signs = torch.stack((torch.ones_like(last), torch.ones_like(last), last), dim=1)
    rotation = left @ (signs[:, :, None] * right)
    if not bool((variance > 0).all()):
        raise ValueError(
            "similarity: the source points coincide (or weights leave one), so no scale is determined"
        )
    size = (singular * signs).sum(dim=1) / variance if scale else torch.ones_like(variance)
    shift = mean_target - size[:, None] * (rotation @ mean_source[:, :, None])[:, :, 0]
    return Similarity(scale=size, rotation=rotation, translation=shift)


def map_laplacian(maps: Tensor) -> Tensor:
    """(B, C, S, S) mean of a texel's four neighbours less its own value; a border repeats itself."""
    p = torch.nn.functional.pad(maps, (1, 1, 1, 1), mode="replicate")
    around = p[..., :-2, 1:-1] + p[..., 2:, 1:-1] + p[..., 1:-1, :-2] + p[..., 1:-1, 2:]
    return around / 4 - maps


def rotation_from_300w_lp(pitch: Tensor, yaw: Tensor, roll: Tensor) -> Tensor:
    """Head rotation from the angles that 300W-LP stores (its `Pose_Para`, radians).

    3DDFA multiplies transposed elementary rotations the other way round: R_x(−pitch) R_y(−yaw) R_z(−roll).
    Its face model's axes are ours (x to the subject's left, y up, z out of the face), so only the angles
    differ: go through the matrix, then :func:`euler_angles`.

    Args:
        pitch: (...) radians, as stored; so are yaw and roll.
        yaw: radians.
        roll: radians.

    Returns:
        (..., 3, 3) rotation in the model frame.
    """
    degrees = [torch.rad2deg(torch.as_tensor(a)) for a in (pitch, yaw, roll)]
    about_x = rotation_matrix(0.0, degrees[0], 0.0)
    about_y = rotation_matrix(-degrees[1], 0.0, 0.0)
    about_z = rotation_matrix(0.0, 0.0, -degrees[2])
    return about_x @ about_y @ about_z


def _broadcast_angles(*degrees: Tensor | float) -> tuple[Tensor, ...]:
    """The angles as tensors of one floating dtype, device and shape, in radians."""
    given = [a for a in degrees if isinstance(a, Tensor)]
    floating = [a.dtype for a in given if a.is_floating_point()]
    dtype = reduce(torch.promote_types, floating) if floating else torch.get_default_dtype()
    device = given[0].device if given else None
    tensors = [torch.as_tensor(a, dtype=dtype, device=device) for a in degrees]
    return torch.broadcast_tensors(*[torch.deg2rad(a) for a in tensors])


def _normalised_weights(weights: Tensor | None, points: Tensor) -> Tensor:
    """(B, N) weights that sum to 1."""
    batch, count = points.shape[:2]
    if weights is None:
        return points.new_full((batch, count), 1.0 / count)
    weights = torch.as_tensor(weights, dtype=points.dtype, device=points.device)
    if weights.shape not in ((count,), (batch, count)):
        raise ValueError(f"weights must be ({count},) or ({batch}, {count}), got {tuple(weights.shape)}")
    if bool((weights < 0).any()):
        raise ValueError("weights must not be negative")
    weights = weights.expand(batch, count)
    total = weights.sum(dim=1, keepdim=True)
    if not bool((total > 0).all()):
        raise ValueError("weights must not all be zero")
    return weights / total
