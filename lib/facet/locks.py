"""One process at a time: a lock file with the process's number in it.

The lock is the operating system's (flock), which lets go of it when the process ends, however it ends: a
number that a killed process left in the file keeps nobody out. Where the system has no flock (Windows), there
is no lock.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


@contextmanager
def claimed(path: Path, *, wait: bool = False) -> Iterator[bool]:
    """Hold the lock while the block runs; False where another process (or block) holds it.

    With `wait` the block is entered when that one has let go of it.
    """
    if fcntl is None:
        yield True
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+", encoding="utf-8") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        _write(handle, f"{os.getpid()}\n")
        try:
            yield True
        finally:
            _write(handle, "")  # the file stays: without it two could hold locks on two files


def holder(path: Path) -> int | None:
    """The process that holds the lock, by what it wrote there; None where nothing is written."""
    text = path.read_text(encoding="utf-8").strip() if path.is_file() else ""
    return int(text) if text.isdigit() else None


def _write(handle, text: str) -> None:
    handle.seek(0)
    handle.truncate()
    handle.write(text)
    handle.flush()
