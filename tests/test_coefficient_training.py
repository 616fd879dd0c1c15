"""Coefficients from data to results: what training is told, albums, reconstruction, scores."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import tiny_people
import torch
from torch import nn

import facet
from facet import networks, paths, profiles
from facet.coefficients import Person
from facet.coefficients.albums import Album
from facet.evaluation import coefficients as scoring
from facet.face_model import compact, files, load, vertices_from_map
from facet.reconstruction import albums, by_coefficients, photos
from facet.synthetic.dataset import open_pictures
from facet.synthetic.test_sets import FRONT, TestSet
from facet.training import History, coefficient_recipes, configuration_hash, obtain, recipes

SIZE = tiny_people.SIZE
PROFILE = profiles.load("smoke").with_(people={"train": 4, "val": 3, "test": 2}, samples=12, validate_every=2)


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory):
    """Data sets of this module go to a folder of its own."""
    home = tiny_people.root(tmp_path_factory.mktemp("home"))
    files.ensure()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "CACHE", home / "data" / "cache")
        patch.setattr(compact, "VERTICES", 300)
        plain = recipes.Description
        patch.setattr(recipes, "Description", lambda *a, **k: plain(*a, **{"shard": 2, **k}))
        yield home


@pytest.fixture(scope="module")
def tasks():
    made = {v: recipes.recipe("coefficients", PROFILE, variant=v, device="cpu") for v in ("", "supervised")}
    return {v: recipes.task(m, PROFILE, workers=1) for v, m in made.items()}


@pytest.fixture(scope="module")
def answer():
    """A network that always gives one and the same plausible face."""
    made = recipes.recipe("coefficients", PROFILE)
    network = networks.build("coefficients", image_size=SIZE, width=0.25, **made.options).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        network.decoder[-1].bias.copy_(0.3 * torch.randn(network.layout.total, generator=generator))
        network.decoder[-1].bias[-6:] = 0
    return network


def test_self_supervised_targets_hold_nothing_of_the_third_dimension(tasks):
    images, target = tasks[""].batches(0)
    assert {name: tuple(value.shape) for name, value in target.items()} == {
        "photo": (4, 3, 32, 32),
        "landmarks": (4, 68, 2),
    }
    assert images.shape == (4, 3, SIZE, SIZE)
    assert tasks[""].loss.weights.vertices == 0
    again, other = tasks["supervised"].batches(0)
    assert torch.equal(images, again)  # the twin sees the same pictures and places
    assert all(torch.equal(target[name], other[name]) for name in target)
    assert set(other) - set(target) == {"map"}


def test_landmarks_are_the_map_s_own_places_with_noise(tasks):
    """The map's texels at the landmarks, mirrored photos too: nothing is off by more than noise and grid."""
    model, uv = load(), load().uv[load().landmarks]
    for step in range(3):
        _, target = tasks["supervised"].batches(step)
        apart = vertices_from_map(target["map"], uv)[..., :2] - target["landmarks"]
        assert apart.abs().mean() < 0.02 * SIZE
        assert apart.mean(dim=(1,)).abs().max() < 0.012 * SIZE
    assert len(model.landmarks) == 68


def test_the_recipes_differ_in_labels_alone():
    plain, labelled = (recipes.recipe("coefficients", PROFILE, variant=v) for v in ("", "supervised"))
    one, two = plain.configuration(), labelled.configuration()
    assert {k for k in one if one[k] != two[k]} == {"data"}
    assert {k for k in one["data"] if one["data"][k] != two["data"][k]} == {"loss"}
    losses = one["data"]["loss"], two["data"]["loss"]
    assert {k for k in losses[0] if losses[0][k] != losses[1][k]} == {"vertices"}
    assert configuration_hash(one) != configuration_hash(two)
    assert plain.name == "coefficients-smoke"
    with pytest.raises(ValueError, match="coefficients-deep; known: coefficients, coefficients-supervised"):
        recipes.recipe("coefficients", PROFILE, variant="deep")


def test_training_keeps_every_term_of_the_loss(tasks, tmp_path):
    made = recipes.recipe("coefficients", PROFILE, variant="supervised", device="cpu")
    where = {"weights": tmp_path / "weights", "cache": tmp_path / "cache", "progress": "none"}
    network, history = obtain(made, lambda: tasks["supervised"], **where)
    assert history.finished
    names = {"photo", "landmarks", "identity", "expression", "texture", "light", "vertices"}
    weights = coefficient_recipes.weights("supervised")
    for row in history.rows:
        assert set(row["terms"]) == names
        total = sum(getattr(weights, name) * value for name, value in row["terms"].items())
        assert row["val_loss"] == pytest.approx(total)
    text = history.to_csv()
    (tmp_path / "history.csv").write_text(text)
    assert History.read_csv(tmp_path / "history.csv").rows == history.rows
    again, _ = obtain(made, lambda: pytest.fail("is trained already"), **where)
    images = torch.rand(1, 3, SIZE, SIZE)
    with torch.no_grad():
        assert (network(images) - again(images)).abs().max() < 0.05


def test_scores_are_those_of_the_vertices_and_the_picture(answer):
    model = load()
    pictures = open_pictures(tiny_people.tiny("test", people=2, jitter=True), workers=1)
    samples = list(TestSet("tiny", pictures, model, ((FRONT,),)))
    images = torch.stack([sample["images"] for sample in samples])
    marks = scoring.detected(samples)
    made = recipes.recipe("coefficients", PROFILE)
    loss = coefficient_recipes.loss_of(made, Person.open(model, 300))
    targets = scoring.targets_of(images, marks, 32)
    fit = scoring.landmark_fit(loss.person, loss.layout, marks, SIZE)
    numbers = scoring.refined(loss, fit, targets, 3)
    frames = {
        name: scoring.rows(values, samples, model, loss, targets, name=name, test_set="tiny")
        for name, values in (("fit", fit), ("refined", numbers), ("mean", torch.zeros_like(fit)))
    }
    score = {name: frame.groupby(["metric", "normaliser"])["value"].mean() for name, frame in frames.items()}
    assert score["fit"]["landmarks", "landmark-box"] < 3 < score["mean"]["landmarks", "landmark-box"]
    assert score["fit"]["exact-unaligned", "mm"] < score["mean"]["exact-unaligned", "mm"]
    assert score["refined"]["photo", "levels"] < score["fit"]["photo", "levels"]
    assert len(frames["fit"][frames["fit"]["metric"] == "photo"]) == 2
    assert scoring.answers(answer, images).shape == fit.shape


# Reconstruction


def test_reconstruct_gives_the_model_s_face_in_the_photo(answer):
    """The face that the network names, in the photo's pixels, whatever crop it was read from."""
    photo = photos.PHOTOS["astronaut"].load().copy()
    box = (180.0, 87.5, 270.0, 177.0)
    found = facet.reconstruct(photo, model=answer, box=box)
    fitted = by_coefficients.fit(photo, np.array(box), answer, load())
    inside = fitted.vertices(load()).numpy()
    assert np.abs(found.vertices[:, :2] - fitted.to_photo(torch.from_numpy(inside))).max() < 1e-2
    centre = found.landmarks[:, :2].mean(axis=0)
    assert np.abs(centre - (225, 132)).max() < 15
    assert found.system == "coefficients"
    assert found.position_map.shape == (3, SIZE, SIZE)
    assert abs(found.pose.yaw) < 3


def test_refinement_moves_the_face_to_given_landmarks(answer):
    photo = photos.PHOTOS["astronaut"].load().copy()
    marks = facet.reconstruct(photo, model=answer, box=(180, 87.5, 270, 177)).landmarks[:, :2]
    wanted = marks + np.array([3.0, -2.0])
    apart = []
    for steps in (0, 12):
        found = facet.reconstruct(photo, model=answer, landmarks=wanted, refine=steps)
        apart.append(np.linalg.norm(found.landmarks[:, :2] - wanted, axis=1).mean())
    assert apart[1] < 0.6 * apart[0]
    network = SimpleNamespace(name="prn", views=1, output="map")
    with pytest.raises(ValueError, match="refine is for"):
        facet.reconstruct(photo, model=_Named(network), box=(180, 87.5, 270, 177), refine=3)
    with pytest.raises(ValueError, match="the prior is for"):
        facet.reconstruct(photo, model=answer, landmarks=wanted, prior=True)


def test_landmarks_come_from_the_first_network_at_hand(answer, monkeypatch):
    """Of the landmark network as of a position map: where it sees them, in pixels of the photo."""
    photo, box = photos.PHOTOS["astronaut"].load().copy(), np.array((180, 87.5, 270, 177))
    asked = []

    def none_but(*names):
        def load_weights(name, device):
            asked.append(name)
            if name not in names:
                raise FileNotFoundError(name)
            return networks.build(name, image_size=64, width=0.125).eval()

        monkeypatch.setattr(by_coefficients.weights, "load", load_weights)
        asked.clear()

    for names in (("landmarks", "prn"), ("prn",)):
        none_but(*names)
        found = by_coefficients.detected(photo, box, load())
        assert asked[-1] == names[0]
        assert found.shape == (68, 2)
        assert np.isfinite(found).all()
    none_but()
    assert by_coefficients.detected(photo, box, load()) is None
    assert asked == list(by_coefficients.DETECTORS)


class _Named(nn.Module):
    def __init__(self, about):
        super().__init__()
        self.name, self.views, self.output = about.name, about.views, about.output


# Albums


def test_an_album_of_one_s_own_photographs(tmp_path, monkeypatch):
    """Faces are found, cropped with some surrounding, marked; a picture without one is named."""
    from PIL import Image

    folder = tmp_path / "photos" / "inner"
    folder.mkdir(parents=True)
    image = photos.PHOTOS["astronaut"].load()
    Image.fromarray(image).save(folder / "her.png")
    Image.fromarray(np.full((80, 80, 3), 90, np.uint8)).save(folder / "wall.jpg")
    corners = np.stack(np.meshgrid((185.0, 265.0), (95.0, 175.0)), -1).reshape(-1, 2)
    marks = np.concatenate((corners, np.full((64, 2), (225.0, 135.0))))
    monkeypatch.setattr(by_coefficients, "detected", lambda *_: marks)
    faces, left_out = albums.make(folder.parent, tmp_path / "a.npz", load(), image_size=SIZE)
    assert (faces, left_out) == (1, ["inner/wall.jpg"])
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


def test_albums_say_what_is_missing(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="no photographs in"):
        list(albums.photographs(tmp_path))
    with pytest.raises(FileNotFoundError, match="make it by `facet data album"):
        Album.load(tmp_path / "none.npz")
    (tmp_path / "bad.npz").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="is no album"):
        Album.load(tmp_path / "bad.npz")
    with pytest.raises(ValueError, match="make one by `facet data album`"):
        recipes.recipe("coefficients", PROFILE, variant="photos")
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match="pip install scikit-learn"):
        list(albums.photographs("lfw"))


def test_lfw_as_scikit_learn_gives_it(monkeypatch):
    def fetch(**options):
        assert options["color"]
        assert options["slice_"] is None
        images = np.full((2, 4, 5, 3), 0.5, np.float32)
        return SimpleNamespace(images=images, target=np.array([1, 0]), target_names=np.array(["Ann", "Bob"]))

    monkeypatch.setitem(sys.modules, "sklearn", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "sklearn.datasets", SimpleNamespace(fetch_lfw_people=fetch))
    found = dict(albums.photographs("lfw"))
    assert list(found) == ["Bob 0", "Ann 1"]
    assert found["Ann 1"].shape == (4, 5, 3)
    assert found["Ann 1"].max() == 128

    def closed(**_):
        raise OSError("no route to host")

    monkeypatch.setitem(sys.modules, "sklearn.datasets", SimpleNamespace(fetch_lfw_people=closed))
    with pytest.raises(OSError, match="cannot be fetched"):
        list(albums.photographs("lfw"))
