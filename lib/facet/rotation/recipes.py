"""The trainings of this system: what each is shown, with how much of the profile's budget.

Position-map networks get the people, photos, augmentation, loss and number of samples that PRN's `all-poses`
gets, in the same order, so they may stand in one table: they differ in the second picture alone. All start
from random weights, as every network of that table does. The generator gets fewer steps of smaller batches: a
step of it costs several times as much.

The thesis (4.2) does otherwise: its reader goes on from the weights of the two-view thesis, by a plain mean
squared error, with channels scaled by 0.6 to 1.4 and black boxes (the preset "rotation" of `facet.augment`,
which no training here takes). A reader that began with a trained TwoView would have seen that training's
pictures too, front photos with side photos, and what it gained could not be told from what they taught.
"""

from collections.abc import Sequence
from dataclasses import asdict, replace

from torch import nn

from facet.augment import Augmentation
from facet.face_model import load, sampler
from facet.networks.one_pass import COARSE
from facet.profiles import Profile
from facet.rotation.fits import fit
from facet.rotation.head import Completion
from facet.rotation.lessons import LessonBatches, lesson_store
from facet.rotation.rotator import Rotator
from facet.rotation.second import ANGLES, KINDS, SecondBatches, view_store
from facet.rotation.store import VERSION
from facet.synthetic.batches import VALIDATION, Batches, Validation
from facet.synthetic.beards import Beards
from facet.synthetic.dataset import Pictures
from facet.synthetic.told import ToldBatches
from facet.training import perceptual
from facet.training import recipes as base
from facet.training.adversarial import ReconstructionError, Shares, fitted
from facet.training.common import people as of_split
from facet.training.history import History
from facet.training.losses import PositionLoss
from facet.training.obtain import Recipe, Task, obtain
from facet.training.told_loss import ToldLoss
from facet.training.weights import configuration_hash

TRAININGS = {
    ("one-pass", ""): "told",
    ("rotation", ""): "back",
    ("rotation", "true"): "true",
    **{("twoview", kind): kind for kind in KINDS},
}
# Of the generator: share of the profile's steps, of its batch, of its people.
GAME = {"steps": 0.4, "batch": 0.5, "people": 0.5, "learning_rate": 4e-4}


def recipe(
    system: str, profile: Profile, *, variant: str = "", seed: int | None = None, device: str = "auto"
) -> Recipe:
    """The training of a system in a profile, as `facet.training.recipes.recipe`.

    Raises:
        ValueError: the system has no such variant.
    """
    if (system, variant) not in TRAININGS:
        known = ", ".join("-".join(filter(None, pair)) for pair in TRAININGS)
        raise ValueError(
            f"nothing is known of training {'-'.join(filter(None, (system, variant)))}; known: {known}"
        )
    like = base.recipe("prn", profile, variant="all-poses", seed=seed, device=device)
    shown = TRAININGS[system, variant]
    told = f"all-poses, second photo {shown}" if system == "twoview" else shown
    made = replace(like, system=system, variant=variant, data={**like.data, "shown": told})
    fitted_by = configuration_hash(like.configuration())
    if system == "rotation":
        return _game(made, profile, fitted_by)
    if system == "twoview" and shown != "true":
        painted_by = configuration_hash(recipe("rotation", profile, seed=seed).configuration())
        made.data.update(fit=fitted_by, generator=painted_by, views=VERSION)
    return made


def shares(profile: Profile) -> Shares:
    """Of a generator's losses; the option `perceptual` adds the loss that needs VGG-16's weights."""
    return Shares(perceptual=float(profile.options.get("perceptual", 0.0)))


def _game(made: Recipe, profile: Profile, fitted_by: str) -> Recipe:
    """A generator's training in terms of the profile's."""
    steps, batch = round(GAME["steps"] * profile.steps), max(1, round(GAME["batch"] * profile.batch))
    settings = replace(
        made.settings, steps=steps, batch=batch, learning_rate=GAME["learning_rate"], schedule="cosine",
        patience=0, validate_every=max(1, steps // 10), warmup=min(100, steps // 10),
    )  # fmt: skip
    data = {name: made.data[name] for name in ("validation_people", "generation", "face_model", "shown")}
    data["people"] = max(1, round(GAME["people"] * profile.people["train"]))
    data.update(fit=fitted_by, shares=asdict(shares(profile)), views=VERSION)
    return replace(made, settings=settings, data=data)


def task(made: Recipe, profile: Profile, *, workers: int = 2, say=None) -> Task:
    """The data of a recipe; people are rendered and views made first where they are not in the cache.

    Raises:
        ValueError: the profile has no stored people, or another training has to be finished first.
    """
    if profile.rendered == "streamed":
        raise ValueError(
            f"profile {profile.name} streams its people, and views are made once and stored: "
            "train with a profile whose `rendered` is cached"
        )
    about = {"generation": base.generation(profile), "workers": workers, "say": say}
    people = {split: of_split(split, profile, **about) for split in ("train", "validation")}
    if made.system == "rotation":
        return _game_task(made, profile, people, say)
    model, size = load(), profile.image_size
    maps, exact = sampler(model, size), sampler(model, size, modes=model.detail_modes)
    weight, batch, seed = model.uv_weight(size), made.settings.batch, made.settings.seed
    augmentation = base.augmentation(profile)
    beards = Beards.open(model) if "beards" in made.data else None
    if made.system == "one-pass":
        colours = sampler(model, size // COARSE)
        batches = ToldBatches(
            people["train"], maps, "all-poses", batch, augmentation, seed, beards, colour_sampler=colours
        )
        loss = ToldLoss(weight, squared=base.LOSS["squared"], coarse=COARSE)
        held_out = Batches(people["validation"], exact, "all-poses", batch, VALIDATION, 1, beards)
        return Task(batches, Validation(held_out, loss), loss)
    loss = PositionLoss(weight, squared=base.LOSS["squared"])
    views = _views(made, profile, people, say)

    def second(split: str, maps, augmentation: Augmentation, seed: int) -> SecondBatches:
        told = {"second": made.variant, "views": views[split]}
        return SecondBatches(people[split], maps, "all-poses", batch, augmentation, seed, beards, **told)

    held_out = second("validation", exact, VALIDATION, 1)
    return Task(second("train", maps, augmentation, seed), Validation(held_out, loss), loss)


def _game_task(made: Recipe, profile: Profile, people: dict[str, Pictures], say) -> Task:
    turner = rotator(profile, generator=None, seed=made.settings.seed, device=made.settings.device)
    about, kind, batch = {"fit": made.data["fit"]}, made.data["shown"], made.settings.batch
    stored, counts = {}, {"train": made.data["people"], "validation": made.data["validation_people"]}
    for split, count in counts.items():
        stored[split] = lesson_store(people[split], turner, kind, count, about).open(say=say)
    batches = LessonBatches(stored["train"], counts["train"], batch, made.settings.seed)
    held_out = LessonBatches(stored["validation"], counts["validation"], batch)
    weighed = shares(profile)
    judge = perceptual.load() if weighed.perceptual else None
    play = fitted(profile.width, weighed, judge)
    return Task(batches, ReconstructionError(held_out.fixed()), nn.Identity(), play)


def _views(made: Recipe, profile: Profile, people: dict[str, Pictures], say) -> dict[str, dict]:
    """Opened views of each split that a kind of second photo needs."""
    needed = [name for name in KINDS[made.variant] if name in (*ANGLES, "imitated")]
    if not needed:
        return {split: {} for split in people}
    seed = made.settings.seed
    turner = rotator(profile, seed=seed, device=made.settings.device)
    about = rotator_about(profile, seed=seed)
    stores = {split: {k: view_store(p, turner, k, about) for k in needed} for split, p in people.items()}
    return {split: {k: store.open(say=say) for k, store in some.items()} for split, some in stores.items()}


def rotator_about(profile: Profile, generator: str | None = "", *, seed: int | None = None) -> dict[str, str]:
    """What decides a profile's rotator, for the keys of stores; arguments as `rotator`'s."""
    prn = base.recipe("prn", profile, variant="all-poses", seed=seed).configuration()
    about = {"fit": configuration_hash(prn), "generator": "none"}
    if generator is not None:
        painter = recipe("rotation", profile, variant=generator, seed=seed).configuration()
        about["generator"] = configuration_hash(painter)
    return about


def rotator(
    profile: Profile,
    *,
    generator: str | None = "",
    seed: int | None = None,
    device: str = "cpu",
    train: str | None = None,
    face=None,
) -> Rotator:
    """A profile's rotator: PRN `all-poses` fits, the generator's variant repairs (None repairs nothing).

    Args:
        seed: of the trainings of both; None is the profile's.
        train: of `obtain`, for what has no weights; None trains budgets of less than a hundred steps only.

    Raises:
        ValueError: PRN or the generator has no weights.
    """
    how = {"train": train or ("auto" if profile.brief else "never"), "progress": "none", "seed": seed}
    prn, _ = base.trained("prn", profile, variant="all-poses", device=device, **how)
    painter = None
    if generator is not None:
        painter, _ = trained("rotation", profile, variant=generator, device=device, **how)
    where = next(prn.parameters()).device
    face = load(device=where) if face is None else face
    turner = Rotator(fit("prn", prn, face), Completion(face), painter)
    return turner.eval().to(where)


def trained(
    system: str,
    profile: Profile,
    *,
    variant: str = "",
    seed: int | None = None,
    device: str = "auto",
    train: str = "auto",
    workers: int = 2,
    progress: str | None = "auto",
    say=None,
) -> tuple[nn.Module, History]:
    """A trained network in eval mode and its history, as `facet.training.recipes.trained`."""
    made = recipe(system, profile, variant=variant, seed=seed, device=device)

    def data() -> Task:
        return task(made, profile, workers=workers, say=say)

    return obtain(made, data, train=train, progress=progress)


def ready(
    systems: Sequence[tuple[str, str]], profile: Profile, *, train: str = "auto", seed: int | None = None
) -> tuple[list[tuple[str, str]], str]:
    """As `base.ready`, of these systems."""
    return base.ready(systems, profile, train=train, seed=seed, find=recipe)
