"""Losses of heat-maps and volumes. Targets are dicts: "landmarks" (B, 68, 2) pixels, "volume" packed bits."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facet.heatmaps import gaussian_maps, soft_argmax
from facet.rendering.voxels import unpack


def inside(landmarks: Tensor, image_size: int) -> Tensor:
    """(B, 68) float, 1 for the landmarks that lie in the photo: a heat-map can hold no other."""
    edge = image_size - 0.5
    return ((landmarks >= -0.5) & (landmarks <= edge)).all(dim=-1).to(landmarks)


def distance(scores: Tensor, landmarks: Tensor, image_size: int) -> Tensor:
    """Mean distance of the landmarks read from scores (B, 68, h, h) to the true ones, share of the side."""
    error = torch.linalg.vector_norm(soft_argmax(scores, image_size) - landmarks, dim=-1)
    seen = inside(landmarks, image_size)
    return (error * seen).sum() / seen.sum().clamp(min=1) / image_size


def divergence(scores: Tensor, landmarks: Tensor, image_size: int, *, sigma: float) -> Tensor:
    """Mean Kullback-Leibler divergence of each heat-map from the Gaussian around its true landmark, nats.

    Args:
        scores: (B, 68, h, h), before the softmax.
        sigma: of the Gaussian, pixels of the photo.
    """
    target = gaussian_maps(landmarks, scores.shape[-1], image_size, sigma=sigma).flatten(2)
    target = target / target.sum(-1, keepdim=True).clamp(min=1e-12)
    apart = (torch.xlogy(target, target) - target * scores.flatten(2).log_softmax(-1)).sum(-1)
    seen = inside(landmarks, image_size)
    return (apart * seen).sum() / seen.sum().clamp(min=1)


class LandmarkLoss(nn.Module):
    """Over all hourglasses: distance of the read landmarks, and the heat-maps' divergence from Gaussians.

    L = Σ_k 2‖p_k − q‖ / S + λ KL(Gaussian ‖ heat-map_k)   (after Nibali et al. 2018)

    Args:
        image_size: S.
        sigma: of the Gaussians in pixels of the photo.
        share: λ.
    """

    def __init__(self, image_size: int, *, sigma: float, share: float):
        super().__init__()
        self.image_size, self.sigma, self.share = image_size, sigma, share

    def forward(self, output: Tensor, target: dict[str, Tensor]) -> Tensor:
        """(B, stacks, 68, h, h) scores -> scalar."""
        landmarks, size = target["landmarks"], self.image_size
        total = output.new_zeros(())
        for scores in output.float().unbind(dim=1):
            total = total + 2 * distance(scores, landmarks, size)
            total = total + self.share * divergence(scores, landmarks, size, sigma=self.sigma)
        return total


class LandmarkDistance(nn.Module):
    """Mean distance of the last hourglass' landmarks in sides of the photo: what validation looks at."""

    def __init__(self, image_size: int):
        super().__init__()
        self.image_size = image_size

    def forward(self, output: Tensor, target: dict[str, Tensor]) -> Tensor:
        """(B, stacks, 68, h, h) scores -> scalar."""
        return distance(output[:, -1].float(), target["landmarks"], self.image_size)


class VolumeLoss(nn.Module):
    """Sigmoid cross-entropy, the mean over voxels (Volumetric eq. 1), from scores, so that none overflows.

    For a network with heat-maps as well (multitask) plus `share` times their divergence from Gaussians.

    Args:
        image_size: S, with sigma (pixels) and share: of the heat-maps.
    """

    def __init__(self, image_size: int, *, sigma: float = 1.0, share: float = 0.0):
        super().__init__()
        self.image_size, self.sigma, self.share = image_size, sigma, share

    def forward(self, output: Tensor | tuple[Tensor, Tensor], target: dict[str, Tensor]) -> Tensor:
        """(B, D, H, W) scores, or those and (B, 68, h, h) -> scalar, nats a voxel."""
        volume, *heatmaps = output if isinstance(output, tuple) else (output,)
        value = F.binary_cross_entropy_with_logits(volume.float(), unpack(target["volume"]).float())
        for scores in heatmaps if self.share else ():
            landmarks = target["landmarks"]
            apart = divergence(scores.float(), landmarks, self.image_size, sigma=self.sigma)
            value = value + self.share * apart
        return value
