"""Figures of errors by group and by intervention."""

from collections.abc import Sequence

import pandas as pd

from facet.evaluation.tables import measure_name
from facet.figures import COLOURS, GREY, INK, colour, panels

_MARKS = "osD^v"


def plot_groups(found: pd.DataFrame, systems: Sequence[str]):
    """Mean error of systems in every group with its interval, question by question.

    Args:
        found: of `evaluation.groups.by_group`, of one measure; systems: labels, in the order of the legend.

    Returns:
        matplotlib Figure.
    """
    first = found[found["model"] == systems[0]]
    figure, (axes,) = panels(7.4, height=0.21 * len(first) + 0.16 * first["question"].nunique() + 0.8)
    place, names, at, last = {}, [], 0.0, None
    for row in first.itertuples():
        at += 0.75 if last not in (None, row.question) else 0.0
        place[row.question, row.group], last = at, row.question
        names.append(f"{row.question}: {row.group} ({row.n})")
        at += 1.0
    for k, system in enumerate(systems):
        rows = found[found["model"] == system]
        height = [place[key] for key in zip(rows["question"], rows["group"], strict=True)]
        reach = [rows["mean"] - rows["low"], rows["high"] - rows["mean"]]
        axes.errorbar(rows["mean"], height, xerr=reach, **_style(system, k), label=system)
    axes.set(yticks=list(place.values()), yticklabels=names, ylim=(at - 0.4, -0.6))
    axes.set_xlabel(measure_name(found["metric"].iloc[0], found["normaliser"].iloc[0]) + ", 95 % interval")
    axes.legend(loc="upper right")
    return figure


def plot_changes(found: pd.DataFrame, changes: Sequence[str], measures: Sequence[tuple[str, str]]):
    """Errors after changes over those before, a panel a measure, a row a change, a mark a system.

    Args:
        found: of `evaluation.groups.before_and_after`; changes: rows from the top.

    Returns:
        matplotlib Figure.
    """
    height = 0.27 * len(changes) + 0.9
    figure, axes = panels(5.0, *[3.6] * (len(measures) - 1), height=height)
    systems = list(dict.fromkeys(found["model"]))
    for one, measure in zip(axes, measures, strict=True):
        some = found[(found["metric"] == measure[0]) & (found["normaliser"] == measure[1])]
        for k, system in enumerate(systems):
            rows = some[some["model"] == system]
            where = rows["change"].map(list(changes).index) + 0.24 * (k - (len(systems) - 1) / 2)
            reach = [rows["ratio"] - rows["low"], rows["high"] - rows["ratio"]]
            one.errorbar(rows["ratio"], where, xerr=reach, **_style(system, k), label=system)
        one.axvline(1, color=GREY, linewidth=1)
        one.set(yticks=range(len(changes)), ylim=(len(changes) - 0.4, -0.6))
        one.set_yticklabels(changes if one is axes[0] else [])
        one.set_xlabel(f"{measure_name(*measure).rsplit(' (', 1)[0]}, after / before")
    axes[-1].legend(loc="upper right")
    return figure


def _style(system: str, number: int) -> dict:
    """Mark and colour of a system: that of its family, ink for what is read off it otherwise."""
    name, _, variant = system.partition(" ")
    own = COLOURS["vrn"] if variant.endswith(("refined", "two photos")) else colour(name)
    return {
        "fmt": _MARKS[number % len(_MARKS)], "markersize": 4.5, "linewidth": 1.3,
        "color": own, "markeredgecolor": INK, "markeredgewidth": 0.3,
    }  # fmt: skip
