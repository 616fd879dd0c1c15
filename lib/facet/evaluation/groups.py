"""Errors by who is in a picture and how it was taken, and what one thing that is set does to them.

Groups of people differ in more than their name says: in the assets, skin goes with age, gender and ancestry.
The same people before and after an intervention (`facet.synthetic.interventions`) differ in nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
import torch

from facet.evaluation.statistics import bootstrap, ratio
from facet.evaluation.tables import labels
from facet.face_model import FaceModel
from facet.face_model.people import ANCESTRIES
from facet.rendering.shading import LUMINANCE
from facet.synthetic.anthropometry import TONES, tones
from facet.synthetic.openings import Openings
from facet.synthetic.portrait import Cast, Shots

AGES = (35, 50, 65)  # years, where the next group begins
OPEN, SHUT = 8.0, 1.0  # mm between lips, between lids
REST = 0.2  # strength below which an action does not show
NEAR = 600.0  # mm from the camera
HARD = 0.3  # luminance of the key light on a white surface that faces it
SHAPE = {"metric": "exact", "normaliser": "mm"}


def of_pictures(model: FaceModel, cast: Cast, shots: Shots) -> pd.DataFrame:
    """A row a picture, a column a question, in each the name of the group that the picture belongs to.

    Groups are categories in their order. Questions that are of men alone leave out women (missing values).
    """
    cast = cast.rows(shots.views.subject)
    subjects, outfit = cast.subjects, cast.outfit
    years, tone = subjects.years, tones(cast.skin.melanin) // 2
    moving = [k for k, name in enumerate(model.expression_names) if not name.startswith("eyeLook")]
    gap = Openings.of(model).measure(subjects.alpha_id, subjects.alpha_exp)
    acting = (subjects.alpha_exp[:, moving] >= REST).any(dim=1)
    faces = torch.where(gap[:, 3] > OPEN, 2, acting.long())
    hairy = (outfit.beard >= 0) | (outfit.moustache >= 0)
    key = shots.lights.colour[:, 0] @ torch.tensor(LUMINANCE)
    edges = (18, *AGES, 81)
    pairs = [f"{a}, {b}" for a, b in zip(TONES[::2], TONES[1::2], strict=True)]
    asked = {
        "gender": (subjects.gender > 0.5, ("male", "female")),
        "age": (
            torch.bucketize(years, torch.tensor(AGES, dtype=years.dtype), right=True),
            [f"{low} to {high - 1}" for low, high in pairwise(edges)],
        ),
        "ancestry": (subjects.ancestry.argmax(dim=1), ANCESTRIES),
        "skin": (tone, pairs),
        "face": (faces, ("at rest", "moving, mouth shut", "mouth open")),
        "eyes": ((gap[:, :2] < SHUT).any(dim=1), ("open", "one or both shut")),
        "men's beard": (torch.where(subjects.gender > 0.5, -1, hairy.long()), ("none", "worn")),
        "glasses": (outfit.glasses >= 0, ("none", "worn")),
        "hat": (outfit.hat >= 0, ("none", "worn")),
        "before the face": (shots.occluder.kind > 0, ("nothing", "a thing")),
        "light": (key > HARD, ("soft", "hard")),
        "camera": (shots.views.distance < NEAR, ("farther than 60 cm", "nearer")),
    }
    columns = {
        question: pd.Categorical.from_codes(codes.long().numpy(), list(names))
        for question, (codes, names) in asked.items()
    }
    return pd.DataFrame(columns)


def by_group(
    rows: pd.DataFrame,
    groups: pd.DataFrame,
    systems: Sequence[str],
    *,
    baseline: str,
    measure: Mapping[str, str] = SHAPE,
    seed: int = 0,
    draws: int = 2000,
) -> pd.DataFrame:
    """Mean error of systems in every group, against the rest, and over that of a baseline.

    Args:
        rows: tidy, of one test set; `sample` is the row of `groups`.
        groups: of :func:`of_pictures`.
        systems: labels; baseline: the label of what looks at no pixel, on the same samples.
        measure: metric and normaliser.

    Returns:
        A row a question, group and system: question, group, model, metric, normaliser; mean, low, high;
        difference, difference_low, difference_high: the group less everybody else who was asked; ratio,
        ratio_low, ratio_high: over the baseline; n. Intervals are of 95 %, over people.
    """
    chosen = rows[(rows["metric"] == measure["metric"]) & (rows["normaliser"] == measure["normaliser"])]
    chosen = chosen.assign(model=labels(chosen), variant="")
    found = []
    for question in groups:
        asked = chosen.assign(group=chosen["sample"].map(groups[question].astype(object)))
        asked = asked[asked["group"].notna()]
        for group in groups[question].cat.categories:
            for system in systems:
                ours = asked[asked["model"] == system]
                inside, outside = ours[ours["group"] == group], ours[ours["group"] != group]
                if inside.empty or outside.empty:
                    continue
                random = {"seed": seed, "draws": draws}
                same = asked[asked["group"] == group]
                over = ratio(same, system, baseline, **measure, **random).iloc[0]
                about = {"question": question, "group": group, "model": system, **measure}
                about |= dict(zip(("mean", "low", "high"), _mean(inside, **random), strict=True))
                apart = _difference(inside, outside, **random)
                about |= dict(zip(("difference", "difference_low", "difference_high"), apart, strict=True))
                about |= {"ratio": over["ratio"], "ratio_low": over["low"], "ratio_high": over["high"]}
                found.append(about | {"n": len(inside)})
    return pd.DataFrame(found)


def before_and_after(
    rows: pd.DataFrame,
    pairs: Mapping[str, tuple[str, str]],
    systems: Sequence[str],
    measures: Sequence[tuple[str, str]],
    *,
    among: Mapping[str, Sequence[int]] | None = None,
    seed: int = 0,
    draws: int = 2000,
) -> pd.DataFrame:
    """Mean error after each change over that before it, on the same people.

    Args:
        rows: tidy, of every set that is compared; `sample` is the person.
        pairs: change → names of the test sets before and after it.
        measures: (metric, normaliser).
        among: change → samples that it is about (a beard: men); others count everybody in both sets.

    Returns:
        A row a change, system and measure: change, model, metric, normaliser, before, after, ratio, low, high
        (95 %, over people), n.
    """
    rows = rows.assign(model=labels(rows), variant="")
    found = []
    for change, sets in pairs.items():
        for system in systems:
            ours = rows[rows["model"] == system]
            both = [ours[ours["test_set"] == name] for name in sets]
            kept = set(both[0]["sample"]) & set(both[1]["sample"])
            kept &= set((among or {}).get(change, kept))
            if not kept:
                continue
            pair = pd.concat(
                some[some["sample"].isin(kept)].assign(model=when, test_set=change)
                for some, when in zip(both, ("before", "after"), strict=True)
            )
            for metric, normaliser in measures:
                measure = {"metric": metric, "normaliser": normaliser}
                row = ratio(pair, "after", "before", **measure, seed=seed, draws=draws).iloc[0]
                same = pair[(pair["metric"] == metric) & (pair["normaliser"] == normaliser)]
                means = same.groupby("model")["value"].mean()
                about = {"change": change, "model": system, **measure, "before": means["before"]}
                about |= {"after": means["after"], **row[["ratio", "low", "high", "n"]]}
                found.append(about)
    return pd.DataFrame(found)


def _mean(rows: pd.DataFrame, *, seed: int, draws: int) -> tuple[float, float, float]:
    generator = torch.Generator().manual_seed(seed)
    bounds = bootstrap(rows["value"], rows["identity"], generator=generator, draws=draws)
    return float(rows["value"].mean()), *bounds


def _difference(
    inside: pd.DataFrame, outside: pd.DataFrame, *, seed: int, draws: int
) -> tuple[float, float, float]:
    """Mean of one group less that of another, with its interval; the people of each are resampled."""
    generator = torch.Generator().manual_seed(seed)
    people = [rows.groupby("identity")["value"].mean().to_numpy() for rows in (inside, outside)]
    drawn = [torch.randint(len(v), (draws, len(v)), generator=generator).numpy() for v in people]
    means = [values[some].mean(axis=1) for values, some in zip(people, drawn, strict=True)]
    low, high = np.percentile(means[0] - means[1], (2.5, 97.5))
    return float(people[0].mean() - people[1].mean()), float(low), float(high)
