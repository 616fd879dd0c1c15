"""UV position maps without rasterising: bases sampled at the texels, so that a map is one matrix product.

Pos(u, v) = (x, y, z) of the surface point whose UV is (u, v) (Feng et al. 2018; TwoView eq. 2.10). Texel
(i, j) of an S×S map samples u = (j + ½)/S, v = (i + ½)/S. Positions are in the frame that the 3×4 matrix
leads to: pixels of the crop, z toward the camera and measured from the rim's rearmost point.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from facet.face_model.model import FaceModel


@dataclass
class UVSampler:
    """The face model at the texels of an S×S map, and at the patch's rim, where its depth is least.

    Attributes:
        size: S; mean: (3·P,), identity: (K, 3·P) and expression: (52, 3·P) at the P = S² + R points,
        coordinate by coordinate.
        corners: (P, 3) vertices of the patch around each point; weights: (P, 3) of theirs.
    """

    size: int
    mean: Tensor
    identity: Tensor
    expression: Tensor
    corners: Tensor
    weights: Tensor

    def points(self, alpha_id: Tensor, alpha_exp: Tensor | None = None) -> Tensor:
        """(B, 3, S² + R) positions at the texels and along the rim, mm, model frame: one matrix product."""
        flat = torch.addmm(self.mean, alpha_id, self.identity[: alpha_id.shape[1]])
        if alpha_exp is not None:
            flat = torch.addmm(flat, alpha_exp, self.expression)
        return flat.view(len(alpha_id), 3, -1)

    def sampled(self, values: Tensor) -> Tensor:
        """(B, C, S² + R) values (B, V, C) of the patch's vertices, at the texels and along the rim."""
        return _sampled(values, self.corners, self.weights).transpose(1, 2)

    def positions(self, alpha_id: Tensor, alpha_exp: Tensor | None = None) -> Tensor:
        """(B, 3, S²) positions at the texels."""
        return self.points(alpha_id, alpha_exp)[:, :, : self.size**2]

    def map(self, alpha_id: Tensor, alpha_exp: Tensor | None, matrix: Tensor) -> Tensor:
        """(B, 3, S, S) position maps under affine `matrix` (B, 3, 4), z from the rim's rearmost point."""
        return self.as_map(matrix[:, :, :3] @ self.points(alpha_id, alpha_exp) + matrix[:, :, 3:])

    def as_map(self, points: Tensor) -> Tensor:
        """(B, 3, S, S) maps of image-frame `points` (B, 3, S² + R), z from the rim's minimum."""
        texels = points[:, :, : self.size**2].clone()
        texels[:, 2] -= points[:, 2, self.size**2 :].amin(dim=1, keepdim=True)
        return texels.view(-1, 3, self.size, self.size)


def sampler(model: FaceModel, size: int, *, modes: int | None = None) -> UVSampler:
    """Sample the model's bases at the texels of a size×size map.

    `modes` is how many identity modes it holds (default: the model's own).

    At 128² and 100 modes this holds 30 MB; at 256² 120 MB. It is made on load and never stored.
    """
    triangle, weights = texel_lookup(model, size)
    alone = weights.new_tensor([1.0, 0.0, 0.0]).expand(len(model.rim), 3)
    corners = torch.cat([model.triangles[triangle], model.rim[:, None].expand(-1, 3)])  # (S² + R, 3)
    return sampler_at(model, corners, torch.cat([weights, alone]), size=size, modes=modes)


def sampler_at(
    model: FaceModel, corners: Tensor, weights: Tensor, *, size: int = 0, modes: int | None = None
) -> UVSampler:
    """A sampler of any points of the surface: weights (P, 3) of the patch's vertices corners (P, 3)."""
    modes = model.identity_modes if modes is None else modes
    shapes = torch.cat([model.coarse_mean[None], model.identity[:modes], model.expression])
    fine = []
    for chunk in shapes.split(16):
        vertices = model._limit(model.face_matrix, chunk)  # (k, V, 3)
        fine.append(_sampled(vertices, corners, weights).permute(0, 2, 1).flatten(1))
    fine = torch.cat(fine)
    identity, expression = fine[1 : 1 + modes].contiguous(), fine[1 + modes :].contiguous()
    return UVSampler(size, fine[0], identity, expression, corners, weights)


def texel_lookup(model: FaceModel, size: int) -> tuple[Tensor, Tensor]:
    """(S²,) the triangle that holds each texel's centre, and (S², 3) its barycentric coordinates there.

    Triangles of the embedding tile the square, so every texel has exactly one (on an edge, the lower number).
    """
    return _lookup(model.uv.double() * size - 0.5, model.triangles, size)  # texel (i, j) at (j, i)


def node_lookup(model: FaceModel, cells: int) -> tuple[Tensor, Tensor]:
    """As `texel_lookup`, for the (cells + 1)² nodes u = j/cells, v = i/cells, the rim among them."""
    return _lookup(model.uv.double() * cells, model.triangles, cells + 1)


def _lookup(uv: Tensor, triangles: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Triangle and barycentric coordinates of every point (j, i) of a size × size grid, uv in its units."""
    corner = uv[triangles]  # (F, 3, 2)
    low = corner.amin(dim=1).ceil().clamp(0, size - 1).long()
    high = corner.amax(dim=1).floor().clamp(0, size - 1).long()
    span = (high - low + 1).clamp(min=0)
    count = span[:, 0] * span[:, 1]
    face = torch.repeat_interleave(torch.arange(len(count), device=uv.device), count)
    first = torch.repeat_interleave(count.cumsum(0) - count, count)
    inside = torch.arange(len(face), device=uv.device) - first
    j = low[face, 0] + inside % span[face, 0]
    i = low[face, 1] + inside // span[face, 0]
    point = torch.stack([j, i], dim=1).double()
    a, b, c = corner[face].unbind(dim=1)
    area = _cross(b - a, c - a)
    weights = torch.stack(
        [_cross(b - point, c - point), _cross(c - point, a - point), _cross(a - point, b - point)], dim=1
    )
    weights = weights / area[:, None]
    score = weights.amin(dim=1)
    texel = i * size + j
    order = torch.argsort(score, stable=True)
    rank = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=uv.device))
    # the best-placed triangle wins; plain indexed writes of repeated texels land in any order on two threads
    best = order[
        torch.zeros(size**2, dtype=torch.long, device=uv.device).scatter_reduce_(0, texel, rank, "amax")
    ]
    if score[best].min() < -1e-6 or len(texel.unique()) != size**2:
        raise ValueError("a texel lies in no triangle: the UV layout does not tile the unit square.")
    chosen = weights[best].clamp(0, 1)
    return face[best], (chosen / chosen.sum(dim=1, keepdim=True)).float()


def texel_weights(model: FaceModel, size: int) -> Tensor:
    """(S, S) UV weight mask: the nearest corner's weight, 16 at the 68 landmarks' texels; symmetric."""
    triangle, weights = texel_lookup(model, size)
    vertex = model.triangles[triangle].gather(1, weights.argmax(dim=1, keepdim=True))[:, 0]
    mask = model.weight[vertex]
    mask[model.triangle_part[triangle] == 2] = 0.0
    mask = mask.view(size, size)
    mask = torch.minimum(mask, mask.flip(1))
    texel = (model.uv[model.landmarks] * size).long().clamp(0, size - 1)
    texel = torch.cat([texel, torch.stack([size - 1 - texel[:, 0], texel[:, 1]], dim=1)])
    mask[texel[:, 1], texel[:, 0]] = 16.0
    return mask


def vertices_from_map(position_map: Tensor, uv: Tensor) -> Tensor:
    """(B, V, 3) the map (B, 3, S, S) read at each vertex's UV (V, 2): bilinear, clamped at the rim."""
    grid = (uv * 2 - 1).expand(len(position_map), 1, -1, 2).to(position_map)
    sampled = torch.nn.functional.grid_sample(
        position_map, grid, mode="bilinear", padding_mode="border", align_corners=False
    )
    return sampled[:, :, 0].transpose(1, 2)


def _sampled(values: Tensor, corners: Tensor, weights: Tensor) -> Tensor:
    """(B, P, C) Σ_k w_k values (B, V, C) of three corners each."""
    return (values[:, corners] * weights[None, :, :, None]).sum(dim=2)


def _cross(a: Tensor, b: Tensor) -> Tensor:
    return a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
