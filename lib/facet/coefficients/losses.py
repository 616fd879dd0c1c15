"""What a face fitted to a photograph has to answer for: the picture, 68 landmarks, and being likely.

    L = w_photo L_photo + w_landmarks L_landmarks + w_id |α_id|² + w_exp |α_exp|² + w_tex |β|² + w_light …

The picture is stitched into the photo, I_out = α I + (1 − α) I_in, so that only the face's own pixels can
differ. The report averages the squared difference over ALL pixels. That has a flaw: stitched onto the photo
itself, a pixel's error α² |I − I_in|² only ever falls when coverage falls, so the face's outline is pushed
inward everywhere, and only the landmarks hold it. Divided by the covered area instead (`over="face"`), pixels
that fit better than the mean draw the outline outward and others push it back.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from facet.coefficients.attention import skin_attention
from facet.coefficients.renderer import GAMMA, SIGMA, FaceRenderer
from facet.face_model.compact import blended
from facet.networks.layout import Coefficients, Layout
from facet.rendering.soft import SoftImage

OVER = ("face", "image")


@dataclass(frozen=True)
class Weights:
    """Of the terms; 0 leaves a term out (and the picture is then not even made).

    With landmarks of standard deviation 1 % of the crop, twice the negative logarithm of the posterior is 68
    times the landmarks' term plus the squared coefficients: 1/68 beside a landmarks' weight of 1. The
    defaults are a little above that, since a model of few modes is no exact truth.

    Attributes:
        photo: mean difference of the stitched picture and the photo (RGB in [0, 1]), squared or not.
        landmarks: mean squared distance of the 68 landmarks, in hundredths of the crop's side.
        identity, expression, texture: sum of squared coefficients, expressions in units of 0.3.
        light: mean squared difference of the three colours' harmonics: light is nearly white.
        vertices: mean weighted distance to true positions, hundredths of the crop's side; needs 3D labels.
    """

    photo: float = 20.0
    landmarks: float = 1.0
    identity: float = 0.02
    expression: float = 0.04
    texture: float = 0.02
    light: float = 0.2
    vertices: float = 0.0


class CoefficientLoss(nn.Module):
    """Of a batch of numbers, given photos and landmarks (and true positions, where labels are used).

    Args:
        renderer: makes the pictures; layout: reads the numbers.
        image_size: S of the crop that landmarks and positions are in.
        weights: of the terms.
        squared: mean of squared colour differences (the report), or of their lengths (kinder to hair and
            glasses).
        over: "face" or "image", what the photo's term is averaged over, see above.
        attention: weigh the photo's pixels by how much they look like this face's skin.
        outliers: c in hundredths of the crop's side: a landmark d away costs c² log(1 + d²/c²) instead of d²
            (the likelihood of Cauchy's distribution instead of Gauss'), so that those which are found in the
            wrong place, as behind a mask, do not draw the face after them. 0 takes squares.
        labels: map points for the term `vertices`, or None.
    """

    def __init__(
        self,
        renderer: FaceRenderer,
        layout: Layout,
        image_size: int,
        weights: Weights | None = None,
        *,
        squared: bool = True,
        over: str = "face",
        attention: bool = False,
        outliers: float = 0.0,
        labels: MapPoints | None = None,
        sigma: float = SIGMA,
        gamma: float = GAMMA,
    ):
        super().__init__()
        if over not in OVER:
            raise ValueError(f"over must be one of {', '.join(OVER)}, got {over!r}")
        self.renderer, self.layout, self.image_size = renderer, layout, image_size
        self.weights, self.labels = weights or Weights(), labels
        self.squared, self.over, self.attention, self.outliers = squared, over, attention, outliers
        self.sigma, self.gamma = sigma, gamma
        if self.weights.vertices and labels is None:
            raise ValueError("the term vertices needs labels")

    def _apply(self, function, recurse=True):
        """Moves the face model along with the module."""
        probe = function(torch.zeros(1))
        self.renderer = self.renderer.to(probe.device)
        if self.labels is not None:
            self.labels = self.labels.to(probe.device)
        return super()._apply(function, recurse)

    def forward(self, numbers: Tensor, target: dict[str, Tensor]) -> Tensor:
        """Σ weight · term of :meth:`terms`."""
        terms = self.terms(numbers, target)
        return sum(getattr(self.weights, name) * value for name, value in terms.items())

    def terms(self, numbers: Tensor, target: dict[str, Tensor]) -> dict[str, Tensor]:
        """Each term without its weight; those of weight 0 are left out.

        Args:
            numbers: (B, total).
            target: "photo" (B, 3, R, R) of the whole crop at any size R, "landmarks" (B, 68, 2) pixels of the
                crop; for the term vertices "map" (B, 3, M, M) true positions, pixels of the crop.
        """
        w, found, coefficients = self.weights, {}, self.layout.read(numbers.float())
        if w.landmarks:
            apart = self.renderer.landmarks(coefficients, self.image_size)[..., :2] - target["landmarks"]
            squares = (100 * apart / self.image_size).square().sum(2)
            if bound := self.outliers**2:
                squares = bound * torch.log1p(squares / bound)
            found["landmarks"] = squares.mean()
        if w.photo:
            photo = target["photo"]
            picture = self.renderer.picture(
                coefficients, photo.shape[-1], crop=self.image_size, sigma=self.sigma, gamma=self.gamma
            )
            marks = target["landmarks"] if self.attention else None
            found["photo"] = self.photo_error(picture, photo, marks).mean()
        found["identity"] = coefficients.identity.square().sum(1).mean()
        start = self.layout.identity
        found["expression"] = numbers[:, start : start + self.layout.expression].square().sum(1).mean()
        found["texture"] = coefficients.texture.square().sum(1).mean()
        found["light"] = (coefficients.light - coefficients.light.mean(dim=2, keepdim=True)).square().mean()
        if w.vertices:
            found["vertices"] = self.labels.distance(
                self.renderer, coefficients, target["map"], self.image_size
            )
        return {name: value for name, value in found.items() if getattr(w, name)}

    def photo_error(self, picture: SoftImage, photo: Tensor, landmarks: Tensor | None = None) -> Tensor:
        """(B,) the photo's term of each face."""
        apart = (picture.over(photo) - photo).square().mean(dim=1)  # (B, R, R), α² |I − I_in|²
        if not self.squared:
            apart = (apart + 1e-6).sqrt() - 1e-3
        weight = torch.ones_like(apart)
        if landmarks is not None:
            weight = skin_attention(photo, (landmarks + 0.5) * (photo.shape[-1] / self.image_size) - 0.5)
        if self.over == "image":
            return (weight * apart).mean(dim=(1, 2))
        area = picture.alpha.square() if self.squared else picture.alpha
        return (weight * apart).sum(dim=(1, 2)) / (weight * area).sum(dim=(1, 2)).clamp(min=1.0)


@dataclass(frozen=True)
class MapPoints:
    """The face model at the texels of a small position map: where labels say what is true.

    Attributes:
        mean: (P, 3), identity: (K, P, 3), expression: (E, P, 3) at the texels and along the rim.
        weight: (M, M) of the loss over UV.
    """

    mean: Tensor
    identity: Tensor
    expression: Tensor
    weight: Tensor

    @classmethod
    def open(cls, sampler, weight: Tensor) -> MapPoints:
        """From a `face_model.UVSampler` and `FaceModel.uv_weight` of its size."""

        def rows(flat: Tensor) -> Tensor:
            return flat.unflatten(-1, (3, -1)).transpose(-1, -2).contiguous()

        return cls(rows(sampler.mean), rows(sampler.identity), rows(sampler.expression), weight)

    def to(self, device) -> MapPoints:
        return MapPoints(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))

    def distance(self, renderer: FaceRenderer, coefficients: Coefficients, true: Tensor, size: int) -> Tensor:
        """Weighted mean distance to true maps (B, 3, M, M) in hundredths of the crop's side."""
        texels = self.weight.numel()
        points = blended(
            self.mean, (coefficients.identity, self.identity), (coefficients.expression, self.expression)
        )
        placed = renderer.place(coefficients, points, size)
        low = placed[:, texels:, 2].amin(dim=1, keepdim=True)
        placed = torch.cat((placed[:, :texels, :2], (placed[:, :texels, 2] - low)[..., None]), dim=2)
        apart = (placed - true.flatten(2).mT).square().sum(2) + 1e-6
        return 100 / size * (self.weight.flatten() * apart.sqrt()).sum(1).mean() / self.weight.sum()
