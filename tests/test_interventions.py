"""One thing is set for everybody: it is what it says, it shows in the picture, and nothing else does."""

from functools import cache

import pytest
import torch
from tiny_people import atelier, tiny

from facet.rendering.shading import LUMINANCE, front_normals, spherical_harmonics
from facet.synthetic import anthropometry, interventions, portrait
from facet.synthetic.dataset import draw_shard, render_shard
from facet.synthetic.framing import landmarks_of
from facet.synthetic.occluders import KINDS

pytestmark = pytest.mark.assets
PEOPLE = 12


def described(change="", **options):
    return tiny("test", "front", PEOPLE, shard=PEOPLE, generation=2, change=change, **options)


@cache
def drawn(change="", jitter=False):
    """Tables with the change, not to be altered."""
    return draw_shard(described(change, jitter=jitter), 0, atelier())


@cache
def pictures(change=""):
    """(N, 3, S, S) floats of the crops that a detector gives."""
    description = described(change, jitter=True)
    return render_shard(description, *drawn(change, True), atelier())[:, 0].float() / 255


@pytest.mark.parametrize("number", range(len(anthropometry.TONES)))
def test_a_skin_is_in_the_middle_of_its_class(number):
    cast, _ = drawn(f"in {anthropometry.TONES[number]} skin")
    assert (anthropometry.tones(cast.skin.melanin) == number).all()
    assert 0 <= cast.skin.melanin.min() <= cast.skin.melanin.max() <= 1
    edges = (-60.0, *anthropometry.TONE_EDGES, 60.0)
    middle = (edges[number] + edges[number + 1]) / 2
    angle = anthropometry.typology_angle(cast.skin.melanin)
    torch.testing.assert_close(angle, torch.full_like(angle, middle))


def test_faces_become_darker_from_tone_to_tone():
    middle = (slice(None), slice(None), slice(20, 44), slice(20, 44))
    means = [pictures(f"in {name} skin")[middle].mean() for name in anthropometry.TONES]
    assert means == sorted(means)
    assert means[-1] - means[0] > 0.15


@pytest.mark.parametrize("name", ["glasses", "sunglasses"])
def test_everybody_wears_the_glasses(name):
    cast, _ = drawn(f"in {name}")
    assert {atelier().wardrobe.names[k] for k in cast.outfit.glasses.tolist()} == {name}


@pytest.mark.parametrize("jitter", [False, True])
def test_masks_hide_mouth_and_nose_and_not_the_eyes(jitter):
    """In the window of training pictures, which is wider than the crop, and in a detector's crop."""
    cast, shots = drawn("behind a mask", jitter)
    assert (shots.occluder.kind == KINDS.index("mask")).all()
    size, shift = described(jitter=jitter).window
    cover = portrait.expose(atelier(), cast, shots, size=size, shift=shift).cover[:, 0]
    marks = landmarks_of(atelier().model, cast.subjects, shots.views, shift)[..., :2].round().long()
    marks = marks.clamp(0, size - 1)
    at = cover[torch.arange(PEOPLE)[:, None], marks[..., 1], marks[..., 0]]
    assert at[:, [62, 66]].mean() > 0.95  # lips
    assert at[:, [33]].mean() > 0.8  # below the nose
    assert at[:, 17:27].max() == 0  # brows
    assert at[:, 36:48].mean() < 0.05  # eyes
    assert len({tuple(row.tolist()) for row in shots.occluder.cloth}) > 1  # not one mask for all


def test_laughing_opens_the_mouth_and_closed_eyes_are_closed():
    measure = atelier().openings.measure
    rest, laugh, shut = (
        measure(c.subjects.alpha_id, c.subjects.alpha_exp)
        for c in (drawn(name)[0] for name in ("without expression", "laughing", "eyes closed"))
    )
    assert (laugh[:, 3] - rest[:, 3]).min() > 4
    assert shut[:, :2].max() < 1.5 < rest[:, :2].min()


def test_hard_light_comes_from_the_images_right_and_is_as_bright_as_soft_light():
    lights, soft = (drawn(name)[1].lights for name in ("in hard side light", "without light"))
    normals = front_normals().float()
    levels = []
    for one in (lights, soft):
        lamp = (normals @ one.direction[0, 0]).clamp(min=0)[:, None] * one.colour[0, 0]
        white = spherical_harmonics(normals) @ one.sh[0] + lamp
        levels.append(float((white @ torch.tensor(LUMINANCE)).mean()))
    assert levels == pytest.approx([interventions.LEVEL] * 2, rel=1e-5)
    assert (lights.colour[:, 1] == 0).all()
    face = pictures("in hard side light")[:, :, 22:42, 14:50].mean(dim=(0, 1, 2))
    plain = pictures("without light")[:, :, 22:42, 14:50].mean(dim=(0, 1, 2))
    right, left = face[24:].mean() / face[:12].mean(), plain[24:].mean() / plain[:12].mean()
    assert right > 1.3 * left


def test_near_cameras_see_large_noses():
    """The closed form of perspective: what is d nearer than the origin appears D / (D − d) as large."""
    noses = []
    for change, distance in (("from 30 cm", 300.0), ("from 3 m", 3000.0)):
        cast, shots = drawn(change)
        assert (shots.views.distance == distance).all()
        marks = landmarks_of(atelier().model, cast.subjects, shots.views)[..., :2]
        nose = (marks[:, 35] - marks[:, 31]).norm(dim=1)
        noses.append(nose / (marks[:, 16] - marks[:, 0]).norm(dim=1))
    assert (noses[0] / noses[1]).min() > 1.1


def test_a_quarter_of_the_size_loses_detail_and_black_and_white_the_colours():
    def detail(some):
        return (some[..., 1:] - some[..., :-1]).abs().mean()

    assert detail(pictures("at a quarter of the size")) < 0.75 * detail(pictures())
    grey = pictures("in black and white")
    spread = (grey.amax(dim=1) - grey.amin(dim=1)).mean()
    assert spread < 0.02 < (pictures().amax(dim=1) - pictures().amin(dim=1)).mean()


def test_what_is_put_on_shows_where_it_is_and_not_elsewhere():
    """Behind the head, picture and twin are the same but for the meter, lens and file."""
    difference = (pictures("in sunglasses") - pictures()).abs().mean(dim=(0, 1))
    assert difference[22:32, 16:48].mean() > 8 * difference[:, :4].mean()
