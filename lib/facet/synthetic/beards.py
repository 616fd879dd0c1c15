"""The volume of facial hair: how far beards and moustaches stand off the skin, to add to the ground truth.

The ground truth is bare skin. `Beards.relief` leads from there to the surface that a scanner would see:
every vertex of the face patch moves along the person's normal to the outside of what is worn, as far as on
the mean face, there measured by rays against the meshes of the wardrobe. Where their textures leave gaps,
it is the mean of hair and skin. It is evened out and falls to 0 at the border of a beard, beside lips and
nose, and at the patch's rim, from where depth is measured.
"""

from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn import functional

from facet.face_model import FaceModel
from facet.face_model.wearables import KINDS
from facet.rendering.normals import triangle_normals, vertex_normals
from facet.synthetic.outfits import Outfit
from facet.synthetic.subjects import Subjects, Views
from facet.synthetic.wardrobe import Dressed, Wardrobe, dress

HAIRY = ("beard", "moustache")  # kinds of wearables that have a volume
LENGTHS = (0.35, 1.1)  # of beards, as outfits are drawn: height is linear in between
REACH = 15.0  # mm; what is farther along the normal stands over another part of the face
FACING = 0.4  # cosine to the normal, from which on a mesh lies over the skin and not across
EVENING = 24  # rounds in which vertices go half way to their neighbours' mean
LEAST = 0.05  # mm that a beard loses everywhere, so that it ends
STEEPEST = 0.15  # cosine to the skin, beyond which no triangle turns; ROUNDS in which heights are lowered
ROUNDS = 30
# Where no hair grows: landmarks around it in the UV square; mm from there at which it may begin and be full.
BARE = {"lips": (range(48, 60), 1.2, 4.2), "nose": ((27, *range(31, 36)), 0.0, 6.0)}
RIM = (0.0, 8.0)


@dataclass
class Beards:
    """How high K styles stand over the V vertices of the face patch.

    Attributes:
        style: (I + 1,) row of `height` for each item of the wardrobe and, last, for −1, which is none.
        height: (K + 1, 2, V) mm on the mean face at the two LENGTHS; the last row, of no beard, is 0.
        scale: (3,) of the mean face, see `Frame.scale`.
        region: (R,) vertices that some style covers, and those around them; triangles: (T, 3) of the region;
            around: (R, R) sparse, takes the mean of vertices' neighbours.
    """

    model: FaceModel
    wardrobe: Wardrobe
    style: Tensor
    height: Tensor
    scale: Tensor
    region: Tensor
    triangles: Tensor
    around: Tensor

    @classmethod
    def open(cls, model: FaceModel, wardrobe: Wardrobe | None = None) -> "Beards":
        """Measure those of a wardrobe (the cached one), on the model's device; it takes two seconds."""
        wardrobe = Wardrobe.open(model.device) if wardrobe is None else wardrobe
        items = [(kind, wardrobe.number(name)) for kind in HAIRY for name in wardrobe.of_kind(kind)]
        style = torch.full((len(wardrobe) + 1,), len(items), device=model.device)
        style[[number for _, number in items]] = torch.arange(len(items), device=model.device)
        height, scale = model.mean.new_zeros(len(items) + 1, 2, len(model.mean)), model.mean.new_ones(3)
        if items:
            height[:-1] = _measure(model, wardrobe, items)
            scale = wardrobe.frame.scale(model.coarse_mean[None])[0]
        touched = height.amax(dim=(0, 1))[model.triangles].any(dim=1)
        region, triangles = model.triangles[touched].unique(return_inverse=True)
        around = _around(triangles, len(region))
        return cls(model, wardrobe, style, height, scale, region, triangles, around)

    def heights(self, outfit: Outfit) -> Tensor:
        """(N, V) mm that N people's beards and moustaches would stand over the mean face."""
        low, high = LENGTHS
        share = ((outfit.beard_length - low) / (high - low))[:, None]
        worn = torch.stack([self.height[self.style[getattr(outfit, kind)]] for kind in HAIRY])
        return torch.lerp(worn[:, :, 0], worn[:, :, 1], share).amax(dim=0)

    def relief(self, subjects: Subjects, outfit: Outfit) -> Tensor:
        """(N, V, 3) mm, model frame, from people's skin with its expression to the outside of their beards.

        Heights grow with the head along each axis: by Σ n_i² s_i along a normal n.
        """
        heights = self.heights(outfit)
        relief = heights.new_zeros(*heights.shape, 3)
        some = heights.any(dim=1).nonzero()[:, 0]
        if len(some):
            alpha = subjects.alpha_id[some], subjects.alpha_exp[some]
            skin = self.model.blend(*alpha)[:, self.region]
            normals = vertex_normals(skin, self.triangles, frame="model")
            grown = self.wardrobe.frame.scale(self.model.coarse(*alpha)) / self.scale
            grown = (normals.square() * grown[:, None]).sum(dim=2) * heights[some][:, self.region]
            relief[some[:, None], self.region] = normals * self._flattened(skin, normals, grown)[..., None]
        return relief

    def of_views(self, subjects: Subjects, outfit: Outfit | None, views: Views) -> Tensor:
        """(M, V, 3) `relief` of the person in each view, as `truth_vertices` and `truth_maps` take it.

        Raises:
            ValueError: there is no outfit: nobody in the first generation wears anything.
        """
        if outfit is None:
            raise ValueError("people of the first generation wear no beards; ask for the second")
        who, person = views.subject.unique(return_inverse=True)
        return self.relief(subjects.rows(who), outfit.rows(who))[person]

    def _flattened(self, skin: Tensor, normals: Tensor, heights: Tensor) -> Tensor:
        """(n, R) heights over skin (n, R, 3), less in folds so tight that displaced triangles would turn."""
        before, rows = triangle_normals(skin, self.triangles), torch.arange(len(skin), device=skin.device)
        for _ in range(ROUNDS):
            after = triangle_normals(skin[rows] + normals[rows] * heights[rows, :, None], self.triangles)
            turned = functional.cosine_similarity(before[rows], after, dim=2) < STEEPEST  # (n, T)
            turned, rows = turned[turned.any(dim=1)], rows[turned.any(dim=1)]
            if not len(rows):
                break
            marks, (who, triangle) = torch.zeros_like(heights[rows]), turned.nonzero(as_tuple=True)
            marks[who[:, None], self.triangles[triangle]] = 1.0
            spread = (4 * _evened(marks.T, self.around, 6).T).clamp(max=1)
            heights = heights.index_copy(0, rows, heights[rows] * (1 - 0.3 * spread))
        return heights


def _measure(model: FaceModel, wardrobe: Wardrobe, items: list[tuple[str, int]]) -> Tensor:
    """(K, 2, V) mm of items (kind, number) at the LENGTHS."""
    worn = [_wearing(*item, length) for item in items for length in LENGTHS]
    outfit = Outfit(*(torch.cat(column).to(model.device) for column in zip(*worn, strict=True)))
    dressed = dress(wardrobe, outfit, model.coarse_mean.expand(len(worn), -1, -1))
    normals = vertex_normals(model.mean[None], model.triangles, frame="model")[0]
    height = [_outside(model.mean, normals, wardrobe, dressed, row) for row in range(len(worn))]
    free = _free(model)[:, None]
    around = _around(model.triangles, len(free))
    height = free * _evened(torch.stack(height, dim=1) * (free > 0), around, EVENING)
    height = (height - LEAST).clamp(min=0)
    return height.T.reshape(len(items), 2, -1)


def _wearing(kind: str, item: int, length: float) -> list[Tensor]:
    """The columns of the outfit (of one) of nothing but an item."""
    given = {k: torch.tensor([-1]) for k in KINDS}
    given |= {kind: torch.tensor([item]), "beard_length": torch.tensor([length])}
    given |= {"mirrored": torch.tensor([False])}
    return [given.get(f.name, torch.zeros(1)) for f in fields(Outfit)]


def _outside(points: Tensor, normals: Tensor, wardrobe: Wardrobe, dressed: Dressed, row: int) -> Tensor:
    """(V,) mm from points along normals to the outermost hair of one of the dressed; 0 where none is."""
    real = dressed.item[row] >= 0
    triangles, corner_uv = dressed.triangles[row, real], dressed.corner_uv[row, real]
    corners = dressed.vertices[row, triangles].double()  # (F, 3, 3)
    ray, face, weights, length = _hits(points.double(), normals.double(), corners)
    uv = (corner_uv[face] * weights[..., None].to(corner_uv)).sum(dim=1)
    cover = wardrobe.alpha(dressed.item[row, real][face], uv)
    above = torch.zeros_like(points[:, 0])
    return above.scatter_reduce(0, ray, cover * length.to(cover), "amax")


def _hits(points: Tensor, normals: Tensor, corners: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Where rays from points (V, 3) along unit normals meet triangles (F, 3, 3) that lie over the skin.

    Möller & Trumbore, "Fast, minimum storage ray/triangle intersection", 1997, on pairs that are near.

    Returns:
        (H,) rays, (H,) triangles, (H, 3) barycentric coordinates, (H,) mm from 0 to REACH.
    """
    middle = corners.mean(dim=1)
    radius = (corners - middle[:, None]).norm(dim=2).amax(dim=1)
    ray, face = (torch.cdist(points.float(), middle.float()) < radius.float() + REACH).nonzero(as_tuple=True)
    a, b, c = corners.unbind(dim=1)
    outward = functional.normalize(torch.linalg.cross(b - a, c - a), dim=1)
    over = (outward[face] * normals[ray]).sum(dim=1) > FACING
    ray, face = ray[over], face[over]
    direction, origin, first, second = normals[ray], points[ray] - a[face], (b - a)[face], (c - a)[face]
    p, q = torch.linalg.cross(direction, second), torch.linalg.cross(origin, first)
    whole = (first * p).sum(dim=1)
    u, v, length = ((x * y).sum(dim=1) / whole for x, y in ((origin, p), (direction, q), (second, q)))
    weights = torch.stack([1 - u - v, u, v], dim=1)
    met = (weights.amin(dim=1) >= -1e-9) & (length > 0) & (length < REACH)
    return ray[met], face[met], weights[met], length[met]


def _free(model: FaceModel) -> Tensor:
    """(V,) 1 where hair may stand at its full height, falling smoothly to 0 toward lips, nose and rim."""
    zones = [(model.rim, *RIM)]
    for around, begins, full in BARE.values():
        outline = model.landmarks[list(around)]
        inside = _within(model.uv, model.uv[outline]).nonzero()[:, 0]
        zones.append((torch.cat([outline, inside]), begins, full))
    free = torch.ones_like(model.mean[:, 0])
    for bare, begins, full in zones:
        away = [torch.cdist(part, model.mean[bare]).amin(dim=1) for part in model.mean.split(4096)]
        share = ((torch.cat(away) - begins) / (full - begins)).clamp(0, 1)
        free = torch.minimum(free, share.square() * (3 - 2 * share))
    return free


def _within(points: Tensor, polygon: Tensor) -> Tensor:
    """(N,) bool, points (N, 2) in a polygon (K, 2): on one side of them it passes an odd number of times."""
    (x, y), (ax, ay) = points.T[:, :, None], polygon.T
    bx, by = polygon.roll(-1, dims=0).T
    crosses = ((ay > y) != (by > y)) & (x < ax + (bx - ax) * (y - ay) / (by - ay))
    return crosses.sum(dim=1) % 2 == 1


def _around(triangles: Tensor, count: int) -> Tensor:
    """(V, V) sparse: what takes the mean of values over each vertex's neighbours."""
    ends = torch.stack([triangles.flatten(), triangles.roll(-1, dims=1).flatten()])
    share = 1 / torch.bincount(ends[0], minlength=count).float()
    return torch.sparse_coo_tensor(ends, share[ends[0]], (count, count)).coalesce()


def _evened(values: Tensor, around: Tensor, rounds: int) -> Tensor:
    """Values (V, C) of vertices, some rounds half way to the mean of their neighbours."""
    for _ in range(rounds):
        values = (values + torch.sparse.mm(around, values)) / 2
    return values
