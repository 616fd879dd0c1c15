"""What a reconstruction gives: one object with the face in the frame of the photo."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from facet.outline import smooth_outline
from facet.reconstruction import export

# Longest side, in pixels, at which depth() and normal_map() rasterise; larger faces are enlarged from it.
LARGEST_RASTER = 1024


class Pose(NamedTuple):
    """Degrees; yaw > 0: nose to the image's right, pitch > 0: nose up, roll > 0: to the subject's right."""

    yaw: float
    pitch: float
    roll: float


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """A face in pixels of the front photo: pixel centres at integers, x right, y down, z toward the camera.

    What a system cannot give is None.

    Attributes:
        vertices: (V, 3) float32; z is measured from the rearmost point of the face's rim.
        triangles: (F, 3) int64, outward in the right-handed model frame (and in saved files).
        landmarks: (68, 3) float32, iBUG order; of volumetric systems x and y are found in the photo, z is the
            mean face's; None where no network found them.
        pose: from the least-squares similarity of the mean face to the vertices (Umeyama); of volumetric
            systems from that of its landmarks to those in the photo, None without them.
        image_size: (height, width) of the front photo.
        system: name of the network, for messages and tables.
        position_map: (3, S, S) float32 in pixels of the network's crop.
        crop: (2, 3) float64, the map from the photo to that crop.
        uv: (V, 2) float32, u right and v down from the top of the texture.
        texture: (T, T, 3) uint8 RGB from the photo; unseen places are filled from the mirrored side.
        colors: (V, 3) uint8, the texture at the vertices.
        confidence: (V,) float32 in [0, 1], how well the photo shows each vertex: 1 seen, 0 hidden.
        box: (4,) x0, y0, x1, y1 in the photo that the crop was made from: given, detected, or of landmarks
            found before; what bounds it where the face was turned upright.
        notes: what the caller should know, in words.
        variant: of the system, by its weights ("wide", "longer"); "" for the plain one.
    """

    vertices: np.ndarray
    triangles: np.ndarray
    landmarks: np.ndarray | None
    pose: Pose | None
    image_size: tuple[int, int]
    system: str
    position_map: np.ndarray | None = None
    crop: np.ndarray | None = None
    uv: np.ndarray | None = None
    texture: np.ndarray | None = None
    colors: np.ndarray | None = None
    confidence: np.ndarray | None = None
    box: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    variant: str = ""

    @property
    def label(self) -> str:
        """System and variant, as in every table."""
        return f"{self.system} {self.variant}".strip()

    def normals(self) -> np.ndarray:
        """(V, 3) unit normals that point out of the face, image frame (z > 0 faces the camera)."""
        from facet.rendering import vertex_normals

        vertices, triangles = torch.from_numpy(self.vertices)[None], torch.from_numpy(self.triangles)
        return vertex_normals(vertices, triangles, frame="image")[0].numpy()

    def depth(self) -> np.ndarray:
        """(H, W) float32 depth in pixels on the front photo, larger is nearer, NaN outside of the face."""
        return self._image_of(None)[..., 0]

    def normal_map(self) -> np.ndarray:
        """(H, W, 3) float32 unit normals on the front photo, image frame, NaN outside of the face."""
        image = self._image_of(self.normals())
        return image / np.linalg.norm(image, axis=-1, keepdims=True)

    def save(self, path: str | os.PathLike) -> Path:
        """Write the mesh: .glb (textured), .obj (with .mtl and _texture.png) or .ply (vertex colours).

        Right-handed, y up, triangles outward, in pixels of the photo, y from its bottom row; never partial.
        Vertices keep their order; those at the rim lie on a smooth outline (`outline`), the others where
        `vertices` says.

        Raises:
            ValueError: an unknown extension.
            OSError: the place cannot be written to.
        """
        return export.save_mesh(
            path,
            export.to_files_frame(smooth_outline(self.vertices, self.triangles), self.image_size[0]),
            self.triangles,
            colors=self.colors,
            uv=self.uv,
            texture=self.texture,
        )

    def view(self, **options):
        """A k3d plot of the face for a notebook, see :func:`facet.viewers.show_mesh`."""
        from facet import viewers

        return viewers.show_reconstruction(self, **options)

    def _image_of(self, attributes: np.ndarray | None) -> np.ndarray:
        """(H, W, C) attributes (V, C), or z where None, at the photo's pixels, NaN outside of the face."""
        from facet.rendering import interpolate, rasterise

        height, width = self.image_size
        low = np.floor(self.vertices[:, :2].min(axis=0)).astype(int).clip(0, (width - 1, height - 1))
        high = np.ceil(self.vertices[:, :2].max(axis=0)).astype(int).clip(0, (width - 1, height - 1)) + 1
        extent = np.maximum(high - low, 1)  # columns, rows
        shrink = max(1.0, extent.max() / LARGEST_RASTER)
        columns, rows = np.ceil(extent / shrink).astype(int)
        vertices = torch.from_numpy(self.vertices).clone()
        vertices[:, :2] = (vertices[:, :2] - torch.from_numpy(low) + 0.5) / shrink - 0.5
        triangles = torch.from_numpy(self.triangles)
        fragments = rasterise(vertices[None].float(), triangles, (int(rows), int(columns)))
        values = torch.from_numpy(self.vertices[:, 2:] if attributes is None else attributes)
        image = interpolate(fragments, triangles, values[None].float())[0]
        image[~fragments.mask[0]] = torch.nan
        across = np.minimum(((np.arange(extent[0]) + 0.5) / shrink).astype(int), columns - 1)
        down = np.minimum(((np.arange(extent[1]) + 0.5) / shrink).astype(int), rows - 1)
        out = np.full((height, width, image.shape[2]), np.nan, dtype=np.float32)
        out[low[1] : high[1], low[0] : high[0]] = image.numpy()[down][:, across]
        return out
