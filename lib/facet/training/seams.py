"""Masks over UV that differ in what they ask at the edge between face and neck.

Where the weight falls from 3 to 0 a network is free to say anything one texel farther, and its layers, which
see several texels at once, carry that back across the edge: the seam that TwoView's thesis (5.1) found in
its surfaces and in PRN's. It proposes other weights for the seam's texels. Scores count the same texels
whatever the mask.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

BAND = 1 / 16  # width of a seam's band, share of the map's side
LANDMARK, FACE = 16.0, 3.0  # weight of the landmarks and of the plain face


def rings(inside: Tensor, reach: int) -> Tensor:
    """Chessboard distance to the mask's edge in texels: 1, 2, … inside, −1, −2, … outside, up to ± reach.

    Args:
        inside: (S, S) bool. Beyond the square nothing counts as inside.

    Returns:
        (S, S) int64.
    """
    return _depth(inside, reach) - _depth(~inside, reach, beyond=0.0)


def neck(model, size: int) -> Tensor:
    """(S, S) bool: uncounted texels that reach the square's border; the lips' membrane is not among them."""
    out = hard(model, size) == 0
    border = torch.ones_like(out)
    border[1:-1, 1:-1] = False
    found = out & border
    while True:
        grown = F.max_pool2d(found.float()[None, None], 3, stride=1, padding=1)[0, 0].bool() & out
        if torch.equal(grown, found):
            return found
        found = grown


def hard(model, size: int) -> Tensor:
    """PRN's and TwoView's 16 : 4 : 3 : 0."""
    return model.uv_weight(size)


def residual(model, size: int) -> Tensor:
    """Residual's 1 : 0.4 : 0.3 : 0: eyes, nose, mouth and face count more beside the landmarks than above."""
    weight = hard(model, size)
    return torch.where(weight == LANDMARK, 1.0, weight / 10)


def raised(model, size: int) -> Tensor:
    """Twice the weight in a band inside the edge ("increased weights at the seam's vertices")."""
    weight, ring = hard(model, size), _rings(model, size)
    return torch.where((ring > 0) & (ring <= _band(size)), 2 * weight, weight)


def lowered(model, size: int) -> Tensor:
    """Half the weight in that band."""
    weight, ring = hard(model, size), _rings(model, size)
    return torch.where((ring > 0) & (ring <= _band(size)), weight / 2, weight)


def taper(model, size: int) -> Tensor:
    """Beyond the edge the weight falls from 3 to 0 over a band, on the neck, whose truth is known."""
    weight, ring, band = hard(model, size), _rings(model, size), _band(size)
    falling = FACE * (1 + ring / (band + 1)).clamp(min=0)
    return torch.where(ring < 0, falling.to(weight), weight)


def everywhere(model, size: int) -> Tensor:
    """No edge: what the mask leaves out counts 1."""
    return hard(model, size).clamp(min=1.0)


def none(model, size: int) -> Tensor:
    """Every texel counts alike."""
    return torch.ones_like(hard(model, size))


MASKS: dict[str, Callable[[object, int], Tensor]] = {
    "16:4:3:0": hard,
    "1:0.4:0.3:0": residual,
    "none": none,
    "raised": raised,
    "lowered": lowered,
    "taper": taper,
    "everywhere": everywhere,
}


def mask(name: str, model, size: int) -> Tensor:
    """(S, S) weights by name.

    Raises:
        ValueError: there is no such mask.
    """
    if name not in MASKS:
        raise ValueError(f"no mask is called {name!r}; there are {', '.join(MASKS)}")
    return MASKS[name](model, size)


def _band(size: int) -> int:
    return max(1, round(BAND * size))


def _rings(model, size: int) -> Tensor:
    return rings(~neck(model, size), _band(size) + 1)


def _depth(some: Tensor, reach: int, beyond: float = 1.0) -> Tensor:
    """(S, S) 0 outside of `some`, else how many texels deep; `beyond` 1 erodes from the border too."""
    left = some.float()[None, None]
    depth = torch.zeros_like(left)
    for _ in range(reach):
        depth = depth + left
        outside = F.pad(1 - left, (1, 1, 1, 1), value=beyond)
        left = 1 - F.max_pool2d(outside, 3, stride=1)
    return depth[0, 0].long()
