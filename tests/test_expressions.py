"""Drawn expressions: what belongs together, what excludes each other, and lids and lips that meet."""

import pytest
import torch

from facet.face_model import load
from facet.rendering import triangle_normals
from facet.synthetic import expressions
from facet.synthetic.dataset import read_bank
from facet.synthetic.expressions import PROTOTYPES, bound, choose, draw_expressions, mirror, prototype
from facet.synthetic.openings import LIPS_MEET, PAIRS, Openings

pytestmark = pytest.mark.assets
COUNT = 20_000


@pytest.fixture(scope="module")
def model():
    return load()


@pytest.fixture(scope="module")
def names(model):
    return model.expression_names


@pytest.fixture(scope="module")
def drawn(names):
    return draw_expressions(torch.Generator().manual_seed(1), names, COUNT)


@pytest.fixture(scope="module")
def first():
    """What the faces of `drawn` show: rows of PROTOTYPES."""
    return choose(torch.Generator().manual_seed(1), COUNT)[:, 0]


@pytest.fixture(scope="module")
def people():
    return read_bank("train")["alpha_id"][:300].float()


def column(alpha, names, name):
    return alpha[:, names.index(name)]


def correlation(a, b):
    return float(torch.corrcoef(torch.stack([a, b]))[0, 1])


# Draws


def test_draws_depend_on_the_seed_alone(names):
    one, two, other = (draw_expressions(torch.Generator().manual_seed(s), names, 40) for s in (3, 3, 4))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    assert one.shape == (40, 52)
    assert (one.amin(), one.amax()) >= (0, 0.8)


def test_prototypes_come_as_often_as_they_say(first):
    assert sum(p.share for p in PROTOTYPES.values()) == pytest.approx(100)
    for row, (name, kind) in enumerate(PROTOTYPES.items()):
        share = kind.share / 100
        seen = float((first == row).float().mean())
        assert abs(seen - share) < 4 * (share * (1 - share) / COUNT) ** 0.5, name


def test_blends_keep_to_their_partners():
    pairs = choose(torch.Generator().manual_seed(2), 4000)
    kinds = list(PROTOTYPES.values())
    blended = pairs[pairs[:, 1] >= 0]
    assert 0.15 < len(blended) / 4000 < 0.3
    for a, b in blended.tolist():
        assert kinds[b].group in expressions.PARTNERS[kinds[a].group]


def test_strengths_stay_in_range_and_rest_is_rest(drawn, first, names):
    assert drawn.amin() == 0
    assert drawn.amax() <= 1
    assert (drawn.amax(dim=0) > 0.1).all()
    still = [i for i, n in enumerate(names) if not n.startswith(("eye", "jawOpen"))]
    neutral = drawn[first == list(PROTOTYPES).index("neutral")][:, still]
    assert neutral.mean() < 0.02
    assert (neutral.amax(dim=1) < 0.25).float().mean() > 0.98
    assert (neutral.amax(dim=1) > 0.01).float().mean() > 0.9  # small movements


def test_actions_that_belong_together_come_together(drawn, names):
    def part(name):
        return column(drawn, names, name)

    smiles = part("mouthSmileLeft") > 0.4
    assert part("cheekSquintLeft")[smiles].mean() > 4 * part("cheekSquintLeft")[~smiles].mean()
    for one, other, least in (
        ("mouthSmileLeft", "cheekSquintLeft", 0.5),
        ("mouthSmileLeft", "mouthSmileRight", 0.9),
        ("eyeBlinkLeft", "eyeBlinkRight", 0.8),
        ("browInnerUp", "browOuterUpRight", 0.4),
        ("browDownRight", "eyeSquintRight", 0.3),
    ):
        assert correlation(part(one), part(other)) > least, (one, other)
    assert correlation(part("mouthSmileLeft"), part("mouthFrownLeft")) < -0.1


def test_left_and_right_are_alike_on_average(drawn, names):
    partner = mirror(names)
    assert torch.equal(partner[partner], torch.arange(52))
    difference = drawn - drawn[:, partner]
    error = difference.std(dim=0) / COUNT**0.5
    assert (difference.mean(dim=0).abs() <= 4.5 * error).all()
    smile = difference[:, names.index("mouthSmileLeft")]
    assert (smile.abs() > 0.05).float().mean() > 0.1  # but single faces are lopsided


def test_some_eyes_are_closed(drawn, names):
    left, right = (column(drawn, names, f"eyeBlink{side}") for side in ("Left", "Right"))
    assert 0.02 < ((left > 0.8) & (right > 0.8)).float().mean() < 0.05
    wink = ((left - right).abs() > 0.6).float().mean()
    assert 0.004 < wink < 0.02


def test_both_eyes_look_at_one_point_and_lids_follow(drawn, first, names, model):
    def part(name):
        return column(drawn, names, f"eyeLook{name}")

    assert torch.equal(part("UpLeft"), part("UpRight"))
    assert torch.equal(part("DownLeft"), part("DownRight"))
    outward = torch.stack([part(f"Out{side}") - part(f"In{side}") for side in ("Left", "Right")])
    assert (torch.minimum(part("OutLeft"), part("InLeft")) == 0).all()
    inside = (outward.abs() < 1).all(dim=0)
    vergence = -outward.sum(dim=0)[inside]
    assert 0.03 < vergence.min() < vergence.max() < 0.29  # eyes turn in, never out
    calm = drawn[first == list(PROTOTYPES).index("neutral")]
    open_eyes = Openings.of(model).measure(torch.zeros(len(calm), 1), calm)[:, 0]
    down, up = (column(calm, names, f"eyeLook{way}Left") for way in ("Down", "Up"))
    aside = (down < 0.05) & (up < 0.05)
    assert open_eyes[down > 0.4].median() < open_eyes[aside].median() - 1.0
    assert column(calm, names, "eyeWideLeft")[up > 0.4].median() > 0.1


# Bounds


def test_bounds_hold_for_anything(names):
    alpha = torch.rand(3000, 52, generator=torch.Generator().manual_seed(5)) * 1.4 - 0.1
    held = bound(alpha, names)

    def part(name):
        return column(held, names, name)

    assert held.amin() >= 0
    assert held.amax() <= 1
    assert (part("mouthClose") <= part("jawOpen")).all()
    assert (part("jawOpen") >= 0.45 * part("tongueOut")).all()
    wide_open = part("jawOpen") - part("mouthClose") > 0.25
    for closed in ("cheekPuff", "mouthPressLeft", "mouthRollLower", "mouthShrugLower"):
        assert (part(closed)[wide_open] == 0).all(), closed
    for one, other in (
        ("mouthSmileLeft", "mouthFrownLeft"),
        ("browDownRight", "browOuterUpRight"),
        ("eyeWideLeft", "eyeBlinkLeft"),
        ("mouthPucker", "mouthStretchRight"),
        ("jawLeft", "jawRight"),
        ("mouthLeft", "mouthRight"),
    ):
        assert (torch.minimum(part(one), part(other)) < 1e-6).all(), (one, other)
    assert (part("eyeSquintLeft")[part("eyeBlinkLeft") > 0.999] < 1e-3).all()


def test_bounds_know_no_side(names):
    alpha = torch.rand(200, 52, generator=torch.Generator().manual_seed(6))
    partner = mirror(names)
    torch.testing.assert_close(bound(alpha[:, partner], names), bound(alpha, names)[:, partner])


def test_mouth_close_needs_an_open_jaw(drawn, names):
    close, jaw = column(drawn, names, "mouthClose"), column(drawn, names, "jawOpen")
    assert (close > 0).any()
    assert (close <= jaw).all()


def test_prototypes_by_name(names):
    for name, kind in PROTOTYPES.items():
        face = prototype(name, names)
        assert face.shape == (52,)
        assert (face.sum() > 0) == bool(kind.actions), name
        assert prototype(name, names, 0.5).sum() <= face.sum() + 1e-6
    with pytest.raises(KeyError, match="no prototype 'glee'"):
        prototype("glee", names)


# Lids and lips


def test_openings_are_distances_of_landmarks(model, people):
    alpha_exp = draw_expressions(torch.Generator().manual_seed(7), model.expression_names, 12)
    face = model.blend(people[:12], alpha_exp)[:, model.landmarks]
    upper, lower = zip(*PAIRS, strict=True)
    expected = face[:, list(upper), 1] - face[:, list(lower), 1]
    torch.testing.assert_close(
        Openings.of(model).measure(people[:12], alpha_exp), expected, atol=2e-3, rtol=0
    )


def test_eyes_close_in_every_face(model, names, people):
    openings = Openings.of(model)
    closed = prototype("closed eyes", names).expand(len(people), 52)
    before, after = (openings.measure(people, a) for a in (closed, openings.settle(people, closed)))
    assert before[:, :2].abs().amax() > 1.5  # without: ajar, or driven over the cheek
    assert after[:, :2].abs().amax() < 0.02


def test_a_half_closed_eye_is_half_closed_in_every_face(model, names, people):
    openings = Openings.of(model)
    half = 0.5 * prototype("closed eyes", names).expand(len(people), 52)
    rest = openings.measure(people, torch.zeros_like(half))
    share = openings.measure(people, openings.settle(people, half))[:, :2] / rest[:, :2]
    assert share.std() < 1e-3
    assert 0.3 < share.mean() < 0.6


def test_settling_leaves_a_resting_face_and_mends_lips(model, names, people, drawn):
    openings = Openings.of(model)
    rest = torch.zeros(len(people), 52)
    torch.testing.assert_close(openings.settle(people, rest), rest)
    settled = openings.settle(people, drawn[:300])
    assert openings.measure(people, settled)[:, 2:].amin() > LIPS_MEET - 1e-3
    assert (settled >= 0).all()
    assert (settled <= 1).all()
    assert (settled - drawn[:300]).abs()[:, names.index("jawOpen")].amax() <= 0.15


def test_skin_does_not_turn_inside_out(model, people, drawn):
    """Flipped triangles of 60 faces: a few square millimetres, at the lids' rims."""
    settled = Openings.of(model).settle(people[:60], drawn[:60])
    skin = model.triangles[model.triangle_part == 0]
    before, after = model.blend(people[:60]), model.blend(people[:60], settled)
    normals = [torch.nn.functional.normalize(triangle_normals(v, skin), dim=-1) for v in (before, after)]
    flipped = (normals[0] * normals[1]).sum(dim=-1) < -0.2
    a, b, c = after[:, skin].unbind(dim=2)
    area = torch.linalg.cross(b - a, c - a).norm(dim=-1) / 2
    assert (area * flipped).sum(dim=1).amax() < 30
    assert (area * flipped).sum(dim=1).mean() < 2
