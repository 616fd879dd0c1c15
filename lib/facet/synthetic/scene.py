"""A person before a camera as fragments: head, hair and what is worn, in one depth buffer.

Everything that a picture or its ground truth needs of a pixel's samples is interpolated here once.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from facet.rendering.fragments import Candidates, Fragments
from facet.rendering.interpolation import blended, corner_blended, rows_of
from facet.rendering.normals import unit, vertex_normals
from facet.rendering.rasteriser import rasterise
from facet.rendering.texture import hashed
from facet.synthetic import lights as light
from facet.synthetic.subjects import Views
from facet.synthetic.wardrobe import Dressed, Wardrobe

SUPERSAMPLING = 2
FAINT = 0.15  # alpha that shows nothing: clear glass would be a sprinkle of dots


@dataclass
class Scene:
    """The N covered samples of M pictures, S·k × S·k samples each.

    They are in the order of pictures, and in each picture the head's come before those of what is worn. What
    has several columns is stored column by column.

    Attributes:
        fragments: which triangle each sample shows; numbers from the head's count on are worn.
        image: (N,) picture; triangle: (N,); weights: (N, 3) barycentrics.
        points: (N, 3) mm after the head's turn (x right, y up, z toward the camera).
        normals: (N, 3) unit, image frame; strands: (N, 3) directions of hair, 0 elsewhere.
        occlusion: (N,) share of the surrounding that is seen.
        item: (N,) number in the wardrobe, −1 for the head; uv: (W, 2) of its texture, what is worn alone.
        shadows: of the key light.
        counts: samples of the head and of what is worn, of each picture.
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
    counts: list[tuple[int, int]]

    def pictures(self) -> Iterator["Scene"]:
        """The samples of each picture; fragments and shadows stay those of all."""
        first = worn = 0
        for count in self.counts:
            some, of_worn = slice(first, first + sum(count)), slice(worn, worn + count[1])
            columns = {k: v[some] for k, v in vars(self).items() if isinstance(v, Tensor)}
            yield replace(self, **columns | {"uv": self.uv[of_worn], "counts": [count]})
            first, worn = some.stop, of_worn.stop


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
        accept=_coverage(wardrobe, dressed, faces, seed), opaque=faces,
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
    values = blended(attributes.view(-1, 10).mT.contiguous(), fragments.corners, fragments.weights)
    image, triangle = fragments.image, fragments.seen
    up_is_down = values.new_tensor([1.0, -1.0, 1.0])
    normal = unit(values[:, 3:6]) * up_is_down
    away = (normal[:, 2] < 0) & (triangle >= faces)  # what is worn is seen from both sides
    normal *= torch.where(away, -1.0, 1.0)[:, None]
    other = (triangle >= faces).nonzero()[:, 0]
    row = (triangle - faces + image * dressed.item.shape[1]).index_select(0, other)
    item = torch.full_like(triangle, -1).index_copy_(0, other, dressed.item.view(-1).index_select(0, row))
    uv = corner_blended(_corner_uv(dressed), row, rows_of(fragments.weights, other))
    counts = (2 * image + (triangle >= faces)).bincount(minlength=2 * len(head)).view(-1, 2).tolist()
    quarter = head_triangles[: len(head_triangles) // 4 * 4]
    coarse = quarter.view(-1, 4, 3)[:, :3, 0]  # before subdivision
    shadows = light.cast(
        turned, torch.cat([coarse.expand(len(head), -1, -1), worn], dim=1), lights.direction[:, 0],
        lights.softness, accept=_coverage(wardrobe, dressed, len(coarse), seed), opaque=len(coarse),
    )  # fmt: skip
    return Scene(
        fragments, image, triangle, fragments.weights, values[:, :3], normal, values[:, 6:9] * up_is_down,
        values[:, 9], item, uv, shadows, counts,
    )  # fmt: skip


def _coverage(wardrobe: Wardrobe, dressed: Dressed, faces: int, seed: Tensor):
    """An `accept` hook for what is worn: it is there with its texture's alpha."""
    per_image, item, corner_uv = dressed.item.shape[1], dressed.item.reshape(-1), _corner_uv(dressed)

    def accept(candidates: Candidates) -> Tensor:
        place = candidates.triangle - faces + candidates.image * per_image
        uv = corner_blended(corner_uv, place, candidates.barycentrics)
        fine = candidates.row, candidates.column
        row, column = (torch.div(at, SUPERSAMPLING, rounding_mode="floor") for at in fine)
        sample = (fine[0] - row * SUPERSAMPLING) * SUPERSAMPLING + fine[1] - column * SUPERSAMPLING
        noise = hashed(seed.index_select(0, candidates.image), row, column, candidates.triangle)
        noise = (noise + sample / SUPERSAMPLING**2).frac_()  # the samples of a pixel share it out evenly
        alpha = (wardrobe.alpha(item.index_select(0, place), uv) - FAINT) / (1 - FAINT)
        return noise < alpha

    return accept


def _corner_uv(dressed: Dressed) -> Tensor:
    """(2, 3 B F) texture coordinates of corner after corner of what is worn."""
    return dressed.corner_uv.view(-1, 2).mT.contiguous()
