"""The studies there are: cells that differ in what they say, and what their networks are scored on."""

import itertools
import json
from types import SimpleNamespace

import pytest
import tiny_people
import torch

from facet import deadline, paths, profiles
from facet.augment import Augmentation
from facet.evaluation import study as measured
from facet.evaluation import volume_studies
from facet.face_model import files, load, wearables
from facet.geometry import similarity
from facet.networks import build
from facet.reconstruction import photos
from facet.studies import (
    Session,
    beards,
    factors,
    find,
    people,
    queue,
    record_path,
    residual64,
    run,
    scores,
    table,
    volumes,
    yardsticks,
)
from facet.studies import train as training
from facet.synthetic import eye_assets
from facet.synthetic.factors import GROUPS
from facet.training import History, common, recipes, save_weights
from facet.training.weights import compact_weights


def test_unknown_study():
    with pytest.raises(ValueError, match="no study is called 'fctors'; there are factors, beards, people"):
        find("fctors")


def test_cells_of_the_factor_study_differ_in_one_factor_and_the_seed():
    cells = factors.study().cells
    assert len(cells) == 2 * (1 + len(GROUPS)) == len({cell.hash for cell in cells})
    assert [cell.name for cell in cells[:2]] == ["all-seed0", "without-hair-seed0"]
    for cell in cells:
        plain = json.loads(json.dumps(cells[0].configuration))
        plain["settings"]["seed"] = cell.varied["seed"]
        without = cell.varied["without"]
        plain["data"]["change"] = "" if without == "nothing" else f"without {without}"
        assert json.loads(json.dumps(cell.configuration)) == plain
    described = cells[0].configuration
    assert described["settings"]["steps"] * described["settings"]["batch"] == 40_000
    assert Augmentation(**described["augmentation"]) == Augmentation.preset("photo-light")


def test_cells_of_the_beard_study_differ_in_people_and_targets():
    cells = beards.study().cells
    assert len({cell.hash for cell in cells}) == len(cells) == 6
    found = {(cell.varied["beards"], cell.varied["seed"]): cell.configuration for cell in cells}
    for (name, seed), described in found.items():
        plain = json.loads(json.dumps(found["not at all", 0]))
        plain["settings"]["seed"] = seed
        if name != "not at all":
            plain["data"] |= {"change": "bearded", "beards": name == "image and target"}
        assert json.loads(json.dumps(described)) == plain
    whole = factors.study().cells[0].configuration
    assert found["not at all", 0]["settings"] == whole["settings"]


def test_cells_of_the_people_study_differ_in_people_and_budget():
    cells = people.study().cells
    assert len({cell.hash for cell in cells}) == len(cells) == 3 * 4
    for first, second, longer in zip(cells[:4], cells[4:8], cells[8:], strict=True):
        assert first.varied["system"] == second.varied["system"] == longer.varied["system"]
        plain = [json.loads(json.dumps(cell.configuration["recipe"])) for cell in (first, second, longer)]
        assert [recipe["data"].pop("generation") for recipe in plain] == [1, 2, 2]
        assert plain[0] == plain[1]
        budgets = [(r.pop("steps"), r.pop("validate_every")) for r in plain[1:]]
        assert budgets == [(10_000, 500), (37_500, 1_875)]  # the rate falls at the same shares
        assert plain[1] == plain[2]


@pytest.mark.slow
@pytest.mark.assets
def test_a_cell_of_the_people_study_is_scored_on_both_generations(home, tmp_path, monkeypatch):
    base = profiles.load("smoke").with_(people={"train": 2, "val": 2, "test": 2}, samples=16)
    monkeypatch.setattr(people, "BUDGETS", ((2, 16),))
    tiny = people.study(people=1, florence_people=1, base=base)
    assert run(tiny, only="mobile-generation2-16", device="cpu", reports=tmp_path, cache=tmp_path) == []
    frame = table(tiny, reports=tmp_path)
    assert set(frame["test_set"]) == {
        f"synthetic-{v}-{kind}" for v in ("v1", "v2") for kind in ("pairs", "florence")
    }
    assert set(frame["read"]) == {"bare", "smoothed"}
    assert (frame["samples"] == 16).all()
    assert set(frame[frame["test_set"] == "synthetic-v1-florence"]["n"]) == {27}


def test_people_cells_score_a_released_files_numbers_wherever_the_weights_are(tmp_path, monkeypatch):
    """From data/cache/weights, without a training; in 8 bits, as a clone that has the released file alone."""
    monkeypatch.setattr(paths, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(paths, "WEIGHTS", tmp_path / "released")
    monkeypatch.setattr(people, "obtain", lambda *a, **k: pytest.fail("trained although weights were there"))
    profile = profiles.load("smoke").with_(width=0.3)
    made = recipes.recipe("prn", profile)
    network = build("prn", image_size=64, width=0.3, seed=5)
    about = {"configuration": made.configuration(), "history": [{"step": 1}]}
    save_weights(network, tmp_path / "cache" / "weights" / f"{made.name}.safetensors", about)
    session = Session(folder=tmp_path / "cell")
    here, history = people.scored(people._weights(made, profile, session), session.folder)
    assert (history.rows, here.training) == ([{"step": 1}], False)
    (tmp_path / "released").mkdir()
    (tmp_path / "cache" / "weights" / f"{made.name}.safetensors").rename(tmp_path / "half.safetensors")
    released = tmp_path / "released" / f"{made.name}.safetensors"
    released.write_bytes(compact_weights(tmp_path / "half.safetensors"))
    there, _ = people.scored(people._weights(made, profile, session), session.folder)
    for (name, value), other in zip(here.state_dict().items(), there.state_dict().values(), strict=True):
        assert torch.equal(value, other), name
    rounded = (here.decoder[0].weight - network.decoder[0].weight).abs().max()
    assert rounded > 1e-4 * network.decoder[0].weight.abs().max()  # half precision would be nearer


@pytest.mark.slow
@pytest.mark.assets
@pytest.mark.parametrize("which", ["volumes", "people"])
def test_people_are_rendered_no_longer_than_the_time_allows(which, home, tmp_path, monkeypatch):
    """The call ends with the shard at which the time is over; by a clock that ticks when it is looked at."""
    ticks = itertools.count()
    clock = SimpleNamespace(monotonic=lambda: float(next(ticks)))
    for module in (queue, deadline):
        monkeypatch.setattr(module, "time", clock)
    plain = common.Description
    monkeypatch.setattr(common, "Description", lambda *a, **k: plain(*a, **{"shard": 1, **k}))
    base = profiles.load("smoke").with_(people={"train": 3, "val": 2, "test": 2}, samples=16)
    monkeypatch.setattr(people, "BUDGETS", ((1, 16),))
    tiny = {
        "volumes": lambda: volumes.study(samples=16, train=3, validation=2, test_people=1),
        "people": lambda: people.study(people=1, florence_people=1, base=base),
    }[which]()
    name, told = tiny.cells[0].name, []
    where = {"reports": tmp_path / "reports", "cache": tmp_path / "cache"}
    assert run(tiny, only=name, minutes=2.5 / 60, device="cpu", workers=1, say=told.append, **where) == [name]
    assert told[-1] == "train people: 1 of 3 shards"
    assert len(list((home / "data" / "cache" / "synthetic").glob("train-*/*.npy"))) == 1


@pytest.mark.slow
@pytest.mark.assets
def test_a_cell_of_the_volumes_study_is_trained_and_scored(home, tmp_path, monkeypatch):
    """Two people, sixteen pictures, one Florence person: means by hand, with an empty volume among them."""
    plain = common.Description
    monkeypatch.setattr(common, "Description", lambda *a, **k: plain(*a, **{"shard": 2, **k}))
    tiny = volumes.study(samples=16, train=2, validation=2, test_people=1)
    where = {"reports": tmp_path / "reports", "cache": tmp_path / "cache"}
    emptied = []

    def ask(*arguments, **options):
        answers = volume_studies.ask(*arguments, **options)
        answers.volumes[:] = 0
        answers.volumes[1:, 8:24, 12:20, 12:20] = 255  # a block; the first photo, at yaw -80, has none
        emptied.append(len(answers.volumes))
        return answers

    monkeypatch.setattr(volumes, "ask", ask)
    assert run(tiny, only="guided-seed0", device="cpu", workers=1, **where) == []
    assert emptied == [27, 27]  # by true landmarks, and by bad ones
    found = table(tiny, reports=where["reports"])
    assert (found["samples"] == 16).all()
    guides = ["synthetic-v2-florence, true landmarks", "synthetic-v2-florence, landmarks 3 % off"]
    assert found["test_set"].drop_duplicates().tolist() == guides
    rows = found[found["test_set"] == guides[0]].set_index(["metric", "normaliser"])
    assert rows.loc[("correspondence", "mm"), "n"] == 26
    assert rows.loc[("found", "%"), ["mean", "n"]].tolist() == [round(100 * 26 / 27, 4), 27]
    assert rows.loc[("bumps", "yaw 80"), ["mean", "n"]].tolist() == [0, 5]
    assert rows.loc[("found", "yaw 80"), ["mean", "n"]].tolist() == [round(100 * 5 / 6, 4), 6]
    assert rows.loc[("found", "yaw 0"), ["mean", "n"]].tolist() == [100, 3]
    assert rows.loc[("face kept", "yaw 80"), ["mean", "n"]].tolist() == [round(5 / 6, 4), 6]


@pytest.mark.slow
@pytest.mark.assets
def test_a_cell_of_residuals_studies_is_trained_and_scored(home, tmp_path):
    """From the PRN that it goes on from to the seam's rings, on two people and sixteen pictures."""
    about = {"seed": 0, "samples": 16, "people": {"people": 2, "validation_people": 2}, "test_people": 2}
    prn = residual64.configuration("prn", width=0.1, **about)
    described = residual64.configuration(
        "residual", width=0.1, refinement_width=0.1, start=prn, augmentation="residual", **about
    )
    described["test"]["parts"] = "seam and turned"
    cell = queue.Cell("both", {"network": "residual", "seed": 0}, described)
    tiny = queue.Study("tiny", "?", (cell,), residual64.run_cell, minutes=1)
    where = {"reports": tmp_path / "reports", "cache": tmp_path / "cache"}
    assert run(tiny, device="cpu", workers=1, **where) == []
    assert len(list((where["cache"] / "studies" / "kept").glob("*/network.safetensors"))) == 2
    found = table(tiny, reports=where["reports"])
    assert (found["samples"] == 16).all()
    rows = found[found["test_set"] == residual64.TEST].set_index(["metric", "normaliser"])
    assert (rows["mean"] >= 0).all()
    shown = {"exact", "depth", "landmarks", "exact-unaligned", "under-15-degrees", "neck-error +1"}
    assert shown | {"completed-rim-roughness +4"} <= set(rows.index.get_level_values("metric"))
    turned = found[found["test_set"] == residual64.TURNED].set_index("metric")
    assert turned.loc["exact", "n"] == rows.loc[("exact", "mm"), "n"] == 2
    assert turned.loc["exact", "mean"] != rows.loc[("exact", "mm"), "mean"]
    assert "photographs" in set(found["test_set"])


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A root of its own with the built assets; shards of two people."""
    built = (wearables.ensure(), eye_assets.ensure(), *files.ensure())
    root = tiny_people.root(tmp_path / "home")
    cache = root / "data" / "cache"
    for path in built:
        if not (cache / path.name).exists():
            (cache / path.name).symlink_to(path)
    monkeypatch.setattr(paths, "CACHE", cache)
    plain = training.Description
    monkeypatch.setattr(training, "Description", lambda *a, **k: plain(*a, **{"shard": 2, **k}))
    return root


@pytest.mark.slow
@pytest.mark.assets
def test_a_cell_stopped_in_time_ends_as_one_that_was_not(home, tmp_path, monkeypatch):
    """Broken off after each shard of training and validation people and after the first of three steps.

    By a clock that moves on by a second whenever it is looked at: the third look is late.
    """
    ticks = itertools.count()
    clock = SimpleNamespace(monotonic=lambda: float(next(ticks)))
    for module in (queue, deadline):
        monkeypatch.setattr(module, "time", clock)
    tiny = factors.study(samples=24, train_people=2, validation_people=2, test_people=2)
    name = "without-camera-seed1"
    cut, whole = (
        {"reports": tmp_path / n / "reports", "cache": tmp_path / n / "cache"} for n in ("cut", "whole")
    )
    for _ in range(3):
        assert run(tiny, only=name, minutes=2.5 / 60, device="cpu", **cut) == [name]
    assert [
        len(list((home / "data" / "cache" / "synthetic").glob(f"{split}-*/*.npy")))
        for split in ("train", "validation", "test")
    ] == [1, 1, 0]
    (history,) = (cut["cache"] / "studies" / "factors").glob("*/history.csv")
    assert [row["step"] for row in History.read_csv(history).rows] == [1]
    for place in (cut, whole):
        assert run(tiny, only=name, device="cpu", **place) == []
    records = [json.loads(record_path(tiny, tiny.cell(name), p["reports"]).read_text()) for p in (cut, whole)]
    assert records[0]["scores"] == records[1]["scores"]
    assert records[0]["samples"] == 24
    rows = {row["test_set"]: row for row in records[0]["scores"] if row["metric"] != "exact"}
    assert rows["synthetic-v2-front"]["n"] == 2
    assert rows["photographs"]["n"] == len(photos.available())
    frame = table(tiny, reports=whole["reports"])
    assert set(frame["metric"]) == {"exact", "depth", "landmarks", "placed-points"}
    assert (frame["without"] == "camera").all()


@pytest.mark.slow
@pytest.mark.assets
def test_bearded_men_are_scored_against_either_surface(home, tmp_path, monkeypatch):
    """After one step a network knows no beards: as far from both surfaces, but where beards are."""
    tiny = beards.study(samples=8, train_people=2, validation_people=2, test_people=6)
    where = {"reports": tmp_path / "reports", "cache": tmp_path / "cache"}
    assert run(tiny, only="image-and-target-seed0", device="cpu", **where) == []
    rows = table(tiny, reports=where["reports"]).set_index(["test_set", "metric"])
    men = {str(name): rows.loc[name] for name in (beards.MEN, f"{beards.MEN}-beards", beards.BEARDLESS)}
    bare, outer, beardless = men.values()
    assert beardless.loc["exact", "n"] == 6
    count = bare.loc["exact", "n"]
    assert 0 < count < 6
    assert count == outer.loc["exact", "n"] == bare.loc["exact-part", "n"] == outer.loc["exact-part", "n"]
    whole, part = (abs(bare.loc[m, "mean"] - outer.loc[m, "mean"]) for m in ("exact", "exact-part"))
    assert part > 2 * whole > 0
    monkeypatch.setattr(yardsticks, "find", {"beards": tiny}.get)
    asked = {"change": "bearded", "gender": "male"}
    skin = yardsticks.mean_faces("beards", beards.MEN, **asked).set_index(["system", "metric", "normaliser"])
    hair = yardsticks.mean_faces("beards", f"{beards.MEN}-beards", volume=True, **asked)
    assert (skin["n"] == count).all()
    by = skin["mean"].loc[:, ["exact", "exact-unaligned"], "mm"].droplevel("normaliser").unstack()
    assert by.loc["mean-face", "exact"] == pytest.approx(by.loc["mean-face-true-pose", "exact"], rel=1e-4)
    assert by["exact-unaligned"]["mean-face"] > 2 * by["exact-unaligned"]["mean-face-true-pose"]
    assert (hair["mean"].to_numpy() != skin["mean"].to_numpy()).any()
    assert set(hair["test_set"]) == {f"{beards.MEN}-beards"}


def test_a_part_of_the_face_is_scored_in_millimetres_after_the_whole_is_aligned(generator, monkeypatch):
    """Against a slow loop, on a face of seven vertices of which the last is not counted."""
    truth, wrong = torch.rand(2, 7, 3, generator=generator) * 50, torch.rand(2, 7, 3, generator=generator)
    weight = torch.tensor([1.0] * 6 + [0.0])
    model = SimpleNamespace(weight=weight, triangles=torch.tensor([[0, 1, 2]]), landmarks=torch.arange(2))
    about = {"images": torch.zeros(3, 4, 4), "scale": 2.0, "yaw": 0.0, "pitch": 0.0}
    samples = [{**about, "vertices": vertices, "identity": k} for k, vertices in enumerate(truth)]
    answer = (truth + wrong)[:1]
    monkeypatch.setattr(measured, "position_map_predictor", lambda *a, **k: lambda images: answer)
    network = SimpleNamespace(name="toy", views=1)
    where = [torch.tensor(part).bool() for part in ([1, 0, 1, 0, 0, 0, 1], [0, 0, 0, 0, 0, 0, 1])]
    (row,) = scores.partial(network, "set", samples, where, model)
    ours, theirs = answer[:, :6].double(), truth[:1, :6].double()
    fitted = similarity(ours, theirs).apply(ours)
    expected = sum(float((fitted[0, k] - theirs[0, k]).norm()) / 2 for k in (0, 2)) / 2
    assert row["mean"] == pytest.approx(expected, abs=1e-3)
    assert (row["n"], row["metric"], row["normaliser"]) == (1, "exact-part", "mm")
    assert scores.partial(network, "set", samples, where[1:] * 2, model) == []


@pytest.mark.assets
def test_photographs_are_scored_in_their_own_pixels(monkeypatch):
    """Landmarks that lie 3 % of the box beside the placed points, in the crop, err so in the photo."""
    model, size = load(), 64
    network = build("prn", image_size=size, width=0.1).eval()
    for photo in photos.available():
        x0, y0, x1, y1 = photo.box
        side = 1.5 * ((x1 - x0) + (y1 - y0)) / 2  # the 300W-LP crop
        corner = ((x0 + x1) / 2 - side / 2, (y0 + y1) / 2 - side / 2)
        points = torch.zeros(1, len(model.landmarks), 3)
        for number, place in photo.points.items():
            points[0, number, :2] = torch.tensor(
                [(p - c) * (size - 1) / side for p, c in zip(place, corner, strict=True)]
            )
        off = 0.03 * ((x1 - x0) * (y1 - y0)) ** 0.5 * (size - 1) / side  # 3 % of the box
        monkeypatch.setattr(photos, "available", lambda only=photo: [only])
        beside = points + torch.tensor([off, 0, 9])
        monkeypatch.setattr(scores, "vertices_from_map", lambda found, uv, beside=beside: beside)
        row, every = scores.photographs(network, model)
        assert row["mean"] == pytest.approx(3.0, abs=1e-3)
        assert (row["n"], every["n"]) == (len(photo.points), 1)
