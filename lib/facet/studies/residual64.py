"""PRN and Residual at 64 pixels: the trainings that Residual's studies have in common, and their scores.

As `prn64` describes PRN's, at a smaller budget; PRN's 0.3 of the channels, and a second stage of 16 and 64
channels (0.25), which is the quicker of the two on a CPU's registers. The mask is Residual's, 1 : 0.4 : 0.3 :
0, unless a cell says otherwise; validation, which chooses the weights that are kept, counts places by
16 : 4 : 3 : 0 for all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import torch
from torch import nn

from facet.augment import Augmentation, augment_geometry
from facet.crop import similarity_scale
from facet.evaluation.shape import edge_profile
from facet.evaluation.smoothness import LIMIT, dihedral_angles
from facet.face_model import FaceModel, load
from facet.geometry import transform_points
from facet.networks import predict
from facet.reconstruction.complete import complete
from facet.rendering import map_from_mesh
from facet.studies import kept, prn64, scores
from facet.studies.queue import Cell, Session
from facet.studies.train import held_out
from facet.training.seams import neck

SAMPLES = 12_000
SECOND = 0.25  # factor on the channels of stage 2
MASK = "1:0.4:0.3:0"
TEST = "synthetic-v2-front"
TURNED = f"{TEST}-turned"
# Shape and depth, place in the crop, landmarks in the image.
MEASURES = (*scores.MEASURES, ("exact-unaligned", "mm"))
TURN = Augmentation(rotation=45.0, scale=(0.7, 1.3), translation=0.1)
REACH = 4  # rings of texels on either side of the mask's edge


def configuration(
    system: str = "prn",
    *,
    seed: int,
    samples: int = SAMPLES,
    people: Mapping[str, int],
    start: Mapping | None = None,
    augmentation: str = "photo-light",
    loss: Mapping = (),
    width: float = prn64.WIDTH,
    test_people: int = 100,
    **options: object,
) -> dict[str, object]:
    """Of `kept.network`, and what it is tested on.

    Args:
        people: people and validation_people; start: another configuration, whose network it goes on from.
        loss: entries of `position_losses` beside those of the masked distance; options: of `build`.
    """
    described = prn64.configuration(
        seed=seed, samples=samples, counts=people, name=TEST, people=test_people, jitter=True
    )
    options = dict(options)
    if system == "residual":
        options = {"squash": "tanh", "refinement_width": SECOND, **options}
    loss = dict(loss)
    stages = {"name": "stages"} if system == "residual" or loss.keys() & {"symmetry", "smoothness"} else {}
    described |= {
        "system": system,
        "width": width,
        "options": options,
        "augmentation": asdict(Augmentation.preset(augmentation)),
        "loss": {**described["loss"], "weights": MASK, **stages, **loss},
    }
    if start is not None:
        described["start"] = {name: value for name, value in start.items() if name != "test"}
    return described


def run_cell(cell: Cell, session: Session) -> dict[str, object]:
    """Train (or find) and score one cell: its entries of the record.

    With `test["parts"]` "seam" it is scored ring by ring, with "turned" on turned pictures too.
    """
    described = cell.configuration
    network, history = kept.network(described, session)
    model = load()
    samples = list(scores.fronts(TEST, held_out(described, session, change=""), model))
    found = scores.synthetic(network, TEST, samples, model, MEASURES)
    found += smooth(network, samples, model)
    parts = described["test"].get("parts", "")
    if "turned" in parts:
        found += scores.synthetic(network, TURNED, turned(samples, TURN), model, MEASURES)
    if "seam" in parts:
        found += seam(network, samples, model)
    return prn64.entries(described, history, found + scores.photographs(network, model))


def smooth(network: nn.Module, samples: Sequence[Mapping], model: FaceModel) -> list[dict]:
    """Share of neighbouring triangles of the bare map that meet at less than 15°, per cent."""
    maps = _maps(network, samples)
    inside = model.interior(network.image_size)
    values = [100 * float((dihedral_angles(m[None], inside)[0] < LIMIT).float().mean()) for m in maps]
    return [_row("under-15-degrees", "%", values)]


def turned(samples: Sequence[Mapping], augmentation: Augmentation, seed: int = 7) -> list[dict]:
    """The samples as a fixed draw of geometric changes shows them, black where the picture ends."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.stack([sample["images"] for sample in samples])
    moved, geometry = augment_geometry(images, generator, augmentation, image_size=images.shape[-1])
    lifts, scale = geometry.lift(), similarity_scale(geometry.matrices[:, 0])
    return [
        {
            **sample,
            "images": moved[k],
            "vertices": transform_points(lifts[k].to(sample["vertices"]), sample["vertices"]),
            "scale": sample["scale"] * float(scale[k]),
        }
        for k, sample in enumerate(samples)
    ]


def seam(network: nn.Module, samples: Sequence[Mapping], model: FaceModel) -> list[dict]:
    """Error and roughness of the maps near the mask's edge: a row a region, measure and ring of texels.

    Regions: "rim" (upper half of the square's border, where the map itself ends) and "neck" (where the weight
    falls to 0 inside the map). Rows "completed-…" are of the maps as `facet.reconstruct` completes them.
    """
    size = network.image_size
    truth = torch.stack([sample["vertices"] for sample in samples])
    true_maps = map_from_mesh(truth, model.uv, model.triangles, size)
    scale = torch.tensor([float(sample["scale"]) for sample in samples])
    bare = _maps(network, samples)
    completed = torch.stack([complete(one, model)[1] for one in bare])
    rows = []
    for prefix, maps in (("", bare), ("completed-", completed)):
        for region, where in regions(model, size).items():
            found = edge_profile(maps, true_maps, ~neck(model, size), scale=scale, reach=REACH, where=where)
            for ring in found.to_dict("records"):
                for measure in ("error", "roughness"):
                    name = f"{prefix}{region}-{measure} {ring['ring']:+d}"
                    rows.append(_row(name, "mm", [ring[measure]], n=len(samples)))
    return rows


def regions(model: FaceModel, size: int) -> dict[str, torch.Tensor]:
    """(S, S) bool, the two places where the mask ends."""
    line = torch.arange(size)
    central = (line >= REACH) & (line < size - REACH)
    return {
        "rim": (line < size // 2)[:, None].expand(size, size),
        "neck": (line >= size * 7 // 10)[:, None] & central,
    }


def _maps(network: nn.Module, samples: Sequence[Mapping]) -> torch.Tensor:
    images = torch.stack([sample["images"] for sample in samples])
    return torch.cat([predict(network, some) for some in images.split(20)])


def _row(metric: str, normaliser: str, values: Sequence[float], n: int | None = None) -> dict:
    about = {"test_set": TEST, "metric": metric, "normaliser": normaliser, "n": n or len(values)}
    return about | {"mean": round(sum(values) / len(values), scores.DIGITS)}
