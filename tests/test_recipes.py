"""From a profile to a training: networks of one table differ in what they are shown, and in nothing else."""

from types import SimpleNamespace

import pytest
import tiny_people
import torch
from tiny_people import SIZE, studio
from torch import nn

from facet import paths, profiles
from facet.augment import Augmentation
from facet.face_model import files
from facet.synthetic.batches import Batches
from facet.synthetic.stream import Stream
from facet.training import common, configuration_hash, obtain, recipes

PROFILE = profiles.load("smoke").with_(people={"train": 4, "val": 3, "test": 2}, samples=12, validate_every=2)


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory):
    """Data sets of this module go to a folder of its own."""
    home = tiny_people.root(tmp_path_factory.mktemp("home"))
    files.ensure()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "CACHE", home / "data" / "cache")
        plain = common.Description
        patch.setattr(common, "Description", lambda *a, **k: plain(*a, **{"shard": 2, **k}))
        yield home


@pytest.mark.parametrize("profile", ["smoke", "small", "full"])
def test_compared_networks_get_the_same_training(profile):
    """All that a configuration names is equal but the system and which pictures it is shown."""
    plain = [key for key in recipes.SHOWN if key not in recipes.STARTED]  # those go on from another
    made = {key: recipes.recipe(key[0], profiles.load(profile), variant=key[1]) for key in plain}
    plain = made["prn", ""].configuration()
    for (system, variant), recipe in made.items():
        configuration = recipe.configuration()
        differing = {k for k in plain if configuration[k] != plain[k]}
        assert differing <= {"system", "data"}
        data = {k for k in plain["data"] if configuration["data"][k] != plain["data"][k]}
        assert data <= {"shown"}
        assert configuration["data"]["shown"] == recipes.SHOWN[system, variant]
    assert len({configuration_hash(r.configuration()) for r in made.values()}) == len(made)
    assert made["mobile", ""].configuration()["data"] == plain["data"]
    assert made["prn", "all-poses"].name == f"prn-all-poses-{profile}"
    first, rest = (recipes.recipe("prn", profiles.load(profile), variant=v) for v in ("wide-first", "wide"))
    assert first.settings.steps + rest.settings.steps == made["prn", ""].settings.steps
    assert rest.data["start"]["name"] == first.name
    assert first.data["poses"] == rest.data["poses"] == "wide"


@pytest.mark.parametrize(
    "change",
    [
        {"samples": 24},
        {"people": {"train": 6, "val": 3, "test": 2}},
        {"options": {"augmentation": "twoview"}},
        {"learning_rate": 2e-3},
        {"width": 0.3},
    ],
    ids=lambda c: next(iter(c)),
)
def test_what_decides_the_weights_is_in_the_hash(change):
    hashes = [
        configuration_hash(recipes.recipe("prn", p).configuration())
        for p in (PROFILE, PROFILE.with_(**change))
    ]
    assert hashes[0] != hashes[1]


def test_generation_beards_and_face_model_are_in_the_hash(monkeypatch):
    before = configuration_hash(recipes.recipe("prn", PROFILE).configuration())
    other = PROFILE.with_(options={**PROFILE.options, "generation": 2})
    pictures = configuration_hash(recipes.recipe("prn", other).configuration())
    bearded = PROFILE.with_(options={**PROFILE.options, "generation": 2, "beards": True})
    targets = configuration_hash(recipes.recipe("prn", bearded).configuration())
    monkeypatch.setattr(recipes.face_files, "VERSION", "other")
    shapes = configuration_hash(recipes.recipe("prn", PROFILE).configuration())
    assert len({before, pictures, targets, shapes}) == 4


def test_seed_and_augmentation_come_from_the_caller_and_the_profile():
    assert recipes.recipe("prn", PROFILE, seed=3).settings.seed == 3
    assert recipes.recipe("prn", PROFILE, seed=3).name == "prn-smoke-seed3"
    assert recipes.recipe("prn", PROFILE).settings.seed == PROFILE.seed
    other = PROFILE.with_(options={"augmentation": "twoview"})
    assert recipes.augmentation(other) == Augmentation.preset("twoview")


def test_unknown_system_and_variant():
    with pytest.raises(ValueError, match="nothing is known of training prn-deep; known: prn, prn-all-poses"):
        recipes.recipe("prn", PROFILE, variant="deep")


def test_task_of_a_cached_profile():
    """Batches of training people, a validation over every held-out person with their full detail."""
    made = recipes.recipe("twoview", PROFILE)
    told = []
    task = recipes.task(made, PROFILE, workers=1, say=told.append)
    assert told[-1].startswith("validation people")
    assert isinstance(task.batches, Batches)
    images, target = task.batches(0)
    assert images.shape == (PROFILE.batch, 6, SIZE, SIZE)
    assert target.shape == (PROFILE.batch, 3, SIZE, SIZE)
    assert len(task.batches.pictures) == 4
    held_out = task.validate.batches
    assert len(held_out.pictures) == 3
    assert len(held_out.sampler.identity) == studio().model.detail_modes
    assert held_out.pictures.subjects.alpha_id.shape[1] == studio().model.detail_modes
    assert task.batches.pictures.subjects.alpha_id.shape[1] == studio().model.identity_modes
    mean = target.mean(dim=0, keepdim=True) / SIZE
    assert 0 < float(task.loss((mean + 0.1).expand_as(target) / 1.2, target)) < 1


def test_task_of_a_streamed_profile():
    profile = PROFILE.with_(rendered="streamed", batch=2)
    made = recipes.recipe("mobile", profile, device="cpu")
    task = recipes.task(made, profile, workers=1)
    assert isinstance(task.batches, Stream)
    images, target = task.batches(1)
    assert (images.shape, target.shape) == ((2, 3, SIZE, SIZE), (2, 3, SIZE, SIZE))


def test_all_yaws_are_shown_from_files_and_streamed():
    """`wide` people for training and validation, not those of front and profile alone."""
    for rendered in ("cached", "streamed"):
        profile = PROFILE.with_(rendered=rendered)
        made = recipes.recipe("prn", profile, variant="wide-first", device="cpu")
        task = recipes.task(made, profile, workers=1)
        shown = task.batches.pictures.description if rendered == "cached" else task.batches
        assert shown.poses == "wide"
        assert task.validate.batches.pictures.description.poses == "wide"
    plain = recipes.task(recipes.recipe("prn", PROFILE), PROFILE, workers=1)
    assert plain.batches.pictures.description.poses == "two-view"


def test_a_recipe_trains_and_its_weights_are_found_again(tmp_path):
    made = recipes.recipe("mobile", PROFILE, device="cpu")
    where = {"weights": tmp_path / "none", "cache": tmp_path, "progress": "none"}
    network, history = obtain(made, lambda: recipes.task(made, PROFILE, workers=1), **where)
    assert history.finished
    assert history.rows[-1]["samples"] == 12
    assert all(torch.isfinite(torch.tensor(float(row["val_loss"]))) for row in history.rows)

    def never():
        raise AssertionError("trained again")

    again, _ = obtain(made, never, train="never", **where)
    assert isinstance(again, nn.Module)
    assert not again.training
    images = torch.rand(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert (network(images) - again(images)).abs().max() < 1e-2  # stored in half precision
    other = recipes.recipe("mobile", PROFILE.with_(samples=24), device="cpu")
    with pytest.raises(ValueError, match="was trained with another steps"):
        obtain(other, never, train="never", **where)


def test_trained_without_weights_and_without_training():
    with pytest.raises(ValueError, match="no weights for prn-smoke"):
        recipes.trained("prn", PROFILE.with_(learning_rate=0.123), train="never")


def test_a_comparison_is_ready_with_what_it_may_have(monkeypatch):
    state = {"state": "missing"}
    monkeypatch.setattr(recipes, "weights_state", lambda made: SimpleNamespace(**state))
    pairs, long = [("prn", "all-poses")], PROFILE.with_(samples=100 * PROFILE.batch)
    assert recipes.ready(pairs, PROFILE) == (pairs, "")  # a minute of training
    assert recipes.ready(pairs, long, train="always") == (pairs, "")
    for profile, train in ((PROFILE, "never"), (long, "never"), (long, "auto")):
        found, sentence = recipes.ready(pairs, profile, train=train)
        assert found == []
        assert "prn all-poses" in sentence
    state["state"] = "trained"
    assert recipes.ready(pairs, long, train="never") == (pairs, "")
