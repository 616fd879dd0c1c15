"""A photograph turned: the call for pictures of one's own, at a size of one's own.

The face is found as `facet.reconstruct` finds it, fitted to the photo itself, completed to a head, turned,
and drawn with the photo's colours at the size that is asked for: nothing here is bound to a network's crop
but the generator, which paints at its own.
"""

import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from numbers import Integral
from pathlib import Path

import numpy as np
import torch

from facet.crop import crop_image, lift
from facet.devices import device_of
from facet.files import write_beside
from facet.geometry import transform_points
from facet.images import ImageLike, load_image
from facet.reconstruction import Reconstruction, reconstruct, weights
from facet.reconstruction.crops import square
from facet.reconstruction.detect import box_of
from facet.reconstruction.export import PICTURES, check_target
from facet.reconstruction.pipeline import face_model_of
from facet.reconstruction.result import Pose
from facet.rotation.head import Completion
from facet.rotation.rotator import Rotator
from facet.rotation.turn import ANGLE, check_yaw, given_pose, second_pose

SIZE = 256  # pixels, side of the view
SMALLEST, LARGEST = 32, 2048
HOW = frozenset(inspect.signature(reconstruct).parameters) - {"front", "device"}  # handed on to `reconstruct`


@dataclass(frozen=True, eq=False)
class Turned:
    """A photograph from another side.

    Attributes:
        image: (S, S, 3) uint8 RGB, cropped by the turned landmarks.
        seen: (S, S) float32 in [0, 1]: what the photo itself shows; elsewhere, beyond its edge too, the head
            is the mirrored half, or a guess.
        head: (S, S) float32 in [0, 1]: where the head is; elsewhere the photo's background is continued.
        pose: of the view; photo_pose: of the photo. Degrees.
        face: what was turned.
    """

    image: np.ndarray
    seen: np.ndarray
    head: np.ndarray
    pose: Pose
    photo_pose: Pose
    face: Reconstruction

    def save(self, path: str | os.PathLike) -> Path:
        """Write the picture as a PNG, in one step.

        Raises:
            ValueError: another extension.
            OSError: the place cannot be written to.
        """
        from PIL import Image

        path = check_target(path, PICTURES)
        with write_beside(path) as temporary:
            Image.fromarray(self.image).save(temporary)
        return path


@torch.no_grad()
def rotate(
    photo: ImageLike,
    yaw: float | None = None,
    *,
    to: float | str = ANGLE,
    level: bool = True,
    size: int | None = None,
    repair: bool = False,
    face: Reconstruction | None = None,
    device: str | torch.device | None = None,
    **how,
) -> Turned:
    """The person in a photograph, seen from another side.

    Args:
        photo: path, PIL image or (H, W, 3) uint8 array.
        yaw: of the view, degrees, -90 to 90; > 0 turns the nose to the image's right. None chooses by `to`.
        to: degrees by which a front photo is turned on to its side and any other to the front; "side" for a
            full turn (Rotation 4.2, see `second_pose`).
        level: pitch and roll become 0; else they are the photo's.
        size: S of the view, pixels; None is 256, or with `repair` the generator's own.
        repair: the trained generator paints over what the photo does not show.
        face: the face of this photo, if it was reconstructed before.
        device: as of `reconstruct`; how: other arguments of it, such as `box`.

    Raises:
        FaceNotFoundError, ValueError, FileNotFoundError: as `reconstruct`; a yaw beyond ±90°; a size that is
            no whole number of 32 to 2048; an unknown argument, or one of `reconstruct` beside `face`; a face
            that is no face patch (of a volumetric system), or of another photo.
    """
    if yaw is None:
        second_pose(torch.zeros(1, 3), to=to)  # what is wrong with it is told before a face is fitted
    else:
        check_yaw(yaw)
    _check_how(how, face)
    image = load_image(photo)
    device = device_of(device)
    completion = _completion(str(device))
    generator = weights.load("rotation", device) if repair else None
    size = _size(size, generator)
    face = reconstruct(photo, device=device, **how) if face is None else face  # messages name the photo
    if len(face.vertices) != len(completion.face.mean):
        raise ValueError(f"{face.system} gives no face patch that could be turned: take another model")
    if face.image_size != image.shape[:2]:
        raise ValueError("the face is of another photo: its size is not this one's")
    matrix = square(box_of(face.landmarks), size)
    vertices = torch.from_numpy(face.vertices)[None].to(device)
    vertices = transform_points(lift(matrix[None]).to(vertices), vertices)
    crop = crop_image(image, matrix[None], size, fill="edge").to(device)
    shown = _shown(image.shape, matrix, size)
    rotator = Rotator(_fixed(vertices), completion, generator).eval()
    heads = rotator.heads(crop)
    found = heads.pose()
    pose = second_pose(found, to=to, level=level) if yaw is None else given_pose(found, yaw, level=level)
    view = rotator.view(crop, heads, pose, shown=None if shown is None else shown.to(device))
    return Turned(
        image=(view.image[0].permute(1, 2, 0) * 255).round().to(torch.uint8).cpu().numpy(),
        seen=view.render.seen[0, 0].cpu().numpy(),
        head=view.render.head[0, 0].cpu().numpy(),
        pose=Pose(*pose[0].tolist()),
        photo_pose=Pose(*found[0].tolist()),
        face=face,
    )


def _check_how(how: dict[str, object], face: Reconstruction | None) -> None:
    """Refuse arguments that nobody would read."""
    if unknown := sorted(set(how) - HOW):
        known = ", ".join(sorted(HOW))
        raise ValueError(f"rotate knows no argument {', '.join(unknown)}; those of reconstruct are {known}")
    if face is not None and how:
        names = ", ".join(sorted(how))
        raise ValueError(f"face is given, so nothing is reconstructed with {names}: leave one of them out")


def _size(size: int | None, generator: torch.nn.Module | None) -> int:
    """Side of the view, checked; None is the generator's own, or SIZE."""
    own = SIZE if generator is None else generator.image_size
    if size is None:
        return own
    if not isinstance(size, Integral) or not SMALLEST <= size <= LARGEST:
        raise ValueError(f"a view is {SMALLEST} to {LARGEST} pixels wide, not {size!r}")
    if generator is not None and size != own:
        raise ValueError(f"the generator paints {own} pixels, not {size}: leave size out")
    return int(size)


def _shown(shape: tuple[int, ...], matrix: torch.Tensor, size: int) -> torch.Tensor | None:
    """(1, 1, S, S) share of each pixel of a crop that lies inside of the photo; None where the crop does."""
    ones = torch.ones(1, 1, 1, 1).expand(1, 3, *shape[:2])
    shown = crop_image(ones, matrix[None], size)[:, :1]
    return None if shown.min() > 0.999 else shown


def _fixed(vertices: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    """A fit that knows the face already."""
    return lambda photos: vertices


@cache
def _completion(device: str) -> Completion:
    return Completion(face_model_of(device))
