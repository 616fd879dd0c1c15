"""One pass: one photo in, the face and what a second view would have told out. A design of our own.

Rotation's thesis turns the photo into a second view and then reconstructs from both: it reconstructs twice.
Here nothing is rendered. PRN's encoder and the first half of its decoder give a coarse position map, and that
map already says where every place of the face lies in the photo, so

    lift      features of the photo are read at the coarse map's (x, y): a picture of features over (u, v);
    mirror    u = ½ is the plane of symmetry: the flipped picture is the other half's, what a second view
              mostly tells; how far each place faces the camera is given along, for both halves;
    turn      differences between mirror partners all point along the head's own x axis, so the coarse map
              tells the head's pose by itself; its places are given, and the correction is made, in the
              head's own frame;
    fuse      two convolutions over (u, v), then the second half of PRN's decoder.

A small head paints the face's colours over (u, v), hidden places included: with the surface, that is the
second view at any angle.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
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
from facet.networks.prn import BLOCKS, PRN, ResidualBlock
from facet.networks.ranges import MARGIN, SPAN
from facet.networks.registry import register

COARSE = 4  # the coarse map's side is a quarter of the photo's
LIFTED = (32, 64)  # filters of the encoder's stages that are lifted: at half and at a quarter of the size
DEEP = 10  # layers of PRN's decoder before the coarse map
STEP = 0.1  # of a correction of 1, in head sizes


@dataclass
class Told:
    """What one pass tells.

    Attributes:
        position_map: (B, 3, S, S) in the network's range.
        coarse: (B, 3, S/4, S/4) likewise, before anything is lifted.
        colours: (B, 3, S/4, S/4) RGB in [0, 1] over (u, v), of the whole face.
    """

    position_map: Tensor
    coarse: Tensor
    colours: Tensor


@register("one-pass", title="One pass", views=1, source="this project")
class OnePass(nn.Module):
    """One photo -> position map, and the colours of the whole face.

    Args:
        image_size: S, a multiple of 32.
        width: factor on every channel count, rounded up to multiples of 4.
        lift, mirror, turn: False leaves that part out (for ablations).
    """

    def __init__(
        self,
        *,
        image_size: int = 256,
        width: float = 1.0,
        lift: bool = True,
        mirror: bool = True,
        turn: bool = True,
    ):
        super().__init__()
        check_image_size(image_size, width)
        self.lift, self.mirror, self.turn = lift, mirror and lift, turn
        channels = scaled(16, width)
        stem = [SameConv2d(3, channels, 4, bias=False), batch_norm(channels), nn.ReLU(inplace=True)]
        stages: list[nn.Module] = [nn.Sequential(*stem)]
        for (filters, stride), (same, after) in zip(BLOCKS[::2], BLOCKS[1::2], strict=True):
            outputs, half = scaled(filters, width), scaled(filters // 2, width)
            first = ResidualBlock(channels, outputs, half, stride)
            stages.append(nn.Sequential(first, ResidualBlock(outputs, scaled(same, width), half, after)))
            channels = outputs
        self.encoder = nn.ModuleList(stages)  # S, S/2, S/4, S/8, S/16, S/32
        decoder = Decoder(channels, width, normalised=True, squash=None)
        initialise(decoder)
        start_open(decoder)
        layers = list(decoder)
        cut = [k for k, layer in enumerate(layers) if isinstance(layer, nn.ConvTranspose2d)][DEEP]
        self.decoder, self.refine = (nn.Sequential(*part) for part in (layers[:cut], layers[cut:]))
        middle = scaled(64, width)
        self.coarse = nn.Conv2d(middle, 3, 1)
        lifted = sum(scaled(filters, width) for filters in LIFTED) + 1 if self.lift else 0
        told = middle + lifted * (1 + self.mirror) + 3 * (1 + self.mirror)
        self.fuse = nn.Sequential(
            *(nn.Conv2d(told, middle, 3, padding=1, bias=False), batch_norm(middle), nn.ReLU(inplace=True)),
            *(nn.Conv2d(middle, middle, 3, padding=1, bias=False), batch_norm(middle)),
        )
        self.colours = nn.Conv2d(middle, 3, 3, padding=1)
        for part in (self.encoder, self.coarse, self.fuse, self.colours):
            initialise(part)
        nn.init.zeros_(self.refine[-1].weight)  # a correction of nothing to start with

    def start_from(self, network: nn.Module) -> None:
        """Take the encoder and decoder of a trained PRN; its last batch norm, the sigmoid's, is left out.

        Raises:
            ValueError: the other network is of another size, or no PRN.
        """
        ours = [layer for stage in self.encoder for layer in stage] + [*self.decoder, *self.refine][:-1]
        theirs = [*network.encoder, *network.decoder] if isinstance(network, PRN) else []
        pairs = list(zip(ours, theirs, strict=False))
        if not pairs or any(_shapes(own) != _shapes(other) for own, other in pairs):
            raise ValueError(
                f"{getattr(network, 'name', 'the network')} cannot start this one: "
                "train prn with the same image_size and width first"
            )
        for own, other in pairs:
            own.load_state_dict(other.state_dict())

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, Tensor, Tensor]:
        """(B, 3, S, S) RGB in [0, 1] -> (B, 3, S, S) map; in training mode map, coarse map and colours."""
        told = self.tell(images)
        return (told.position_map, told.coarse, told.colours) if self.training else told.position_map

    def tell(self, images: Tensor) -> Told:
        """Everything that the pass gives."""
        x, pyramid = images, []
        for stage in self.encoder:
            x = stage(x)
            pyramid.append(x)
        features = self.decoder(x)  # (B, C, S/4, S/4) over (u, v)
        coarse = torch.sigmoid(self.coarse(features))
        frame, size, turned = own_frame(coarse.detach())
        if not self.turn:
            frame, size = torch.eye(3).to(frame).expand_as(frame), torch.ones_like(size)
            turned = 4 * (coarse.detach() - 0.5)
        told = [features, turned]
        if self.lift:
            seen = lift(pyramid[1:3], coarse.detach(), images.shape[-1])
            told.append(torch.cat((seen, facing(coarse.detach())), dim=1))
            if self.mirror:
                told += [told[-1].flip(3), turned.flip(3) * turned.new_tensor([-1.0, 1, 1]).view(1, 3, 1, 1)]
        features = F.relu(features + self.fuse(torch.cat(told, dim=1)))
        correction = STEP * size[:, None, None, None] * self.refine(features)  # (B, 3, S, S), head frame
        correction = torch.einsum("bij,bjhw->bihw", frame, correction)
        up = F.interpolate(coarse, scale_factor=COARSE, mode="bilinear", align_corners=False)
        return Told(up + correction, coarse, torch.sigmoid(self.colours(features)))


def _shapes(layer: nn.Module) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in layer.state_dict().items()}


def lift(features: list[Tensor], coarse: Tensor, image_size: int) -> Tensor:
    """Image features (B, C, ·, ·) read where a position map (B, 3, s, s) in [0, 1] lies: (B, ΣC, s, s)."""
    place = SPAN * coarse[:, :2].permute(0, 2, 3, 1) - MARGIN  # share of the photo's side, pixel 0 at 0
    grid = 2 * place + (1 / image_size - 1)  # -1 and 1 are the photo's edges, half a pixel off
    parts = [F.grid_sample(x, grid, padding_mode="border", align_corners=False) for x in features]
    return torch.cat(parts, dim=1)


def facing(coarse: Tensor) -> Tensor:
    """(B, 1, s, s) cosine between the surface's normal and the view, from the map's own tangents.

    Image frame, u to the subject's left (the image's right), v down: du x dv points out of the face.
    """
    across, down = (torch.gradient(coarse, dim=dim)[0] for dim in (3, 2))
    return F.normalize(torch.linalg.cross(across, down, dim=1), dim=1, eps=1e-9)[:, 2:]


def own_frame(coarse: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The head's frame as a position map tells it, and its places in that frame.

    x: mean difference of mirror partners; y: lower less upper half, made orthogonal; z: their cross product.

    Args:
        coarse: (B, 3, s, s), image frame.

    Returns:
        frame (B, 3, 3), columns x, y, z of the head in the image; size (B,), half the mean difference of
        mirror partners; places (B, 3, s, s) from the map's mean, in that size.
    """
    half = coarse.shape[3] // 2
    partner = coarse - coarse.flip(3)
    across = partner[..., half:].mean(dim=(2, 3))  # (B, 3)
    down = (coarse[:, :, half:] - coarse[:, :, :half]).mean(dim=(2, 3))
    x = F.normalize(across, dim=1, eps=1e-6)
    y = F.normalize(down - (down * x).sum(dim=1, keepdim=True) * x, dim=1, eps=1e-6)
    frame = torch.stack((x, y, torch.linalg.cross(x, y, dim=1)), dim=2)
    size = across.norm(dim=1).clamp(min=1e-2) / 2
    centred = (coarse - coarse.mean(dim=(2, 3), keepdim=True)) / size[:, None, None, None]
    return frame, size, torch.einsum("bji,bjhw->bihw", frame, centred)
