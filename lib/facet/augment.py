"""Augmentation: similarities of the image plane with the truth that follows them, and disturbed colours.

Pure functions of a `torch.Generator`, batched, plain torch. An image frame point is (x, y, z) pixels, x
right, y down, z toward the camera. A geometric augmentation is a 2D similarity about the crop's centre,
mirrored or not; on points it acts as a (B, 3, 4) lift: the in-plane rotation leaves z alone, the scale
multiplies z as well. A mirrored photograph shows another person, whose left was the first one's right: x
becomes S − 1 − x, the position map's u axis is reversed and landmarks change places. The side photo of a
pair is mirrored with the front photo.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from facet import disturb
from facet.crop import invert, lift
from facet.landmarks68 import FLIP


@dataclass(frozen=True)
class Augmentation:
    """Ranges of the random changes; the default changes nothing. Chances are per photo, boxes and noise too.

    Attributes:
        rotation: largest in-plane turn either way, degrees.
        scale: factor's range.
        translation: largest shift in x and in y, share of the image size.
        flip: chance of mirroring (a pair is mirrored together).
        black_outside: chance that what a turned crop shows beyond its context window is black (else
            mirrored).
        channel_scale: range of the factor of each changed colour channel.
        channels: range of how many channels are changed.
        brightness: largest offset either way.
        contrast: factor's range, about the photo's mean.
        saturation: factor's range.
        grey: chance of a black-and-white photo.
        gamma: (chance, largest exponent); exponents lie between 1 / largest and largest, evenly in the
            logarithm.
        shade: largest relative change of light from the centre to the edge, a ramp of random direction.
        blur: (chance, largest standard deviation in pixels at a 128-pixel image; grows with the image).
        resample: (chance, largest factor) of shrinking and enlarging again.
        jpeg: (chance, lowest quality) of quantising 8×8 blocks as JPEG does, up to quality 90.
        boxes: chance of occluding boxes.
        box_count: range of their number.
        box_size: range of their sides, share of the image size.
        box_fill: what fills them, drawn at random: "black", "colour", "noise".
        noise: Gaussian noise's standard deviation is U[0, noise].
        noise_chance: chance of that noise.
        uniform_noise: (chance, largest share of pixels) replaced by random colours.
    """

    rotation: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)
    translation: float = 0.0
    flip: float = 0.0
    black_outside: float = 1.0
    channel_scale: tuple[float, float] = (1.0, 1.0)
    channels: tuple[int, int] = (3, 3)
    brightness: float = 0.0
    contrast: tuple[float, float] = (1.0, 1.0)
    saturation: tuple[float, float] = (1.0, 1.0)
    grey: float = 0.0
    gamma: tuple[float, float] = (0.0, 1.0)
    shade: float = 0.0
    blur: tuple[float, float] = (0.0, 0.0)
    resample: tuple[float, float] = (0.0, 1.0)
    jpeg: tuple[float, int] = (0.0, 90)
    boxes: float = 0.0
    box_count: tuple[int, int] = (1, 3)
    box_size: tuple[float, float] = (0.05, 0.4)
    box_fill: tuple[str, ...] = ("black",)
    noise: float = 0.0
    noise_chance: float = 1.0
    uniform_noise: tuple[float, float] = (0.0, 0.0)

    @classmethod
    def preset(cls, name: str, **changes) -> Augmentation:
        """One of :data:`PRESETS`, with changes.

        Raises:
            ValueError: no such preset.
        """
        if name not in PRESETS:
            raise ValueError(f"no augmentation is called {name!r}: choose from {', '.join(PRESETS)}")
        return replace(PRESETS[name], **changes)


@dataclass(frozen=True)
class Combined(Augmentation):
    """Of Gaussian noise, random colours and occluding boxes each photo gets so many, all equally likely.

    The chances of the three alone (noise_chance, uniform_noise[0], boxes) then say nothing.

    Attributes:
        kinds: range of how many of the three.
    """

    kinds: tuple[int, int] = (1, 3)


def from_values(values: Mapping) -> Augmentation:
    """The augmentation of plain values: those of `dataclasses.asdict`, of a Combined one too."""
    return (Combined if "kinds" in values else Augmentation)(**values)


PRESETS: dict[str, Augmentation] = {
    "none": Augmentation(),
    # TwoView 4.4: rotation, channel scale, black boxes ("dropout"; their number and size are not stated).
    "twoview": Augmentation(rotation=45.0, channel_scale=(0.9, 1.2), boxes=0.5),
    # Rotation 4.2: after the views are made, so no geometry.
    "rotation": Augmentation(channel_scale=(0.6, 1.4), boxes=0.5),
    # Residual 3.2.3: one to three of Gaussian noise, random noise and a mask patch (strengths not stated; the
    # patch lies on the face there, anywhere in the crop here).
    "residual": Combined(
        rotation=45.0,
        scale=(0.7, 1.3),
        translation=0.1,
        channel_scale=(0.5, 1.5),
        channels=(1, 3),
        boxes=1.0,
        box_count=(1, 1),
        box_fill=("black", "colour"),
        noise=0.1,
        uniform_noise=(1.0, 0.1),
    ),
    # PRN (Feng et al. 2018) 3.4: occlusions are textures of noise.
    "prn": Augmentation(
        rotation=45.0,
        scale=(0.9, 1.2),
        translation=0.1,
        channel_scale=(0.6, 1.4),
        boxes=0.5,
        box_fill=("noise",),
    ),
    # VRN (Jackson et al. 2017): 15 of 192 pixels; the colour range is not stated.
    "volumetric": Augmentation(
        rotation=45.0, scale=(0.85, 1.15), translation=15 / 192, flip=0.2, channel_scale=(0.6, 1.4)
    ),
    # Ours: for networks that see renders only and must work on photographs.
    "photo": Augmentation(
        rotation=45.0,
        scale=(0.85, 1.15),
        translation=0.07,
        flip=0.5,
        black_outside=0.3,
        channel_scale=(0.75, 1.25),
        brightness=0.12,
        contrast=(0.6, 1.3),
        saturation=(0.4, 1.3),
        grey=0.1,
        gamma=(0.35, 1.6),
        shade=0.35,
        blur=(0.3, 1.2),
        resample=(0.25, 3.0),
        jpeg=(0.3, 25),
        boxes=0.4,
        box_fill=("black", "colour", "noise"),
        noise=0.05,
    ),
    # The same, milder: for budgets of some thousand steps.
    "photo-light": Augmentation(
        rotation=20.0,
        scale=(0.9, 1.1),
        translation=0.05,
        flip=0.5,
        black_outside=0.3,
        channel_scale=(0.8, 1.2),
        brightness=0.1,
        contrast=(0.7, 1.25),
        saturation=(0.5, 1.2),
        grey=0.05,
        gamma=(0.3, 1.4),
        shade=0.3,
        blur=(0.25, 0.9),
        resample=(0.15, 2.0),
        jpeg=(0.15, 40),
        boxes=0.2,
        box_size=(0.05, 0.3),
        box_fill=("black", "colour", "noise"),
        noise=0.03,
    ),
}


@dataclass(frozen=True)
class Geometry:
    """Drawn similarities of a batch of photos or pairs.

    Attributes:
        matrices: (B, views, 2, 3) from crop pixels to augmented crop pixels, a mirror included.
        flip: (B,) bool, which are mirrored.
        image_size: S.
    """

    matrices: Tensor
    flip: Tensor
    image_size: int

    def lift(self, view: int = 0) -> Tensor:
        """(B, 3, 4) map of image-frame points; for `crop.compose(lift, model_to_image)` and for maps alike.

        Where `flip` is set it mirrors: the map made with it must be reversed in u (:func:`flip_maps`),
        landmarks renumbered (:func:`flip_landmarks`).
        """
        return lift(self.matrices[:, view])

    def move_map(self, position_map: Tensor, view: int = 0) -> Tensor:
        """Position map (B, 3, S', S') of the crop → of the augmented crop, mirrored ones reversed in u."""
        matrix = self.lift(view).to(position_map)
        moved = (matrix[:, :, :3] @ position_map.flatten(2)).add_(matrix[:, :, 3:])  # quicker than baddbmm
        return flip_maps(moved.view_as(position_map), self.flip)

    def move_landmarks(self, landmarks: Tensor, view: int = 0) -> Tensor:
        """Landmarks (B, 68, 2 or 3) of the crop → those of the augmented crop, mirrored ones renumbered."""
        size = landmarks.shape[2]
        matrix = self.lift(view).to(landmarks)[:, :size]
        moved = landmarks @ matrix[:, :, :size].mT + matrix[:, None, :, 3]
        return flip_landmarks(moved, self.flip)


def draw_geometry(
    generator: torch.Generator,
    batch: int,
    augmentation: Augmentation,
    *,
    image_size: int,
    views: int = 1,
) -> Geometry:
    """Random similarities x' = c + t + s Rot(θ) (x − c), c the crop's centre, then for some x' ↦ S − 1 − x'.

    θ > 0 turns the picture clockwise as one looks at it, so roll' = roll − θ. Each view has its own draw;
    all views of one person are mirrored together.

    Returns:
        Geometry on the generator's device.
    """
    device = generator.device
    draw = torch.rand((batch, views, 4), generator=generator, device=device)
    flip = torch.rand(batch, generator=generator, device=device) < augmentation.flip
    angle = torch.deg2rad((2 * draw[..., 0] - 1) * augmentation.rotation)
    low, high = augmentation.scale
    scale = low + (high - low) * draw[..., 1]
    shift = (2 * draw[..., 2:] - 1) * augmentation.translation * image_size
    cos, sin = scale * torch.cos(angle), scale * torch.sin(angle)
    linear = torch.stack((torch.stack((cos, -sin), dim=-1), torch.stack((sin, cos), dim=-1)), dim=-2)
    centre = torch.full((2,), (image_size - 1) / 2, device=device)
    offset = centre + shift - linear @ centre
    mirror = torch.where(flip, -1.0, 1.0)[:, None]
    linear[..., 0, :] *= mirror[..., None]
    offset[..., 0] = torch.where(flip[:, None], image_size - 1 - offset[..., 0], offset[..., 0])
    return Geometry(torch.cat((linear, offset[..., None]), dim=-1), flip, image_size)


def warp(context: Tensor, matrix: Tensor, *, image_size: int, black_outside: Tensor | None = None) -> Tensor:
    """Augmented crops from context windows, bilinear.

    Args:
        context: (N, 3, L, L), L ≥ S, of the crop's pixel size and centred on it: crop pixel x lies at
            context pixel x + (L − S) / 2. Float in [0, 1], or uint8 (quickest with the channels last in
            memory).
        matrix: (N, 2, 3) from crop pixels to augmented crop pixels.
        image_size: S.
        black_outside: (N,) bool, where True the crop is black beyond the window, else the window is mirrored
            there; None is black everywhere.

    Returns:
        (N, 3, S, S).
    """
    length = context.shape[-1]
    if context.ndim != 4 or context.shape[-2] != length or length < image_size:
        raise ValueError(f"context must be (N, 3, L, L), L ≥ {image_size}, got {tuple(context.shape)}")
    if context.dtype == torch.uint8:
        context = context.to(torch.float32) / 255
    back = invert(matrix.to(context))
    linear, shift = back[:, :, :2], back[:, :, 2]
    # grid_sample's units: a picture spans [-1, 1] from the outer edges of its outer pixels. A sum of a row
    # and a column vector makes the grid four times faster than F.affine_grid.
    middle = linear.sum(dim=2) * ((image_size - 1) / 2) + shift + (length - image_size) / 2
    axis = torch.arange(image_size, device=context.device, dtype=context.dtype)
    axis = (axis - (image_size - 1) / 2) * (2 / length)
    along_x = axis[:, None] * linear[:, None, :, 0] + ((2 * middle + 1) / length - 1)[:, None]  # (N, S, 2)
    grid = along_x[:, None] + (axis[:, None] * linear[:, None, :, 1])[:, :, None]  # (N, S, S, 2)
    everywhere = black_outside is None or bool(black_outside.all())
    padding = "border" if everywhere else "reflection"  # alike within the window; border is quicker
    out = F.grid_sample(context, grid, padding_mode=padding, align_corners=False)
    if everywhere:
        return out.mul_(_inside(grid)[:, None])
    some = black_outside.nonzero()[:, 0].to(out.device)
    if some.numel():
        out[some] *= _inside(grid[some])[:, None]
    return out


def _inside(grid: Tensor) -> Tensor:
    """(N, S, S) bool, where both coordinates of a sampling grid, which is overwritten, lie in the picture."""
    within = grid.abs_() <= 1
    return within[..., 0] & within[..., 1]


def augment_geometry(
    context: Tensor,
    generator: torch.Generator,
    augmentation: Augmentation,
    *,
    image_size: int,
) -> tuple[Tensor, Geometry]:
    """Turn, scale, shift and mirror crops, read from context windows larger than the crop.

    Args:
        context: (B, 3·views, L, L); the views of a pair one after the other, see :func:`warp`.
        generator: every draw.
        augmentation: ranges.
        image_size: S.

    Returns:
        images (B, 3·views, S, S), and the Geometry that moves position maps and landmarks along.
    """
    batch, channels, length = context.shape[:3]
    views = channels // 3
    if channels != 3 * views or views == 0:
        raise ValueError(f"context must be (B, 3·views, L, L), got {tuple(context.shape)}")
    geometry = draw_geometry(generator, batch, augmentation, image_size=image_size, views=views)
    chance = torch.rand(batch * views, generator=generator, device=generator.device)
    photos = context.reshape(batch * views, 3, length, -1)
    matrices = geometry.matrices.reshape(batch * views, 2, 3)
    black = chance < augmentation.black_outside
    out = warp(photos, matrices, image_size=image_size, black_outside=black)
    return out.view(batch, channels, image_size, image_size), geometry


def augment_colour(images: Tensor, generator: torch.Generator, augmentation: Augmentation) -> Tensor:
    """Disturb the colours of photos; each photo of a pair by its own draws.

    In the order in which a photograph comes about: light (shade), camera colours, blur and size, gamma,
    occluding boxes, sensor noise, JPEG. Images are clamped to [0, 1].

    Args:
        images: (B, 3·views, S, S) float in [0, 1].
        generator: every draw.
        augmentation: ranges.

    Returns:
        A new tensor of the same shape.
    """
    photos = images.reshape(-1, 3, *images.shape[2:])
    photos = disturb.colours(photos, generator, augmentation)
    photos = disturb.soften(photos, generator, augmentation)
    photos = disturb.gamma(photos, generator, augmentation)
    if isinstance(augmentation, Combined):
        photos = disturb.combine(photos, generator, augmentation)
    else:
        photos = disturb.occlude(photos, generator, augmentation)
        photos = disturb.add_noise(photos, generator, augmentation)
    photos = disturb.compress(photos, generator, augmentation)
    return photos.clamp_(0.0, 1.0).view_as(images)


def augment(
    context: Tensor,
    position_map: Tensor,
    generator: torch.Generator,
    augmentation: Augmentation,
) -> tuple[Tensor, Tensor]:
    """A training batch: images and the position map of the first view, both augmented.

    Args:
        context: (B, 3·views, L, L), see :func:`augment_geometry`.
        position_map: (B, 3, S, S) pixels of the crop of the first (front) photo.
        generator: every draw.
        augmentation: ranges.

    Returns:
        images (B, 3·views, S, S) and position map (B, 3, S, S).
    """
    size = position_map.shape[-1]
    images, geometry = augment_geometry(context, generator, augmentation, image_size=size)
    return augment_colour(images, generator, augmentation), geometry.move_map(position_map)


def flip_maps(position_map: Tensor, flip: Tensor) -> Tensor:
    """Reverse the u axis (columns) of the position maps (B, C, S, S) where `flip` (B,) is True."""
    some = flip.nonzero()[:, 0].to(position_map.device)
    return position_map.index_copy(0, some, position_map[some].flip(-1)) if some.numel() else position_map


def flip_landmarks(landmarks: Tensor, flip: Tensor) -> Tensor:
    """Renumber mirrored landmarks (B, 68, D) where `flip` (B,) is True."""
    table = torch.tensor(FLIP, device=landmarks.device)
    return torch.where(flip.to(landmarks.device)[:, None, None], landmarks[:, table], landmarks)
