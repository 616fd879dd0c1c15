"""`facet train` by real processes in the smoke profile: a line an epoch, resumed after a kill, released."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from facet import cli, deadline, paths, profiles, training, trainings
from facet.face_model import files
from facet.training import History, obtain, recipes, release, weights_state
from facet.training.obtain import alone
from facet.training.weights import compact_weights

pytestmark = pytest.mark.assets
PROFILE = profiles.load("smoke")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A root with the checkout's face model and rendered people, and weights of its own."""
    files.ensure()
    root = tmp_path_factory.mktemp("home")
    (root / "notebooks").mkdir()
    (root / "data" / "cache").mkdir(parents=True)
    (root / "notebooks" / "profiles").symlink_to(paths.PROFILES)
    (paths.CACHE / "synthetic").mkdir(exist_ok=True)
    for name in ("face_model.safetensors", "people.safetensors", "skins.safetensors", "synthetic"):
        (root / "data" / "cache" / name).symlink_to(paths.CACHE / name)
    return root


def command(home, *arguments):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "FACET_HOME": str(home)}
    call = [sys.executable, "-m", "facet.cli", *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return {"args": call, "env": environment, "text": True, **pipes}


def facet(home, *arguments):
    call = command(home, *arguments)
    return subprocess.run(call.pop("args"), check=False, **call)


def epochs(text):
    return [line.split("epoch")[1].split()[0] for line in text.splitlines() if "epoch" in line]


def test_a_killed_training_goes_on_and_is_released(home, tmp_path):
    arguments = ["train", "mobile", "--profile", "smoke", "--device", "cpu", "--workers", 1]
    call = command(home, *arguments)
    with subprocess.Popen(call.pop("args"), **call) as process:
        while not list((home / "data" / "cache" / "training").glob("mobile-*/checkpoint.pt")):
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    second = facet(home, *arguments)
    assert second.returncode == 0, second.stderr
    assert epochs(second.stdout) == ["2"]
    assert "mobile-smoke: finished; 80 of 80 samples" in second.stdout
    weights = home / "data" / "cache" / "weights" / "mobile-smoke.safetensors"
    resumed = load_file(weights)

    out = tmp_path / "out"
    once = facet(home, *arguments, "--again", "--out", out)
    assert epochs(once.stdout) == ["1", "2"], once.stderr
    assert [path.name for path in out.iterdir()] == [weights.name]
    for name, value in load_file(out / weights.name).items():
        assert torch.equal(resumed[name], value), name

    released = facet(home, "data", "weights", "--profile", "smoke", "--release")
    assert released.returncode == 0, released.stderr
    assert "mobile-smoke: released; 80 samples" in released.stdout
    assert "prn-smoke: none" in released.stdout
    wrong = facet(home, "data", "weights", "--profile", "smoke", "--release", "mobil")
    assert (wrong.returncode, wrong.stderr) == (
        2,
        "facet: unknown system mobil: `facet data weights` lists them\n",
    )
    nothing = facet(home, "data", "weights", "--profile", "smoke", "--release", "mobile", "prn-longer")
    assert (nothing.returncode, nothing.stdout, nothing.stderr) == (
        2,
        "",
        "facet: weights of prn-longer-smoke are not on this machine: `facet train prn-longer` makes them\n",
    )
    tracked = (home / "data" / "weights" / weights.name).read_bytes()
    assert tracked == compact_weights(weights)
    history = History.read_csv(home / "reports" / "smoke" / "records" / "history-mobile.csv")
    assert [row["samples"] for row in history.rows] == [40, 80]
    again = facet(home, *arguments)
    assert epochs(again.stdout) == [], "trained although weights are at hand"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "nothing"], "nothing is known of training nothing"),
        (["train", "prn", "--variant", "blue"], "nothing is known of training prn-blue"),
        (["train", "prn", "--minutes", "-1"], "--minutes must be positive"),
        (["train", "prn", "--minutes", "nan"], "--minutes must be positive"),
        (["train", "prn", "--out", "/proc/nowhere"], "cannot write to /proc/nowhere"),
        (["train", "prn", "--profile", "huge"], "no profile 'huge'"),
        (["train", "prn", "--device", "abacus"], "invalid choice"),
        (["train", "prn", "--device", "cuda"], "device 'cuda' cannot be used on this machine: take cpu"),
        (["train", "prn", "--album", "a.npz"], "--album is for `facet train coefficients --variant photos`"),
        (["train", "coefficients", "--album", "a.npz"], "--album is for `facet train coefficients --variant"),
        (["train", "coefficients", "--variant", "photos", "--album", "a.npz"], "no album at a.npz"),
    ],
)
def test_bad_calls_are_one_sentence(home, arguments, message):
    result = facet(home, *arguments)
    assert result.returncode == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_a_system_is_named_with_its_variant():
    for pair in trainings.every():
        assert trainings.named("-".join(filter(None, pair))) == pair
        assert trainings.named(*pair) == pair
    assert trainings.named("vrn-guided", "wide") == ("vrn-guided", "wide")
    assert trainings.named("landmark") == ("landmark", "")


@pytest.mark.parametrize(
    "asked", [("prn", "deep"), ("twoview", "blue"), ("rotation", "prn"), ("vrn", "wide")]
)
def test_what_is_no_training_is_told_all_there_are(asked):
    with pytest.raises(ValueError, match=f"nothing is known of training {'-'.join(asked)}; known: ") as told:
        trainings.recipe(asked[0], PROFILE, variant=asked[1])
    names = str(told.value).split("known: ")[1].split(", ")
    assert sorted(names) == sorted("-".join(filter(None, pair)) for pair in trainings.every())
    assert {"prn-longer", "one-pass", "rotation-true", "twoview-both", "vrn-filled"} <= set(names)


def test_a_training_stops_in_time_while_its_people_are_rendered(tmp_path, monkeypatch, capsys):
    """By a clock that moves on by 45 seconds a shard; then another process is at it."""
    now = [0.0]
    monkeypatch.setattr(deadline, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def task(made, profile, *, workers, say):
        for shard in range(3):
            now[0] += 45
            say(f"train people: {shard + 1} of 3 shards")
        pytest.fail("a training began after its time")

    place = {"weights": tmp_path / "none", "cache": tmp_path / "cache"}
    monkeypatch.setattr(trainings, "task", task)
    monkeypatch.setattr(training, "obtain", partial(obtain, **place))
    call = ["train", "prn-all-poses", "--profile", "smoke", "--device", "cpu", "--minutes", "1"]
    assert cli.main(call) == 0
    assert capsys.readouterr().out.splitlines() == [
        "train people: 1 of 3 shards",
        "train people: 2 of 3 shards",
        "prn-all-poses-smoke: stopped in time while rendering; the same command goes on with what is there",
    ]
    made = recipes.recipe("prn", PROFILE, variant="all-poses")
    with alone(made, tmp_path / "cache", wait=False):
        assert cli.main(call) == 2
    message = f"facet: prn-all-poses-smoke: process {os.getpid()} is at it\n"
    assert capsys.readouterr() == ("", message)


def test_the_device_does_not_decide_which_weights_fit():
    on = [recipes.recipe("prn", PROFILE, device=device).configuration() for device in ("cpu", "cuda")]
    assert on[0] == on[1]


def test_only_fitting_small_weights_are_released(home, tmp_path):
    made = recipes.recipe("mobile", PROFILE)
    where = {"weights": tmp_path / "weights", "cache": home / "data" / "cache", "reports": tmp_path}
    with pytest.raises(ValueError, match=r"bytes, a released network has at most 1,000"):
        release(made, limit=1000, **where)
    other = recipes.recipe("mobile", PROFILE.with_(samples=96))
    with pytest.raises(ValueError, match="trained with another steps"):
        release(other, **where)
    with pytest.raises(FileNotFoundError, match="no weights at"):
        release(recipes.recipe("prn", PROFILE), **where)
    assert list(tmp_path.iterdir()) == []
    assert weights_state(other, weights=where["weights"], cache=where["cache"]).state == "outdated"
    target, _ = release(made, **where)
    found = weights_state(made, weights=where["weights"], cache=where["cache"])
    assert (found.state, found.path) == ("released", target)
    assert weights_state(made, weights=tmp_path / "none", cache=where["cache"]).state == "trained"
