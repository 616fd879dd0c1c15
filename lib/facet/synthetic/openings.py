"""Lids and lips of one person: how far they stand apart, and expressions in which they meet and do not pass.

The expressions of the face model are offsets that are the same for everybody, so a full blink leaves large
eyes ajar and drives the lid of small ones over the cheek.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from facet.face_model import FaceModel

PAIRS = ((38, 40), (43, 47), (61, 67), (62, 66), (63, 65))
"""Upper and lower landmark: right lids, left lids, lips at the subject's right, middle, left."""
LIPS_MEET = -0.5  # mm between the lips' landmarks, 3 at rest: pressed together as far as looks right


@dataclass
class Openings:
    """How far lids and lips stand apart: linear in the coefficients, like everything in the face model.

    Attributes:
        mean: (5,) mm of the mean face, for the pairs of landmarks in PAIRS; identity: (K, 5);
            expression: (52, 5).
    """

    mean: Tensor
    identity: Tensor
    expression: Tensor
    names: tuple[str, ...]

    @classmethod
    def of(cls, model: FaceModel) -> "Openings":
        """Read from the face model's bases."""
        upper, lower = torch.tensor(PAIRS, device=model.device).T
        rows = dense_rows(model.face_matrix, model.landmarks[torch.cat([upper, lower])])
        rows = (rows[: len(PAIRS)] - rows[len(PAIRS) :]).T
        bases = (model.coarse_mean[:, 1], model.identity[..., 1], model.expression[..., 1])
        return cls(*(basis @ rows for basis in bases), model.expression_names)

    def measure(self, alpha_id: Tensor, alpha_exp: Tensor) -> Tensor:
        """(B, 5) openings in mm."""
        return self.mean + alpha_id @ self.identity[: alpha_id.shape[1]] + alpha_exp @ self.expression

    def settle(self, alpha_id: Tensor, alpha_exp: Tensor) -> Tensor:
        """(B, 52) the same faces with lids and lips that meet and do not pass.

        Lids: an expression closes the same share of everybody's opening; where the basis's full blink is too
        short for large eyes, the lower lid rises to it. Lips: where they would cross, the jaw gives way.
        """
        column = {name: i for i, name in enumerate(self.names)}
        alpha = alpha_exp.clone()
        rest = self.measure(alpha_id, torch.zeros_like(alpha))
        for k, side in enumerate(("Right", "Left")):
            blink, squint = column[f"eyeBlink{side}"], column[f"eyeSquint{side}"]
            moved = alpha @ self.expression[:, k]
            goal = rest[:, k] * (1 + moved / self.mean[k]).clamp(min=0)
            change = (goal - rest[:, k] - moved) / self.expression[blink, k]
            alpha[:, blink] = (alpha[:, blink] + change).clamp(0, 1)
            left = goal - rest[:, k] - alpha @ self.expression[:, k]
            left = torch.where(left < 0, left * (alpha[:, blink] == 1), (left + 1 - goal).clamp(min=0))
            alpha[:, squint] = (alpha[:, squint] + left / self.expression[squint, k]).clamp(0, 1)
        jaw = column["jawOpen"]
        crossed = (LIPS_MEET - self.measure(alpha_id, alpha)[:, 2:]) / self.expression[jaw, 2:]
        alpha[:, jaw] = alpha[:, jaw] + crossed.amax(dim=1).clamp(0, 0.15)
        return alpha


def dense_rows(matrix: Tensor, rows: Tensor) -> Tensor:
    """(R, C) some rows of a sparse CSR matrix."""
    first, columns, values = matrix.crow_indices(), matrix.col_indices(), matrix.values()
    dense = values.new_zeros(len(rows), matrix.shape[1])
    for row, index in enumerate(rows.tolist()):
        span = slice(int(first[index]), int(first[index + 1]))
        dense[row, columns[span]] = values[span]
    return dense
