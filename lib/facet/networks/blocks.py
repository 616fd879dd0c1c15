"""Layers that the networks share: TensorFlow's 'same' padding, width scaling and PRN's decoder.

All tensors are (B, C, H, W) float32. Padding follows TensorFlow, in which the papers' networks were written:
a convolution of kernel k and stride s on an even side pads max(k - s, 0) in all, the smaller half first.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

BATCH_NORM_EPS = 1e-3  # Keras' and TensorFlow-slim's default (torch: 1e-5)
BATCH_NORM_MOMENTUM = 0.01  # Keras' 0.99 in torch's notation: new = 0.99 old + 0.01 batch (torch: 0.1)

# PRN (Feng et al. 2018), seventeen transposed convolutions of kernel 4: (filters, stride).
DECODER_LAYERS = (
    *((512, 1), (256, 2), (256, 1), (256, 1), (128, 2), (128, 1), (128, 1), (64, 2), (64, 1)),
    *((64, 1), (32, 2), (32, 1), (16, 2), (16, 1), (3, 1), (3, 1), (3, 1)),
)


def scaled(channels: int, width: float) -> int:
    """Channels times width, rounded up to a multiple of 4; three channels (an image) stay three."""
    if channels == 3:
        return 3
    return 4 * math.ceil(channels * width / 4 - 1e-9)


def check_image_size(image_size: int, width: float) -> None:
    """Raises:
    ValueError: image_size is no positive multiple of 32, or width is not positive.
    """
    if image_size <= 0 or image_size % 32:
        raise ValueError(f"image_size must be a positive multiple of 32 (64, 128, 256), got {image_size}")
    if width <= 0:
        raise ValueError(f"width must be positive, got {width}")


def batch_norm(channels: int) -> nn.BatchNorm2d:
    """Batch norm with Keras' epsilon and momentum."""
    return nn.BatchNorm2d(channels, eps=BATCH_NORM_EPS, momentum=BATCH_NORM_MOMENTUM)


class SameConv2d(nn.Conv2d):
    """Convolution with TensorFlow's 'same' padding: side n becomes ceil(n / stride)."""

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        if kernel == 1 and stride > 1:
            # oneDNN's channels-last backward of a strided 1x1 convolution writes out of bounds and crashes
            # (torch 2.13 on CPU, 8 -> 12 channels); the same sum on every stride-th pixel does not.
            x, stride = x[:, :, ::stride, ::stride], 1
        side = x.shape[-1]
        total = max((math.ceil(side / stride) - 1) * stride + kernel - side, 0)
        if total % 2:
            x = F.pad(x, (total // 2, total - total // 2) * 2)
            total = 0
        return F.conv2d(x, self.weight, self.bias, stride, total // 2, 1, self.groups)


class SameTransposedConv2d(nn.ConvTranspose2d):
    """Transposed convolution of kernel 4 with TensorFlow's 'same' padding: side n becomes n times stride.

    Stride 2 crops one row and column on each side, stride 1 one at the start and two at the end.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, *, bias: bool):
        super().__init__(inputs, outputs, kernel_size=4, stride=stride, padding=1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        if self.stride[0] == 2:
            return super().forward(x)
        # At stride 1 the transposed convolution IS the convolution with the turned, swapped kernel, padded
        # (2, 1); a direct convolution is faster and needs no crop that leaves a strided tensor behind.
        kernel = self.weight.flip(2, 3).transpose(0, 1)
        return F.conv2d(F.pad(x, (2, 1, 2, 1)), kernel, self.bias)


def initialise(network: nn.Module) -> None:
    """Glorot-uniform weights and zero biases, as Keras and TensorFlow-slim start the papers' networks.

    One guard beside: without batch norm, a filter with a negative sum is often dead everywhere on the ReLU
    outputs before it, and a decoder whose three last channels are dead learns nothing. In the three-channel
    layers before the last, such filters change their sign (the distribution is symmetric).
    """
    narrow = []
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
            if isinstance(layer, nn.ConvTranspose2d) and layer.out_channels == 3:
                narrow.append(layer.weight)  # (in, 3, 4, 4)
    with torch.no_grad():
        for weight in narrow[:-1]:
            weight.mul_(torch.where(weight.sum((0, 2, 3)) < 0, -1.0, 1.0)[:, None, None])


class Decoder(nn.Sequential):
    """PRN's decoder: (B, inputs, S/32, S/32) -> (B, 3, S, S) in [0, 1].

    ReLU after every layer but the last, which is linear here: `squash` (sigmoid, or None) ends it.
    With batch norm the convolutions carry no bias (PRN); without, they do (TwoView).
    """

    def __init__(self, inputs: int, width: float, *, normalised: bool, squash: nn.Module | None):
        layers: list[nn.Module] = []
        for index, (filters, stride) in enumerate(DECODER_LAYERS):
            outputs = scaled(filters, width)
            layers.append(SameTransposedConv2d(inputs, outputs, stride, bias=not normalised))
            if normalised:
                layers.append(batch_norm(outputs))
            if index < len(DECODER_LAYERS) - 1:
                layers.append(nn.ReLU(inplace=True))
            inputs = outputs
        super().__init__(*layers, *([squash] if squash is not None else []))
