"""Errors by group and before and after a change, against slow loops; groups as the tables say."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import tiny_people
import torch
from tiny_people import atelier, tiny

from facet import face_model, group_sheets, paths
from facet.evaluation import groups
from facet.face_model import files
from facet.rendering.shading import LUMINANCE
from facet.synthetic import dataset
from facet.synthetic.anthropometry import melanin_of
from facet.synthetic.dataset import draw_shard


def frame(values, model="prn", test_set="toy", metric="exact", normaliser="mm", samples=None):
    samples = range(len(values)) if samples is None else samples
    rows = pd.DataFrame({"value": values, "sample": samples})
    about = {"model": model, "variant": "", "test_set": test_set, "metric": metric, "normaliser": normaliser}
    return rows.assign(identity=[100 + s for s in rows["sample"]], yaw=0.0, pitch=0.0, **about)


@pytest.fixture
def rows(rng):
    base = rng.uniform(2, 4, 40)
    ours = 0.5 * base + rng.uniform(0, 1, 40)
    return pd.concat([frame(ours), frame(base, "mean-face"), frame(9 * ours, metric="depth")])


@pytest.fixture
def asked():
    answers = pd.DataFrame(
        {"skin": pd.Categorical(["dark", "light", "light", "dark"] * 10, ["light", "dark"])}
    )
    beard = pd.Categorical((["none", None, "worn", None] * 10), ["none", "worn"])
    return answers.assign(beard=beard)


# By group.


def test_groups_against_a_slow_loop(rows, asked):
    found = groups.by_group(rows, asked, ["prn", "mean-face"], baseline="mean-face", draws=50)
    assert found["group"].tolist() == ["light", "light", "dark", "dark", "none", "none", "worn", "worn"]
    ours, base = (frame_of(rows, name) for name in ("prn", "mean-face"))
    for row in found[found["model"] == "prn"].itertuples():
        answers = asked[row.question].astype(object).to_numpy()
        inside = answers == row.group
        outside = ~inside & ~pd.isna(answers)
        assert (row.n, row.metric, row.normaliser) == (inside.sum(), "exact", "mm")
        assert row.mean == pytest.approx(ours[inside].mean())
        assert row.difference == pytest.approx(ours[inside].mean() - ours[outside].mean())
        assert row.ratio == pytest.approx(ours[inside].mean() / base[inside].mean())
        assert row.low < row.mean < row.high
        assert row.difference_low < row.difference < row.difference_high
        assert row.ratio_low < row.ratio < row.ratio_high
    own = found[found["model"] == "mean-face"]
    assert (own["ratio"] == 1).all()


def frame_of(rows, model):
    chosen = rows[(rows["model"] == model) & (rows["metric"] == "exact")]
    return chosen.sort_values("sample")["value"].to_numpy()


def test_the_interval_of_a_difference_is_that_of_a_slow_bootstrap(rows, asked):
    found = groups.by_group(rows, asked[["skin"]], ["prn"], baseline="mean-face", draws=40, seed=3).iloc[0]
    ours, light = frame_of(rows, "prn"), (asked["skin"] == "light").to_numpy()
    generator = torch.Generator().manual_seed(3)
    drawn = [
        [some[row].mean() for row in torch.randint(len(some), (40, len(some)), generator=generator).numpy()]
        for some in (ours[light], ours[~light])
    ]
    expected = np.percentile(np.subtract(*drawn), (2.5, 97.5))
    np.testing.assert_allclose([found["difference_low"], found["difference_high"]], expected)


def test_a_real_difference_is_found_and_none_where_there_is_none(rng):
    values = rng.normal(3, 0.3, 400)
    skin = np.array(["light", "dark"] * 200)
    asked = pd.DataFrame({"skin": pd.Categorical(skin, ["light", "dark"])})
    for shift, differs in ((0.0, False), (0.2, True)):
        rows = pd.concat([frame(values + shift * (skin == "dark")), frame(values, "mean-face")])
        found = groups.by_group(rows, asked, ["prn"], baseline="mean-face").set_index("group")
        assert (found.loc["dark", "difference_low"] > 0) == differs
        assert (found.loc["light", "difference_high"] < 0) == differs


def test_groups_that_nobody_or_everybody_is_in_are_left_out(rows):
    asked = pd.DataFrame({"hat": pd.Categorical(["none"] * 40, ["none", "worn"])})
    assert groups.by_group(rows, asked, ["prn"], baseline="mean-face").empty


# Before and after.


def test_effects_are_ratios_on_the_same_people(rng):
    before, factor = rng.uniform(2, 4, 30), rng.uniform(1.0, 1.2, 30)
    half = 15
    rows = pd.concat(
        [
            frame(before), frame(before * factor, test_set="toy masked"),
            frame(before, "mobile"), frame((before * 2)[:half], "mobile", "toy masked"),
            frame(before, metric="depth"), frame(before, metric="depth", test_set="toy masked"),
        ]
    )  # fmt: skip
    pairs, measures = {"masked": ("toy", "toy masked")}, [("exact", "mm")]
    found = groups.before_and_after(rows, pairs, ["prn", "mobile"], measures).set_index("model")
    assert found.loc["prn", "ratio"] == pytest.approx((before * factor).mean() / before.mean())
    assert found.loc["prn", "low"] < found.loc["prn", "ratio"] < found.loc["prn", "high"]
    assert found.loc["prn", ["before", "after"]].tolist() == pytest.approx(
        [before.mean(), (before * factor).mean()]
    )
    assert (found["change"] == "masked").all()
    assert found.loc["mobile", ["ratio", "low", "high", "n"]].tolist() == pytest.approx([2, 2, 2, half])
    assert found.loc["mobile", "before"] == pytest.approx(before[:half].mean())  # of those who were scored
    both = groups.before_and_after(rows, pairs, ["prn"], [*measures, ("depth", "mm")])
    assert both["metric"].tolist() == ["exact", "depth"]
    assert both["ratio"].iloc[1] == 1


def test_a_change_of_some_people_counts_them_alone(rng):
    before = rng.uniform(2, 4, 10)
    after = before.copy()
    after[[2, 5]] *= 3
    rows = pd.concat([frame(before), frame(after, test_set="toy bearded")])
    pairs, measures = {"bearded": ("toy", "toy bearded")}, [("exact", "mm")]
    found = groups.before_and_after(rows, pairs, ["prn"], measures, among={"bearded": [2, 5, 77]}).iloc[0]
    assert (found["ratio"], found["n"]) == (pytest.approx(3), 2)
    assert groups.before_and_after(rows, pairs, ["prn"], measures, among={"bearded": []}).empty
    assert groups.before_and_after(rows, pairs, ["mobile"], measures).empty


# Figures.


def test_figures_show_every_group_and_change(rows, asked):
    found = groups.by_group(rows, asked, ["prn", "mean-face"], baseline="mean-face", draws=50)
    (axes,) = group_sheets.plot_groups(found, ["prn", "mean-face"]).axes
    names = [text.get_text() for text in axes.get_yticklabels()]
    assert names == ["skin: light (20)", "skin: dark (20)", "beard: none (10)", "beard: worn (10)"]
    assert axes.get_xlabel() == "shape error (mm), 95 % interval"
    low, high = axes.get_ylim()
    assert low > high  # the first on top
    drawn = [container[0].get_xdata() for container in axes.containers]
    for model, values in zip(("prn", "mean-face"), drawn, strict=True):
        np.testing.assert_allclose(np.asarray(values, float), found.loc[found["model"] == model, "mean"])
    pairs = {"masked": ("toy", "toy masked"), "laughing": ("toy", "toy laughing")}
    some = rows[rows["model"] == "prn"]
    every = pd.concat([some, *(some.assign(test_set=after) for _, after in pairs.values())])
    measures = (("exact", "mm"), ("depth", "mm"))
    effects = groups.before_and_after(every, pairs, ["prn"], measures)
    figure = group_sheets.plot_changes(effects, list(pairs), measures)
    assert [one.get_xlabel() for one in figure.axes] == [
        "shape error, after / before", "depth error, after / before",
    ]  # fmt: skip
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["masked", "laughing"]
    for one in figure.axes:
        np.testing.assert_allclose(np.asarray(one.containers[0][0].get_xdata(), float), [1, 1])
        np.testing.assert_allclose(np.asarray(one.containers[0][0].get_ydata(), float), [0, 1])


# Groups of real tables.


@pytest.fixture(scope="module")
def drawn():
    return draw_shard(tiny("test", "front", 60, shard=60, generation=2, jitter=True), 0, atelier())


@pytest.mark.assets
def test_groups_are_what_the_tables_say(drawn):
    cast, shots = drawn
    found = groups.of_pictures(atelier().model, cast, shots)
    assert len(found) == 60
    assert not found.drop(columns="men's beard").isna().any().any()
    women = cast.subjects.gender > 0.5
    assert found["men's beard"].isna().tolist() == women.tolist()
    assert (found["gender"] == "female").tolist() == women.tolist()
    years = cast.subjects.years.tolist()
    for age, group in zip(years, found["age"], strict=True):
        low, high = map(int, group.split(" to "))
        assert low <= age < high + 1
    key = shots.lights.colour[:, 0] @ torch.tensor(LUMINANCE)
    assert (found["light"] == "hard").tolist() == (key > groups.HARD).tolist()
    assert (found["glasses"] == "worn").tolist() == (cast.outfit.glasses >= 0).tolist()
    assert (found["camera"] == "nearer").tolist() == (shots.views.distance < groups.NEAR).tolist()


@pytest.mark.assets
def test_edges_of_groups(drawn):
    cast, shots = (bundle.rows(slice(0, 3)) for bundle in drawn)
    shots.views.subject = torch.arange(3)
    cast.subjects.years = torch.tensor([34.9, 35.0, 80.0])
    cast.skin.melanin = melanin_of(torch.tensor([9.0, 29.0, 56.0]))
    names = atelier().model.expression_names
    face = torch.zeros(3, len(names))
    face[1, names.index("mouthSmileLeft")] = 0.25
    face[2, names.index("jawOpen")] = 0.9
    face[0, names.index("eyeLookUpLeft")] = 0.9  # a gaze is no expression
    cast.subjects.alpha_exp = atelier().openings.settle(cast.subjects.alpha_id, face)
    cast.subjects.gender = torch.zeros(3)
    cast.outfit = replace(cast.outfit, beard=torch.tensor([-1, 3, -1]), moustache=torch.tensor([-1, -1, 4]))
    found = groups.of_pictures(atelier().model, cast, shots)
    assert found["age"].tolist() == ["18 to 34", "35 to 49", "65 to 80"]
    assert found["skin"].tolist() == ["dark, brown", "tan, intermediate", "light, very light"]
    assert found["face"].tolist() == ["at rest", "moving, mouth shut", "mouth open"]
    assert found["men's beard"].tolist() == ["none", "worn", "worn"]


@pytest.mark.assets
def test_a_row_is_a_picture_and_not_a_person(drawn):
    cast, shots = drawn
    order = torch.arange(59, -1, -1)
    turned = groups.of_pictures(atelier().model, cast, shots.rows(order))
    expected = groups.of_pictures(atelier().model, cast, shots).iloc[::-1].reset_index(drop=True)
    pd.testing.assert_frame_equal(turned, expected)


@pytest.mark.assets
def test_tables_are_read_back_as_they_were_drawn(tmp_path, monkeypatch):
    """The last shard is larger than the set."""
    files.ensure()
    home = tiny_people.root(tmp_path)
    monkeypatch.setenv("FACET_HOME", str(home))
    monkeypatch.setattr(paths, "CACHE", home / "data" / "cache")
    sets = [tiny("test", "front", 3, generation=2, jitter=True, change=c) for c in ("", "in glasses")]
    dataset.make_all(sets, workers=1)
    there = dataset.open_studio(2, face_model.load())
    for description in sets:
        cast, shots = dataset.read_tables(description)
        assert (len(cast), len(shots)) == (3, 3)
        assert shots.views.subject.tolist() == [0, 1, 2]
        found = {**cast.state(), **shots.state()}
        for shard, rows in ((0, slice(0, 2)), (1, slice(2, 3))):
            people, seen = draw_shard(description, shard, there)
            drawn = {**people.state(), **seen.state()}
            for name, column in drawn.items():
                if name != "views.subject":
                    assert torch.equal(found[name][rows], column[: rows.stop - rows.start]), name
