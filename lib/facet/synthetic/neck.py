"""The head turned on its torso: the shoulders stay behind while the face looks aside.

Everything the truth is made of is the face patch, so the patch does not move: the torso turns instead, by the
inverse of the head's rotation about a pivot at the base of the neck. A vertex of weight w turns by the share
w of the angle (Rodrigues), so the neck twists like a rope without growing thin.

    v' = p + exp(−w [θ]×) (v − p)     θ the rotation vector of R(yaw, pitch, roll), p the pivot
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from facet.face_model import PARTS, FaceModel
from facet.geometry import rotation_matrix

LIMITS = (60.0, 20.0, 20.0)
"""Largest yaw, pitch and roll of the head against the torso, in degrees, at which the neck looks right."""
JAW, CHEST, BASE = -60.0, -150.0, -125.0
"""Heights in mm on the reference head: above it nothing moves, below it all turns, the pivot's ring."""


@dataclass
class Neck:
    """What of a head turns with the torso.

    Attributes:
        weight: (Vh,) share of the rotation: 0 head and face patch, 1 shoulders and chest.
        moving: (M,) vertices with weight; ring: (R,) vertices around the base of the neck.
    """

    weight: Tensor
    moving: Tensor
    ring: Tensor

    @classmethod
    def of(cls, model: FaceModel) -> "Neck":
        """Weights on a model's head, from the distances to what stays and to what turns wholly."""
        rest, outer = model.head_rest, _of_parts(model, "skin", "body")
        free = outer & (rest[:, 1] < JAW) & ~_of_parts(model, "mouth", "tongue", "eye_cavity")
        free[model.head_triangles[(_in_patch(model, free)[model.head_triangles]).any(dim=1)]] = False
        torso = free & (rest[:, 1] < CHEST)
        between = (free & ~torso).nonzero()[:, 0]
        weight = torso.to(rest)
        still = torch.cdist(rest[between], rest[outer & ~free]).amin(dim=1)
        turned = torch.cdist(rest[between], rest[torso]).amin(dim=1)
        share = still / (still + turned)
        weight[between] = share * share * (3 - 2 * share)
        ring = free & ((rest[:, 1] - BASE).abs() < 6) & (rest[:, 0].abs() < 60)
        return cls(weight, free.nonzero()[:, 0], ring.nonzero()[:, 0])

    def bend(self, head: Tensor, angles: Tensor) -> Tensor:
        """See :func:`bend`."""
        limits = angles.new_tensor(LIMITS)
        theta = rotation_vector(rotation_matrix(*angles.clamp(-limits, limits).unbind(dim=1)))
        pivot = head[:, self.ring].mean(dim=1, keepdim=True)
        arm = head[:, self.moving] - pivot
        size = theta.norm(dim=1)[:, None, None]  # (B, 1, 1)
        axis = (theta[:, None] / size.clamp_min(1e-12)).expand_as(arm)
        turn = -self.weight[self.moving, None] * size  # (B, M, 1)
        across = torch.linalg.cross(axis, arm)
        change = across * turn.sin() + torch.linalg.cross(axis, across) * (1 - turn.cos())
        bent = head.clone()
        bent[:, self.moving] += change
        return bent


def bend(head: Tensor, model: FaceModel, angles: Tensor) -> Tensor:
    """Heads whose torso stays behind.

    Args:
        head: (B, Vh, 3) mm, model frame (`FaceModel.blend_head`).
        angles: (B, 3) yaw, pitch, roll in degrees of the head relative to the torso, as in
            `geometry.rotation_matrix`; held within ±LIMITS.

    Returns:
        (B, Vh, 3); the face patch and all above the jaw have the same bits as before.
    """
    return _neck(_Same(model)).bend(head, angles)


def draw_neck(generator: torch.Generator, yaw: Tensor, pitch: Tensor, roll: Tensor) -> Tensor:
    """(M, 3) angles of heads against their torsos, in degrees, for head poses (M,) in the picture.

    People turn partly with their shoulders: the head keeps a third to all of the yaw, and most of the tilt,
    as torsos stay upright. What is beyond the neck's limits the torso makes up.
    """
    poses = torch.stack([yaw, pitch, roll], dim=1)
    least = poses.new_tensor([0.25, 0.5, 0.6])
    share = least + (1 - least) * torch.rand(poses.shape, generator=generator)
    sway = poses.new_tensor([5.0, 3.0, 2.5]) * torch.randn(poses.shape, generator=generator)
    limits = poses.new_tensor(LIMITS)
    return (share * poses + sway).clamp(-limits, limits)


def rotation_vector(rotation: Tensor) -> Tensor:
    """(B, 3) axis times angle in radians of rotations (B, 3, 3) by less than half a turn."""
    skew = torch.stack(
        [
            rotation[:, 2, 1] - rotation[:, 1, 2],
            rotation[:, 0, 2] - rotation[:, 2, 0],
            rotation[:, 1, 0] - rotation[:, 0, 1],
        ],
        dim=1,
    )
    sine = skew.norm(dim=1) / 2
    cosine = (rotation.diagonal(dim1=1, dim2=2).sum(dim=1) - 1) / 2
    return skew / (2 * sine.clamp_min(1e-12))[:, None] * torch.atan2(sine, cosine)[:, None]


class _Same:
    """A key for one face model: the object, not what it holds."""

    def __init__(self, model: FaceModel):
        self.model = model

    def __hash__(self) -> int:
        return id(self.model)

    def __eq__(self, other) -> bool:
        return self.model is other.model


@lru_cache(maxsize=2)
def _neck(key: _Same) -> Neck:
    return Neck.of(key.model)


def _of_parts(model: FaceModel, *parts: str) -> Tensor:
    """(Vh,) bool: vertices of triangles of the named parts."""
    chosen = torch.isin(model.head_part, model.head_part.new_tensor([PARTS.index(p) for p in parts]))
    found = torch.zeros(len(model.head_rest), dtype=torch.bool, device=model.device)
    found[model.head_triangles[chosen].flatten()] = True
    return found


def _in_patch(model: FaceModel, among: Tensor) -> Tensor:
    """(Vh,) bool: which of some head vertices are vertices of the face patch too, by their place."""
    index = among.nonzero()[:, 0]
    points = model.blend_head(model.identity.new_zeros(1, 1))[0, index]
    near = model.mean[model.mean[:, 1] < points[:, 1].max() + 1]
    found = torch.zeros_like(among)
    found[index] = torch.cdist(points, near, compute_mode="donot_use_mm_for_euclid_dist").amin(dim=1) < 0.01
    return found
