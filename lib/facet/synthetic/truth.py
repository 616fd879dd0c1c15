"""The ground truth of portraits, pixel by pixel, from the same fragments as the picture."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from facet.face_model import PARTS, FaceModel, UVSampler
from facet.face_model.wearables import KINDS
from facet.rendering.interpolation import downsample, spread
from facet.synthetic import scene as scenes
from facet.synthetic.beards import Beards
from facet.synthetic.occluders import paint_occluders
from facet.synthetic.portrait import Atelier, Cast, Shots, illuminate
from facet.synthetic.render import truth_texels, truth_vertices
from facet.synthetic.skin_chart import lip_depth
from facet.synthetic.skin_paint import under_collar

CLASSES = ("background", "skin", "lips", "mouth", "eyes", "hair", "accessory", "cloth", "occluder")
HAIRY = ("hair", "beard", "moustache", "brows", "lashes")
NEAR = 3.0  # mm that a point may lie behind what its pixel shows and still be seen


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
) -> Truth:
    """The truth of the pictures that `portrait.photograph` takes of the same tables.

    Args:
        sampler: of the position maps, at any size.
        size: S; shift: pixels from the crop's corner to the picture's.
        beards: whose volume vertices and maps have; None for bare skin.
    """
    model, views, k = atelier.model, shots.views, scenes.SUPERSAMPLING
    scene, _, albedo = illuminate(atelier, cast, shots, size=size, shift=shift)
    depth = scene.points[:, 2:] * views.scale[scene.image, None]
    layers = [depth, scene.normals, albedo, _mean_place(atelier, scene), torch.ones_like(depth)]
    planes = downsample(spread(torch.cat(layers, dim=1), scene.fragments).permute(0, 3, 1, 2), k)
    empty = planes[:, -1:] == 0
    planes = planes / planes[:, -1:].clamp(min=1e-6)
    hidden = paint_occluders(planes.new_zeros(len(planes), 3, size, size), shots.occluder)[1][:, 0] > 0.5
    segmentation = _vote(
        _classes(atelier, scene, cast.skin.weave[views.subject]),
        scene.fragments.triangle.shape,
        scene.fragments.covered,
        k,
    )
    segmentation[hidden] = CLASSES.index("occluder")
    pncc, shown = planes[:, 7:10], planes[:, 10:11] > 0.5
    relief = None if beards is None else beards.of_views(cast.subjects, cast.outfit, views)
    chosen = cast.subjects.rows(views.subject)
    exact = model.blend(chosen.alpha_id, chosen.alpha_exp)
    exact, _ = views.project(exact if relief is None else exact + relief)
    texels = truth_texels(sampler, cast.subjects, views, relief)
    seen = Seen(scene.fragments.depth / k, hidden, views.scale, shift)
    maps = sampler.as_map(texels.transpose(1, 2))
    side = maps.shape[-1]
    return Truth(
        position_map=maps,
        vertices=truth_vertices(model, cast.subjects, views, relief),
        depth=planes[:, 0].masked_fill(empty[:, 0], torch.nan),
        normals=F.normalize(planes[:, 1:4], dim=1, eps=1e-6).masked_fill(empty, 0),
        pncc=pncc * shown,
        albedo=planes[:, 4:7].masked_fill(empty, 0),
        segmentation=segmentation.to(torch.uint8),
        landmark_seen=seen(exact[:, model.landmarks]),
        texel_seen=seen(texels[:, : side * side]).view(-1, side, side),
    )


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


def _mean_place(atelier: Atelier, scene: scenes.Scene) -> Tensor:
    """(N, 4) `mean_place` of the samples; 0 for those of anything but the face's skin."""
    place = atelier.mean_place
    out = place.new_zeros(len(scene.item), 4)
    own = ((scene.item < 0) & (scene.triangle < len(atelier.model.head_triangles))).nonzero()[:, 0]
    corners = atelier.model.head_triangles[scene.triangle[own]]
    found = (place[corners] * scene.weights[own, :, None]).sum(1)
    out[own] = torch.where(found[:, 3:] > 0.999, found, 0)
    return out


def _classes(atelier: Atelier, scene: scenes.Scene, weave: Tensor) -> Tensor:
    """(N,) index into CLASSES of the samples; weave: (M, 4) of the people, see `Skin`."""
    model, out = atelier.model, torch.zeros_like(scene.item)
    for name in ("skin", "body", "mouth", "tongue", "eye_cavity", "eye_left", "eye_right"):
        kind = {"mouth": "mouth", "tongue": "mouth", "eye_left": "eyes", "eye_right": "eyes"}.get(
            name, "skin"
        )
        own = (scene.item < 0) & (
            atelier.head.part[scene.triangle.clamp(max=atelier.head.faces - 1)] == PARTS.index(name)
        )
        out[own] = CLASSES.index(kind)
    own = ((scene.item < 0) & (scene.triangle < len(model.head_triangles))).nonzero()[:, 0]
    corners = model.head_triangles[scene.triangle[own]]
    rest = (model.head_rest[corners] * scene.weights[own, :, None]).sum(1)
    skin = out[own] == CLASSES.index("skin")
    out[own[skin & (lip_depth(rest) > 0)]] = CLASSES.index("lips")
    under = under_collar(rest[:, None], *weave[scene.image[own], 2:, None].unbind(1))[:, 0]
    out[own[skin & (under > 0)]] = CLASSES.index("cloth")
    out[(scene.item < 0) & (scene.triangle >= len(model.head_triangles))] = CLASSES.index("cloth")
    worn = (scene.item >= 0).nonzero()[:, 0]
    names = ["hair" if k in HAIRY else "mouth" if k == "teeth" else "accessory" for k in KINDS]
    table = torch.tensor([CLASSES.index(name) for name in names], device=out.device)
    out[worn] = table[atelier.wardrobe.kind[scene.item[worn]]]
    return out


def _vote(classes: Tensor, shape: tuple[int, ...], covered: Tensor, k: int) -> Tensor:
    """(M, S, S) the class of most of the k × k samples of each pixel."""
    samples = torch.zeros(shape.numel(), dtype=torch.int64, device=classes.device)
    votes = F.one_hot(samples.index_copy(0, covered, classes).view(shape), len(CLASSES))
    return downsample(votes.permute(0, 3, 1, 2).float(), k).argmax(dim=1)
