"""Sittings: one thing changed and nothing else, pictures framed as the rule says, truth where it is shown."""

import pytest
import torch
from tiny_people import atelier

from facet import face_model
from facet.crop import crop_box
from facet.synthetic import interventions, portrait, sitting
from facet.synthetic.occluders import KINDS
from facet.synthetic.poses import Poses
from facet.synthetic.subjects import Subjects, Views

SIZE = 64

pytestmark = pytest.mark.assets


@pytest.fixture(scope="module")
def two():
    """Two people, from the front and from a side."""
    return sitting.sit(atelier(), [5, 9], sitting.posed([0.0, 50.0], people=2), size=SIZE, seed=3, plain=True)


def copied(cast, shots):
    return cast.rows(slice(None)), shots.rows(slice(None))


def same(one, other, *, but=()):
    for name, value in one.state().items():
        if name not in but:
            assert torch.equal(value, other.state()[name]), name


def test_poses_are_rows_of_people():
    poses = sitting.posed([0.0, 30.0], pitch=5.0, people=3)
    assert poses.yaw.tolist() == [[0, 30]] * 3
    assert poses.pitch.tolist() == [[5, 5]] * 3
    assert sitting.posed([[10.0], [20.0]]).yaw.tolist() == [[10], [20]]
    assert sitting.posed(7.0, people=2).roll.shape == (2, 1)


def test_sitting_again_gives_the_same_bytes(two):
    cast, shots = two
    again = sitting.sit(
        atelier(), [5, 9], sitting.posed([0.0, 50.0], people=2), size=SIZE, seed=3, plain=True
    )
    same(cast, again[0])
    same(shots, again[1])
    assert shots.views.subject.tolist() == [0, 0, 1, 1]
    assert shots.views.yaw.tolist() == [0, 50, 0, 50]
    assert not shots.occluder.kind.any()
    assert not shots.finish.quality.any()
    pictures = sitting.take(atelier(), cast, shots, size=SIZE)
    assert pictures.shape == (4, 3, 80, 80)
    assert torch.equal(pictures, sitting.take(atelier(), *again, size=SIZE))


def test_a_crowd_is_random_people_from_all_sides():
    cast, shots = sitting.crowd(atelier(), 300, size=SIZE, seed=1)
    assert len(cast.subjects.identity.unique()) > 290
    assert shots.views.yaw.abs().max() <= 90
    assert 25 < shots.views.yaw.std() < 40
    assert not torch.equal(
        cast.subjects.identity, sitting.crowd(atelier(), 300, size=SIZE, seed=2)[0].subjects.identity
    )


def test_chosen_pictures_bring_their_people(two):
    cast, shots = sitting.chosen(*two, [3, 0])
    assert shots.views.yaw.tolist() == [50, 0]
    assert cast.subjects.identity[shots.views.subject].tolist() == [9, 5]
    only, _ = sitting.chosen(*two, [2])
    assert only.subjects.identity.tolist() == [9]


def test_one_thing_varies_and_all_else_is_equal(two):
    melanin = torch.tensor([0.1, 0.5, 0.9])
    cast, shots = sitting.varied(*two, 3, skin={"melanin": melanin}, views={"distance": 700.0})
    assert torch.equal(cast.skin.melanin, melanin)
    assert shots.views.distance.tolist() == [700] * 3
    assert shots.views.subject.tolist() == [0, 1, 2]
    one, seen = sitting.varied(*two, 3)
    same(cast, one, but=["skin.melanin"])
    same(shots, seen, but=["views.distance"])
    assert one.subjects.identity.tolist() == [5] * 3
    assert seen.views.yaw.tolist() == [0] * 3
    assert not torch.equal(two[0].skin.melanin[:1], melanin[:1])  # what was given stays
    pictures = sitting.take(atelier(), one, seen, size=SIZE)
    assert torch.equal(pictures[0], pictures[2])
    lighter, middle, darker = sitting.take(atelier(), cast, shots, size=SIZE).mean(dim=(1, 2, 3))
    assert lighter > middle > darker


def test_one_number_a_row_fills_its_columns(two):
    depth = torch.tensor([0.0, 2.0])
    cast, _ = sitting.varied(*two, 2, skin={"wrinkles": depth})
    assert (cast.skin.wrinkles == depth[:, None]).all()


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({"sun": {"x": 1}}, "no table 'sun'; there are subjects"),
        ({"skin": {"colour": 1}}, "Skin has no column 'colour'"),
        ({"skin": {"melanin": torch.zeros(3)}}, r"Skin.melanin: \(3,\) for \(2,\)"),
    ],
)
def test_faults_are_named(two, tables, words):
    with pytest.raises(ValueError, match=words):
        sitting.varied(*two, 2, **tables)


def marks(cast, shots):
    """The projected landmarks, from the face model's own vertices."""
    model, people = atelier().model, cast.subjects.rows(shots.views.subject)
    face = model.blend(people.alpha_id, people.alpha_exp)[:, model.landmarks]
    return shots.views.project(face)[0][..., :2]


def test_frames_follow_the_crop_rule(two):
    box = crop_box(marks(*two))
    torch.testing.assert_close(box.size, torch.full((4,), SIZE - 1.0), atol=1e-2, rtol=0)
    cast, shots = sitting.varied(*two, 3, views={"distance": torch.tensor([400.0, 900.0, torch.inf])})
    before = crop_box(marks(cast, shots))
    assert (before.size - (SIZE - 1)).abs().max() > 1  # depth changes how large things are
    after = crop_box(marks(cast, sitting.framed(atelier(), cast, shots, size=SIZE)))
    assert torch.equal(crop_box(marks(cast, shots)).size, before.size)  # what was given stays
    torch.testing.assert_close(after.size, torch.full((3,), SIZE - 1.0), atol=1e-2, rtol=0)
    torch.testing.assert_close(after.centre, torch.full((3, 2), (SIZE - 1) / 2), atol=1e-2, rtol=0)


def test_acting_moves_the_face_alone(two):
    cast, shots = copied(*two)
    names = atelier().model.expression_names
    open_ = torch.zeros(2, len(names))
    open_[:, names.index("jawOpen")] = 0.5
    still = sitting.acted(atelier(), copied(*two)[0], torch.zeros_like(open_))
    moved = sitting.acted(atelier(), cast, open_)
    same(moved, still, but=["subjects.alpha_exp"])
    gap = (marks(moved, shots)[:, 66] - marks(moved, shots)[:, 62])[:, 1]
    assert (gap > (marks(still, shots)[:, 66] - marks(still, shots)[:, 62])[:, 1] + 1).all()


def test_eyes_turn_together():
    names = atelier().model.expression_names
    alpha = sitting.gazing(names, torch.tensor([0.5, -1.0]), torch.tensor([0.0, 0.3]))
    moved = [{n: round(float(v), 2) for n, v in zip(names, row, strict=True) if v} for row in alpha]
    assert moved[0] == {"eyeLookInRight": 0.5, "eyeLookOutLeft": 0.5}
    assert moved[1] == {
        "eyeLookInLeft": 1.0,
        "eyeLookOutRight": 1.0,
        "eyeLookUpLeft": 0.3,
        "eyeLookUpRight": 0.3,
    }


def test_lips_keep_their_contrast_on_other_skins(two):
    given = sitting.varied(*two, 3)[0]
    cast = interventions.toned(given, [float(two[0].skin.melanin[0]), 0.2, 0.9])
    same(given, sitting.varied(*two, 3)[0])
    before = two[0].skin.lips[0, :3]
    torch.testing.assert_close(cast.skin.lips[0, :3], before)
    assert (cast.skin.lips[2, :3] < cast.skin.lips[1, :3]).all()
    assert torch.equal(cast.skin.lips[:, 3:], two[0].skin.lips[:1, 3:].expand(3, -1))


def test_ageing_greys_and_wrinkles_one_person():
    cast = sitting.aged(atelier(), 278, [20.0, 50.0, 80.0], seed=278)
    assert cast.subjects.years.tolist() == [20, 50, 80]
    assert cast.subjects.identity.tolist() == [278] * 3
    for fixed in (cast.skin.melanin, cast.skin.cloth, cast.skin.iris_colour, cast.subjects.ancestry):
        assert torch.equal(fixed[0], fixed[2])
    depth = cast.skin.wrinkles.sum(dim=1)
    assert depth[0] < depth[1] < depth[2]
    assert cast.outfit.hair_colour[2].mean() > cast.outfit.hair_colour[0].mean()
    step = cast.subjects.alpha_id.diff(dim=0)
    torch.testing.assert_close(step[0], step[1], atol=1e-4, rtol=0)  # evenly with the years
    assert step.norm() > 0.05
    now = sitting.sit(atelier(), [278], sitting.posed(0.0), size=SIZE, seed=278)[0]
    same(now, sitting.aged(atelier(), 278, now.subjects.years.tolist(), seed=278))


def test_each_kind_of_occluder_once(two):
    table = sitting.occluders(atelier(), *two, size=SIZE, seed=2)
    assert table.kind.tolist() == list(range(1, len(KINDS)))
    cast, shots = sitting.varied(*two, len(table), occluder=vars(table))
    plain = sitting.take(atelier(), *sitting.varied(*two, 1), size=SIZE)
    touched = (sitting.take(atelier(), cast, shots, size=SIZE) - plain).abs().amax(dim=1) > 0.05
    assert (touched.float().mean(dim=(1, 2)) > 0.002).all()


def test_truth_belongs_to_what_is_taken(two):
    sampler = face_model.sampler(atelier().model, 16)
    found = sitting.truth(atelier(), sampler, *two, size=SIZE)
    assert found.segmentation.shape == (4, 80, 80)
    assert found.texel_seen.shape == (4, 16, 16)
    shift = sitting.window(SIZE)["shift"]
    assert shift == 8
    person = found.depth.isnan().logical_not()
    place = (marks(*two) + shift).round().long()
    inside = person[torch.arange(4)[:, None], place[..., 1], place[..., 0]]
    assert inside[:, 27:].float().mean() > 0.97  # nose, eyes and mouth lie on the person


def test_the_painted_looks_of_the_first_generation_are_not_read(two):
    """Columns that `parameters` calls unread can be anything."""
    from facet.synthetic.parameters import UNREAD

    cast, shots = copied(*two)
    before = sitting.take(atelier(), cast, shots, size=SIZE)
    for table, kind in ((cast.subjects, Subjects), (shots.views, Views)):
        for column in UNREAD[kind]:
            setattr(table, column, torch.zeros_like(getattr(table, column)))
    assert torch.equal(before, sitting.take(atelier(), cast, shots, size=SIZE))


def test_sittings_take_any_poses():
    cast, shots = sitting.sit(
        atelier(), [0], Poses(*(torch.zeros(1, 2) for _ in range(3))), size=SIZE, split="test", florence=True
    )
    assert isinstance(cast, portrait.Cast)
    assert torch.isfinite(shots.views.distance).all()
    assert sitting.take(atelier(), cast, shots, size=SIZE, split="test").shape == (2, 3, 80, 80)
