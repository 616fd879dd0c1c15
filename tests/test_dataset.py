"""Data sets of people: the same bytes whoever makes them, whatever interrupts; remade from parameters."""

import io
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny_people
import torch
from safetensors.torch import load as load_tensors
from tiny_people import contents, studio, tiny

from facet import paths
from facet.face_model import files
from facet.synthetic import dataset, poses, test_sets
from facet.synthetic.dataset import Description, make, make_shard, open_pictures, read_bank, shard_files
from facet.synthetic.render import render
from facet.synthetic.subjects import Subjects, Views


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tiny_people.root(tmp_path_factory.mktemp("home"))


@pytest.fixture(autouse=True)
def cache(home, monkeypatch):
    """Data sets go to a folder of this module; processes started here inherit it."""
    files.ensure()
    monkeypatch.setenv("FACET_HOME", str(home))
    monkeypatch.setattr(paths, "CACHE", home / "data" / "cache")


@pytest.fixture(scope="module")
def people(home):
    """Two shards of two people, opened."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "CACHE", home / "data" / "cache")
        return open_pictures(tiny(), workers=1)


def other_home(folder, monkeypatch):
    home = tiny_people.root(folder)
    monkeypatch.setenv("FACET_HOME", str(home))
    monkeypatch.setattr(paths, "CACHE", home / "data" / "cache")


def test_several_sets_are_made_by_the_same_processes(people, tmp_path, monkeypatch):
    before = contents(tiny().folder)
    other_home(tmp_path, monkeypatch)
    sets, told = [tiny(), tiny("validation", people=2)], []
    dataset.make_all(sets, workers=2, progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert contents(sets[0].folder) == before
    assert len(contents(sets[1].folder)) == 2
    dataset.make_all(sets, workers=2, progress=lambda *_: told.append("again"))
    assert len(told) == 3


def test_shards_do_not_depend_on_who_makes_them(people, tmp_path, monkeypatch):
    """One process in order; one process backwards; two processes: the same bytes."""
    before = contents(tiny().folder)
    assert len(before) == 4
    other_home(tmp_path / "backwards", monkeypatch)
    for shard in (1, 0):
        make_shard(tiny(), shard, studio())
    assert contents(tiny().folder) == before
    other_home(tmp_path / "parallel", monkeypatch)
    told = []
    make(tiny(), workers=2, progress=lambda done, total: told.append((done, total)))
    assert contents(tiny().folder) == before
    assert told == [(1, 2), (2, 2)]


def test_killed_and_resumed_equals_uninterrupted(tmp_path):
    """A real process, killed with SIGKILL after whatever it has done, then run to its end."""
    script = Path(tiny_people.__file__)
    folders = {}
    for name, kills in (("whole", ()), ("interrupted", (1, 3))):
        home = tiny_people.root(tmp_path / name)
        environment = {**os.environ, "FACET_HOME": str(home)}
        folders[name] = home / "data" / "cache" / "synthetic" / tiny_people.killed().folder.name
        for after in kills:
            process = subprocess.Popen([sys.executable, str(script)], env=environment)
            deadline = time.monotonic() + 300  # a busy machine may take long to start
            while len(list(folders[name].glob("0*.npy"))) < after and time.monotonic() < deadline:
                time.sleep(0.002)
            process.send_signal(signal.SIGKILL)
            assert process.wait() == -signal.SIGKILL
            assert after <= len(list(folders[name].glob("0*.npy"))) < 6
        done = subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    whole = contents(folders["whole"])
    assert len(whole) == 12
    assert contents(folders["interrupted"]) == whole


def test_what_is_there_is_not_made_again_and_what_is_lost_is(people):
    pictures, parameters = shard_files(tiny(), 0)
    data, kept = pictures.read_bytes(), shard_files(tiny(), 1)[0].stat()
    pictures.unlink()
    make(tiny(), workers=1)
    assert pictures.read_bytes() == data
    assert shard_files(tiny(), 1)[0].stat().st_mtime_ns == kept.st_mtime_ns
    assert parameters.is_file()


@pytest.mark.parametrize(
    "description",
    [
        tiny(),
        tiny("test", "florence", people=1, jitter=True, shard=1),
        tiny("validation", "rotation", 1, shard=1),
    ],
    ids=lambda d: f"{d.split}-{d.poses}",
)
def test_any_picture_is_remade_from_its_parameters_alone(description):
    """From the stored tables and nothing else: the same bits; all but the same for one view by itself."""
    make(description, workers=1)
    stored, parameters = (p.read_bytes() for p in shard_files(description, 0))
    state = load_tensors(parameters)
    subjects, views = Subjects.from_state(state, "subjects"), Views.from_state(state, "views")
    again = dataset.render_shard(description, subjects, views, studio())
    pictures = np.load(io.BytesIO(stored))
    assert (again.numpy() == pictures).all()
    size, shift = description.window
    split = "test" if description.split == "test" else "train"
    alone = render(studio(), subjects, views.rows([1]), size=size, shift=shift, split=split)[0] * 255
    difference = np.abs(alone.round().numpy() - pictures[0, 1])
    assert difference.max() <= 2  # sums rounded otherwise, see `render_shard`
    assert (difference > 0).mean() < 1e-3


def test_other_seed_other_people_other_pictures(people):
    once, again = (dataset.draw_shard(tiny(seed=1), 0, studio()) for _ in range(2))
    for one, two in zip(once, again, strict=True):
        for name, value in one.state("").items():
            assert torch.equal(value, two.state("")[name]), name
    assert not torch.equal(once[0].alpha_exp, people.subjects.rows(slice(2)).alpha_exp)
    assert torch.equal(once[0].identity, people.subjects.rows(slice(2)).identity)  # the bank's first people


def test_a_larger_set_contains_a_smaller(people):
    larger = open_pictures(tiny(people=5), workers=1)
    assert tiny(people=5).folder == tiny().folder
    assert len(larger) == 5
    assert len(larger.subjects) == 5
    assert len(larger.views) == 15
    for person in range(4):
        for view in range(3):
            assert (larger.picture(person, view) == people.picture(person, view)).all()
    assert larger.views.subject.tolist() == [k // 3 for k in range(15)]
    assert larger.subjects.identity.tolist() == [0, 1, 2, 3, 4]


def test_stack_and_rows_agree_with_picture(people):
    who, which = torch.tensor([3, 0, 2]), torch.tensor([2, 0, 1])
    stacked = people.stack(who, which)
    assert stacked.shape == (3, 3, 80, 80)
    assert (stacked[0].numpy() == people.picture(3, 2)).all()
    rows = people.views.rows(people.view_rows(who, which))
    assert rows.subject.tolist() == [3, 0, 2]
    assert (rows.yaw[0] >= 67.5) & (rows.yaw[0] <= 100)  # view 2 is the right one


def test_pictures_are_of_somebody(people):
    everything = torch.cat([torch.from_numpy(shard.copy()) for shard in people.images]).float() / 255
    assert everything.mean() == pytest.approx(0.4, abs=0.2)
    assert everything.flatten(2).std(dim=2).min() > 0.05
    flat = everything.flatten(0, 1)
    distance = (flat[:, None] - flat[None]).abs().mean(dim=(2, 3, 4))
    assert distance[~torch.eye(12, dtype=bool)].min() > 0.03  # no picture twice


def test_pose_ranges_of_every_kind():
    """TwoView's front and sides, the eight bins of Rotation, the 27 poses of Florence, as drawn."""
    _, views = dataset.draw_shard(tiny(shard=60), 0, studio())
    yaw = views.yaw.view(60, 3)
    for column, (low, high) in enumerate(poses.TWO_VIEW_YAW.values()):
        assert yaw[:, column].min() >= low
        assert yaw[:, column].max() <= high
        assert yaw[:, column].max() - yaw[:, column].min() > 0.85 * (high - low)
    assert views.pitch.abs().max() <= 9
    assert views.roll.abs().max() <= 9
    _, views = dataset.draw_shard(tiny(poses="wide", shard=60), 0, studio())
    assert views.yaw.view(60, 3)[:, 0].abs().max() > 35
    assert (views.yaw.view(60, 3)[:, 1:].abs().amin(dim=0) > 45).all()
    _, views = dataset.draw_shard(tiny(poses="rotation", shard=20), 0, studio())
    bins = ((views.yaw.view(20, 8) + 90) / 22.5).floor()
    assert torch.equal(bins, torch.arange(8.0).expand(20, 8))
    assert views.pitch.abs().max() <= 25
    _, views = dataset.draw_shard(tiny(poses="florence", shard=2), 0, studio())
    assert sorted(set(views.yaw[:27].tolist())) == list(poses.FLORENCE_YAW)
    assert torch.equal(views.yaw[:27], views.yaw[27:])
    assert (views.roll == 0).all()
    assert torch.isfinite(views.distance).all()  # always perspective


def test_crops_hold_the_landmarks_by_the_300w_lp_rule():
    """Without jitter the box of the 68 points is centred, its mean side 2/3 of the crop."""
    model = studio().model
    subjects, views = dataset.draw_shard(tiny(shard=20), 0, studio())
    chosen = subjects.rows(views.subject)
    face = model.blend(chosen.alpha_id, chosen.alpha_exp)[:, model.landmarks]
    points = views.project(face)[0][..., :2]
    low, high = points.amin(dim=1), points.amax(dim=1)
    torch.testing.assert_close((high - low).mean(dim=1), torch.full((60,), 63 / 1.5), rtol=1e-4, atol=1e-3)
    torch.testing.assert_close((low + high) / 2, torch.full((60, 2), 31.5), rtol=1e-4, atol=1e-3)
    jittered = dataset.draw_shard(tiny(shard=20, jitter=True), 0, studio())
    scale = (jittered[1].project(face)[0][..., :2].amax(dim=1) - 31.5).std()
    assert scale > 0.5


def test_splits_and_test_sets_share_nobody():
    """Identities are other heads in each split; pairs and florence use other rows of one bank."""
    banks = {split: read_bank(split)["alpha_id"].float() for split in dataset.SPLITS}
    for one, other in (("train", "validation"), ("train", "test"), ("validation", "test")):
        columns = min(banks[one].shape[1], banks[other].shape[1])
        assert torch.cdist(banks[one][:, :columns], banks[other][:, :columns]).min() > 1
    pairs = tiny("test", people=200, shard=50, jitter=True)
    florence = tiny("test", "florence", 50, first=test_sets.FLORENCE_FIRST, shard=10, jitter=True)
    last = dataset.draw_shard(pairs, pairs.shards - 1, studio())[0].identity
    first = dataset.draw_shard(florence, 0, studio())[0].identity
    assert last.tolist() == list(range(150, 200))
    assert first.tolist() == list(range(200, 210))


def test_key_names_everything_but_the_number_of_people(monkeypatch):
    """Pinned: a key that changes by accident orphans data and weights."""
    monkeypatch.setattr(files, "VERSION", "6")
    plain = Description("train", "two-view", 5000, 128)
    assert plain.key == "ab9d544396"
    assert replace(plain, people=10).key == plain.key
    changes = [{"split": "test"}, {"poses": "rotation"}, {"image_size": 64}, {"jitter": True}, {"seed": 1}]
    changes += [{"first": 50}, {"shard": 10}, {"generation": 2}]
    keys = {replace(plain, **change).key for change in changes}
    assert len(keys | {plain.key}) == len(changes) + 1
    assert (plain.window, replace(plain, jitter=True).window) == ((160, 16), (128, 0))


def test_wrong_descriptions():
    with pytest.raises(ValueError, match="split must be one of"):
        Description("training", "two-view", 1, 64)
    with pytest.raises(ValueError, match="got 'train', 'frontal'"):
        Description("train", "frontal", 1, 64)
    with pytest.raises(ValueError, match="generation must be one of"):
        Description("train", "two-view", 1, 64, generation=3)
    with pytest.raises(ValueError, match="the bank has 250 test people; 300 were asked for"):
        dataset.draw_shard(tiny("test", first=250, shard=50), 0, studio())
