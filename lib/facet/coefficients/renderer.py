"""From coefficients to a face on a photograph: shape, camera, light and the soft picture, all differentiable.

The camera is a pinhole at a fixed distance from the crop's middle, so that three translations place a face
and size it (by its distance). With a face turned and moved to P = R S + t − m, mm in the model frame's axes,

    x = c + s D P_x / (D − P_z),   y = c − s D P_y / (D − P_z),   z = s D / (D − t_z) (P_z − t_z)

for a crop with middle c in which the mean face at t = 0 has s pixels a millimetre, as the crop rule puts it,
around the crop's centre m on that face (its z is 0).

A vertex shows its albedo times Σ_k γ_k φ_k(n), k = 1 … 9 (`rendering.spherical_harmonics`: normalised so
that γ is the radiance around), n its normal in the image frame. Colours are sRGB as they stand in pictures:
light multiplies them as if they were linear, the usual simplification of this field.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from facet.crop import crop_box
from facet.face_model import FaceModel, compact
from facet.face_model.compact import CompactFace
from facet.face_model.once import once_for
from facet.geometry import image_flip, rotation_matrix
from facet.networks.layout import Coefficients
from facet.rendering import spherical_harmonics, vertex_normals
from facet.rendering.soft import SoftImage, soft_rasterise

DISTANCE = 1500.0  # mm from the camera to the place of the head's origin at t = 0
NEAREST = 0.02 * DISTANCE  # nothing comes nearer to the camera, whatever is fitted
SIGMA, GAMMA = 0.1, 1.0  # square pixels of the picture, and pixels of depth
GREY = 0.75  # albedo in pictures of light or shape alone
SHOWS = ("face", "albedo", "light", "shape")


@dataclass(frozen=True)
class FaceRenderer:
    """What turns coefficients into pictures.

    Attributes:
        face: the model at few vertices.
        middle: (3,) mm, where the optical axis meets the mean face's plane: the crop's centre.
        fill: pixels a millimetre for a crop of one pixel; multiply by S − 1.
    """

    face: CompactFace
    middle: Tensor
    fill: float

    @classmethod
    def open(cls, model: FaceModel, vertices: int | None = None) -> FaceRenderer:
        """Made from the face model (some seconds), once for each number of vertices."""
        count = vertices or compact.VERTICES
        return once_for(model, ("renderer", count), lambda: cls._make(model, count))

    @classmethod
    def _make(cls, model: FaceModel, vertices: int) -> FaceRenderer:
        face = compact.compact_face(model, vertices)
        seen = model.mean @ image_flip(model.mean)
        box = crop_box(seen[model.landmarks])
        middle = torch.cat((box.centre * box.centre.new_tensor([1.0, -1.0]), box.centre.new_zeros(1)))
        return cls(face, middle, 1.0 / float(box.size))

    def to(self, device: str | torch.device | torch.dtype) -> FaceRenderer:
        return FaceRenderer(self.face.to(device), self.middle.to(device), self.fill)

    def shape(self, coefficients: Coefficients) -> Tensor:
        """(B, V, 3) mm, model frame, not turned."""
        return self.face.shape(coefficients.identity, coefficients.expression)

    def place(self, coefficients: Coefficients, points: Tensor, size: int) -> Tensor:
        """(B, N, 3) pixels of a crop of that size, image frame, of points (B, N, 3) in the model frame."""
        turned = points @ rotation_matrix(*coefficients.angles.unbind(1)).mT
        turned = turned + coefficients.translation[:, None] - self.middle
        scale = self.fill * (size - 1)
        near = DISTANCE / (DISTANCE - turned[..., 2]).clamp(min=NEAREST)
        x = (size - 1) / 2 + scale * turned[..., 0] * near
        y = (size - 1) / 2 - scale * turned[..., 1] * near
        depth = coefficients.translation[:, 2:]
        z = scale * DISTANCE / (DISTANCE - depth).clamp(min=NEAREST) * (turned[..., 2] - depth)
        return torch.stack((x, y, z), dim=2)

    def landmarks(self, coefficients: Coefficients, size: int) -> Tensor:
        """(B, 68, 3) pixels of the crop."""
        return self.place(coefficients, self.shape(coefficients)[:, self.face.landmarks], size)

    def normals(self, coefficients: Coefficients, shape: Tensor) -> Tensor:
        """(B, V, 3) unit normals in the image frame of shapes (B, V, 3)."""
        own = vertex_normals(shape, self.face.triangles, frame="model")
        return own @ rotation_matrix(*coefficients.angles.unbind(1)).mT @ image_flip(own)

    def light(self, coefficients: Coefficients, shape: Tensor) -> Tensor:
        """(B, V, 3) what white skin would send out at each vertex."""
        harmonics = spherical_harmonics(self.normals(coefficients, shape))
        return torch.einsum("bvk,bkc->bvc", harmonics, coefficients.light)

    def colours(self, coefficients: Coefficients, shape: Tensor, show: str = "face") -> Tensor:
        """(B, V, 3) albedo times light; or the albedo alone, or light on grey, or a lamp's on grey."""
        if show not in SHOWS:
            raise ValueError(f"show must be one of {', '.join(SHOWS)}, got {show!r}")
        if show == "shape":
            lamp = shape.new_tensor([-0.35, -0.45, 0.82])
            facing = (self.normals(coefficients, shape) @ lamp).clamp(min=0)
            return (0.25 + 0.75 * facing)[..., None].expand(-1, -1, 3)
        if show == "light":
            return GREY * self.light(coefficients, shape)
        albedo = self.face.colours(coefficients.texture)
        return albedo if show == "albedo" else albedo * self.light(coefficients, shape)

    def picture(
        self,
        coefficients: Coefficients,
        size: int,
        *,
        crop: int | None = None,
        sigma: float = SIGMA,
        gamma: float = GAMMA,
        show: str = "face",
        closed: bool = False,
    ) -> SoftImage:
        """The face as the crop shows it, in size × size pixels: a soft picture without background.

        Args:
            crop: side S of the crop that the picture shows smaller or larger, None for `size`. It lies on the
                crop's photo shrunk by averaging: pixel x of S pixels is (x + ½) size / S − ½ of these.
        """
        crop = crop or size
        shape, k = self.shape(coefficients), size / crop
        placed, colours = self.place(coefficients, shape, crop), self.colours(coefficients, shape, show)
        placed = torch.cat(((placed[..., :2] + 0.5) * k - 0.5, k * placed[..., 2:]), dim=2)
        about = {"sigma": sigma, "gamma": gamma, "closed": closed}
        return soft_rasterise(placed, self.face.shown, colours, size, **about)


def full_vertices(model: FaceModel, renderer: FaceRenderer, coefficients: Coefficients, size: int) -> Tensor:
    """(B, V, 3) every vertex of the face patch in pixels of the crop; z from the patch's rim."""
    points = renderer.place(coefficients, model.blend(coefficients.identity, coefficients.expression), size)
    low = points[:, model.rim, 2:].amin(dim=1, keepdim=True)
    return torch.cat((points[..., :2], points[..., 2:] - low), dim=2)
