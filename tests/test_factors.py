"""Factors taken away: each change touches the columns that it names, and the crop still frames the face."""

from dataclasses import fields, replace
from functools import cache

import pytest
import torch
from test_portrait import atelier
from tiny_people import SIZE, tiny

from facet.face_model import files
from facet.geometry import rotation_matrix
from facet.synthetic import dataset, factors, rooms
from facet.synthetic.anthropometry import TONES
from facet.synthetic.dataset import draw_shard, render_shard
from facet.synthetic.finish import Finish
from facet.synthetic.lights import Lights
from facet.synthetic.occluders import KINDS, Occluder
from facet.synthetic.render import truth_vertices

pytestmark = pytest.mark.assets
PEOPLE = 60
FINISH = {f"finish.{f.name}" for f in fields(Finish)}
WORN = {"outfit.beard", "outfit.moustache"}
CROP = {"views.scale", "views.centre"}
CHANGED = {
    "without hair": {*WORN, "outfit.hair", "skin.scalp", "skin.stubble", "occluder.kind"},
    "without skin": {
        *("skin.texture", "skin.mix", "skin.melanin", "skin.haemoglobin", "skin.warmth", "skin.pigment"),
        *("skin.relief", "skin.spots", "skin.wrinkles", "skin.lips", "skin.makeup", "skin.gloss"),
    },
    "without expression": {*CROP, "subjects.alpha_exp", "stance.neck"},
    "without light": {"lights.sh", "lights.colour"},
    "without things": {"outfit.glasses", "outfit.hat", "occluder.kind"},
    "without camera": {*CROP, *FINISH, "views.distance", "views.background"},
    "without beards": WORN,
    "bearded": WORN,
    **{f"in {name} skin": {"skin.melanin", "skin.lips"} for name in TONES},
    "in glasses": {"outfit.glasses"},
    "in sunglasses": {"outfit.glasses"},
    "behind a mask": {f"occluder.{f.name}" for f in fields(Occluder)},
    "laughing": {*CROP, "subjects.alpha_exp"},
    "eyes closed": {*CROP, "subjects.alpha_exp"},
    "in hard side light": {f"lights.{f.name}" for f in fields(Lights)},
    "from 30 cm": {*CROP, "views.distance"},
    "from 3 m": {*CROP, "views.distance"},
    "at a quarter of the size": {"finish.shrink"},
    "in black and white": {"finish.saturation", "finish.sepia"},
}
OTHER_FACES = ("without expression", "laughing", "eyes closed")
OTHER_CAMERAS = ("without camera", "from 30 cm", "from 3 m")
# Columns of an occluder that a mask has as whatever stood there before.
UNMOVED = {"occluder.face", "occluder.anchors"}


@pytest.fixture(scope="module", autouse=True)
def bank():
    """Read once."""
    read = {split: dataset.read_bank(split) for split in ("train", "test")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dataset, "read_bank", read.__getitem__)
        yield


def described(change="", **options):
    options = {"poses": "front", "people": PEOPLE, "shard": PEOPLE, "generation": 2, **options}
    return tiny(change=change, **options)


@cache
def drawn(change="", jitter=False):
    """A shard's tables with the change, not to be altered."""
    return draw_shard(described(change, jitter=jitter), 0, atelier())


def columns(cast, shots):
    return {**cast.state(), **shots.state()}


def landmark_box(cast, shots):
    """(N, 2) centre and (N,) mean side of the 68 landmarks' boxes in the crops."""
    model, views = atelier().model, shots.views
    chosen = cast.subjects.rows(views.subject)
    marks = views.project(model.blend(chosen.alpha_id, chosen.alpha_exp)[:, model.landmarks])[0][..., :2]
    low, high = marks.amin(dim=1), marks.amax(dim=1)
    return (low + high) / 2, (high - low).mean(dim=1)


def test_every_change_is_tested():
    assert set(CHANGED) == set(factors.CHANGES)
    assert {f"without {group}" for group in factors.GROUPS} <= set(factors.CHANGES)
    assert len(factors.GROUPS) <= 6


@pytest.mark.parametrize("change", factors.CHANGES)
def test_a_change_touches_its_own_columns_alone(change):
    """Drawn anew from the description, not only changed: every other random number is the same."""
    before, after = columns(*drawn()), columns(*drawn(change))
    if change == "without hair":  # strands before a face are rare
        before["occluder.kind"] = torch.where(before["occluder.kind"] > 0, KINDS.index("hair"), 0)
        cast, shots = drawn()
        occluder = replace(shots.occluder, kind=before["occluder.kind"])
        changed = factors.without("hair", atelier(), cast, replace(shots, occluder=occluder))
        after = columns(*changed)
    assert before.keys() == after.keys()
    differing = {name for name in before if not torch.equal(before[name], after[name])}
    # some columns of a finish are plain already in so few pictures, some of a mask as in what was there
    often = {f"finish.{name}" for name in ("blur", "noise", "quality", "shrink", "saturation")}
    alike = (FINISH - often) | {name for name in CHANGED[change] if name.startswith("occluder.")}
    assert CHANGED[change] - differing <= alike
    for name in UNMOVED & differing:
        torch.testing.assert_close(after[name], before[name], rtol=0, atol=1e-3)
    assert differing <= CHANGED[change]
    assert all(before[name].dtype == after[name].dtype for name in before)
    assert all(before[name].shape == after[name].shape for name in before)


@pytest.mark.parametrize("change", factors.CHANGES)
def test_tables_that_are_given_stay_as_they_are(change):
    cast, shots = draw_shard(described(people=6, shard=6), 0, atelier())
    before = {name: value.clone() for name, value in columns(cast, shots).items()}
    factors.change(change, atelier(), cast, shots)
    assert all(torch.equal(value, before[name]) for name, value in columns(cast, shots).items())


@pytest.mark.parametrize("change", [c for c in factors.CHANGES if c not in OTHER_FACES + OTHER_CAMERAS])
def test_the_truth_stays(change):
    pairs = [truth_vertices(atelier().model, c.subjects, s.views) for c, s in (drawn(), drawn(change))]
    assert torch.equal(*pairs)


def test_without_expression_the_truth_is_the_face_at_rest():
    cast, shots = drawn("without expression")
    model, views = atelier().model, shots.views
    rest = model.blend(cast.subjects.alpha_id, torch.zeros(PEOPLE, len(model.expression_names)))
    expected = views.project(rest[views.subject])[0]
    found = truth_vertices(model, cast.subjects, views)
    assert torch.equal(found[..., :2], expected[..., :2])
    assert (shots.stance.neck == 0).all()


def test_without_camera_the_picture_is_a_scaled_parallel_projection():
    """Against the turned head itself: x and y are those of its millimetres, times one scale, plus a shift."""
    cast, shots = drawn("without camera")
    model, views = atelier().model, shots.views
    chosen = cast.subjects.rows(views.subject)
    turned = model.blend(chosen.alpha_id, chosen.alpha_exp)
    turned = turned @ rotation_matrix(views.yaw, views.pitch, views.roll).mT
    plane = (turned[..., :2] * torch.tensor([1.0, -1.0])).double()
    found = truth_vertices(model, cast.subjects, views)[..., :2].double()
    plane, found = (p - p.mean(dim=1, keepdim=True) for p in (plane, found))
    scale = (plane * found).sum(dim=(1, 2)) / plane.square().sum(dim=(1, 2))
    assert (found - scale[:, None, None] * plane).abs().max() < 1e-3
    before = truth_vertices(model, *(drawn()[0].subjects, drawn()[1].views))[..., :2].double()
    before = before - before.mean(dim=1, keepdim=True)
    assert (before - scale[:, None, None] * plane).abs().max() > 1  # a near camera bends faces by pixels


@pytest.mark.parametrize("change", OTHER_FACES + OTHER_CAMERAS)
def test_the_crop_frames_the_changed_face_by_the_300w_lp_rule(change):
    centre, side = landmark_box(*drawn(change))
    torch.testing.assert_close(centre, torch.full((PEOPLE, 2), (SIZE - 1) / 2), rtol=0, atol=1e-3)
    torch.testing.assert_close(side, torch.full((PEOPLE,), (SIZE - 1) / 1.5), rtol=1e-4, atol=1e-3)
    for was, now in zip(landmark_box(*drawn(jitter=True)), landmark_box(*drawn(change, True)), strict=True):
        torch.testing.assert_close(now, was, rtol=1e-4, atol=2e-3)  # jitter stays
    assert landmark_box(*drawn(change, True))[1].std() > 0.5


def test_without_hair_people_are_as_if_they_had_never_worn_any():
    (cast, _), (bald, _) = drawn(), drawn("without hair")
    worn = cast.outfit.hair >= 0
    assert 0.5 < worn.float().mean() < 1
    for name in ("hair", "beard", "moustache"):
        assert (getattr(bald.outfit, name) == -1).all()
    assert torch.equal(bald.skin.scalp[:, 0], cast.outfit.crop)
    grown = bald.skin.scalp[:, 1] - cast.skin.scalp[:, 1]
    torch.testing.assert_close(grown, torch.where(worn, cast.outfit.recession, 0.0))


def test_without_skin_all_have_one_skin_and_keep_eyes_hair_and_clothes():
    skin = drawn("without skin")[0].skin
    for name in ("melanin", "pigment", "lips", "gloss", "spots", "wrinkles", "makeup", "relief"):
        column = getattr(skin, name)
        assert torch.equal(column, column[:1].expand_as(column)), name
    means = draw_shard(described(people=600, shard=600), 0, atelier())[0].skin
    assert abs(float(means.melanin.mean()) - factors.MELANIN) < 0.05
    torch.testing.assert_close(means.gloss.mean(dim=0), torch.tensor(factors.GLOSS), rtol=0, atol=0.03)
    torch.testing.assert_close(means.lips.mean(dim=0), torch.tensor(factors.LIPS), rtol=0, atol=0.06)


def test_without_light_there_is_one_soft_white_light():
    lights = drawn("without light")[1].lights
    assert (lights.colour == 0).all()
    assert torch.equal(lights.sh, lights.sh[:1].expand_as(lights.sh))
    assert torch.equal(lights.sh[0], lights.sh[0, :, :1].expand(-1, 3))  # white


def test_every_man_is_bearded_and_no_woman():
    (cast, _), (bearded, _) = drawn(), drawn("bearded")
    man, had = cast.subjects.gender < 0.5, cast.outfit.beard >= 0
    beard, moustache = bearded.outfit.beard, bearded.outfit.moustache
    names = {atelier().wardrobe.names[k] for k in beard[man].tolist()}
    assert names == set(atelier().wardrobe.of_kind("beard"))
    assert torch.equal(beard >= 0, man)
    assert torch.equal(beard[had], cast.outfit.beard[had])
    assert torch.equal(moustache[~man | had], cast.outfit.moustache[~man | had])
    assert 0.5 < (moustache[man & ~had] >= 0).float().mean() < 0.95


def test_pictures_of_a_change_are_deterministic_and_its_background_even():
    few = described("without camera", people=3, shard=3)
    one, two = (render_shard(few, *draw_shard(few, 0, atelier()), atelier()) for _ in range(2))
    assert torch.equal(one, two)
    corner = one[:, 0, :, :3, :3].flatten(2).float()
    assert (corner.std(dim=2) < 0.5).any(dim=0).all()  # hair may reach into one
    assert (corner.flatten(1).amax(dim=1) - corner.flatten(1).amin(dim=1)).min() <= 1  # grey
    plain = described(people=3, shard=3)
    other = render_shard(plain, *draw_shard(plain, 0, atelier()), atelier())
    assert (other.float() - one.float()).abs().mean() > 5


def test_drawn_seeds_give_the_backgrounds_that_they_gave():
    grey = rooms.background(rooms.PLAIN, 8)
    assert torch.equal(grey, torch.full((3, 8, 8), rooms.GREY))
    for seed in (0, 5, 2**31 - 1):
        expected = rooms.scene_background(torch.Generator().manual_seed(seed), 24, split="test")
        assert torch.equal(rooms.background(seed, 24, split="test"), expected)
    assert drawn()[1].views.background.min() >= 0


def test_keys_of_unchanged_sets_are_what_they_were(monkeypatch):
    """Pinned, as the cache holds them: a key that changes by accident orphans data and weights."""
    monkeypatch.setattr(files, "VERSION", "6")
    second = tiny(people=5000, generation=2, shard=50)
    assert replace(second, image_size=128).key == "7606e2e8f4"
    assert second.key == "7f091c50d8"
    keys = {replace(second, change=change).key for change in factors.CHANGES}
    assert len(keys | {second.key}) == 1 + len(factors.CHANGES)
    assert replace(second, change="bearded").folder.name.startswith("train-two-view-64-")


def test_wrong_changes():
    with pytest.raises(ValueError, match="no change is called 'hair'; there are without hair, without skin"):
        described("hair")
    with pytest.raises(ValueError, match="only people of the second generation can be changed"):
        described("bearded", generation=1)
    with pytest.raises(ValueError, match="no change is called 'without noses'"):
        factors.without("noses", atelier(), *drawn())
