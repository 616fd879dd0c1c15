"""Batches for networks that tell a face's colours too: all three pictures of a person lifted to (u, v)."""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from facet.augment import augment_colour, augment_geometry, flip_maps
from facet.face_model import UVSampler
from facet.synthetic.batches import FRONT, Batches
from facet.synthetic.render import truth_maps

GRAZING = 0.15  # cosine between normal and view from which a place counts as seen
SHARPNESS = 4  # power of that cosine: the picture that sees a place best says its colour


@dataclass
class ToldBatches(Batches):
    """As `Batches`, with the clean colours of the whole face over (u, v) beside the map.

    Attributes:
        colour_sampler: of the maps at which colours are read, at their own size.
    """

    colour_sampler: UVSampler = field(kw_only=True)

    def make(self, people: Tensor, side: Tensor, generator: torch.Generator):
        """Images (B, 3·views, S, S), and the map (B, 3, S, S), colours (B, 3, s, s), seen (B, 1, s, s)."""
        first = torch.full_like(side, FRONT)
        if self.kind == "all-poses":
            first = torch.randint(3, side.shape, generator=generator)
        context = self.pictures.stack(people, first)
        if self.kind == "pair":
            context = torch.cat([context, self.pictures.stack(people, side)], dim=1)
        views = self.pictures.views.rows(self.pictures.view_rows(people, first))
        target = truth_maps(self.sampler, self.pictures.subjects, views, self.relief(views))
        colours, seen = self.colours(people)
        size = target.shape[-1]
        images, geometry = augment_geometry(context, generator, self.augmentation, image_size=size)
        images = augment_colour(images, generator, self.augmentation)
        told = flip_maps(torch.cat((colours, seen), dim=1), geometry.flip)
        return images, (geometry.move_map(target), told[:, :3], told[:, 3:])

    def colours(self, people: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, s, s) colours over (u, v) that any of the pictures shows, and (B, 1, s, s) how well."""
        shift = self.pictures.description.window[1]
        total = weights = best = 0.0
        for view in range(self.pictures.per_person):
            rows = torch.full_like(people, view)
            views = self.pictures.views.rows(self.pictures.view_rows(people, rows))
            places = truth_maps(self.colour_sampler, self.pictures.subjects, views, self.relief(views))
            photos = self.pictures.stack(people, rows).float() / 255
            grid = 2 * (places[:, :2].permute(0, 2, 3, 1) + shift + 0.5) / photos.shape[-1] - 1
            colour = F.grid_sample(photos, grid, padding_mode="border", align_corners=False)
            across, down = (torch.gradient(places, dim=dim)[0] for dim in (3, 2))
            cosine = F.normalize(torch.linalg.cross(across, down, dim=1), dim=1, eps=1e-9)[:, 2:]
            cosine = cosine.clamp(min=0) * (grid.abs() <= 1).all(dim=3)[:, None]
            weight = cosine**SHARPNESS
            total, weights = total + weight * colour, weights + weight
            best = torch.maximum(torch.as_tensor(best), cosine)
        return total / weights.clamp(min=1e-6), (best > GRAZING).to(total)
