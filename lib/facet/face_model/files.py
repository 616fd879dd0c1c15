"""The cached files of the face model: where they are, whether they are current, building them."""

from pathlib import Path
from typing import NamedTuple

from facet import paths

VERSION = "6"  # raise it when the content of the files changes


class CacheFiles(NamedTuple):
    """The three safetensors files under data/cache."""

    model: Path
    people: Path
    skins: Path


def where() -> CacheFiles:
    """The paths, whether the files exist or not."""
    return CacheFiles(*(paths.CACHE / f"{name}.safetensors" for name in ("face_model", "people", "skins")))


def current() -> bool:
    """Whether all three files are whole and made by this version."""
    from safetensors import SafetensorError, safe_open

    for path in where():
        try:
            with safe_open(path, "pt") as handle:
                if (handle.metadata() or {}).get("version") != VERSION:
                    return False
        except (SafetensorError, OSError):
            return False
    return True


def ensure() -> CacheFiles:
    """The files, built first where they are missing or old.

    Raises:
        ValueError: they are missing and `anny` is not installed to build them.
    """
    if not current():
        try:
            from facet.face_model import build

            build.build()
        except ImportError as error:
            raise ValueError(
                f"the face model is not under data/cache and cannot be built here ({error}): carry "
                "face_model.safetensors, people.safetensors and skins.safetensors along from a machine "
                "that has anny."
            ) from None
    return where()
