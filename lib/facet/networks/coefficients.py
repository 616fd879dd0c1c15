"""Coefficients: a residual network that answers a photo with the numbers of a face model.

ResNet-50 (He et al. 2016; stride in the 3×3 convolution, as torchvision's), global average, dropout, one
linear layer: 257 numbers with Basel's sizes. What they mean is in `layout`.
"""

import os
from pathlib import Path

import torch
from torch import Tensor, nn

from facet.networks.blocks import SameConv2d, check_image_size, scaled
from facet.networks.layout import Layout
from facet.networks.registry import register

# Blocks at each of the four resolutions, and whether they are bottlenecks.
BACKBONES = {"resnet50": ((3, 4, 6, 3), True), "resnet18": ((2, 2, 2, 2), False)}
CHANNELS = (64, 128, 256, 512)
EXPANSION = 4  # of a bottleneck
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's RGB


class ResNetBlock(nn.Module):
    """relu(shortcut(x) + body(x)): two 3×3 convolutions, or 1×1, 3×3, 1×1 with four times the channels."""

    def __init__(self, inputs: int, channels: int, stride: int, bottleneck: bool):
        super().__init__()
        outputs = channels * (EXPANSION if bottleneck else 1)
        if bottleneck:
            body = [
                *_normed(SameConv2d(inputs, channels, 1, bias=False), relu=True),
                *_normed(nn.Conv2d(channels, channels, 3, stride, 1, bias=False), relu=True),
                *_normed(SameConv2d(channels, outputs, 1, bias=False)),
            ]
        else:
            body = [
                *_normed(nn.Conv2d(inputs, channels, 3, stride, 1, bias=False), relu=True),
                *_normed(nn.Conv2d(channels, outputs, 3, 1, 1, bias=False)),
            ]
        self.body = nn.Sequential(*body)
        self.shortcut = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(*_normed(SameConv2d(inputs, outputs, 1, stride, bias=False)))
        self.outputs = outputs

    def forward(self, x: Tensor) -> Tensor:
        return (self.shortcut(x) + self.body(x)).relu_()


@register(
    "coefficients",
    title="Coefficients",
    views=1,
    source="3dmm-soft-rasteriser report",
    output="coefficients",
)
class CoefficientsNetwork(nn.Module):
    """One photo -> (B, layout.total) numbers.

    Args:
        image_size: S, a multiple of 32.
        width: factor on every channel count, rounded up to multiples of 4.
        identity, expression, texture: how many coefficients; the report's are Basel's 80, 64, 80.
        backbone: "resnet50" or "resnet18".
        dropout: share of features left out in training.
    """

    def __init__(
        self,
        *,
        image_size: int = 256,
        width: float = 1.0,
        identity: int = 80,
        expression: int = 64,
        texture: int = 80,
        backbone: str = "resnet50",
        dropout: float = 0.2,
    ):
        super().__init__()
        check_image_size(image_size, width)
        if backbone not in BACKBONES:
            raise ValueError(f"backbone must be one of {', '.join(BACKBONES)}, got {backbone!r}")
        self.layout = Layout(identity, expression, texture)
        repeats, bottleneck = BACKBONES[backbone]
        channels = scaled(CHANNELS[0], width)
        layers: list[nn.Module] = [
            *_normed(nn.Conv2d(3, channels, 7, 2, 3, bias=False), relu=True),
            nn.MaxPool2d(3, 2, 1),
        ]
        for stage, (filters, count) in enumerate(zip(CHANNELS, repeats, strict=True)):
            for number in range(count):
                stride = 2 if stage > 0 and number == 0 else 1
                layers.append(ResNetBlock(channels, scaled(filters, width), stride, bottleneck))
                channels = layers[-1].outputs
        self.encoder = nn.Sequential(*layers)
        self.decoder = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(dropout), nn.Linear(channels, self.layout.total)
        )
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(DEVIATION).view(3, 1, 1), persistent=False)
        self._start()

    def _start(self) -> None:
        """He's weights, blocks that start as their shortcut, and the mean face as first answer."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
            if isinstance(module, ResNetBlock):
                nn.init.zeros_(module.body[-1].weight)
        nn.init.zeros_(self.decoder[-1].weight)
        nn.init.zeros_(self.decoder[-1].bias)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) RGB in [0, 1] -> (B, total); `self.layout.read` says what they mean."""
        return self.decoder(self.encoder((images - self.mean) / self.deviation))


def load_imagenet(network: CoefficientsNetwork, path: str | os.PathLike) -> None:
    """Copy the convolutions and norms of torchvision's ResNet weights (a .pth file) into the encoder.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is of another network, or the network's width is not 1.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"no weights at {path}: torchvision's resnet50-*.pth is wanted")
    saved = torch.load(path, map_location="cpu", weights_only=True)
    saved = [v for n, v in saved.items() if not n.startswith("fc.") and not n.endswith("num_batches_tracked")]
    state = network.encoder.state_dict()
    own = [v for n, v in state.items() if not n.endswith("num_batches_tracked")]
    if [v.shape for v in saved] != [v.shape for v in own]:
        raise ValueError(f"{path} does not fit: a ResNet of the same depth at width 1 is wanted")
    with torch.no_grad():
        for mine, theirs in zip(own, saved, strict=True):  # both in the order of the layers
            mine.copy_(theirs)


def _normed(convolution: nn.Conv2d, *, relu: bool = False) -> list[nn.Module]:
    norm = nn.BatchNorm2d(convolution.out_channels)
    return [convolution, norm, nn.ReLU(inplace=True)] if relu else [convolution, norm]
