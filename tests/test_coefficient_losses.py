"""What keeps fitted coefficients likely: each group's term by hand, and no other group's."""

import pytest
import torch

from facet.coefficients import CoefficientLoss, Weights
from facet.networks.layout import Layout

LAYOUT = Layout(identity=2, expression=3, texture=2)
WEIGHTS = Weights(photo=0.0, landmarks=0.0, identity=2.0, expression=3.0, texture=5.0, light=7.0)
# Numbers of two faces, of which the second has those of one of its group alone. Light: all nine of red, 0.6
# numbers or 0.3 of radiance each, which is 0.2 above the three colours' mean and the others 0.1 below it.
CASES = {
    "identity": (slice(0, 2), ((1.0, -2.0), (3.0, 0.0)), (5 + 9) / 2),
    "expression": (slice(2, 5), ((1.0, 2.0, -3.0), (0.0, 0.0, 4.0)), (14 + 16) / 2),
    "texture": (slice(5, 7), ((0.0, 3.0), (-1.0, 0.0)), (9 + 1) / 2),
    "light": (slice(7, 16), ((0.6,) * 9, (0.0,) * 9), (0.04 + 2 * 0.01) / 3 / 2),
}


@pytest.fixture
def loss():
    return CoefficientLoss(None, LAYOUT, 64, WEIGHTS)  # nothing is rendered


@pytest.mark.parametrize("group", CASES)
def test_each_group_is_judged_by_its_own_term(loss, group):
    where, values, wanted = CASES[group]
    numbers = torch.zeros(2, LAYOUT.total)
    numbers[:, where] = torch.tensor(values)
    terms = {name: term.item() for name, term in loss.terms(numbers, {}).items()}
    assert terms == pytest.approx(dict.fromkeys(CASES, 0.0) | {group: wanted}, abs=1e-9)
    assert loss(numbers, {}).item() == pytest.approx(getattr(WEIGHTS, group) * wanted)


def test_white_light_and_pose_cost_nothing(loss, generator):
    numbers = torch.zeros(2, LAYOUT.total)
    numbers[:, 7:34] = torch.randn(2, 9, generator=generator).repeat(1, 3)
    numbers[:, 34:] = torch.randn(2, 6, generator=generator)
    assert loss(numbers, {}).item() == pytest.approx(0, abs=1e-9)
