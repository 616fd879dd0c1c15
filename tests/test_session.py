"""Photo sessions: pictures as data sets have them, every stored number explained, counts that add up."""

import pytest
import torch
from tiny_people import studio, tiny

from facet.synthetic import session
from facet.synthetic.dataset import draw_shard, read_bank
from facet.synthetic.poses import Poses
from facet.synthetic.subjects import Subjects, Views, draw_subjects


@pytest.fixture(scope="module")
def subjects():
    generator = torch.Generator().manual_seed(1)
    return draw_subjects(generator, studio().model, read_bank("train"), torch.arange(2))


def grid(*yaws):
    yaw = torch.tensor(yaws).float().expand(2, -1)
    return Poses(yaw, torch.zeros_like(yaw), torch.zeros_like(yaw))


def test_photographs_are_seeded_and_hold_what_is_fixed(subjects):
    light = torch.zeros(9, 3)
    light[0] = 0.8
    options = {"size": 64, "seed": 3, "background": 7, "sh": light}
    one, views = session.photograph(studio(), subjects, grid(0, 40), **options)
    two, _ = session.photograph(studio(), subjects, grid(0, 40), **options)
    assert one.shape == (4, 3, 64, 64)
    assert torch.equal(one, two)
    assert views.background.tolist() == [7] * 4
    assert torch.equal(views.sh[3], light)
    assert views.subject.tolist() == [0, 0, 1, 1]
    assert views.yaw.tolist() == [0, 40, 0, 40]
    assert (one[0] == one[2]).all(dim=0).float().mean() > 0.05  # one background behind two people
    with pytest.raises(ValueError, match="views have no 'sun'"):
        session.photograph(studio(), subjects, grid(0), size=64, sun=1)


def test_every_stored_parameter_is_explained(subjects):
    _, views = draw_shard(tiny(), 0, studio())
    rows = session.parameter_rows(subjects, views)
    named = [row["name"] for row in rows]
    assert named == [*Subjects.__dataclass_fields__, *Views.__dataclass_fields__]
    assert set(named) == set(session.MEANING)
    numbers = {row["name"]: row["numbers"] for row in rows}
    assert (numbers["alpha_exp"], numbers["sh"], numbers["yaw"]) == (52, 27, 1)
    assert all(row["meaning"] and row["example"] for row in rows)


def test_demographics_count_everybody():
    rows = {row["split"]: row for row in session.demographic_rows()}
    assert [rows[s]["people"] for s in ("train", "validation", "test")] == [20_000, 300, 250]
    for row in rows.values():
        assert row["african %"] + row["asian %"] + row["caucasian %"] == pytest.approx(100, abs=1e-3)
        assert 18 <= row["youngest"] < row["median age"] < row["oldest"] <= 80
        assert 40 < row["female %"] < 60
    assert rows["test"]["skins"] >= rows["train"]["skins"]


def test_speed_has_a_row_for_each_step():
    rows = session.speed_rows(studio(), (64,), people=1, repeats=1)
    assert [row["step"] for row in rows] == [
        *("draw", "render", "true vertices", "position maps", "batch of pairs", "all")
    ]
    for row in rows:
        assert row["ms"] * row["images_per_second"] == pytest.approx(1000)
        assert row["cpu_ms"] > 0
        assert row["threads"] == torch.get_num_threads()
        assert (row["size"], row["window"]) == (64, 80)
