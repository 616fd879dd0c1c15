"""People and budget told apart: each system trained on either generation of people, and for longer.

Every cell is a training of the profile `small` with its generation of synthetic people and its number of
training pictures set; weights that are at hand (released, or in `data/cache/weights`) are taken, others are
trained. All are tested on the frozen sets of both generations. Systems of two photos have no Florence set.

Whoever trained a network and whoever found it score the same numbers: the 8 bits of a released file
(`training.weights.compact_weights`). Records of commits before that form hold the scores of half precision.
"""

from pathlib import Path

import pandas as pd
from torch import nn

from facet import paths, profiles
from facet.evaluation import intervals
from facet.evaluation.study import OPEN, System, score, smoothed
from facet.files import write_beside
from facet.profiles import Profile
from facet.studies.queue import Cell, OutOfTime, Session, Study
from facet.studies.scores import DIGITS
from facet.synthetic.test_sets import FLORENCE, FLORENCE_2, PAIRS, PAIRS_2
from facet.training import History, Recipe, load_weights, obtain, recipes, weights_state
from facet.training.starts import trained_network
from facet.training.weights import compact_weights

TITLE = "Better people or more training? Every system on either generation of people, and at a second budget."
FIRST, SECOND = 80_000, 300_000
SYSTEMS = (("prn", ""), ("prn", "all-poses"), ("mobile", ""), ("twoview", ""))
# generation of the people, training pictures
BUDGETS = ((1, FIRST), (2, FIRST), (2, SECOND))
VALIDATIONS = 20  # so many halvings of the rate a training has, whatever its length
MEASURES = (("exact", "mm"), ("exact-unaligned", "mm"), ("depth", "mm"), ("landmarks", "landmark-box"))


def study(*, people: int = 200, florence_people: int = 50, base: Profile | None = None) -> Study:
    """The study on the first people of each test set; `base` is the profile small."""
    base = base or profiles.load("small")
    cells = []
    for generation, samples in BUDGETS:
        profile = budget(base, generation, samples)
        for system, variant in SYSTEMS:
            label = "-".join(filter(None, (system, variant)))
            made = recipes.recipe(system, profile, variant=variant)
            described = {
                "recipe": made.configuration(),
                "tests": {
                    PAIRS: people,
                    PAIRS_2: people,
                    FLORENCE: florence_people,
                    FLORENCE_2: florence_people,
                },
            }
            varied = {"system": label, "generation": generation, "pictures": samples, "seed": profile.seed}
            cells.append(Cell(f"{label}-generation{generation}-{samples}", varied, described))
    return Study(
        "people", TITLE, tuple(cells), lambda cell, session: run_cell(cell, session, base), minutes=60
    )


def budget(base: Profile, generation: int, samples: int) -> Profile:
    """A profile with its people and budget changed; the rate falls at the same shares of the training."""
    steps = -(-samples // base.batch)
    return base.with_(
        samples=samples, validate_every=max(1, steps // VALIDATIONS), options={"generation": generation}
    )


def run_cell(cell: Cell, session: Session, base: Profile) -> dict[str, object]:
    """Train or fetch, and score, one cell: its entries of the record.

    Raises:
        OutOfTime: the session's time was not enough; shards and checkpoint stay.
    """
    profile = budget(base, cell.varied["generation"], cell.varied["pictures"])
    ((system, variant),) = [p for p in SYSTEMS if "-".join(filter(None, p)) == cell.varied["system"]]
    made = recipes.recipe(system, profile, variant=variant, device=session.device)
    network, history = scored(_weights(made, profile, session), session.folder)
    found = []
    bare = System(system, variant, network)
    for name, people in cell.configuration["tests"].items():
        if name in (FLORENCE, FLORENCE_2) and bare.photos > 1:
            continue
        progress = session.shards(f"{name}'s people")
        OPEN[name](made.image_size, people, workers=session.workers, progress=progress)
        session.step(f"{made.name} on {name}")
        rows = score(
            [bare, smoothed(bare)], name, people=people, image_size=made.image_size,
            workers=session.workers, device=session.device,
        )  # fmt: skip
        found += _scores(rows)
    last, best = history.rows[-1], history.best
    about = {"seconds": last["seconds"], "best_step": best["step"], "best_val_loss": best["val_loss"]}
    return {"seed": profile.seed, "samples": last["samples"], "history": about, "scores": found}


def _weights(made: Recipe, profile: Profile, session: Session) -> Path:
    """The weights' file of a recipe: the one at hand, else that of a training under the cell's own folder."""
    found = weights_state(made, weights=paths.WEIGHTS, cache=paths.CACHE)
    if found.state in ("released", "trained"):
        return found.path
    _, history = obtain(
        made,
        lambda: recipes.task(made, profile, workers=session.workers, say=session.step),
        minutes=session.minutes,
        progress="lines" if session.say else "none",
        cache=session.folder,
    )
    if not history.finished:
        raise OutOfTime
    return weights_state(made, cache=session.folder).path


def scored(path: Path, folder: Path) -> tuple[nn.Module, History]:
    """The network of a weights file in 8 bits, in eval mode, and its history; its bytes lie in the folder."""
    compact = Path(folder) / "scored.safetensors"
    with write_beside(compact) as temporary:
        temporary.write_bytes(compact_weights(path))
    network = trained_network(compact)
    return network.eval(), History(load_weights(network, compact)["history"], finished=True)


def _scores(rows: pd.DataFrame) -> list[dict]:
    """A score a measure, of the bare maps and of the smoothed ones ("read")."""
    scores = []
    for row in intervals(rows).to_dict("records"):
        if (row["metric"], row["normaliser"]) in MEASURES:
            read = "smoothed" if "smoothed" in row["variant"] else "bare"
            kept = {key: row[key] for key in ("test_set", "metric", "normaliser", "n", "identities")}
            values = {key: round(float(row[key]), DIGITS) for key in ("mean", "low", "high")}
            scores.append(kept | {"read": read} | values)
    return scores
