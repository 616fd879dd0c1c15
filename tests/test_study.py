"""Systems scored in one and in two processes, controls of the side photo, ratios and tables at a glance."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from elsewhere import There, elsewhere

from facet import evaluation
from facet.crop import crop_image, lift
from facet.evaluation import study, tables
from facet.geometry import transform_points
from facet.networks import build

SIZE = 64


def frame(values, *, model, people, metric="exact", test_set="toy", variant="", normaliser="mm"):
    rows = pd.DataFrame({"value": values, "sample": range(len(values)), "identity": people})
    about = {"model": model, "variant": variant, "test_set": test_set, "metric": metric}
    return rows.assign(normaliser=normaliser, yaw=0.0, pitch=0.0, **about)


# Ratios and tables.


def test_ratio_is_that_of_the_means_and_its_interval_covers_it(rng):
    people = np.repeat(np.arange(60), 2)
    base = rng.uniform(1, 3, 120)
    ours = 0.7 * base + rng.normal(0, 0.05, 120)
    both = pd.concat([frame(ours, model="twoview", people=people), frame(base, model="prn", people=people)])
    row = evaluation.ratio(both, "twoview", "prn", metric="exact", normaliser="mm").iloc[0]
    assert row["ratio"] == pytest.approx(ours.mean() / base.mean(), rel=1e-12)
    assert row["low"] < row["ratio"] < row["high"]
    assert row["high"] - row["low"] < 0.02  # paired: far narrower than two intervals of means
    assert (row["n"], row["identities"]) == (120, 60)


def test_ratio_against_a_slow_loop(rng):
    people = np.array([3, 3, 5, 9, 9, 9])
    ours, base = rng.uniform(1, 2, 6), rng.uniform(1, 2, 6)
    both = pd.concat([frame(ours, model="a", people=people), frame(base, model="b", people=people)])
    shuffled = both.sample(frac=1, random_state=0)
    row = evaluation.ratio(shuffled, "a", "b", metric="exact", normaliser="mm", draws=50).iloc[0]
    drawn = torch.randint(3, (50, 3), generator=torch.Generator().manual_seed(0)).numpy()
    found = []
    for some in drawn:
        chosen = np.concatenate([np.flatnonzero(people == [3, 5, 9][k]) for k in some])
        found.append(ours[chosen].mean() / base[chosen].mean())
    np.testing.assert_allclose([row["low"], row["high"]], np.percentile(found, (2.5, 97.5)), rtol=1e-12)


def test_ratio_refuses_other_samples():
    both = pd.concat([frame([1.0, 2.0], model="a", people=[0, 1]), frame([1.0], model="b", people=[0])])
    with pytest.raises(ValueError, match="'a' and 'b' were not scored on the same samples"):
        evaluation.ratio(both, "a", "b", metric="exact", normaliser="mm")


def test_ratios_take_the_measures_that_both_have():
    people = [0, 1]
    both = pd.concat(
        [
            frame([1.0, 3.0], model="prn", variant="all-poses", people=people),
            frame([2.0, 6.0], model="prn", people=people),
            frame([9.0, 9.0], model="prn", people=people, metric="icp"),
        ]
    )
    found = tables.ratios(both, [("prn all-poses", "prn")], draws=10)
    assert found["metric"].tolist() == ["exact"]
    assert found["ratio"].tolist() == [0.5]
    grid = tables.ratio_grid(found)
    assert (grid.index.tolist(), grid.columns.tolist()) == (["prn all-poses / prn"], ["shape error (mm)"])
    assert grid.iloc[0, 0] == 0.5


def test_glance_has_a_row_a_system_and_says_n():
    both = pd.concat([frame([1.0, 3.0], model="prn", variant=v, people=[0, 1]) for v in ("", "all-poses")])
    table = tables.glance(evaluation.intervals(both, draws=200))
    assert table["system"].tolist() == ["prn", "prn all-poses"]
    assert table.columns.tolist() == ["system", "shape (mm), n = 2"]
    assert table.iloc[0, 1] == "2.00 [1.00, 3.00]"
    fewer = frame([4.0], model="coefficients", people=[0])
    table = tables.glance(evaluation.intervals(pd.concat([both, fewer]), draws=200))
    assert table.columns.tolist() == ["system", "shape (mm), n = 2"]
    assert table.iloc[2].tolist() == ["coefficients", "4.00 [4.00, 4.00], n = 1"]


def test_summary_names_the_training_images_of_each_system():
    both = pd.concat([frame([1.0, 3.0], model=name, people=[0, 1]) for name in ("mean-face", "prn")])
    systems = [study.System("mean-face"), study.System("prn", samples=640)]
    table = tables.summary(both, systems, profile="smoke", seed=0, device="cpu")
    assert table.columns.tolist() == evaluation.SUMMARY_COLUMNS
    assert dict(zip(table["model"], table["samples"], strict=True)) == {"mean-face": 0, "prn": 640}


# The side photo that a system of two photos is shown.


def people(count=3):
    """{person: two samples}: grey front and side photos whose values name person and side."""
    made = {}
    for number in range(count):
        front = torch.full((3, 2, 2), number / 10)
        made[number] = [
            {"images": torch.cat((front, torch.full((3, 2, 2), (number + 5) / 10 + place / 100)))}
            for place in range(2)
        ]
    return made


def test_controls_change_the_side_photo_and_nothing_else():
    samples, network = people(), SimpleNamespace(views=2)
    own, other, none = (
        study._shown(study.System("twoview", network=network, side=side), samples, 2, 1)["images"]
        for side in study.SIDES
    )
    assert torch.equal(own, samples[2][1]["images"])
    assert torch.equal(other[:3], own[:3])
    assert torch.equal(none[:3], own[:3])
    assert torch.equal(other[3:], samples[0][1]["images"][3:])  # the next person, from the same side
    assert (none[3:] == 0.5).all()


def test_a_person_alone_in_a_chunk_is_shown_somebody_elses_side_photo():
    """The last of six people, in chunks of five, is shown the first one's."""
    everybody, seen = people(6), []

    def score(system, samples, chosen, *, icp):
        seen.extend((number, study._shown(system, samples, number, 1)["images"][3:]) for number in chosen)
        return pd.DataFrame()

    worker = object.__new__(study._Worker)
    worker.test_set = SimpleNamespace(
        name="toy", person=everybody.get, pictures=range(6), views=((0, 1), (0, 2))
    )
    worker.systems = [study.System("twoview", network=SimpleNamespace(views=2), side="another's")]
    worker.icp_people, worker._score = 0, score
    worker("toy", range(5))
    worker("toy", range(5, 6))
    assert [number for number, _ in seen] == list(range(6))
    for (_, side), other in zip(seen, (1, 2, 3, 4, 0, 0), strict=True):
        assert torch.equal(side, everybody[other][1]["images"][3:])
    worker.test_set.pictures = range(1)
    with pytest.raises(ValueError, match="nobody else's side photo can be shown of one person"):
        worker("toy", range(1))


def test_an_unknown_side_is_refused():
    with pytest.raises(ValueError, match="'left' is not one of"):
        study._shown(study.System("twoview", network=SimpleNamespace(views=2), side="left"), people(), 0, 0)


# Bare maps and smoothed ones.


@pytest.mark.assets
@pytest.mark.parametrize("read", [study.smoothed, study.with_prior])
def test_a_system_is_read_as_reconstruct_does(read):
    from facet.face_model import load
    from facet.reconstruction import View, predict_with_flip, reconstruct_views, vertices_of_crops

    model, network = load(), build("prn", image_size=SIZE, width=0.1).eval()
    photo = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    system = read(study.System("prn", "all-poses", network))
    view = View("noise", photo, np.array([12.0, 10.0, 50.0, 52.0]), True)
    face = reconstruct_views([view], network, model, noise=system.noise)
    crop = crop_image(photo, torch.from_numpy(face.crop)[None], SIZE)
    found = vertices_of_crops(network, crop, model, noise=system.noise)
    inside = transform_points(
        lift(torch.from_numpy(face.crop)[None]).float(), torch.from_numpy(face.vertices)
    )
    torch.testing.assert_close(found, inside.view_as(found), atol=2e-3, rtol=0)
    assert system.label == f"prn all-poses {'prior' if system.noise else 'smoothed'}"
    torch.testing.assert_close(system.predictor(model, SIZE)(crop), found)
    mirrored = predict_with_flip(network, crop.flip(3)).flip(3)
    x, y, z = mirrored.unbind(dim=1)
    back = torch.stack((SIZE - 1 - x, y, z), dim=1)
    torch.testing.assert_close(back, predict_with_flip(network, crop), atol=1e-3, rtol=0)


@pytest.mark.assets
def test_a_fitted_system_is_read_as_reconstruct_does():
    from facet.face_model import compact, load
    from facet.reconstruction import by_coefficients, landmarks
    from facet.reconstruction.crops import square, to_photo

    model = load()
    options = {**compact.counts(model), "backbone": "resnet18"}
    network = build("coefficients", image_size=SIZE, width=0.1, **options).eval()
    finder = build("landmarks", image_size=SIZE, width=0.05).eval()
    photo = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    box = np.array([12.0, 10.0, 50.0, 52.0])
    matrix = square(box, SIZE)
    crop = crop_image(photo, matrix, SIZE)
    marks = to_photo(matrix, landmarks.landmarks_of_crops(finder, crop)[0])
    plain, fitted = (
        by_coefficients.fit(photo, box, network, model, landmarks=marks, refine=steps) for steps in (0, 3)
    )
    system = study.refined(study.System("coefficients", "wide", network), finder, 3)
    assert system.label == "coefficients wide refined"
    found = system.predictor(model, SIZE)(crop)[0]
    torch.testing.assert_close(found, fitted.vertices(model), atol=2e-3, rtol=0)
    assert (found - plain.vertices(model)).abs().max() > 0.1
    both = study.refined(study.System("coefficients", "wide", network), finder, 3, photos=2)
    assert (both.label, both.photos, system.photos) == ("coefficients wide two photos", 2, 1)
    shown = by_coefficients.Photo(photo, box, marks)
    wanted = by_coefficients.fit_together([shown, shown], network, model, refine=3)[0]
    found = both.predictor(model, SIZE)(torch.cat((crop, crop), dim=1).expand(6, -1, -1, -1))
    torch.testing.assert_close(found, wanted.vertices(model).expand(6, -1, -1), atol=2e-3, rtol=0)


@pytest.mark.assets
@pytest.mark.parametrize("read", [lambda system: system, study.smoothed, study.with_prior])
def test_a_network_on_another_device_answers_alike(read):
    from facet.face_model import load

    model, generator = load(), torch.Generator().manual_seed(4)
    images = torch.rand(1, 3, SIZE, SIZE, generator=generator)
    system = read(study.System("prn", network=build("prn", image_size=SIZE, width=0.1, seed=1).eval()))
    truth = model.mean[None] + 40.0
    sample = {"images": images[0], "vertices": truth[0], "scale": 1.0}
    expected, look = system.predictor(model, SIZE)(images), study.look(system, [sample], model)
    with elsewhere() as device:
        system.network.to(device)
        there = system.predictor(model, SIZE)(images)
        assert isinstance(there, There)
        torch.testing.assert_close(there.cpu(), expected, atol=1e-3, rtol=0)
        again = study.look(system, [sample], model)
    torch.testing.assert_close(again.errors, look.errors, atol=1e-3, rtol=0)


# On the frozen set.


@pytest.fixture(scope="module")
def systems():
    networks = {name: build(name, image_size=SIZE, width=0.1).eval() for name in ("mobile", "twoview")}
    return [study.System("mean-face-true-pose")] + [study.System(k, network=v) for k, v in networks.items()]


@pytest.mark.assets
@pytest.mark.slow
def test_processes_do_not_change_the_rows(systems):
    options = {"people": 7, "image_size": SIZE}
    one = study.score(systems, study.PAIRS, workers=1, **options)
    two = study.score(systems, study.PAIRS, workers=2, **options)
    pd.testing.assert_frame_equal(one, two)
    exact = one[(one["metric"] == "exact") & (one["normaliser"] == "mm")]
    assert exact["model"].drop_duplicates().tolist() == ["mean-face-true-pose", "mobile", "twoview"]
    assert (exact.groupby("model")["sample"].apply(list) == [list(range(14))] * 3).all()
    assert (exact.groupby("identity")["side"].agg(set) == {"left", "right"}).all()
    twice = exact[exact["model"] == "mobile"]["value"].to_numpy().reshape(7, 2)
    assert (twice[:, 0] == twice[:, 1]).all()  # one front photo, scored once
    assert len(np.unique(exact[exact["model"] == "twoview"]["value"])) == 14


@pytest.mark.assets
@pytest.mark.slow
def test_rows_are_those_of_evaluate(systems):
    from facet.face_model import load
    from facet.synthetic.test_sets import pairs

    model = load()
    samples = list(pairs(SIZE, 2, model=model))
    predict = evaluation.position_map_predictor(systems[2].network, model)
    with torch.no_grad():
        expected = evaluation.evaluate(predict, samples, model, test_set=study.PAIRS)
    found = study.score(systems[2:], study.PAIRS, people=2, image_size=SIZE, workers=1)
    columns = ["model", "metric", "normaliser", "sample", "identity", "yaw"]
    pd.testing.assert_frame_equal(found[columns], expected[columns])
    np.testing.assert_allclose(found["value"], expected["value"], rtol=1e-6)


@pytest.mark.assets
@pytest.mark.slow
def test_several_sets_are_scored_as_each_alone(systems):
    names = [f"{study.FRONT_2} bearded", study.FRONT_2]
    options = {"people": 6, "image_size": SIZE, "workers": 1}
    found = study.score(systems[:2], names, **options)
    alone = pd.concat([study.score([one], name, **options) for one in systems[:2] for name in names])
    pd.testing.assert_frame_equal(found, alone.reset_index(drop=True))
    exact = found[(found["metric"] == "exact") & (found["normaliser"] == "mm")]
    values = exact.set_index(["model", "test_set"])["value"]
    still, moved = (
        abs(values[model, names[0]].to_numpy() - values[model, names[1]].to_numpy()).max()
        for model in ("mean-face-true-pose", "mobile")
    )
    assert still == 0 < moved  # the same faces, other pictures of them
    with pytest.raises(ValueError, match="'synthetic-v2-front in furs' is not one of"):
        study.score(systems, [study.FRONT_2, f"{study.FRONT_2} in furs"], **options)


@pytest.mark.assets
@pytest.mark.slow
def test_two_photos_cannot_be_scored_on_one(systems):
    with pytest.raises(ValueError, match="a system of two photos cannot be scored"):
        study.score(systems, study.FLORENCE, people=1, image_size=SIZE, workers=1)
