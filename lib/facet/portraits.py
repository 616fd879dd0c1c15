"""Pictures of the face model's heads at one scale, and of its UV square; arrays, without matplotlib."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from facet.face_model import FaceModel
from facet.geometry import model_to_image, transform_points
from facet.pictures import draw_mesh
from facet.rendering import map_from_mesh, vertex_normals

COLLAR = -136.0  # mm; what is below is not drawn
# Half the window, its middle's height, and how far its middle lies behind that of the face; mm.
ZOOM = {"head": (150.0, 22.0, 55.0), "face": (104.0, -4.0, 12.0)}


class Portrait(NamedTuple):
    """image: (S, S, 3) float in [0, 1]; matrix: (3, 4) from the model frame to its pixels."""

    image: np.ndarray
    matrix: Tensor

    def place(self, points: Tensor) -> Tensor:
        """(N, 3) pixels of points (N, 3) in the model frame."""
        return transform_points(self.matrix, points)


def portrait(
    model: FaceModel,
    head: Tensor,
    *,
    yaw: float = 0.0,
    pitch: float = 0.0,
    size: int = 200,
    zoom: str = "head",
    colors=None,
) -> Portrait:
    """A head, seen by a camera far away, at a scale that is the same for everybody.

    Args:
        head: (Vh, 3) of `FaceModel.blend_head`, millimetres, model frame.
        yaw: degrees; so is pitch.
        size: side of the picture in pixels.
        zoom: "head" or "face".
        colors: (Vh, 3) in [0, 1]; None is clay.
    """
    half, height, behind = ZOOM[zoom]
    scale = size / (2 * half)
    turned = np.radians(yaw)
    middle = (size - 1) / 2
    centre = torch.tensor([[middle + behind * np.sin(turned) * scale, middle + height * scale]]).float()
    matrix = model_to_image(yaw, pitch, 0.0, scale, centre)[0]
    shown = model.head_triangles[(head[model.head_triangles, 1] > COLLAR).all(dim=1)]
    return Portrait(draw_mesh(transform_points(matrix, head), shown, size, colors=colors), matrix)


def portraits(
    model: FaceModel, heads: Tensor, *, yaws: Sequence[float] = (0.0,), **options
) -> list[np.ndarray]:
    """Pictures of heads (B, Vh, 3), each from every side in turn; options as in :func:`portrait`."""
    return [portrait(model, head, yaw=yaw, **options).image for head in heads for yaw in yaws]


def unrolled(model: FaceModel, face: Tensor, size: int, *, colors=None) -> np.ndarray:
    """The face patch (V, 3) laid out in its UV square and lit as seen from the front: (size, size, 3)."""
    normals = vertex_normals(face[None], model.triangles, frame="model")
    light = torch.nn.functional.normalize(torch.tensor([0.0, 0.45, 0.9]), dim=0)
    shade = 0.3 + 0.7 * (normals @ light).clamp(min=0)[..., None]
    paint = torch.full_like(face, 0.8) if colors is None else torch.as_tensor(np.asarray(colors)).float()
    picture = map_from_mesh(shade * paint, model.uv, model.triangles, size)[0]
    return picture.permute(1, 2, 0).clamp(0, 1).numpy()


def checkers(model: FaceModel, count: int = 16) -> np.ndarray:
    """(V, 3) colours of a board of count × count fields in the UV square, to see where it stretches."""
    field = (model.uv * count).long().clamp(max=count - 1).sum(dim=1) % 2
    return np.where(field[:, None].numpy() == 0, (0.93, 0.91, 0.88), (0.32, 0.45, 0.58))
