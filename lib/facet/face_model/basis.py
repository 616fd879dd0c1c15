"""Principal components of heads that are already linear in known coefficients."""

import torch
from torch import Tensor


def principal_modes(coefficients: Tensor, shapes: Tensor, vertex_weights: Tensor, count: int):
    """Modes of the heads Σ c_k shapes_k when c varies as in `coefficients` (N, K).

    With Σ = cov(c) and B = shapes as a matrix, the modes are the left singular vectors u of Σ^½ B W^½: each
    displaces the head by u Σ^½ B for one standard deviation, and a head's coordinates are u Σ^−½ (c − c̄),
    of unit variance and uncorrelated. W weighs vertices (the face patch counts more than neck and skull).

    Args:
        shapes: (K, V, 3) displacements; vertex_weights: (V,).

    Returns:
        mean coefficients (K,), modes (count, V, 3) in millimetres a standard deviation, coordinates' matrix
        (K, count), the share of the weighted variance that each mode holds (count,).
    """
    mean = coefficients.mean(dim=0)
    covariance = torch.cov(coefficients.T)
    values, vectors = torch.linalg.eigh(covariance)
    alive = values > 1e-9 * values.max()
    root = vectors[:, alive] * values[alive].sqrt()  # (K, R): Σ^½ up to a rotation that the modes absorb
    inverse_root = vectors[:, alive] / values[alive].sqrt()
    flat = shapes.reshape(len(shapes), -1)
    weighted = root.T @ (flat * vertex_weights.repeat_interleave(3).sqrt())
    variance, modes = torch.linalg.eigh(weighted @ weighted.T)
    order = torch.argsort(variance, descending=True)[:count]
    share = variance[order] / variance.sum()
    displacement = (modes[:, order].T @ root.T) @ flat
    largest = displacement.abs().argmax(dim=1, keepdim=True)
    sign = displacement.gather(1, largest).sign()  # fixed sign: the largest displacement is positive
    return (
        mean,
        (displacement * sign).reshape(len(order), *shapes.shape[1:]),
        inverse_root @ modes[:, order] * sign.T,
        share,
    )
