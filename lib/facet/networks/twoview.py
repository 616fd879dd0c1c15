"""TwoView: a front and a side photo, stacked, through MobileNetV2's encoder and PRN's decoder.

The layers are those that give the thesis' 11,791,273 parameters: MobileNetV2's stages with the t = 1 stage
keeping its expanding convolution, a bias on every convolution, a 1x1 head to 512 channels, and PRN's decoder
with biases and without batch norm. `mobile` is the same network on one photo.
"""

from torch import Tensor, nn

from facet.networks.blocks import (
    Decoder,
    SameConv2d,
    batch_norm,
    check_image_size,
    initialise,
    scaled,
    start_linear,
)
from facet.networks.registry import register

# MobileNetV2 (Sandler et al. 2018, table 2): expansion, channels, repeats, first stride.
STAGES = (
    *((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2)),
    *((6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)),
)


def convolution(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """Biased 'same' convolution, batch norm and ReLU6."""
    return [
        SameConv2d(inputs, outputs, kernel, stride, groups=groups, bias=True),
        batch_norm(outputs),
        nn.ReLU6(inplace=True),
    ]


class InvertedResidual(nn.Module):
    """1x1 expansion, 3x3 depthwise, linear 1x1 projection; identity sum where the shape allows it."""

    def __init__(self, inputs: int, outputs: int, expansion: int, stride: int):
        super().__init__()
        hidden = inputs * expansion
        self.body = nn.Sequential(
            *convolution(inputs, hidden, 1),
            *convolution(hidden, hidden, 3, stride, groups=hidden),
            *convolution(hidden, outputs, 1)[:2],
        )
        self.identity = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x) if self.identity else self.body(x)


class MobileEncoderDecoder(nn.Module):
    """MobileNetV2 encoder, PRN decoder: (B, 3 * views, S, S) -> (B, 3, S, S)."""

    def __init__(self, views: int, image_size: int, width: float):
        super().__init__()
        check_image_size(image_size, width)
        channels = scaled(32, width)
        layers = convolution(3 * views, channels, 3, 2)
        for expansion, filters, repeats, stride in STAGES:
            outputs = scaled(filters, width)
            for repeat in range(repeats):
                layers.append(InvertedResidual(channels, outputs, expansion, 1 if repeat else stride))
                channels = outputs
        head = scaled(512, width)
        self.encoder = nn.Sequential(*layers, *convolution(channels, head, 1))
        self.decoder = Decoder(head, width, normalised=False, squash=nn.Sigmoid())
        initialise(self)
        self._start()

    def _start(self) -> None:
        """A decoder that starts linear; blocks that start as their identity (Goyal et al. 2017)."""
        start_linear(self.decoder)
        for module in self.encoder.modules():
            if isinstance(module, SameConv2d) and module.groups > 1:
                nn.init.kaiming_normal_(module.weight)
            if isinstance(module, InvertedResidual) and module.identity:
                nn.init.zeros_(module.body[-1].weight)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3 * views, S, S) RGB in [0, 1], front photo first -> (B, 3, S, S) in [0, 1]."""
        return self.decoder(self.encoder(images))


@register("twoview", title="TwoView", views=2, source="front-and-side-images thesis")
class TwoView(MobileEncoderDecoder):
    """Front and side photo, depth-wise concatenation -> position map of the front photo."""

    def __init__(self, *, image_size: int = 256, width: float = 1.0):
        super().__init__(2, image_size, width)


@register("mobile", title="Mobile", views=1, source="TwoView's network on one photo")
class Mobile(MobileEncoderDecoder):
    """TwoView's network on one photo: what the second photo is measured against."""

    def __init__(self, *, image_size: int = 256, width: float = 1.0):
        super().__init__(1, image_size, width)
