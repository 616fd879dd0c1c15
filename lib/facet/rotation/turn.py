"""Where to turn a head: from the front to the side, from the side to the front, and how far.

Rotation's thesis turns by 30° from front to side and from side to front (figure 4.2), with the pose kept
within ±90°, and sets pitch (and roll) to zero. Angles in degrees, signs as in `facet.geometry`.
"""

from numbers import Real

import torch
from torch import Tensor

FRONT = 45.0  # |yaw| up to which a photo counts as a front photo (300W-LP's and TwoView's border)
ANGLE = 30.0  # of the thesis
SIDE = 80.0  # yaw of a side view, where a full turn from the front leads
LARGEST = 90.0
# What `to` may be beside a number: the thesis' turn, or a full turn to the side view or the front view.
FULL = "side"


def second_pose(pose: Tensor, *, to: float | str = ANGLE, level: bool = True) -> Tensor:
    """The pose of the second view that is chosen for a photo's.

    A front photo is turned further to the side it looks to already (to the image's right if to neither), a
    side photo toward the front, never past it.

    Args:
        pose: (B, 3) yaw, pitch and roll.
        to: degrees to turn by, or "side" for a full turn: front photos to ±80°, side photos to 0.
        level: pitch and roll become 0; else they are kept.

    Returns:
        (B, 3), |yaw| ≤ 90.

    Raises:
        ValueError: `to` is no angle from 0 to 180 and not "side".
    """
    yaw, pitch, roll = pose.unbind(dim=1)
    sign = torch.where(yaw < 0, -1.0, 1.0)
    size, front = yaw.abs(), yaw.abs() <= FRONT
    if to == FULL:
        turned = torch.where(front, SIDE, 0.0)
    elif not isinstance(to, Real) or not 0 <= to <= 180:
        raise ValueError(f'to must be an angle from 0 to 180 degrees or "{FULL}", got {to!r}')
    else:
        turned = torch.where(front, size + to, (size - to).clamp(min=0.0))
    turned = sign * turned.clamp(max=LARGEST)
    if level:
        pitch, roll = torch.zeros_like(pitch), torch.zeros_like(roll)
    return torch.stack((turned, pitch, roll), dim=1)


def given_pose(pose: Tensor, yaw: float | Tensor, *, level: bool = True) -> Tensor:
    """(B, 3) the photos' poses with a yaw of one's own.

    Raises:
        ValueError: |yaw| is more than 90°.
    """
    wanted = torch.as_tensor(yaw, dtype=pose.dtype, device=pose.device).expand(len(pose))
    check_yaw(float(wanted[wanted.abs().argmax()]) if len(wanted) else 0.0)
    rest = torch.zeros_like(pose[:, 1:]) if level else pose[:, 1:]
    return torch.cat((wanted[:, None], rest), dim=1)


def check_yaw(yaw: float) -> None:
    """Refuse what no head can be turned to.

    Raises:
        ValueError: |yaw| is more than 90°, or no number.
    """
    if not isinstance(yaw, Real) or not abs(yaw) <= LARGEST:
        told = f"{yaw:g}" if isinstance(yaw, Real) else repr(yaw)
        raise ValueError(f"a head can be turned to yaw -90 to 90 degrees, not to {told}")


def random_pose(
    pose: Tensor, generator: torch.Generator, *, furthest: float = 75.0, tilt: float = 10.0
) -> Tensor:
    """(B, 3) poses to turn to and back: yaw within ±90°, at most `furthest` away, pitch and roll ±tilt.

    After a longer turn hardly anything is left to turn back with.
    """
    draw = torch.rand((len(pose), 3), generator=generator, device=generator.device).to(pose)
    yaw = pose[:, 0]
    low, high = (yaw - furthest).clamp(min=-LARGEST), (yaw + furthest).clamp(max=LARGEST)
    yaw = low + (high - low) * draw[:, 0]
    return torch.cat((yaw[:, None], (2 * draw[:, 1:] - 1) * tilt), dim=1)
