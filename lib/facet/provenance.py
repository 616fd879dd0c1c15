"""Where results come from: commit, versions, machine, parameters, inputs; one entry a notebook."""

import fcntl
import json
import os
import platform
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib import metadata
from pathlib import Path

from facet.files import write_json
from facet.paths import NOTEBOOKS, ROOT

PACKAGES = (
    "anny k3d lightning matplotlib numpy open3d-cpu pandas pillow safetensors scipy torch trimesh".split()
)


@cache
def commit() -> str:
    """Hash of the checked-out commit, "+" behind it where the library or notebooks differ from it."""
    head = _git("rev-parse", "HEAD")
    if not head:
        return "unknown"
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", "lib", "notebooks", "Snakefile")
    return head + ("+" if changed else "")


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, timeout=20
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


@cache
def versions() -> dict[str, str]:
    """Versions of Python and of the packages that results depend on, those that are installed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def machine(device: str = "cpu") -> dict[str, object]:
    """Processor, cores, system, and the GPU's name when `device` is one."""
    facts: dict[str, object] = {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
    }
    if device.startswith("cuda"):
        import torch

        facts["gpu"] = torch.cuda.get_device_name(device)
    return facts


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def short(path: Path) -> str:
    """A path as provenance shows it: relative to the root, or the bare name outside it."""
    path = Path(path).resolve()
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.name


def read(path: Path) -> dict:
    """The entries of a provenance.json by notebook; empty when there is none.

    Raises:
        ValueError: the file is damaged.
    """
    if not path.is_file():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(
            f"{path} is damaged ({error}): take it back from git, or remove it and run the notebooks again"
        ) from error


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".provenance.lock", "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def merge(path: Path, key: str, entry: Mapping, *, known: Path | None = None) -> None:
    """Put one notebook's entry into a provenance.json; others' entries stay, those of vanished notebooks go.

    Args:
        path: the file; written in one step, under a lock, so that notebooks may run side by side.
        key: the notebook's name, with variant and seed behind it.
        entry: plain values.
        known: the report's own folder: a result that another notebook already owns there is refused.

    Raises:
        ValueError: two notebooks write the same result.
    """
    with _locked(path.parent):
        entries = {name: value for name, value in read(path).items() if name == key or _exists(name)}
        others = read(known / "provenance.json") if known else {}
        for name, other in {**others, **entries}.items():
            taken = set(other.get("artefacts", ())) & set(entry.get("artefacts", ()))
            if name != key and taken and _exists(name):
                raise ValueError(f"{key} writes {', '.join(sorted(taken))}, which belongs to {name}")
        write_json(path, {**entries, key: dict(entry)})


def _exists(key: str) -> bool:
    """Whether the notebook of an entry is still there (its variant and seed stand behind a dash)."""
    return not NOTEBOOKS.is_dir() or any(NOTEBOOKS.glob(f"{key.split('-')[0]}*.ipynb"))
