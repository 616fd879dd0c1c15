"""Profiles: how large everything is. They set numbers; no code asks which profile it runs in."""

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
    *("coefficients_backbone", "coefficients_photo_size", "coefficients_generation", "wide_people"),
    *("album", "perceptual"),
)
# Of notebooks, how many:
SHOWN = (
    *("volume_people", "bump_people", "florence_people", "fitted_people", "icp_people", "photos"),
    *("render_heads", "bootstrap", "speed_repeats"),
)


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
    """The profiles that have a file, smallest first."""
    found = {path.stem: load(path) for path in PROFILES.glob("*.yaml")}
    return sorted(found, key=lambda name: (found[name].image_size, found[name].samples, name))


def load(name: str | os.PathLike | None = None) -> Profile:
    """Read a profile by name, or from a YAML file of one's own.

    Without a name: the environment's FACET_PROFILE, else `small`.

    Raises:
        FileNotFoundError: no such profile; the message lists those there are.
        ValueError: the file misses a value, has an unknown one, or one that is out of range.
    """
    name = name or os.environ.get("FACET_PROFILE") or DEFAULT
    path = Path(name) if Path(name).suffix == ".yaml" else PROFILES / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in PROFILES.glob("*.yaml"))) or "none found"
        raise FileNotFoundError(f"no profile {str(name)!r}: {path} does not exist (profiles: {known})")
    import yaml

    return _checked(yaml.safe_load(path.read_text(encoding="utf-8")), path)


def _checked(values: dict, path: Path) -> Profile:
    known = {f.name for f in fields(Profile)}
    if unknown := sorted(set(values) - known):
        raise ValueError(f"{path}: unknown value {', '.join(unknown)}; some belong under options")
    if missing := sorted(known - set(values) - {"seed", "options"}):
        raise ValueError(f"{path}: {', '.join(missing)} is missing")
    known = {*TRAINED_BY, *SHOWN}
    if unknown := sorted(set(values.get("options") or {}) - known):
        near = [name for word in unknown for name in get_close_matches(word, known, n=1)]
        meant = f" (meant: {', '.join(near)}?)" if near else f" (known: {', '.join(sorted(known))})"
        raise ValueError(f"{path}: unknown option {', '.join(unknown)}{meant}")
    profile = Profile(**{**values, "volume": tuple(values["volume"])})
    if len(profile.volume) != 3:
        raise ValueError(f"{path}: volume wants three numbers (height, width, depth), got {profile.volume}")
    if set(profile.people) != {"train", "val", "test"}:
        raise ValueError(f"{path}: people wants train, val and test, got {', '.join(profile.people)}")
    if profile.rendered not in ("cached", "streamed"):
        raise ValueError(f"{path}: rendered is cached or streamed, not {profile.rendered!r}")
    if profile.image_size % 32:
        raise ValueError(f"{path}: image_size {profile.image_size} is not a multiple of 32")
    return profile
