"""From photographs to an album that the Coefficients system can be trained on: faces found, cropped, marked.

Sources are a folder of photographs, or Labelled Faces in the Wild (Huang et al. 2007) as scikit-learn fetches
it. Landmarks are those of a network of this project (see `by_coefficients.detected`): no 3D leaves it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from facet.crop import crop_box_from_bounds, crop_image
from facet.files import write_beside
from facet.images import load_image
from facet.reconstruction import by_coefficients, detect
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
) -> tuple[int, list[str]]:
    """Write an album, see `coefficients.albums`.

    Args:
        source: a folder, or LFW.
        out: the `.npz` file; face: the face model.
        image_size: S of the crops; count: at most so many photographs.
        say: is told every hundredth photograph.

    Returns:
        How many faces it has, and the names of photographs in which none was found.

    Raises:
        FileNotFoundError: no photographs, or no weights of a system that finds landmarks.
        ValueError: no face in any of them.
        OSError, ImportError: LFW cannot be fetched.
    """
    images, landmarks, names, left_out = [], [], [], []
    length = context_size(image_size)
    for number, (name, photo) in enumerate(photographs(source)):
        if count is not None and number >= count:
            break
        if say and number and number % 100 == 0:
            say(f"{number} photographs, {len(images)} faces")
        try:
            found, _ = detect.find_face(photo, name=name)
        except detect.FaceNotFoundError:
            left_out.append(name)
            continue
        marks = by_coefficients.detected(photo, found.box, face)
        if marks is None:
            raise FileNotFoundError("no network finds landmarks yet: make one by `facet train prn`")
        matrix = crop_box_from_bounds(torch.from_numpy(detect.box_of(marks))).matrix(image_size)
        window = matrix.clone()
        window[:, :, 2] += (length - image_size) / 2
        picture = crop_image(photo, window, length)[0]
        images.append((picture * 255).round().to(torch.uint8).numpy())
        inside = marks @ matrix[0, :, :2].numpy().T + matrix[0, :, 2].numpy()
        landmarks.append(inside.astype(np.float32))
        names.append(name)
    if not images:
        raise ValueError(f"no face in any photograph of {source}")
    with write_beside(out) as temporary, open(temporary, "wb") as handle:
        np.savez_compressed(
            handle, images=np.stack(images), landmarks=np.stack(landmarks), names=np.array(names),
            size=np.array(image_size),
        )  # fmt: skip
    return len(images), left_out


def photographs(source: str | os.PathLike) -> Iterator[tuple[str, np.ndarray]]:
    """(name, (H, W, 3) uint8) of every photograph of a folder and those inside it, or of LFW.

    Raises:
        FileNotFoundError: the folder does not exist or has none.
    """
    if str(source) == LFW:
        yield from _lfw()
        return
    folder = Path(source)
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES) if folder.is_dir() else []
    if not found:
        raise FileNotFoundError(
            f"no photographs in {source}: give a folder with {', '.join(SUFFIXES)} files, or {LFW}"
        )
    for path in found:
        yield path.relative_to(folder).as_posix(), load_image(path)


def _lfw() -> Iterator[tuple[str, np.ndarray]]:
    """The 13,233 photographs of Labelled Faces in the Wild, 250 × 250, whole.

    Raises:
        ImportError: scikit-learn is not installed.
        OSError: the download fails.
    """
    try:
        from sklearn.datasets import fetch_lfw_people
    except ImportError:
        raise ImportError("Labelled Faces in the Wild needs scikit-learn: pip install scikit-learn") from None
    try:
        fetched = fetch_lfw_people(color=True, resize=1.0, slice_=None, funneled=True)
    except OSError as error:  # urllib's errors are OSErrors
        raise OSError(
            f"Labelled Faces in the Wild cannot be fetched ({error}): where the network is closed, put its "
            "photographs into a folder and give that"
        ) from None
    scale = 255 if float(fetched.images.max()) <= 1.0 else 1
    for number, (image, who) in enumerate(zip(fetched.images, fetched.target, strict=True)):
        name = f"{fetched.target_names[who]} {number}"
        yield name, np.clip(image * scale, 0, 255).round().astype(np.uint8)
