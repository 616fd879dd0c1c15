"""From stored people to trainings: stores, second photos, lessons, recipes, the pipeline, its evaluation."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import tiny_people
import torch
from tiny_people import SIZE
from torch import nn

from facet import face_model, paths, profiles, trainings
from facet import reconstruct as reconstruct_photo
from facet.augment import Augmentation
from facet.evaluation import second_view
from facet.evaluation.stages import network_rows, stage_rows
from facet.face_model import files, sampler
from facet.networks import build
from facet.reconstruction import weights
from facet.rotation import Completion, Rotator, fit, pipeline, recipes
from facet.rotation.gather import Gatherer
from facet.rotation.lessons import LessonBatches, lesson_store, recoloured, taken_apart
from facet.rotation.rotator import finish, place
from facet.rotation.second import KINDS, SecondBatches, crops, photo_views, true_views, view_store
from facet.rotation.store import Store
from facet.synthetic import test_sets
from facet.synthetic.batches import FRONT, Batches
from facet.synthetic.dataset import open_pictures
from facet.synthetic.render import truth_maps
from facet.synthetic.told import ToldBatches
from facet.training import common, configuration_hash
from facet.training import recipes as base
from facet.training.starts import SECOND_PHOTOS

PROFILE = profiles.load("smoke").with_(people={"train": 4, "val": 2, "test": 2}, samples=12, validate_every=2)
ABOUT = {"fit": "a test's", "generator": "none"}


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory):
    """Data sets and views of this module go to a folder of its own."""
    home = tiny_people.root(tmp_path_factory.mktemp("home"))
    files.ensure()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "CACHE", home / "data" / "cache")
        plain = common.Description
        patch.setattr(common, "Description", lambda *a, **k: plain(*a, **{"shard": 2, **k}))
        yield home


@pytest.fixture(scope="module")
def model():
    return face_model.load()


@pytest.fixture(scope="module")
def people(home):
    return open_pictures(tiny_people.tiny(people=4), workers=1)


class MeanFaceFit(nn.Module):
    """Puts the mean face into every crop: no network has to be trained for these tests."""

    def __init__(self, model):
        super().__init__()
        from facet.evaluation import mean_face_in_crop

        self.vertices = mean_face_in_crop(model, SIZE)

    def forward(self, photos):
        return self.vertices.expand(len(photos), -1, -1)


@pytest.fixture(scope="module")
def rotator(model):
    return Rotator(MeanFaceFit(model), Completion(model))


def test_a_store_makes_what_is_missing_once_and_resumes(home):
    made = []

    def make(rows):
        made.extend(rows.tolist())
        return (rows[:, None, None, None] / 10.0).expand(-1, 3, 4, 4)

    store = Store("numbers", {"a": 1}, 7, make, shard=3, together=2)
    assert torch.equal(store.open().stack(torch.tensor([6, 0]))[:, 0, 0, 0], torch.tensor([153, 0]).byte())
    assert made == list(range(7))
    (store.folder / "00001.npy").unlink()
    store.open()
    assert made[7:] == [3, 4, 5]
    larger = Store("numbers", {"a": 1}, 8, make, shard=3, together=2)  # of which one shard is short
    assert larger.folder == store.folder
    assert larger.open().stack(torch.tensor([7]))[0, 0, 0, 0] == 178
    assert made[10:] == [6, 7]
    store.open()
    assert len(made) == 12, "a shard with more rows than needed was made again"
    assert Store("numbers", {"a": 2}, 7, make).folder != store.folder
    assert not [p for p in store.folder.iterdir() if p.name.startswith(".")]


def test_every_person_gives_a_lesson_and_what_faces_the_other_way():
    rows = torch.arange(4000)
    first, second = photo_views(rows), true_views(rows)
    assert torch.equal(first[:100], photo_views(rows[:100]))
    assert ((first == FRONT) != (second == FRONT)).all()
    shares = [(first == view).float().mean() for view in (0, 1, 2)]
    assert shares == [pytest.approx(s, abs=0.03) for s in (0.5, 0.25, 0.25)]
    after_front = second[first == FRONT]
    assert (after_front == 1).float().mean() == pytest.approx(0.5, abs=0.03)


def test_views_are_made_of_the_photos_crops(people, rotator):
    stored = view_store(people, rotator, "rotated", ABOUT).open()
    rows = torch.tensor([0, 4, 5, 9])  # the first person from the front, the second from both sides, …
    size, shift = people.description.window
    photos = crops(people, rows // 3, rows % 3)
    inner = people.stack(rows // 3, rows % 3)[..., shift:-shift, shift:-shift]
    assert torch.equal((photos * 255).round().byte(), inner)
    heads = rotator.heads(photos)
    from facet.rotation import second_pose

    expected = rotator.view(photos, heads, second_pose(heads.pose()), size=size, shift=shift).image
    assert (stored.stack(rows).float() - expected * 255).abs().max() <= 1.5
    imitated = view_store(people, rotator, "imitated", ABOUT)
    assert imitated.folder != view_store(people, rotator, "rotated", ABOUT).folder
    with pytest.raises(ValueError, match="views are rotated, rotated-side, imitated, not 'true'"):
        view_store(people, rotator, "true", ABOUT)


@pytest.mark.parametrize("kind", KINDS)
def test_batches_differ_in_the_second_photo_alone(people, model, rotator, kind):
    views = {k: view_store(people, rotator, k, ABOUT).open() for k in KINDS[kind] if k != "true"}
    about = (people, sampler(model, SIZE), "all-poses", 8, Augmentation.preset("none"), 2)
    batches = SecondBatches(*about, second=kind, views=views)
    images, target = batches(0)
    again, _ = batches(0)
    assert torch.equal(images, again)
    assert (images.shape, target.shape) == ((8, 6, SIZE, SIZE), (8, 3, SIZE, SIZE))
    photos, same = Batches(*about)(0)
    assert torch.equal(images[:, :3], photos)
    assert torch.equal(target, same)
    true, _ = SecondBatches(*about, second="true", views={})(0)
    alike = (images[:, 3:] == true[:, 3:]).flatten(1).all(dim=1)
    assert (alike.any(), alike.all()) == {"true": (True, True), "both": (True, False)}.get(
        kind, (False, False)
    )


def test_second_pictures_belong_to_the_photo(people, model, rotator):
    """A front photo beside either side photo, a side photo beside the front one; views of the right photo."""
    known = {
        (person, view): people.stack(torch.tensor([person]), torch.tensor([view]))[0]
        for person in range(4)
        for view in range(3)
    }
    shift, none = people.description.window[1], Augmentation.preset("none")
    about = (people, sampler(model, SIZE), "all-poses", 8, none, 0)
    stores = {k: view_store(people, rotator, k, ABOUT).open() for k in ("rotated", "imitated")}
    pairs = set()
    for step in range(6):
        batches = SecondBatches(*about, second="true", views={})
        turned = SecondBatches(*about, second="rotated", views=stores)(step)[0][:, 3:]
        imitated = SecondBatches(*about, second="imitated", views=stores)(step)[0][:, 3:]
        for number, images in enumerate(batches(step)[0]):
            both = [(part * 255).round().byte() for part in images.split(3)]
            (person, first), (same, other) = (
                next(key for key, window in known.items() if torch.equal(part, inner_of(window, shift)))
                for part in both
            )
            assert person == same
            assert (first == FRONT) != (other == FRONT)
            pairs.add((first, other))
            for found, kind, source in ((turned, "rotated", first), (imitated, "imitated", other)):
                view = stores[kind].stack(torch.tensor([3 * person + source]))[0]
                assert torch.equal((found[number] * 255).round().byte(), inner_of(view, shift)), kind
    assert pairs == {(0, 1), (0, 2), (1, 0), (2, 0)}


def inner_of(window, shift):
    """The crop of a window (C, L, L)."""
    return window[:, shift : shift + SIZE, shift : shift + SIZE]


def test_lessons_answer_a_view_with_a_photo(people, rotator):
    back = lesson_store(people, rotator, "back", 4, ABOUT).open()
    told, (answer, weight) = taken_apart(back.stack(torch.arange(4)).float() / 255)
    photos = crops(people, torch.arange(4), photo_views(torch.arange(4)))
    assert (answer - photos).abs().max() < 1 / 255
    head = told[:, 5:6] > 0.5
    assert (weight[head] == 1).all()
    assert weight.min() == pytest.approx(0.1)
    away = torch.nn.functional.max_pool2d(head.float(), 9, stride=1, padding=4) == 0
    assert weight[away].max() == pytest.approx(0.1)
    true = lesson_store(people, rotator, "true", 4, ABOUT).open()
    assert true.stack(torch.arange(4)).shape == (4, 9, SIZE, SIZE)
    with pytest.raises(ValueError, match="lessons are back or true, not 'forth'"):
        lesson_store(people, rotator, "forth", 4, ABOUT)


def test_lessons_are_mirrored_whole(people, rotator):
    stored = lesson_store(people, rotator, "back", 4, ABOUT).open()
    batches = LessonBatches(stored, 4, 4, seed=1)
    told, (answer, weight) = batches(0)
    assert torch.equal(told, batches(0)[0])
    plain = stored.stack(torch.arange(4)).float() / 255
    whole = torch.cat((told, answer), dim=1)
    for lesson in whole:
        straight = (plain - lesson).abs().amax(dim=(1, 2, 3)).min()
        turned = (plain.flip(3) - lesson).abs().amax(dim=(1, 2, 3)).min()
        assert min(straight, turned) == 0
    assert weight.shape == (4, 1, SIZE, SIZE)
    assert sum(len(t) for t, _ in batches.fixed()) == 4


def test_recolouring_undoes_an_exposure_and_leaves_the_unseen_alone(people, rotator):
    rows = torch.arange(2)
    photos = crops(people, rows, torch.zeros(2, dtype=torch.int64))
    heads = rotator.heads(photos)
    placed = place(heads, heads.pose(), SIZE, crop=False)
    gatherer = Gatherer(photos, heads.in_photo(), rotator.completion.triangles)
    view = finish(gatherer, gatherer(placed, SIZE), heads.pose(), placed)
    dim = 0.6 * photos + torch.tensor([0.1, 0.05, 0.0]).view(1, 3, 1, 1)
    seen = (view.render.seen > 0.99).expand(-1, 3, -1, -1)
    assert (dim - photos).abs()[seen].mean() > 0.04
    assert (recoloured(dim, view) - photos).abs()[seen].mean() < 0.03
    view.render.seen.zero_()
    assert torch.equal(recoloured(dim, view), dim)


def test_colours_over_uv_are_those_of_the_pictures(people, model):
    maps = sampler(model, SIZE)
    options = {"colour_sampler": sampler(model, SIZE // 4)}
    batches = ToldBatches(people, maps, "all-poses", 3, Augmentation.preset("none"), **options)
    images, (target, colours, seen) = batches(0)
    assert (colours.shape, seen.shape) == ((3, 3, 16, 16), (3, 1, 16, 16))
    assert set(seen.unique().tolist()) <= {0.0, 1.0}
    assert seen.mean() > 0.8  # three views leave little of a face unseen
    flipped = Augmentation.preset("none", flip=1.0)
    turned = ToldBatches(people, maps, "all-poses", 3, flipped, **options)(0)
    assert torch.equal(turned[1][1], colours.flip(3))
    torch.testing.assert_close(turned[1][0][:, 1], target[:, 1].flip(2), atol=1e-3, rtol=0)
    assert torch.equal(turned[0], images.flip(3)) or (turned[0] - images.flip(3)).abs().max() < 1e-4


def test_colours_over_uv_are_read_where_the_face_is(people, model):
    """Red grows to the right and green downward: they tell the place in the stored picture."""
    size, shift = people.description.window
    ramp = np.round(np.linspace(0, 255, size)).astype(np.uint8)
    picture = np.stack(np.broadcast_arrays(ramp, ramp[:, None], np.uint8(0)))
    images = [np.broadcast_to(picture, (len(shard), 1, *picture.shape)) for shard in people.images]
    fronts = replace(people, images=images, views=people.views.rows(slice(None, None, 3)))
    colour_sampler, none = sampler(model, SIZE // 4), Augmentation.preset("none")
    batches = ToldBatches(fronts, None, "front", 4, none, colour_sampler=colour_sampler)
    colours, seen = batches.colours(torch.arange(4))
    places = truth_maps(colour_sampler, fronts.subjects, fronts.views)[:, :2]
    clear = (seen[:, 0] > 0) & (places > 0).all(dim=1) & (places < SIZE - 1).all(dim=1)
    assert clear.float().mean() > 0.5
    apart = colours[:, :2] - (places + shift) / (size - 1)
    assert apart.movedim(1, 3)[clear].abs().max() < 0.004  # a third of a pixel
    assert colours[:, 2].max() == 0


def test_the_picture_that_sees_a_place_best_says_its_colour(people, model):
    """Fronts all red, left pictures green, right ones blue: nose and cheeks show which it was."""
    colour = 255 * np.eye(3, dtype=np.uint8)[:, :, None, None]
    images = [np.broadcast_to(colour, shard.shape) for shard in people.images]
    maps = sampler(model, SIZE // 4)
    painted = replace(people, images=images)
    batches = ToldBatches(painted, None, "all-poses", 4, Augmentation.preset("none"), colour_sampler=maps)
    colours, seen = batches.colours(torch.arange(4))
    assert ((colours.sum(dim=1) - 1).abs()[seen[:, 0] > 0] < 1e-3).all()
    row = colours.mean(dim=0)[:, 5:11].mean(dim=1)  # between brows and mouth
    assert row[:, 7:9].mean(dim=1).argmax() == 0
    assert row[:, -3:].mean(dim=1).argmax() == 1  # the subject's left, which left pictures show
    assert row[:, :3].mean(dim=1).argmax() == 2


def test_told_targets_have_the_beards_that_they_are_asked_for(people, model):
    """The map is that of `Batches` with the same relief, not the bare skin's."""
    maps = sampler(model, SIZE)
    beards = SimpleNamespace(of_views=lambda subjects, outfit, views: torch.ones(3, len(model.mean), 3))
    about = (people, maps, "all-poses", 3, Augmentation.preset("none"), 0, beards)
    told = ToldBatches(*about, colour_sampler=sampler(model, SIZE // 4))(0)[1][0]
    assert torch.equal(told, Batches(*about)(0)[1])
    assert not torch.equal(told, Batches(*about[:-1])(0)[1])


def test_position_map_trainings_get_what_all_others_get():
    """They differ from PRN's `wide` in system and pictures alone; the generator's budget is its own."""
    plain = base.recipe("prn", PROFILE, variant="wide").configuration()
    first = base.recipe("prn", PROFILE, variant="wide-first").configuration()
    made = {key: recipes.recipe(key[0], PROFILE, variant=key[1]) for key in recipes.TRAININGS}
    for (system, variant), recipe in made.items():
        found = recipe.configuration()
        differing = {k for k in plain if found[k] != plain[k]}
        if system == "rotation":
            assert found["steps"] == round(0.4 * PROFILE.steps)
            continue
        if variant == "wide-first":
            assert {k for k in first if found[k] != first[k]} <= {"system", "data"}
            assert {k for k in first["data"] if found["data"][k] != first["data"][k]} == {"shown"}
            continue
        assert differing <= {"system", "data"}
        assert {k for k in plain["data"] if found["data"][k] != plain["data"][k]} <= {"shown", "start"}
        assert found["data"]["start"]["name"] == f"{'prn' if variant == '' else 'twoview'}-wide-first-smoke"
    assert first["steps"] + plain["steps"] == PROFILE.steps
    assert (plain["data"]["poses"], plain["data"]["people"]) == ("wide", PROFILE.people["train"])
    assert set(KINDS) == set(SECOND_PHOTOS)
    hashes = {configuration_hash(recipe.configuration()) for recipe in made.values()}
    assert len(hashes) == len(made)
    assert made["twoview", "rotated"].name == "twoview-rotated-smoke"
    with pytest.raises(ValueError, match="nothing is known of training twoview-turned; known: one-pass, rot"):
        recipes.recipe("twoview", PROFILE, variant="turned")


def test_samples_count_those_of_the_first_part(monkeypatch):
    """70 % by the network that all begin as, 30 % by each."""
    monkeypatch.setattr(base, "weights_state", lambda made: SimpleNamespace(state="none"))
    for system, variant in (("prn", "wide"), ("one-pass", ""), ("twoview", "both")):
        before = base.samples_before(system, PROFILE, variant=variant, find=trainings.recipe)
        own = trainings.recipe(system, PROFILE, variant=variant).settings
        assert before + own.steps * own.batch == PROFILE.samples
    assert base.samples_before("twoview", PROFILE, variant="wide-first", find=trainings.recipe) == 0


def test_what_all_readers_begin_as_is_trained_first(home, monkeypatch, tmp_path):
    """`trained` of a reader makes the first part where it has no weights; the reader starts with them."""
    trained, kept = [], recipes.obtain

    def obtain(made, task, **how):
        trained.append(made.name)
        return kept(made, task, **how, weights=tmp_path / "none", cache=tmp_path)

    def missing(made):
        return SimpleNamespace(state="none")

    for module in (base, recipes):
        monkeypatch.setattr(module, "obtain", obtain)
    monkeypatch.setattr(base, "weights_state", missing)
    profile = PROFILE.with_(samples=16, image_size=SIZE, width=0.1)
    recipes.trained("twoview", profile, variant="true", progress="none", workers=1)
    assert trained == ["twoview-wide-first-smoke", "twoview-true-smoke"]
    trained.clear()
    recipes.trained("one-pass", profile, progress="none", workers=1)
    assert trained == ["prn-wide-first-smoke", "one-pass-smoke"]


def test_a_seed_has_a_rotator_of_its_own(monkeypatch):
    """PRN, the generator and what learns from their views are of one seed, and so are the views' keys."""
    keys = [recipes.rotator_about(PROFILE, seed=seed) for seed in (None, 0, 1)]
    assert keys[0] == keys[1]
    assert all(keys[0][part] != keys[2][part] for part in ("fit", "generator"))
    data = [recipes.recipe("twoview", PROFILE, variant="rotated", seed=seed).data for seed in (0, 1)]
    for made, key in zip(data, keys[1:], strict=True):
        assert (made["fit"], made["generator"]) == (key["fit"], key["generator"])
    asked = []
    network = build("coefficients", image_size=SIZE, width=0.1, backbone="resnet18")
    for module in (base, recipes):
        monkeypatch.setattr(module, "trained", lambda *a, **k: asked.append(k["seed"]) or (network, None))
    recipes.rotator(PROFILE, seed=1)
    assert asked == [1, 1]


def test_views_go_stale_with_the_networks_that_made_them(monkeypatch):
    before = configuration_hash(recipes.recipe("twoview", PROFILE, variant="rotated").configuration())
    monkeypatch.setitem(recipes.GAME, "learning_rate", 1e-3)
    after = configuration_hash(recipes.recipe("twoview", PROFILE, variant="rotated").configuration())
    true = [configuration_hash(recipes.recipe("twoview", PROFILE, variant="true").configuration())]
    assert before != after
    monkeypatch.undo()
    assert true == [configuration_hash(recipes.recipe("twoview", PROFILE, variant="true").configuration())]


@pytest.mark.parametrize("pair", sorted(recipes.TRAININGS))
def test_a_profile_that_streams_has_the_same_trainings_on_stored_people(pair):
    full = recipes.recipe(pair[0], profiles.load("full"), variant=pair[1])
    assert full.data.get("rendered", "cached") == "cached"
    other = recipes.recipe(pair[0], PROFILE, variant=pair[1])
    assert full.data.keys() == other.data.keys()


@pytest.mark.parametrize("stored", ["cached", "streamed"])
@pytest.mark.parametrize("pair", [("one-pass", ""), ("rotation", "true"), ("twoview", "both")])
def test_trainings_run(pair, stored, home, monkeypatch, model):
    """Two steps of each; the rotator is one without a trained network."""
    turner = Rotator(MeanFaceFit(model), Completion(model))
    monkeypatch.setattr(recipes, "rotator", lambda *a, **k: turner)
    profile = PROFILE.with_(samples=8, rendered=stored)
    made = recipes.recipe(pair[0], profile, variant=pair[1])
    task = recipes.task(made, profile, workers=1)
    if pair[0] != "rotation":  # its lessons are of the people of front and profile
        assert task.batches.pictures.description.poses == "wide"
    network = build(pair[0], image_size=SIZE, width=0.1)
    history = task.fit(network, task.batches, task.validate, made.settings, loss=task.loss, progress="none")
    assert history.finished
    assert np.isfinite(history.best["val_loss"])


def tiny_pipeline(model):
    nets = {name: build(name, image_size=SIZE, width=0.1).eval() for name in ("prn", "twoview", "rotation")}
    rotator = Rotator(MeanFaceFit(model), Completion(model), nets["rotation"])
    return pipeline.Pipeline(rotator, nets["twoview"]).eval()


def test_the_pipeline_is_a_network_of_one_photo(model, people):
    system = tiny_pipeline(model)
    photos = crops(people, torch.arange(2), torch.zeros(2, dtype=torch.int64))
    second = system.rotator(photos)
    with torch.no_grad():
        assert torch.equal(system(photos), system.reader(torch.cat((photos, second), dim=1)))
    assert (system.name, system.views, system.output) == ("rotation", 1, "map")
    photo = (photos[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8)
    face = reconstruct_photo(photo, model=system, box=(10.0, 10.0, 54.0, 54.0), device="cpu")
    assert face.system == "rotation"
    with pytest.raises(ValueError, match="needs a reader of two photos, prn reads 1"):
        pipeline.Pipeline(system.rotator, build("prn", image_size=SIZE, width=0.1))


def test_the_pipeline_says_which_parts_it_lacks(tmp_path, monkeypatch, model):
    monkeypatch.setattr(paths, "WEIGHTS", tmp_path)
    monkeypatch.setattr(paths, "CACHE", tmp_path)
    monkeypatch.setattr(weights, "PROFILES", ("small",))
    monkeypatch.delenv("FACET_PROFILE", raising=False)
    (tmp_path / "rotation-small.safetensors").write_bytes(b"")
    with pytest.raises(
        FileNotFoundError, match="no weights of coefficients-wide, twoview-rotated: `facet train coeff"
    ):
        pipeline.load(face=model)


def test_the_pipeline_comes_from_weights_of_one_profile(tmp_path, monkeypatch, model):
    from facet.training import save_weights

    for part, name in zip(pipeline.PARTS, ("coefficients", "rotation", "twoview"), strict=True):
        options = {"backbone": "resnet18"} if name == "coefficients" else {}
        network = build(name, image_size=SIZE, width=0.1, seed=4, **options)
        about = {"configuration": {"system": name, "image_size": SIZE, "width": 0.1, "options": options}}
        save_weights(network, tmp_path / f"{part}-small.safetensors", about)
    monkeypatch.setattr(paths, "WEIGHTS", tmp_path)
    monkeypatch.delenv("FACET_PROFILE", raising=False)
    system = pipeline.load(face=model, to="side")
    assert system.rotator.goal == "side"
    assert system.rotator.generator.name == "rotation"
    assert system.rotator.fit.network.name == "coefficients"
    assert system.reader.name == "twoview"


@pytest.fixture(scope="module")
def florence(model, home):
    """One person in 27 poses."""
    with pytest.MonkeyPatch.context() as patch:
        plain = test_sets.Description
        patch.setattr(test_sets, "Description", lambda *a, **k: plain(*a, **{**k, "shard": 1}))
        return test_sets.florence(SIZE, 1, model=model, workers=1)


def test_second_images_of_the_florence_set(florence):
    plain = list(second_view.samples_with(florence))
    twice = list(second_view.samples_with(florence, "twice"))
    true = list(second_view.samples_with(florence, "true"))
    assert plain[0]["images"].shape == (3, SIZE, SIZE)
    assert torch.equal(twice[5]["images"][:3], twice[5]["images"][3:])
    by_pose = {(s["yaw"], s["pitch"]): s["images"] for s in plain}
    for sample in true:
        yaw = sample["yaw"]
        wanted = 0.0 if abs(yaw) > 45 else (-80.0 if yaw < 0 else 80.0)
        assert torch.equal(sample["images"][3:], by_pose[wanted, 0.0])
    with pytest.raises(ValueError, match="none, twice, true or stored views, not 'side'"):
        next(second_view.samples_with(florence, "side"))
    assert second_view.view_number(-80.0, -15.0) == 0
    assert second_view.view_number(80.0, 15.0) == 26
    assert second_view.view_number(27.0, 2.0) == 9 + 5


def test_rows_say_how_far_their_views_are_turned(florence, rotator):
    """The reader of true pairs is shown both turns; views of one turn are made once; 30° are 30°."""
    asked = []

    def views(to):
        asked.append(to)
        return second_view.rotated_store(florence, rotator, ABOUT, to=to).open()

    nets = {f"twoview {kind}": kind for kind in ("true", "both", "rotated-side")} | {"prn wide": "prn"}
    rows = second_view.readings(nets, views)
    assert [(name, variant, network) for name, variant, network, _ in rows] == [
        ("prn", "wide", "prn"),
        ("twoview", "true, true second, full turn", "true"),
        ("twoview", "true, photo twice", "true"),
        ("rotation", "reader true, full turn", "true"),
        ("rotation", "reader true, by 30°", "true"),
        ("rotation", "reader rotated-side, full turn", "rotated-side"),
        ("rotation", "reader both, by 30°", "both"),
    ]
    assert asked == ["side", 30.0]
    assert rows[3][3] is rows[5][3]
    number, photo = 13, florence.person(0)[13]["images"][None]  # from the front
    yaw = float(rotator.heads(photo).pose()[0, 0])  # about 0
    for row, to in ((3, 80.0), (4, abs(yaw) + 30.0)):
        shown = list(second_view.samples_with(florence, rows[row][3]))[number]["images"][3:]
        turned = rotator.turn(photo, to if yaw >= 0 else -to).image[0]
        assert (shown - turned).abs().max() < 2 / 255, to
    assert second_view.readings({}, views) == []


def test_rotated_views_of_the_florence_set(florence, rotator):
    stored = second_view.rotated_store(florence, rotator, ABOUT, to=30.0).open()
    found = list(second_view.samples_with(florence, stored))[4]
    photo = found["images"][None, :3]
    assert (found["images"][3:] - rotator(photo)[0]).abs().max() < 2 / 255


def test_view_quality_is_best_for_no_turn(florence, rotator):
    rows = second_view.view_quality({"holes filled": rotator}, florence, [(0.0, 0.0), (0.0, 80.0)])
    assert list(rows["turn"]) == [0.0, 0.0, 80.0, 80.0]
    assert set(rows["rotator"]) == {"holes filled", second_view.TRUE_FACE}
    rows = rows[rows["rotator"] == second_view.TRUE_FACE].reset_index()
    assert rows["psnr"][0] > rows["psnr"][1]
    assert rows["ssim"][0] > rows["ssim"][1]
    assert rows["seen"][0] > rows["seen"][1]


def test_ssim_and_psnr_against_scikit_image(generator):
    metrics = pytest.importorskip("skimage.metrics")
    a = torch.rand(1, 3, 40, 40, generator=generator)
    b = (a + 0.2 * torch.rand(a.shape, generator=generator)).clamp(0, 1)
    full = torch.ones(1, 1, 40, 40)
    pair = [x[0].permute(1, 2, 0).double().numpy() for x in (a, b)]
    assert float(second_view.psnr(a, b, full)) == pytest.approx(
        metrics.peak_signal_noise_ratio(*pair, data_range=1.0), rel=1e-4
    )
    _, reference = metrics.structural_similarity(
        *pair, data_range=1.0, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
        full=True,
    )  # fmt: skip
    inner = torch.zeros_like(full)
    inner[..., 5:-5, 5:-5] = 1
    assert float(second_view.ssim(a, b, inner)) == pytest.approx(reference[5:-5, 5:-5].mean(), abs=1e-3)
    assert float(second_view.psnr(a, a, full)) == pytest.approx(100)


def test_kept_share():
    import pandas as pd

    values = {"prn": 4.0, "twoview true": 2.0, "rotation": 3.0, "one-pass": 5.0}
    rows = [
        {"model": name.split()[0], "variant": " ".join(name.split()[1:]), "metric": "exact",
         "normaliser": "mm", "value": value + d}
        for name, value in values.items() for d in (-0.5, 0.5)
    ]  # fmt: skip
    which = {"baseline": "prn", "best": "twoview true", "metric": "exact", "normaliser": "mm"}
    found = second_view.kept_share(pd.DataFrame(rows), ["rotation", "one-pass"], **which)
    assert found["kept"].tolist() == [0.5, -0.5]
    reverse = {**which, "baseline": "twoview true", "best": "prn"}
    assert second_view.kept_share(pd.DataFrame(rows), ["rotation"], **reverse)["kept"].isna().all()


def test_stages_are_timed_in_one_run(model, people):
    photos = crops(people, torch.arange(1), torch.zeros(1, dtype=torch.int64))
    rows = stage_rows(
        tiny_pipeline(model), {"prn": build("prn", image_size=SIZE, width=0.1).eval()}, photos, repeats=1
    )
    names = [row["stage"] for row in rows]
    assert names[:3] == ["fit", "complete the head", "turn, gather, fill"]
    assert names[-2:] == ["pipeline", "prn"]
    assert all(row["ms"] > 0 and row["cpu_ms"] > 0 for row in rows)


def test_a_real_network_can_fit(model, people):
    network = build("prn", image_size=SIZE, width=0.1).eval()
    rotator = Rotator(fit("prn", network, model), Completion(model))
    assert rotator(crops(people, torch.arange(1), torch.zeros(1, dtype=torch.int64))).isfinite().all()


def test_networks_are_timed_by_turns_and_threads_are_put_back():
    asked, before = [], torch.get_num_threads()

    def answer(name):
        return lambda photo: asked.append((name, torch.get_num_threads(), tuple(photo.shape)))

    rows = network_rows({k: answer(k) for k in "ab"}, torch.zeros(2, 3, 8, 8), threads=(2, 1), repeats=3)
    assert asked == [(k, n, (1, 3, 8, 8)) for n in (2, 1) for _ in range(5) for k in "ab"]
    assert [(row["network"], row["threads"]) for row in rows] == [("a", 2), ("b", 2), ("a", 1), ("b", 1)]
    assert all(row["images_per_second"] == pytest.approx(1000 / row["ms"]) for row in rows)
    assert all(row["cpu_ms"] >= 0 for row in rows)
    assert torch.get_num_threads() == before
