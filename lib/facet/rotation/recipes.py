"""The trainings of this system: what each is shown, with how much of the profile's budget.

Position-map networks get the people, photos, augmentation, loss and samples that PRN's `wide` gets, in the
same order, so they may stand in one table: they differ in the second picture alone. The test poses lie
between the profiles without a gap, so those of these photos do, too. The first 70 % of the samples are
shared: every reader begins as one TwoView that learned with true second photos (`wide-first`), as the
thesis' begins with the weights of the two-view thesis, and one-pass and PRN's `wide` begin as one PRN. The
generator gets fewer steps of smaller batches, since a step of it costs several times as much, and its
lessons are of the people and the fit of PRN's `all-poses`.

The thesis (4.2) goes on by a plain mean squared error, with channels scaled by 0.6 to 1.4 and black boxes
(the preset "rotation" of `facet.augment`, which no training here takes).
"""

import sys
from collections.abc import Sequence
from dataclasses import asdict, replace

from torch import nn

from facet.augment import Augmentation
from facet.face_model import load, sampler
from facet.networks.one_pass import COARSE
from facet.profiles import Profile
from facet.rotation.fits import DEFAULT, NETWORKS, fit
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
from facet.training.starts import STARTED, WIDE_FIRST
from facet.training.told_loss import ToldLoss
from facet.training.weights import configuration_hash

TRAININGS = {
    ("one-pass", ""): "told",
    ("rotation", ""): "back",
    ("rotation", "true"): "true",
    ("twoview", WIDE_FIRST): "true",
    **{("twoview", kind): kind for kind in KINDS},
}
LESSONS_BY = "prn-all-poses"  # what found the faces of the generator's lessons; of all others: fits.NETWORKS
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
    shown = TRAININGS[system, variant]
    if system == "rotation":
        return _game(system, variant, shown, profile, seed, device)
    origin = STARTED[system, variant].origin if (system, variant) in STARTED else None
    like = base.recipe("prn", profile, variant="wide" if origin else WIDE_FIRST, seed=seed, device=device)
    told = f"all-poses, second photo {shown}" if system == "twoview" else shown
    data = {**like.data, "shown": told, "rendered": "cached"}  # see `task`
    made = replace(like, system=system, variant=variant, data=data)
    if origin:
        begun = _book(origin).recipe(origin[0], profile, variant=origin[1], seed=seed)
        made.data["start"] = {"name": begun.name, "hash": configuration_hash(begun.configuration())}
    if system == "twoview" and shown != "true":
        made.data.update(rotator_about(profile, seed=seed), views=VERSION)
    return made


def _book(pair: tuple[str, str]):
    """The module that knows a training: this one, or that of single photos."""
    return sys.modules[__name__] if pair in TRAININGS else base


def shares(profile: Profile) -> Shares:
    """Of a generator's losses; the option `perceptual` adds the loss that needs VGG-16's weights."""
    return Shares(perceptual=float(profile.options.get("perceptual", 0.0)))


def _game(system: str, variant: str, shown: str, profile: Profile, seed: int | None, device: str) -> Recipe:
    """A generator's training in terms of the profile's."""
    by, kind = _fitter(LESSONS_BY)
    made = base.recipe(by, profile, variant=kind, seed=seed, device=device)
    fitted_by = configuration_hash(made.configuration())
    steps, batch = round(GAME["steps"] * profile.steps), max(1, round(GAME["batch"] * profile.batch))
    settings = replace(
        made.settings, steps=steps, batch=batch, learning_rate=GAME["learning_rate"], schedule="cosine",
        patience=0, validate_every=max(1, steps // 10), warmup=min(100, steps // 10),
    )  # fmt: skip
    data = {name: made.data[name] for name in ("validation_people", "generation", "face_model")}
    data["shown"] = shown
    data["people"] = max(1, round(GAME["people"] * profile.people["train"]))
    data.update(fit=fitted_by, shares=asdict(shares(profile)), views=VERSION)
    return replace(made, system=system, variant=variant, settings=settings, data=data)


def task(made: Recipe, profile: Profile, *, workers: int = 2, say=None) -> Task:
    """The data of a recipe; people are rendered and views made first where they are not in the cache.

    Views are made once and stored, so their people are too, whatever the profile's `rendered` says: in `full`
    20,000 people from three sides are 18 GB in the cache.

    Raises:
        ValueError: another training has to be finished first.
    """
    about = {"generation": base.generation(profile), "workers": workers, "say": say}
    if made.system != "rotation":
        about.update(train=made.data["people"], poses=made.data["poses"])
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
        told = {"second": TRAININGS[made.system, made.variant], "views": views[split]}
        return SecondBatches(people[split], maps, "all-poses", batch, augmentation, seed, beards, **told)

    held_out = second("validation", exact, VALIDATION, 1)
    return Task(second("train", maps, augmentation, seed), Validation(held_out, loss), loss)


def _game_task(made: Recipe, profile: Profile, people: dict[str, Pictures], say) -> Task:
    how = {"generator": None, "seed": made.settings.seed, "device": made.settings.device}
    turner = rotator(profile, fit_by="prn", network=LESSONS_BY, **how)
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
    needed = [name for name in KINDS[TRAININGS[made.system, made.variant]] if name in (*ANGLES, "imitated")]
    if not needed:
        return {split: {} for split in people}
    seed = made.settings.seed
    turner = rotator(profile, seed=seed, device=made.settings.device)
    about = rotator_about(profile, seed=seed)
    stores = {split: {k: view_store(p, turner, k, about) for k in needed} for split, p in people.items()}
    return {split: {k: store.open(say=say) for k, store in some.items()} for split, some in stores.items()}


def _fitter(name: str) -> tuple[str, str]:
    """(system, variant) of a network that a fit reads."""
    return {"-".join(filter(None, pair)): pair for pair in base.known()}[name]


def rotator_about(profile: Profile, generator: str | None = "", *, seed: int | None = None) -> dict[str, str]:
    """What decides a profile's rotator, for the keys of stores; arguments as `rotator`'s."""
    system, variant = _fitter(NETWORKS[DEFAULT])
    fitter = base.recipe(system, profile, variant=variant, seed=seed).configuration()
    about = {"fit": configuration_hash(fitter), "generator": "none"}
    if generator is not None:
        painter = recipe("rotation", profile, variant=generator, seed=seed).configuration()
        about["generator"] = configuration_hash(painter)
    return about


def rotator(
    profile: Profile,
    *,
    generator: str | None = "",
    fit_by: str = DEFAULT,
    network: str | None = None,
    seed: int | None = None,
    device: str = "cpu",
    train: str | None = None,
    face=None,
) -> Rotator:
    """A profile's rotator: one of `fits` finds the face, the generator repairs the view.

    Args:
        generator: its variant; None repairs nothing.
        fit_by: name of the fit; network: that it reads, None for its own of `fits.NETWORKS`.
        seed: of the trainings of both; None is the profile's.
        train: of `obtain`, for what has no weights; None trains budgets of less than a hundred steps only.

    Raises:
        ValueError: the fit's network or the generator has no weights.
    """
    how = {"train": train or ("auto" if profile.brief else "never"), "progress": "none", "seed": seed}
    system, variant = _fitter(network or NETWORKS[fit_by])
    fitter, _ = base.trained(system, profile, variant=variant, device=device, **how)
    painter = None
    if generator is not None:
        painter, _ = trained("rotation", profile, variant=generator, device=device, **how)
    where = next(fitter.parameters()).device
    face = load(device=where) if face is None else face
    turner = Rotator(fit(fit_by, fitter, face), Completion(face), painter)
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
    if (start := STARTED.get((system, variant))) and base.trains(made, train):
        how = {"seed": seed, "device": device, "workers": workers, "progress": progress, "say": say}
        _book(start.origin).trained(start.origin[0], profile, variant=start.origin[1], **how)

    def data() -> Task:
        return task(made, profile, workers=workers, say=say)

    return obtain(made, data, train=train, progress=progress)


def ready(
    systems: Sequence[tuple[str, str]], profile: Profile, *, train: str = "auto", seed: int | None = None
) -> tuple[list[tuple[str, str]], str]:
    """As `base.ready`, of these systems."""
    return base.ready(systems, profile, train=train, seed=seed, find=recipe)
