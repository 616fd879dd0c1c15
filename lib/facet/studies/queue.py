"""A study: many trainings in one queue that may be stopped, killed, called again and shared by processes.

A finished cell is one JSON file, `reports/studies/<study>/<cell>.json`. An unfinished one is a folder under
`data/cache/studies/<study>` with its checkpoint, which goes when its record is there; a record of another
configuration is stale, and its cell is trained anew. Weights are not kept.
"""

import json
import re
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from facet import provenance
from facet.deadline import Deadline, OutOfTime
from facet.files import write_json, write_text
from facet.locks import claimed, holder
from facet.paths import CACHE, REPORTS
from facet.training.weights import configuration_hash

STATES = ("finished", "stale", "started", "waiting")
SPENT = "seconds"  # file of a cell's folder: how long it has been worked at in earlier calls


@dataclass(frozen=True)
class Cell:
    """One run of a study, described completely by plain values: equal cells give equal scores.

    Attributes:
        name: of its record; lower-case letters, digits, dashes.
        varied: what distinguishes it within its study, seed included: columns of the study's table.
        configuration: everything that decides its result.
    """

    name: str
    varied: Mapping[str, object]
    configuration: Mapping[str, object]

    def __post_init__(self):
        if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", self.name):
            raise ValueError(
                f"a cell's name has lower-case letters, digits and dashes only, got {self.name!r}"
            )

    @property
    def hash(self) -> str:
        """Sixteen hexadecimal digits that a record has in common with its cell."""
        return configuration_hash({"varied": self.varied, "configuration": self.configuration})


@dataclass(frozen=True, kw_only=True)
class Session(Deadline):
    """What a run of a cell is given beside its description, and until when.

    Attributes:
        folder: for its checkpoint; what is in it survives until the cell's record is written.
        device: "cpu" or "cuda"; workers: processes that render people.
        say: is told the progress, or None.
    """

    folder: Path
    device: str = "cpu"
    workers: int = 1
    say: Callable[[str], None] | None = None

    def tell(self, text: str) -> None:
        """Say it where somebody listens."""
        if self.say is not None:
            self.say(text)

    def step(self, text: str) -> None:
        """Tell a piece of work that is done, and stop there when the time is over: to hand on as a `say`.

        Raises:
            OutOfTime: the time is over.
        """
        self.tell(text)
        self.check()

    def shards(self, what: str) -> Callable[[int, int], None]:
        """What a data set tells (`open_pictures`), handed on to `step`."""
        return lambda done, shards: self.step(f"{what}: {done} of {shards} shards")


@dataclass(frozen=True)
class Study:
    """Cells in the order in which they are run.

    Attributes:
        title: its question, in one sentence.
        run_cell: runs a cell to its end and returns its entries of the record, plain values: `scores` (a list
            of mappings, each a row of the study's table) and what else there is to say. Called again with the
            same folder it goes on. Raises OutOfTime when the session's time is over.
        minutes: that one cell takes, until records tell.
    """

    name: str
    title: str
    cells: tuple[Cell, ...]
    run_cell: Callable[[Cell, Session], Mapping[str, object]]
    minutes: float

    def cell(self, name: str) -> Cell:
        """A cell by its name.

        Raises:
            ValueError: there is none; the message lists those there are.
        """
        for cell in self.cells:
            if cell.name == name:
                return cell
        known = ", ".join(cell.name for cell in self.cells)
        raise ValueError(f"the study {self.name} has no cell {name!r}; there are {known}")


def run(
    study: Study,
    *,
    minutes: float | None = None,
    only: str | None = None,
    seed: int | None = None,
    workers: int = 1,
    device: str = "auto",
    say: Callable[[str], None] | None = None,
    reports: Path = REPORTS,
    cache: Path = CACHE,
) -> list[str]:
    """Run the cells that have no record yet, one after another.

    Args:
        minutes: stop cleanly after this time, in the middle of a cell too; the next call goes on there.
        only: name of the one cell to run; seed: of the cells to run, None for all.
        device: "auto", "cpu" or "cuda".

    Returns:
        Names of the cells that are not finished: for want of time, or because another process is at them.

    Raises:
        ValueError: there is no such cell, or none of that seed.
        FloatingPointError: cells diverged; the others have been run.
    """
    cells = [study.cell(only)] if only else study.cells
    if seed is not None:
        cells = _of_seed(study, cells, seed)
    device = _device(device)
    deadline = Deadline.after(minutes)
    diverged = {}
    for cell in cells:
        if deadline.minutes == 0:
            break
        if state(study, cell, reports=reports, cache=cache) == "finished":
            continue
        about = {"folder": _folder(study, cell, cache), "device": device, "workers": workers, "say": say}
        session = Session(stop_at=deadline.stop_at, **about)
        lock = session.folder.with_name(f"{cell.name}.lock")
        with claimed(lock) as mine:
            if not mine:
                session.tell(f"{study.name} {cell.name}: process {holder(lock) or 'unknown'} is at it")
                continue
            if state(study, cell, reports=reports, cache=cache) == "finished":  # meanwhile
                continue
            try:
                _run(study, cell, session, reports)
            except OutOfTime:
                break
            except FloatingPointError as error:
                diverged[cell.name] = error
    if diverged:
        reasons = "; ".join(f"{name}: {error}" for name, error in diverged.items())
        raise FloatingPointError(f"cells of {study.name} have no record ({reasons})")
    return [c.name for c in cells if state(study, c, reports=reports, cache=cache) != "finished"]


def _of_seed(study: Study, cells: Sequence[Cell], seed: int) -> list[Cell]:
    found = [cell for cell in cells if cell.varied.get("seed") == seed]
    if not found:
        seeds = ", ".join(sorted({str(cell.varied.get("seed", "none")) for cell in cells}))
        raise ValueError(f"{study.name}: no cell that is asked for has seed {seed}; their seeds: {seeds}")
    return found


def state(study: Study, cell: Cell, *, reports: Path = REPORTS, cache: Path = CACHE) -> str:
    """One of STATES; "stale" is a record of another configuration with nothing begun since."""
    record = read(study, cell, reports=reports)
    if record and record["hash"] == cell.hash:
        return "finished"
    if _folder(study, cell, cache).is_dir():
        return "started"
    return "stale" if record else "waiting"


def read(study: Study, cell: Cell, *, reports: Path = REPORTS) -> dict[str, object] | None:
    """The record under a cell's name, be it stale or not; None where there is none.

    Raises:
        ValueError: the file is no record.
    """
    path = record_path(study, cell, reports)
    if not path.is_file():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return {**record, "hash": record["hash"]}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no record of a study: remove it, and its cell is run again") from error


def record_path(study: Study, cell: Cell, reports: Path = REPORTS) -> Path:
    """Where a cell's record lies."""
    return Path(reports) / "studies" / study.name / f"{cell.name}.json"


def _run(study: Study, cell: Cell, session: Session, reports: Path) -> None:
    """Run one cell; its record is written last, and then its folder goes."""
    for old in session.folder.parent.glob(f"{cell.name}-{'[0-9a-f]' * 16}"):
        if old != session.folder:
            shutil.rmtree(old)  # of a configuration that is no more
    session.folder.mkdir(parents=True, exist_ok=True)
    spent = session.folder / SPENT
    before, began = float(spent.read_text()) if spent.is_file() else 0.0, time.monotonic()
    session.tell(f"{study.name} {cell.name}: {'goes on' if spent.is_file() else 'begins'}")
    try:
        entries = study.run_cell(cell, session)
    finally:
        seconds = before + time.monotonic() - began
        write_text(spent, f"{seconds:.1f}")
    about = {"study": study.name, "cell": cell.name, "hash": cell.hash, "varied": dict(cell.varied)}
    about |= {"configuration": dict(cell.configuration), "seconds": round(seconds, 1)}
    about |= {"device": session.device, "machine": provenance.machine(session.device)}
    about |= {"commit": provenance.commit(), "versions": provenance.versions()}
    about |= {"date": datetime.now(UTC).date().isoformat()}
    write_json(record_path(study, cell, reports), {**about, **entries})
    shutil.rmtree(session.folder)
    session.tell(f"{study.name} {cell.name}: finished after {seconds / 60:.0f} min")


def _device(name: str) -> str:
    import torch

    return ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name


def _folder(study: Study, cell: Cell, cache: Path) -> Path:
    return Path(cache) / "studies" / study.name / f"{cell.name}-{cell.hash}"
