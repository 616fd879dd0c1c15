"""What a face's geometry asks of a map beside its distance to the truth, and the loss of several stages.

Residual (thesis, 3.4.4): L2 = λ1 L1 + λ2 L_kpt + λ3 L_smooth (eq. 3.4), the λ not given. Lengths are shares
of the crop's side; as means (the thesis sums over texels) all three are of one magnitude, and λ = 1.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from facet.face_model.position_map import vertices_from_map
from facet.geometry import map_laplacian
from facet.landmarks68 import FLIP, NOSE_TIP
from facet.networks.ranges import to_pixels
from facet.training import seams
from facet.training.losses import PositionLoss

# The 29 pairs of the 58 landmarks that do not lie on the midline; what stands first has no meaning.
PAIRS = tuple((i, j) for i, j in enumerate(FLIP) if i < j)
_TINY = 1e-12  # under a root: its gradient at 0 stays finite


def landmark_symmetry(landmarks: Tensor) -> Tensor:
    """Mean over the 29 pairs of | ‖V_i − V_30‖ − ‖V_j − V_30‖ |: unequal distances from the nose's tip.

    Residual eq. 3.2, with the absolute difference that its brackets mean. No truth is needed; a similarity
    changes it by its scale alone.

    Args:
        landmarks: (B, 68, 3), iBUG order.

    Returns:
        Scalar, in the landmarks' unit.
    """
    distance = ((landmarks - landmarks[:, NOSE_TIP, None]).square().sum(dim=2) + _TINY).sqrt()  # (B, 68)
    right, left = torch.tensor(PAIRS, device=landmarks.device).T
    return (distance[:, right] - distance[:, left]).abs().mean()


def map_roughness(position_map: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean over texels of ‖p − mean of its four neighbours‖, the UV Laplacian's length.

    Residual eq. 3.3; at the square's border the missing neighbours are the texel itself.

    Args:
        position_map: (B, 3, S, S).
        weight: (S, S), not negative; None counts all texels alike.

    Returns:
        Scalar, in the map's unit.
    """
    length = (map_laplacian(position_map).square().sum(dim=1) + _TINY).sqrt().mean(dim=0)  # (S, S)
    return length.mean() if weight is None else (weight * length).sum() / weight.sum()


class StageLoss(nn.Module):
    """Distance to the truth of every stage, and symmetry and smoothness of the encoder-decoder's map.

    L = L1(Output) + β Σ L1(Brief) + λ2 L_kpt + λ3 L_smooth, the last two of the first Brief, or of the output
    where there is one stage only: they are meant for the encoder-decoder.

    Args:
        weight: (S, S) over UV of the distance (`PositionLoss`).
        landmark_uv: (68, 2) where the landmarks lie in the map.
        squared, signed: as `PositionLoss`.
        symmetry: λ2; smoothness: λ3; briefs: β, 0 asks nothing of what comes before the output.
    """

    def __init__(
        self,
        weight: Tensor,
        landmark_uv: Tensor,
        *,
        squared: bool = False,
        signed: bool = False,
        symmetry: float = 0.0,
        smoothness: float = 0.0,
        briefs: float = 1.0,
    ):
        super().__init__()
        self.distance = PositionLoss(weight, squared=squared, signed=signed)
        self.register_buffer("landmark_uv", landmark_uv.float())
        self.symmetry, self.smoothness, self.briefs = symmetry, smoothness, briefs

    def forward(self, output: Tensor | Sequence[Tensor], target: Tensor) -> Tensor:
        """A map, or (output, first Brief, …), each (B, 3, S, S) in the network's range; target in pixels."""
        output, *briefs = [output] if isinstance(output, Tensor) else output
        total = self.distance(output, target)
        for brief in briefs if self.briefs else ():
            total = total + self.briefs * self.distance(brief, target)
        if self.symmetry or self.smoothness:
            found = self._shares((briefs or [output])[0])
            if self.symmetry:
                marks = vertices_from_map(found, self.landmark_uv)
                total = total + self.symmetry * landmark_symmetry(marks)
            if self.smoothness:
                total = total + self.smoothness * map_roughness(found)
        return total

    def _shares(self, output: Tensor) -> Tensor:
        """Network range -> positions in shares of the crop's side."""
        output = output.float()
        return to_pixels((output + 1) / 2 if self.distance.signed else output, 1)


def position_losses(described: Mapping, model, size: int, *, signed: bool) -> tuple[nn.Module, nn.Module]:
    """A described loss to train by, and the one to validate by: the distance, masked as everywhere.

    Args:
        described: name ("uv-weighted", or "stages" for `StageLoss`), squared, weights (a key of
            `seams.MASKS`), and of `StageLoss` symmetry, smoothness, briefs where they are not the default.
        model: the face model; size: S; signed: the network ends in tanh.

    Raises:
        ValueError: unknown weights.
    """
    squared = bool(described["squared"])
    weight = seams.mask(described["weights"], model, size)
    judged = PositionLoss(model.uv_weight(size), squared=squared, signed=signed)
    if described["name"] != "stages":
        return PositionLoss(weight, squared=squared, signed=signed), judged
    extra = {name: described[name] for name in ("symmetry", "smoothness", "briefs") if name in described}
    uv = model.uv[model.landmarks]
    return StageLoss(weight, uv, squared=squared, signed=signed, **extra), judged
