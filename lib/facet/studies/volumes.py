"""Volumetric networks at 64 pixels and 32³ voxels: bumps and their remedy in the targets, how to guide.

Every cell sees the same pictures (1,500 people of the second generation, from all sides) for as many steps.
The review suspects that bumps come from hidden surfaces in the targets and proposes to mend it there: in
"filled" targets every column of the volume is solid from what the camera sees to the last surface. VRN-Guided
is trained with heat-maps of both widths that its paper names, and asked with true landmarks and with bad
ones. The paper's σ are 1 and 3 pixels at 192, in proportion 1/3 and 1 here. The narrow one would fall between
the pixels, so both are twice as wide: 2/3 and 2 pixels of 64 (`networks.vrn.guide_sigma`).
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from facet import profiles
from facet.evaluation.volume_studies import Answers, ask, bodies
from facet.evaluation.volumetric import evaluate_surfaces
from facet.networks import build
from facet.studies.queue import Cell, OutOfTime, Session, Study
from facet.synthetic import test_sets
from facet.training import fit, volumetric

TITLE = "Volumetric networks: do bumps come from the targets, and how wide should guiding heat-maps be?"
SEEDS = (0, 1)
CELLS = {
    "plain": ("vrn", ""),
    "plain-filled": ("vrn", "filled"),
    "guided": ("vrn-guided", ""),
    "guided-wide": ("vrn-guided", "wide"),
    "multitask": ("vrn-multitask", ""),
}
BAD = 0.03  # standard deviation of bad landmarks, share of their box's mean side
DIGITS = 4


def profile(*, samples: int, people: Mapping[str, int], batch: int = 8) -> profiles.Profile:
    """What the cells have in common, as a profile of their own."""
    steps = samples // batch
    return profiles.Profile(
        name="volumes", image_size=64, volume=(32, 32, 32), width=0.25, people=people,
        rendered="cached", batch=batch, samples=samples, learning_rate=2e-3,
        validate_every=max(1, steps // 12), halve_every=5, patience=0, threads=1,
        options={"augmentation": "photo-light", "volume_augmentation": "photo-light", "generation": 2},
    )  # fmt: skip


def study(
    *, samples: int = 28_800, train: int = 1_500, validation: int = 100, test_people: int = 10
) -> Study:
    """The study at a budget of training pictures; all cells of a seed before those of the next."""
    shared = profile(samples=samples, people={"train": train, "val": validation, "test": test_people})
    cells = []
    for seed in SEEDS:
        for name, (system, variant) in CELLS.items():
            made = volumetric.recipe(system, shared, variant=variant, seed=seed)
            varied = {"network": system, "targets or heat-maps": variant or "as the paper", "seed": seed}
            described = {"profile": shared.to_dict(), "variant": variant, **made.configuration()}
            cells.append(Cell(f"{name}-seed{seed}", varied, described))
    return Study("volumes", TITLE, tuple(cells), run_cell, minutes=7)


def run_cell(cell: Cell, session: Session) -> dict[str, object]:
    """Train and score one cell: its entries of the record.

    Raises:
        OutOfTime: the session's time was not enough; shards that are there stay.
    """
    known = cell.configuration
    shared = profiles.Profile(**{**known["profile"], "volume": tuple(known["profile"]["volume"])})
    made = volumetric.recipe(
        known["system"], shared, variant=known["variant"], seed=known["seed"], device=session.device
    )
    task = volumetric.task(made, shared, workers=session.workers, say=session.step)
    network = build(
        made.system, image_size=made.image_size, width=made.width, seed=made.settings.seed, **made.options
    )
    history = fit(
        network, task.batches, task.validate, made.settings, loss=task.loss, folder=session.folder,
        minutes=session.minutes, progress="auto" if session.say else "none",
    )  # fmt: skip
    if not history.finished:
        raise OutOfTime
    last, best = history.rows[-1], history.best
    about = {"seconds": last["seconds"], "best_step": best["step"], "best_val_loss": best["val_loss"]}
    rendered = {"workers": session.workers, "progress": session.shards("test people")}
    found = test_sets.florence(made.image_size, shared.people["test"], generation=2, **rendered)
    scores = score(network.cpu().eval(), found)
    return {"seed": known["seed"], "samples": last["samples"], "history": about, "scores": scores}


def score(network, found: test_sets.TestSet) -> list[dict]:
    """Rows of `correspondence`, of what was found at all, and of bumps by yaw, on a Florence set.

    A volume may be empty. Errors and bumps are means over the volumes that are not, as many as `n` says;
    "found" says which share (%) that is, of all photos and by yaw, and "face kept" counts an empty one as 0.
    A network that gives up hard photos is flattered by its errors: read them beside its "found".
    """
    model = found.model
    samples = list(found)
    marks = torch.stack([sample["landmarks"] for sample in samples])
    guides = {"": marks}
    if network.name == "vrn-guided":
        guides = {", true landmarks": marks, ", landmarks 3 % off": worse(marks)}
    rows = []
    for suffix, given in guides.items():
        answers = ask(network, samples, given)
        rows += _errors(answers, samples, model, network.name, found.name + suffix)
        rows += _bumps(answers, samples, model, found.name + suffix)
    return rows


def worse(landmarks: Tensor) -> Tensor:
    """Landmarks (N, 68, 3) with noise in the image of BAD of the mean side of their box."""
    place = landmarks[..., :2]
    side = (place.amax(dim=1) - place.amin(dim=1)).mean(dim=1)
    noise = torch.randn(place.shape, generator=torch.Generator().manual_seed(0))
    return place + BAD * side[:, None, None] * noise


def _errors(answers: Answers, samples: list, model, name: str, test_set: str) -> list[dict]:
    surfaces = [answers.surface(number) for number in range(len(samples))]
    frame = evaluate_surfaces(surfaces, samples, model, name=name, test_set=test_set)
    frame = frame[frame["metric"].str.startswith("correspondence") | (frame["metric"] == "found")]
    rows = []
    for (metric, kind), group in frame.groupby(["metric", "normaliser"]):
        about = {"test_set": test_set, "metric": metric, "normaliser": kind, "n": len(group)}
        rows.append({**about, "mean": round(float(group["value"].mean()), DIGITS)})
    return rows


def _bumps(answers: Answers, samples: list, model, test_set: str) -> list[dict]:
    found = bodies(answers, samples, model)
    found["side"] = found["yaw"].abs()
    rows = []
    for yaw, group in found.groupby("side"):
        there = group["bumps"].dropna()
        values = {"bumps": there, "face kept": group["face"], "found": 100.0 * group["bumps"].notna()}
        for metric, some in values.items():
            about = {"test_set": test_set, "normaliser": f"yaw {yaw:.0f}", "n": len(some), "metric": metric}
            if len(some):
                rows.append({**about, "mean": round(float(some.mean()), DIGITS)})
    return rows
