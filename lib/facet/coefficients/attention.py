"""Which pixels show this face's skin: what is compared with a rendered face, when hair and glasses are not.

No table of skin colours: each photo says by its own cheeks and nose what its skin looks like, so that every
tone and every light is treated alike.
"""

import torch
from torch import Tensor

# Places well inside the face between landmarks: (landmark, landmark, share of the way from the first).
_PLACES = (
    *((1, 31, s) for s in (0.45, 0.6, 0.75)),
    *((15, 35, s) for s in (0.45, 0.6, 0.75)),
    *((3, 31, s) for s in (0.5, 0.65)),
    *((13, 35, s) for s in (0.5, 0.65)),
    *((27, 30, s) for s in (0.0, 0.35, 0.7, 1.0)),
    *((4, 48, s) for s in (0.5, 0.7)),
    *((12, 54, s) for s in (0.5, 0.7)),
)
SPREAD = 0.12  # least standard deviation of a skin's log-brightness and colours
REACH = 2.5  # standard deviations at which a pixel counts by e^-½


def skin_attention(photos: Tensor, landmarks: Tensor) -> Tensor:
    """Weights of pixels: near 1 on skin as on cheeks and nose, near 0 on what looks otherwise.

    Colours are compared as log-brightness and log-chroma; the skin's middle and spread are the median and
    the median deviation at eighteen places between landmarks.

    Args:
        photos: (B, 3, R, R) RGB in [0, 1]; landmarks: (B, 68, 2) in their pixels.

    Returns:
        (B, R, R) in (0, 1], without gradient.
    """
    with torch.no_grad():
        colours = _features(photos)
        first, second = (landmarks[:, [p[k] for p in _PLACES]] for k in (0, 1))
        share = landmarks.new_tensor([p[2] for p in _PLACES])[:, None]
        place = first + share * (second - first)  # (B, P, 2)
        grid = (2 * (place + 0.5) / photos.shape[-1] - 1)[:, :, None]
        seen = torch.nn.functional.grid_sample(
            colours, grid.to(colours), padding_mode="border", align_corners=False
        )[..., 0]  # (B, 3, P)
        middle = seen.median(dim=2).values
        spread = (1.4826 * (seen - middle[..., None]).abs().median(dim=2).values).clamp(min=SPREAD)
        away = (colours - middle[..., None, None]) / (REACH * spread[..., None, None])
        return torch.exp(-0.5 * away.square().sum(dim=1))


def _features(photos: Tensor) -> Tensor:
    """(B, 3, R, R) log of green, red over green, blue over green."""
    red, green, blue = photos.clamp(min=0.02).log().unbind(1)
    return torch.stack((green / 2, red - green, blue - green), dim=1)
