"""What a trained network of a study is scored on: held-out synthetic people and the packages' photographs.

The bare map is scored: no mirrored second answer, no smoothing. A score is a row of plain values: test_set,
metric and normaliser as in `evaluation.protocol`, mean, n, `values` (of each sample), and for synthetic
people low and high, the 95 % interval over identities.
"""

from collections.abc import Iterable, Mapping, Sequence

import pandas as pd
import torch
from torch import Tensor, nn

from facet.crop import crop_box_from_bounds, crop_image
from facet.evaluation import TIDY_COLUMNS, evaluate, intervals, position_map_predictor
from facet.evaluation.protocol import Counted
from facet.evaluation.study import System, look
from facet.face_model import FaceModel, vertices_from_map
from facet.networks import predict
from facet.reconstruction import photos
from facet.synthetic.batches import FRONT
from facet.synthetic.beards import Beards
from facet.synthetic.dataset import Pictures
from facet.synthetic.test_sets import TestSet

# Shape and depth in mm after the best similarity; landmarks in the image, % of sqrt(w h) of their true box.
MEASURES = (("exact", "mm"), ("depth", "mm"), ("landmarks", "landmark-box"))
PART = ("exact-part", "mm")
DIGITS = 4  # behind the point, of every value


def fronts(name: str, pictures: Pictures, model: FaceModel, beards: Beards | None = None) -> TestSet:
    """A test set of people's front pictures (poses "front"); with `beards` the truth has their volume."""
    return TestSet(name, pictures, model, ((FRONT,),), beards)


def synthetic(
    network: nn.Module,
    name: str,
    samples: Iterable[Mapping],
    model: FaceModel,
    measures: Sequence[tuple[str, str]] = MEASURES,
) -> list[dict]:
    """A row a measure, of the network's bare maps on samples of the test set that is called `name`."""
    frame = evaluate(position_map_predictor(network, model), samples, model, test_set=name)
    return [row for measure in measures for row in _rows(frame, *measure)]


def partial(
    network: nn.Module, name: str, samples: Sequence[Mapping], where: Sequence[Tensor], model: FaceModel
) -> list[dict]:
    """A row "exact-part": mean distance of some vertices in mm, after the best similarity of the whole face.

    Args:
        where: (V,) bool of each sample; samples without any such vertex are left out.
    """
    counted = Counted(model).vertices
    pairs = zip(samples, (part[counted] for part in where), strict=True)
    chosen = [(sample, part) for sample, part in pairs if part.any()]
    if not chosen:
        return []
    found = look(System(network.name, network=network), [sample for sample, _ in chosen], model)
    about = {"model": network.name, "variant": "", "test_set": name, "metric": PART[0], "normaliser": PART[1]}
    rows = []
    for errors, (sample, part) in zip(found.errors, chosen, strict=True):
        kept = {key: sample[key] for key in ("identity", "yaw", "pitch")}
        rows.append({**about, **kept, "value": float(errors[part].mean())})
    return _rows(pd.DataFrame(rows, columns=TIDY_COLUMNS), *PART)


def photographs(network: nn.Module, model: FaceModel) -> list[dict]:
    """Distance of landmarks to the points placed by hand, % of the placed box: a row a photograph, and all.

    The crop is made by the box that was placed by hand, so no detector has a part in it. A photograph's n is
    its points; that of "photographs" is the photographs, each counted once.
    """
    rows = []
    for photo in photos.available():
        size = network.image_size
        matrix = crop_box_from_bounds(torch.tensor([photo.box])).matrix(size)[0].double()
        found = predict(network, crop_image(photo.load().copy(), matrix, size))
        marks = vertices_from_map(found, model.uv[model.landmarks])[0, :, :2].double()
        placed = ((marks - matrix[:, 2]) / matrix[0, 0]).numpy()
        rows.append(_placed(f"photo-{photo.name}", list(photo.point_errors(placed).values())))
    return [*rows, _placed("photographs", [row["mean"] for row in rows])] if rows else []


def _rows(frame: pd.DataFrame, metric: str, normaliser: str) -> list[dict]:
    """The score of one measure of a tidy frame."""
    same = frame[(frame["metric"] == metric) & (frame["normaliser"] == normaliser)]
    (row,) = intervals(same).to_dict("records")
    kept = {key: row[key] for key in ("test_set", "metric", "normaliser", "n", "identities")}
    kept |= {key: round(float(row[key]), DIGITS) for key in ("mean", "low", "high")}
    return [kept | {"values": [round(value, DIGITS) for value in same["value"]]}]


def _placed(test_set: str, values: list[float]) -> dict:
    about = {"test_set": test_set, "metric": "placed-points", "normaliser": "landmark-box"}
    mean = round(sum(values) / len(values), DIGITS)
    return about | {"mean": mean, "n": len(values), "values": [round(v, DIGITS) for v in values]}
