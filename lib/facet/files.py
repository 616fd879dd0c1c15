"""Files that are never half-written, and their checksums."""

import hashlib
import json
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PLAIN_LIST = re.compile(r"\[\n\s*([^\[\]{}]*?)\n\s*\]")  # of values that are no lists or objects


def check_folder(path: str | os.PathLike, *, told: str = "") -> Path:
    """A folder that files are to be written to, made when they are; checked before any work is done.

    Args:
        told: how the message of an error begins; "cannot write to" the folder if empty.

    Raises:
        OSError: it, or what stands in its place, cannot be written to.
    """
    path = there = Path(path)
    while not there.exists():
        there = there.parent
    if not there.is_dir():
        raise NotADirectoryError(f"{told or f'cannot write to {path}'}: {there} is not a folder")
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise PermissionError(f"{told or f'cannot write to {path}'}: {error.strerror or error}") from error
    return path


@contextmanager
def write_beside(path: str | os.PathLike) -> Iterator[Path]:
    """A temporary path beside `path`, renamed onto it when the block ends without an error.

    The temporary name keeps the suffix (writers such as Pillow choose the format by it). The block may write
    a file or make a folder; a reader sees either the old content or the new, never a part. Parent folders
    are made.

    Raises:
        FileNotFoundError: the block wrote nothing.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}-{uuid.uuid4().hex[:8]}{path.suffix}")
    try:
        yield temporary
        if not temporary.exists():
            raise FileNotFoundError(f"nothing was written for {path}")
        _replace(temporary, path)
    finally:
        _remove(temporary)


def _replace(temporary: Path, path: Path) -> None:
    if path.is_dir() and temporary.is_dir():
        aside = temporary.with_name(temporary.name + ".old")
        os.rename(path, aside)
        os.rename(temporary, path)
        shutil.rmtree(aside)
    else:
        os.replace(temporary, path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write UTF-8 text with `\\n` line ends, in one step."""
    with write_beside(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: str | os.PathLike, value) -> None:
    """Write JSON, indented, keys sorted, lists of plain values on one line, in one step."""
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)
    # a raw line break stands between values only: inside a string it is escaped
    write_text(path, PLAIN_LIST.sub(_on_one_line, text) + "\n")


def _on_one_line(found: re.Match) -> str:
    return "[" + re.sub(r"\n\s*", " ", found[1]) + "]"


def sha256(path: str | os.PathLike) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
