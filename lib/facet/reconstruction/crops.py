"""Crops of photos, there and back; a network asked about them, and the vertices made of its answers."""

import numpy as np
import torch
from torch import Tensor, nn

from facet.crop import crop_box_from_bounds, invert
from facet.reconstruction.complete import complete
from facet.reconstruction.prior import NOISE


def square(box: np.ndarray, size: int) -> Tensor:
    """(2, 3) float64 map from the photo to the crop of side S around a box (4,) of the 68 landmarks."""
    return crop_box_from_bounds(torch.from_numpy(np.asarray(box, dtype=np.float64))).matrix(size)[0]


def apply(matrix, points):
    """(N, 2) points through a (2, 3) map; both arrays, or both tensors of one type."""
    return points @ matrix[:, :2].T + matrix[:, 2]


def to_photo(matrix: Tensor, points: Tensor) -> np.ndarray:
    """(N, 2) float64 pixels of the photo of points (N, 2 or more) in the crop that a (2, 3) map leads to."""
    return apply(invert(matrix[None].cpu().double())[0], points[:, :2].cpu().double()).numpy()


def predict_with_flip(network: nn.Module, images: Tensor) -> Tensor:
    """(B, 3, S, S) maps of (B, C, S, S) crops: the mean of the answers to them and to their mirror images."""
    from facet.networks import predict

    straight, mirrored = predict(network, torch.cat((images, images.flip(3)))).chunk(2)
    mirrored = mirrored.flip(3)  # the mirrored person's left half of the map is our right one
    x, y, z = mirrored.unbind(dim=1)
    return (straight + torch.stack((images.shape[3] - 1 - x, y, z), dim=1)) / 2


def vertices_of_crops(network: nn.Module, images: Tensor, face, *, noise: float = NOISE) -> Tensor:
    """(B, V, 3) vertices of (B, C, S, S) crops, in their pixels: what `reconstruct` makes of them.

    `noise` is of the maps, mm, as of `complete`; 0 is `reconstruct` with `prior=False`.
    """
    return torch.stack(
        [complete(found, face, noise=noise)[0] for found in predict_with_flip(network, images)]
    )
