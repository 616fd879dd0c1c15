"""Training in slices on machines that share nothing but a folder gives the weights of one long run."""

from dataclasses import replace

import pytest
import torch
import training_run

from facet.training import PositionLoss, Recipe, Task, obtain, train_slice
from facet.training.obtain import training_folder

SIZE = training_run.SIZE


def _recipe(steps=6):
    settings = replace(training_run.SETTINGS, steps=steps, checkpoint_every=1, patience=0)
    return Recipe("prn", "tiny", SIZE, 0.05, settings, {"people": "colours"})


def _task():
    return Task(training_run.batches, training_run.validate, PositionLoss(torch.ones(SIZE, SIZE)))


def _slice(machine, out, **options):
    folders = {"weights": machine / "released", "cache": machine / "cache", "progress": "none"}
    return train_slice(_recipe(), _task, out=out, **folders, **options)


def test_slices_on_several_machines_equal_one_run(tmp_path):
    once, _ = obtain(_recipe(), _task, cache=tmp_path / "once", weights=tmp_path / "none", progress="none")
    out = tmp_path / "out"
    for number in range(20):
        network, history = _slice(tmp_path / f"machine-{number}", out, minutes=1e-9)
        if history.finished:
            break
        assert sorted(p.name[:7] for p in out.iterdir()) == ["shard-1"]
    assert 1 < number < 20
    assert [p.name for p in out.iterdir()] == ["prn-tiny.safetensors"]
    for name, value in once.state_dict().items():
        assert torch.equal(network.state_dict()[name], value), name


def test_the_farther_of_folder_and_shards_goes_on(tmp_path):
    machine, other, out = tmp_path / "machine", tmp_path / "other", tmp_path / "out"
    _slice(machine, out, minutes=1e-9)
    _slice(other, out, minutes=1e-9)  # the shards are now a step ahead of the first machine's folder
    ahead = [torch.load(p, weights_only=True)["step"] for p in _checkpoints(machine, other)]
    assert ahead[0] < ahead[1]
    _slice(machine, out, minutes=1e-9)
    (now,) = (torch.load(p, weights_only=True)["step"] for p in _checkpoints(machine))
    assert now > ahead[1]


def test_broken_shards_are_named(tmp_path):
    out = tmp_path / "out"
    _slice(tmp_path / "a", out, minutes=1e-9)
    (shard,) = out.iterdir()
    shard.write_bytes(shard.read_bytes()[:-5])
    with pytest.raises(ValueError, match="one is cut off"):
        _slice(tmp_path / "b", out)


def test_shards_of_another_training_are_refused_and_harm_nothing(tmp_path):
    out, machine = tmp_path / "out", tmp_path / "machine"
    other = replace(_recipe(), variant="all-poses", data={"people": "others"})
    folders = {"weights": machine / "released", "cache": machine / "cache", "progress": "none"}
    train_slice(other, _task, out=tmp_path / "other", minutes=1e-9, **folders)
    _slice(tmp_path / "a", out, minutes=1e-9)
    _slice(tmp_path / "a", out, minutes=1e-9)  # farther than the other training
    checkpoint = training_folder(other, machine / "cache") / "checkpoint.pt"
    before = checkpoint.read_bytes()
    with pytest.raises(ValueError, match=r"of the training prn-tiny-\w+, not of prn-all-poses-tiny-\w+"):
        train_slice(other, _task, out=out, **folders)
    assert checkpoint.read_bytes() == before


def test_a_place_that_cannot_be_written_to_is_told_before_anything_is_rendered(tmp_path):
    def no_task():
        pytest.fail("people were rendered for a slice that has no place")

    (tmp_path / "file").touch()
    folders = {"weights": tmp_path / "released", "cache": tmp_path / "cache", "progress": "none"}
    for out in (tmp_path / "file", tmp_path / "file" / "out"):
        with pytest.raises(NotADirectoryError, match=f"cannot write to {out}: .*file is not a folder"):
            train_slice(_recipe(), no_task, out=out, **folders)
    with pytest.raises(PermissionError, match="cannot write to /proc/nowhere"):
        train_slice(_recipe(), no_task, out="/proc/nowhere", **folders)
    assert not (tmp_path / "cache").exists()


def test_slices_that_train_anew_go_on_too(tmp_path):
    out = tmp_path / "out"
    _slice(tmp_path / "a", out, minutes=1e-9)
    _slice(tmp_path / "b", out, minutes=1e-9, train="always")
    one, two = (
        torch.load(p, weights_only=True)["step"] for p in _checkpoints(tmp_path / "a", tmp_path / "b")
    )
    assert one < two


def _checkpoints(*machines):
    return [training_folder(_recipe(), machine / "cache") / "checkpoint.pt" for machine in machines]
