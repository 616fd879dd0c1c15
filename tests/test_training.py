"""Training: losses, schedule, resuming after a kill, weights files, shards, obtaining a network."""

import math
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import training_run
from safetensors import safe_open
from torch import nn

from facet import deadline, files
from facet.networks import build, from_pixels
from facet.training import (
    History,
    PositionLoss,
    Recipe,
    Settings,
    Task,
    configuration_hash,
    export_shards,
    fit,
    import_shards,
    load_weights,
    obtain,
    provenance,
    read_metadata,
    save_weights,
    train_slice,
    weighted_error,
    weights_state,
)
from facet.training.checkpoint import read_checkpoint, write_checkpoint
from facet.training.engine import prepare_step
from facet.training.obtain import alone, fitting, obtain_alone, training_folder
from facet.training.prefetch import Prefetch
from facet.training.starts import trained_network
from facet.training.weights import LARGE, compact_weights

SIZE = training_run.SIZE


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def without_seconds(text):
    rows = [line.split(",") for line in text.splitlines()]
    column = rows[0].index("seconds")
    return [row[:column] + row[column + 1 :] for row in rows]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    network, history = training_run.train(folder)
    return folder, network, history


# ---- losses


@pytest.mark.parametrize("squared", [True, False])
def test_weighted_error_against_a_loop(squared):
    p, q = torch.rand(2, 2, 3, 4, 4, generator=generator())
    weight = torch.tensor([16.0, 4.0, 3.0, 0.0]).repeat(4, 1)
    total = 0.0
    for b in range(2):
        for i in range(4):
            for j in range(4):
                square = sum((p[b, c, i, j] - q[b, c, i, j]).item() ** 2 for c in range(3))
                total += weight[i, j].item() * (square if squared else math.sqrt(square))
    expected = total / (2 * weight.sum().item())
    assert weighted_error(p, q, weight, squared=squared).item() == pytest.approx(expected, rel=1e-5)


def test_loss_ignores_texels_of_weight_zero_and_is_zero_on_the_truth():
    weight = torch.ones(8, 8)
    weight[0] = 0
    target = 8 * torch.rand(2, 3, 8, 8, generator=generator())
    output = from_pixels(target, 8)
    assert PositionLoss(weight)(output, target).item() < 1e-12
    assert PositionLoss(weight, signed=True)(2 * output - 1, target).item() < 1e-12
    changed = output.clone()
    changed[:, :, 0] = 0.5
    assert PositionLoss(weight)(changed, target).item() < 1e-12
    assert PositionLoss(weight.T)(changed, target).item() > 1e-4


@pytest.mark.parametrize("squared", [True, False])
def test_loss_gradient(squared):
    loss = PositionLoss(torch.rand(3, 3, generator=generator()), squared=squared).double()
    target = 3 * torch.rand(1, 3, 3, 3, generator=generator(1), dtype=torch.float64)
    predicted = torch.rand(1, 3, 3, 3, generator=generator(2), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda p: weighted_error(p, target, loss.weight, squared=squared), (predicted,)
    )


def test_unsquared_norm_has_a_finite_gradient_at_the_truth():
    p = torch.zeros(1, 3, 2, 2, requires_grad=True)
    weighted_error(p, torch.zeros(1, 3, 2, 2), torch.ones(2, 2), squared=False).backward()
    assert p.grad.isfinite().all()


def test_loss_errors():
    with pytest.raises(ValueError, match="do not fit"):
        weighted_error(torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 8, 8), torch.ones(8, 8))
    with pytest.raises(ValueError, match="weight must be"):
        PositionLoss(torch.zeros(4, 4))


# ---- schedule


def test_rate_halves_every_n_epochs():
    settings = Settings(steps=100, learning_rate=1.0, validate_every=10, halve_every=3)
    assert [settings.rate(s) for s in (0, 29, 30, 59, 60)] == [1, 1, 0.5, 0.5, 0.25]


def test_cosine_rate_warms_up_and_ends_at_one_percent():
    settings = Settings(steps=101, learning_rate=1.0, schedule="cosine", warmup=10)
    assert settings.rate(0) == pytest.approx(0.1)
    assert settings.rate(10) == pytest.approx(1.0)
    assert settings.rate(101) == pytest.approx(0.01)
    rates = [settings.rate(s) for s in range(10, 101)]
    assert rates == sorted(rates, reverse=True)


def test_settings_refuse_what_they_do_not_know():
    with pytest.raises(ValueError, match="schedule must be one of halve, cosine"):
        Settings(steps=1, schedule="stairs")
    with pytest.raises(ValueError, match="steps must be positive"):
        Settings(steps=0)


# ---- the loop


def test_training_learns(uninterrupted):
    _, network, history = uninterrupted
    assert history.finished
    assert [row["step"] for row in history.rows] == [4, 8, 12, 16, 20, 24]
    assert [row["samples"] for row in history.rows][-1] == 96
    losses = [row["train_loss"] for row in history.rows]
    assert losses[-1] < losses[0]
    assert not network.training
    assert training_run.validate(network) == history.best["val_loss"]


def test_plain_loop_gives_the_same_weights():
    """The loop against a dozen lines of plain torch: same batches, same rates, same Adam."""
    settings = replace(training_run.SETTINGS, steps=3, validate_every=3, prefetch=0)
    loss = PositionLoss(torch.ones(SIZE, SIZE))
    ours = build("twoview", image_size=SIZE, width=0.05)
    fit(ours, two_photos, lambda _: 1.0, settings, loss=loss, progress="none")
    plain = build("twoview", image_size=SIZE, width=0.05).to(memory_format=torch.channels_last)
    optimiser = torch.optim.Adam(plain.parameters(), lr=1e-3, fused=True)
    torch.set_flush_denormal(True)
    for step in range(3):
        images, target = two_photos(step)
        optimiser.zero_grad()
        loss(plain(images.contiguous(memory_format=torch.channels_last)), target).backward()
        optimiser.step()
    torch.set_flush_denormal(False)
    for (name, mine), theirs in zip(ours.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, msg=name, rtol=1e-4, atol=1e-6)


def two_photos(step):
    images, target = training_run.batches(step)
    return torch.cat([images, images.flip(0)], 1), target


def test_killed_and_resumed_equals_uninterrupted(uninterrupted, tmp_path):
    """A real process, killed with SIGKILL twice at whatever point it is, then run to its end."""
    script = Path(training_run.__file__)
    for kill_after in (1, 3):
        process = subprocess.Popen([sys.executable, str(script), str(tmp_path), "0.05"])
        deadline = time.monotonic() + 60
        while rows_of(tmp_path) < kill_after and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert kill_after <= rows_of(tmp_path) < 6
    process = subprocess.run([sys.executable, str(script), str(tmp_path)], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    whole = uninterrupted[0]
    assert (tmp_path / "weights.safetensors").read_bytes() == (whole / "weights.safetensors").read_bytes()
    histories = [(folder / "history.csv").read_text() for folder in (tmp_path, whole)]
    assert without_seconds(histories[0]) == without_seconds(histories[1])
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(os.listdir(whole))


def rows_of(folder):
    table = folder / "history.csv"
    return len(table.read_text().splitlines()) - 1 if table.is_file() else 0


def test_slices_of_time_equal_one_run(uninterrupted, tmp_path):
    """`minutes` stops in the middle of an epoch; the next call goes on."""
    calls = 0
    while True:
        network, history = training_run.train(tmp_path, minutes=1e-9)
        calls += 1
        if history.finished:
            break
        assert calls < 100
    assert calls == training_run.SETTINGS.steps
    whole = uninterrupted[1].state_dict()
    assert all(torch.equal(value, whole[name]) for name, value in network.state_dict().items())
    assert without_seconds(history.to_csv()) == without_seconds(uninterrupted[2].to_csv())


def test_prefetching_changes_nothing(uninterrupted, monkeypatch, tmp_path):
    monkeypatch.setattr(training_run, "SETTINGS", replace(training_run.SETTINGS, prefetch=0))
    network, _ = training_run.train(tmp_path)
    whole = uninterrupted[1].state_dict()
    assert all(torch.equal(value, whole[name]) for name, value in network.state_dict().items())


def tiny_fit(validate, *, folder=None, **changes):
    network = build("prn", image_size=32, width=0.05)
    settings = replace(training_run.SETTINGS, checkpoint_every=0, **changes)
    loss = PositionLoss(torch.ones(SIZE, SIZE))
    return network, fit(
        network, training_run.batches, validate, settings, loss=loss, folder=folder, progress="none"
    )


def test_stops_early_and_keeps_the_best(tmp_path):
    losses, seen = iter([3.0, 1.0, 2.0, 1.0, 5.0, 6.0]), []

    def validate(network):
        seen.append({name: value.clone() for name, value in network.state_dict().items()})
        assert not network.training
        return next(losses)

    network, history = tiny_fit(validate, steps=12, validate_every=2, patience=3, folder=tmp_path)
    assert history.finished
    assert [row["val_loss"] for row in history.rows] == [3.0, 1.0, 2.0, 1.0, 5.0]
    assert history.best["epoch"] == 2
    assert all(torch.equal(value, seen[1][name]) for name, value in network.state_dict().items())


def test_a_larger_budget_goes_on(tmp_path):
    _, short = tiny_fit(training_run.validate, steps=8, folder=tmp_path / "a")
    _, longer = tiny_fit(training_run.validate, steps=16, folder=tmp_path / "a")
    _, once = tiny_fit(training_run.validate, steps=16, folder=tmp_path / "b")
    assert len(short.rows) == 2
    assert without_seconds(longer.to_csv()) == without_seconds(once.to_csv())


def test_a_resumed_run_has_the_momentum_of_one_that_was_not():
    """No checkpoint keeps batch norm's momentum, and not every network is built with the last one."""
    settings, optimiser = Settings(steps=400), SimpleNamespace(param_groups=[{}])
    through, resumed = nn.BatchNorm2d(2), nn.BatchNorm2d(2)
    for step in range(200):
        prepare_step(through, optimiser, settings, step)
    prepare_step(resumed, optimiser, settings, 199)
    assert resumed.momentum == through.momentum != nn.BatchNorm2d(2).momentum


def test_batch_norm_statistics_fit_after_a_short_run():
    """Evaluated right after ten steps, the network is about as good as on a training batch."""
    _, history = tiny_fit(training_run.validate, steps=10, validate_every=10)
    assert history.rows[-1]["val_loss"] < 2 * history.rows[-1]["train_loss"]


def test_frozen_parameters_stay(tmp_path):
    network = build("prn", image_size=32, width=0.05)
    network.encoder.requires_grad_(False)
    before = network.encoder[0].weight.clone()
    settings = replace(training_run.SETTINGS, steps=2)
    loss = PositionLoss(torch.ones(SIZE, SIZE))
    fit(network, training_run.batches, lambda _: 1.0, settings, loss=loss, progress="none")
    assert torch.equal(network.encoder[0].weight, before)


def test_divergence_and_wrong_folders_raise(tmp_path):
    with pytest.raises(FloatingPointError, match="lower the learning rate"):
        tiny_fit(lambda _: math.nan, steps=2, validate_every=2)
    tiny_fit(lambda _: 1.0, steps=2, validate_every=2, folder=tmp_path)
    with pytest.raises(ValueError, match="another learning_rate: use another folder"):
        tiny_fit(lambda _: 1.0, steps=4, validate_every=2, folder=tmp_path, learning_rate=0.1)
    (tmp_path / "checkpoint.pt").write_bytes((tmp_path / "checkpoint.pt").read_bytes()[:500])
    with pytest.raises(ValueError, match=r"checkpoint.pt is broken: remove it"):
        tiny_fit(lambda _: 1.0, steps=4, validate_every=2, folder=tmp_path)


def test_an_error_in_a_batch_reaches_the_caller():
    def batches(step):
        if step == 3:
            raise KeyError("no such person")
        return step

    with Prefetch(batches, 0, 9, ahead=2, threads=1) as source:
        stream = iter(source)
        assert [next(stream) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(KeyError, match="no such person"):
            next(stream)


def test_progress_is_lines_on_stdout_when_there_is_no_terminal(capsys):
    network = build("prn", image_size=32, width=0.05)
    settings = replace(training_run.SETTINGS, steps=8)
    loss = PositionLoss(torch.ones(SIZE, SIZE))
    fit(network, training_run.batches, training_run.validate, settings, loss=loss)
    captured = capsys.readouterr()
    assert captured.err == ""
    assert len(captured.out.splitlines()) == 2
    assert "prn: epoch   2  step 8/8" in captured.out


def test_the_callers_generator_and_threads_are_left_alone():
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    tiny_fit(lambda _: 1.0, steps=2, validate_every=2)
    assert torch.equal(state, torch.get_rng_state())
    assert torch.get_num_threads() == threads


def test_history_round_trip(uninterrupted, tmp_path):
    history = uninterrupted[2]
    history.write_csv(tmp_path / "history.csv")
    assert History.read_csv(tmp_path / "history.csv").rows == history.rows


# ---- weights


def test_weights_round_trip_in_half_precision_with_exact_statistics(tmp_path):
    network = build("prn", image_size=32, width=0.1, seed=3)
    network.decoder[1].running_var.fill_(1e6)  # beyond float16
    network.decoder[1].running_mean.fill_(1e-9)
    path = tmp_path / "prn.safetensors"
    config = {"width": 0.1, "image_size": 32}
    save_weights(
        network, path, provenance(device="cpu", system="prn", configuration=config, note="procedural skin")
    )
    other = build("prn", image_size=32, width=0.1, seed=4)
    metadata = load_weights(other, path)
    assert metadata["note"] == "procedural skin"
    assert metadata["torch"] == torch.__version__
    assert {"commit", "date", "device", "system", "configuration_hash"} <= metadata.keys()
    for name, value in network.state_dict().items():
        if "num_batches" not in name:
            exact = "running" in name
            assert torch.equal(other.state_dict()[name], value if exact else value.half().float()), name
    with safe_open(path, "pt") as file:
        assert file.get_tensor("encoder.0.weight").dtype == torch.float16
        assert file.get_tensor("decoder.1.running_var").dtype == torch.float32


def test_half_precision_changes_the_output_little(tmp_path):
    network = build("twoview", image_size=64, width=0.3).eval()
    images = torch.rand(2, 6, 64, 64, generator=generator())
    before = network.encoder(images)
    save_weights(network, tmp_path / "w.safetensors", {})
    load_weights(network, tmp_path / "w.safetensors")
    difference = (network.encoder(images) - before).norm() / before.norm()
    assert 0 < difference < 5e-3


def test_compact_weights_are_half_as_large_and_true_to_a_hundredth(tmp_path):
    network = build("prn", image_size=64, width=0.3, seed=2)
    with torch.no_grad():
        network.decoder[0].weight[5] = 0.0  # a row that has no scale
    save_weights(network, tmp_path / "w.safetensors", {"system": "prn", "history": [1, 2]})
    compact = compact_weights(tmp_path / "w.safetensors")
    (tmp_path / "c.safetensors").write_bytes(compact)
    assert len(compact) < 0.62 * (tmp_path / "w.safetensors").stat().st_size
    half, small = (build("prn", image_size=64, width=0.3, seed=3) for _ in range(2))
    load_weights(half, tmp_path / "w.safetensors")
    assert load_weights(small, tmp_path / "c.safetensors") == {"system": "prn", "history": [1, 2]}
    for (name, exact), rounded in zip(half.state_dict().items(), small.state_dict().values(), strict=True):
        if exact.numel() <= LARGE or exact.dim() < 2:
            assert torch.equal(exact, rounded), name
        else:  # half a step of the row's largest value
            step = exact.flatten(1).abs().amax(dim=1) / 127
            assert ((exact - rounded).flatten(1).abs().amax(dim=1) <= 0.501 * step).all(), name
    assert (small.decoder[0].weight[5] == 0).all()
    assert compact_weights(tmp_path / "c.safetensors") == compact


def test_weights_errors_name_the_file_and_the_fix(tmp_path):
    network = build("prn", image_size=32, width=0.1)
    path = tmp_path / "prn.safetensors"
    with pytest.raises(FileNotFoundError, match=r"no weights at .*prn.safetensors"):
        load_weights(network, path)
    save_weights(network, path, {})
    with pytest.raises(ValueError, match=r"prn.safetensors does not fit this network"):
        load_weights(build("prn", image_size=32, width=0.2), path)
    whole = path.read_bytes()
    for length in (len(whole) // 2, 100, 4, 0):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"prn.safetensors is cut off .*: remove it and fetch it again"):
            load_weights(network, path)
    with torch.no_grad():
        network.encoder[0].weight[0, 0, 0, 0] = 1e5
    with pytest.raises(ValueError, match=r"encoder.0.weight holds values that float16 cannot"):
        save_weights(network, tmp_path / "large.safetensors", {})
    assert not (tmp_path / "large.safetensors").exists()


def test_configuration_hash_is_pinned_and_ignores_order():
    assert configuration_hash({"a": 1, "b": [0.1, None]}) == configuration_hash({"b": [0.1, None], "a": 1})
    assert configuration_hash({"a": 1}) != configuration_hash({"a": 2})
    assert configuration_hash({"a": 1}) == "015abd7f5cc57a2d"


# ---- shards


def half_trained(folder):
    training_run.train(folder, minutes=1e-9)
    return read_checkpoint(folder)


def test_shards_carry_a_run_to_another_folder(uninterrupted, tmp_path):
    saved = half_trained(tmp_path / "here")
    size = (tmp_path / "here" / "checkpoint.pt").stat().st_size
    paths = export_shards(tmp_path / "here", tmp_path / "out", limit=size // 5)
    assert len(paths) in (5, 6, 7)
    assert all(path.stat().st_size <= size // 5 for path in paths)
    kept = import_shards(tmp_path / "out", tmp_path / "there")
    assert kept == {"step": saved["step"], "training": "here", "best": "exact", "moments": "exact"}
    network, history = training_run.train(tmp_path / "there")
    whole = uninterrupted[1].state_dict()
    assert all(torch.equal(value, whole[name]) for name, value in network.state_dict().items())
    assert without_seconds(history.to_csv()) == without_seconds(uninterrupted[2].to_csv())


def test_shards_drop_moments_where_room_is_short_and_the_history_says_so(tmp_path):
    content = synthetic_checkpoint(tmp_path / "here")
    weights = sum(4 * v.numel() for v in content["network"].values())
    for room, moments in ((4.9, "exact"), (3.3, "bfloat16"), (2.3, "fresh")):
        export_shards(tmp_path / "here", tmp_path / "out", limit=int(room * weights / 8), files=8)
        kept = import_shards(tmp_path / "out", tmp_path / moments)
        assert kept["moments"] == moments
        restored = read_checkpoint(tmp_path / moments)
        assert torch.equal(restored["network"]["weight"], content["network"]["weight"])
        assert (restored["optimiser"] is None) == (moments == "fresh")
    with pytest.raises(ValueError, match="weights alone take"):
        export_shards(tmp_path / "here", tmp_path / "out", limit=weights // 16, files=8)


def synthetic_checkpoint(folder):
    """A linear layer's run whose best weights are not the current ones."""
    network = nn.Linear(200, 200)
    optimiser = torch.optim.Adam(network.parameters())
    network(torch.rand(4, 200, generator=generator())).sum().backward()
    optimiser.step()
    content = {
        **{"identity": {}, "step": 1, "seconds": 1.0, "note": "", "history": []},
        **{"loss_sum": torch.zeros((), dtype=torch.float64), "network": network.state_dict()},
        **{"optimiser": optimiser.state_dict(), "best": {n: v + 1 for n, v in network.state_dict().items()}},
    }
    write_checkpoint(folder, content)
    return content


def test_fresh_moments_are_noted_in_the_next_row(tmp_path):
    half_trained(tmp_path)
    content = read_checkpoint(tmp_path)
    write_checkpoint(tmp_path, {**content, "optimiser": None})
    _, history = training_run.train(tmp_path)
    assert [row["note"] for row in history.rows][:2] == ["fresh optimiser moments", ""]


def test_a_full_size_prn_fits_eight_shards_of_15_mib(tmp_path):
    """While the last epoch is the best, moments travel in bfloat16."""
    network = build("prn", image_size=256, width=1.0)
    optimiser = torch.optim.Adam(network.parameters())
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimiser.step()
    content = {
        **{"identity": {}, "step": 1, "seconds": 1.0, "note": "", "history": []},
        **{"loss_sum": torch.zeros((), dtype=torch.float64), "network": network.state_dict()},
        **{"optimiser": optimiser.state_dict(), "best": network.state_dict()},
    }
    write_checkpoint(tmp_path / "here", content)
    paths = export_shards(tmp_path / "here", tmp_path / "out")
    assert len(paths) <= 8
    assert max(path.stat().st_size for path in paths) <= 15 * 2**20
    kept = import_shards(tmp_path / "out", tmp_path / "there")
    assert (kept["best"], kept["moments"]) == ("current", "bfloat16")


def test_broken_shards_raise(tmp_path):
    with pytest.raises(FileNotFoundError, match="no shards"):
        import_shards(tmp_path, tmp_path / "to")
    synthetic_checkpoint(tmp_path / "here")
    paths = export_shards(tmp_path / "here", tmp_path / "out", limit=100_000, files=20)
    last = paths[-1].read_bytes()
    paths[-1].write_bytes(last[:-1])
    with pytest.raises(ValueError, match="one is cut off"):
        import_shards(tmp_path / "out", tmp_path / "to")
    paths[-1].unlink()
    with pytest.raises(ValueError, match=rf"lacks shard {len(paths)} of {len(paths)}"):
        import_shards(tmp_path / "out", tmp_path / "to")


# ---- obtaining a network


def recipe(**changes):
    settings = replace(training_run.SETTINGS, steps=4)
    base = Recipe("prn", "tiny", SIZE, 0.05, settings, {"people": "colours"}, note="no asset")
    return replace(base, **changes)


def task():
    return Task(training_run.batches, training_run.validate, PositionLoss(torch.ones(SIZE, SIZE)))


def no_task():
    raise AssertionError("the data were made although weights were there")


def test_obtain_trains_once_then_loads(tmp_path):
    folders = {"weights": tmp_path / "released", "cache": tmp_path / "cache", "progress": "none"}
    with pytest.raises(ValueError, match="no weights for prn-tiny, and train is never"):
        obtain(recipe(), no_task, train="never", **folders)
    first, history = obtain(recipe(), task, **folders)
    assert history.finished
    assert [p.suffix for p in (tmp_path / "cache" / "training").iterdir()] == [".lock"]
    second, again = obtain(recipe(), no_task, train="never", **folders)
    assert again.rows == history.rows
    assert not second.training
    for name, value in first.state_dict().items():  # rounded when saved, for who trained it too
        if "num_batches" not in name:
            assert torch.equal(second.state_dict()[name], value), name
    with pytest.raises(ValueError, match="trained with another data"):
        obtain(recipe(data={"people": "greys"}), no_task, train="never", **folders)
    metadata = read_metadata(tmp_path / "cache" / "weights" / "prn-tiny.safetensors")
    assert (metadata["samples"], metadata["note"], metadata["profile"]) == (16, "no asset", "tiny")


def test_of_two_runs_of_a_configuration_that_of_this_machine_is_taken(tmp_path):
    folders = {"weights": tmp_path / "released", "cache": tmp_path / "cache"}
    made, released = (
        tmp_path / "cache/weights/prn-tiny.safetensors",
        folders["weights"] / "prn-tiny.safetensors",
    )
    obtain(recipe(), task, progress="none", **folders)
    files.write_text(released, "")
    released.write_bytes(compact_weights(made))
    assert fitting(recipe(), **folders) == [released, made]  # the same run: what everybody has
    metadata = read_metadata(made)
    save_weights(trained_network(made), made, {**metadata, "val_loss": 0.5})
    assert fitting(recipe(), **folders) == [made, released]  # trained again
    assert weights_state(recipe(), **folders).state == "trained"
    assert fitting(recipe(data={"people": "greys"}), **folders) == []


def test_obtain_goes_on_where_the_time_ended(tmp_path):
    folders = {"weights": tmp_path / "released", "cache": tmp_path / "cache", "progress": "none"}
    _, history = obtain(recipe(), task, minutes=1e-9, **folders)
    assert not history.finished
    assert not (tmp_path / "cache" / "weights").exists()
    _, history = obtain(recipe(), task, **folders)
    assert history.finished


def test_one_process_at_a_time_is_at_a_training(tmp_path):
    """The other does not touch what the first one is writing; when it has ended its leftovers go."""
    folders = {"weights": tmp_path / "released", "cache": tmp_path / "cache", "progress": "none"}
    folder = training_folder(recipe(), tmp_path / "cache")
    obtain(recipe(), task, minutes=1e-9, **folders)
    writing = folder / ".checkpoint.1-abcdef01.pt"
    writing.touch()
    with alone(recipe(), tmp_path / "cache", wait=False):
        with pytest.raises(BlockingIOError, match=f"^prn-tiny: process {os.getpid()} is at it$"):
            obtain(recipe(), no_task, wait=False, **folders)
        with pytest.raises(BlockingIOError, match=r"is at it$"):
            train_slice(recipe(), no_task, out=tmp_path / "out", **folders)
        other = recipe(data={"people": "greys"})
        assert obtain(other, task, wait=False, **folders)[1].finished
        assert writing.is_file()
    assert obtain(recipe(), task, wait=False, **folders)[1].finished
    assert not folder.exists()
    with alone(recipe(), tmp_path / "cache", wait=False):  # who takes weights that are there needs no lock
        obtain(recipe(), no_task, wait=False, **folders)


def test_who_waits_takes_what_the_other_has_made(tmp_path, capsys):
    folders = {"weights": tmp_path / "released", "cache": tmp_path / "cache"}
    found = []

    def second():
        found.append(obtain(recipe(), no_task, progress="lines", **folders))

    thread = threading.Thread(target=second)
    with alone(recipe(), tmp_path / "cache", wait=False):
        thread.start()
        while "waits" not in capsys.readouterr().out:
            assert thread.is_alive()
            time.sleep(0.01)
        how = {"train": "auto", "minutes": None, "progress": "none"}
        _, history = obtain_alone(recipe(), task, **how, **folders)
    thread.join(timeout=60)
    assert found[0][1].rows == history.rows


def test_rendering_counts_as_time(tmp_path, monkeypatch):
    """Of two minutes a task takes one and a half; a third shard is not begun after the second."""
    now, given = [0.0], []
    monkeypatch.setattr(deadline, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def fit(*_, minutes, **__):
        given.append(minutes)
        return History([])

    def rendered(say, shards):
        for shard in range(shards):
            now[0] += 45
            say(f"{shard + 1} of {shards} shards")
        return replace(task(), fit=fit)

    folders = {"weights": tmp_path / "released", "cache": tmp_path / "cache", "progress": "none"}
    told = []
    say = deadline.Deadline.after(2).between(told.append)
    obtain(recipe(), lambda: rendered(say, 2), minutes=2, **folders)
    assert given == [0.5]
    with pytest.raises(deadline.OutOfTime):
        obtain(recipe(), lambda: rendered(say, 2), minutes=2, **folders)
    assert told == ["1 of 2 shards", "2 of 2 shards", "1 of 2 shards"]
    obtain(recipe(), lambda: rendered(deadline.Deadline.after(None).between(told.append), 9), **folders)
    assert given == [0.5, None]
