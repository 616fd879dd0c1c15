"""The ground truth of portraits, pixel by pixel, from the same fragments as the picture."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from facet.face_model import PARTS, FaceModel, UVSampler
from facet.face_model.wearables import KINDS
from facet.rendering.fragments import Fragments
from facet.rendering.interpolation import averaged, blended, rows_of
from facet.synthetic import scene as scenes
from facet.synthetic.beards import Beards
from facet.synthetic.occluders import paint_occluders
from facet.synthetic.portrait import Atelier, Cast, Exposure, Shots, expose, illuminate
from facet.synthetic.render import above_rim, truth_points, truth_texels
from facet.synthetic.skin_chart import LIPS, LOWER_LIP, UPPER_LIP, lip_depth
from facet.synthetic.skin_paint import under_collar

CLASSES = ("background", "skin", "lips", "mouth", "eyes", "hair", "accessory", "cloth", "occluder")
HAIRY = ("hair", "beard", "moustache", "brows", "lashes")
NEAR = 3.0  # mm that a point may lie behind what its pixel shows and still be seen
SLACK = 0.1  # mm by which zones are larger than what they hold


@dataclass
class Truth:
    """Of M pictures of S × S pixels.

    Attributes:
        position_map: (M, 3, T, T) pixels of the crop; vertices: (M, V, 3) likewise.
        depth: (M, S, S) pixels toward the camera in the scale of the crop, 0 in the plane of the head's
            origin, nan where no person is.
        normals: (M, 3, S, S) unit, image frame; 0 where no person is.
        pncc: (M, 3, S, S) place on the mean face, its bounding box 0 … 1 (Zhu et al. 2016); 0 beside it.
        albedo: (M, 3, S, S) linear, of the nearest surfaces; 0 where no person is.
        segmentation: (M, S, S) uint8 index into CLASSES, that of most samples.
        landmark_seen: (M, 68), texel_seen: (M, T, T) bool: inside the picture, turned to the camera, and
            neither hair nor anything else before them.
    """

    position_map: Tensor
    vertices: Tensor
    depth: Tensor
    normals: Tensor
    pncc: Tensor
    albedo: Tensor
    segmentation: Tensor
    landmark_seen: Tensor
    texel_seen: Tensor


@torch.no_grad()
def truth_of(
    atelier: Atelier,
    sampler: UVSampler,
    cast: Cast,
    shots: Shots,
    *,
    size: int,
    shift: float,
    beards: Beards | None = None,
    exposure: Exposure | None = None,
) -> Truth:
    """The truth of the pictures that `portrait.photograph` takes of the same tables.

    Args:
        sampler: of the position maps, at any size.
        size: S; shift: pixels from the crop's corner to the picture's.
        beards: whose volume vertices and maps have; None for bare skin.
        exposure: what `portrait.expose` made of these tables, which saves most of the work.
    """
    model, views, k = atelier.model, shots.views, scenes.SUPERSAMPLING
    if exposure is None:
        scene, _, albedo = illuminate(atelier, cast, shots, size=size, shift=shift)
        cover = paint_occluders(albedo.new_zeros(len(shots), 3, size, size), shots.occluder)[1]
    else:
        scene, albedo, cover = exposure.scene, exposure.albedo, exposure.cover
    depth = scene.points[:, 2] * views.scale.index_select(0, scene.image)
    groups = (scene.normals, albedo, _mean_place(atelier, scene))
    layers = [depth, *(column for group in groups for column in group.unbind(1)), torch.ones_like(depth)]
    planes = averaged(layers, scene.fragments, k)
    empty = planes[:, -1:] == 0
    planes = planes / planes[:, -1:].clamp(min=1e-6)
    hidden = cover[:, 0] > 0.5
    segmentation = _vote(_classes(atelier, scene, cast.skin.weave[views.subject]), scene.fragments, k)
    segmentation[hidden] = CLASSES.index("occluder")
    pncc, shown = planes[:, 7:10], planes[:, 10:11] > 0.5
    relief = None if beards is None else beards.of_views(cast.subjects, cast.outfit, views)
    exact = truth_points(model, cast.subjects, views, relief)
    texels = truth_texels(sampler, cast.subjects, views, relief)
    seen = Seen(scene.fragments.depth / k, hidden, views.scale, shift)
    maps = sampler.as_map(texels.transpose(1, 2))
    side = maps.shape[-1]
    return Truth(
        position_map=maps,
        vertices=above_rim(model, exact),
        depth=planes[:, 0].masked_fill(empty[:, 0], torch.nan),
        normals=F.normalize(planes[:, 1:4], dim=1, eps=1e-6).masked_fill(empty, 0),
        pncc=pncc * shown,
        albedo=planes[:, 4:7].masked_fill(empty, 0),
        segmentation=segmentation.to(torch.uint8),
        landmark_seen=seen(exact[:, model.landmarks]),
        texel_seen=seen(texels[:, : side * side]).view(-1, side, side),
    )


def photograph_with_truth(
    atelier: Atelier,
    sampler: UVSampler,
    cast: Cast,
    shots: Shots,
    *,
    size: int,
    shift: float,
    split: str = "train",
    beards: Beards | None = None,
) -> tuple[Tensor, Truth]:
    """`portrait.photograph` and `truth_of`, equal to both and quicker: the scene is rasterised once."""
    exposure = expose(atelier, cast, shots, size=size, shift=shift, split=split)
    found = truth_of(atelier, sampler, cast, shots, size=size, shift=shift, beards=beards, exposure=exposure)
    return exposure.pictures, found


@dataclass
class Seen:
    """Tells which points a picture shows.

    Attributes:
        depth: (M, S k, S k) of the nearest surface in pixels of the crop, −inf where empty.
        hidden: (M, S, S) bool, behind an occluder; scale: (M,) pixels a mm; shift: crop to picture.
    """

    depth: Tensor
    hidden: Tensor
    scale: Tensor
    shift: float

    def __call__(self, points: Tensor) -> Tensor:
        """(M, K) bool of points (M, K, 3) in pixels of the crop."""
        size = self.hidden.shape[-1]
        k = self.depth.shape[-1] // size
        place = points[..., :2] + self.shift
        inside = ((place > -0.5) & (place < size - 0.5)).all(dim=2)
        column, row = place.round().long().clamp(0, size - 1).unbind(2)
        fine = (place * k + (k - 1) / 2).round().long().clamp(0, size * k - 1)
        image = torch.arange(len(points), device=points.device)[:, None]
        nearest = self.depth[image, fine[..., 1], fine[..., 0]]
        ahead = points[..., 2] >= nearest - NEAR * self.scale[:, None]
        return inside & ahead & ~self.hidden[image, row, column]


def mean_place(model: FaceModel) -> Tensor:
    """(Vh, 4) place of the head's vertices on the mean face, its box 0 … 1, and 1 where they belong to it."""
    head = model.blend_head(model.identity.new_zeros(1, 1))[0]
    low, high = model.mean.amin(dim=0), model.mean.amax(dim=0)
    near = ((head > low - 1e-2) & (head < high + 1e-2)).all(dim=1).nonzero()[:, 0]
    distance = torch.cat(
        [torch.cdist(part, model.mean.double()).amin(dim=1) for part in head[near].double().split(512)]
    )
    out = head.new_zeros(len(head), 4)
    face = near[distance < 1e-2]
    out[face] = F.pad((head[face] - low) / (high - low), (0, 1), value=1.0)
    return out


@dataclass
class Zones:
    """Where on the head things are: of its Vh vertices and its F triangles.

    Which triangles may hold something is known beforehand, so that samples of the others are not asked.

    Attributes:
        place: (Vh, 4) `mean_place`.
        face: (F,) bool, some corner belongs to the mean face; lips: (F,) bool.
        low: (F,) mm that its lowest point lies below a collar of height 0 without a V, negative above it.
    """

    place: Tensor
    face: Tensor
    lips: Tensor
    low: Tensor

    @classmethod
    def of(cls, model: FaceModel) -> "Zones":
        """Those of a model."""
        place = mean_place(model)
        corners = model.head_rest[model.head_triangles]  # (F, 3, 3)
        most, least = corners.amax(dim=1) + SLACK, corners.amin(dim=1) - SLACK
        top, bottom = max(y for _, y in UPPER_LIP), min(y for _, y in LOWER_LIP)
        lips = (most[:, 0] > -LIPS[0]) & (least[:, 0] < LIPS[0]) & (most[:, 2] > LIPS[1])
        lips &= (most[:, 1] > bottom) & (least[:, 1] < top)
        none = corners.new_zeros(())
        low = under_collar(corners, none, none).amax(dim=1)  # linear in the place
        return cls(place, (place[model.head_triangles, 3] > 0).any(dim=1), lips, low)


def _mean_place(atelier: Atelier, scene: scenes.Scene) -> Tensor:
    """(N, 4) `mean_place` of the samples; 0 for those of anything but the face's skin."""
    own, triangle = _of_head(atelier, scene)
    face = atelier.zones.face.index_select(0, triangle).nonzero()[:, 0]
    own = own.index_select(0, face)
    found = _blended(atelier.zones.place, atelier, scene, own, triangle.index_select(0, face))
    out = found.new_zeros(4, len(scene.item))
    return out.index_copy_(1, own, torch.where(found[:, 3:] > 0.999, found, 0).mT).mT


def _of_head(atelier: Atelier, scene: scenes.Scene) -> tuple[Tensor, Tensor]:
    """(K,) samples that show the face model's head, and its triangles there."""
    head = (scene.item < 0) & (scene.triangle < len(atelier.model.head_triangles))
    own = head.nonzero()[:, 0]
    return own, scene.triangle.index_select(0, own)


def _blended(
    table: Tensor, atelier: Atelier, scene: scenes.Scene, samples: Tensor, triangle: Tensor
) -> Tensor:
    """(K, C) values (Vh, C) of the head's vertices at samples (K,), which show triangles (K,)."""
    corners = atelier.model.head_triangles.index_select(0, triangle).mT
    return blended(table.mT.contiguous(), corners, rows_of(scene.weights, samples))


def _classes(atelier: Atelier, scene: scenes.Scene, weave: Tensor) -> Tensor:
    """(N,) index into CLASSES of the samples; weave: (M, 4) of the people, see `Skin`."""
    kinds = {"mouth": "mouth", "tongue": "mouth", "eye_left": "eyes", "eye_right": "eyes"}
    out = torch.full_like(scene.item, CLASSES.index("cloth"))  # the chest below the face model
    own, triangle = _of_head(atelier, scene)
    table = torch.tensor([CLASSES.index(kinds.get(part, "skin")) for part in PARTS], device=out.device)
    found = table.index_select(0, atelier.head.part.index_select(0, triangle))
    image, (collar, depth) = scene.image.index_select(0, own), weave[:, 2:].unbind(1)
    zones, rest = atelier.zones, atelier.model.head_rest
    skin = found == CLASSES.index("skin")
    some = (skin & zones.lips.index_select(0, triangle)).nonzero()[:, 0]
    place = _blended(rest, atelier, scene, own.index_select(0, some), triangle.index_select(0, some))
    found[some[lip_depth(place) > 0]] = CLASSES.index("lips")
    highest = (collar - depth.clamp(max=0) + SLACK).index_select(0, image)
    some = (skin & (zones.low.index_select(0, triangle) + highest > 0)).nonzero()[:, 0]
    place = _blended(rest, atelier, scene, own.index_select(0, some), triangle.index_select(0, some))
    image = image.index_select(0, some)
    below = under_collar(place, collar.index_select(0, image), depth.index_select(0, image))
    found[some[below > 0]] = CLASSES.index("cloth")
    out.index_copy_(0, own, found)
    worn = (scene.item >= 0).nonzero()[:, 0]
    names = ["hair" if k in HAIRY else "mouth" if k == "teeth" else "accessory" for k in KINDS]
    table = torch.tensor([CLASSES.index(name) for name in names], device=out.device)
    kind = atelier.wardrobe.kind.index_select(0, scene.item.index_select(0, worn))
    return out.index_copy_(0, worn, table.index_select(0, kind))


def _vote(classes: Tensor, fragments: Fragments, k: int) -> Tensor:
    """(M, S, S) the class of most of the k × k samples of each pixel; of as many, the first.

    Each class is counted in bits of its own; empty samples are background.
    """
    shift = (k**2).bit_length() * torch.arange(len(CLASSES), device=classes.device)
    samples = torch.ones(math.prod(fragments.shape), dtype=torch.int64, device=classes.device)
    samples.index_copy_(0, fragments.covered, (1 << shift).index_select(0, classes))
    samples = samples.view(fragments.shape)
    total = sum(samples[:, i::k, j::k] for i in range(k) for j in range(k))
    most, best = torch.zeros_like(total), torch.zeros_like(total)
    for number, places in enumerate(shift.tolist()):
        count = (total >> places) & ((1 << (k**2).bit_length()) - 1)
        best = torch.where(count > most, number, best)
        most = torch.maximum(most, count)
    return best
