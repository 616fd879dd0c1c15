"""Images with holes, continued smoothly."""

import torch.nn.functional as F
from torch import Tensor


def push_pull(weighted: Tensor, weight: Tensor) -> Tensor:
    """Colours, and where their weight is below 1 those of coarser and coarser averages (Gortler et al. 1996).

    Args:
        weighted: (B, C, H, W) colours times their weight.
        weight: (B, 1, H, W) in [0, 1].

    Returns:
        (B, C, H, W); 0 where an image has no weight at all.
    """
    if max(weight.shape[2:]) == 1:
        return weighted / weight.clamp(min=1e-6)
    pooled, share = F.avg_pool2d(weighted, 2, ceil_mode=True), F.avg_pool2d(weight, 2, ceil_mode=True)
    full = (share * 4.0).clamp(max=1.0)  # a quarter of the pixels is enough to trust the average
    coarse = push_pull(pooled / share.clamp(min=1e-6) * full, full)
    up = F.interpolate(coarse, size=weight.shape[2:], mode="bilinear", align_corners=False)
    return weighted + (1.0 - weight) * up
