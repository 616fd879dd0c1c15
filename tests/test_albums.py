"""Albums: photographs that are cropped and marked to train Coefficients on, and what cannot be one."""

import io
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from facet import networks, profiles
from facet.coefficients.albums import Album
from facet.face_model import compact, load
from facet.reconstruction import albums, detect, landmarks, photos
from facet.training import recipes

SIZE = 64
PROFILE = profiles.load("smoke")


@pytest.fixture
def folder(tmp_path):
    """Photographs: one of somebody, one of a wall, one that is cut short."""
    inner = tmp_path / "photos" / "inner"
    inner.mkdir(parents=True)
    picture = Image.fromarray(photos.load("astronaut"))
    picture.save(inner / "her.png")
    Image.fromarray(np.full((80, 80, 3), 90, np.uint8)).save(inner / "wall.jpg")
    whole = io.BytesIO()
    picture.save(whole, "JPEG")
    (inner.parent / "cut.jpg").write_bytes(whole.getvalue()[:9000])
    return inner.parent


@pytest.fixture
def finds(monkeypatch):
    """What a network finds: 68 landmarks whose box is that of four corners."""

    def set_to(corners):
        x, y = np.meshgrid(*np.asarray(corners, dtype=np.float64))
        marks = np.concatenate((np.stack((x, y), -1).reshape(-1, 2), np.full((64, 2), np.mean(corners, 1))))
        network = SimpleNamespace(name="landmarks")
        monkeypatch.setattr(landmarks, "load_network", lambda device, names: network)
        monkeypatch.setattr(landmarks, "find", lambda *_: marks)

    return set_to


@pytest.mark.assets
def test_an_album_of_one_s_own_photographs(folder, finds, tmp_path, monkeypatch):
    """Faces are found, cropped with some surrounding, marked; a picture that cannot be used is named."""
    monkeypatch.setattr(compact, "VERTICES", 300)
    finds(((185.0, 265.0), (95.0, 175.0)))
    faces, left_out = albums.make(folder, tmp_path / "a.npz", load(), image_size=SIZE)
    assert (faces, left_out) == (1, {"cut.jpg": "cannot be read", "inner/wall.jpg": "no face"})
    album = Album.load(tmp_path / "a.npz")
    assert album.names == ("inner/her.png",)
    assert album.images.shape == (1, 3, 80, 80)
    assert album.landmarks[0].mean(dim=0).sub(31.5).abs().max() < 1
    box = album.landmarks[0].amax(dim=0) - album.landmarks[0].amin(dim=0)
    assert box.sub(63 / 1.5).abs().max() < 0.5
    profile = PROFILE.with_(options={"album": str(tmp_path / "a.npz")})
    made = recipes.recipe("coefficients", profile, variant="photos", device="cpu")
    task = recipes.task(made, profile)
    _, target = task.batches(0)
    assert set(target) == {"photo", "landmarks"}
    network = networks.build("coefficients", image_size=SIZE, width=0.25, **made.options)
    assert set(task.validate(network.eval())) >= {"loss", "photo", "landmarks"}
    with pytest.raises(ValueError, match="has crops of 64 pixels, not 128"):
        recipes.recipe("coefficients", profile.with_(image_size=128), variant="photos")


@pytest.mark.assets
def test_an_album_of_nothing_says_why(folder, finds, tmp_path, monkeypatch):
    finds(((5.0, 65.0), (300.0, 360.0)))  # in the photo, and beside the face
    out = tmp_path / "a.npz"
    reasons = "1 × cannot be read, 1 × landmarks that do not fit the face, 1 × no face"
    with pytest.raises(ValueError, match=f"no photograph of .*photos can be used: {reasons}"):
        albums.make(folder, out, load(), image_size=SIZE)
    monkeypatch.setattr(landmarks, "load_network", lambda device, names: None)
    with pytest.raises(FileNotFoundError, match="no network finds landmarks yet"):
        albums.make(folder, out, load(), image_size=SIZE)
    monkeypatch.setattr(detect, "available", lambda detector: False)
    with pytest.raises(ValueError, match="no face detector is installed"):
        albums.make(folder, out, load(), image_size=SIZE)
    assert not out.exists()


def test_albums_say_what_is_missing(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="no photographs in"):
        albums.photographs(tmp_path)
    with pytest.raises(FileNotFoundError, match="make it by `facet data album"):
        Album.load(tmp_path / "none.npz")
    with pytest.raises(ValueError, match="make one by `facet data album`"):
        recipes.recipe("coefficients", PROFILE, variant="photos")
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ImportError, match="pip install scikit-learn"):
        albums.photographs("lfw")


def stored(**changed):
    """An album's bytes."""
    parts = {
        "images": np.zeros((2, 3, 80, 80), np.uint8),
        "landmarks": np.zeros((2, 68, 2), np.float32),
        "names": np.array(["a", "b"]),
        "size": np.array(SIZE),
    }
    handle = io.BytesIO()
    np.savez_compressed(handle, **{**parts, **changed})
    return handle.getvalue()


def test_what_is_no_album_is_named(tmp_path):
    path = tmp_path / "a.npz"
    path.write_bytes(stored())
    assert len(Album.load(path)) == 2
    array = io.BytesIO()
    np.save(array, np.zeros(3))
    whole = stored(images=np.random.default_rng(0).integers(0, 256, (2, 3, 80, 80), dtype=np.uint8))
    middle = len(whole) // 2
    wrong = {
        "text": b"nothing",
        "empty": b"",
        "one array": array.getvalue(),
        "cut": whole[:middle],
        "damaged": whole[:middle]
        + bytes(b ^ 255 for b in whole[middle : middle + 40])
        + whole[middle + 40 :],
        "images": stored(images=np.zeros((2, 80, 80, 3), np.uint8)),
        "landmarks": stored(landmarks=np.zeros((2, 5, 2))),
        "names": stored(names=np.array(["a"])),
        "nobody": stored(images=np.zeros((0, 3, 80, 80)), landmarks=np.zeros((0, 68, 2)), names=np.array([])),
    }
    for name, content in wrong.items():
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"a\.npz is no album \(.*\): make it by `facet data album`"):
            pytest.fail(f"{name} is an album of {len(Album.load(path))}")


def test_lfw_as_scikit_learn_unpacks_it(monkeypatch, tmp_path):
    """A stand-in for scikit-learn, which is none of our requirements: it unpacks, and one person is read."""
    unpacked = tmp_path / "data" / "lfw_home" / "lfw_funneled"

    def fetch(**options):
        assert options == {"min_faces_per_person": 500}
        for name in ("Bob", "Ann"):
            (unpacked / name).mkdir(parents=True)
            (unpacked / name / f"{name}_0001.jpg").touch()
        (unpacked / "pairs_01.txt").touch()

    def sklearn(fetch):
        made = SimpleNamespace(fetch_lfw_people=fetch, get_data_home=lambda: str(tmp_path / "data"))
        monkeypatch.setitem(sys.modules, "sklearn.datasets", made)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "sklearn", SimpleNamespace())
    sklearn(fetch)
    found = albums.photographs("lfw")
    assert [name for name, _ in found] == ["Ann/Ann_0001.jpg", "Bob/Bob_0001.jpg"]
    assert found[0][1] == unpacked / "Ann" / "Ann_0001.jpg"

    def closed(**_):
        raise OSError("no route to host")

    sklearn(closed)
    with pytest.raises(OSError, match="cannot be fetched"):
        albums.photographs("lfw")
    (tmp_path / "lfw").mkdir()
    (tmp_path / "lfw" / "me.jpg").touch()
    assert [name for name, _ in albums.photographs("lfw")] == ["me.jpg"]  # a folder of that name
