"""A photo and the place of the face in it, by what the caller knows or by a detector, and its crop."""

import os
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from facet.crop import crop_box_from_bounds
from facet.images import ImageLike, load_image
from facet.reconstruction import correction, detect

TOLD = 20.0  # degrees of tilt from which a note says so


@dataclass(frozen=True)
class View:
    """One photo with the place of the face in it."""

    name: str
    image: np.ndarray  # (H, W, 3) uint8
    box: np.ndarray  # (4,) x0, y0, x1, y1
    given: bool  # the caller placed the box: it is not moved
    notes: tuple[str, ...] = ()
    landmarks: np.ndarray | None = None  # (68, 2) where they are known
    frame: np.ndarray | None = None  # (2, 3) from the photo to the upright picture that the box is in

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
    else:
        found = correction.find(image, box=box, name=name)
        if correct is not True:
            found = correction.align(image, found, correct)
    known = landmarks is not None or correct is not True
    return View(name, image, found.box, known, frame=found.frame)


def _per_view(value, count: int, dimensions: int) -> list:
    """One value for each photo: a single array belongs to the front photo, a pair is taken apart."""
    if value is None:
        return [None] * count
    if isinstance(value, list | tuple) and len(value) == 2:
        single = all(part is not None and np.ndim(part) == dimensions - 1 for part in value)
        if not single:
            return [*value][:count]
    if np.ndim(value) == dimensions + 1 and len(value) == count:
        return [*value]
    return [value, *[None] * (count - 1)]


def _given_box(landmarks, box, shape: tuple[int, ...], name: str) -> np.ndarray | None:
    """(4,) from the caller's landmarks or box, checked; None where neither is given."""
    if landmarks is not None:
        landmarks = np.asarray(landmarks, dtype=np.float64)
        if landmarks.ndim != 2 or landmarks.shape[0] != 68 or landmarks.shape[1] not in (2, 3):
            raise ValueError(f"landmarks of {name} must be (68, 2), got {landmarks.shape}")
        box = detect.box_of(landmarks)
    if box is None:
        return None
    box = np.asarray(box, dtype=np.float64)
    if box.shape != (4,) or not np.isfinite(box).all() or box[0] >= box[2] or box[1] >= box[3]:
        raise ValueError(
            f"the box of {name} must be (x0, y0, x1, y1) with x0 < x1 and y0 < y1, got {box.tolist()}"
        )
    height, width = shape[:2]
    if box[2] <= 0 or box[3] <= 0 or box[0] >= width - 1 or box[1] >= height - 1:
        raise ValueError(f"the box {box.tolist()} lies outside of {name}, which is {width} × {height} pixels")
    return box


def crop_matrix(view: View, size: int) -> Tensor:
    """(1, 2, 3) float64 from the photo to the crop."""
    if view.frame is None:
        return crop_box_from_bounds(torch.from_numpy(view.box)).matrix(size)
    return correction.crop_matrix(correction.Upright(view.frame, view.box), size)


def _name(source: ImageLike, otherwise: str) -> str:
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    return str(getattr(source, "filename", "") or otherwise)
