"""What keeps fitted coefficients likely: each group's term by hand, and no other group's."""

import math

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


class Placed:
    """A renderer that puts the 68 landmarks at the two numbers of the identity."""

    def landmarks(self, coefficients, size):
        return coefficients.identity[:, None].expand(-1, 68, -1)


@pytest.mark.parametrize("outliers", [0.0, 1.0, 2.5])
def test_landmarks_cost_their_square_or_what_cauchys_distribution_says(outliers):
    weights = Weights(photo=0.0, landmarks=1.0, identity=0.0, expression=0.0, texture=0.0, light=0.0)
    loss = CoefficientLoss(Placed(), LAYOUT, 64, weights, outliers=outliers)
    numbers = torch.zeros(1, LAYOUT.total)
    numbers[0, :2] = torch.tensor([30.0, 40.0])
    marks = torch.tensor([[30.0, 40.0], [30.0 + 0.64 * 3, 40.0 - 0.64 * 4], [62.0, 40.0]])[[0] * 66 + [1, 2]]
    squares = [0.0] * 66 + [25.0, 50.0**2]  # hundredths of the crop's side
    bound = outliers**2
    wanted = [bound * math.log(1 + s / bound) if bound else s for s in squares]
    assert float(loss(numbers, {"landmarks": marks[None]})) == pytest.approx(sum(wanted) / 68, rel=1e-5)


def test_a_landmark_that_is_far_off_draws_less_than_one_that_is_near():
    weights = Weights(photo=0.0, landmarks=1.0, identity=0.0, expression=0.0, texture=0.0, light=0.0)
    pulls = {}
    for outliers in (0.0, 1.0):
        loss = CoefficientLoss(Placed(), LAYOUT, 64, weights, outliers=outliers)
        for away in (0.5, 2.0, 20.0):
            numbers = torch.zeros(1, LAYOUT.total, requires_grad=True)
            marks = torch.tensor([0.64 * away, 0.0]).expand(1, 68, 2)
            pulls[outliers, away] = -float(
                torch.autograd.grad(loss(numbers, {"landmarks": marks}), numbers)[0][0, 0]
            )
    assert pulls[0.0, 20.0] == pytest.approx(40 * pulls[0.0, 0.5])
    assert pulls[1.0, 0.5] == pytest.approx(pulls[0.0, 0.5] / 1.25)
    assert pulls[1.0, 20.0] < pulls[1.0, 0.5] / 2
