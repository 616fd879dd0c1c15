"""Shaded pictures of meshes by our own rasteriser, as arrays: nothing here draws axes or needs matplotlib.

Open meshes are shown with a smooth outline (`outline`), the face patch's own is a saw.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from facet.geometry import image_flip, rotation_matrix
from facet.outline import smooth_outline
from facet.rendering import downsample, interpolate, rasterise, vertex_normals

VIEWS = {"front": 0.0, "three-quarter": 40.0, "side": 80.0}
_CLAY = (0.83, 0.78, 0.73)
_SUPERSAMPLING = 3


def render_mesh(
    vertices,
    triangles: Tensor,
    size: int = 320,
    *,
    view: str | float | tuple[float, float] = "front",
    pose: Sequence[float] | None = None,
    colors=None,
    relief: float = 1.0,
    like=None,
) -> np.ndarray:
    """A shaded picture of a mesh on white, turned and fitted to the picture.

    Args:
        vertices: (V, 3), image frame.
        triangles: (F, 3).
        size: side of the picture in pixels.
        view: "front" (as the camera sees it), "three-quarter", "side", or yaw, or (yaw, pitch) in degrees.
        pose: the head's (yaw, pitch, roll) in degrees, undone first.
        colors: (V, 3) in [0, 1]; None is clay.
        relief: how much the light shapes it; 0 shows the bare colours, as a colour bar has them.
        like: (V, 3) of another mesh, image frame: this one is shown at its scale and place. Of a prediction
            and the truth, say, which else would each be fitted by its own farthest vertex. None fits itself.

    Returns:
        (size, size, 3) float in [0, 1].
    """
    vertices = torch.as_tensor(as_numpy(vertices), dtype=torch.float32)
    yaw, pitch = view if isinstance(view, tuple) else (VIEWS[view] if isinstance(view, str) else view, 0.0)
    flip = image_flip(vertices)
    turn = rotation_matrix(yaw, pitch, 0.0)
    if pose is not None:
        turn = turn @ rotation_matrix(*(float(a) for a in pose)).mT
    like = vertices if like is None else torch.as_tensor(as_numpy(like), dtype=torch.float32)
    centre, turn = like.mean(dim=0), (flip @ turn @ flip).mT
    radius = torch.linalg.vector_norm(like - centre, dim=1).amax()  # the same in every view
    outline = ((like - centre) @ turn)[:, :2]
    middle = (outline.amin(dim=0) + outline.amax(dim=0)) / 2
    scale = 0.47 * size / radius
    placed = ((vertices - centre) @ turn - torch.cat((middle, middle.new_zeros(1)))) * scale
    placed = placed + torch.tensor(((size - 1) / 2, (size - 1) / 2, 0.0))
    return draw_mesh(placed, triangles, size, colors=colors, relief=relief)


def draw_mesh(vertices: Tensor, triangles, size, *, colors=None, relief: float = 1.0) -> np.ndarray:
    """A shaded picture on white of a mesh (V, 3) that is in its place: image frame, pixels.

    Args:
        vertices: (V, 3); triangles: (F, 3); size: side, or (height, width), in pixels.
        colors: see :func:`render_mesh`; so is relief.

    Returns:
        (H, W, 3) float in [0, 1].
    """
    colour_layer, alpha = _shaded(vertices, torch.as_tensor(triangles), size, colors, relief)
    return (colour_layer + (1 - alpha)).clamp(0, 1).permute(1, 2, 0).numpy()


def overlay_mesh(image, vertices, triangles: Tensor, *, opacity: float = 0.75, colors=None) -> np.ndarray:
    """The mesh on its own photo, where the vertices say it is; (S, S, 3) float in [0, 1]."""
    photo = torch.as_tensor(image_array(image)).permute(2, 0, 1)
    placed = torch.as_tensor(as_numpy(vertices), dtype=torch.float32)
    colour_layer, alpha = _shaded(placed, torch.as_tensor(triangles), photo.shape[1:], colors)
    mixed = photo * (1 - opacity * alpha) + opacity * colour_layer
    return mixed.clamp(0, 1).permute(1, 2, 0).numpy()


def image_array(image) -> np.ndarray:
    """(H, W, 3) float in [0, 1] from H×W×3 or 3×H×W, uint8 or float, array or tensor; grey is repeated."""
    array = as_numpy(image)
    array = array.astype(np.float32) / 255 if array.dtype == np.uint8 else array.astype(np.float32)
    if array.ndim == 2:
        array = np.repeat(array[:, :, None], 3, axis=2)
    if array.shape[-1] != 3 and array.shape[0] == 3:
        array = array.transpose(1, 2, 0)
    if array.ndim != 3 or array.shape[-1] != 3:
        raise ValueError(f"an image must be (H, W, 3) or (3, H, W), got {array.shape}")
    return array.clip(0, 1)


def as_numpy(values) -> np.ndarray:
    """An array of a tensor (of any device, without its graph) or of anything array-like."""
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)


def _shaded(placed: Tensor, triangles: Tensor, size, colors, relief: float = 1.0) -> tuple[Tensor, Tensor]:
    """(3, H, W) shaded colours times coverage, and coverage (1, H, W)."""
    factor = _SUPERSAMPLING
    placed = torch.from_numpy(smooth_outline(as_numpy(placed), as_numpy(triangles)))
    height, width = (size, size) if isinstance(size, int) else size
    fine = placed.clone()
    fine[:, :2] = (placed[:, :2] + 0.5) * factor - 0.5
    fragments = rasterise(fine[None], triangles, (height * factor, width * factor), cull_backfaces=False)
    normals = vertex_normals(placed[None], triangles, frame="image")
    normals = functional.normalize(interpolate(fragments, triangles, normals), dim=-1)
    albedo = placed.new_tensor(_CLAY).expand(len(placed), 3) if colors is None else as_numpy(colors)
    albedo = interpolate(fragments, triangles, torch.as_tensor(albedo).float()[None])
    inside = _seen_from_inside(fine, triangles)[fragments.triangle.clamp_min(0)]
    light, gloss = _light(torch.where(inside[..., None], -normals, normals))
    light = torch.where(inside, 0.55 * light, 1 - relief + relief * light)
    picture = albedo * light[..., None] + (relief * gloss * ~inside)[..., None]
    layers = torch.cat((picture.clamp(0, 1), torch.ones_like(picture[..., :1])), dim=-1)
    layers = (layers * fragments.mask[..., None]).permute(0, 3, 1, 2)
    layers = downsample(layers, factor)[0]
    return layers[:3], layers[3:]


def _seen_from_inside(vertices: Tensor, triangles: Tensor) -> Tensor:
    """(F,) bool: the camera sees the triangle's inner side (its doubled area on the screen is positive)."""
    a, b, c = vertices[:, :2][triangles].unbind(dim=1)
    return (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0] > 0


def _light(normals: Tensor) -> tuple[Tensor, Tensor]:
    """Diffuse light (...) of a key, a fill and the sky, and a soft highlight (...), for (..., 3) normals."""
    lamps = normals.new_tensor([[-0.45, -0.55, 0.70], [0.75, -0.05, 0.45], [0.0, -1.0, 0.0]])
    lamps = functional.normalize(lamps, dim=1)  # toward each light; x right, y down, z toward the camera
    key, fill, sky = (normals @ lamps.T).unbind(dim=-1)
    halfway = functional.normalize(lamps[0] + normals.new_tensor([0.0, 0.0, 1.0]), dim=0)
    diffuse = 0.36 + 0.64 * key.clamp_min(0) + 0.26 * fill.clamp_min(0) + 0.07 * sky
    return diffuse, 0.10 * (normals @ halfway).clamp_min(0) ** 24
