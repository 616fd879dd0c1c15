"""Pictures of subjects, and their truth."""

from dataclasses import dataclass

import torch
from torch import Tensor

from facet.face_model import FaceModel, UVSampler
from facet.face_model import files as cache
from facet.face_model.skins import decode
from facet.rendering.fragments import Fragments
from facet.rendering.interpolation import downsample, interpolate_covered, spread
from facet.rendering.normals import vertex_normals
from facet.rendering.rasteriser import rasterise
from facet.rendering.shading import shade
from facet.rendering.texture import Pyramid, pyramid
from facet.synthetic.backgrounds import background
from facet.synthetic.paint import paint
from facet.synthetic.subjects import Subjects, Views

CONTEXT = 1.25  # a picture shows this much more than the crop, so that augmentation has something to turn in
SUPERSAMPLING = 2
SHININESS = 18.0


def context_size(image_size: int) -> int:
    """Side of the window that is rendered around a crop, an even number of pixels wider than it."""
    return image_size + 2 * round(image_size * (CONTEXT - 1) / 2)


@dataclass
class Studio:
    """What rendering needs besides subjects and views: the face model and the skins' pyramid."""

    model: FaceModel
    skins: Pyramid

    @classmethod
    def open(cls, model: FaceModel, device: str | torch.device = "cpu") -> "Studio":
        """Load the cached skins beside a loaded face model."""
        from safetensors.torch import load_file

        stored = load_file(cache.ensure().skins)
        return cls(model, pyramid(decode(stored["textures"], stored["offsets"]).to(device), 4))


@torch.no_grad()
def render(
    studio: Studio, subjects: Subjects, views: Views, *, size: int, shift: float, split: str = "train"
) -> Tensor:
    """Pictures (M, 3, size, size) in [0, 1] of the views' subjects.

    Args:
        size: side of the picture; shift: pixels from the crop's corner to the picture's (both ways).
        split: family of backgrounds.
    """
    model, chosen = studio.model, subjects.rows(views.subject)
    head = model.blend_head(chosen.alpha_id, chosen.alpha_exp)
    k = SUPERSAMPLING
    points, inverse_w = views.project(head, shift)
    points = points * k + points.new_tensor([(k - 1) / 2, (k - 1) / 2, 0.0])
    fragments = rasterise(points, model.head_triangles, size * k, inverse_depth_w=inverse_w)
    albedo, gloss = paint(model, studio.skins, chosen, fragments)
    normals = vertex_normals(points, model.head_triangles, frame="image")
    normals = interpolate_covered(fragments, model.head_triangles, normals)
    colour = light(albedo, gloss, torch.nn.functional.normalize(normals, dim=-1), fragments, views)
    layers = spread(torch.cat([colour.clamp(0, 1), torch.ones_like(gloss)], dim=-1), fragments)
    layers = downsample(layers.permute(0, 3, 1, 2), k)
    behind = torch.cat(
        [
            background(torch.Generator().manual_seed(seed), 1, size, split=split)
            for seed in views.background.tolist()
        ]
    ).to(layers)
    return (layers[:, :3] + behind * (1 - layers[:, 3:])).clamp(0, 1)


def light(albedo: Tensor, gloss: Tensor, normals: Tensor, fragments: Fragments, views: Views) -> Tensor:
    """Colours (N, 3) of the covered pixels.

    Diffuse light, and the shine (Blinn 1977) of the key light and of one at the camera.
    """
    view = normals.new_tensor([0.0, 0.0, 1.0])
    key = torch.nn.functional.normalize(views.key_direction, dim=1)
    half = torch.nn.functional.normalize(key + view, dim=1)
    counts = fragments.mask.flatten(1).sum(dim=1).tolist()
    colours = []
    for b, (a, g, n) in enumerate(
        zip(albedo.split(counts), gloss.split(counts), normals.split(counts), strict=True)
    ):
        diffuse = shade(
            a[None, None], n[None, None], views.sh[b : b + 1], (key[b : b + 1], views.key_colour[b : b + 1])
        )
        shine = (n @ half[b]).clamp(min=0).pow(SHININESS)[:, None] * views.key_colour[b]
        shine = shine + n[:, 2:].clamp(min=0).pow(SHININESS) * views.sh[b, 0] * 0.25
        colours.append(diffuse[0, 0] + g * shine)
    return torch.cat(colours)


def truth_vertices(
    model: FaceModel, subjects: Subjects, views: Views, relief: Tensor | None = None
) -> Tensor:
    """(M, V, 3) face-patch vertices in the image frame, pixels of the crop.

    z is measured from the deepest vertex of the patch's rim, as in the maps. That is the patch's minimum, but
    in one profile view of twenty (|yaw| near 100°) a cheek lies behind it, by up to 2 % of the crop.

    Args:
        relief: (M, V, 3) mm, model frame, from the skin of each view to the surface asked for
            (`Beards.relief`); None is the skin.
    """
    return above_rim(model, truth_points(model, subjects, views, relief))


def truth_points(model: FaceModel, subjects: Subjects, views: Views, relief: Tensor | None = None) -> Tensor:
    """(M, V, 3) as `truth_vertices`, z from the origin."""
    chosen = subjects.rows(views.subject)
    face = model.blend(chosen.alpha_id, chosen.alpha_exp)
    return views.project(face if relief is None else face + relief)[0]


def above_rim(model: FaceModel, points: Tensor) -> Tensor:
    """Face-patch vertices (M, V, 3), z measured from the deepest of the rim."""
    deepest = points[:, model.rim, 2:].amin(dim=1, keepdim=True)
    return torch.cat([points[..., :2], points[..., 2:] - deepest], dim=-1)


def truth_maps(sampler: UVSampler, subjects: Subjects, views: Views, relief: Tensor | None = None) -> Tensor:
    """(M, 3, S, S) position maps of views in pixels of the crop; relief as in `truth_vertices`."""
    return sampler.as_map(truth_texels(sampler, subjects, views, relief).transpose(1, 2))


def truth_texels(
    sampler: UVSampler, subjects: Subjects, views: Views, relief: Tensor | None = None
) -> Tensor:
    """(M, S² + R, 3) the maps' texels and the rim, z from the origin: one matrix product, then the camera."""
    chosen = subjects.rows(views.subject)
    points = sampler.points(chosen.alpha_id, chosen.alpha_exp)
    points = points if relief is None else points + sampler.sampled(relief)
    return views.project(points.transpose(1, 2))[0]
