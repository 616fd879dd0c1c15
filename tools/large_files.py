"""Refuse tracked files that are too large, and a checkout that grows beyond what a clone should fetch.

python tools/large_files.py [FILE ...]      these files, or every tracked one
"""

import subprocess
import sys
from pathlib import Path

MEBIBYTE = 2**20
LIMITS = {".ipynb": 1.0, ".png": 1.0, ".safetensors": 8.0, ".html": 1.25, ".js": 3.0}  # MiB, by suffix
OTHERS = 0.5
TOTAL = 40.0


def tracked() -> list[Path]:
    """Files that git tracks and that exist, relative to the working folder."""
    listed = subprocess.run(["git", "ls-files", "-z"], capture_output=True, text=True, check=True).stdout
    return [path for path in map(Path, listed.split("\0")[:-1]) if path.is_file()]


def complaints(paths: list[Path], total: float = TOTAL) -> list[str]:
    """One line for each file over its limit, and one where all tracked files are over the total."""
    found = []
    for path in paths:
        size, limit = path.stat().st_size / MEBIBYTE, LIMITS.get(path.suffix, OTHERS)
        if size > limit:
            found.append(f"{path}: {size:.2f} MiB, more than {limit:g}")
    together = sum(path.stat().st_size for path in tracked()) / MEBIBYTE
    if together > total:
        found.append(f"tracked files: {together:.1f} MiB, more than {total:g}")
    return found


if __name__ == "__main__":
    lines = complaints([Path(name) for name in sys.argv[1:]] or tracked())
    print("\n".join(lines), end="\n" if lines else "")
    sys.exit(bool(lines))
