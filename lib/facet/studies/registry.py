"""The studies there are, what is known of each, and their records as one table."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd

from facet.paths import CACHE, REPORTS
from facet.studies import beards, factors, people, residual, volumes
from facet.studies.queue import STATES, Cell, Study, read, state

STUDIES: dict[str, Callable[[], Study]] = {
    "factors": factors.study,
    "beards": beards.study,
    "people": people.study,
    **residual.STUDIES,
    "volumes": volumes.study,
}

# Columns of every score; some add low, high (the 95 % interval), identities and values (of the samples).
SCORE = ["test_set", "metric", "normaliser", "mean", "n"]


def find(name: str) -> Study:
    """A study by its name.

    Raises:
        ValueError: there is none; the message lists those there are.
    """
    if name not in STUDIES:
        raise ValueError(f"no study is called {name!r}; there are {', '.join(STUDIES)}")
    return STUDIES[name]()


def records(name: str, *, reports: Path = REPORTS) -> pd.DataFrame:
    """A row a score of the finished cells of a study, in its order; a stale record is not among them.

    Returns:
        Columns study, cell, what is varied, samples, seconds, device, commit, SCORE, and what else the scores
        say.
    """
    return table(find(name), reports=reports)


def table(study: Study, *, reports: Path = REPORTS) -> pd.DataFrame:
    """`records` of a study that is at hand."""
    known = ["samples", "seconds", "device", "commit"]
    columns = ["study", "cell", *study.cells[0].varied, *known, *SCORE]
    rows = []
    for cell in study.cells:
        record = read(study, cell, reports=reports)
        if record and record["hash"] == cell.hash:
            about = {name: record[name] for name in ("study", "cell", *known)} | dict(cell.varied)
            rows += [about | score for score in record["scores"]]
    others = dict.fromkeys(name for row in rows for name in row if name not in columns)
    return pd.DataFrame(rows, columns=[*columns, *others])


def summary(found: pd.DataFrame) -> pd.DataFrame:
    """Scores of `table` over seeds: a row for what is varied beside the seed, test set and metric.

    Returns:
        The varied columns, samples, test_set, read (where scores tell it), metric, normaliser, n (of the seed
        that has fewest), seeds, mean over seeds and spread: the largest less the smallest, NaN of one seed.
    """
    known = ["study", "cell", "samples", "seconds", "device", "commit", "seed", *SCORE]
    varied = [name for name in found.columns[: found.columns.get_loc("samples")] if name not in known]
    read = [name for name in ("read",) if name in found]  # how the same network's answer is read
    grouped = found.groupby([*varied, "samples", "test_set", *read, "metric", "normaliser"], sort=False)
    made = grouped.agg(n=("n", "min"), seeds=("mean", "count"), mean=("mean", "mean"))
    made["spread"] = (grouped["mean"].max() - grouped["mean"].min()).where(made["seeds"] > 1)
    return made.reset_index()


def overview(study: Study, *, reports: Path = REPORTS, cache: Path = CACHE) -> str:
    """How far a study is, and about how long the rest takes one process, as its finished cells tell.

    A cell takes so long for each training picture as the finished trainings did, and so long for its scores
    as theirs took: many records are of networks whose weights were at hand, others of smaller budgets.
    """
    states = [state(study, cell, reports=reports, cache=cache) for cell in study.cells]
    counts = {name: states.count(name) for name in STATES}
    left = len(states) - counts["finished"]
    others = [f"{counts[name]} {name}" for name in ("stale", "started") if counts[name]]
    text = ", ".join([f"{counts['finished']} of {len(states)} cells", *others])
    if left:
        done = [state == "finished" for state in states]
        known = [read(study, c, reports=reports) for c, over in zip(study.cells, done, strict=True) if over]
        rest = [cell for cell, over in zip(study.cells, done, strict=True) if not over]
        minutes = _minutes(study, rest, known)
        text += f"; about {_duration(minutes)} left at {minutes / left:.0f} min a cell"
    return f"{study.name}: {text}\n  {study.title}"


def _minutes(study: Study, rest: list[Cell], known: list[dict]) -> float:
    """How long some cells take by the records of others."""
    budgets = [_pictures(cell.configuration) for cell in rest]
    trained = [record["history"]["seconds"] for record in known if "seconds" in record.get("history", {})]
    if len(trained) < len(known) or not known or not all(budgets):
        taken = [record["seconds"] / 60 for record in known] or [study.minutes]
        return len(rest) * sum(taken) / len(taken)
    # a record that took less than half of its training found the weights: all of it went into the scores
    scoring = [
        record["seconds"] if record["seconds"] < seconds / 2 else max(0.0, record["seconds"] - seconds)
        for record, seconds in zip(known, trained, strict=True)
    ]
    each = sum(trained) / sum(record["samples"] for record in known)
    return (each * sum(budgets) + len(rest) * sum(scoring) / len(scoring)) / 60


def _pictures(configuration: Mapping) -> int:
    """How many training pictures a cell's network sees; 0 where its configuration does not say."""
    for part in (configuration, *(configuration.get(name, {}) for name in ("settings", "recipe"))):
        if "steps" in part:
            return part["steps"] * part["batch"]
    return 0


def _duration(minutes: float) -> str:
    return f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.1f} h"
