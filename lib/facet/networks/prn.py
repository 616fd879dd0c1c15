"""PRN: the position map regression network (Feng et al., ECCV 2018), one photo -> UV position map.

A 4x4 convolution, ten bottleneck residual blocks down to S/32, seventeen transposed convolutions up again.
Layers follow the authors' published network: no biases, batch norm with scale and offset after every
convolution but a block's last and its shortcut, one batch norm after each sum, and one before the sigmoid.
"""

from torch import Tensor, nn

from facet.networks.blocks import (
    Decoder,
    SameConv2d,
    batch_norm,
    check_image_size,
    initialise,
    scaled,
    start_open,
)
from facet.networks.registry import register

# (filters, stride) of the ten residual blocks.
BLOCKS = ((32, 2), (32, 1), (64, 2), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1))


class ResidualBlock(nn.Module):
    """Bottleneck: 1x1 N/2, 4x4 N/2 with the stride, 1x1 N; 1x1 shortcut where the shape changes."""

    def __init__(self, inputs: int, outputs: int, half: int, stride: int):
        super().__init__()
        self.shortcut = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = SameConv2d(inputs, outputs, 1, stride, bias=False)
        self.body = nn.Sequential(
            *(SameConv2d(inputs, half, 1, bias=False), batch_norm(half), nn.ReLU(inplace=True)),
            *(SameConv2d(half, half, 4, stride, bias=False), batch_norm(half), nn.ReLU(inplace=True)),
            SameConv2d(half, outputs, 1, bias=False),
        )
        self.norm = batch_norm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.body(x) + self.shortcut(x)).relu_()


@register("prn", title="PRN", views=1, source="Feng et al. 2018")
class PRN(nn.Module):
    """One photo -> position map.

    Args:
        image_size: S, a multiple of 32.
        width: factor on every channel count, rounded up to multiples of 4.
        squash: last activation; "sigmoid" (PRN), "tanh" (Residual's first stage) or "none".
    """

    def __init__(self, *, image_size: int = 256, width: float = 1.0, squash: str = "sigmoid"):
        super().__init__()
        check_image_size(image_size, width)
        endings = {"sigmoid": nn.Sigmoid(), "tanh": nn.Tanh(), "none": None}
        if squash not in endings:
            raise ValueError(f"squash must be one of {', '.join(endings)}, got {squash!r}")
        channels = scaled(16, width)
        layers: list[nn.Module] = [
            SameConv2d(3, channels, 4, bias=False),
            batch_norm(channels),
            nn.ReLU(inplace=True),
        ]
        for filters, stride in BLOCKS:
            outputs = scaled(filters, width)
            layers.append(ResidualBlock(channels, outputs, scaled(filters // 2, width), stride))
            channels = outputs
        self.encoder = nn.Sequential(*layers)
        self.decoder = Decoder(channels, width, normalised=True, squash=endings[squash])
        self.signed = squash == "tanh"
        initialise(self)
        start_open(self.decoder)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) RGB in [0, 1] -> (B, 3, S, S) position map in the network's range."""
        return self.decoder(self.encoder(images))
