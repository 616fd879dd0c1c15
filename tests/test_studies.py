"""Studies: queues that may be killed, stopped and shared, and records that fit their cells."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import study_run
import torch
from study_run import NAMES, STEPS, steps, toy

from facet import deadline
from facet.files import write_json
from facet.locks import claimed, holder
from facet.studies import (
    Cell,
    OutOfTime,
    overview,
    queue,
    record_path,
    run,
    state,
    summary,
    table,
)
from facet.studies.tables import grid

NOTHING = -1.0  # in the place of no number, which equals nothing


@pytest.fixture
def where(tmp_path):
    """Folders of records and checkpoints."""
    return {"reports": tmp_path / "reports", "cache": tmp_path / "cache"}


def left_over(where) -> list[str]:
    """What lies beside the records: folders of cells, locks, temporary files."""
    folder = where["cache"] / "studies" / "toy"
    return sorted(p.name for p in folder.iterdir() if p.suffix != ".lock")


def stored(where, name="one") -> dict:
    return json.loads((where["reports"] / "studies" / "toy" / f"{name}.json").read_text(encoding="utf-8"))


def start(root: Path, pace: float) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, study_run.__file__, str(root), str(pace)])


def lines(root: Path) -> list[tuple[str, int]]:
    log = root / "log"
    text = log.read_text(encoding="utf-8") if log.is_file() else ""
    return [(line.split()[0], int(line.split()[1])) for line in text.splitlines()]


# The queue.


def test_cells_are_run_in_order_and_once(where, tmp_path):
    study = toy(steps(tmp_path / "log"))
    assert [state(study, cell, **where) for cell in study.cells] == ["waiting"] * 3
    assert run(study, **where) == []
    everything = [(name, step) for name in NAMES for step in range(STEPS)]
    assert lines(tmp_path) == everything
    assert run(study, **where) == []
    assert lines(tmp_path) == everything, "a finished cell was run again"
    assert left_over(where) == []
    record = stored(where)
    assert record["hash"] == study.cells[0].hash
    assert record["varied"] == {"which": "one", "seed": 0}
    assert record["configuration"] == {"value": 1.0}
    assert [score["mean"] for score in record["scores"]] == [1.0]
    assert {"seconds", "device", "machine", "versions", "commit", "date", "samples"} <= set(record)
    assert record["versions"]["torch"] == torch.__version__


def test_only_one_cell(where):
    study = toy(steps())
    assert run(study, only="two", **where) == []
    assert [state(study, cell, **where) for cell in study.cells] == ["waiting", "finished", "waiting"]
    with pytest.raises(ValueError, match="the study toy has no cell 'four'; there are one, two, three"):
        run(study, only="four", **where)
    with pytest.raises(ValueError, match="toy: no cell that is asked for has seed 77; their seeds: 0"):
        run(study, seed=77, **where)


def test_a_killed_queue_goes_on_where_it_was(where, tmp_path):
    """A real process, killed in the middle of the second cell; its number stays in the lock file."""
    process = start(tmp_path, 0.15)
    deadline = time.monotonic() + 120
    while ("two", 1) not in lines(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    study = toy(steps(tmp_path / "log"))
    assert [state(study, cell, **where) for cell in study.cells] == ["finished", "started", "waiting"]
    lock = where["cache"] / "studies" / "toy" / "two.lock"
    assert holder(lock) == process.pid
    before = stored(where)
    assert run(study, **where) == []
    assert lines(tmp_path)[: STEPS + 2] == [("one", s) for s in range(STEPS)] + [("two", 0), ("two", 1)]
    again = [step for name, step in lines(tmp_path)[STEPS + 2 :] if name == "two"]
    assert again in ([2, 3], [1, 2, 3])  # a step may have been killed before its checkpoint
    assert stored(where) == before
    assert holder(lock) is None
    assert left_over(where) == []


def test_two_processes_do_no_cell_twice(where, tmp_path):
    processes = [start(tmp_path, 0.1) for _ in range(2)]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    assert sorted(lines(tmp_path)) == sorted((name, step) for name in NAMES for step in range(STEPS))


def test_a_held_cell_is_passed_over_and_a_stale_lock_is_not(where):
    study, told = toy(steps()), []
    home = where["cache"] / "studies" / "toy"
    home.mkdir(parents=True)
    (home / "two.lock").write_text("999999999\n")  # nobody's
    with claimed(home / "one.lock") as mine:
        assert mine
        assert run(study, say=told.append, **where) == ["one"]
    assert f"toy one: process {os.getpid()} is at it" in told
    assert [state(study, cell, **where) for cell in study.cells] == ["waiting", "finished", "finished"]
    assert run(study, **where) == []


def test_a_cell_finished_meanwhile_is_not_run(where, monkeypatch):
    """Between the look at the record and the lock another process finished: the record is looked at again."""
    calls = []
    study = toy(lambda cell, session: calls.append(cell.name) or {"scores": []})
    answers = iter(["waiting", "finished"])
    monkeypatch.setattr(queue, "state", lambda *a, **k: next(answers, "finished"))
    run(study, only="one", **where)
    assert calls == []


def test_a_stale_record_is_replaced_when_the_new_one_is_there(where):
    run(toy(steps()), **where)
    seen = []

    def watched(cell, session):
        seen.append(stored(where, cell.name)["scores"][0]["mean"])
        return steps()(cell, session)

    other = toy(watched, value=2.0)
    assert [state(other, cell, **where) for cell in other.cells] == ["stale"] * 3
    assert table(other, reports=where["reports"]).empty
    assert run(other, **where) == []
    assert seen == [1.0] * 3
    assert stored(where)["scores"][0]["mean"] == 2.0
    assert stored(where)["hash"] == other.cells[0].hash


def test_a_checkpoint_of_another_configuration_goes(where):
    def stops(cell, session):
        (session.folder / "step").write_text("3")
        raise OutOfTime

    old, new = toy(stops), toy(steps(), value=2.0)
    run(old, **where)
    (kept,) = left_over(where)
    assert kept == f"one-{old.cells[0].hash}"
    assert state(new, new.cells[0], **where) == "waiting"
    run(new, **where)
    assert left_over(where) == []


def test_time_runs_out_and_the_next_call_goes_on(where, tmp_path, monkeypatch):
    """By a clock of the test's own: every step takes a minute."""
    now = [1000.0]
    clock = SimpleNamespace(monotonic=lambda: now[0])
    for module in (queue, deadline):
        monkeypatch.setattr(module, "time", clock)
    study = toy(steps(tmp_path / "log", lambda: now.__setitem__(0, now[0] + 60)))
    assert run(study, minutes=1.5, **where) == list(NAMES)
    assert lines(tmp_path) == [("one", 0), ("one", 1)]
    assert state(study, study.cells[0], **where) == "started"
    assert run(study, minutes=5.5, **where) == ["two", "three"]
    assert lines(tmp_path)[2:] == [("one", 2), ("one", 3), *(("two", s) for s in range(STEPS))]
    assert stored(where)["seconds"] == 60 * STEPS  # all slices together
    assert run(study, minutes=0, **where) == ["two", "three"]
    assert run(study, **where) == []
    assert lines(tmp_path)[2 + 2 + STEPS :] == [("three", s) for s in range(STEPS)]


WRONG = {"object": {"scores": object()}, "set": {"scores": [], "what": {1, 2}}}


@pytest.mark.parametrize("entries", WRONG.values(), ids=list(WRONG))
def test_a_record_that_cannot_be_written_leaves_the_old_one(where, entries):
    run(toy(steps()), **where)
    before = stored(where)
    with pytest.raises(TypeError):
        run(toy(lambda cell, session: entries, value=2.0), **where)
    assert stored(where) == before
    names = sorted(p.name for p in (where["reports"] / "studies" / "toy").iterdir())
    assert names == sorted(f"{name}.json" for name in NAMES)


def test_an_error_ends_the_queue_and_lets_go_of_the_cell(where):
    def breaks(cell, session):
        raise RuntimeError("no disk")

    with pytest.raises(RuntimeError, match="no disk"):
        run(toy(breaks), **where)
    assert run(toy(steps()), **where) == []


def test_the_others_do_not_wait_for_a_cell_that_diverges(where):
    def diverges(cell, session):
        if cell.name == "one":
            raise FloatingPointError("training diverged before step 7")
        return steps()(cell, session)

    study = toy(diverges)
    with pytest.raises(FloatingPointError, match=r"cells of toy have no record \(one: training diverged"):
        run(study, **where)
    assert [state(study, cell, **where) for cell in study.cells] == ["started", "finished", "finished"]


def test_a_broken_record_is_named(where):
    study = toy(steps())
    path = record_path(study, study.cells[0], where["reports"])
    path.parent.mkdir(parents=True)
    for text in ("{", "[]", '{"cell": "one"}'):
        path.write_text(text)
        with pytest.raises(ValueError, match=r"one\.json is no record of a study"):
            run(study, **where)


def test_cells_are_named_and_hashed_by_plain_values():
    cell = Cell("a-1", {"seed": 0}, {"x": (1, 2)})
    assert cell.hash == Cell("b", {"seed": 0}, {"x": [1, 2]}).hash
    assert len({cell.hash, replace(cell, varied={"seed": 1}).hash, replace(cell, configuration={}).hash}) == 3
    for name in ("", "A", "a b", "../a", "a-", "a.json"):
        with pytest.raises(ValueError, match="lower-case letters, digits and dashes"):
            Cell(name, {}, {})


def test_records_become_a_table_and_an_overview(where):
    study = toy(steps())
    assert overview(study, **where).startswith("toy: 0 of 3 cells; about 9 min left at 3 min a cell\n")
    run(study, only="two", **where)
    frame = table(study, reports=where["reports"])
    assert frame[["study", "cell", "which", "seed", "samples", "test_set", "mean", "n"]].values.tolist() == [
        ["toy", "two", "two", 0, STEPS, "toy", 1.0, 1]
    ]
    path = record_path(study, study.cells[1], where["reports"])
    path.write_text(json.dumps({**stored(where, "two"), "seconds": 7200.0}))
    assert "toy: 1 of 3 cells; about 4.0 h left at 120 min a cell" in overview(study, **where)
    run(study, **where)
    assert overview(study, **where).startswith("toy: 3 of 3 cells\n")


def test_an_overview_counts_the_pictures_that_are_left(where):
    """Two cells of 1,000 pictures: one found its weights and was scored in 60 s, one trained for 500 s."""
    budgets = {"found": 1000, "trained": 1000, "longer": 4000, "longest": 8000}
    cells = tuple(
        Cell(name, {"which": name, "seed": 0}, {"recipe": {"steps": count // 8, "batch": 8}})
        for name, count in budgets.items()
    )
    study = queue.Study("toy", "?", cells, steps(), minutes=3)
    for cell, seconds, training in zip(cells, (60.0, 540.0), (700.0, 500.0), strict=False):
        about = {"hash": cell.hash, "seconds": seconds, "samples": 1000, "history": {"seconds": training}}
        write_json(record_path(study, cell, where["reports"]), about)
    # 12,000 pictures at 0.6 s, and twice the 50 s that scores took
    assert "2 of 4 cells; about 2.0 h left at 61 min a cell" in overview(study, **where)


def test_seeds_with_other_counts_are_one_row():
    """Of 27 photos one seed's network gave no volume for one: the mean is over both, n the smaller."""
    columns = ["study", "cell", "which", "seed", "samples", "seconds", "device", "commit"]
    columns += ["test_set", "metric", "normaliser", "mean", "n"]
    rows = [
        ["s", f"a-{seed}", "a", seed, 80, 9.0, "cpu", "c", "people", "exact", "mm", value, n]
        for seed, value, n in ((0, 3.0, 270), (1, 4.0, 269))
    ]
    found = pd.DataFrame(rows, columns=columns)
    assert summary(found)[["n", "seeds", "mean", "spread"]].values.tolist() == [[269, 2, 3.5, 1.0]]
    assert grid(found, ("exact", "mm"), rows="which", test_set="people").to_numpy().tolist() == [
        ["3.50 ± 0.50"]
    ]


def test_a_summary_is_over_seeds():
    columns = ["study", "cell", "without", "seed", "samples", "seconds", "device", "commit"]
    columns += ["test_set", "metric", "normaliser", "mean", "n"]
    rows = [
        ["s", f"{group}-{seed}", group, seed, 80, 9.0, "cpu", "c", "people", metric, "mm", value, 100]
        for group, seed, metric, value in (
            *(("nothing", 0, "exact", 3.0), ("nothing", 1, "exact", 4.0), ("nothing", 0, "depth", 2.0)),
            *(("hair", 0, "exact", 5.0), ("hair", 1, "exact", 5.5)),
        )
    ]
    found = summary(pd.DataFrame(rows, columns=columns))
    assert list(found) == [
        *("without", "samples", "test_set", "metric", "normaliser", "n"),
        *("seeds", "mean", "spread"),
    ]
    shown = found[["without", "metric", "seeds", "mean", "spread"]].fillna({"spread": NOTHING})
    assert shown.values.tolist() == [
        ["nothing", "exact", 2, 3.5, 1.0],
        ["nothing", "depth", 1, 2.0, NOTHING],
        ["hair", "exact", 2, 5.25, 0.5],
    ]
    assert summary(pd.DataFrame(columns=columns)).empty
    twice = pd.DataFrame(rows[:1] * 2, columns=columns).assign(read=["bare", "smoothed"])
    assert summary(twice)["seeds"].tolist() == [1, 1]  # two readings of one network are not two seeds
