"""Adversarial training: a generator and its discriminators in one optimiser, one step and one checkpoint.

    L_G = −Σ D(x, G(x)) + λ_f Σ |D_k(x, G(x)) − D_k(x, y)| + λ_r |G(x) − y| (+ λ_p perceptual)
    L_D = Σ max(0, 1 − D(x, y)) + max(0, 1 + D(x, G(x)))

The hinge form (Lim and Ye 2017), feature matching (Wang et al. 2018), reconstruction. Both are descended at
once: in L_G the discriminators' parameters are constants, in L_D the generator's picture is.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from facet.networks.rotation import discriminators
from facet.training.history import History
from facet.training.loop import fit
from facet.training.settings import Settings


@dataclass(frozen=True)
class Shares:
    """Factors of the generator's losses; 0 leaves one out."""

    adversarial: float = 0.5
    features: float = 5.0
    reconstruction: float = 50.0
    perceptual: float = 0.0


class Game(nn.Module):
    """A generator and its discriminators as one network to train.

    Attributes:
        generator: (view, guide) → picture; discriminators: (view, guide, picture) → features and judgements.
    """

    def __init__(self, generator: nn.Module, judges: nn.Module):
        super().__init__()
        self.generator, self.discriminators = generator, judges
        self.name = getattr(generator, "name", "generator")

    def forward(self, told: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 6, S, S) view and guide → the picture (B, 3, S, S), and what it was made from."""
        return self.generator(told[:, :3], told[:, 3:]), told


class GameLoss(nn.Module):
    """L_G + L_D of a game.

    Args:
        judges: the game's discriminators.
        shares: λ.
        perceptual: (picture, picture) → scalar, for `shares.perceptual`.
    """

    def __init__(self, judges: nn.Module, shares: Shares, perceptual: nn.Module | None = None):
        super().__init__()
        if shares.perceptual and perceptual is None:
            raise ValueError("a perceptual share needs a perceptual loss: set the share to 0 or give one")
        self.discriminators, self.shares, self.perceptual = judges, shares, perceptual

    def forward(self, output: tuple[Tensor, Tensor], target: tuple[Tensor, Tensor]) -> Tensor:
        """Output of `Game`; target: the true picture (B, 3, S, S) and what each pixel counts (B, 1, S, S)."""
        terms = self.terms(output, target)
        return sum(terms.values())

    def terms(self, output: tuple[Tensor, Tensor], target: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        """Every term with its factor: those of the generator, and "discriminators"."""
        (picture, told), (truth, weight) = output, target
        view, guide, shares = told[:, :3], told[:, 3:], self.shares
        constants = {name: value.detach() for name, value in self.discriminators.named_parameters()}
        judged = functional_call(self.discriminators, constants, (view, guide, picture))
        real = self.discriminators(view, guide, truth)
        fake = self.discriminators(view, guide, picture.detach())
        terms = {
            "adversarial": -shares.adversarial * sum(scale[-1].mean() for scale in judged) / len(judged),
            "features": shares.features * _features(judged, real),
            "reconstruction": shares.reconstruction * reconstruction(picture, truth, weight),
            "discriminators": hinge(real, fake),
        }
        if shares.perceptual:
            terms["perceptual"] = shares.perceptual * self.perceptual(picture, truth)
        return terms


def hinge(real: list[list[Tensor]], fake: list[list[Tensor]]) -> Tensor:
    """L_D: mean over places and scales of max(0, 1 − D(real)) + max(0, 1 + D(fake))."""
    losses = [F.relu(1 - r[-1]).mean() + F.relu(1 + f[-1]).mean() for r, f in zip(real, fake, strict=True)]
    return sum(losses) / len(losses)


def _features(judged: list[list[Tensor]], real: list[list[Tensor]]) -> Tensor:
    """Mean absolute difference of features, averaged over layers and scales."""
    pairs = [
        (a, b.detach()) for j, r in zip(judged, real, strict=True) for a, b in zip(j[:-1], r, strict=False)
    ]
    return sum((a - b).abs().mean() for a, b in pairs) / len(pairs)


def reconstruction(picture: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """Σ w |G − y| / (3 Σ w)."""
    return (weight * (picture - truth).abs()).sum() / (3 * weight.sum()).clamp(min=1e-6)


class ReconstructionError:
    """Validation: mean reconstruction error of a generator over fixed batches."""

    def __init__(self, batches: list):
        """batches: (told (B, 6, S, S), (truth, weight)) each."""
        self.batches = batches

    @torch.no_grad()
    def __call__(self, game: nn.Module) -> float:
        """Of a `Game` in eval mode."""
        device, total, count = next(game.parameters()).device, 0.0, 0
        for told, (truth, weight) in self.batches:
            picture = game(told.to(device))[0]
            total += float(reconstruction(picture, truth.to(device), weight.to(device))) * len(told)
            count += len(told)
        return total / count


def fitted(width: float, shares: Shares, perceptual: nn.Module | None = None) -> Callable[..., History]:
    """A `fit` for generators: the discriminators are made, trained along, and forgotten."""

    def fit_game(
        network: nn.Module, batches, validate, settings: Settings, *, loss: nn.Module, **options
    ) -> History:
        game = Game(network, discriminators(width=width, seed=settings.seed))
        return fit(
            game, batches, validate, settings,
            loss=GameLoss(game.discriminators, shares, perceptual), **options,
        )  # fmt: skip

    return fit_game
