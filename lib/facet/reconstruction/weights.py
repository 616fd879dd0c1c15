"""Which trained network reconstructs: from a system's name or a weights file to a network ready to run."""

import json
import os
from functools import lru_cache
from pathlib import Path

import torch
from torch import nn

from facet import paths

# Profiles by preference where the environment names none: the largest images first.
PROFILES = ("full", "small", "smoke")


def load(model: str | os.PathLike, device: torch.device | str = "cpu") -> nn.Module:
    """A trained network, in eval mode; one that was loaded before is not read again.

    Args:
        model: a system's name ("prn", "twoview", …), or the path of a .safetensors file.
        device: where it is to run.

    Raises:
        ValueError: the name is unknown, or the file is no weights file of ours or is cut short.
        FileNotFoundError: there are no weights for the system, or the file does not exist.
    """
    if str(model).endswith(".safetensors"):
        path = Path(model)
        if not path.is_file():
            raise FileNotFoundError(f"{path} does not exist: give the path of a weights file")
    else:
        path = find(str(model))
    status = path.stat()
    return _load(str(path), str(device), status.st_mtime_ns, status.st_size)


def find(system: str) -> Path:
    """The weights file of a system: of the profile in FACET_PROFILE if it is there, else the largest.

    Raises:
        ValueError: an unknown system.
        FileNotFoundError: none is on this machine.
    """
    from facet.networks import SYSTEMS

    if system not in SYSTEMS:
        raise ValueError(f"unknown model {system!r}; there are {', '.join(sorted(SYSTEMS))}")
    wanted = os.environ.get("FACET_PROFILE")
    for profile in ([wanted] if wanted else []) + [name for name in PROFILES if name != wanted]:
        path = paths.WEIGHTS / f"{system}-{profile}.safetensors"
        if path.is_file():
            return path
    raise FileNotFoundError(
        f"no weights for {system} in {paths.WEIGHTS}: train them with `facet train {system}`"
    )


def metadata(path: str | os.PathLike) -> dict:
    """What a weights file says about itself.

    Raises:
        ValueError: it is no safetensors file, or is cut short.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(os.fspath(path), framework="pt") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"{path} is no weights file or is cut short ({error}): get it again or train it anew"
        ) from error


@lru_cache(maxsize=4)
def _load(path: str, device: str, modified: int, size: int) -> nn.Module:
    from facet.networks import SYSTEMS, build
    from facet.training import load_weights

    known = metadata(path)
    system = known.get("system")
    if system not in SYSTEMS:
        raise ValueError(f"{path} does not say of which system it is: these are not weights of ours")
    options = json.loads(known.get("options", "{}"))
    network = build(system, image_size=int(known["image_size"]), width=float(known["width"]), **options)
    load_weights(network, path)
    return network.eval().to(device)
