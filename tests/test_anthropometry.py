"""Measures of named points by hand, and tables that add up."""

import numpy as np
import pytest
import torch

from facet.face_model import load
from facet.synthetic.anthropometry import (
    MEASURES,
    check,
    demographics,
    measures,
    point_vertices,
    points,
    typology_angle,
)
from facet.synthetic.dataset import read_bank


def test_measures_are_distances():
    names = sorted({end for m in MEASURES.values() for end in m.ends})
    found = {name: torch.zeros(2, 3) for name in names}
    found["left alare"] = torch.tensor([[3.0, 4.0, 0.0], [0.0, 0.0, -7.0]])
    found["nasion"] = torch.tensor([[0.0, 2.0, 1.0], [0.0, 5.0, 12.0]])
    found["gnathion"] = torch.tensor([[0.0, -4.0, 4.0], [0.0, 0.0, 0.0]])
    values = measures(found)
    assert list(values) == list(MEASURES)
    assert values["nose width"].tolist() == [5, 7]
    assert values["face height"].tolist() == pytest.approx([45**0.5, 13])
    assert values["nose height"].tolist() == pytest.approx([5**0.5, 13])
    assert values["pupils"].tolist() == [0, 0]


def test_published_figures_are_plausible():
    for name, measure in MEASURES.items():
        for mean, sd in (measure.men, measure.women):
            assert 0.03 < sd / mean < 0.3, name
        assert measure.men[0] > measure.women[0], name


def test_demographics_by_hand():
    bank = {
        "years": torch.tensor([18.0, 29.9, 30.0, 80.0]),
        "gender": torch.tensor([0.1, 0.9, 1.0, 0.8]),
        "ancestry": torch.tensor([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.1, 0.6, 0.3], [0.3, 0.3, 0.4]]),
    }
    rows = {(row["what"], row["value"]): row for row in demographics(bank)}
    people = {key: row["people"] for key, row in rows.items()}
    assert people["gender", "men"] == 1
    assert people["gender", "women"] == 3
    assert [people["age", v] for v in ("18 to 29", "30 to 39", "70 to 80")] == [2, 1, 1]
    assert [people["ancestry", v] for v in ("african", "asian", "caucasian")] == [1, 2, 1]
    assert rows["gender", "women"]["deviation"] == pytest.approx(0.25)
    assert rows["age", "30 to 39"]["expected"] == pytest.approx(10 / 62)


def test_skin_tones_are_counted_where_they_are_known():
    some = {"years": torch.tensor([20.0, 40.0, 60.0, 70.0]), "gender": torch.zeros(4)}
    some["ancestry"] = torch.eye(3)[[0, 1, 2, 2]]
    assert not [row for row in demographics(some) if row["what"] == "skin tone"]
    some["melanin"] = torch.tensor([0.0, 0.2, 0.3, 1.0])  # 60°, 36°, 24°, −60°
    rows = {row["value"]: row for row in demographics(some) if row["what"] == "skin tone"}
    assert [row["people"] for row in rows.values()] == [1, 0, 1, 1, 0, 1]
    assert list(rows) == ["dark", "brown", "tan", "intermediate", "light", "very light"]
    assert rows["tan"]["deviation"] == pytest.approx(1 / 4 - 1 / 6)


def test_typology_angle_is_that_of_the_painted_tone():
    """ITA = atan((L* − 50) / b*) of the colour that a melanin gives."""
    from facet.synthetic.skin_paint import to_lab, tone

    melanin = torch.linspace(0, 1, 21)
    lab = to_lab(tone(melanin, torch.zeros(21), torch.zeros(21)))
    angle = torch.rad2deg(torch.atan2(lab[:, 0] - 50, lab[:, 2]))
    torch.testing.assert_close(typology_angle(melanin), angle, atol=0.01, rtol=0)


@pytest.mark.assets
def test_demographics_of_the_bank_add_up():
    rows = demographics(read_bank("train"), 10_000)
    for what in ("gender", "age", "ancestry"):
        some = [row for row in rows if row["what"] == what]
        assert sum(row["people"] for row in some) == 10_000
        assert sum(row["share"] for row in some) == pytest.approx(1)
        assert sum(row["expected"] for row in some) == pytest.approx(1)
        assert max(abs(row["deviation"]) for row in some) < 0.02


@pytest.mark.assets
def test_points_are_vertices_of_the_patch():
    model, alpha_id = load(), read_bank("train")["alpha_id"][:5].float()
    found, face = points(model, alpha_id), model.blend(alpha_id)
    for name, vertex in point_vertices(model).items():
        torch.testing.assert_close(found[name], face[:, vertex], atol=2e-3, rtol=0)
    corners = (face[:, model.landmarks[36]] + face[:, model.landmarks[39]]) / 2
    torch.testing.assert_close(found["right pupil"], corners, atol=2e-3, rtol=0)


@pytest.mark.assets
def test_points_lie_where_their_names_say():
    model = load()
    place = {name: model.mean[vertex].numpy() for name, vertex in point_vertices(model).items()}
    for name, left in place.items():
        if name.startswith("left"):
            assert left[0] > 5
            np.testing.assert_allclose(place[name.replace("left", "right")], left * [-1, 1, 1], atol=0.05)
    for name in ("nasion", "gnathion", "subnasale", "pronasale"):
        assert abs(place[name][0]) < 0.01
    assert place["nasion"][1] > place["left endocanthion"][1] + 4
    assert place["gnathion"][1] < model.mean[model.landmarks[8], 1]
    assert place["left zygion"][0] > place["left gonion"][0] > place["left exocanthion"][0]
    wing = (model.mean[:, 1] - place["left alare"][1]).abs() < 1  # beyond the wing the cheek lies deeper
    beside = model.mean[wing & (model.mean[:, 0] > place["left alare"][0] + 2)]
    assert beside[:, 2].max() < place["left alare"][2]


@pytest.mark.assets
def test_the_table_compares_with_what_was_published():
    model, bank = load(), read_bank("train")
    rows = check(model, bank, 400)
    assert len(rows) == 2 * len(MEASURES)
    face = model.blend(bank["alpha_id"][:400].float())[:, model.landmarks]
    men = (bank["gender"][:400] <= 0.5).numpy()
    mouth = np.linalg.norm((face[:, 48] - face[:, 54]).numpy(), axis=1)[men]
    row = next(r for r in rows if (r["measure"], r["gender"]) == ("mouth width", "men"))
    mean, sd = MEASURES["mouth width"].men
    assert row["people"] == men.sum()
    assert row["mean"] == pytest.approx(mouth.mean(), abs=1e-3)
    assert row["sd"] == pytest.approx(mouth.std(ddof=1), abs=1e-3)
    assert row["shift"] == pytest.approx((mouth.mean() - mean) / sd, abs=1e-3)
    assert row["within"] == pytest.approx((abs(mouth - mean) < 3 * sd).mean(), abs=1e-6)
    shape = check(model, bank, 400, size_free=True)
    spread = [sorted(r["spread"] for r in table)[len(rows) // 2] for table in (rows, shape)]
    assert spread[1] < 0.8 * spread[0]


@pytest.mark.assets
def test_people_are_built_like_people():
    rows = check(load(), read_bank("train"), 4000, size_free=True)
    within = [r["within"] for r in rows if r["measure"] != "nose protrusion"]  # anny's noses are short
    assert min(within) > 0.8
    assert sum(within) / len(within) > 0.97
