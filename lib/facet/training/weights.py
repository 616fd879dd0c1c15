"""Network weights as safetensors that say where they come from.

Parameters are stored as float16; batch norm's moving statistics as float32, since a variance can exceed
float16's 65,504 or vanish in it. Files that a clone fetches hold their large tensors in 8 bits, see
`compact_weights`. The header holds ONE key, `facet`, a JSON object with sorted keys
(safetensors writes several keys in random order, and equal runs shall write equal files).
"""

import datetime
import hashlib
import json
import os
import platform
import subprocess
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save, save_file
from torch import Tensor, nn

from facet.files import write_beside
from facet.paths import ROOT

LARGE = 2**12  # values of a tensor that `compact_weights` stores in 8 bits
_HALF_MAX = torch.finfo(torch.float16).max
_SCALES = ".scales"  # suffix of a tensor's factors, in a compact file


def configuration_hash(configuration: dict) -> str:
    """SHA-256 (16 hexadecimal digits) of a configuration of plain values, in any order of keys."""
    text = json.dumps(configuration, sort_keys=True, separators=(",", ":"), default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def provenance(*, device: str, **entries) -> dict[str, object]:
    """Metadata for `save_weights`: what the caller says plus commit, date, platform and torch version."""
    try:
        command = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
        commit = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        commit = "unknown"
    return {
        "commit": commit,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "device": device,
        "machine": platform.machine(),
        "torch": torch.__version__,
        **entries,
    }


def save_weights(network: nn.Module, path: str | os.PathLike, metadata: dict[str, object]) -> None:
    """Write a network's weights in one step.

    Args:
        metadata: plain values (see `provenance`): system, variant, profile, configuration, device, samples.
            With a `configuration` dict, its hash is added as `configuration_hash`.

    Raises:
        ValueError: a weight is not finite, or too large for float16.
    """
    metadata = dict(metadata)
    if "configuration" in metadata:
        metadata["configuration_hash"] = configuration_hash(metadata["configuration"])
    stored = {name: _stored(name, value) for name, value in _state(network).items()}
    with write_beside(path) as temporary:
        save_file(stored, temporary, metadata={"facet": json.dumps(metadata, sort_keys=True, default=_plain)})


def load_weights(network: nn.Module, path: str | os.PathLike) -> dict[str, object]:
    """Copy a file's weights into a network, in the network's own precision and device.

    Returns:
        The file's metadata.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is cut off, is no weights file, or is of another network.
    """
    metadata = read_metadata(path)
    saved = _unpacked(_tensors(path))
    own = _state(network)
    wrong = sorted(
        n for n in {*own, *saved} if n not in own or n not in saved or own[n].shape != saved[n].shape
    )
    if wrong:
        raise ValueError(
            f"{path} does not fit this network ({len(wrong)} entries, first {wrong[0]}): "
            "build it with the image_size, width and options that the file's metadata name"
        )
    with torch.no_grad():
        for name, value in own.items():
            value.copy_(saved[name])
    return metadata


def preferred(released: Path, made: Path) -> list[Path]:
    """Those of two weights files that exist, the one to be taken first.

    What was trained on this machine (`made`) comes first where it is another run of the configuration that
    was released; of the same run the released file, which everybody has, and whose rounding differs.
    """
    there = [path for path in (released, made) if path.is_file()]
    if len(there) == 2:
        known = [read_metadata(path) for path in there]
        if known[0] != known[1] and len({one.get("configuration_hash") for one in known}) == 1:
            there.reverse()
    return there


def compact_weights(path: str | os.PathLike) -> bytes:
    """A weights file in about half its bytes, with the same metadata.

    Tensors of more than `LARGE` values become int8, each row (index of the first axis) with a float32 factor
    of its own, so that its largest value is 127. All others stay as they are: they are few bytes, and among
    them are a decoder's last layers, in which a rounded weight shows in every texel. `load_weights` reads
    both kinds.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is cut off or no weights file.
    """
    stored = {}
    for name, value in _tensors(path).items():
        if value.dim() < 2 or value.numel() <= LARGE or not value.is_floating_point():
            stored[name] = value
            continue
        rows = value.float().flatten(1)
        scales = rows.abs().amax(dim=1, keepdim=True) / 127.0
        stored[name] = (rows / scales.clamp(min=1e-30)).round().to(torch.int8).reshape(value.shape)
        stored[name + _SCALES] = scales[:, 0]
    return save(stored, metadata={"facet": json.dumps(read_metadata(path), sort_keys=True)})


def read_metadata(path: str | os.PathLike) -> dict[str, object]:
    """Metadata of a weights file, without reading the weights.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is cut off or no weights file.
    """
    with _opened(path) as file:
        header = file.metadata() or {}
    return json.loads(header.get("facet", "{}"))


def configuration_differences(metadata: dict, config: dict) -> list[str]:
    """Names of the entries in which metadata and a configuration differ; empty if the hashes agree."""
    if metadata.get("configuration_hash") == configuration_hash(config):
        return []
    saved, wanted = metadata.get("configuration", {}), json.loads(json.dumps(config, default=_plain))
    differing = [n for n in {*saved, *wanted} if n not in saved or n not in wanted or saved[n] != wanted[n]]
    return sorted(differing) or ["configuration"]


def _opened(path: str | os.PathLike):
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no weights at {path}")
    try:
        return safe_open(path, framework="pt")
    except SafetensorError as error:
        fix = "remove it and fetch it again (git checkout, or train anew)"
        raise ValueError(f"{path} is cut off or no weights file ({error}): {fix}") from error


def _tensors(path: str | os.PathLike) -> dict[str, Tensor]:
    with _opened(path) as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no dict)


def _unpacked(saved: dict[str, Tensor]) -> dict[str, Tensor]:
    """A file's tensors with those in 8 bits multiplied out."""
    scales = {name: saved.pop(name + _SCALES) for name in list(saved) if name + _SCALES in saved}
    for name, factors in scales.items():
        saved[name] = saved[name].float() * factors.reshape(-1, *[1] * (saved[name].dim() - 1))
    return saved


def _state(network: nn.Module) -> dict[str, Tensor]:
    state = network.state_dict()
    return {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}


def _stored(name: str, value: Tensor) -> Tensor:
    value = value.detach().cpu().contiguous()
    if not value.is_floating_point() or name.endswith(("running_mean", "running_var")):
        return value
    if not value.isfinite().all() or value.abs().max() > _HALF_MAX:
        raise ValueError(f"{name} holds values that float16 cannot (largest {value.abs().max():g})")
    return value.half()


def _plain(value: object) -> object:
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{value!r} is no plain value")
