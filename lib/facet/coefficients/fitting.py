"""Fitting one photo at a time: by its 68 landmarks alone, or by its picture as well (analysis by synthesis).

`fit_landmarks` is what classical fitting of a 3D morphable model does (as `eos`): the most likely face and
pose for 68 places in an image, the same for every pixel between them. `refine` goes on from any start, a
network's answer or that fit, down the gradient of the loss that networks are trained with; of several photos
of one person it fits one identity to all.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from facet.coefficients.losses import CoefficientLoss
from facet.coefficients.renderer import FaceRenderer
from facet.networks.layout import LIGHT, Layout

NOISE = 0.01  # standard deviation of given landmarks, share of the crop's side
TRUST = 1.0  # standard deviation of every coefficient in its own unit; poses have ten times as much
RATE = 0.05  # of Adam, in units of the coefficients
BETAS = 0.9, 0.999  # of Adam: how much of the slopes' first and second moment a step keeps


def fit_landmarks(
    renderer: FaceRenderer,
    layout: Layout,
    landmarks: Tensor,
    size: int,
    *,
    noise: float = NOISE,
    iterations: int = 12,
) -> Tensor:
    """The most likely coefficients for 68 landmarks: Gauss-Newton on squared distances with a Gaussian prior.

    Σ_i ‖p_i(x) − l_i‖² / (noise S)² + Σ_k x_k² / τ_k² with τ the TRUST; texture and light stay 0. Pose alone
    for the first third of the iterations.

    Args:
        landmarks: (B, 68, 2) pixels of a crop of side `size`.
        noise: standard deviation of the landmarks, share of the side.

    Returns:
        (B, layout.total) numbers.
    """
    free = torch.ones(layout.total, dtype=torch.bool, device=landmarks.device)
    first = layout.identity + layout.expression
    free[first : first + layout.texture + LIGHT] = False
    posed = torch.zeros_like(free)
    posed[-6:] = True
    precision = torch.where(posed, 0.01, 1.0) / TRUST**2
    numbers = landmarks.new_zeros(len(landmarks), layout.total)

    def residuals(x: Tensor) -> Tensor:
        placed = renderer.landmarks(layout.read(x), size)[..., :2]
        return ((placed - landmarks) / (noise * size)).flatten(1)  # (B, 136)

    for step in range(iterations):
        chosen = (posed if step < iterations // 3 else free).nonzero()[:, 0]
        error, slope = residuals(numbers), _jacobian(residuals, numbers, chosen)
        prior = precision[chosen].to(slope)
        normal = slope.mT @ slope + torch.diag(prior)
        gradient = (slope.mT @ error[..., None])[..., 0] + prior * numbers[:, chosen]
        moved = numbers.clone()
        moved[:, chosen] -= torch.linalg.solve(normal, gradient)
        possible = residuals(moved).isfinite().all(dim=1)  # landmarks of no face lead behind the camera
        numbers = torch.where(possible[:, None], moved, numbers)
    return numbers


def _jacobian(function, numbers: Tensor, chosen: Tensor) -> Tensor:
    """(B, R, k) derivatives of (B, R) values, each row a function of its own numbers, by forward mode."""
    tangents = torch.nn.functional.one_hot(chosen, numbers.shape[1]).to(numbers)

    def along(tangent: Tensor) -> Tensor:
        return torch.func.jvp(function, (numbers,), (tangent.expand_as(numbers),))[1]

    return torch.func.vmap(along, out_dims=2)(tangents)


def refine(
    loss: CoefficientLoss,
    numbers: Tensor,
    target: dict[str, Tensor],
    *,
    steps: int,
    rate: float = RATE,
    person: Tensor | None = None,
) -> tuple[Tensor, list[float]]:
    """Coefficients after some steps of Adam down the loss, for each person by itself.

    The rate falls to a tenth along a cosine; the step with the smallest loss of the whole batch is kept.

    Args:
        numbers: (B, total) to start from; target: see :meth:`CoefficientLoss.terms`.
        steps: 0 returns the start.
        person: (B,) whose photo each row is, counted from 0: photos of one person share their identity, which
            starts as the mean of theirs, and nothing else. None: everybody is in one photo.

    Returns:
        (B, total) and the loss before each step and after the last.
    """
    if steps < 0:
        raise ValueError(f"refine cannot take {steps} steps")
    if person is None:
        person = torch.arange(len(numbers), device=numbers.device)
    numbers, count = numbers.detach(), loss.layout.identity
    identity = numbers.new_zeros(int(person.max()) + 1, count).index_add_(0, person, numbers[:, :count])
    identity = (identity / person.bincount()[:, None]).requires_grad_()
    rest = numbers[:, count:].clone().requires_grad_()
    free = [identity, rest]
    moments = [(torch.zeros_like(values), torch.zeros_like(values)) for values in free]
    curve, best = [], torch.cat((identity[person], rest), dim=1).detach()
    with torch.enable_grad():
        for step in range(steps + 1):
            current = torch.cat((identity[person], rest), dim=1)
            value = loss(current, target)
            if not value.isfinite():
                break
            curve.append(value.item())
            if curve[-1] <= min(curve):
                best = current.detach()
            if step < steps:
                slopes = torch.autograd.grad(value, free)
                pace = rate * (0.1 + 0.45 * (1 + math.cos(math.pi * step / steps)))
                for values, slope, moment in zip(free, slopes, moments, strict=True):
                    _adam(values, slope, *moment, step + 1, pace)
    return best, curve


@torch.no_grad()
def _adam(values: Tensor, slope: Tensor, first: Tensor, second: Tensor, step: int, rate: float) -> None:
    """One step of Adam (Kingma & Ba 2015) in place, counted from 1, with both moments of the slopes.

    It is here because torch's own imports its compiler first, which takes longer than the fit of a photo.
    """
    first.lerp_(slope, 1 - BETAS[0])
    second.mul_(BETAS[1]).addcmul_(slope, slope, value=1 - BETAS[1])
    spread = (second.sqrt() / math.sqrt(1 - BETAS[1] ** step)).add_(1e-8)
    values.addcdiv_(first, spread, value=-rate / (1 - BETAS[0] ** step))
