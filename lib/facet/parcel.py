"""Cached safetensors files in one smaller file, to carry to another machine, and the same bytes out of it.

Numbers of one tensor resemble each other in their high bytes and not in their low ones. So the bytes of each
are sorted by place, all first bytes before all second ones, and xz finds more to leave out. Nothing is lost,
and unpacking is checked by the files' SHA-256.
"""

import hashlib
import json
import lzma
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from facet.files import write_beside

FORMAT = "facet parcel 1"


def pack(files: Iterable[Path], parcel: Path) -> None:
    """Write a parcel of safetensors files of different names; it takes about half a second a megabyte."""
    contents = {Path(file).name: Path(file).read_bytes() for file in files}
    listed = [
        {"name": name, "bytes": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}
        for name, raw in contents.items()
    ]
    with write_beside(parcel) as temporary, lzma.open(temporary, "wb", preset=6) as stream:
        stream.write(json.dumps({"format": FORMAT, "files": listed}).encode() + b"\n")
        for raw in contents.values():
            stream.write(_sorted(raw, back=False))


def unpack(parcel: Path, folder: Path) -> list[Path]:
    """Write the files of a parcel into a folder, each whole or not at all, and return their paths.

    Raises:
        ValueError: the file is no parcel, is cut off, or a checksum is wrong.
    """
    paths = []
    try:
        with lzma.open(parcel) as stream:
            head = json.loads(stream.readline())
            if head["format"] != FORMAT:
                raise ValueError(f"{parcel} is a {head['format']!r}; this version reads {FORMAT!r}")
            for file in head["files"]:
                raw = _sorted(stream.read(file["bytes"]), back=True)
                if hashlib.sha256(raw).hexdigest() != file["sha256"]:
                    raise ValueError(f"{file['name']} in {parcel} has a wrong checksum: pack it again")
                with write_beside(Path(folder) / Path(file["name"]).name) as temporary:
                    temporary.write_bytes(raw)
                paths.append(Path(folder) / Path(file["name"]).name)
    except (lzma.LZMAError, EOFError, KeyError, TypeError, json.JSONDecodeError, UnicodeDecodeError) as fault:
        raise ValueError(f"{parcel} is no parcel, or is cut off ({fault}): pack it again") from None
    return paths


def _sorted(raw: bytes, *, back: bool) -> bytes:
    """A safetensors file with each tensor's bytes sorted by place in their number, or sorted back."""
    start = 8 + int.from_bytes(raw[:8], "little")
    out = np.frombuffer(raw, np.uint8).copy()
    for name, tensor in json.loads(raw[8:start]).items():
        if name == "__metadata__":
            continue
        first, last = (start + offset for offset in tensor["data_offsets"])
        count = int(np.prod(tensor["shape"]))
        if count:
            width = (last - first) // count
            out[first:last] = out[first:last].reshape((width, count) if back else (count, width)).T.ravel()
    return out.tobytes()
