"""Coefficients from data to results: what training is told, albums, reconstruction, scores."""

import gc
import weakref
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import tiny_people
import torch
from torch import nn

import facet
from facet import networks, paths, profiles
from facet.augment import Augmentation, Combined
from facet.coefficients import FaceRenderer
from facet.coefficients.batches import MAP, CoefficientTruth
from facet.evaluation import coefficients as scoring
from facet.face_model import compact, files, load, vertices_from_map
from facet.face_model.once import once_for
from facet.files import sha256
from facet.reconstruction import by_coefficients, photos
from facet.reconstruction.landmarks import landmarks_of_crops
from facet.rendering import downsample
from facet.synthetic.batches import Batches
from facet.synthetic.dataset import open_pictures
from facet.synthetic.stream import Stream
from facet.synthetic.test_sets import FRONT, TestSet
from facet.training import History, coefficient_recipes, common, configuration_hash, obtain, recipes

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
        plain = common.Description
        patch.setattr(common, "Description", lambda *a, **k: plain(*a, **{"shard": 2, **k}))
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
    uv = load().uv[load().landmarks]
    for step in range(3):
        _, target = tasks["supervised"].batches(step)
        apart = vertices_from_map(target["map"], uv)[..., :2] - target["landmarks"]
        assert apart.abs().mean() < 0.02 * SIZE
        assert apart.mean(dim=(1,)).abs().max() < 0.012 * SIZE


DIRTY = {
    "chances": Augmentation(boxes=1.0, noise=0.2, blur=(1.0, 3.0), resample=(1.0, 3.0), jpeg=(1.0, 20)),
    "combined": Combined(boxes=1.0, noise=0.2, uniform_noise=(1.0, 0.3), kinds=(3, 3)),
}


@pytest.mark.parametrize("dirty", DIRTY.values(), ids=DIRTY)
def test_what_disturbs_a_picture_is_not_to_be_explained(dirty):
    """Boxes, noise, blur and compression are in what the network sees and not in the photo of the target."""
    pictures = open_pictures(tiny_people.tiny(), workers=1)
    truth = CoefficientTruth.open(load(), SIZE, 32)
    seen = {}
    for name, augmentation in (("clean", Augmentation()), ("dirty", dirty)):
        batches = Batches(pictures, None, "front", 4, augmentation, truth=truth)
        seen[name] = batches(0)
    clean, photo = seen["clean"][0], seen["dirty"][1]["photo"]
    assert (downsample(clean, 2) - photo).abs().max() < 1e-6
    assert (seen["dirty"][0] - clean).abs().mean() > 0.05


@pytest.mark.parametrize("variant", ["", "supervised", "wide"])
def test_streamed_people_have_the_same_targets(variant):
    """Of a stream as of a data set: the photo before its disturbance, 68 places, maybe a small map."""
    profile = PROFILE.with_(rendered="streamed", batch=2)
    made = recipes.recipe("coefficients", profile, variant=variant, device="cpu")
    stream = recipes.task(made, profile, workers=1).batches
    assert isinstance(stream, Stream)
    assert isinstance(stream.truth, CoefficientTruth)
    dirty = replace(stream, augmentation=Augmentation(boxes=1.0, noise=0.2, jpeg=(1.0, 20)))
    clean = replace(stream, augmentation=Augmentation())
    (images, target), (plain, _) = dirty(0), clean(0)
    assert (downsample(plain, 2) - target["photo"]).abs().max() < 1e-6
    assert (images - plain).abs().mean() > 0.05
    shapes = {"photo": (2, 3, 32, 32), "landmarks": (2, 68, 2)}
    shapes |= {"map": (2, 3, MAP, MAP)} if variant else {}
    assert {name: tuple(value.shape) for name, value in target.items()} == shapes
    places = target["landmarks"]
    assert float(places.amin()) > 0
    assert float(places.amax()) < SIZE


def test_the_recipes_differ_in_labels_alone():
    plain, labelled = (recipes.recipe("coefficients", PROFILE, variant=v) for v in ("", "supervised"))
    one, two = plain.configuration(), labelled.configuration()
    assert {k for k in one if one[k] != two[k]} == {"data"}
    assert {k for k in one["data"] if one["data"][k] != two["data"][k]} == {"loss"}
    losses = one["data"]["loss"], two["data"]["loss"]
    assert {k for k in losses[0] if losses[0][k] != losses[1][k]} == {"vertices"}
    assert configuration_hash(one) != configuration_hash(two)
    assert plain.name == "coefficients-smoke"
    assert one["data"]["pixels"] == "centres"  # weights of before fit no longer
    wide = recipes.recipe("coefficients", PROFILE, variant="wide").configuration()
    assert {k for k in two if two[k] != wide[k]} == {"data"}
    assert {k for k in wide["data"] if two["data"].get(k) != wide["data"][k]} == {"shown", "poses"}
    with pytest.raises(ValueError, match="coefficients-deep; known: coefficients, coefficients-supervised"):
        recipes.recipe("coefficients", PROFILE, variant="deep")


def test_a_profile_may_give_them_a_learning_rate_of_their_own():
    """In `full` the report's, ten times that of the maps; in `small` the profile's own, which is the same."""
    for name, rate in (("full", 1e-3), ("small", 1e-3)):
        profile = profiles.load(name)
        assert recipes.recipe("coefficients", profile).settings.learning_rate == rate
        assert recipes.recipe("prn", profile).settings.learning_rate == profile.learning_rate
    own = profiles.load("small").with_(options={"coefficients_rate": 5e-4})
    assert recipes.recipe("coefficients", own, variant="wide").settings.learning_rate == 5e-4


def test_a_full_resnet_begins_from_imagenet_where_its_file_lies_in_data_raw(tmp_path, monkeypatch):
    """The recipe names the file by its content, and training starts from it; without one nothing changes."""
    monkeypatch.setattr(paths, "RAW", tmp_path)
    wide, made = PROFILE.with_(width=1.0), {}
    made["none"] = recipes.recipe("coefficients", wide, device="cpu")
    options = {"image_size": SIZE, **made["none"].options}
    source = networks.build("coefficients", seed=5, **options)
    (tmp_path / "resnet50-0676ba61.pth").write_bytes(b"of another backbone")
    made["other"] = recipes.recipe("coefficients", wide, device="cpu")
    torch.save(source.encoder.state_dict(), tmp_path / "resnet18-f37072fd.pth")
    made["own"] = recipes.recipe("coefficients", wide, device="cpu")
    made["narrow"] = recipes.recipe("coefficients", PROFILE, device="cpu")
    hashes = {name: configuration_hash(recipe.configuration()) for name, recipe in made.items()}
    assert hashes["none"] == hashes["other"] != hashes["own"]
    assert made["own"].data["imagenet"] == sha256(tmp_path / "resnet18-f37072fd.pth")
    assert ["imagenet" in recipe.data for recipe in made.values()] == [False, False, True, False]
    begun = []
    monkeypatch.setattr(coefficient_recipes, "fit", lambda network, *_, **options: begun.append(network))
    for name in ("none", "own"):
        network = networks.build("coefficients", **options)
        recipes.task(made[name], wide, workers=1).fit(network, None, None, None, loss=None)
    wanted = source.encoder.state_dict()
    same = [all(torch.equal(v, wanted[n]) for n, v in one.encoder.state_dict().items()) for one in begun]
    assert same == [False, True]


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
    loss = coefficient_recipes.loss_of(made, FaceRenderer.open(model, 300))
    targets = scoring.targets_of(images, marks, 32)
    fit = scoring.landmark_fit(loss.renderer, loss.layout, marks, SIZE)
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
    finder = networks.build("landmarks", image_size=SIZE, width=0.05).eval()
    losses = {"one": loss, "other": by_coefficients.photo_loss(loss.renderer, loss.layout, SIZE)}
    table = scoring.refinements(answer, finder, samples, model, losses, steps=2, test_set="tiny")
    assert table["variant"].unique().tolist() == ["", "one", "other"]
    found = landmarks_of_crops(finder, images)
    targets = scoring.targets_of(images, found, SIZE)
    expected = scoring.refined(losses["other"], scoring.answers(answer, images), targets, 2)
    expected = scoring.rows(expected, samples, model, loss, targets, name="coefficients", test_set="tiny")
    np.testing.assert_allclose(table[table["variant"] == "other"]["value"], expected["value"], rtol=1e-5)
    plain = table[table["variant"] == ""]["value"].to_numpy()
    assert (plain != table[table["variant"] == "one"]["value"].to_numpy()).any()


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


def test_two_photos_are_fitted_with_one_identity(answer):
    """The mesh lies in the first photo; a network of coefficients reads as many photos as there are."""
    photo = photos.PHOTOS["astronaut"].load().copy()
    box, turned = np.array([180.0, 87.5, 270.0, 177.0]), photo[:, ::-1].copy()
    other = np.array([photo.shape[1] - 1 - box[2], box[1], photo.shape[1] - 1 - box[0], box[3]])
    marks = facet.reconstruct(photo, model=answer, box=box).landmarks[:, :2]
    wider = (marks - marks.mean(axis=0)) * [1.15, 1.0] + marks.mean(axis=0)  # as the second photo shows them
    shown = [
        by_coefficients.Photo(photo, box, marks),
        by_coefficients.Photo(turned, other, wider - box[:2] + other[:2]),
    ]
    front, side = by_coefficients.fit_together(shown, answer, load(), refine=4)
    count = answer.layout.identity
    assert torch.equal(front.numbers[:, :count], side.numbers[:, :count])
    assert not torch.equal(front.numbers[:, count:], side.numbers[:, count:])
    alone = by_coefficients.fit(photo, box, answer, load(), landmarks=marks, refine=4)
    assert (alone.numbers - front.numbers)[:, :count].abs().max() > 1e-3
    given = {"landmarks": [marks, wider - box[:2] + other[:2]], "refine": 4}
    found = facet.reconstruct(photo, turned, model=answer, **given)
    assert found.system == "coefficients"
    assert np.abs(found.landmarks[:, :2] - marks).max() < 8


def test_what_makes_pictures_is_made_once_for_a_model_and_forgotten_with_it():
    model = load().to("cpu")  # another object
    known = weakref.ref(model)
    found = by_coefficients.renderer_of(model)
    assert by_coefficients.renderer_of(model) is found
    assert by_coefficients.renderer_of(load()) is not found
    assert once_for(model, "a number", lambda: 3) == once_for(model, "a number", lambda: 4) == 3
    del model
    gc.collect()
    assert known() is None


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


class _Named(nn.Module):
    def __init__(self, about):
        super().__init__()
        self.name, self.views, self.output = about.name, about.views, about.output
        self.image_size = SIZE
