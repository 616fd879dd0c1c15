"""A photograph turned: where it is seen it is the photo, angles are those asked for, bad input is told."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

import facet
from facet import cli
from facet.crop import crop_image
from facet.reconstruction import photos, pipeline
from facet.reconstruction.crops import square
from facet.reconstruction.detect import box_of
from facet.rotation import photograph
from facet.rotation.photograph import rotate

pytestmark = pytest.mark.assets
HOW = {"model": "coefficients-wide", "device": "cpu"}


@pytest.fixture(scope="module")
def photo():
    return photos.load("astronaut").copy()


@pytest.fixture(scope="module")
def face(photo):
    return facet.reconstruct(photo, **HOW)


def test_a_view_from_where_the_photo_was_taken_is_the_photo(photo, face):
    """Same crop, same pose: what is seen of the head has the photo's colours in place."""
    view = rotate(photo, float(rotate(photo, face=face).photo_pose.yaw), level=False, face=face, size=128)
    seen = view.seen > 0.99
    assert 0.2 < seen.mean() < 0.7
    matrix = square(box_of(face.landmarks), 128)[None]
    crop = crop_image(photo, matrix, 128)[0].permute(1, 2, 0).numpy() * 255
    apart = np.abs(crop - view.image).max(axis=2)[seen]
    assert np.median(apart) < 8
    shifted = np.abs(np.roll(crop, 6, axis=1) - view.image).max(axis=2)[seen]
    assert np.median(shifted) > 1.5 * np.median(apart)


def test_angles_are_those_asked_for(photo, face):
    views = {yaw: rotate(photo, yaw, face=face, size=96) for yaw in (-60.0, 0.0, 60.0)}
    for yaw, view in views.items():
        assert view.pose == pytest.approx((yaw, 0.0, 0.0), abs=1e-4)
        assert view.image.shape == (96, 96, 3)
        assert view.image.dtype == np.uint8
        assert ((view.seen >= 0) & (view.seen <= view.head + 1e-6)).all()
    assert views[0.0].seen.sum() > max(views[-60.0].seen.sum(), views[60.0].seen.sum())
    # the nose is at the picture's right: more of the head lies behind it, to the left
    columns = np.arange(96)
    middle = {yaw: (view.head.sum(axis=0) * columns).sum() / view.head.sum() for yaw, view in views.items()}
    assert middle[60.0] < middle[0.0] < middle[-60.0]


def test_the_direction_is_chosen_and_tilt_can_be_kept(photo, face):
    view = rotate(photo, face=face, size=96)
    assert abs(view.pose.yaw) == pytest.approx(abs(view.photo_pose.yaw) + 30, abs=1e-3)
    assert rotate(photo, to="side", face=face, size=96).pose.yaw == pytest.approx(
        80 * np.sign(view.pose.yaw), abs=1e-3
    )
    kept = rotate(photo, to=10, level=False, face=face, size=96)
    assert kept.pose[1:] == pytest.approx(kept.photo_pose[1:], abs=1e-4)


def test_a_mirrored_photo_gives_a_mirrored_view(photo):
    box = facet.reconstruct(photo, **HOW).box
    width = photo.shape[1]
    mirrored = (width - 1 - box[2], box[1], width - 1 - box[0], box[3])
    one = rotate(photo, 40.0, size=96, box=tuple(box), **HOW)
    other = rotate(np.ascontiguousarray(photo[:, ::-1]), -40.0, size=96, box=mirrored, **HOW)
    apart = np.abs(one.image.astype(int) - other.image[:, ::-1]).max(axis=2)
    assert np.median(apart[(one.head > 0.5) & (other.head[:, ::-1] > 0.5)]) < 40
    assert one.photo_pose.yaw == pytest.approx(-other.photo_pose.yaw, abs=6)


def test_beyond_the_photos_edge_nothing_is_seen_and_nothing_is_black(photo):
    """A photo that ends at the forehead, seen as it was taken: above it head and background are continued."""
    part, box = np.ascontiguousarray(photo[90:400, 120:400]), (60.0, -2.5, 150.0, 87.0)
    face = facet.reconstruct(part, box=box, **HOW)
    yaw = float(rotate(part, face=face).photo_pose.yaw)
    view = rotate(part, yaw, level=False, face=face, size=128)
    matrix = square(box_of(face.landmarks), 128)[None]
    inside = crop_image(np.full_like(part, 255), matrix, 128)[0].numpy().min(axis=0)
    beyond = inside < 0.01
    assert 0.02 < beyond.mean() < 0.5
    assert view.seen[beyond].max() < 0.5
    assert view.seen[inside > 0.99].max() == 1
    assert view.image[beyond].max(axis=1).min() > 20


def test_the_share_of_a_crop_inside_of_the_photo():
    """None for a crop that lies inside, whose views stay what they were; else by hand."""
    inside = square(np.array([40.0, 40.0, 60.0, 60.0]), 32)
    assert photograph._shown((100, 100, 3), inside, 32) is None
    beyond = square(np.array([-10.0, 40.0, 10.0, 60.0]), 32)  # its middle is column 0
    shown = photograph._shown((100, 100, 3), beyond, 32)
    assert shown.shape == (1, 1, 32, 32)
    assert (shown[..., :15] == 0).all()
    np.testing.assert_allclose(shown[..., 16:], 1, atol=1e-6)


def test_no_face_names_the_file(tmp_path):
    Image.new("RGB", (200, 200), (90, 90, 90)).save(tmp_path / "wall.png")
    with pytest.raises(facet.FaceNotFoundError, match=r"no face found in .*wall\.png"):
        rotate(tmp_path / "wall.png", 30, **HOW)


def test_the_face_model_is_shared_with_reconstruct():
    assert photograph._completion("cpu").face is pipeline.face_model_of("cpu")


def test_the_generator_paints_at_its_own_size(photo, face, monkeypatch):
    from facet.networks import build

    generator = build("rotation", image_size=64, width=0.1).eval()
    monkeypatch.setattr(photograph, "weights", SimpleNamespace(load=lambda name, device: generator))
    assert rotate(photo, 30, face=face, repair=True).image.shape == (64, 64, 3)
    with pytest.raises(ValueError, match="the generator paints 64 pixels, not 96: leave size out"):
        rotate(photo, 30, face=face, repair=True, size=96)


@pytest.mark.parametrize("shift", [0.5, -0.5])
def test_what_the_generator_paints_beyond_white_and_black_is_cut_off(photo, face, monkeypatch, shift):
    """Eight bits would go round: what is brighter than white would turn dark."""

    class Painter(torch.nn.Module):
        image_size = 64

        def forward(self, filled, guide):
            return filled + shift

    plain = rotate(photo, 30, face=face, size=64).image.astype(float) / 255
    monkeypatch.setattr(photograph, "weights", SimpleNamespace(load=lambda name, device: Painter()))
    painted = rotate(photo, 30, face=face, repair=True).image.astype(float) / 255
    expected = np.clip(plain + shift, 0, 1)
    assert (expected != plain + shift).mean() > 0.05
    assert np.abs(painted - expected).max() < 0.01


def test_a_photo_that_is_not_there_is_told_before_anything_is_loaded(tmp_path, monkeypatch):
    monkeypatch.setattr(photograph, "_completion", lambda device: pytest.fail("too early"))
    with pytest.raises(ValueError, match=r"gone\.png does not exist"):
        rotate(tmp_path / "gone.png", 30, repair=True)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"yaw": 91}, "a head can be turned to yaw -90 to 90 degrees, not to 91"),
        ({"yaw": float("nan")}, "not to nan"),
        ({"yaw": "60"}, "not to '60'"),
        ({"to": -1}, "to must be an angle from 0 to 180"),
        ({"to": "30"}, "to must be an angle from 0 to 180"),
        ({"size": 8}, "a view is 32 to 2048 pixels wide, not 8"),
        ({"size": 0}, "a view is 32 to 2048 pixels wide, not 0"),
        ({"size": 100.5}, "a view is 32 to 2048 pixels wide, not 100.5"),
        ({"colour": 3}, "rotate knows no argument colour; those of reconstruct are box, correct, landmarks"),
    ],
)
def test_what_cannot_be_turned_is_refused(photo, face, given, message):
    with pytest.raises(ValueError, match=message):
        rotate(photo, face=face, **given)
    with pytest.raises(ValueError, match=message):  # before anybody looks for a face
        rotate(np.zeros((64, 64, 3), dtype=np.uint8), **given)


def test_a_face_has_to_be_of_this_photo_and_a_patch(photo, face):
    with pytest.raises(ValueError, match="face is given, so nothing is reconstructed with box"):
        rotate(photo, face=face, box=(180, 87, 270, 177))
    with pytest.raises(ValueError, match="the face is of another photo"):
        rotate(photo[:-1], face=face)
    solid = SimpleNamespace(vertices=np.zeros((10, 3)), system="vrn", image_size=photo.shape[:2])
    with pytest.raises(ValueError, match="vrn gives no face patch that could be turned"):
        rotate(photo, face=solid)


def test_the_command_writes_a_row_of_views(photo, face, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(photograph, "reconstruct", lambda *a, **k: face)
    monkeypatch.chdir(tmp_path)
    Image.fromarray(photo).save("me.png")
    view = rotate(photo, 20, face=face, size=64)
    assert cli.main(["rotate", "me.png", "--yaw", "-30", "0", "30", "--size", "64"]) == 0
    assert Image.open("me-turned.png").size == (192, 64)
    yaw = round(view.photo_pose.yaw)
    assert capsys.readouterr().out == f"me-turned.png: turned from yaw {yaw}° to -30°, 0°, 30°\n"
    for arguments, message in (
        (["--yaw", "100"], "not to 100"),
        (["--by", "-30"], "--by must be 0 to 180 degrees, got -30"),
        (["-o", "me.png"], "cannot write me.png: it is the photograph that is read"),
        (["-o", "me.jpg"], "cannot write me.jpg: the extension must be .png"),
        (["-o", "me.png/x.png"], "me.png is not a folder"),
    ):
        assert cli.main(["rotate", "me.png", *arguments]) == 2
        assert message in capsys.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["me-turned.png", "me.png"]
    assert cli.main(["rotate", "--size", "64", "--yaw=-30,0", "me.png"]) == 0
    assert capsys.readouterr().out == f"me-turned.png: turned from yaw {yaw}° to -30°, 0°\n"
    with pytest.raises(SystemExit):
        cli.main(["rotate", "--yaw", "-60", "-30", "me.png"])
    told = capsys.readouterr().err
    assert "'me.png' is no angle; a photograph comes first, as in `facet rotate photo.jpg --yaw -60" in told
    assert view.save(tmp_path / "view.png").is_file()
    with pytest.raises(ValueError, match="the extension must be"):
        view.save(tmp_path / "view.tif")
