"""Profiles: how large everything is. They set numbers; no code asks which profile it runs in."""

import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from difflib import get_close_matches
from pathlib import Path

from facet.paths import PROFILES

DEFAULT = "small"
# What `options` may name. Of trainings:
TRAINED_BY = (
    *("generation", "beards", "augmentation", "refinement_width"),
    *("hourglass_width", "hourglass_samples", "hourglass_generation"),
    *("volume_samples", "volume_rate", "volume_augmentation"),
    *("coefficients_backbone", "coefficients_photo_size", "coefficients_generation"),
    *("coefficients_rate", "wide_people", "album", "perceptual"),
)
# Of notebooks, how many:
SHOWN = (
    *("volume_people", "bump_people", "florence_people", "fitted_people", "icp_people", "photos"),
    *("changed_people", "changed_fitted", "changes", "render_heads", "bootstrap", "speed_repeats"),
)
SPLITS = ("train", "val", "test")
FROM_ZERO = ("halve_every", "patience", "seed")  # of the numbers; all others are above 0


@dataclass(frozen=True)
class Profile:
    """One row of sizes and budgets, read from `notebooks/profiles/<name>.yaml`.

    Attributes:
        image_size: side S of the crop and of the position map, pixels.
        volume: (height, width, depth) of the volumetric network's target, voxels.
        width: factor on the channel counts of every network.
        people: how many identities, by split: train, val, test.
        rendered: "cached" (a set made once) or "streamed" (new people for every batch).
        batch: images a step.
        samples: training images for every position-map network.
        learning_rate: of Adam, at the first step.
        validate_every: steps between validations.
        halve_every: validations after which the learning rate is halved.
        patience: validations without a better loss before training stops.
        threads: of torch, and so part of what makes two runs equal.
        seed: where every generator starts.
        options: what one system's training wants beside (`TRAINED_BY`), and how many people, photographs and
            repeats notebooks show (`SHOWN`).
    """

    name: str
    image_size: int
    volume: tuple[int, int, int]
    width: float
    people: Mapping[str, int]
    rendered: str
    batch: int
    samples: int
    learning_rate: float
    validate_every: int
    halve_every: int
    patience: int
    threads: int
    seed: int = 0
    options: Mapping[str, object] = field(default_factory=dict)

    @property
    def steps(self) -> int:
        """Training steps that the sample budget allows."""
        return -(-self.samples // self.batch)

    @property
    def brief(self) -> bool:
        """Whether a training takes a minute at most, so that a notebook may start one unasked."""
        return self.steps < 100

    def with_(self, **changes) -> "Profile":
        """A copy with other values; `options` are merged, not replaced."""
        if "options" in changes:
            changes["options"] = {**self.options, **changes["options"]}
        return replace(self, **changes)

    def to_dict(self) -> dict:
        """Plain values, for a configuration hash or a provenance note."""
        values = asdict(self)
        return {**values, "volume": list(self.volume)}


def names() -> list[str]:
    """The profiles that have a file, smallest first; those that cannot be read stand at the end."""
    found = {}
    for path in PROFILES.glob("*.yaml"):
        try:
            profile = load(path)
        except (OSError, ValueError):
            found[path.stem] = (math.inf, math.inf)
        else:
            found[path.stem] = (profile.image_size, profile.samples)
    return sorted(found, key=lambda name: (*found[name], name))


def find(name: str | os.PathLike | None = None) -> Path:
    """The file of a profile: of a name, or a YAML file of one's own.

    Without a name: the environment's FACET_PROFILE, else `small`.

    Raises:
        FileNotFoundError: no such profile; the message lists those there are.
    """
    name = name or os.environ.get("FACET_PROFILE") or DEFAULT
    path = Path(name) if Path(name).suffix == ".yaml" else PROFILES / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in PROFILES.glob("*.yaml"))) or "none found"
        raise FileNotFoundError(f"no profile {str(name)!r}: {path} does not exist (profiles: {known})")
    return path


def shared(name: str | os.PathLike | None = None) -> str:
    """The name of a profile, see `find`, that whoever is told it finds again: its file lies in PROFILES.

    Raises:
        FileNotFoundError: no such profile.
        ValueError: its file lies elsewhere.
    """
    path = find(name)
    if path.resolve().parent != PROFILES.resolve():
        raise ValueError(
            f"{path} is not in {PROFILES}: notebooks find a profile by its name, so copy the file there and "
            f"give {path.stem}"
        )
    return path.stem


def load(name: str | os.PathLike | None = None) -> Profile:
    """Read a profile by name, or from a YAML file of one's own, see `find`.

    Raises:
        FileNotFoundError: no such profile; the message lists those there are.
        ValueError: the file is no YAML, misses a value, has an unknown one, or one of another type or out of
            range; the message names the file and the value.
    """
    path = find(name)
    import yaml

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path} is no profile: it must hold lines `name: value`, as {DEFAULT}.yaml does")
    return _checked(values, path)


def _checked(values: dict, path: Path) -> Profile:
    known = {f.name: f.type for f in fields(Profile)}
    if unknown := sorted(str(name) for name in values if name not in known):
        raise ValueError(f"{path}: unknown value {', '.join(unknown)}; some belong under options")
    if missing := sorted(set(known) - set(values) - {"seed", "options"}):
        raise ValueError(f"{path}: {', '.join(missing)} is missing")
    values = {**values, "options": _options(values.get("options"), path)}
    for name, value in values.items():
        if known[name] in (int, float):
            _check_number(path, name, value, known[name])
        elif known[name] is str and not isinstance(value, str):
            raise ValueError(f"{path}: {name} must be a text, got {value!r}")
    _check_groups(values, path)
    if values["rendered"] not in ("cached", "streamed"):
        raise ValueError(f"{path}: rendered is cached or streamed, not {values['rendered']!r}")
    if values["image_size"] % 32:
        raise ValueError(f"{path}: image_size {values['image_size']} is not a multiple of 32")
    if values["name"] != path.stem:  # reports and weights go by the name
        raise ValueError(f"{path}: name is {values['name']!r}, but must be that of the file: {path.stem}")
    return Profile(**{**values, "volume": tuple(values["volume"])})


def _options(options: object, path: Path) -> dict[str, object]:
    """What a file has under `options`; an empty place is no options."""
    if not isinstance(options, dict | None):
        raise ValueError(f"{path}: options must be lines `name: value`, got {options!r}")
    known = {*TRAINED_BY, *SHOWN}
    if unknown := sorted(str(name) for name in options or {} if name not in known):
        near = [name for word in unknown for name in get_close_matches(word, known, n=1)]
        meant = f" (meant: {', '.join(near)}?)" if near else f" (known: {', '.join(sorted(known))})"
        raise ValueError(f"{path}: unknown option {', '.join(unknown)}{meant}")
    return options or {}


def _check_groups(values: dict, path: Path) -> None:
    """The values that hold several numbers."""
    volume, people = values["volume"], values["people"]
    if not isinstance(volume, list) or len(volume) != 3:
        raise ValueError(f"{path}: volume wants three numbers [height, width, depth], got {volume!r}")
    if not isinstance(people, dict) or set(people) != set(SPLITS):
        raise ValueError(f"{path}: people wants {{train: …, val: …, test: …}}, got {people!r}")
    for side in volume:
        _check_number(path, "each side of volume", side, int)
    for split in SPLITS:
        _check_number(path, f"people.{split}", people[split], int)


def _check_number(path: Path, name: str, value: object, kind: type) -> None:
    """Raise ValueError where a value is no finite number of a kind in its range."""
    number = isinstance(value, int if kind is int else (int, float)) and not isinstance(value, bool)
    least = 0 if name in FROM_ZERO else 1
    if number and math.isfinite(value) and (value >= least if kind is int else value > 0):
        return
    wanted = f"a whole number, {least} or more" if kind is int else "a number above 0"
    raise ValueError(f"{path}: {name} must be {wanted}, got {value!r}{_meant(value, kind)}")


def _meant(value: object, kind: type) -> str:
    """How a number is written that YAML 1.1 reads as a text: 1e-3 without a point, "80" in quotes."""
    try:
        if not isinstance(value, str) or not math.isfinite(float(value)):
            return ""
    except ValueError:
        return ""
    digits, _, power = value.strip().lower().partition("e")
    if kind is int:
        number = f"{float(value):.0f}" if float(value).is_integer() else ""
    elif power:
        number = f"{digits if '.' in digits else digits + '.0'}e{int(power):+d}"
    else:
        number = digits
    return number and f", which is a text to YAML: write {number}"
