"""`landmarks`: a stacked hourglass that finds the 68 landmarks of one photo, seen or hidden."""

import torch
from torch import Tensor, nn

from facet.heatmaps import soft_argmax
from facet.landmarks68 import COUNT
from facet.networks.blocks import check_image_size, scaled
from facet.networks.hourglass import FEATURES, initialise, stage, start_quiet, stem
from facet.networks.registry import register


@register("landmarks", title="Landmarks", views=1, source="Newell et al. 2016", output="landmarks")
class Landmarks(nn.Module):
    """One photo -> scores of 68 heat-maps at a quarter of its side, after every hourglass.

    The scores go back into the features before the next hourglass (intermediate supervision, Newell et al.
    figure 4): x ← x + features + W scores.

    Args:
        image_size: S, a multiple of 32.
        width: factor on every channel count, rounded up to multiples of 4.
        stacks: hourglasses, one after another.
    """

    def __init__(self, *, image_size: int = 256, width: float = 1.0, stacks: int = 2):
        super().__init__()
        check_image_size(image_size, width)
        channels = scaled(FEATURES, width)
        self.stem = stem(3, width)
        self.stages = nn.ModuleList(stage(image_size, channels) for _ in range(stacks))
        self.scores = nn.ModuleList(nn.Conv2d(channels, COUNT, 1) for _ in range(stacks))
        self.features = nn.ModuleList(nn.Conv2d(channels, channels, 1) for _ in range(stacks - 1))
        self.again = nn.ModuleList(nn.Conv2d(COUNT, channels, 1) for _ in range(stacks - 1))
        initialise(self)
        for scores in self.scores:
            start_quiet(scores)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) RGB in [0, 1] -> (B, stacks, 68, S/4, S/4); softmax over places makes a heat-map."""
        x = self.stem(images)
        found = []
        for k, (hourglass, scores) in enumerate(zip(self.stages, self.scores, strict=True)):
            y = hourglass(x)
            found.append(scores(y))
            if k < len(self.again):
                x = x + self.features[k](y) + self.again[k](found[-1])
        return torch.stack(found, dim=1)

    def landmark_scores(self, output: Tensor) -> Tensor:
        """(B, 68, S/4, S/4) scores of the last hourglass."""
        return output[:, -1]


@torch.no_grad()
def predict_landmarks(network: nn.Module, images: Tensor) -> Tensor:
    """(B, 68, 2) landmarks of photos in their pixels, by a network in eval mode, without gradients.

    Args:
        network: `landmarks` or `vrn-multitask`.
        images: (B, 3, S, S) RGB in [0, 1], on the network's device.

    Raises:
        ValueError: the network gives no landmarks, or the images do not fit it.
    """
    if not hasattr(network, "landmark_scores"):
        raise ValueError(f"{network.name} gives no landmarks: take landmarks or vrn-multitask")
    expected = (3, network.image_size, network.image_size)
    if tuple(images.shape[1:]) != expected:
        raise ValueError(
            f"{network.name} reads (B, {', '.join(map(str, expected))}), got {tuple(images.shape)}"
        )
    return soft_argmax(network.landmark_scores(network(images)).float(), network.image_size)
