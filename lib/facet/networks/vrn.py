"""VRN (Jackson et al. 2017; Volumetric, section 2.4): one photo -> a volume that is 1 inside the face.

Two stacked hourglasses without supervision between them; the depth slices of the volume are the output's
channels. The review leaves open how features at a quarter of the photo's side become a volume: here the last
1x1 convolution gives r² values for each slice at each place, laid out as r × r voxels (Shi et al. 2016).
"""

from torch import Tensor, nn

from facet.landmarks68 import COUNT
from facet.networks.blocks import check_image_size, scaled
from facet.networks.hourglass import FEATURES, STRIDE, initialise, stage, start_quiet, stem
from facet.networks.registry import register

PAPER_SIZE = 192  # pixels of the photo that the paper's numbers are for
NARROWEST = 2 / 3  # pixels of the photo: below that a Gaussian between pixels is seen by none of them


def guide_sigma(image_size: int, factor: float = 1.0) -> float:
    """The guiding heat-maps' standard deviation in pixels: factor (1 in the paper) at 192 pixels.

    In proportion at other sizes, but never so that factor 1 is narrower than NARROWEST: 1.33 pixels at 256,
    0.67 at 128 and also at 64, where 0.33 would leave of a landmark's peak between 0.11 and 1 (now 0.57 to 1)
    by where it lies among the pixels. Wider ones keep their ratio: factor 3 is 4, 2 and 2 pixels.
    """
    return factor * max(image_size / PAPER_SIZE, NARROWEST)


def default_volume(image_size: int) -> tuple[int, int, int]:
    """(height, width, depth) of the paper at 256 pixels, 192 × 192 × 200, else half the photo's side."""
    return (192, 192, 200) if image_size == 256 else (image_size // 2,) * 3


class Regressor(nn.Sequential):
    """Features (B, N, S/4, S/4) -> scores of a volume (B, D, H, W): 1x1 convolution, rearranged."""

    def __init__(self, channels: int, image_size: int, volume: tuple[int, int, int]):
        height, width, depth = volume
        places = image_size // STRIDE
        if height != width or height % places:
            raise ValueError(
                f"volume must be (k·{places}, k·{places}, depth) at {image_size} pixels, got {tuple(volume)}"
            )
        factor = height // places
        super().__init__(nn.Conv2d(channels, depth * factor**2, 1), nn.PixelShuffle(factor))

    def start(self) -> None:
        """Start undecided about every voxel."""
        start_quiet(self[0])


class Volumetric(nn.Module):
    """What the three networks share."""

    inputs = 3

    def __init__(self, image_size: int, width: float, volume):
        super().__init__()
        check_image_size(image_size, width)
        self.volume = tuple(volume) if volume else default_volume(image_size)
        self.stem = stem(self.inputs, width)

    def volume_scores(self, output) -> Tensor:
        """(B, D, H, W) scores of an output; their sigmoid is the probability of being inside."""
        return output


@register("vrn", title="VRN", views=1, source="Jackson et al. 2017", output="volume")
class VRN(Volumetric):
    """One photo -> volume.

    Args:
        image_size: S, a multiple of 32.
        width: factor on every channel count, rounded up to multiples of 4.
        volume: (height, width, depth) in voxels; height = width = a multiple of S/4.
    """

    def __init__(self, *, image_size: int = 256, width: float = 1.0, volume=None):
        super().__init__(image_size, width, volume)
        channels = scaled(FEATURES, width)
        self.stages = nn.Sequential(*(stage(image_size, channels) for _ in range(2)))
        self.regressor = Regressor(channels, image_size, self.volume)
        initialise(self)
        self.regressor.start()

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) RGB in [0, 1] -> (B, D, H, W) scores, slice 0 the farthest from the camera."""
        return self.regressor(self.stages(self.stem(images)))


@register("vrn-guided", title="VRN-Guided", views=1, source="Jackson et al. 2017", output="volume")
class Guided(VRN):
    """Photo and the heat-maps of its 68 landmarks, stacked by `facet.heatmaps.guide` -> volume.

    Args:
        sigma: standard deviation of the heat-maps that it learns from, in pixels of the photo; kept for those
            who guide it.

    Others as VRN's.
    """

    inputs = 3 + COUNT

    def __init__(self, *, image_size: int = 256, width: float = 1.0, volume=None, sigma: float | None = None):
        super().__init__(image_size=image_size, width=width, volume=volume)
        self.sigma = guide_sigma(image_size) if sigma is None else sigma

    def forward(self, images: Tensor) -> Tensor:
        """(B, 71, S, S) RGB in [0, 1] and heat-maps in [0, 1] -> (B, D, H, W) scores."""
        return super().forward(images)


@register("vrn-multitask", title="VRN-Multitask", views=1, source="Jackson et al. 2017", output="volume")
class Multitask(Volumetric):
    """One photo -> volume and 68 heat-maps: one hourglass, and two that read it; arguments as VRN's."""

    def __init__(self, *, image_size: int = 256, width: float = 1.0, volume=None):
        super().__init__(image_size, width, volume)
        channels = scaled(FEATURES, width)
        self.trunk, self.solid, self.points = (stage(image_size, channels) for _ in range(3))
        self.regressor = Regressor(channels, image_size, self.volume)
        self.scores = nn.Conv2d(channels, COUNT, 1)
        initialise(self)
        self.regressor.start()
        start_quiet(self.scores)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, S, S) -> scores of the volume (B, D, H, W) and of the heat-maps (B, 68, S/4, S/4)."""
        x = self.trunk(self.stem(images))
        return self.regressor(self.solid(x)), self.scores(self.points(x))

    def volume_scores(self, output) -> Tensor:
        return output[0]

    def landmark_scores(self, output) -> Tensor:
        """(B, 68, S/4, S/4) scores of the heat-maps."""
        return output[1]
