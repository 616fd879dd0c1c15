"""Does face correction make turned and upside-down photographs as good as upright ones?

Held-out people's pictures become photographs with a border, are turned in the image plane, and go through
everything `facet.reconstruct` does; the result is turned back and compared with the truth. The upright
photograph goes the same way, so that what is compared differs by the turn alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facet.crop import crop_image
from facet.evaluation.distances import exact_error, landmark_error
from facet.evaluation.normalisers import landmark_box
from facet.reconstruction import FaceNotFoundError, surface
from facet.reconstruction.correction import apply, from_landmarks, inverse, rotation, turn_of

BORDER = 0.45  # of the picture's side, on every side
ANGLES = tuple(range(-180, 181, 30))
# name -> how `surface` is asked; "truth" is given the true landmarks, another value is an aligner.
SOURCES = {"no correction": False, "the map's landmarks": True, "true landmarks": "truth"}


def turned_photo(picture: Tensor, degrees: float) -> tuple[np.ndarray, np.ndarray]:
    """A picture (3, S, S) in [0, 1] as a photograph turned clockwise, its border drawn out around it.

    (A mirrored border would show a second face, upside down.)

    Returns:
        (L, L, 3) uint8, and the (2, 3) map from the picture's pixels to the photograph's.
    """
    size = picture.shape[-1]
    border = round(BORDER * size)
    padded = F.pad(picture[None], (border,) * 4, mode="replicate")
    side = size + 2 * border
    turn = rotation(degrees, np.full(2, (side - 1) / 2))
    photo = crop_image(padded, torch.from_numpy(turn), side, fill="edge")[0]
    matrix = turn.copy()
    matrix[:, 2] += turn[:, :2] @ np.full(2, border)
    return (photo.permute(1, 2, 0) * 255).round().to(torch.uint8).numpy(), matrix


def rotations(
    network: nn.Module,
    samples: Iterable[Mapping],
    model,
    *,
    degrees: Sequence[float] = ANGLES,
    sources: Mapping[str, object] = SOURCES,
) -> pd.DataFrame:
    """Every sample at every turn by every source of landmarks.

    Where the detector finds no face the true landmarks' box in the photograph is given instead, and `found`
    says so: a miss costs what it costs, and the row stays.

    Returns:
        Columns source, degrees, identity, found, tilt (degrees off the true tilt), landmarks (% of the true
        landmark-box, upright), exact (mm after the best similarity).
    """
    rows = []
    counted = (model.weight > 0).nonzero()[:, 0]
    for sample in samples:
        size = landmark_box(sample["landmarks"][None])[0]
        for angle in degrees:
            photo, matrix = turned_photo(sample["images"][:3], angle)
            there = apply(matrix, sample["landmarks"][:, :2].double().numpy())
            level = from_landmarks(there).tilt
            for name, how in sources.items():
                vertices, view, found = _ask(photo, network, model, how, there)
                back = torch.from_numpy(inverse(matrix)).to(vertices)
                xy = vertices[:, :2] @ back[:, :2].T + back[:, 2]
                upright = torch.cat((xy, vertices[:, 2:]), dim=1)[None]
                off = landmark_error(upright[:, model.landmarks], sample["landmarks"][None]).mean()
                wrong = exact_error(upright[:, counted].double(), sample["vertices"][None, counted].double())
                tilt = 0.0 if view.frame is None else turn_of(view.frame)
                about = {"source": name, "degrees": angle, "identity": sample["identity"], "found": found}
                about |= {"tilt": abs((tilt - level + 180) % 360 - 180)}
                about |= {"landmarks": 100 * float(off / size)}
                rows.append(about | {"exact": float(wrong.mean()) / float(sample["scale"])})
    return pd.DataFrame(rows)


def _ask(photo: np.ndarray, network: nn.Module, model, how, landmarks: np.ndarray):
    """Vertices, view, and whether the face was found."""
    if isinstance(how, str):
        return *surface(photo, network, model, landmarks=landmarks, correct=True), True
    try:
        return *surface(photo, network, model, correct=how), True
    except FaceNotFoundError:
        low, high = landmarks.min(axis=0), landmarks.max(axis=0)
        return *surface(photo, network, model, box=(*low, *high), correct=how), False
