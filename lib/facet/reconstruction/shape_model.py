"""An active shape model: 68 landmarks by grey profiles across the contours, kept to shapes that faces have.

    z = T(z̄ + P b),  |b_k| ≤ 3 σ_k        (Cootes et al. 1995; the aligner of Residual's thesis)

Points are complex numbers x + i y in pixels, so that a similarity T is z ↦ a z + t. Each landmark moves along
its contour's normal to where the grey level's derivative looks most like what it looked like in training, by
Mahalanobis' distance, coarse picture to fine; then T and b are fitted to the moved points. An `Aligner`.
"""

import itertools
import os
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor

from facet import paths
from facet.files import write_beside
from facet.landmarks68 import COUNT, GROUPS

LEVELS = 3  # pictures of S, S/2 and S/4 pixels
HALF, REACH = 4, 4  # samples of a profile to each side, and how far a search goes, in pixels of the level
ROUNDS = 8  # at each level
SHARE, CLIP = 0.98, 3.0  # of the variance that P holds; of each σ
STARTS = (-30.0, 0.0, 30.0)  # degrees of the mean shape at the start; the best end is taken
_CLOSED = ("right_eye", "left_eye", "outer_lips", "inner_lips")


def _neighbours() -> tuple[Tensor, Tensor]:
    """(68,) the landmark before and after each along its line; at an open end the landmark itself."""
    before, after = list(range(COUNT)), list(range(COUNT))
    for name, members in GROUPS.items():
        pairs = list(itertools.pairwise(members))
        for first, second in pairs + ([(members[-1], members[0])] if name in _CLOSED else []):
            after[first], before[second] = second, first
    return torch.tensor(before), torch.tensor(after)


BEFORE, AFTER = _neighbours()


@dataclass
class ActiveShapeModel:
    """What was learnt of faces' landmarks in crops of one size.

    Attributes:
        mean: (68,) complex, the mean shape: centred, of unit norm.
        modes: (K, 136) orthonormal, x and y interleaved; deviation: (K,) σ.
        place: (2,) complex, the mean a and t of crops.
        profile: (L, 68, P) mean profiles, finest level first; precision: (L, 68, P, P) inverse covariances.
        size: () S.
    """

    mean: Tensor
    modes: Tensor
    deviation: Tensor
    place: Tensor
    profile: Tensor
    precision: Tensor
    size: Tensor

    @property
    def image_size(self) -> int:
        return int(self.size)

    @torch.no_grad()
    def __call__(self, crops: Tensor, starts: tuple[float, ...] = STARTS) -> Tensor:
        """(B, 3, S, S) RGB in [0, 1] -> (B, 68, 2) landmarks in pixels.

        Args:
            starts: turns of the mean shape, degrees; the end with the least distance is the answer.
        """
        turns = torch.tensor(starts).deg2rad()
        turns = torch.polar(torch.ones_like(turns), turns)
        middle = (self.image_size - 1) / 2 * (1 + 1j)
        mean = self.place[0] * self.mean + self.place[1] - middle
        z = (turns[None, :, None] * mean + middle).expand(len(crops), -1, -1).reshape(-1, COUNT)
        pictures = _pyramid(crops.repeat_interleave(len(starts), dim=0))
        for level in reversed(range(LEVELS)):
            for _ in range(ROUNDS):
                moved, distance = self._search(pictures[level], z, level)
                z = self._shape(moved)
        best = distance.mean(dim=1).view(len(crops), -1).argmin(dim=1)
        z = z.view(len(crops), len(starts), COUNT)[torch.arange(len(crops)), best]
        return torch.view_as_real(z)

    def _search(self, picture: Tensor, z: Tensor, level: int) -> tuple[Tensor, Tensor]:
        """(B, 68) where each landmark's profile fits best, and its distance there."""
        profiles = _profiles(picture, z, level, HALF + REACH).unfold(2, 2 * HALF + 1, 1)  # (B, 68, M, P)
        wrong = _normalised(profiles) - self.profile[level][None, :, None]
        distance = torch.einsum("blmp,lpq,blmq->blm", wrong, self.precision[level], wrong)
        least, where = distance.min(dim=2)
        return z + (where - REACH) * 2**level * _normals(z), least

    def _shape(self, z: Tensor) -> Tensor:
        """(B, 68) the nearest shape of the model, under a similarity."""
        b = torch.zeros(len(z), len(self.modes))
        for _ in range(3):
            shape = self.mean + torch.view_as_complex((b @ self.modes).view(-1, COUNT, 2))
            a, t = _similarity(shape, z)
            back = torch.view_as_real((z - t) / a - self.mean).flatten(1)
            b = (back @ self.modes.T).clamp(-CLIP * self.deviation, CLIP * self.deviation)
        shape = self.mean + torch.view_as_complex((b @ self.modes).view(-1, COUNT, 2))
        return a * shape + t

    def save(self, path: str | os.PathLike) -> None:
        """Write it as safetensors, in one step."""
        from safetensors.torch import save_file

        state = {f.name: getattr(self, f.name) for f in fields(self)}
        real = {n: torch.view_as_real(v) if v.is_complex() else v for n, v in state.items()}
        with write_beside(path) as temporary:
            save_file({n: v.contiguous() for n, v in real.items()}, temporary)


def load(path: str | os.PathLike) -> ActiveShapeModel:
    """Read what `save` wrote."""
    from safetensors.torch import load_file

    state = load_file(path)
    return ActiveShapeModel(
        **{n: torch.view_as_complex(v) if n in ("mean", "place") else v for n, v in state.items()}
    )


def fit(images: Tensor, landmarks: Tensor) -> ActiveShapeModel:
    """Learn from crops (N, 3, S, S) in [0, 1] with their landmarks (N, 68, 2) in pixels.

    Raises:
        ValueError: fewer than two crops, or shapes that do not fit.
    """
    if len(images) < 2 or landmarks.shape != (len(images), COUNT, 2):
        raise ValueError(
            f"an active shape model needs two crops or more with landmarks (N, 68, 2), "
            f"got {tuple(images.shape)} and {tuple(landmarks.shape)}"
        )
    z = torch.view_as_complex(landmarks.float().contiguous())
    mean = _unit(z[0] - z[0].mean())
    for _ in range(5):  # Procrustes: all onto the mean, the mean of all
        a, t = _similarity(mean.expand_as(z), z)
        mean = _unit(((z - t) / a).mean(dim=0))
    mean = mean * (a.mean() / a.mean().abs())  # upright, as the crops are
    a, t = _similarity(mean.expand_as(z), z)
    flat = torch.view_as_real((z - t) / a - mean).flatten(1)  # (N, 136)
    _, values, modes = torch.linalg.svd(flat, full_matrices=False)
    variance = values.square() / len(z)
    count = int((variance.cumsum(0) < SHARE * variance.sum()).sum()) + 1
    pictures, profile, precision = _pyramid(images), [], []
    for level in range(LEVELS):
        seen = _normalised(_profiles(pictures[level], z, level, HALF))  # (N, 68, P)
        centred = (seen - seen.mean(dim=0)).transpose(0, 1)  # (68, N, P)
        spread = centred.mT @ centred / len(z)
        ridge = 0.1 * spread.diagonal(dim1=1, dim2=2).mean(dim=1) + 1e-6
        profile.append(seen.mean(dim=0))
        precision.append(torch.linalg.inv(spread + ridge[:, None, None] * torch.eye(spread.shape[-1])))
    return ActiveShapeModel(
        mean, modes[:count], variance[:count].sqrt(), torch.stack((a.mean(), t.mean())),
        torch.stack(profile), torch.stack(precision), torch.tensor(images.shape[-1]),
    )  # fmt: skip


def obtain(pictures, model) -> ActiveShapeModel:
    """Fitted to the front pictures of a data set of synthetic people, and kept under `data/cache/aligners`.

    Args:
        pictures: opened training people; model: the face model.
    """
    from facet.crop import crop_image

    about = pictures.description
    path = paths.CACHE / "aligners" / f"shape-{about.image_size}-{about.key}-{about.people}.safetensors"
    if not path.is_file():
        images, landmarks = examples(pictures, model)
        square = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]], dtype=torch.float64)
        square[0, :, 2] = -about.window[1]  # the crop inside the stored picture
        parts = [
            crop_image(some, square.expand(len(some), -1, -1), about.image_size) for some in images.split(50)
        ]
        fit(torch.cat(parts), landmarks).save(path)
    return load(path)


def examples(pictures, model) -> tuple[Tensor, Tensor]:
    """(N, 3, L, L) uint8 front pictures and (N, 68, 2) true landmarks, pixels of the crop."""
    from facet.face_model import sampler, vertices_from_map
    from facet.synthetic.batches import FRONT
    from facet.synthetic.render import truth_maps

    everybody = torch.arange(len(pictures))
    maps = sampler(model, pictures.description.image_size, modes=pictures.subjects.alpha_id.shape[1])
    marks = []
    for people in everybody.split(50):
        rows = pictures.view_rows(people, torch.full_like(people, FRONT))
        truth = truth_maps(maps, pictures.subjects, pictures.views.rows(rows))
        marks.append(vertices_from_map(truth, model.uv[model.landmarks])[:, :, :2])
    return pictures.stack(everybody, torch.full_like(everybody, FRONT)), torch.cat(marks)


def _pyramid(images: Tensor) -> list[Tensor]:
    """Grey pictures (N, 1, S, S), (N, 1, S/2, S/2), …"""
    grey = images.mean(dim=1, keepdim=True)
    levels = [F.avg_pool2d(grey, 3, stride=1, padding=1, count_include_pad=False)]
    for _ in range(LEVELS - 1):
        levels.append(F.avg_pool2d(levels[-1], 2))
    return levels


def _profiles(picture: Tensor, z: Tensor, level: int, reach: int) -> Tensor:
    """(B, 68, 2 reach + 1) derivatives of the grey level along the normals, a pixel of the level apart."""
    steps = torch.arange(-reach, reach + 2) - 0.5
    points = z[:, :, None] + steps * 2**level * _normals(z)[:, :, None]
    size = picture.shape[-1] * 2**level
    grid = (2 * torch.view_as_real(points) + 1) / size - 1  # (B, 68, M, 2)
    grey = F.grid_sample(picture, grid, padding_mode="border", align_corners=False)[:, 0]
    return grey.diff(dim=2)


def _normalised(profiles: Tensor) -> Tensor:
    """Profiles (..., P) over the sum of their absolute values: contrast does not count."""
    return profiles / (profiles.abs().sum(dim=-1, keepdim=True) + 1e-3)


def _normals(z: Tensor) -> Tensor:
    """(B, 68) complex unit normals of the contours."""
    along = z[:, AFTER] - z[:, BEFORE]
    return 1j * along / along.abs().clamp(min=1e-6)


def _similarity(source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """(B, 1) a and t of the least-squares target = a · source + t."""
    middle, other = source.mean(dim=1, keepdim=True), target.mean(dim=1, keepdim=True)
    centred = source - middle
    a = (centred.conj() * (target - other)).sum(dim=1, keepdim=True)
    a = a / centred.abs().square().sum(dim=1, keepdim=True)
    return a, other - a * middle


def _unit(z: Tensor) -> Tensor:
    """A shape (68,) centred and of unit norm."""
    z = z - z.mean()
    return z / z.abs().square().sum().sqrt()
