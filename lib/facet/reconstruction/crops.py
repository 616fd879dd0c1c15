"""A network asked about crops: the mean of two answers, and the vertices that are made of it."""

import torch
from torch import Tensor, nn

from facet.reconstruction.complete import complete


def ask_twice(network: nn.Module, images: Tensor) -> Tensor:
    """(B, 3, S, S) maps of (B, C, S, S) crops: the mean of the answers to them and to their mirror images."""
    from facet.networks import predict

    straight, mirrored = predict(network, torch.cat((images, images.flip(3)))).chunk(2)
    mirrored = mirrored.flip(3)  # the mirrored person's left half of the map is our right one
    x, y, z = mirrored.unbind(dim=1)
    return (straight + torch.stack((images.shape[3] - 1 - x, y, z), dim=1)) / 2


def vertices_of_crops(network: nn.Module, images: Tensor, face, *, noise: float = 0.0) -> Tensor:
    """(B, V, 3) vertices of (B, C, S, S) crops, in their pixels: what `reconstruct` makes of them.

    `noise` is of the maps, mm, as of `complete`.
    """
    return torch.stack([complete(found, face, noise=noise)[0] for found in ask_twice(network, images)])
