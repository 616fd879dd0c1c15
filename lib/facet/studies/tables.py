"""A study's records as the tables and curves that a reader meets: means over seeds with their spread."""

import re
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from facet.evaluation.statistics import ratio
from facet.evaluation.tables import measure_name
from facet.paths import REPORTS
from facet.studies.queue import read, record_path
from facet.studies.registry import find, summary, table


def known(name: str, *, reports: Path = REPORTS) -> tuple[pd.DataFrame, str, list[Path]]:
    """What is known of a study: its scores, how many of its trainings have a record, and the records' files.

    Returns:
        As `table` (no rows where nothing was trained), a sentence, paths.
    """
    study = find(name)
    paths = [record_path(study, cell, reports) for cell in study.cells]
    done = [
        path
        for path, cell in zip(paths, study.cells, strict=True)
        if (record := read(study, cell, reports=reports)) and record["hash"] == cell.hash
    ]
    text = f"`{name}`: {len(done)} of {len(study.cells)} trainings have a record"
    if len(done) < len(study.cells):
        text += f"; `facet study {name}` makes the rest"
    return table(study, reports=reports), text + ".", done


def grid(
    found: pd.DataFrame,
    measure: tuple[str, str],
    *,
    rows: str,
    columns: str = "",
    test_set: str,
    digits: int = 2,
) -> pd.DataFrame:
    """One measure of a study as "mean ± half the spread over seeds"; "–" where nothing was trained.

    Args:
        found: scores of `known`; measure: (metric, normaliser).
        rows, columns: what is varied; without columns there is one, named by the measure.

    Returns:
        A frame of strings, in the study's order; empty without scores.
    """
    chosen = found[(found["metric"] == measure[0]) & (found["normaliser"] == measure[1])]
    chosen = summary(chosen[chosen["test_set"] == test_set])
    if chosen.empty:
        return pd.DataFrame()
    name = measure_name(*measure)
    chosen["text"] = [
        f"{row.mean_:.{digits}f}" + (f" ± {row.spread / 2:.{digits}f}" if row.seeds > 1 else "")
        for row in chosen.rename(columns={"mean": "mean_"}).itertuples()
    ]
    chosen["column"] = chosen[columns] if columns else name
    order = [list(dict.fromkeys(chosen[key])) for key in (rows, "column")]
    wide = chosen.pivot(index=rows, columns="column", values="text").fillna("–")
    wide.columns.name = None
    return wide.loc[order[0], order[1]]


def beside(
    found: pd.DataFrame,
    columns: Mapping[str, tuple[str, tuple[str, str]]],
    *,
    rows: str,
    yardsticks: pd.DataFrame | None = None,
    digits: int = 2,
) -> pd.DataFrame:
    """Several :func:`grid` of one column each, side by side; those without scores are left out.

    Args:
        columns: title → (test set, (metric, normaliser)).
        yardsticks: rows that come first, as of `yardsticks.mean_faces`.
    """
    parts = {
        title: grid(found, measure, rows=rows, test_set=test_set, digits=digits)
        for title, (test_set, measure) in columns.items()
    }
    shown = {title: part.set_axis([title], axis=1) for title, part in parts.items() if len(part)}
    if not shown:
        return pd.DataFrame()
    joined = pd.concat(shown.values(), axis=1)
    if yardsticks is not None:
        known = yardsticks.set_index(["test_set", "metric", "normaliser", "system"])["mean"]
        first = {
            title: [
                f"{known[key]:.{digits}f}" if (key := (where, *measure, system)) in known.index else "–"
                for system in yardsticks["system"].unique()
            ]
            for title, (where, measure) in columns.items()
            if title in shown
        }
        joined = pd.concat([pd.DataFrame(first, index=yardsticks["system"].unique()), joined])
    return joined.rename_axis(rows)


def compared(
    found: pd.DataFrame, measure: tuple[str, str], *, varied: str, baseline: str, test_set: str
) -> pd.DataFrame:
    """Mean error of each training over that of the baseline of its seed, with a 95 % interval over people.

    Both are resampled together, as they were scored on the same samples; each sample shows another person.

    Args:
        found: scores of `known` that keep the values of the samples; measure: (metric, normaliser).
        varied: column of what is varied; baseline: its value that the others are compared with.

    Returns:
        A row a training but the baselines: varied, seed, test_set, metric, normaliser, ratio, low, high, n;
        none for a seed whose baseline is missing.
    """
    metric, normaliser = measure
    same = (found["metric"] == metric) & (found["normaliser"] == normaliser)
    chosen, rows = found[same & (found["test_set"] == test_set)], []
    for seed, group in chosen.groupby("seed", sort=False):
        values = dict(zip(group[varied], group["values"], strict=True))
        about = {"test_set": test_set, "metric": metric, "normaliser": normaliser}
        frame = pd.DataFrame(
            {"model": name, "sample": k, "identity": k, "value": value, **about}
            for name, samples in values.items()
            for k, value in enumerate(samples)
        )
        for name in values if baseline in values else ():
            if name != baseline:
                (row,) = ratio(frame, name, baseline, metric=metric, normaliser=normaliser).to_dict("records")
                rows.append({varied: name, "seed": seed, **about} | row)
    columns = [varied, "seed", "test_set", "metric", "normaliser", "ratio", "low", "high", "n"]
    return pd.DataFrame(rows, columns=columns)


def ring_curves(found: pd.DataFrame, varied: str) -> pd.DataFrame:
    """The seam's scores as columns: varied, completed, region, measure, ring, mean over seeds (mm)."""
    rows = []
    for row in summary(found).to_dict("records") if len(found) else ():
        if match := re.fullmatch(r"(completed-)?(\w+)-(error|roughness) ([+-]\d+)", row["metric"]):
            completed, region, measure, ring = match.groups()
            about = {varied: row[varied], "completed": bool(completed), "region": region}
            rows.append(about | {"measure": measure, "ring": int(ring), "mean": row["mean"]})
    return pd.DataFrame(rows, columns=[varied, "completed", "region", "measure", "ring", "mean"])
