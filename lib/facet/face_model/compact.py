"""The face model at few vertices, with colours: what is rendered and fitted thousands of times.

    S = S̄ + A_id α_id + A_exp α_exp,   T = T̄ + B β   (Blanz & Vetter 1999)

Its shapes and landmarks are exactly those of `FaceModel` at the vertices it keeps; only triangles are fewer.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from facet.face_model.albedo import albedo_modes
from facet.face_model.decimate import decimate
from facet.face_model.model import FaceModel

VERTICES = 700
SHARE = 0.995  # of the variance of shapes and of skin colours, that the coefficients describe
_NEAREST = 3  # vertices of the rendered head that a colour is read from


@dataclass(frozen=True)
class CompactFace:
    """A small morphable model of shape and colour.

    Attributes:
        mean: (V, 3) mm; identity: (K, V, 3) mm a standard deviation; expression: (E, V, 3) at full strength.
        albedo: (V, 3) RGB in [0, 1]; texture: (T, V, 3) RGB a standard deviation.
        triangles: (F, 3) all of them; shown: (F', 3) without eye openings, lips' gap and neck: what a
            photograph shows as this face's skin.
        landmarks: (68,) vertices; vertices: (V,) of the full face patch.
    """

    mean: Tensor
    identity: Tensor
    expression: Tensor
    albedo: Tensor
    texture: Tensor
    triangles: Tensor
    shown: Tensor
    landmarks: Tensor
    vertices: Tensor

    def shape(self, alpha_id: Tensor, alpha_exp: Tensor) -> Tensor:
        """(B, V, 3) mm, model frame, of (B, ≤ K) standard deviations and (B, E) strengths."""
        return blended(self.mean, (alpha_id, self.identity), (alpha_exp, self.expression))

    def colours(self, beta: Tensor) -> Tensor:
        """(B, V, 3) albedo of (B, ≤ T) standard deviations; not clamped."""
        return blended(self.albedo, (beta, self.texture))

    def to(self, device: str | torch.device | torch.dtype) -> CompactFace:
        """On another device, or in another precision (indices stay)."""

        def moved(value: Tensor) -> Tensor:
            stays = isinstance(device, torch.dtype) and not value.is_floating_point()
            return value if stays else value.to(device)

        return CompactFace(**{f.name: moved(getattr(self, f.name)) for f in fields(self)})


def blended(mean: Tensor, *parts: tuple[Tensor, Tensor]) -> Tensor:
    """(B, V, C) mean (V, C) + Σ coefficients (B, ≤ K) · modes (K, V, C): one matrix product a part."""
    flat = mean.flatten()
    for coefficients, modes in parts:
        flat = flat + coefficients @ modes[: coefficients.shape[1]].flatten(1)
    return flat.view(-1, *mean.shape)


def counts(model: FaceModel, share: float = SHARE) -> dict[str, int]:
    """How many coefficients describe that share of the variance: identity, expression (all), texture."""
    return {
        "identity": _enough(model.share[: model.identity_modes], share),
        "expression": len(model.expression_names),
        "texture": _enough(albedo_modes(model).share, share),
    }


def compact_face(model: FaceModel, vertices: int) -> CompactFace:
    """The face model at so many vertices, with all of its own identity modes and albedo modes."""
    kept = decimate(model, vertices)
    shapes = torch.cat((model.identity[: model.identity_modes], model.expression))
    fine = [model._limit(model.face_matrix, some)[:, kept.vertices] for some in shapes.split(16)]
    identity, expression = torch.cat(fine).split((model.identity_modes, len(model.expression)))
    albedo = albedo_modes(model)
    colours = torch.cat((albedo.mean[None], albedo.modes))
    colours = _at_face(model, colours, albedo.skin, model.mean[kept.vertices])
    face = (model.weight[kept.vertices] > 0)[kept.triangles].all(dim=1) & (kept.part == 0)
    return CompactFace(
        mean=model.mean[kept.vertices],
        identity=identity.contiguous(),
        expression=expression.contiguous(),
        albedo=colours[0],
        texture=colours[1:],
        triangles=kept.triangles,
        shown=kept.triangles[face].contiguous(),
        landmarks=kept.landmarks,
        vertices=kept.vertices,
    )


def _at_face(model: FaceModel, colours: Tensor, skin: Tensor, points: Tensor) -> Tensor:
    """(N, P, 3) colours (N, Vh, 3) of the rendered head's skin, read at points (P, 3) of the mean face."""
    head = model.blend_head(model.identity.new_zeros(1, 1))[0]
    low, high = model.mean.amin(dim=0) - 5, model.mean.amax(dim=0) + 5
    near = (skin & (head > low).all(dim=1) & (head < high).all(dim=1)).nonzero()[:, 0]
    out = []
    for some in points.split(2048):
        distance, found = torch.cdist(some, head[near]).topk(_NEAREST, largest=False)
        weight = 1 / distance.clamp(min=1e-3)
        weight = weight / weight.sum(dim=1, keepdim=True)
        out.append((colours[:, near[found]] * weight[..., None]).sum(dim=2))
    return torch.cat(out, dim=1)


def _enough(share: Tensor, wanted: float) -> int:
    """How many of the first modes hold the wanted share of all variance."""
    return min(len(share), int((share.cumsum(0) < wanted).sum()) + 1)
