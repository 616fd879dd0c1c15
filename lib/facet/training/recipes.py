"""From a profile to a training: which data, which augmentation, which budget each system gets.

Networks that stand in one table get the same people, pictures, augmentation and number of samples; they
differ in which of the pictures they are shown. Those that go on from a trained network (`starts`) see more of
them: Residual stands beside PRN "longer", which has seen as many.
"""

from collections.abc import Sequence
from dataclasses import asdict, replace

from torch import nn

from facet.face_model import files as face_files
from facet.face_model import load, sampler
from facet.profiles import Profile
from facet.synthetic.batches import VALIDATION, Batches, Validation
from facet.synthetic.beards import Beards
from facet.synthetic.stream import Stream
from facet.training import coefficient_recipes, volumetric
from facet.training.common import NOTE, WARMUP, augmentation, from_all_sides, generation, people
from facet.training.geometry_losses import position_losses
from facet.training.history import History
from facet.training.obtain import Recipe, Task, begun, obtain
from facet.training.release import weights_state
from facet.training.settings import Settings
from facet.training.starts import STARTED, WIDE_FIRST, Start, started

# system, variant → which pictures of a person it is shown (see `Batches`).
SHOWN = {
    ("prn", ""): "front",
    ("prn", "all-poses"): "all-poses",
    ("mobile", ""): "front",
    ("twoview", ""): "pair",
    ("residual", ""): "front",
    ("residual", "logit"): "front",
    ("prn", "longer"): "front",
}
# Photos from all sides without a gap (`from_all_sides`), in as many samples as the others get, in two parts:
# what the networks of `facet.rotation` begin with, and PRN's own end.
WIDE = {("prn", WIDE_FIRST): "all-poses", ("prn", "wide"): "all-poses"}
LOSS = {"name": "uv-weighted", "squared": False, "weights": "16:4:3:0"}


def every() -> list[tuple[str, str]]:
    """Every (system, variant) whose training is described here."""
    volumes = [(system, kind) for system, kinds in volumetric.VARIANTS.items() for kind in kinds if kind]
    return [*known(), *volumes, (coefficient_recipes.SYSTEM, coefficient_recipes.PHOTOS)]


def known() -> list[tuple[str, str]]:
    """Those of `every` whose weights are released: not of a study's networks, nor of photographs' albums."""
    coefficients = ((coefficient_recipes.SYSTEM, variant) for variant in coefficient_recipes.VARIANTS)
    return [*SHOWN, *WIDE, *((system, "") for system in volumetric.SYSTEMS), *coefficients]


def recipe(
    system: str, profile: Profile, *, variant: str = "", seed: int | None = None, device: str = "auto"
) -> Recipe:
    """The training of a system in a profile; where it runs ("auto", "cpu", "cuda") does not identify it.

    Raises:
        ValueError: the system has no such variant.
    """
    if system in volumetric.SYSTEMS:
        return volumetric.recipe(system, profile, variant=variant, seed=seed, device=device)
    if system == coefficient_recipes.SYSTEM:
        return coefficient_recipes.recipe(profile, variant=variant, seed=seed, device=device, note=NOTE)
    if (system, variant) not in (SHOWN | WIDE):
        names = ", ".join("-".join(filter(None, pair)) for pair in known())
        raise ValueError(
            f"nothing is known of training {'-'.join(filter(None, (system, variant)))}; known: {names}"
        )
    changes = {} if seed is None else {"seed": seed}
    warmup = min(WARMUP, profile.steps // 10)
    settings = Settings.from_profile(profile, device=device, warmup=warmup, **changes)
    sides = from_all_sides(profile) if (system, variant) in WIDE else {}
    if variant == WIDE_FIRST:
        settings = replace(settings, steps=profile.steps - round(Start.share * profile.steps))
    made = Recipe(
        system=system,
        variant=variant,
        profile=profile.name,
        image_size=profile.image_size,
        width=profile.width,
        settings=settings,
        data={
            "people": profile.people["train"],
            "validation_people": profile.people["val"],
            "rendered": profile.rendered,
            "generation": generation(profile),
            **({"beards": True} if profile.options.get("beards") else {}),
            "face_model": face_files.VERSION,
            "shown": (SHOWN | WIDE)[system, variant],
            "augmentation": asdict(augmentation(profile)),
            "loss": LOSS,
            **sides,
        },
        note=NOTE,
    )
    if start := STARTED.get((system, variant)):
        origin = recipe(start.origin[0], profile, variant=start.origin[1], seed=seed, device=device)
        made = started(made, origin, start, profile)
    return made


def task(made: Recipe, profile: Profile, *, workers: int = 2, say=None) -> Task:
    """The data of a recipe; rendered first where it is not in the cache (`say` is told the progress)."""
    if made.system in volumetric.SYSTEMS:
        return volumetric.task(made, profile, workers=workers, say=say)
    if made.system == coefficient_recipes.SYSTEM:
        about = {
            "generation": made.data.get("generation", generation(profile)),
            "train": made.data.get("people"),
            "poses": made.data.get("poses", "two-view"),
            "workers": workers,
            "say": say,
        }
        return coefficient_recipes.task(made, profile, lambda split: people(split, profile, **about))
    sides = {"poses": made.data.get("poses", "two-view")}
    about = {"generation": generation(profile), "train": made.data["people"], "workers": workers, "say": say}
    model = load()
    maps = sampler(model, profile.image_size)
    signed = made.options.get("squash") == "tanh"
    loss, judged = position_losses(made.data["loss"], model, profile.image_size, signed=signed)
    kind, seed, batch = made.data["shown"], made.settings.seed, made.settings.batch
    beards = Beards.open(model) if "beards" in made.data else None
    if profile.rendered == "streamed":
        device = made.settings.device
        batches = Stream.open(
            kind, batch, profile.image_size, augmentation(profile),
            generation=generation(profile), beards="beards" in made.data, seed=seed, device=device, **sides,
        )  # fmt: skip
    else:
        pictures = people("train", profile, **about, **sides)
        batches = Batches(pictures, maps, kind, batch, augmentation(profile), seed, beards)
    held_out = people("validation", profile, **about, **sides)
    # `maps` holds the model's own modes; held-out people have more: their truth is sampled with all of them
    exact = sampler(model, profile.image_size, modes=model.detail_modes)
    validation = Batches(held_out, exact, kind, batch, VALIDATION, 1, beards)
    return Task(batches, Validation(validation, judged), loss)


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
    """A trained system in eval mode and its history: released weights that fit, or training (`obtain`)."""
    made = recipe(system, profile, variant=variant, seed=seed, device=device)
    if (start := STARTED.get((system, variant))) and trains(made, train):
        trained(
            start.origin[0], profile, variant=start.origin[1], seed=seed, device=device,
            workers=workers, progress=progress, say=say,
        )  # fmt: skip
    return obtain(
        made,
        lambda: task(made, profile, workers=workers, say=say),
        train=train,
        progress=progress,
    )


def trains(made: Recipe, train: str) -> bool:
    """Whether `obtain` will begin a recipe's training."""
    missing = train == "auto" and weights_state(made).state not in ("trained", "released")
    return (train == "always" or missing) and not begun(made)


def samples_before(
    system: str, profile: Profile, *, variant: str = "", seed: int | None = None, find=recipe
) -> int:
    """Training pictures that a system's first weights have seen, which its own history does not count.

    Of a training that goes on from another: what that one's weights say, else its budget. Of others 0.
    `find` makes the recipe of a system, as :func:`recipe` does.
    """
    if (system, variant) not in STARTED:
        return 0
    name, kind = STARTED[system, variant].origin
    origin = find(name, profile, variant=kind, seed=seed)
    found = weights_state(origin)
    own = origin.settings.steps * origin.settings.batch
    if found.state in ("trained", "released"):
        own = found.metadata["samples"]
    return own + samples_before(name, profile, variant=kind, seed=seed, find=find)


def ready(
    systems: Sequence[tuple[str, str]],
    profile: Profile,
    *,
    train: str = "auto",
    seed: int | None = None,
    find=recipe,
) -> tuple[list[tuple[str, str]], str]:
    """Of some (system, variant) those that a comparison can show now, and a sentence on the others.

    With train = "auto" a comparison does not start trainings of half an hour to two hours: systems without
    weights are left out and named. Budgets of a minute (`Profile.brief`) are trained, unless
    train = "never". `find` makes the recipe of a system, as :func:`recipe` does.
    """
    if train == "always" or (train == "auto" and profile.brief):
        return list(systems), ""
    states = {pair: weights_state(find(pair[0], profile, variant=pair[1], seed=seed)) for pair in systems}
    found = [pair for pair in systems if states[pair].state in ("trained", "released")]
    missing = [" ".join(filter(None, pair)) for pair in systems if pair not in found]
    names = ", ".join(missing)
    return found, f"Left out, for want of weights: {names}; `facet train` makes them." if missing else ""
