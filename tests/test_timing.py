"""Timings: a row for each step, counts that add up. No time is asserted."""

import pytest
import torch
from tiny_people import atelier, studio

from facet.synthetic import timing

pytestmark = pytest.mark.assets


def test_speed_has_a_row_for_each_step():
    pytest.importorskip("open3d")
    rows = timing.speed_rows(atelier(), studio(), 32, repeats=1)
    assert [row["step"] for row in rows] == [
        "position map",
        "picture, first generation",
        "picture",
        "ground truth pack",
        "picture and pack",
        "bare geometry, our rasteriser",
        "bare geometry, open3d's ray caster",
    ]
    for row in rows:
        assert row["ms"] > 0
        assert row["ms"] * row["images_per_second"] == pytest.approx(1000)
        assert (row["size"], row["threads"]) == (32, torch.get_num_threads())
        assert (row["cpu_ms"] is None) == row["step"].startswith("bare geometry")


def test_six_people_from_six_sides():
    cast, shots = timing.six(atelier(), 32)
    assert shots.views.yaw.tolist() == [-75, -45, -15, 15, 45, 75]
    assert len(cast) == 6


def test_medians_are_of_one_picture(monkeypatch):
    clock = iter([0.0, 0.6, 1.0, 7.0, 7.0, 8.2])  # seconds: 0.6, 6 and 1.2 for six pictures
    monkeypatch.setattr(timing.time, "perf_counter", lambda: next(clock))
    calls = []
    times = timing._timed(3, lambda: calls.append(1))
    assert times[:, 0].tolist() == pytest.approx([100, 1000, 200])
    assert times.quantile(0.5, dim=0)[0] == pytest.approx(200)
    assert len(calls) == 4  # one to warm up


@pytest.mark.slow
def test_processes_share_the_work():
    row = timing.shared_row(32, workers=2, repeats=1)
    assert row["step"] == "picture and pack, 2 processes"
    assert row["threads"] == 2
    assert row["ms"] * row["images_per_second"] == pytest.approx(1000)
