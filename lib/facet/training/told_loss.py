"""The loss of a network that tells a coarse map and colours beside the map (`networks.one_pass`)."""

import torch.nn.functional as F
from torch import Tensor, nn

from facet.training.losses import PositionLoss


class ToldLoss(nn.Module):
    """Position loss of the map + that of the coarse map + mean absolute error of the colours that are known.

    In eval mode the network gives the map alone, and only it is judged.

    Attributes:
        coarse_share, colour_share: factors of the second and the third.
    """

    def __init__(self, weight: Tensor, *, squared: bool, coarse: int, coarse_share=0.5, colour_share=0.05):
        """weight: (S, S) over (u, v); coarse: S over the coarse map's side."""
        super().__init__()
        self.fine = PositionLoss(weight, squared=squared)
        self.coarse = PositionLoss(F.avg_pool2d(weight[None], coarse)[0], squared=squared)
        self.step, self.coarse_share, self.colour_share = coarse, coarse_share, colour_share

    def forward(self, output, target) -> Tensor:
        """Maps (B, 3, S, S); in training (map, coarse, colours) and (map, colours, seen)."""
        if isinstance(output, Tensor):
            return self.fine(output, target if isinstance(target, Tensor) else target[0])
        (fine, coarse, colours), (truth, true_colours, seen) = output, target
        # Positions are in pixels of the crop: a coarse texel lies in the middle of those it stands for.
        smaller = F.avg_pool2d(truth, self.step) / self.step
        wrong = ((colours - true_colours).abs() * seen).sum() / (3 * seen.sum()).clamp(min=1)
        shared = self.coarse_share * self.coarse(coarse, smaller) + self.colour_share * wrong
        return self.fine(fine, truth) + shared
