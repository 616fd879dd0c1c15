"""Eyes: where they look, what their colours are, the lids' shade; and ambient occlusion against geometry."""

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from facet import face_model, paths
from facet.face_model import PARTS
from facet.synthetic import eye_assets
from facet.synthetic import eyes as module
from facet.synthetic.eyes import NAMES, RINGS, SPOKES, catch_light, eye_colour, open_eyes, pose_eyes
from facet.synthetic.subjects import Table

COLOURS = {"brown": (0.052, 0.025, 0.012), "blue": (0.075, 0.12, 0.18)}


@dataclass
class People(Table):
    """What `draw_eyes` looks at."""

    years: torch.Tensor
    ancestry: torch.Tensor


@pytest.fixture(scope="module")
def model():
    return face_model.load()


@pytest.fixture(scope="module")
def eyes(model, tmp_path_factory):
    """Painted irises, nothing hidden from light."""
    path = tmp_path_factory.mktemp("eyes") / "plain.safetensors"
    occlusion = torch.full((len(model.head_rest),), 255, dtype=torch.uint8)
    save_file({"iris": module.plain_irises(), "occlusion": occlusion}, path)
    return open_eyes(model, path)


def skin(colour="brown", **changes):
    """The columns of `Skin` that eyes have, for one person."""
    eye = dict(rim=0.4, pupil=0.15, ring=0.5, red=0.0, yellow=0.0, bright=1.0) | changes
    return SimpleNamespace(
        seed=torch.tensor([7]),
        iris=torch.tensor([2]),
        iris_colour=torch.tensor([COLOURS[colour]]),
        eye=torch.tensor([list(eye.values())]),
    )


def head(model, **strengths):
    """(1, Vh, 3) the mean head with an expression."""
    alpha = torch.zeros(1, len(model.expression_names))
    for name, strength in strengths.items():
        alpha[0, model.expression_names.index(name)] = strength
    return model.blend_head(torch.zeros(1, 1), alpha)


def colours(eyes, pose, places, side=0, **columns):
    """`eye_colour` of one person at (N, 2) places on the front of an eyeball."""
    places = torch.as_tensor(places, dtype=torch.float32)
    depth = (1 - places.square().sum(1, keepdim=True)).clamp(min=0).sqrt()
    zero = torch.zeros(len(places), dtype=torch.long)
    return eye_colour(eyes, pose, torch.cat([places, depth], 1), zero + side, zero, skin(**columns), zero)


def ring(radius, count=64):
    """(count, 2) places around the pupil, those that lids never reach."""
    angle = torch.arange(count) * (2 * torch.pi / count)
    return torch.stack([radius * angle.cos(), radius * angle.sin()], dim=1)


@pytest.mark.assets
def test_both_eyeballs_have_the_same_places(model, eyes):
    """x toward the temple: what is mirrored on the head is the same place on either eye."""
    for side, outward in ((0, 1.0), (1, -1.0)):
        rest = torch.tensor([[0.0, 0.0, 12.0], [5.0 * outward, 0.0, 12.0], [0.0, 5.0, 12.0]])
        place = eyes.place(rest + eyes.centre[side], torch.full((3,), side))
        assert place[0].tolist() == pytest.approx([0, 0, 12 / 14.38], abs=1e-3)
        assert place[1, 0] > 0.3
        assert place[2, 1] > 0.3
    left, right = (model.head_rest[eyes.vertices[side]] for side in (0, 1))
    places = [
        eyes.place(rest, torch.full((len(rest),), side)).sort(0).values
        for side, rest in enumerate((left, right))
    ]
    assert (places[0] - places[1]).abs().max() < 1e-3


@pytest.mark.assets
def test_eyes_look_where_the_expression_says(model, eyes):
    ahead = pose_eyes(eyes, head(model)).frame[0]
    assert (ahead @ ahead.mT - torch.eye(3)).abs().max() < 0.2  # faces stretch the balls a little
    assert (ahead[:, 2, 2] > 0.97).all()
    assert ahead[0, 0, 0] > 0.97
    assert ahead[1, 0, 0] < -0.97
    aside = pose_eyes(eyes, head(model, eyeLookOutLeft=1.0, eyeLookInRight=1.0)).frame[0, :, 2]
    assert (aside[:, 0] > 0.2).all()  # both to the subject's left
    assert (aside[0] - aside[1]).norm() < 0.2
    down = pose_eyes(eyes, head(model, eyeLookDownLeft=1.0, eyeLookDownRight=1.0)).frame[0, :, 2]
    up = pose_eyes(eyes, head(model, eyeLookUpLeft=1.0, eyeLookUpRight=1.0)).frame[0, :, 2]
    assert (up[:, 1] > ahead[:, 2, 1] + 0.1).all()
    assert (down[:, 1] < ahead[:, 2, 1] - 0.1).all()


@pytest.mark.assets
def test_lids_follow_blink_and_wide_eyes(model, eyes):
    def gap(**strengths):
        upper, lower = pose_eyes(eyes, head(model, **strengths)).lids[0].unbind(1)
        return (upper - lower)[:, module.MARGIN // 2, 1]

    rest = gap()
    assert (rest > 0.3).all()
    assert (gap(eyeBlinkLeft=1.0, eyeBlinkRight=1.0) < 0.4 * rest).all()
    assert (gap(eyeWideLeft=1.0, eyeWideRight=1.0) > 1.1 * rest).all()
    one = gap(eyeBlinkLeft=1.0)
    assert one[0] < 0.4 * rest[0]
    assert one[1].item() == pytest.approx(rest[1].item(), abs=1e-3)
    lids = pose_eyes(eyes, head(model)).lids[0]
    assert (lids[..., 0].diff(dim=2) > 0).all()  # from the nose outward
    assert (lids[0] - lids[1]).abs().max() < 0.06  # alike on both sides


@pytest.mark.assets
@pytest.mark.parametrize("colour", COLOURS)
def test_pupil_iris_and_white(model, eyes, colour):
    pose = pose_eyes(eyes, head(model, eyeWideLeft=1.0, eyeWideRight=1.0))
    pupil = colours(eyes, pose, 0.5 * ring(0.15), colour=colour).albedo
    iris = colours(eyes, pose, ring(0.27), colour=colour).albedo
    white = colours(eyes, pose, [[0.55, -0.05], [-0.5, -0.05]], colour=colour).albedo
    assert pupil.max() < 0.02
    asked = torch.tensor(COLOURS[colour])
    share = iris.mean(0) / asked
    assert (share / share.mean() - 1).abs().max() < 0.1
    assert 0.6 < share.mean() < 1.4
    assert white.min() > 0.25
    assert white.min() > 1.5 * iris.mean(0).max()
    assert (white[:, 0] >= white[:, 2]).all()


@pytest.mark.assets
def test_the_two_eyes_are_alike(model, eyes, generator):
    pose = pose_eyes(eyes, model.head_rest[None])
    places = torch.rand(400, 2, generator=generator) * torch.tensor([1.4, 0.4]) - torch.tensor([0.6, 0.3])
    left, right = (colours(eyes, pose, places, side) for side in (0, 1))
    assert (left.albedo - right.albedo).abs().max() < 0.02
    mirror = torch.tensor([-1.0, 1.0, 1.0])
    assert (left.normal - right.normal * mirror).abs().max() < 1e-3


@pytest.mark.assets
def test_everything_is_within_range(model, eyes, generator):
    for strengths in ({}, {"eyeBlinkLeft": 0.7}, {"eyeLookOutLeft": 1.0, "eyeSquintLeft": 1.0}):
        pose = pose_eyes(eyes, head(model, **strengths))
        look = colours(eyes, pose, 2 * torch.rand(500, 2, generator=generator) - 1, red=1.0, yellow=1.0)
        for value in (look.albedo, look.specular, look.roughness, look.occlusion):
            assert value.isfinite().all()
            assert value.min() >= 0
            assert value.max() <= 1
        assert (look.normal.norm(dim=1) - 1).abs().max() < 1e-5


@pytest.mark.assets
def test_lids_shade_what_lies_under_them(model, eyes):
    pose = pose_eyes(eyes, head(model))
    upper = pose.lids[0, 0, 0, module.MARGIN // 2]
    below = colours(eyes, pose, torch.stack([upper - torch.tensor([0.0, d]) for d in (0.02, 0.1, 0.25)]))
    assert (below.occlusion.diff() > 0.05).all()
    red = colours(eyes, pose, [[0.5, -0.1]], red=1.0).albedo
    pale = colours(eyes, pose, [[0.5, -0.1]], red=0.0).albedo
    assert red[0, 0] / red[0, 2] > pale[0, 0] / pale[0, 2] + 0.02


@pytest.mark.assets
def test_the_cornea_bulges(model, eyes):
    """Its normals turn outward faster than the eyeball's, and at the pupil they look where the eye looks."""
    pose = pose_eyes(eyes, model.head_rest[None])
    normal = colours(eyes, pose, [[0.0, 0.0], [0.3, 0.0], [0.55, 0.0]]).normal
    assert normal[0].tolist() == pytest.approx([0, 0, 1], abs=1e-3)
    assert normal[1, 0] > 0.3 * 1.3
    assert normal[2, 0] == pytest.approx(0.55, abs=0.05)
    aside = pose_eyes(eyes, head(model, eyeLookOutLeft=1.0))
    assert (colours(eyes, aside, [[0.0, 0.0]]).normal[0] - aside.frame[0, 0, 2]).norm() < 1e-3


def test_irises_close_around():
    """A lookup has no seam where the angle jumps, and goes around from the temple upward."""
    table = torch.zeros(1, 3, RINGS, SPOKES)
    table[..., SPOKES // 4] = 1.0
    angle = torch.tensor([torch.pi / 2, -torch.pi / 2, torch.pi - 1e-4, -torch.pi + 1e-4])
    zero = torch.zeros(4, dtype=torch.long)
    found = module._spokes(table, zero, torch.full((4,), 0.5), angle)[:, 0]
    assert found.tolist() == pytest.approx([1, 0, 0, 0], abs=1e-3)
    plain = module.plain_irises()[:1].float()
    near = module._spokes(plain, zero, torch.full((4,), 0.5), angle)
    assert (near[2] - near[3]).abs().max() < 1
    seed = torch.zeros(2, dtype=torch.long)
    noise = module._noise(torch.tensor([-11.99999, 12.00001]), torch.tensor([3.3, 3.3]), seed)
    assert (noise[0] - noise[1]).abs() < 1e-3


def test_a_catch_light_is_where_a_mirror_shows_the_light():
    toward = torch.nn.functional.normalize(torch.tensor([[0.5, -0.4, 0.8]]), dim=1)
    half = torch.nn.functional.normalize(toward + torch.tensor([[0.0, 0.0, 1.0]]), dim=1)
    width = torch.tensor([0.15])
    assert catch_light(half, toward, width).item() == 1
    assert catch_light(torch.tensor([[0.0, 0.0, 1.0]]), toward, width).item() == 0
    turned = torch.nn.functional.normalize(half + torch.tensor([[0.2, 0.0, 0.0]]), dim=1)
    assert catch_light(turned, toward, width).item() == 0


def test_dark_people_have_dark_eyes(generator):
    count = 1000
    subjects = People(torch.full((count,), 40.0), torch.eye(3)[[2] * count])
    _, dark, eye = module.draw_eyes(generator, subjects, torch.full((count,), 0.7))
    iris, light, _ = module.draw_eyes(generator, subjects, torch.full((count,), 0.1))
    assert (dark[:, 2] > dark[:, 0]).float().mean() == 0
    assert 0.2 < (light[:, 2] > light[:, 0]).float().mean() < 0.7
    assert dark.mean() < 0.6 * light.mean()
    assert set(iris.tolist()) == set(range(9))
    assert (eye[:, 1] < 0.5 * eye[:, 0]).all()


def test_an_iris_is_unrolled_from_a_texture(tmp_path):
    """Around from the right upward, from the pupil outward, as a share of the mean colour."""
    y, x = np.mgrid[:512, :512]
    radius, angle = np.hypot(x - 152, y - 357), np.arctan2(357 - y, x - 152)
    image = np.full((512, 512, 3), 210.0)
    image[radius < 58] = (90, 60, 40)
    image[(radius < 58) & (np.abs(angle - np.pi / 2) < 0.4)] = (180, 120, 80)
    image[radius < 16] = 5
    path = tmp_path / "one_eye.png"
    Image.fromarray(image.astype(np.uint8)).save(path)
    iris = eye_assets._unroll(path).float() / 127.5
    assert iris.shape == (3, RINGS, SPOKES)
    bright = (iris[:, 4:-2] > 1.3).nonzero()[:, 2]
    assert bright.float().mean().item() == pytest.approx(SPOKES / 4, abs=1)
    assert bright.max() - bright.min() == pytest.approx(0.8 * SPOKES / (2 * torch.pi), abs=2)
    assert iris[:, 4:-2, SPOKES // 4].min() > 1.5
    assert iris[:, 4:-2, SPOKES // 2 :].max() < 0.9
    assert iris[:, 4:-2].mean().item() == pytest.approx(1, abs=0.12)


def test_without_makehuman_irises_are_painted(tmp_path, monkeypatch, model):
    monkeypatch.setattr(paths, "RAW", tmp_path)
    monkeypatch.setattr(eye_assets, "ambient_occlusion", lambda model: torch.ones(len(model.head_rest)))
    told = []
    packed = eye_assets.pack(model, say=told.append)
    assert "no MakeHuman eyes" in told[0]
    assert torch.equal(packed["iris"], module.plain_irises())


# Ambient occlusion


def test_a_ball_sees_everything_and_a_floor_half_of_a_wall():
    pytest.importorskip("open3d")
    import trimesh

    ball = trimesh.creation.icosphere(3)
    points = torch.from_numpy(np.array(ball.vertices)).float()
    seen = eye_assets._visibility(10 * points, torch.from_numpy(np.array(ball.faces)), 64)
    assert seen.min() == 1
    flat = trimesh.creation.box((2000, 2000, 2)).subdivide()
    wall = trimesh.creation.box((2, 2000, 4000))
    wall.apply_translation((3, 0, 0))
    scene = trimesh.util.concatenate([flat, wall])
    points = torch.from_numpy(np.array(scene.vertices)).float()
    top = ((points[:, :2].abs().sum(1) < 1e-6) & (points[:, 2] > 0)).nonzero()[0, 0]
    seen = eye_assets._visibility(points, torch.from_numpy(np.array(scene.faces)), 256)
    assert seen[top].item() == pytest.approx(0.5, abs=0.04)  # a wall beside it hides half of the sky


@pytest.mark.assets
def test_hollows_see_less_than_cheeks(model):
    pytest.importorskip("open3d")
    seen = eye_assets.ambient_occlusion(model, rays=64)
    assert seen.shape == (len(model.head_rest),)
    assert 0 <= seen.min() < seen.max() <= 1
    x, y, z = model.head_rest.unbind(1)
    cheek = seen[((x.abs() - 42).abs() < 6) & ((y + 10).abs() < 8) & (z > 60)].mean()
    forehead = seen[(x.abs() < 20) & ((y - 65).abs() < 8) & (z > 60)].mean()
    nostril = seen[((x.abs() - 8).abs() < 4) & ((y + 20).abs() < 6) & ((z - 94).abs() < 8)].min()
    ear = seen[((x.abs() - 74).abs() < 8) & ((y - 2).abs() < 8) & ((z + 6).abs() < 8)].min()
    chin = seen[(x.abs() < 12) & ((y + 92).abs() < 4) & ((z - 55).abs() < 10)].mean()
    assert cheek > 0.8
    assert forehead > 0.9
    assert nostril < 0.4
    assert ear < 0.4
    assert chin < forehead - 0.2
    inside = model.head_triangles[model.head_part == PARTS.index("mouth")].unique()
    assert seen[inside].mean() < 0.5 * cheek
    for name in NAMES:
        assert (seen[model.head_triangles[model.head_part == PARTS.index(name)]] == 1).all()
    left, right = seen[(x - 40).abs() < 5].mean(), seen[(x + 40).abs() < 5].mean()
    assert (left - right).abs() < 0.02


@pytest.mark.assets
def test_the_packed_file_is_small_and_read_back(model, tmp_path):
    pytest.importorskip("open3d")
    packed = eye_assets.pack(model, say=lambda text: None)
    path = tmp_path / "eyes.safetensors"
    save_file(packed, path)
    assert path.stat().st_size < 200 * 1024
    eyes = open_eyes(model, path)
    assert eyes.iris.shape == (9, 3, RINGS, SPOKES)
    assert (eyes.iris.mean((2, 3)) - 1).abs().max() < 0.05
    assert eyes.occlusion.max() == 1


def test_a_missing_file_is_made_or_asked_for(tmp_path, monkeypatch, model):
    """Never replaced in silence: a machine without open3d would draw other people."""
    monkeypatch.setattr(paths, "CACHE", tmp_path)
    small = {"iris": module.plain_irises(), "occlusion": torch.full((len(model.head_rest),), 9).byte()}
    monkeypatch.setattr(eye_assets, "load", lambda: model)
    monkeypatch.setattr(eye_assets, "pack", lambda model, say: small)
    assert open_eyes(model).occlusion.mean().item() == pytest.approx(9 / 255)
    assert eye_assets.where().is_file()
    eye_assets.where().unlink()

    def without_open3d(model, say):
        raise ImportError("No module named 'open3d'")

    monkeypatch.setattr(eye_assets, "pack", without_open3d)
    with pytest.raises(ValueError, match=r"eyes\.safetensors is missing .* carry it along"):
        open_eyes(model)
    assert not eye_assets.where().exists()
