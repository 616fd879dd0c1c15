"""Residual: PRN's map is a first draft, and a second network that sees draft and photo says what to add.

    Brief = tanh(decoder(encoder(photo)))                    stage 1: PRN, 28 layers
    Delta = refinement([photo, Brief])                       stage 2: eight residual blocks at full size
    Output = tanh(Brief + Delta)                             and again from Output for every further stage

(Residual-position-map thesis, 3.4.) A refinement is a 3x3 convolution to 64 channels, eight blocks of two 3x3
convolutions with a ReLU between them and the identity added, a 3x3 convolution to 256 and a 1x1 one to 3. The
thesis gives neither normalisation nor an activation between the last two: there is none, and a ReLU (without
it the two would be one linear map).
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from facet.networks.blocks import SameConv2d, initialise, scaled
from facet.networks.prn import PRN
from facet.networks.registry import register

CHANNELS, WIDE, BLOCKS = 64, 256, 8
JOINS = ("output", "logit")


@dataclass(frozen=True)
class Stages:
    """What the network says stage by stage, each (B, 3, S, S) in its range.

    Attributes:
        output: the answer.
        briefs: what each refinement was given: the first is PRN's map.
        deltas: what each refinement added before the activation.
    """

    output: Tensor
    briefs: tuple[Tensor, ...]
    deltas: tuple[Tensor, ...]


class PlainBlock(nn.Module):
    """x + W2 * relu(W1 * x), kernels 3x3, equal channels; it starts as the identity."""

    def __init__(self, channels: int):
        super().__init__()
        self.body = nn.Sequential(
            SameConv2d(channels, channels, 3), nn.ReLU(inplace=True), SameConv2d(channels, channels, 3)
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class Refinement(nn.Sequential):
    """Photo and map (B, 6, S, S) -> Delta (B, 3, S, S); it starts as nothing to add."""

    def __init__(self, width: float):
        channels, wide = scaled(CHANNELS, width), scaled(WIDE, width)
        super().__init__(
            SameConv2d(6, channels, 3),
            *(PlainBlock(channels) for _ in range(BLOCKS)),
            *(SameConv2d(channels, wide, 3), nn.ReLU(inplace=True)),
            SameConv2d(wide, 3, 1),
        )
        initialise(self)
        for block in list(self)[1 : 1 + BLOCKS]:
            nn.init.zeros_(block.body[-1].weight)
        nn.init.zeros_(self[-1].weight)


@register("residual", title="Residual", views=1, source="residual-position-map thesis")
class Residual(PRN):
    """One photo -> position map, refined.

    In training mode it returns (output, *briefs), so that a loss sees every stage; in eval mode the output.

    Args:
        image_size: S, a multiple of 32.
        width: factor on every channel count.
        squash: the range of all stages: "tanh" (the thesis, [-1, 1]) or "sigmoid" ([0, 1]).
        stages: 1 is PRN alone, 2 the thesis' network; "it is possible to loop a third time": 3, each stage
            with weights of its own.
        join: what Delta is added to: "output", the activated Brief (the thesis; then Delta = 0 gives
            tanh(Brief), not Brief), or "logit", Brief before its activation (Delta = 0 gives Brief).
        refinement_width: factor on the refinements' channels; None is `width`.
        frozen_steps: for so many training steps stage 1 learns nothing and keeps its moving statistics.
    """

    def __init__(
        self,
        *,
        image_size: int = 256,
        width: float = 1.0,
        squash: str = "tanh",
        stages: int = 2,
        join: str = "output",
        refinement_width: float | None = None,
        frozen_steps: int = 0,
    ):
        super().__init__(image_size=image_size, width=width, squash=squash)
        if squash == "none" or join not in JOINS or stages < 1:
            raise ValueError(
                f"squash must be tanh or sigmoid, join one of {', '.join(JOINS)}, stages at least 1; "
                f"got {squash!r}, {join!r}, {stages}"
            )
        self.activation = self.decoder.pop(-1)
        self.join, self.frozen_steps, self.frozen = join, frozen_steps, False
        thickness = width if refinement_width is None else refinement_width
        self.refinements = nn.ModuleList(Refinement(thickness) for _ in range(stages - 1))
        self.parts = {f"stage {k + 2}": part for k, part in enumerate(self.refinements)}

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        """(B, 3, S, S) RGB in [0, 1] -> (B, 3, S, S) position map in the network's range; see above."""
        found = self.run(images)
        return (found.output, *found.briefs) if self.training else found.output

    def run(self, images: Tensor) -> Stages:
        """Every stage's part in the answer."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            logits = self.decoder(self.encoder(images))
        briefs, deltas, output = [], [], self.activation(logits)
        for refine in self.refinements:
            briefs.append(output)
            deltas.append(refine(torch.cat((images, output), dim=1)))
            logits = (output if self.join == "output" else logits) + deltas[-1]
            output = self.activation(logits)
        return Stages(output, tuple(briefs), tuple(deltas))

    def at_step(self, step: int) -> None:
        """Told by the training loop before each step: whether stage 1 is frozen."""
        frozen = step < self.frozen_steps
        if frozen != self.frozen:
            self.frozen = frozen
            self.train(self.training)

    def train(self, mode: bool = True) -> "Residual":
        """As of any module, but a frozen stage 1 stays in eval mode."""
        super().train(mode)
        if self.frozen:
            self.encoder.eval()
            self.decoder.eval()
        return self

    @torch.no_grad()
    def start_from(self, network: nn.Module) -> None:
        """Take a trained PRN's weights for stage 1 (or another Residual's for all stages it has).

        tanh(x / 2) = 2 sigmoid(x) - 1: a sigmoid network becomes a tanh one, and the other way, by the scale
        of its last batch norm, with the same positions.

        Raises:
            ValueError: the other network is of another size, or no encoder-decoder of PRN's.
        """
        own, other = self.state_dict(), network.state_dict()
        wrong = sorted(
            name for name, value in other.items() if own.get(name, value[None]).shape != value.shape
        )
        if not isinstance(network, PRN) or wrong:
            raise ValueError(
                f"{getattr(network, 'name', 'the network')} cannot start this one"
                + (f" ({wrong[0]} does not fit)" if wrong else "")
                + ": train prn with the same image_size and width first"
            )
        self.load_state_dict({**own, **other})
        factor = {(True, False): 0.5, (False, True): 2.0}.get((self.signed, network.signed), 1.0)
        for value in (self.decoder[-1].weight, self.decoder[-1].bias):
            value.mul_(factor)
