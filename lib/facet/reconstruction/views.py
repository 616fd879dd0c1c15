"""A photo and the place of the face in it, by what the caller knows or by a detector, and its crop."""

import os
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from facet.images import ImageLike, load_image
from facet.reconstruction import correction, detect
from facet.reconstruction.crops import square

TOLD = 20.0  # degrees of tilt from which a note says so


@dataclass(frozen=True)
class View:
    """One photo with the place of the face in it."""

    name: str
    image: np.ndarray  # (H, W, 3) uint8
    box: np.ndarray  # (4,) x0, y0, x1, y1
    given: bool  # the box is exact: it is not moved
    notes: tuple[str, ...] = ()
    landmarks: np.ndarray | None = None  # (68, 2) where they are known
    frame: np.ndarray | None = None  # (2, 3) from the photo to the upright picture that the box is in
    asked: np.ndarray | None = None  # (4,) the caller's box, with which what is found in a frame has to agree

    @property
    def box_in_photo(self) -> np.ndarray:
        """(4,) the box, or what bounds it where it is turned."""
        if self.frame is None:
            return self.box
        return correction.Upright(self.frame, self.box).box_in_photo()

    @property
    def turned(self) -> tuple[str, ...]:
        """A note, if the photo was turned so far that its owner may want to know."""
        tilt = 0.0 if self.frame is None else correction.Upright(self.frame, self.box).tilt
        return (f"the face in {self.name} is tilted by {tilt:.0f}°",) if abs(tilt) >= TOLD else ()

    def fits(self, landmarks: np.ndarray) -> bool:
        """Whether landmarks (68, 2) that were found in the photo can be of the face in the box."""
        if self.frame is not None and self.asked is None:
            return correction.Upright(self.frame, self.box).fits(landmarks)
        return detect.agree(detect.box_of(landmarks), self.box if self.asked is None else self.asked)

    def misfit(self, consequence: str) -> "View":
        """The view with a note that the landmarks that were found are not of its face."""
        note = f"the landmarks found in {self.name} do not fit the detected face: {consequence}"
        return replace(self, notes=tuple(dict.fromkeys((*self.notes, note))))


def moved(view: View, landmarks: np.ndarray) -> View:
    """The view with the box of landmarks (68, 2) that were found in the photo, if they fit its face."""
    if not view.fits(landmarks):
        return view.misfit("the result may be wrong")
    if view.frame is None:
        return replace(view, box=detect.box_of(landmarks))
    upright = correction.from_landmarks(landmarks)
    return replace(view, box=upright.box, frame=upright.frame)


def views_of(front, side, landmarks, box, correct=False) -> list[View]:
    """The photos with their boxes: given, or from landmarks, or detected; turned upright where asked to.

    Arguments and errors are those of `reconstruct`.
    """
    photos = [front] if side is None else [front, side]
    points, boxes = _per_view(landmarks, len(photos), 2), _per_view(box, len(photos), 1)
    views = []
    for index, photo in enumerate(photos):
        name = _name(photo, "the front image" if index == 0 else "the side image")
        image = load_image(photo)
        bounds, notes = _given_box(points[index], boxes[index], image.shape, name), ()
        given = bounds is not None
        if correct:
            views.append(_upright(name, image, points[index], bounds, correct))
            continue
        if not given:
            found, notes = detect.find_face(image, name=name)
            bounds, given = found.box, found.landmarks is not None
        views.append(View(name, image, bounds, given, notes, points[index]))
    return views


def _upright(name: str, image: np.ndarray, landmarks, box, correct) -> View:
    """A photo with its face turned upright: by landmarks, or by a detector and then an aligner."""
    if landmarks is not None:
        found = correction.from_landmarks(landmarks)
        return View(name, image, found.box, True, frame=found.frame)
    found, notes = correction.find(image, box=box, name=name)
    view = View(name, image, found.box, False, notes, frame=found.frame, asked=box)
    if correct is True:
        return view
    aligned = correction.align(image, found, correct)
    if aligned is None:
        return view.misfit("they were not used")
    return replace(view, box=aligned.box, given=True, frame=aligned.frame)


def _per_view(value, count: int, dimensions: int) -> list:
    """One value for each photo: a single array belongs to the front photo, a pair is taken apart."""
    if value is None:
        return [None] * count
    if isinstance(value, list | tuple) and len(value) == 2:
        single = all(part is not None and _dimensions(part) == dimensions - 1 for part in value)
        if not single:
            if count == 1:
                raise ValueError("two boxes or sets of landmarks are given for one photo: give one")
            return [*value]
    if _dimensions(value) == dimensions + 1 and len(value) == count:
        return [*value]
    return [value, *[None] * (count - 1)]


def _dimensions(value) -> int | None:
    """How many indices an array takes; None of rows of different lengths."""
    try:
        return np.ndim(value)
    except ValueError:
        return None


def _numbers(value) -> np.ndarray | None:
    """Whatever holds numbers as float64; None where something else is among them."""
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        return None


def _given_box(landmarks, box, shape: tuple[int, ...], name: str) -> np.ndarray | None:
    """(4,) from the caller's landmarks or box, checked; None where neither is given."""
    what = "box"
    if landmarks is not None:
        landmarks = _numbers(landmarks)
        if landmarks is None:
            raise ValueError(f"landmarks of {name} must be (68, 2) numbers")
        if landmarks.ndim != 2 or landmarks.shape[0] != 68 or landmarks.shape[1] not in (2, 3):
            raise ValueError(f"landmarks of {name} must be (68, 2), got {landmarks.shape}")
        if box is not None:
            raise ValueError(f"landmarks and a box are given for {name}: give one of them")
        if wrong := int((~np.isfinite(landmarks[:, :2])).any(axis=1).sum()):
            raise ValueError(f"landmarks of {name} must be finite numbers, {wrong} of the 68 are not")
        box, what = detect.box_of(landmarks), "box of the landmarks"
    if box is None:
        return None
    given, box = box, _numbers(box)
    sound = box is not None and box.shape == (4,) and np.isfinite(box).all()
    if not sound or box[0] >= box[2] or box[1] >= box[3]:
        got = given if box is None else box.tolist()
        raise ValueError(
            f"the {what} of {name} must be (x0, y0, x1, y1) with x0 < x1 and y0 < y1, got {got!r}"
        )
    height, width = shape[:2]
    if box[2] <= 0 or box[3] <= 0 or box[0] >= width - 1 or box[1] >= height - 1:
        raise ValueError(
            f"the {what} {box.tolist()} lies outside of {name}, which is {width} × {height} pixels"
        )
    return box


def crop_matrix(view: View, size: int) -> Tensor:
    """(1, 2, 3) float64 from the photo to the crop."""
    if view.frame is None:
        return square(view.box, size)[None]
    return correction.crop_matrix(correction.Upright(view.frame, view.box), size)


def _name(source: ImageLike, otherwise: str) -> str:
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    return str(getattr(source, "filename", "") or otherwise)
