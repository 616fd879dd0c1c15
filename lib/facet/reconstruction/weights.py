"""Which trained network reconstructs: from a system's name or a weights file to a network ready to run."""

import os
from functools import lru_cache
from pathlib import Path

import torch
from torch import nn

from facet import paths

# Profiles by preference if the environment names none: the largest images first (smoke's are hardly trained).
PROFILES = ("full", "small")
FACES = ("map", "volume", "coefficients")  # outputs of networks that reconstruct a face


def load(model: str | os.PathLike, device: torch.device | str = "cpu") -> nn.Module:
    """A trained network, in eval mode; one that was loaded before is not read again.

    Its attribute `variant` is that of its training ("all-poses"), "" for the plain system.

    Args:
        model: a system's name ("prn", "prn-all-poses", …), or the path of a .safetensors file.
        device: where it is to run.

    Raises:
        ValueError: the name is unknown, or the file is no weights file of ours or is cut short.
        FileNotFoundError: there are no weights for the system, or the file does not exist.
    """
    path = Path(model) if str(model).endswith(".safetensors") else find(str(model))
    if not path.is_file():
        raise FileNotFoundError(f"no weights at {path}: give a system's name or the path of a weights file")
    status = path.stat()
    return _load(str(path), str(device), status.st_mtime_ns, status.st_size)


def find(system: str) -> Path:
    """The weights file of a system or its variant ("prn-all-poses"): of FACET_PROFILE, else the largest.

    Of released weights and those that were trained on this machine see `preferred`.

    Raises:
        ValueError: an unknown system.
        FileNotFoundError: none is on this machine.
    """
    for profile in preferred_profiles():
        if path := of_profile(system, profile):
            return path
    raise FileNotFoundError(
        f"no weights of {system} in {paths.WEIGHTS}: make them by `{training_of(system)}`"
    )


def training_of(system: str) -> str:
    """The command that trains a system or its variant ("prn-all-poses").

    Raises:
        ValueError: an unknown system.
    """
    from facet.rotation.recipes import TRAININGS
    from facet.training import recipes

    known = {"-".join(filter(None, pair)): pair for pair in (*recipes.every(), *TRAININGS)}
    if system not in known:
        names = sorted(name for some in models().values() for name in some)
        raise ValueError(f"unknown model {system!r}: take one of {', '.join(names)}")
    name, variant = known[system]
    return f"facet train {name}" + (f" --variant {variant}" if variant else "")


def models() -> dict[str, list[str]]:
    """What reconstructs: the names that `facet.reconstruct` takes, by system; none where it gives no face."""
    from facet.networks import SYSTEMS
    from facet.reconstruction.pipeline import ROTATIONS
    from facet.rotation.recipes import TRAININGS
    from facet.training import recipes

    found = {system: [] for system in SYSTEMS} | {"rotation": [*ROTATIONS]}
    for pair in (*recipes.every(), *TRAININGS):
        if SYSTEMS[pair[0]].output in FACES:
            found[pair[0]].append("-".join(filter(None, pair)))
    return found


def profiles_of(model: str) -> list[str]:
    """The profiles in which a model has all its weights on this machine; those of `preferred_profiles` first.

    Args:
        model: one of `models`, or the name of another network.
    """
    from facet import profiles
    from facet.reconstruction.pipeline import ROTATIONS
    from facet.rotation.fits import NETWORKS
    from facet.rotation.pipeline import PARTS

    parts = (NETWORKS[ROTATIONS[model]], *PARTS[1:]) if model in ROTATIONS else (model,)
    names = dict.fromkeys((*preferred_profiles(), *profiles.names()))
    return [name for name in names if all(of_profile(part, name) for part in parts)]


def first_of(*systems: str) -> Path:
    """The weights file of the first of some systems that has one, in the first profile that has any.

    Raises:
        FileNotFoundError: none is on this machine; the message says how the last one's are made.
    """
    for profile in preferred_profiles():
        for system in systems:
            if path := of_profile(system, profile):
                return path
    return find(systems[-1])


def preferred_profiles() -> list[str]:
    """Profiles in the order in which weights are looked for: that of FACET_PROFILE, then PROFILES."""
    wanted = os.environ.get("FACET_PROFILE")
    return ([wanted] if wanted else []) + [name for name in PROFILES if name != wanted]


def of_profile(system: str, profile: str) -> Path | None:
    """The weights file of a system in a profile, released or trained on this machine, else None."""
    from facet.training.weights import preferred

    name = f"{system}-{profile}.safetensors"
    return next(iter(preferred(paths.WEIGHTS / name, paths.CACHE / "weights" / name)), None)


@lru_cache(maxsize=4)
def _load(path: str, device: str, modified: int, size: int) -> nn.Module:
    from facet.face_model import files
    from facet.networks import SYSTEMS, build
    from facet.training.weights import load_weights, read_metadata

    about = read_metadata(path)
    known = about.get("configuration", {})
    if known.get("system") not in SYSTEMS or not {"image_size", "width"} <= known.keys():
        raise ValueError(f"{path} does not say of which system it is: these are not weights of ours")
    face_model = known.get("data", {}).get("face_model", files.VERSION)
    if face_model != files.VERSION:
        raise ValueError(
            f"{path} was trained on version {face_model} of the face model, this is version {files.VERSION}: "
            "train it again"
        )
    network = build(
        known["system"], image_size=known["image_size"], width=known["width"], **known.get("options", {})
    )
    load_weights(network, path)
    network.variant = about.get("variant", "")
    return network.eval().to(device)
