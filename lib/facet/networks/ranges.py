"""Between the network's range and pixels: position = (1.2 o - 0.1) S, o in [0, 1].

A tenth of the crop beyond each border stays expressible. A tanh network's o' = 2 o - 1 has the same range.
"""

import torch
from torch import Tensor, nn

SPAN, MARGIN = 1.2, 0.1


def to_pixels(output: Tensor, image_size: int) -> Tensor:
    """(B, 3, S, S) network output in [0, 1] -> positions in pixels of the crop."""
    return (SPAN * output - MARGIN) * image_size


def from_pixels(position_map: Tensor, image_size: int) -> Tensor:
    """(B, 3, S, S) positions in pixels of the crop -> network range, in [0, 1] where expressible."""
    return (position_map / image_size + MARGIN) / SPAN


@torch.no_grad()
def predict(network: nn.Module, images: Tensor) -> Tensor:
    """Position maps of photos, without gradients; the network is used as it is (call .eval() before).

    Args:
        images: (B, 3 * network.views, S, S) RGB in [0, 1], on the network's device.

    Returns:
        (B, 3, S, S) in pixels of the crop, image frame.

    Raises:
        ValueError: the images do not fit the network.
    """
    expected = (3 * network.views, network.image_size, network.image_size)
    if images.dim() != 4 or tuple(images.shape[1:]) != expected:
        raise ValueError(
            f"{network.name} reads (B, {', '.join(map(str, expected))}), got {tuple(images.shape)}"
        )
    output = network(images).float()
    if getattr(network, "signed", False):  # a tanh network
        output = (output + 1) / 2
    return to_pixels(output, network.image_size)
