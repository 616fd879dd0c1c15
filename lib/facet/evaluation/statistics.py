"""Curves, intervals and the summary tables.

A tidy frame has one row a sample and measure, with the columns TIDY_COLUMNS (and maybe more, such as age);
a summary has exactly the columns SUMMARY_COLUMNS.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

TIDY_COLUMNS = [
    "model", "variant", "test_set", "identity", "yaw", "pitch", "metric", "normaliser", "value",
]  # fmt: skip
SUMMARY_COLUMNS = [
    "model", "variant", "test_set", "metric", "normaliser", "yaw", "pitch", "profile", "seed", "device",
    "samples", "mean", "median", "std", "p90", "n", "source",
]  # fmt: skip
MEASURE = ["model", "variant", "test_set", "metric", "normaliser"]


@dataclass(frozen=True)
class Ced:
    """Cumulative error distribution.

    Attributes:
        thresholds: (n,) the errors, ascending.
        share: (n,) share of samples whose error is at most the threshold, in (0, 1].
    """

    thresholds: np.ndarray
    share: np.ndarray

    def at(self, threshold: float) -> float:
        """Share of samples whose error is at most `threshold`."""
        return float(np.searchsorted(self.thresholds, threshold, side="right") / len(self.thresholds))

    def area(self, limit: float) -> float:
        """Area under the curve from 0 to `limit`, divided by `limit`: 1 without error, 0 if all fail."""
        if limit <= 0:
            raise ValueError("the limit of the area must be positive")
        return float(np.clip(1.0 - self.thresholds / limit, 0.0, None).mean())


def ced(values: Sequence[float] | np.ndarray) -> Ced:
    """The cumulative error distribution of one value a sample."""
    values = np.sort(np.asarray(values, dtype=np.float64))
    if values.size == 0 or not np.isfinite(values).all():
        raise ValueError("ced needs at least one value, all finite")
    return Ced(values, np.arange(1, values.size + 1) / values.size)


def bootstrap(
    values: Sequence[float] | np.ndarray,
    identities: Sequence,
    *,
    generator: torch.Generator,
    draws: int = 2000,
    level: float = 0.95,
) -> tuple[float, float]:
    """Percentile interval of the mean by a bootstrap over identities.

    Whole people are drawn again with replacement, because the renders of one person are not independent.

    Args:
        values: (n,) one value a sample.
        identities: (n,) whose face the sample shows.
        generator: CPU generator of the draws.
        draws: how many resampled sets.
        level: coverage.

    Returns:
        (low, high).
    """
    values = np.asarray(values, dtype=np.float64)
    if len(values) != len(identities) or len(values) == 0:
        raise ValueError("bootstrap needs as many identities as values, and at least one")
    people, who = np.unique(np.asarray(identities), return_inverse=True)
    sums = np.bincount(who, weights=values, minlength=len(people))
    counts = np.bincount(who, minlength=len(people))
    drawn = torch.randint(len(people), (draws, len(people)), generator=generator).numpy()
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    tail = 50 * (1 - level)
    low, high = np.percentile(means, (tail, 100 - tail))
    return float(low), float(high)


def summarise(
    frame: pd.DataFrame,
    *,
    profile: str,
    seed: int | str,
    device: str,
    samples: int | str = "",
    by: Sequence[str] = (),
    source: str = "facet",
) -> pd.DataFrame:
    """Mean, median, standard deviation (n − 1), 90th percentile and count of every measure.

    Args:
        frame: tidy per-sample rows.
        profile: name of the profile.
        seed: of the run.
        device: what the models ran on.
        samples: number of training samples.
        by: any of "yaw" and "pitch": one row for each value; else the cell says "all". Bin them first
            (:func:`bin_angle`).
        source: "facet", or a citation.

    Returns:
        A frame with exactly SUMMARY_COLUMNS.
    """
    rows = []
    for key, group in frame.groupby([*MEASURE, *by], sort=False, dropna=False):
        values = group["value"].to_numpy()
        row = dict(zip([*MEASURE, *by], key, strict=True))
        row |= {"profile": profile, "seed": seed, "device": device, "samples": samples, "source": source}
        row |= {"mean": values.mean(), "median": np.median(values), "p90": np.percentile(values, 90)}
        row |= {"std": values.std(ddof=1) if len(values) > 1 else np.nan, "n": len(values)}
        rows.append({"yaw": "all", "pitch": "all"} | row)
    return pd.DataFrame(rows, columns=SUMMARY_COLUMNS)


def intervals(
    frame: pd.DataFrame, *, seed: int = 0, draws: int = 2000, by: Sequence[str] = ()
) -> pd.DataFrame:
    """Mean with its 95 % interval over identities for every measure.

    Every group draws from a generator with the same seed, so a row does not depend on the rows beside it.

    Returns:
        Columns MEASURE + `by` + mean, low, high, n, identities.
    """
    rows = []
    for key, group in frame.groupby([*MEASURE, *by], sort=False, dropna=False):
        generator = torch.Generator().manual_seed(seed)
        low, high = bootstrap(group["value"], group["identity"], generator=generator, draws=draws)
        row = dict(zip([*MEASURE, *by], key, strict=True)) | {"mean": group["value"].mean()}
        row |= {"low": low, "high": high, "n": len(group), "identities": group["identity"].nunique()}
        rows.append(row)
    return pd.DataFrame(rows, columns=[*MEASURE, *by, "mean", "low", "high", "n", "identities"])


def ratio(
    frame: pd.DataFrame,
    model: str,
    baseline: str,
    *,
    metric: str,
    normaliser: str,
    seed: int = 0,
    draws: int = 2000,
) -> pd.DataFrame:
    """Mean error of a model over that of a baseline, with its 95 % interval over identities.

    Both are resampled together, person by person, as they were scored on the same samples.

    Returns:
        One row a test set: test_set, ratio, low, high, n, identities.
    """
    rows = []
    for test_set, ours, theirs in _pairs(frame, model, baseline, metric, normaliser):
        people, who = np.unique(ours.index.get_level_values("identity"), return_inverse=True)
        sums = [np.bincount(who, weights=values.to_numpy()) for values in (ours, theirs)]
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.randint(len(people), (draws, len(people)), generator=generator).numpy()
        low, high = np.percentile(sums[0][drawn].sum(axis=1) / sums[1][drawn].sum(axis=1), (2.5, 97.5))
        rows.append((test_set, ours.mean() / theirs.mean(), low, high, len(ours), len(people)))
    return pd.DataFrame(rows, columns=["test_set", "ratio", "low", "high", "n", "identities"])


def _pairs(frame: pd.DataFrame, model: str, baseline: str, metric: str, normaliser: str):
    """For each test set: its name and the two models' values, sample by sample in one order."""
    chosen = frame[(frame["metric"] == metric) & (frame["normaliser"] == normaliser)]
    keys = ["test_set", "sample", "identity"]
    ours, theirs = (chosen[chosen["model"] == name].set_index(keys)["value"] for name in (model, baseline))
    if not ours.index.is_unique or not theirs.index.is_unique:
        raise ValueError("a comparison needs one row a sample: choose one variant of each model first")
    if ours.empty or set(ours.index) != set(theirs.index):
        raise ValueError(f"{model!r} and {baseline!r} were not scored on the same samples")
    theirs = theirs.reindex(ours.index)
    for test_set, group in ours.groupby(level="test_set", sort=False):
        yield test_set, group, theirs.loc[group.index]


def bin_angle(frame: pd.DataFrame, centres: Sequence[float], *, column: str = "yaw") -> pd.DataFrame:
    """The frame with each angle replaced by the nearest of `centres` (degrees)."""
    centres = np.asarray(sorted(centres), dtype=np.float64)
    nearest = np.abs(frame[column].to_numpy(dtype=np.float64)[:, None] - centres).argmin(axis=1)
    return frame.assign(**{column: centres[nearest]})
