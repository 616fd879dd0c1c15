"""`facet train` by real processes in the smoke profile: a line an epoch, resumed after a kill, released."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

from facet import paths, profiles
from facet.face_model import files
from facet.training import History, recipes, release, weights_state
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
