"""Landmarks as heat-maps: Gaussians drawn around points, and points read from a network's scores.

A heat-map of side h over a photo of S pixels has places (i, j) whose centres lie at pixel
(j + ½) S/h − ½, (i + ½) S/h − ½, so that side S is the photo's own grid.
"""

import torch
from torch import Tensor


def centres(side: int, image_size: int, like: Tensor) -> Tensor:
    """(side,) pixel coordinates of the places' centres along one axis."""
    places = torch.arange(side, device=like.device, dtype=like.dtype)
    return (places + 0.5) * (image_size / side) - 0.5


def gaussian_maps(landmarks: Tensor, side: int, image_size: int, *, sigma: float) -> Tensor:
    """A Gaussian of height 1 around every landmark.

    Args:
        landmarks: (B, N, 2 or 3) pixels of the photo.
        side: of the heat-maps.
        image_size: S.
        sigma: standard deviation in pixels of the photo.

    Returns:
        (B, N, side, side).
    """
    axis = centres(side, image_size, landmarks)
    along = [torch.exp(-0.5 * ((axis - landmarks[..., k, None]) / sigma) ** 2) for k in (0, 1)]
    return along[1][..., :, None] * along[0][..., None, :]


def guide(images: Tensor, landmarks: Tensor, *, sigma: float) -> Tensor:
    """(B, 3 + 68, S, S): photos stacked with the heat-maps of their landmarks (B, 68, 2 or 3).

    Channels lie last in memory, as the networks read them: drawn so, 71 channels cost half.
    """
    axis = centres(images.shape[-1], images.shape[-1], images)
    place = landmarks.to(images)[:, None, :, :2]  # (B, 1, 68, 2)
    x, y = (torch.exp(-0.5 * ((axis[:, None] - place[..., k]) / sigma) ** 2) for k in (0, 1))  # (B, S, 68)
    maps = y[:, :, None] * x[:, None]  # (B, S, S, 68)
    return torch.cat((images.permute(0, 2, 3, 1), maps), dim=3).permute(0, 3, 1, 2)


def probabilities(scores: Tensor) -> Tensor:
    """(..., h, h) softmax over the places of each map."""
    return scores.flatten(-2).softmax(dim=-1).view_as(scores)


def soft_argmax(scores: Tensor, image_size: int) -> Tensor:
    """(..., 2) pixels: the mean place under the softmax of scores (..., h, h) (Nibali et al. 2018)."""
    share = probabilities(scores)
    axis = centres(scores.shape[-1], image_size, scores)
    return torch.stack(((share.sum(-2) * axis).sum(-1), (share.sum(-1) * axis).sum(-1)), dim=-1)
