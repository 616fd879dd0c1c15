"""A study's records as the tables and curves that a reader meets: means over seeds with their spread."""

import re
from pathlib import Path

import pandas as pd

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
    name = f"{measure[0]} ({measure[1]})"
    chosen["text"] = [
        f"{row.mean_:.{digits}f}" + (f" ± {row.spread / 2:.{digits}f}" if row.seeds > 1 else "")
        for row in chosen.rename(columns={"mean": "mean_"}).itertuples()
    ]
    chosen["column"] = chosen[columns] if columns else name
    order = [list(dict.fromkeys(chosen[key])) for key in (rows, "column")]
    wide = chosen.pivot(index=rows, columns="column", values="text").fillna("–")
    wide.columns.name = None
    return wide.loc[order[0], order[1]]


def ring_curves(found: pd.DataFrame, varied: str) -> pd.DataFrame:
    """The seam's scores as columns: varied, completed, region, measure, ring, mean over seeds (mm)."""
    rows = []
    for row in summary(found).to_dict("records") if len(found) else ():
        if match := re.fullmatch(r"(completed-)?(\w+)-(error|roughness) ([+-]\d+)", row["metric"]):
            completed, region, measure, ring = match.groups()
            about = {varied: row[varied], "completed": bool(completed), "region": region}
            rows.append(about | {"measure": measure, "ring": int(ring), "mean": row["mean"]})
    return pd.DataFrame(rows, columns=[varied, "completed", "region", "measure", "ring", "mean"])
