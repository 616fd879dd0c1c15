"""The tables that a report shows: summaries of systems, their intervals at a glance, ratios between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from facet.evaluation.statistics import ratio, summarise

# measure → what its column is called where a reader meets it first
GLANCE = {
    ("exact", "mm"): "shape (mm)",
    ("exact-unaligned", "mm"): "as placed (mm)",
    ("depth", "mm"): "depth (mm)",
    ("landmarks", "landmark-box"): "landmarks (% of landmark-box)",
    ("icp", "bbox"): "ICP (% of bbox)",
}
# metric → its name on axes and in columns; the rest keep theirs
WORDS = {
    "exact": "shape error",
    "exact-unaligned": "error as placed",
    "depth": "depth error",
    "depth-unaligned": "depth error as placed",
    "landmarks": "landmark error",
    "icp": "ICP error",
    "icp-reverse": "ICP error from the truth",
    "under-15-degrees": "angles under 15°",
}
UNITS = ("mm", "pixels", "levels", "%")  # what is no share of something
RATIOS = (
    ("exact", "mm"), ("exact-unaligned", "mm"), ("depth", "mm"), ("depth-unaligned", "mm"),
    ("landmarks", "landmark-box"), ("icp", "mm"), ("icp-reverse", "mm"),
)  # fmt: skip


def measure_name(metric: str, normaliser: str) -> str:
    """What a measure is called on an axis or above a column, with its unit: "shape error (mm)"."""
    unit = normaliser if normaliser in UNITS else f"% of {normaliser}"
    return f"{WORDS.get(metric, metric)} ({unit})"


def measures(frame: pd.DataFrame) -> pd.Series:
    """The :func:`measure_name` of each row."""
    names = [measure_name(*kind) for kind in zip(frame["metric"], frame["normaliser"], strict=True)]
    return pd.Series(names, index=frame.index, dtype=object)


def labels(frame: pd.DataFrame) -> pd.Series:
    """Name and variant of each row in one word or two, as in figures."""
    return (frame["model"] + " " + frame["variant"].fillna("").astype(str)).str.strip()


def summary(frame: pd.DataFrame, systems: Sequence, **about) -> pd.DataFrame:
    """:func:`summarise` of each system with the number of images it was trained on; options as there."""
    tables = []
    for system in systems:
        rows = frame[(frame["model"] == system.name) & (frame["variant"] == system.variant)]
        if len(rows):
            tables.append(summarise(rows, samples=system.samples, **about))
    return pd.concat(tables, ignore_index=True)


def glance(
    intervals: pd.DataFrame, *, measures: Mapping[tuple[str, str], str] = GLANCE, digits: int = 2
) -> pd.DataFrame:
    """One row a system: "mean [low, high]" of the measures that were taken.

    n of a measure stands in its column's name, and in the cell of a system that was scored on fewer.

    Args:
        intervals: of one test set, see :func:`facet.evaluation.intervals`.
        measures: (metric, normaliser) → column.
        digits: behind the point.
    """
    found = [
        (column, label, row)
        for label, row in zip(labels(intervals), intervals.to_dict("records"), strict=True)
        if (column := measures.get((row["metric"], row["normaliser"])))
    ]
    most: dict[str, int] = {}
    for column, _, row in found:
        most[column] = max(row["n"], most.get(column, 0))
    rows: dict[str, dict[str, str]] = {}
    for column, label, row in found:
        text = f"{row['mean']:.{digits}f} [{row['low']:.{digits}f}, {row['high']:.{digits}f}]"
        fewer = "" if row["n"] == most[column] else f", n = {row['n']}"
        rows.setdefault(label, {"system": label})[f"{column}, n = {most[column]}"] = text + fewer
    table = pd.DataFrame(rows.values())
    order = [f"{name}, n = {most[name]}" for name in measures.values() if name in most]
    return table[["system", *order]]


def ratios(
    frame: pd.DataFrame,
    pairs: Sequence[tuple[str, str]],
    *,
    measures: Sequence[tuple[str, str]] = RATIOS,
    seed: int = 0,
    draws: int = 2000,
) -> pd.DataFrame:
    """:func:`ratio` of each pair of systems (labels) in every measure both were scored in.

    Returns:
        Columns model, baseline, test_set, metric, normaliser, ratio, low, high, n, identities.
    """
    named = frame.assign(model=labels(frame))
    known = set(zip(named["model"], named["metric"], named["normaliser"], strict=True))
    tables = []
    for model, baseline in pairs:
        for measure in measures:
            if {(model, *measure), (baseline, *measure)} <= known:
                metric, kind = measure
                found = ratio(named, model, baseline, metric=metric, normaliser=kind, seed=seed, draws=draws)
                about = {"model": model, "baseline": baseline, "metric": metric, "normaliser": kind}
                tables.append(found.assign(**about))
    columns = ["model", "baseline", "test_set", "metric", "normaliser", "ratio", "low", "high", "n"]
    return pd.concat(tables, ignore_index=True)[[*columns, "identities"]]


def ratio_grid(found: pd.DataFrame, *, digits: int = 2) -> pd.DataFrame:
    """:func:`ratios` to read: a row a pair ("twoview / prn"), a column a measure, in their order."""
    pair = found["model"] + " / " + found["baseline"]
    named = found.assign(pair=pair, measure=measures(found))
    grid = named.pivot(index="pair", columns="measure", values="ratio")
    return grid.loc[pair.unique(), named["measure"].unique()].round(digits)
