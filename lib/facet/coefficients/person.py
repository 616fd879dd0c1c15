"""From coefficients to a face on a photograph: shape, camera, light and the soft picture, all differentiable.

The camera is a pinhole at a fixed distance from the crop's middle, so that three translations place a face
and size it (by its distance). With a face turned and moved to P = R S + t, mm in the model frame's axes,

    x = c + s D P_x / (D − P_z),   y = c − s D P_y / (D − P_z),   z = s D / (D − t_z) (P_z − t_z)

for a crop with middle c in which the mean face at t = 0 has s pixels a millimetre, as the crop rule puts it.

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
class Person:
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
    def open(cls, model: FaceModel, vertices: int | None = None) -> Person:
        """Made from the face model (some seconds)."""
        face = compact.compact_face(model, vertices or compact.VERTICES)
        seen = model.mean @ image_flip(model.mean)
        box = crop_box(seen[model.landmarks])
        middle = torch.cat((box.centre * box.centre.new_tensor([1.0, -1.0]), box.centre.new_zeros(1)))
        return cls(face, middle, 1.0 / float(box.size))

    def to(self, device: str | torch.device | torch.dtype) -> Person:
        return Person(self.face.to(device), self.middle.to(device), self.fill)

    def shape(self, of: Coefficients) -> Tensor:
        """(B, V, 3) mm, model frame, not turned."""
        return self.face.shape(of.identity, of.expression)

    def place(self, of: Coefficients, points: Tensor, size: int) -> Tensor:
        """(B, N, 3) pixels of a crop of that size, image frame, of points (B, N, 3) in the model frame."""
        turned = points @ rotation_matrix(*of.angles.unbind(1)).mT + of.translation[:, None] - self.middle
        scale = self.fill * (size - 1)
        near = DISTANCE / (DISTANCE - turned[..., 2]).clamp(min=NEAREST)
        x = (size - 1) / 2 + scale * turned[..., 0] * near
        y = (size - 1) / 2 - scale * turned[..., 1] * near
        depth = of.translation[:, 2:]
        z = scale * DISTANCE / (DISTANCE - depth).clamp(min=NEAREST) * (turned[..., 2] - depth)
        return torch.stack((x, y, z), dim=2)

    def landmarks(self, of: Coefficients, size: int) -> Tensor:
        """(B, 68, 3) pixels of the crop."""
        return self.place(of, self.shape(of)[:, self.face.landmarks], size)

    def normals(self, of: Coefficients, shape: Tensor) -> Tensor:
        """(B, V, 3) unit normals in the image frame of shapes (B, V, 3)."""
        own = vertex_normals(shape, self.face.triangles, frame="model")
        return own @ rotation_matrix(*of.angles.unbind(1)).mT @ image_flip(own)

    def light(self, of: Coefficients, shape: Tensor) -> Tensor:
        """(B, V, 3) what white skin would send out at each vertex."""
        return torch.einsum("bvk,bkc->bvc", spherical_harmonics(self.normals(of, shape)), of.light)

    def colours(self, of: Coefficients, shape: Tensor, show: str = "face") -> Tensor:
        """(B, V, 3) albedo times light; or the albedo alone, or light on grey, or a lamp's on grey."""
        if show not in SHOWS:
            raise ValueError(f"show must be one of {', '.join(SHOWS)}, got {show!r}")
        if show == "shape":
            lamp = shape.new_tensor([-0.35, -0.45, 0.82])
            return (0.25 + 0.75 * (self.normals(of, shape) @ lamp).clamp(min=0))[..., None].expand(-1, -1, 3)
        if show == "light":
            return GREY * self.light(of, shape)
        albedo = self.face.colours(of.texture)
        return albedo if show == "albedo" else albedo * self.light(of, shape)

    def picture(
        self,
        of: Coefficients,
        size: int,
        *,
        sigma: float = SIGMA,
        gamma: float = GAMMA,
        show: str = "face",
        closed: bool = False,
    ) -> SoftImage:
        """The face as the crop shows it, in size × size pixels: a soft picture without background."""
        shape = self.shape(of)
        placed, colours = self.place(of, shape, size), self.colours(of, shape, show)
        about = {"sigma": sigma, "gamma": gamma, "closed": closed}
        return soft_rasterise(placed, self.face.shown, colours, size, **about)


def full_vertices(model: FaceModel, person: Person, of: Coefficients, size: int) -> Tensor:
    """(B, V, 3) every vertex of the face patch in pixels of the crop; z from the patch's rim."""
    points = person.place(of, model.blend(of.identity, of.expression), size)
    low = points[:, model.rim, 2:].amin(dim=1, keepdim=True)
    return torch.cat((points[..., :2], points[..., 2:] - low), dim=2)
