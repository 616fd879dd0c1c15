"""A turned head in the colours of a photo: visibility-aware gathering, with the holes that are left.

Every pixel of the turned view asks which point of the head it shows, where that point lies in the photo, and
whether the photo shows it there: not behind another part of the head (z-buffer), not at a grazing angle, not
outside of the image. What the photo does not show is a hole. No texture map lies between the two images, so
nothing is lost to its resolution.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from facet.rendering import interpolate, rasterise, vertex_normals

# Cosine between normal and view below which a point counts as unseen, and from which as fully seen.
GRAZING, FACING = 0.2, 0.5
# Share of the image's side that a point may lie behind what the photo shows there: noise of the shape.
BEHIND = 0.02
# Share of the image's side that the head's outline is drawn in by: its edge may show the background.
EDGE = 1 / 64


@dataclass
class Render:
    """Turned views of size S, image frame; colours in [0, 1].

    Attributes:
        image: (B, 3, S, S) gathered colours; 0 where unseen.
        seen: (B, 1, S, S) in [0, 1], how well the photo shows each point.
        mirrored: (B, 3, S, S) colours of the points' partners on the other half of the face.
        mirrored_seen: (B, 1, S, S) how well the photo shows those.
        head: (B, 1, S, S) 1 where the head is.
    """

    image: Tensor
    seen: Tensor
    mirrored: Tensor
    mirrored_seen: Tensor
    head: Tensor


class Gatherer:
    """Gathers colours of one batch of photos; the photo's z-buffer is made once for all views."""

    def __init__(
        self,
        photos: Tensor,
        heads: Tensor,
        triangles: Tensor,
        *,
        mirror: Tensor | None = None,
        shown: Tensor | None = None,
    ):
        """
        Args:
            photos: (B, 3, H, W).
            heads: (B, Vh, 3) in the photos' pixels, image frame.
            triangles: (F, 3).
            mirror: (Vh,) each vertex's partner; None gathers nothing from the other half.
            shown: (B, 1, H, W) in [0, 1], where the photo has colours at all; None is everywhere.
        """
        self.photos, self.heads, self.triangles, self.mirror = photos, heads, triangles, mirror
        self.shown = shown
        depth = rasterise(heads, triangles, photos.shape[2:]).depth  # (B, H, W)
        # The nearest surface in a small neighbourhood would hide slopes; the farthest lets them pass.
        self.front = -F.max_pool2d(-depth.clamp(min=-1e6), 3, stride=1, padding=1)[:, None]
        self.outline = torch.isfinite(depth)[:, None].to(photos)
        reach = 2 * max(1, round(photos.shape[-1] * EDGE)) + 1
        beside = F.max_pool2d(1 - self.outline, reach, stride=1, padding=reach // 2)
        self.inner = F.avg_pool2d(1 - beside, 3, stride=1, padding=1)
        normals = vertex_normals(heads, triangles, frame="image")[..., 2:]
        self.points = torch.cat((heads, normals), dim=2)  # (B, Vh, 4)

    def __call__(self, turned: Tensor, size: int) -> Render:
        """The views of the heads' vertices at turned (B, Vh, 3), in pixels of a window of size S."""
        fragments = rasterise(turned, self.triangles, size)
        points = self.points
        if self.mirror is not None:
            points = torch.cat((points, points[:, self.mirror]), dim=2)
        found = interpolate(fragments, self.triangles, points)  # (B, S, S, 4 or 8)
        head = fragments.mask[:, None].to(self.photos)
        image, seen = self._look(found[..., :4], head)
        mirrored, mirrored_seen = torch.zeros_like(image), torch.zeros_like(seen)
        if self.mirror is not None:
            mirrored, mirrored_seen = self._look(found[..., 4:], head)
        return Render(image, seen, mirrored, mirrored_seen, head)

    def _look(self, found: Tensor, head: Tensor) -> tuple[Tensor, Tensor]:
        """Colours (B, 3, S, S) and how well they are seen (B, 1, S, S) at x, y, z, facing (B, S, S, 4)."""
        height, width = self.photos.shape[2:]
        x, y, z, facing = found.unbind(dim=3)
        grid = torch.stack(((2 * x + 1) / width - 1, (2 * y + 1) / height - 1), dim=3)
        image = F.grid_sample(self.photos, grid, padding_mode="border", align_corners=False)
        front = F.grid_sample(self.front, grid, mode="nearest", padding_mode="border", align_corners=False)
        inner = F.grid_sample(self.inner, grid, padding_mode="border", align_corners=False)
        seen = ((facing - GRAZING) / (FACING - GRAZING)).clamp(0.0, 1.0)
        seen = seen * (z >= front[:, 0] - BEHIND * max(height, width))
        seen = seen * (grid.abs() <= 1).all(dim=3) * head[:, 0] * inner[:, 0]
        if self.shown is not None:
            known = F.grid_sample(self.shown, grid, padding_mode="zeros", align_corners=False)[:, 0]
            seen = seen * ((known - 0.5) / 0.5).clamp(0.0, 1.0)
        seen = seen[:, None] * F.avg_pool2d(seen[:, None], 3, stride=1, padding=1)  # no ragged edges
        return image * (seen > 0), seen
