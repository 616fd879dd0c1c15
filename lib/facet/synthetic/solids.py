"""Truth by volumes: the solid between a face's surface and its back, aligned with the picture."""

from dataclasses import dataclass

import torch
from torch import Tensor

from facet.augment import flip_landmarks
from facet.face_model import FaceModel, UVSampler, sampler_at
from facet.face_model.shell import Shell, close, grid_corners, grid_shell
from facet.geometry import transform_points
from facet.heatmaps import guide
from facet.rendering.voxels import Lattice, pack, voxelise
from facet.synthetic.points import alone, augmented
from facet.synthetic.render import truth_texels


@dataclass
class SolidTruth:
    """Pictures with their packed volumes and landmarks; for VRN-Guided the pictures carry the heat-maps.

    The volume is made of the augmented surface, not turned as a volume: it stays exact.

    Attributes:
        sampler: at the shell's nodes, the patch's rim and the 68 landmarks.
        shell: over the nodes; lattice: of the volume.
        filled: without hidden surfaces, see `voxelise`.
        guide_sigma: of the heat-maps in pixels; None for pictures alone.
    """

    sampler: UVSampler
    shell: Shell
    lattice: Lattice
    filled: bool = False
    guide_sigma: float | None = None

    @classmethod
    def open(
        cls,
        model: FaceModel,
        lattice: Lattice,
        *,
        filled: bool = False,
        guide_sigma: float | None = None,
        modes: int | None = None,
    ) -> "SolidTruth":
        """A node for every voxel's width; `modes` of the model's identity modes (default: its own)."""
        cells = lattice.volume[1]
        shell = grid_shell(cells, model.device)
        nodes, shares = grid_corners(model, cells)
        others, ones = alone(torch.cat((model.rim, model.landmarks)))
        corners, weights = torch.cat((nodes, others)), torch.cat((shares, ones))
        return cls(sampler_at(model, corners, weights, modes=modes), shell, lattice, filled, guide_sigma)

    def __call__(self, context, subjects, views, relief, generator, augmentation) -> tuple[Tensor, dict]:
        """Images (B, 3 or 71, S, S) and {"volume": (B, D/8, H, W) uint8, "landmarks": (B, 68, 2)}."""
        nodes, landmarks = self.points(subjects, views, relief)
        images, geometry = augmented(context, generator, augmentation, image_size=self.lattice.image_size)
        matrix = geometry.lift().to(nodes)
        volume = self.volume(transform_points(matrix, nodes), flip=geometry.flip)
        landmarks = flip_landmarks(transform_points(matrix, landmarks), geometry.flip)[..., :2]
        if self.guide_sigma is not None:
            images = guide(images, landmarks, sigma=self.guide_sigma)
        return images, {"volume": pack(volume), "landmarks": landmarks}

    def points(self, subjects, views, relief: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(B, N, 3) nodes and (B, 68, 3) landmarks in the image frame, z from the rim's minimum."""
        points = truth_texels(self.sampler, subjects, views, relief)
        nodes, rim, landmarks = points.split(
            (self.shell.count, points.shape[1] - self.shell.count - 68, 68), 1
        )
        floor = rim.new_zeros(len(rim), 1, 3)
        floor[..., 2] = rim[..., 2].amin(dim=1, keepdim=True)
        return nodes - floor, landmarks - floor

    def volume(self, nodes: Tensor, *, flip: Tensor | None = None) -> Tensor:
        """(B, D, H, W) bool of nodes (B, N, 3) in pixels; `flip` (B,) says whose nodes are mirrored."""
        if flip is not None and bool(flip.any()):  # else the mirrored surface would be inside out
            side = round(self.shell.count**0.5)
            turned = nodes.unflatten(1, (side, side)).flip(2).flatten(1, 2)
            nodes = torch.where(flip.to(nodes.device)[:, None, None], turned, nodes)
        place = self.lattice.to_voxels(self.shell.closed(nodes))
        return voxelise(place, self.shell.triangles, self.lattice.volume, fill=self.filled)


def solids_of(
    model: FaceModel, vertices: Tensor, lattice: Lattice, *, filled: bool = False, shell: Shell | None = None
) -> Tensor:
    """(B, D, H, W) bool volumes of face patches (B, V, 3) in pixels of the crop, all triangles used."""
    shell = shell or close(model.triangles, len(model.mean))
    place = lattice.to_voxels(shell.closed(vertices))
    return voxelise(place, shell.triangles, lattice.volume, fill=filled)
