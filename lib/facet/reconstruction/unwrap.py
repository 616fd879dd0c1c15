"""The photo laid onto the face: a texture in UV space, and how well the photo shows each place.

What the photo does not show (turned away, behind the nose, outside of the image) is filled from the mirrored
side of the face, and where that is unseen too, from the smooth continuation of what is seen.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from facet.rendering import push_pull, rasterise, vertex_normals

# Cosine between normal and view below which a place counts as unseen, and from which it counts as fully seen.
GRAZING, FACING = 0.08, 0.35
# Side of the image in which hidden places are found, in pixels.
DEPTH_SIDE = 256


@dataclass(frozen=True)
class Texture:
    """A texture in UV space (u right, v down, texel centres at (j + ½)/T).

    Attributes:
        image: (3, T, T) float32 RGB in [0, 1].
        seen: (T, T) float32, 0 where the photo does not show the place, 1 where it does.
    """

    image: Tensor
    seen: Tensor


def unwrap(
    photo: np.ndarray,
    position_map: Tensor,
    vertices: Tensor,
    triangles: Tensor,
    uv: Tensor,
    *,
    size: int = 512,
) -> Texture:
    """Texture of a reconstructed face from the photo it was reconstructed from.

    Args:
        photo: (H, W, 3) uint8 RGB.
        position_map: (3, S, S) in pixels of the photo, image frame.
        vertices: (V, 3) of the same surface, same frame.
        triangles: (F, 3) int64, outward in the model frame.
        uv: (V, 2).
        size: T, side of the texture.
    """
    texels = F.interpolate(position_map[None], size=(size, size), mode="bilinear", align_corners=False)[0]
    normals = vertex_normals(vertices[None], triangles, frame="image")[0]
    facing = _facing(texels, normals, uv)
    seen = ((facing - GRAZING) / (FACING - GRAZING)).clamp(0.0, 1.0)
    seen = seen * _in_front(texels, vertices, triangles) * _inside(texels, photo.shape)
    seen = _soften(seen)
    image = _sample(photo, texels)
    return Texture(_fill(image, seen), seen)


def at_uv(values: Tensor, uv: Tensor) -> Tensor:
    """(C, T, T) values read bilinearly at (V, 2) texture coordinates → (V, C)."""
    grid = (2.0 * uv - 1.0)[None, :, None]
    return F.grid_sample(values[None], grid, padding_mode="border", align_corners=False)[0, :, :, 0].T


def _facing(texels: Tensor, normals: Tensor, uv: Tensor) -> Tensor:
    """(T, T) cosine between the surface normal and the direction to the camera, from the map's own tangents.

    The sign of (∂p/∂u × ∂p/∂v) is the layout's; the vertices' outward normals tell it.
    """
    du = torch.gradient(texels, dim=2)[0]
    dv = torch.gradient(texels, dim=1)[0]
    cross = F.normalize(torch.linalg.cross(du, dv, dim=0), dim=0, eps=1e-12)
    sign = (at_uv(cross, uv) * normals).sum().sign()
    return cross[2] * sign


def _in_front(texels: Tensor, vertices: Tensor, triangles: Tensor) -> Tensor:
    """(T, T) 1 where no other part of the face lies in front (z-buffer), else 0."""
    low, high = vertices[:, :2].amin(dim=0), vertices[:, :2].amax(dim=0)
    side = (high - low).max().clamp(min=1e-6)
    scale = (DEPTH_SIDE - 1) / side

    def place(points: Tensor) -> Tensor:
        return torch.cat(((points[..., :2] - low) * scale, points[..., 2:] * scale), dim=-1)

    depth = rasterise(place(vertices)[None], triangles, DEPTH_SIDE).depth  # (1, D, D)
    # The nearest surface in a small neighbourhood would hide slopes; the farthest lets them pass.
    farthest = -F.max_pool2d(-depth.clamp(min=-1e6), 3, stride=1, padding=1)
    points = place(texels.permute(1, 2, 0))
    grid = 2.0 * (points[..., :2] + 0.5) / DEPTH_SIDE - 1.0
    front = F.grid_sample(farthest[None], grid[None], mode="nearest", align_corners=False)[0, 0]
    return (points[..., 2] >= front - 0.015 * DEPTH_SIDE).to(texels.dtype)


def _inside(texels: Tensor, shape: tuple[int, ...]) -> Tensor:
    """(T, T) 1 where the place falls onto the photo, else 0."""
    x, y = texels[0], texels[1]
    return ((x >= 0) & (y >= 0) & (x <= shape[1] - 1) & (y <= shape[0] - 1)).to(texels.dtype)


def _soften(seen: Tensor) -> Tensor:
    """Shrink the seen part a little and blur its edge, so that no seam shows and no background leaks in."""
    reach = max(3, seen.shape[0] // 64) | 1
    shrunk = -F.max_pool2d(-seen[None, None], reach, stride=1, padding=reach // 2)
    padded = F.pad(shrunk, (reach // 2,) * 4, mode="replicate")
    return F.avg_pool2d(padded, reach, stride=1)[0, 0]


def _sample(photo: np.ndarray, texels: Tensor) -> Tensor:
    """(3, T, T) photo colours at the texels' pixels; only the part that the face covers is read."""
    height, width = photo.shape[:2]
    x0 = int(texels[0].amin().floor().clamp(0, width - 1))
    y0 = int(texels[1].amin().floor().clamp(0, height - 1))
    x1 = int(texels[0].amax().ceil().clamp(x0, width - 1)) + 1
    y1 = int(texels[1].amax().ceil().clamp(y0, height - 1)) + 1
    part = torch.from_numpy(np.ascontiguousarray(photo[y0:y1, x0:x1])).to(texels.device)
    part = part.permute(2, 0, 1).to(torch.float32) / 255.0
    shrink = max(1, round(max(x1 - x0, y1 - y0) / (2.0 * texels.shape[1])))
    if shrink > 1:  # a face much larger than the texture: average, then read
        part = F.avg_pool2d(part[None], shrink, ceil_mode=True)[0]
    x = (texels[0] - x0 + 0.5) / shrink
    y = (texels[1] - y0 + 0.5) / shrink
    extent = texels.new_tensor((part.shape[2], part.shape[1]))
    grid = 2.0 * torch.stack((x, y), dim=-1) / extent - 1.0
    return F.grid_sample(part[None], grid[None], padding_mode="border", align_corners=False)[0]


def _fill(image: Tensor, seen: Tensor) -> Tensor:
    """The image where it is seen, its mirror image where that is, and a smooth continuation elsewhere."""
    mirrored, mirrored_seen = image.flip(2), seen.flip(1)
    both = seen + (1.0 - seen) * mirrored_seen
    joined = seen * image + (1.0 - seen) * mirrored_seen * mirrored
    return push_pull(joined[None], both[None, None])[0].clamp(0.0, 1.0)
