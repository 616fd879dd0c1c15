"""What of a person's own shape a reconstruction holds, and how it ends at the edge of the weight mask.

A network that answers every photo with one average face can have a small error. So the true departure from
the mean face, with position, size and pose taken out, is the yardstick here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from facet.evaluation.distances import aligned
from facet.geometry import map_laplacian, similarity

# name: landmarks whose mean place counts, minus those; along "x", "y", "z" of the model frame (iBUG numbers).
MEASURES = {
    "nose tip before the eyes": ((30,), (36, 45), "z"),
    "chin before the eyes": ((8,), (36, 45), "z"),
    "brow before the eyes": ((21, 22), (36, 45), "z"),
    "nose bridge to chin": ((27,), (8,), "y"),
    "jaw width": ((12,), (4,), "x"),
    "nose width": ((35,), (31,), "x"),
}


@dataclass(frozen=True)
class PersonalShape:
    """Predictions and truth in one frame: the model's, at the mean face's size and place, millimetres.

    Attributes:
        predicted: (B, K, 3) scored vertices after the best similarity to the truth.
        truth: (B, K, 3).
        mean: (K, 3) the mean face.
        landmarks: two (B, 68, 3), predicted and true.
    """

    predicted: Tensor
    truth: Tensor
    mean: Tensor
    landmarks: tuple[Tensor, Tensor]

    @property
    def explained(self) -> float:
        """1 − Σ‖p − t‖² / Σ‖t − mean‖²: 0 for the mean face in the true pose, 1 for the truth itself."""
        wrong = (self.predicted - self.truth).square().sum()
        return float(1 - wrong / (self.truth - self.mean).square().sum())

    @property
    def gain(self) -> float:
        """Σ⟨p − mean, t − mean⟩ / Σ‖t − mean‖²: below 1 if the predicted faces stay too near the mean."""
        own = self.truth - self.mean
        return float(((self.predicted - self.mean) * own).sum() / own.square().sum())


def personal_shape(predicted: Tensor, truth: Tensor, model) -> PersonalShape:
    """Take position, size and pose out of predictions and truth.

    Args:
        predicted: (B, V, 3) pixels, image frame; so is truth.
        model: the face model: `mean` (V, 3), `weight` (V,), `landmarks` (68,).
    """
    counted = model.weight > 0
    weights = counted.double()
    truth, mean = truth.double(), model.mean.double()
    to_head = similarity(truth, mean.expand(len(truth), -1, -1), weights, reflect=True)
    moved = to_head.apply(aligned(predicted.double(), truth, align="similarity", weights=weights))
    still = to_head.apply(truth)
    marks = model.landmarks
    return PersonalShape(
        moved[:, counted], still[:, counted], mean[counted], (moved[:, marks], still[:, marks])
    )


def measure(landmarks: Tensor) -> pd.DataFrame:
    """MEASURES of (B, 68, 3) landmarks in the model frame: a frame of B rows, millimetres."""
    axes = {"x": 0, "y": 1, "z": 2}
    columns = {
        name: (landmarks[:, list(to)].mean(dim=1) - landmarks[:, list(start)].mean(dim=1))[:, axes[axis]]
        for name, (to, start, axis) in MEASURES.items()
    }
    return pd.DataFrame({name: values.numpy() for name, values in columns.items()})


def midline(model) -> Tensor:
    """(M,) vertices that are their own mirror partners, from the forehead down: the face's middle line."""
    own = (model.mirror == torch.arange(len(model.mirror), device=model.mirror.device)).nonzero()[:, 0]
    return own[model.uv[own, 1].argsort()]


def edge_profile(
    predicted: Tensor,
    truth: Tensor,
    interior: Tensor,
    *,
    scale: Tensor,
    reach: int = 12,
    where: Tensor | None = None,
) -> pd.DataFrame:
    """How maps go wrong near the edge of the weight mask, ring by ring of texels.

    Args:
        predicted: (B, 3, S, S) position maps in pixels; so is truth.
        interior: (S, S) bool, texels that the loss counts.
        scale: (B,) pixels a millimetre.
        reach: rings to each side; the outermost ones take all that is farther.
        where: (S, S) bool, texels to look at: another part of the edge.

    Returns:
        Rows from the outside in: ring (1, 2, … inside, −1, −2, … outside), error (mean distance, mm),
        roughness (mean length of the error's discrete Laplacian, mm: how it jumps from texel to texel),
        texels.
    """
    from scipy.ndimage import distance_transform_cdt

    inside = interior.cpu().numpy()
    padded = np.pad(inside, 1)  # beyond the square there is no face
    depth = distance_transform_cdt(padded, "chessboard")[1:-1, 1:-1].astype(int)
    rings = np.where(inside, depth, -distance_transform_cdt(~inside, "chessboard").astype(int))
    rings = torch.from_numpy(rings.clip(-reach, reach))
    wrong = (predicted - truth) / scale.view(-1, 1, 1, 1)
    distance = wrong.square().sum(dim=1).sqrt().mean(dim=0)  # (S, S)
    jump = map_laplacian(wrong).square().sum(dim=1).sqrt().mean(dim=0)
    where = torch.ones_like(rings, dtype=torch.bool) if where is None else where.cpu()
    rows = []
    for ring in rings[where].unique().tolist():
        here = (rings == ring) & where
        found = {"error": float(distance[here].mean()), "roughness": float(jump[here].mean())}
        rows.append({"ring": ring, **found, "texels": int(here.sum())})
    return pd.DataFrame(rows)
