"""The description of one training by plain values."""

from dataclasses import dataclass, field

from facet.training.settings import Settings


@dataclass(frozen=True)
class Recipe:
    """One training, described completely by plain values: equal recipes give equal weights.

    Attributes:
        system: name of the network.
        profile: name of the profile, for file names only.
        image_size, width, options: of `build`.
        settings: of `fit`.
        data: names and numbers that decide the training data (data set, version, people, augmentation, loss).
        variant: of the file name, "" for the plain system.
        note: provenance of the data's assets, for the weights' metadata.
    """

    system: str
    profile: str
    image_size: int
    width: float
    settings: Settings
    data: dict[str, object]
    variant: str = ""
    options: dict[str, object] = field(default_factory=dict)
    note: str = ""

    @property
    def name(self) -> str:
        """Stem of the weights' file: system, variant, profile, and the seed if it is not 0."""
        parts = [
            self.system,
            self.variant,
            self.profile,
            f"seed{self.settings.seed}" if self.settings.seed else "",
        ]
        return "-".join(part for part in parts if part)

    def configuration(self) -> dict[str, object]:
        """All that decides the weights' values, for the hash."""
        training = {
            **self.settings.identity(),
            "steps": self.settings.steps,
            "patience": self.settings.patience,
        }
        return {
            "system": self.system,
            "image_size": self.image_size,
            "width": self.width,
            "options": self.options,
            "data": self.data,
            **training,
        }
