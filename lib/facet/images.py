"""Loading photographs: whatever a phone or a browser saved becomes upright 8-bit RGB."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

SMALLEST = 32
"""Photographs with a side shorter than this many pixels are refused: no face can be read from them."""

ImageLike = str | os.PathLike | Image.Image | np.ndarray


def load_image(source: ImageLike) -> np.ndarray:
    """A photograph as upright RGB.

    EXIF orientation is applied; grey, palette, CMYK and 16-bit images are converted; transparency is laid
    over white; of an animation the first frame is taken. Colour profiles are ignored (pixels are read as
    sRGB). A PIL image of floats (mode "F") spans 0…1 where no value is above 1, else 0…255, else 0…65535.

    Args:
        source: a path, a PIL image, or a uint8 array (H, W, 3); (H, W) grey and (H, W, 4) RGBA are accepted
            too.

    Returns:
        (H, W, 3) uint8 RGB, a new array.

    Raises:
        ValueError: the file is missing, is no image, is damaged, or is smaller than 32 pixels a side; the
            message names the file and what to do.
    """
    if isinstance(source, np.ndarray):
        name, image = "the array", _from_array(source)
    elif isinstance(source, Image.Image):
        name, image = getattr(source, "filename", "") or "the image", source
        image = _decode(image, name)
    elif isinstance(source, str | os.PathLike):
        name = os.fspath(source)
        if not name:
            raise ValueError("the path of the photograph is empty: give the path of one photograph")
        image = _open(Path(source))
    else:
        raise ValueError(
            f"load_image takes a path, a PIL image or a uint8 (H, W, 3) array, not {type(source).__name__}"
        )
    if min(image.size) < SMALLEST:
        width, height = image.size
        raise ValueError(
            f"{name} is {width}×{height} pixels: give a larger photograph, at least {SMALLEST} pixels a side"
        )
    return np.array(image, dtype=np.uint8)


def _open(path: Path) -> Image.Image:
    if not path.exists():
        raise ValueError(f"{path} does not exist: check the path of the photograph")
    if path.is_dir():
        raise ValueError(f"{path} is a folder: give the path of one photograph in it")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                return _decode(image, str(path))
    except Image.UnidentifiedImageError:
        raise ValueError(
            f"{path} is not an image that Pillow can read: save the photograph as JPEG or PNG"
        ) from None
    except Image.DecompressionBombError:
        raise ValueError(f"{path} has too many pixels to open safely: save a smaller copy of it") from None
    except OSError as error:
        raise ValueError(f"{path} cannot be opened ({error}): check the file and its permissions") from None


def _decode(image: Image.Image, name: str) -> Image.Image:
    """Upright RGB copy of an opened image; this is where the pixels are read."""
    try:
        image.load()
        return _to_rgb(ImageOps.exif_transpose(image))
    except (OSError, SyntaxError, EOFError) as error:
        raise ValueError(
            f"{name} is damaged or cut short ({error}): copy or download the photograph again"
        ) from None


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        image = _to_8_bit(image)
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def _to_8_bit(image: Image.Image) -> Image.Image:
    """Grey of more than 8 bits ("I;16", "I", "F") as "L"; 16-bit values span 0…65535, floats up to 1 0…1."""
    values = np.asarray(image).astype(np.float64)
    highest = values.max(initial=0.0)
    if image.mode.startswith("I;16") or highest > 255.0:
        values = values / 257.0
    elif image.mode == "F" and highest <= 1.0:
        values = values * 255.0
    return Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))


def _from_array(array: np.ndarray) -> Image.Image:
    if array.dtype != np.uint8:
        raise ValueError(
            f"the array has dtype {array.dtype}: give uint8 from 0 to 255 (times 255 if they end at 1)"
        )
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim != 2 and not (array.ndim == 3 and array.shape[2] in (3, 4)):
        raise ValueError(f"the array has shape {array.shape}: give (H, W, 3), rows first, RGB last")
    if 0 in array.shape:
        raise ValueError(f"the array has shape {array.shape}: give a photograph with pixels in it")
    return _to_rgb(Image.fromarray(array))
