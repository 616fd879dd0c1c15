"""Trainings of the volumetric networks and of the landmark detector, in the manner of `recipes`.

All see people from every side, the detector at every yaw between. The detector: Adam, cosine schedule. The
three volumetric networks share everything but the network: RMSProp, the rate lowered to a tenth once
(Volumetric, section 2.5); true landmarks guide in training.
"""

from dataclasses import asdict, replace

from torch import nn

from facet.augment import Augmentation
from facet.face_model import FaceModel, load
from facet.face_model import files as face_files
from facet.networks.hourglass import STRIDE
from facet.networks.vrn import guide_sigma
from facet.profiles import Profile
from facet.rendering.voxels import Lattice
from facet.synthetic.batches import VALIDATION, Batches, Validation
from facet.synthetic.points import LandmarkTruth
from facet.synthetic.solids import SolidTruth
from facet.synthetic.stream import Stream
from facet.training import common
from facet.training.common import NOTE, WARMUP
from facet.training.obtain import Recipe, Task
from facet.training.settings import Settings
from facet.training.volume_losses import LandmarkDistance, LandmarkLoss, VolumeLoss

VOLUMES = ("vrn", "vrn-multitask", "vrn-guided")
VARIANTS = {
    "landmarks": ("",),
    "vrn": ("", "filled"),
    "vrn-multitask": ("", "filled"),
    "vrn-guided": ("", "filled", "wide"),
}
SYSTEMS = tuple(VARIANTS)
# Where the rate falls to a tenth, share of the budget; the paper says after 40 epochs and not of how many.
DROP = 2 / 3
# Learnt heat-maps have σ = 1 on their own grid, a quarter of the photo: "about 3 pixels" of the photo, as the
# paper also says. Those that guide have σ = 1 pixel of its photo, "about 6 across"; in the variant "wide" 3:
# 0.67 and 2 pixels of 128 (`guide_sigma` tells other sizes).
WIDE = 3.0
LANDMARK_SHARE = 0.5  # λ of `LandmarkLoss`
LANDMARK_RATE = 4.0  # times the profile's learning rate
MULTITASK_SHARE = 0.02  # of the heat-maps' divergence beside the volume's cross-entropy
# What a detector's box does to a crop, and more of it than position maps are shown: it must bear bad boxes.
LANDMARK_CROPS = {"rotation": 30.0, "scale": (0.85, 1.15), "translation": 0.08}


def lattice(profile: Profile) -> Lattice:
    """The profile's volume."""
    return Lattice(profile.image_size, tuple(profile.volume))


def recipe(
    system: str, profile: Profile, *, variant: str = "", seed: int | None = None, device: str = "auto"
) -> Recipe:
    """As `recipes.recipe`.

    Variants: "" and, of the volumetric networks, "filled" (targets without hidden surfaces, see
    `SolidTruth`); of vrn-guided also "wide" (heat-maps three times as wide).

    Raises:
        ValueError: the system has no such variant.
    """
    if variant not in VARIANTS[system]:
        names = ", ".join("-".join(filter(None, (system, name))) for name in VARIANTS[system])
        raise ValueError(f"nothing is known of training {system}-{variant}; known: {names}")
    options = profile.options
    generation = int(options.get("hourglass_generation", common.generation(profile)))
    shape = {} if system == "landmarks" else {"volume": list(profile.volume)}
    data = {
        "people": profile.people["train"],
        "validation_people": profile.people["val"],
        "rendered": profile.rendered,
        "generation": generation,
        "face_model": face_files.VERSION,
        "shown": "all-poses",
        "augmentation": asdict(augmentation(system, profile)),
    }
    if system == "landmarks":
        data |= common.from_all_sides(profile)
        data["loss"] = {"name": "landmarks", "sigma": float(STRIDE), "share": LANDMARK_SHARE}
    else:
        data["loss"] = {"name": "cross-entropy"}
        if variant == "filled":
            data["filled"] = True
        if system == "vrn-guided":
            shape["sigma"] = guide_sigma(profile.image_size, WIDE if variant == "wide" else 1.0)
        if system == "vrn-multitask":
            data["loss"] |= {"sigma": float(STRIDE), "share": MULTITASK_SHARE}
    return Recipe(
        system=system,
        variant=variant,
        profile=profile.name,
        image_size=profile.image_size,
        width=float(options.get("hourglass_width", profile.width)),
        settings=_settings(system, profile, seed, device),
        data=data,
        options=shape,
        note=NOTE,
    )


def _settings(system: str, profile: Profile, seed: int | None, device: str) -> Settings:
    changes = {} if seed is None else {"seed": seed}
    samples = profile.options.get("hourglass_samples", profile.samples)
    if system in VOLUMES:
        samples = profile.options.get("volume_samples", samples)
    steps = -(-int(samples) // profile.batch)
    changes |= {"steps": steps, "device": device, "warmup": min(WARMUP, steps // 10), "patience": 0}
    if system == "landmarks":
        rate = LANDMARK_RATE * profile.learning_rate
        return Settings.from_profile(profile, schedule="cosine", learning_rate=rate, **changes)
    epochs = -(-steps // profile.validate_every)
    changes["learning_rate"] = float(profile.options.get("volume_rate", profile.learning_rate))
    changes |= {"optimiser": "rmsprop", "schedule": "drop", "halve_every": max(1, round(DROP * epochs))}
    return Settings.from_profile(profile, **changes)


def augmentation(system: str, profile: Profile) -> Augmentation:
    """The detector's: the profile's with harder crops. The others': the paper's, or the profile's own."""
    if system == "landmarks":
        return replace(common.augmentation(profile), **LANDMARK_CROPS)
    return Augmentation.preset(str(profile.options.get("volume_augmentation", "volumetric")))


def truth(made: Recipe, model: FaceModel, *, modes: int | None = None):
    """What a batch's target is, for `Batches.truth`."""
    if made.system == "landmarks":
        return LandmarkTruth.open(model, made.image_size, modes=modes)
    grid, filled = Lattice(made.image_size, tuple(made.options["volume"])), bool(made.data.get("filled"))
    return SolidTruth.open(model, grid, filled=filled, guide_sigma=made.options.get("sigma"), modes=modes)


def losses(made: Recipe) -> tuple[nn.Module, nn.Module]:
    """The loss of training and that of validation."""
    known, size = made.data["loss"], made.image_size
    if made.system == "landmarks":
        loss = LandmarkLoss(size, sigma=known["sigma"], share=known["share"])
        return loss, LandmarkDistance(size)
    heatmaps = {name: known[name] for name in ("sigma", "share") if name in known}
    return VolumeLoss(size, **heatmaps), VolumeLoss(size)


def task(made: Recipe, profile: Profile, *, workers: int = 2, say=None) -> Task:
    """As `recipes.task`."""
    model = load()
    loss, judge = losses(made)
    kind, batch, seed = made.data["shown"], made.settings.batch, made.settings.seed
    shown = Augmentation(**made.data["augmentation"])
    poses = made.data.get("poses", "two-view")
    about = {"generation": made.data["generation"], "train": made.data["people"], "poses": poses}
    about |= {"workers": workers, "say": say}
    if profile.rendered == "streamed":
        batches = Stream.open(
            kind, batch, made.image_size, shown, generation=made.data["generation"], seed=seed,
            device=made.settings.device, truth=lambda there: truth(made, there), poses=poses,
        )  # fmt: skip
    else:
        pictures = common.people("train", profile, **about)
        batches = Batches(pictures, None, kind, batch, shown, seed, truth=truth(made, model))
    held_out = common.people("validation", profile, **about)
    exact = truth(made, model, modes=model.detail_modes)
    validation = Batches(held_out, None, kind, batch, VALIDATION, 1, truth=exact)
    return Task(batches, Validation(validation, judge), loss)
