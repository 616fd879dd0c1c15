"""A person before a camera as fragments: head, hair and what is worn, in one depth buffer.

Everything that a picture or its ground truth needs of a pixel's samples is interpolated here once.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from facet.rendering.normals import vertex_normals
from facet.rendering.rasteriser import Candidates, Fragments, rasterise
from facet.rendering.texture import hashed
from facet.synthetic import lights as light
from facet.synthetic.subjects import Views
from facet.synthetic.wardrobe import Dressed, Wardrobe

SUPERSAMPLING = 2
FAINT = 0.15  # alpha that shows nothing: clear glass would be a sprinkle of dots


@dataclass
class Scene:
    """The N covered samples of M pictures, S·k × S·k samples each.

    Attributes:
        fragments: which triangle each sample shows; numbers from the head's count on are worn.
        image: (N,) picture; triangle: (N,); weights: (N, 3) barycentrics.
        points: (N, 3) mm after the head's turn (x right, y up, z toward the camera).
        normals: (N, 3) unit, image frame; strands: (N, 3) directions of hair, 0 elsewhere.
        occlusion: (N,) share of the surrounding that is seen.
        item: (N,) number in the wardrobe, −1 for the head; uv: (N, 2) of the item's texture.
        shadows: of the key light.
    """

    fragments: Fragments
    image: Tensor
    triangle: Tensor
    weights: Tensor
    points: Tensor
    normals: Tensor
    strands: Tensor
    occlusion: Tensor
    item: Tensor
    uv: Tensor
    shadows: light.Shadows

    def rows(self, index) -> "Scene":
        """Some samples; fragments and shadows stay those of all pictures."""
        kept = {"fragments": self.fragments, "shadows": self.shadows}
        return Scene(**{k: kept.get(k, v if k in kept else v[index]) for k, v in vars(self).items()})


def build(
    head_triangles: Tensor,
    wardrobe: Wardrobe,
    head: Tensor,
    dressed: Dressed,
    views: Views,
    lights: light.Lights,
    occlusion: Tensor,
    *,
    size: int,
    shift: float,
    seed: Tensor,
) -> Scene:
    """Rasterise M pictures.

    Args:
        head_triangles: (F, 3), four for each coarse one; head: (M, Vh, 3) mm, model frame.
        dressed: what they wear, M rows.
        occlusion: (M, Vh) share of the surrounding that each vertex of the heads sees.
        size: S; shift: pixels from the crop's corner to the picture's; seed: (M,) of the strands' coverage.
    """
    count, k, faces = head.shape[1], SUPERSAMPLING, len(head_triangles)
    worn = torch.where(dressed.item[..., None] >= 0, dressed.triangles + count, 0)
    triangles = torch.cat([head_triangles.expand(len(head), -1, -1), worn], dim=1)
    rotation = views.rotation().mT
    turned = torch.cat([head, dressed.vertices], dim=1) @ rotation
    points, inverse_w = views.camera(shift).project(turned)
    points = points * k + points.new_tensor([(k - 1) / 2, (k - 1) / 2, 0.0])
    fragments = rasterise(
        points, triangles, size * k, inverse_depth_w=inverse_w, cull_backfaces=faces,
        accept=_coverage(wardrobe, dressed, faces, seed),
    )  # fmt: skip
    normals = vertex_normals(turned[:, :count], head_triangles, frame="model")
    attributes = torch.cat(
        [
            turned,
            torch.cat([normals, dressed.normals @ rotation], dim=1),
            F.pad(dressed.strands @ rotation, (0, 0, count, 0)),
            torch.cat([occlusion, dressed.occlusion], dim=1)[..., None],
        ],
        dim=2,
    )
    covered = fragments.covered
    image = torch.div(covered, (size * k) ** 2, rounding_mode="floor")
    triangle = fragments.triangle.view(-1).index_select(0, covered)
    weights = fragments.barycentrics.view(-1, 3).index_select(0, covered)
    corners = triangles.reshape(-1, 3).index_select(0, triangle + image * triangles.shape[1])
    corners = corners + (image * attributes.shape[1])[:, None]
    flat = attributes.reshape(-1, 10)
    values = sum(flat.index_select(0, corners[:, c]) * weights[:, c : c + 1] for c in range(3))
    up_is_down = values.new_tensor([1.0, -1.0, 1.0])
    normal = F.normalize(values[:, 3:6], dim=1) * up_is_down
    away = (normal[:, 2] < 0) & (triangle >= faces)  # what is worn is seen from both sides
    normal = torch.where(away[:, None], -normal, normal)
    item, uv = torch.full_like(triangle, -1), values.new_zeros(len(triangle), 2)
    other = (triangle >= faces).nonzero()[:, 0]
    row = triangle[other] - faces + image[other] * dressed.item.shape[1]
    item[other] = dressed.item.reshape(-1)[row]
    uv[other] = (dressed.corner_uv.reshape(-1, 3, 2)[row] * weights[other, :, None]).sum(1)
    quarter = head_triangles[: len(head_triangles) // 4 * 4]
    coarse = quarter.view(-1, 4, 3)[:, :3, 0]  # before subdivision
    shadows = light.cast(
        turned, torch.cat([coarse.expand(len(head), -1, -1), worn], dim=1), lights.direction[:, 0],
        lights.softness, accept=_coverage(wardrobe, dressed, len(coarse), seed),
    )  # fmt: skip
    return Scene(
        fragments, image, triangle, weights, values[:, :3], normal, values[:, 6:9] * up_is_down, values[:, 9],
        item, uv, shadows,
    )  # fmt: skip


def _coverage(wardrobe: Wardrobe, dressed: Dressed, faces: int, seed: Tensor):
    """An `accept` hook: the head is opaque, what is worn is there with its texture's alpha."""
    per_image = dressed.item.shape[1]
    item, corner_uv = dressed.item.reshape(-1), dressed.corner_uv.reshape(-1, 3, 2)

    def accept(candidates: Candidates) -> Tensor:
        worn = (candidates.triangle >= faces).nonzero()[:, 0]
        kept = torch.ones_like(candidates.triangle, dtype=torch.bool)
        if len(worn):
            image, triangle = candidates.image[worn], candidates.triangle[worn]
            row = triangle - faces + image * per_image
            uv = (corner_uv[row] * candidates.barycentrics[worn, :, None].to(corner_uv.dtype)).sum(1)
            down, column = candidates.row[worn], candidates.column[worn]
            sample = (down % SUPERSAMPLING) * SUPERSAMPLING + column % SUPERSAMPLING
            noise = hashed(seed[image], down // SUPERSAMPLING, column // SUPERSAMPLING, triangle)
            noise = (noise + sample / SUPERSAMPLING**2) % 1.0  # the samples of a pixel share it out evenly
            alpha = (wardrobe.alpha(item[row], uv) - FAINT) / (1 - FAINT)
            kept[worn] = noise < alpha
        return kept

    return accept
