"""Rotation's generator and discriminators: a turned view with holes in, a picture without out.

The generator paints by spatially adaptive normalisation (Park et al. 2019): it starts from the view at S/32
and doubles its size five times; at each size the activations are normalised and then scaled and shifted by
maps that two convolutions read from the view and its guide. The last doubling is plain, and what is painted
is added to the view, so an untrained generator gives the view back.

Discriminators judge patches of the view and the picture together, at two sizes (Wang et al. 2018).
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from facet.networks.blocks import check_image_size, scaled
from facet.networks.registry import register

# Filters at S/32, S/16, S/8, S/4, S/2 and S at width 1: a quarter to a half of Park et al.'s, who paint whole
# streets from nothing; between the guide and its scales and shifts half of theirs.
FILTERS, LAST = (256, 256, 256, 128, 64), 32
HIDDEN = 64
GROUPS = 4  # every channel count is a multiple of it
LEAK = 0.2
GUIDE = 3  # channels: seen, seen mirrored, head
SCALES, LAYERS, FIRST = 2, 4, 64  # of the discriminators: how many, their layers, filters of the first


class AdaptiveNorm(nn.Module):
    """Group normalisation, scaled and shifted place by place: γ(m) · x̂ + β(m).

    Park et al. normalise over the batch; ours is too small for that (groups: Wu and He 2018).
    """

    def __init__(self, channels: int, told: int, hidden: int):
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, channels, affine=False)
        self.shared = nn.Conv2d(told, hidden, 3, padding=1)
        self.scale_shift = nn.Conv2d(hidden, 2 * channels, 3, padding=1)

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        """x (B, C, H, W), told (B, M, H, W)."""
        scale, shift = self.scale_shift(F.relu(self.shared(told))).chunk(2, dim=1)
        return self.norm(x) * (1 + scale) + shift


class AdaptiveBlock(nn.Module):
    """Residual block: twice an adaptive norm and a 3x3 convolution; one more pair where channels change."""

    def __init__(self, inputs: int, outputs: int, told: int, hidden: int):
        super().__init__()
        middle = min(inputs, outputs)
        self.norms = nn.ModuleList(AdaptiveNorm(c, told, hidden) for c in (inputs, middle))
        self.convolutions = nn.ModuleList(
            spectral_norm(nn.Conv2d(a, b, 3, padding=1)) for a, b in ((inputs, middle), (middle, outputs))
        )
        self.shortcut = None
        if inputs != outputs:
            self.shortcut = AdaptiveNorm(inputs, told, hidden)
            self.narrow = spectral_norm(nn.Conv2d(inputs, outputs, 1, bias=False))

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        """x (B, C, H, W), told (B, M, H, W) -> (B, C', H, W)."""
        same = x if self.shortcut is None else self.narrow(self.shortcut(x, told))
        for norm, convolution in zip(self.norms, self.convolutions, strict=True):
            x = convolution(F.leaky_relu(norm(x, told), LEAK))
        return same + x


@register("rotation", title="Rotation", views=1, source="synthetic-rotation thesis", output="image")
class Generator(nn.Module):
    """A filled view and its guide -> the view as a picture.

    Args:
        image_size: S, a multiple of 32.
        width: factor on every channel count, rounded up to multiples of 4.
    """

    def __init__(self, *, image_size: int = 256, width: float = 1.0):
        super().__init__()
        check_image_size(image_size, width)
        told, hidden = 3 + GUIDE, scaled(HIDDEN, width)
        sizes = [scaled(filters, width) for filters in FILTERS]
        self.start = nn.Conv2d(told, sizes[0], 3, padding=1)
        self.blocks = nn.ModuleList(
            AdaptiveBlock(a, b, told, hidden) for a, b in zip([sizes[0], *sizes[:-1]], sizes, strict=True)
        )
        last = scaled(LAST, width)
        self.end = nn.Sequential(
            *(nn.Conv2d(sizes[-1] + told, last, 3, padding=1), nn.LeakyReLU(LEAK)),
            nn.Conv2d(last, 3, 3, padding=1),
        )
        nn.init.zeros_(self.end[-1].weight)
        nn.init.zeros_(self.end[-1].bias)

    def forward(self, view: Tensor, guide: Tensor | None = None) -> Tensor:
        """(B, 3, S, S) view in [0, 1], guide (B, 3, S, S) or None (all of it seen) -> (B, 3, S, S); any S."""
        guide = torch.ones_like(view) if guide is None else guide
        told = torch.cat((2 * view - 1, guide), dim=1)
        side, steps = view.shape[-1], len(self.blocks)
        sides = [math.ceil(side / 2 ** (steps - number)) for number in range(steps)]  # S/32 ... S/2
        x = self.start(F.adaptive_avg_pool2d(told, sides[0]))
        for block, size in zip(self.blocks, sides, strict=True):
            x = F.interpolate(x, size=(size, size), mode="nearest")
            x = block(x, F.adaptive_avg_pool2d(told, size))
        x = F.interpolate(x, size=(side, side), mode="bilinear", align_corners=False)
        return view + self.end(torch.cat((x, told), dim=1))


class PatchDiscriminator(nn.Module):
    """4x4 convolutions of stride 2, instance norm: a judgement of each patch, and the features before it."""

    def __init__(self, width: float):
        super().__init__()
        channels, layers = 3 + GUIDE + 3, []
        for number in range(LAYERS):
            outputs = scaled(FIRST * 2**number, width)
            stride = 2 if number < LAYERS - 1 else 1
            convolution = spectral_norm(nn.Conv2d(channels, outputs, 4, stride, padding=2))
            norm = [nn.InstanceNorm2d(outputs)] if number else []
            layers.append(nn.Sequential(convolution, *norm, nn.LeakyReLU(LEAK)))
            channels = outputs
        self.layers = nn.ModuleList(layers)
        self.judge = nn.Conv2d(channels, 1, 4, padding=2)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, 9, H, W) -> features of each layer, and last the judgements (B, 1, h, w)."""
        found = []
        for layer in self.layers:
            x = layer(x)
            found.append(x)
        return [*found, self.judge(x)]


class Discriminators(nn.Module):
    """`SCALES` discriminators, each at half the size of the one before."""

    def __init__(self, *, width: float = 1.0):
        super().__init__()
        self.scales = nn.ModuleList(PatchDiscriminator(width) for _ in range(SCALES))

    def forward(self, view: Tensor, guide: Tensor, picture: Tensor) -> list[list[Tensor]]:
        """View and guide (B, 3, S, S), picture (B, 3, S, S) -> of each scale features and judgements."""
        x, found = torch.cat((2 * view - 1, guide, 2 * picture - 1), dim=1), []
        for discriminator in self.scales:
            found.append(discriminator(x))
            x = F.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False)
        return found


def discriminators(*, width: float = 1.0, seed: int = 0) -> Discriminators:
    """Freshly initialised discriminators; the global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Discriminators(width=width)
