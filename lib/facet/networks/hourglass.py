"""Hourglasses (Newell et al. 2016): residual modules, the hourglass, the stem and stacks of them.

All tensors are (B, C, H, W). The stem brings S pixels to S/4; an hourglass halves its side until 4 places are
left (S = 64, 128, 256) and comes back up by nearest-neighbour doubling and sums. Convolutions before a batch
norm carry no bias.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from facet.networks.blocks import batch_norm, check_image_size, scaled

FEATURES = 256  # channels of every residual module at width 1 (Volumetric, section 2.2)
STEM = (64, 128, 128, FEATURES)
STRIDE = 4  # photo pixels a feature
LOWEST = 4  # least side of the features


class ResidualModule(nn.Module):
    """Pre-activated bottleneck (He et al. 2016): 1x1 N/2, 3x3 N/2, 1x1 N; 1x1 shortcut where N changes."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        half = outputs // 2
        self.shortcut = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)
        self.body = nn.Sequential(
            *(batch_norm(inputs), nn.ReLU(inplace=True), nn.Conv2d(inputs, half, 1, bias=False)),
            *(batch_norm(half), nn.ReLU(inplace=True), nn.Conv2d(half, half, 3, padding=1, bias=False)),
            *(batch_norm(half), nn.ReLU(inplace=True), nn.Conv2d(half, outputs, 1)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut(x) + self.body(x)


class Hourglass(nn.Module):
    """Down by max pooling, up by nearest neighbours, a residual module beside each step: same shape out."""

    def __init__(self, depth: int, channels: int):
        super().__init__()
        self.beside = ResidualModule(channels, channels)
        self.down = ResidualModule(channels, channels)
        self.inner = Hourglass(depth - 1, channels) if depth > 1 else ResidualModule(channels, channels)
        self.up = ResidualModule(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        low = self.up(self.inner(self.down(F.max_pool2d(x, 2))))
        return self.beside(x) + F.interpolate(low, scale_factor=2.0, mode="nearest")


def depth_of(side: int) -> int:
    """How often a feature map of this side is halved: while it is even and LOWEST places are left."""
    depth = 0
    while side % 2 == 0 and side // 2 >= LOWEST:
        side, depth = side // 2, depth + 1
    return depth


def stem(inputs: int, width: float) -> nn.Sequential:
    """7x7 convolution of stride 2, residual module, max pooling, two more: S pixels to S/4 features."""
    first, second, third, last = (scaled(channels, width) for channels in STEM)
    return nn.Sequential(
        nn.Conv2d(inputs, first, 7, 2, 3, bias=False),
        *(batch_norm(first), nn.ReLU(inplace=True)),
        *(
            ResidualModule(first, second),
            nn.MaxPool2d(2),
            ResidualModule(second, third),
            ResidualModule(third, last),
        ),
    )


def stage(image_size: int, channels: int) -> nn.Sequential:
    """One hourglass and what follows it in a stack: a residual module, a 1x1 convolution with its norm."""
    check_image_size(image_size, 1.0)
    return nn.Sequential(
        Hourglass(depth_of(image_size // STRIDE), channels),
        ResidualModule(channels, channels),
        *(nn.Conv2d(channels, channels, 1, bias=False), batch_norm(channels), nn.ReLU(inplace=True)),
    )


def initialise(network: nn.Module) -> None:
    """He-normal convolutions; the last convolution of every residual module starts at 0, as its identity."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    for module in network.modules():
        if isinstance(module, ResidualModule):
            nn.init.zeros_(module.body[-1].weight)


def start_quiet(layer: nn.Conv2d) -> None:
    """Let a last convolution start near 0 everywhere."""
    nn.init.normal_(layer.weight, std=0.01)
    nn.init.zeros_(layer.bias)
