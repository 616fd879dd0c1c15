"""Errors of position maps, weighted over UV (16 : 4 : 3 : 0 for landmarks : eyes, nose, mouth : face : neck).

Lengths are fractions of the crop's side, so that losses of different image sizes compare.
"""

from torch import Tensor, nn

from facet.networks.ranges import to_pixels


def weighted_error(predicted: Tensor, target: Tensor, weight: Tensor, *, squared: bool = True) -> Tensor:
    """Weighted mean over texels of the distance, or of its square, between two position maps.

    squared:   Σ w ‖p - q‖² / (B Σ w)   the UV-weighted mean squared error of PRN's and TwoView's text;
    otherwise: Σ w ‖p - q‖ / (B Σ w)    the unsquared norm of TwoView's equation.

    Args:
        predicted: (B, 3, S, S).
        target: (B, 3, S, S), same unit.
        weight: (S, S), not negative, somewhere positive.
        squared: which of the two.

    Returns:
        Scalar, in the maps' unit (squared).

    Raises:
        ValueError: the shapes do not fit.
    """
    if predicted.shape != target.shape or predicted.shape[-2:] != weight.shape[-2:]:
        shapes = ", ".join(str(tuple(t.shape)) for t in (predicted, target, weight))
        raise ValueError(f"prediction, target and weight do not fit: {shapes}")
    distance = (predicted - target).square().sum(1)  # (B, S, S)
    if not squared:
        distance = (distance + 1e-12).sqrt()  # finite gradient where the prediction is exact
    return (weight * distance).mean(0).sum() / weight.sum()


class PositionLoss(nn.Module):
    """UV-weighted error of a network's output against targets in pixels.

    Args:
        weight: (S, S) over UV; ones for the plain mean squared error.
        squared: True for the square (default), False for the unsquared norm.
        signed: the network ends in tanh, its range is [-1, 1].
    """

    def __init__(self, weight: Tensor, *, squared: bool = True, signed: bool = False):
        super().__init__()
        if weight.dim() != 2 or weight.shape[0] != weight.shape[1] or weight.min() < 0 or weight.sum() <= 0:
            raise ValueError(f"weight must be (S, S), >= 0 and somewhere > 0, got {tuple(weight.shape)}")
        self.register_buffer("weight", weight.float())
        self.squared, self.signed = squared, signed

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """(B, 3, S, S) network output and target in pixels, same shape -> scalar, in crop sides (squared)."""
        size = self.weight.shape[-1]
        output = output.float()
        predicted = to_pixels((output + 1) / 2 if self.signed else output, size)
        return weighted_error(predicted / size, target / size, self.weight, squared=self.squared)
