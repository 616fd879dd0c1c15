"""What knowing nothing of a person costs on a study's test people: both mean faces, scored alike."""

import pandas as pd

from facet.evaluation import mean_face_rows
from facet.face_model import load
from facet.paths import CACHE
from facet.studies.queue import Session
from facet.studies.registry import find
from facet.studies.scores import fronts
from facet.studies.train import held_out
from facet.synthetic.beards import Beards


def mean_faces(
    study: str, test_set: str, *, change: str = "", volume: bool = False, gender: str = "", workers: int = 1
) -> pd.DataFrame:
    """Mean errors of `mean-face` and `mean-face-true-pose`; test pictures that are missing are rendered.

    Args:
        study: whose first cell describes the test people; test_set: name of their set in its scores.
        change: of the people (`synthetic.factors`); volume: whether the truth has their beards'.
        gender: only these; "" for all.

    Returns:
        Columns system, test_set, metric, normaliser, mean, n: a row a mean face and measure.
    """
    described, model = find(study).cells[0].configuration, load()
    pictures = held_out(described, Session(folder=CACHE, workers=workers), change=change)
    samples = fronts(test_set, pictures, model, Beards.open(model) if volume else None)
    rows = mean_face_rows([s for s in samples if gender in ("", s["gender"])], model, test_set=test_set)
    grouped = rows.groupby(["model", "test_set", "metric", "normaliser"], sort=False)["value"]
    return grouped.agg(["mean", "count"]).reset_index().rename(columns={"model": "system", "count": "n"})
