"""A checkpoint cut into few small files, for machines that are lent for minutes and hand back little.

The set `shard-<i>-of-<n>-<hash>.bin` is one byte string cut up; the hash (of the whole) is checked on import.
Where room is short, the best weights so far become float16, then the optimiser's moments bfloat16, then they
are left out: the run goes on with fresh moments and its history says so.
"""

import hashlib
import io
import os
import re
from pathlib import Path

import torch
from torch import Tensor

from facet.files import write_beside
from facet.training.checkpoint import read_checkpoint, write_checkpoint

LIMIT = 15 * 2**20  # bytes a file
FILES = 8
_NAME = re.compile(r"shard-(\d+)-of-(\d+)-([0-9a-f]{16})\.bin")


def export_shards(
    folder: str | os.PathLike, out: str | os.PathLike, *, limit: int = LIMIT, files: int = FILES
) -> list[Path]:
    """Write a training folder's checkpoint as shards; older shards in `out` are removed.

    Args:
        folder: with `checkpoint.pt`, of the network while training (not the best weights).
        out: where the shards go.
        limit: bytes a file.
        files: most files.

    Returns:
        The paths written.

    Raises:
        FileNotFoundError: no checkpoint.
        ValueError: not even the weights fit.
    """
    content = {**read_checkpoint(folder), "training": Path(folder).name}
    blob = _fitting(content, limit * files)
    digest = hashlib.sha256(blob).hexdigest()[:16]
    count = -(-len(blob) // limit)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    paths = [out / f"shard-{index + 1}-of-{count}-{digest}.bin" for index in range(count)]
    for index, path in enumerate(paths):
        with write_beside(path) as temporary:
            temporary.write_bytes(blob[index * limit : (index + 1) * limit])
    for old in _shards(out):
        if old not in paths:
            old.unlink()
    return paths


def import_shards(out: str | os.PathLike, folder: str | os.PathLike) -> dict[str, object]:
    """Put shards together into a training folder, from which `fit` goes on.

    Returns:
        step, training (name of the folder that was exported), best ("exact" | "float16" | "current"), moments
        ("exact" | "bfloat16" | "fresh").

    Raises:
        FileNotFoundError: no shards.
        ValueError: shards are missing, of two runs, or broken.
    """
    found = {path: _NAME.fullmatch(path.name).groups() for path in _shards(Path(out))}
    if not found:
        raise FileNotFoundError(f"no shards (shard-1-of-...) in {out}")
    kinds = {(count, digest) for _, count, digest in found.values()}
    if len(kinds) > 1:
        raise ValueError(f"{out} holds shards of {len(kinds)} exports: keep one set")
    ((count, digest),) = kinds
    missing = sorted(set(range(1, int(count) + 1)) - {int(index) for index, _, _ in found.values()})
    if missing:
        raise ValueError(f"{out} lacks shard {', '.join(map(str, missing))} of {count}: copy it again")
    blob = b"".join(path.read_bytes() for path in sorted(found, key=lambda path: int(found[path][0])))
    if hashlib.sha256(blob).hexdigest()[:16] != digest:
        raise ValueError(f"the shards in {out} do not add up to {digest}: one is cut off, copy them again")
    content = torch.load(io.BytesIO(blob), map_location="cpu", weights_only=True)
    kept, training = content.pop("kept"), content.pop("training", None)
    if kept["best"] == "current":
        content["best"] = {name: value.clone() for name, value in content["network"].items()}
    content["best"] = _cast(content["best"], torch.float32)
    content["optimiser"] = _cast(content["optimiser"], torch.float32)
    write_checkpoint(folder, content)
    return {"step": content["step"], "training": training, **kept}


def _shards(out: Path) -> list[Path]:
    return sorted(path for path in out.glob("shard-*.bin") if _NAME.fullmatch(path.name))


def _fitting(content: dict[str, object], room: int) -> bytes:
    best, moments = content["best"], content["optimiser"]
    current = best is not None and all(torch.equal(best[n], v) for n, v in content["network"].items())
    half = "current" if current else "float16"
    exact = "current" if current else "exact"
    for kept in (
        {"best": exact, "moments": "exact"},
        {"best": half, "moments": "exact"},
        {"best": half, "moments": "bfloat16"},
        {"best": half, "moments": "fresh"},
    ):
        pieces = {**content, "kept": kept}
        pieces["best"] = {"exact": best, "float16": _half_weights(best), "current": None}[kept["best"]]
        pieces["optimiser"] = {
            "exact": moments,
            "bfloat16": _cast(moments, torch.bfloat16),
            "fresh": None,
        }[kept["moments"]]
        buffer = io.BytesIO()
        torch.save(pieces, buffer)
        if buffer.tell() <= room:
            return buffer.getvalue()
    raise ValueError(
        f"weights alone take {buffer.tell():,} bytes, the shards hold {room:,}: allow more or larger"
    )


def _half_weights(best: dict[str, Tensor] | None) -> dict[str, Tensor] | None:
    if best is None:
        return None
    moving = ("running_mean", "running_var")
    return {n: v.half() if v.is_floating_point() and not n.endswith(moving) else v for n, v in best.items()}


def _cast(value: object, dtype: torch.dtype) -> object:
    """Every floating tensor of more than one element, in nested dicts and lists, in another precision."""
    if isinstance(value, Tensor):
        return value.to(dtype) if value.is_floating_point() and value.numel() > 1 else value
    if isinstance(value, dict):
        return {name: _cast(part, dtype) for name, part in value.items()}
    if isinstance(value, list):
        return [_cast(part, dtype) for part in value]
    return value
