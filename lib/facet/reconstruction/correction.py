"""Face correction: alignment apart from reconstruction. The face is turned upright, the result back again.

Residual (thesis, 3.3.2): the twelve points of the eyes and, turned by 90° onto the eyes' line, the nose
bridge and the chin lie on one straight line; its slope is the face's tilt. If then the subject's left eye is
on the wrong side of the right one, the picture is upside down and is turned by 180°. (The thesis adds "and
flipped": that would make another person of it, who is mirrored.) A tilt is in degrees in the image plane,
positive clockwise as one looks at the photo; in the terms of poses it is −roll. Nothing is resampled twice:
the turn becomes part of the similarity from photo to crop, and what comes out goes back through its inverse.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from facet.crop import compose, crop_image, invert
from facet.landmarks68 import CHIN, GROUPS
from facet.reconstruction import detect
from facet.reconstruction.crops import apply, square, to_photo

RIGHT_EYE, LEFT_EYE = list(GROUPS["right_eye"]), list(GROUPS["left_eye"])
BRIDGE = GROUPS["nose_bridge"][0]
RULES = ("both", "eyes")
STEP = 22.5  # degrees to both sides of the best turn, at which a detector is asked again
WHOLE = 960  # longest side of a photo that is turned by an odd eighth, for a detector
SEEN, SURROUNDINGS = 320, 2.4  # side of the picture of one face that it is shown, and that over the face's
PASSES = 2  # crops that an aligner is shown: the second is upright already, if the first was not
SAME = 0.3  # overlap from which a detection at some turn is of a face that is known


class Aligner(Protocol):
    """Where the 68 landmarks are, in crops as the networks get them. An attribute `image_size` is S."""

    image_size: int

    def __call__(self, crops: Tensor) -> Tensor:
        """(B, 3, S, S) float RGB in [0, 1] -> (B, 68, 2 or more) pixels of the crops."""


@dataclass(frozen=True)
class Upright:
    """A face's place in a photo and how it is turned.

    Attributes:
        frame: (2, 3) similarity from the photo's pixels to those of the upright picture.
        box: (4,) x0, y0, x1, y1 of the 68 landmarks there.
    """

    frame: np.ndarray
    box: np.ndarray

    @property
    def tilt(self) -> float:
        """Degrees by which the face is turned in the photo."""
        return turn_of(self.frame)

    @property
    def area(self) -> float:
        """Of the box, in square pixels of the photo."""
        return float((self.box[2:] - self.box[:2]).prod() / abs(np.linalg.det(self.frame[:, :2])))

    def box_in_photo(self) -> np.ndarray:
        """(4,) what bounds the turned box in the photo."""
        x0, y0, x1, y1 = self.box
        corners = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])
        return detect.box_of(apply(inverse(self.frame), corners))

    def fits(self, landmarks: np.ndarray) -> bool:
        """Whether landmarks (68, 2) of the photo can be this face's, by their box in the upright picture."""
        return detect.agree(detect.box_of(apply(self.frame, landmarks)), self.box)


def turn_of(frame: np.ndarray) -> float:
    """Degrees by which what stands upright behind a frame (2, 3) is turned in the photo."""
    return float(np.degrees(np.arctan2(-frame[1, 0], frame[0, 0])))


def tilt(landmarks: np.ndarray, *, rule: str = "both") -> float:
    """Degrees in (−180, 180] by which a face is turned, from the line through the T of eyes, bridge and chin.

    The line is fitted by total least squares, which knows no steep slopes, unlike y over x.

    Args:
        landmarks: (68, 2 or 3) pixels.
        rule: which way up the line is read: "eyes" (the thesis: the left eye on the right), or "both" (the
            chin below the eyes speaks too: in a profile the eyes lie on one another).
    """
    if rule not in RULES:
        raise ValueError(f"rule must be one of {', '.join(RULES)}, got {rule!r}")
    points = np.asarray(landmarks, dtype=np.float64)[:, :2]
    eyes = points[RIGHT_EYE + LEFT_EYE]
    centre = eyes.mean(axis=0)
    turned = (points[[BRIDGE, CHIN]] - centre) @ np.array([[0.0, -1.0], [1.0, 0.0]])  # down becomes right
    line = np.concatenate((eyes - centre, turned))
    _, _, axes = np.linalg.svd(line - line.mean(axis=0))
    along = points[LEFT_EYE].mean(axis=0) - points[RIGHT_EYE].mean(axis=0)
    if rule == "both":
        along = along + turned[1]
    direction = axes[0] if axes[0] @ along >= 0 else -axes[0]
    return float(np.degrees(np.arctan2(direction[1], direction[0])))


def rotation(degrees: float, centre: np.ndarray) -> np.ndarray:
    """(2, 3) map of pixels that turns a picture clockwise about a point."""
    angle = np.radians(degrees)
    linear = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.concatenate((linear, (centre - linear @ centre)[:, None]), axis=1)


def inverse(matrix: np.ndarray) -> np.ndarray:
    """(2, 3) the map back."""
    return invert(torch.from_numpy(matrix)[None])[0].numpy()


def from_landmarks(landmarks: np.ndarray, *, rule: str = "both") -> Upright:
    """The upright frame of 68 landmarks (68, 2 or 3) in the photo."""
    points = np.asarray(landmarks, dtype=np.float64)[:, :2]
    frame = rotation(-tilt(points, rule=rule), points.mean(axis=0))
    return Upright(frame, detect.box_of(apply(frame, points)))


def find(
    image: np.ndarray, *, box: np.ndarray | None = None, name: str = "the image"
) -> tuple[Upright, tuple[str, ...]]:
    """The face that the detector is surest of, of the large ones, and its turn.

    It is asked at eight turns, since it finds no face that stands on its head, and then a little to both
    sides of the best: its certainty falls steadily with the tilt.

    Args:
        image: (H, W, 3) uint8 RGB.
        box: where the caller says that the face is; without it the detector must find one.
        name: what messages call the image.

    Returns:
        The face, and what the caller should know about the choice.

    Raises:
        FaceNotFoundError: no face at any turn.
    """
    found = [pair for eighth in range(8) for pair in _asked(image, eighth)]
    if box is not None:
        found = [pair for pair in found if _overlap(pair[1], box) > SAME]
        if not found:
            return Upright(quarter(image.shape, 0), np.asarray(box, dtype=np.float64)), ()
    if not found:
        detect.find_face(image, name=name)  # raises, with the reason
        raise detect.FaceNotFoundError(f"no face found in {name}: give its landmarks or a box")
    least = max(upright.area for _, upright in found) / 4  # a face half as wide as another is a bystander
    face, upright = max((pair for pair in found if pair[1].area >= least), key=lambda pair: pair[0].score)
    count = _faces(upright for _, upright in found)
    notes = (f"{name} has {count} faces; the clearest of the large ones was taken",) if count > 1 else ()
    if face.landmarks is not None:
        return from_landmarks(apply(inverse(upright.frame), face.landmarks)), notes
    asked = [_closer(image, upright, turn) for turn in (0.0, -STEP, STEP)]
    return max(asked, key=lambda pair: pair[0])[1], notes


def _faces(found: Iterable[Upright]) -> int:
    """How many faces detections are of: one is found at several turns."""
    places = []
    for upright in found:
        if not any(_overlap(upright, place) > SAME for place in places):
            places.append(upright.box_in_photo())
    return len(places)


def _asked(image: np.ndarray, eighth: int) -> list[tuple[detect.Face, Upright]]:
    """What the detector finds in the whole photo, turned counter-clockwise by so many times 45°."""
    if eighth % 2 == 0:
        frame = quarter(image.shape, eighth // 2)
        seen = np.rot90(image, eighth // 2)
    else:
        height, width = image.shape[:2]
        side = min(WHOLE, round(np.hypot(height, width)))
        zoom = side / np.hypot(height, width)
        frame = zoom * rotation(-45.0 * eighth, np.array((width - 1, height - 1)) / 2)
        frame[:, 2] += (side - 1) / 2 - zoom * np.array((width - 1, height - 1)) / 2
        crop = crop_image(image, torch.from_numpy(frame), side)[0].permute(1, 2, 0)
        seen = (crop * 255).round().to(torch.uint8).numpy()
    return [(face, Upright(frame, face.box)) for face in detect.find_faces(np.ascontiguousarray(seen))]


def _closer(image: np.ndarray, upright: Upright, degrees: float) -> tuple[float, Upright]:
    """How sure the detector is of a face in a picture of it that is turned further; and where it is there."""
    known = upright.box_in_photo()
    centre = known.reshape(2, 2).mean(axis=0)
    scale = np.hypot(*upright.frame[:, 0])  # pixels there a pixel of the photo
    zoom = SEEN * scale / (SURROUNDINGS * float(max(upright.box[2:] - upright.box[:2])))
    frame = zoom * rotation(-upright.tilt - degrees, centre)
    frame[:, 2] += SEEN / 2 - zoom * centre
    crop = crop_image(image, torch.from_numpy(frame), SEEN, fill="edge")[0].permute(1, 2, 0)
    faces = detect.find_faces((crop * 255).round().to(torch.uint8).numpy())
    near = [(face.score, Upright(frame, face.box)) for face in faces]
    near = [pair for pair in near if _overlap(pair[1], known) > SAME]
    return max(near, key=lambda pair: pair[0], default=(0.0, upright))


def quarter(shape: tuple[int, ...], turns: int) -> np.ndarray:
    """(2, 3) the map of pixels of `np.rot90(image, turns)` for an image of this shape."""
    height, width = shape[:2]
    return np.array(
        (
            ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0)),
            ((0.0, 1.0, 0.0), (-1.0, 0.0, width - 1.0)),
            ((-1.0, 0.0, width - 1.0), (0.0, -1.0, height - 1.0)),
            ((0.0, -1.0, height - 1.0), (1.0, 0.0, 0.0)),
        )[turns % 4]
    )


def crop_matrix(upright: Upright, image_size: int) -> Tensor:
    """(1, 2, 3) float64 similarity from the photo to the crop that a network is shown."""
    inner = square(upright.box, image_size)[None]
    return compose(inner, torch.from_numpy(upright.frame)[None].to(inner))


def align(image: np.ndarray, upright: Upright, aligner: Aligner) -> Upright | None:
    """The frame of the landmarks that an aligner finds, crop by crop; None where they do not fit the face."""
    for _ in range(PASSES):
        matrix = crop_matrix(upright, aligner.image_size)
        found = to_photo(matrix[0], aligner(crop_image(image, matrix, aligner.image_size))[0].detach())
        if not upright.fits(found):
            return None
        upright = from_landmarks(found)
    return upright


def _overlap(upright: Upright, box: np.ndarray) -> float:
    return detect.intersection_over_union(upright.box_in_photo(), np.asarray(box, dtype=np.float64))
