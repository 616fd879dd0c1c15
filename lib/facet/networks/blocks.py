"""Layers that the networks share: TensorFlow's 'same' padding, width scaling and PRN's decoder.

All tensors are (B, C, H, W) float32. Padding follows TensorFlow, in which the papers' networks were written:
a convolution of kernel k and stride s on an even side pads max(k - s, 0) in all, the smaller half first.
"""

import math

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
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
        kernel, bias = self.weight.flip(2, 3).transpose(0, 1), self.bias
        kind = x.device.type
        if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
            low = torch.get_autocast_dtype(kind)  # autocast does not reach a Function's backward pass
            x, kernel = x.to(low), kernel.to(low)
            bias = None if bias is None else bias.to(low)
        return PaddedConv2d.apply(x, kernel, bias)


class PaddedConv2d(torch.autograd.Function):
    """Convolution of kernel 4 and stride 1, padded by 2 before and 1 after, with a direct backward pass.

    The gradient of its input is the convolution of the output's gradient with the turned, swapped kernel,
    padded (1, 2). oneDNN's own backward pass takes four times as long where channels are few (3 -> 3 at 128
    pixels: 14 ms against 3 on one core).
    """

    @staticmethod
    def forward(ctx, x: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor:
        """x (B, I, H, W), kernel (O, I, 4, 4), bias (O,) or None -> (B, O, H, W)."""
        ctx.save_for_backward(x, kernel)
        return F.conv2d(F.pad(x, (2, 1, 2, 1)), kernel, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """The gradients of x, kernel and bias."""
        x, kernel = ctx.saved_tensors
        of_x, of_kernel, of_bias = ctx.needs_input_grad
        to_x = to_kernel = to_bias = None
        if of_x:
            turned = kernel.flip(2, 3).transpose(0, 1)
            to_x = F.conv2d(F.pad(gradient, (1, 2, 1, 2)), turned)
        if of_kernel:
            padded = F.pad(x, (2, 1, 2, 1))
            to_kernel = torch.nn.grad.conv2d_weight(padded, kernel.shape, gradient)
        if of_bias:
            to_bias = gradient.sum((0, 2, 3))
        return to_x, to_kernel, to_bias


def initialise(network: nn.Module) -> None:
    """Glorot-uniform weights and zero biases, as Keras and TensorFlow-slim start the papers' networks."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


@torch.no_grad()
def start_open(decoder: nn.Module) -> None:
    """Let the three-channel layers of a decoder with batch norm start as the identity, mostly above 0.

    Three ReLU in a row on three channels around 0 each cut half of what the whole network has to say.
    """
    layers = list(decoder.modules())
    narrow = [k for k, m in enumerate(layers) if isinstance(m, nn.ConvTranspose2d) and m.out_channels == 3]
    for k in narrow[1:]:
        layers[k].weight.copy_(torch.eye(3)[:, :, None, None] * _interpolation(1))
    for k in narrow[:-1]:  # the batch norm after it
        layers[k + 1].weight.fill_(0.5)
        layers[k + 1].bias.fill_(1.0)


@torch.no_grad()
def start_linear(decoder: nn.Module) -> None:
    """Start a decoder without batch norm as one linear map, up-sampled bilinearly ("looks linear").

    From Glorot's weights seventeen layers of ReLU answer every photo alike, and training stays at the mean
    face for thousands of steps. Here filters come in pairs (w, -w), and the next layer takes the difference
    of a pair: relu(x) - relu(-x) = x (Balduzzi et al. 2017), w orthogonal over channels, in space bilinear
    or one tap. The three-channel layers, which a few negative sums would silence for good, start as the
    identity around +1.
    """
    layers = [layer for layer in decoder.modules() if isinstance(layer, nn.ConvTranspose2d)]
    *paired, first, second, last = layers
    for layer in layers:
        layer.bias.zero_()
    for index, layer in enumerate((*paired, first)):
        halves = 1 if index == 0 else 2  # the encoder's output is no pair
        wanted = layer.out_channels if layer is first else layer.out_channels // 2
        weight = layer.weight.new_empty(layer.in_channels // halves, wanted)
        nn.init.orthogonal_(weight, gain=math.sqrt(max(1.0, len(weight) / wanted)))
        if index:
            weight = torch.cat((weight, -weight))
        weight = 0.3 * weight if layer is first else torch.cat((weight, -weight), dim=1)
        layer.weight.copy_(weight[:, :, None, None] * _interpolation(layer.stride[0]).to(weight))
    for layer in (second, last):
        layer.weight.copy_(torch.eye(3)[:, :, None, None] * _interpolation(1))
    first.bias.fill_(1.0)
    last.bias.fill_(-1.0)


def _interpolation(stride: int) -> Tensor:
    """(4, 4) kernel of an interpolating transposed convolution: bilinear at stride 2, one tap at stride 1."""
    line = torch.tensor([0.25, 0.75, 0.75, 0.25] if stride == 2 else [0.0, 1.0, 0.0, 0.0])
    return torch.outer(line, line)


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
