"""Albedo modes: how skin colour varies over the head, from the skins' textures (see `skins`).

    T = T̄ + Σ β_k B_k   (Blanz & Vetter 1999)

Twenty skins give at most nineteen modes. Skin is confounded with age, gender and ancestry in them.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from facet.face_model.model import PARTS, FaceModel
from facet.face_model.skins import decode

PLAIN = 0.85  # grey of what is no skin: eyes, teeth, tongue


@dataclass
class AlbedoModes:
    """Linear skin colours at the head's vertices.

    Attributes:
        mean: (Vh, 3) RGB in [0, 1]; modes: (K, Vh, 3) RGB for one standard deviation, strongest first.
        share: (K,) of the skins' variance; skin: (Vh,) bool, vertices that the modes colour.
        coordinates: (n, K) of the n skins, in standard deviations; names: of the skins.
    """

    mean: Tensor
    modes: Tensor
    share: Tensor
    skin: Tensor
    coordinates: Tensor
    names: tuple[str, ...]

    def blend(self, beta: Tensor) -> Tensor:
        """(B, Vh, 3) colours of coefficients `beta` (B, K), in standard deviations."""
        return self.mean + torch.einsum("bk,kvc->bvc", beta, self.modes[: beta.shape[1]])


def albedo_modes(model: FaceModel) -> AlbedoModes:
    """Principal components of the cached skins, sampled at the vertices of the head for rendering."""
    from safetensors import safe_open

    from facet.face_model import files as cache

    with safe_open(cache.ensure().skins, "pt") as handle:
        textures = decode(handle.get_tensor("textures"), handle.get_tensor("offsets"))
        names = tuple(cache.read_notes(handle)["names"].split("\n"))
    place, skin = vertex_uv(model)
    grid = (place * 2 - 1)[None, None].expand(len(textures), -1, -1, -1)
    colours = torch.nn.functional.grid_sample(textures, grid, align_corners=False, padding_mode="border")
    colours = colours[:, :, 0].transpose(1, 2)  # (n, Vh, 3)
    colours[:, ~skin] = PLAIN
    mean = colours.mean(dim=0)
    left, spread, modes = torch.linalg.svd((colours - mean).flatten(1), full_matrices=False)
    kept = spread > 1e-4 * spread[0]
    left, spread, modes = left[:, kept], spread[kept], modes[kept]
    sign = modes.sum(dim=1).sign()  # fixed sign: one more of a mode is lighter
    deviation = spread / (len(colours) - 1) ** 0.5
    modes = (modes * (sign * deviation)[:, None]).view(-1, *mean.shape)
    coordinates = left * sign * (len(colours) - 1) ** 0.5
    return AlbedoModes(mean, modes, spread**2 / (spread**2).sum(), skin, coordinates, names)


def vertex_uv(model: FaceModel) -> tuple[Tensor, Tensor]:
    """(Vh, 2) a texture place of each head vertex, u right and v down, and (Vh,) whether it is skin.

    On a seam a vertex has several places; the one of its first triangle is taken, all show the same skin.
    """
    skin_triangle = (model.head_part == PARTS.index("skin")) | (model.head_part == PARTS.index("body"))
    corner = model.head_triangles[skin_triangle].flatten()
    place = model.head_uv[skin_triangle].flatten(0, 1)
    first = torch.full((len(model.head_rest),), len(corner), device=corner.device)
    first.scatter_reduce_(0, corner, torch.arange(len(corner), device=corner.device), "amin")
    skin = first < len(corner)
    place = place[first.clamp(max=len(corner) - 1)]
    return torch.stack([place[:, 0], 1 - place[:, 1]], dim=1), skin
