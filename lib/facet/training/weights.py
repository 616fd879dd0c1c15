"""Network weights as float16 safetensors that say where they come from.

Parameters are stored as float16; batch norm's moving statistics as float32, since a variance can exceed
float16's 65,504 or vanish in it. The header holds ONE key, `facet`, a JSON object with sorted keys
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
from safetensors.torch import save_file
from torch import Tensor, nn

from facet.files import write_beside
from facet.paths import ROOT

_HALF_MAX = torch.finfo(torch.float16).max


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


def load_weights(
    network: nn.Module, path: str | os.PathLike, *, config: dict | None = None
) -> dict[str, object]:
    """Copy a file's weights into a network, in the network's own precision and device.

    Args:
        config: the configuration that the weights must have been trained with; None takes any.

    Returns:
        The file's metadata.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is cut off, is no weights file, or is of another network or configuration.
    """
    metadata = read_metadata(path)
    if config is not None and (differing := configuration_differences(metadata, config)):
        raise ValueError(f"{path} was trained with another {', '.join(differing)}: train anew")
    with _opened(path) as file:
        saved = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no dict)
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
