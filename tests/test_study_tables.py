"""Records of Residual's studies: trainings shared between cells, scores, and the tables made of them."""

import pandas as pd
import pytest
import torch

from facet.augment import Augmentation, Combined, augment_colour, from_values
from facet.face_model import load
from facet.files import write_json
from facet.geometry import similarity
from facet.networks import build
from facet.studies import Session, kept, record_path, residual64, tables
from facet.studies import residual as studies
from facet.training import History, configuration_hash


def tiny(**changes):
    people = {"people": 2, "validation_people": 2}
    return residual64.configuration(seed=0, samples=16, people=people, test_people=2, **changes)


def fake_train(told):
    """In the place of `train`: a network whose first weight says how often it was trained."""

    def train(configuration, session, start=None):
        network = build(configuration["system"], image_size=64, width=0.1, seed=0, **configuration["options"])
        if start is not None:
            network.start_from(start)
        with torch.no_grad():
            network.encoder[0].weight += 1
        told.append(configuration["system"])
        rows = [{"step": 2, "samples": 16, "epoch": 1, "val_loss": 0.5, "train_loss": 0.5, "seconds": 1.0}]
        return network, History(rows, finished=True)

    return train


def test_a_training_is_made_once_and_the_one_it_starts_from_before_it(tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(kept, "train", fake_train(told))
    about = {"width": 0.1, "refinement_width": 0.1}
    session = Session(folder=tmp_path / "studies" / "losses" / "cell-1")
    prn = tiny(width=0.1)
    both = tiny(system="residual", start=prn, **about)
    first, history = kept.network(both, session)
    assert told == ["prn", "residual"]
    assert history.rows[0]["samples"] == 16
    elsewhere = Session(folder=tmp_path / "studies" / "seam" / "cell-2")
    again, _ = kept.network({**both, "test": {"other": 1}}, elsewhere)
    alone, _ = kept.network(prn, elsewhere)
    assert told == ["prn", "residual"]
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    step = first.encoder[0].weight - alone.encoder[0].weight
    torch.testing.assert_close(step, torch.ones_like(step), atol=2e-3, rtol=0)  # half precision
    described = {n: v for n, v in prn.items() if n != "test"}
    assert (tmp_path / "studies" / "kept" / configuration_hash(described) / kept.NAME).is_file()


def test_turned_samples_are_one_similarity_of_picture_and_truth():
    sample = {"images": torch.zeros(3, 32, 32), "vertices": 32 * torch.rand(50, 3), "scale": 0.2}
    sample["images"][:, 12:15, 20:23] = 1.0
    sample["vertices"][0] = torch.tensor([21.0, 13.0, 5.0])
    for seed in range(5):
        (moved,) = residual64.turned([sample], residual64.TURN, seed)
        fit = similarity(sample["vertices"][None], moved["vertices"][None])
        torch.testing.assert_close(
            fit.apply(sample["vertices"][None])[0], moved["vertices"], atol=1e-3, rtol=0
        )
        assert moved["scale"] / sample["scale"] == pytest.approx(float(fit.scale[0]), rel=1e-4)
        x, y, _ = moved["vertices"][0].tolist()
        spot = moved["images"][0]
        place = [
            float((spot * torch.arange(32.0)[s]).sum() / spot.sum()) for s in ((None,), (slice(None), None))
        ]
        assert place == pytest.approx([x, y], abs=0.5)


def test_seam_rows_of_a_perfect_network_are_the_map_itself(monkeypatch):
    """Rings on both sides of the neck line, one side of the square's rim, bare and completed."""
    model = load()
    truth = model.mean[None] * torch.tensor([0.3, -0.3, 0.3]) + 32
    sample = {"images": torch.zeros(3, 64, 64), "vertices": truth[0], "scale": 0.3}
    from facet.rendering import map_from_mesh

    exact = map_from_mesh(truth, model.uv, model.triangles, 64)
    monkeypatch.setattr(residual64, "_maps", lambda *_: exact)
    network = build("prn", image_size=64, width=0.1)
    rows = pd.DataFrame(residual64.seam(network, [sample], model))
    assert (rows["normaliser"] == "mm").all()
    bare = rows[~rows["metric"].str.startswith("completed")]
    assert bare["mean"].abs().max() < 1e-3
    assert set(bare["metric"].str.extract(r"(\w+)-error")[0].dropna()) == {"rim", "neck"}
    rings = [int(m.split()[1]) for m in bare["metric"] if m.startswith("neck-error")]
    assert rings == [-4, -3, -2, -1, 1, 2, 3, 4]
    (flat,) = residual64.smooth(network, [sample], model)
    assert 90 < flat["mean"] <= 100


def test_tables_of_records(tmp_path):
    study = studies.output_range()
    for number, cell in enumerate(study.cells):
        if cell.name == "residual-tanh-seed1":
            continue
        score = {
            "test_set": residual64.TEST,
            "metric": "exact",
            "normaliser": "mm",
            "mean": 3.0 + number,
            "n": 5,
        }
        rest = {"samples": 12_000, "seconds": 1.0, "device": "cpu", "commit": "", "scores": [score]}
        record = {"study": "range", "cell": cell.name, "hash": cell.hash, **rest}
        write_json(record_path(study, cell, tmp_path), record)
    found, text, paths = tables.known("range", reports=tmp_path)
    assert "7 of 8 trainings have a record; `facet study range` makes the rest" in text
    assert len(paths) == 7
    grid = tables.grid(found, ("exact", "mm"), rows="network", columns="range", test_set=residual64.TEST)
    assert grid.loc["prn"].to_dict() == {"sigmoid": "5.00 ± 2.00", "tanh": "6.00 ± 2.00"}
    assert grid.loc["residual", "tanh"] == "6.00"
    assert tables.grid(found, ("depth", "mm"), rows="network", test_set=residual64.TEST).empty
    nothing, text, paths = tables.known("seam", reports=tmp_path)
    assert nothing.empty
    assert paths == []
    assert tables.ring_curves(nothing, "edge").empty


def test_trainings_are_compared_with_the_baseline_of_their_seed_person_by_person():
    columns = ["study", "cell", "without", "seed", "samples", "seconds", "device", "commit"]
    columns += ["test_set", "metric", "normaliser", "mean", "n", "values"]
    truth, rows = [2.0, 4.0, 6.0, 8.0], []
    for seed, factors in ((0, {"nothing": 1.0, "hair": 1.5, "light": 0.5}), (1, {"hair": 1.5})):
        for name, factor in factors.items():
            values = [factor * value for value in truth]
            row = dict.fromkeys(columns, "") | {"without": name, "seed": seed, "values": values}
            rows.append(row | {"test_set": "t", "metric": "exact", "normaliser": "mm", "mean": 5.0, "n": 4})
    found = pd.DataFrame(rows, columns=columns)
    asked = {"varied": "without", "baseline": "nothing", "test_set": "t"}
    ratios = tables.compared(found, ("exact", "mm"), **asked)
    assert ratios[["without", "seed", "n"]].values.tolist() == [["hair", 0, 4], ["light", 0, 4]]
    # paired: errors that are everywhere half as large again have no spread, however people differ
    assert ratios.loc[0, ["ratio", "low", "high"]].tolist() == pytest.approx([1.5] * 3)
    assert ratios.loc[1, ["ratio", "low", "high"]].tolist() == pytest.approx([0.5] * 3)
    rows[1]["values"] = [3.0, 2.0, 15.0, 10.0]
    (hair, _) = tables.compared(pd.DataFrame(rows), ("exact", "mm"), **asked).to_dict("records")
    assert hair["ratio"] == pytest.approx(30 / 20)
    assert hair["low"] < 1.5 < hair["high"]
    assert tables.compared(found, ("depth", "mm"), **asked).empty


def test_grids_stand_side_by_side_under_their_titles():
    columns = ["study", "cell", "beards", "seed", "samples", "seconds", "device", "commit"]
    columns += ["test_set", "metric", "normaliser", "mean", "n"]
    about = {"study": "s", "cell": "c", "samples": 1, "seconds": 1.0, "device": "cpu", "commit": "", "n": 3}
    rows = [
        about | {"beards": "no", "seed": seed, "test_set": where, "metric": "exact", "normaliser": "mm",
                 "mean": mean + seed}
        for seed in (0, 1) for where, mean in (("men", 2.0), ("women", 4.0))
    ]  # fmt: skip
    found = pd.DataFrame(rows, columns=columns)
    shape = ("exact", "mm")
    asked = {"of men": ("men", shape), "of none": ("nobody", shape), "of women": ("women", shape)}
    joined = tables.beside(found, asked, rows="beards")
    assert joined.loc["no"].to_dict() == {"of men": "2.50 ± 0.50", "of women": "4.50 ± 0.50"}
    known = {"system": "mean-face", "test_set": "men", "metric": "exact", "normaliser": "mm", "mean": 3.456}
    first = tables.beside(found, asked, rows="beards", yardsticks=pd.DataFrame([known]))
    assert first.loc["mean-face"].to_dict() == {"of men": "3.46", "of women": "–"}
    assert first.index.tolist() == ["mean-face", "no"]
    assert tables.beside(found[:0], asked, rows="beards").empty


def test_ring_curves_read_the_names_of_scores():
    rows = [
        {"edge": "hard", "seed": seed, "samples": 1, "test_set": "t", "metric": metric, "normaliser": "mm",
         "mean": 2.0 * seed, "n": 3}
        for seed in (0, 1) for metric in ("neck-error -2", "completed-rim-roughness +1", "exact")
    ]  # fmt: skip
    columns = ["study", "cell", "edge", "seed", "samples", "seconds", "device", "commit"]
    columns += ["test_set", "metric", "normaliser", "mean", "n"]
    found = tables.ring_curves(pd.DataFrame(rows, columns=columns), "edge")
    assert found.to_dict("records") == [
        {"edge": "hard", "completed": False, "region": "neck", "measure": "error", "ring": -2, "mean": 1.0},
        {"edge": "hard", "completed": True, "region": "rim", "measure": "roughness", "ring": 1, "mean": 1.0},
    ]


def test_one_to_three_kinds_of_noise_for_every_photo():
    """Grey photos: Gaussian noise moves all pixels, a black box some; each in two photos of three."""
    plain = Combined(boxes=1.0, box_count=(1, 1), noise=0.05, uniform_noise=(1.0, 0.1), kinds=(1, 3))
    photos = torch.full((600, 3, 24, 24), 0.5)
    out = augment_colour(photos, torch.Generator().manual_seed(0), plain)
    flat = out.flatten(2)
    moved = (flat != 0.5).any(dim=1)
    gaussian = moved.float().mean(dim=1) > 0.95
    black = (flat == 0).all(dim=1).float().mean(dim=1) > 0.002
    assert moved.any(dim=1).float().mean() > 0.97  # rarely, no pixel is drawn
    for share in (gaussian, black):  # two of three on average
        assert 0.55 < float(share.float().mean()) < 0.75
    only = Combined(noise=0.05, uniform_noise=(1.0, 0.1), box_count=(1, 1), kinds=(3, 3))
    every = augment_colour(photos[:50], torch.Generator().manual_seed(1), only).flatten(2)
    assert ((every != 0.5).any(dim=1).float().mean(dim=1) > 0.9).float().mean() > 0.9
    preset = Augmentation.preset("residual")
    from dataclasses import asdict

    assert from_values(asdict(preset)) == preset
    assert type(from_values(asdict(Augmentation.preset("prn")))) is Augmentation
