"""A toy study as a process of its own, so that a test can kill it or run two at once.

python study_run.py FOLDER [SECONDS A STEP]
"""

import sys
import time
from pathlib import Path

from facet.studies import Cell, Session, Study, run

NAMES, STEPS = ("one", "two", "three"), 4


def steps(log: Path | None = None, pause=lambda: None):
    """A cell function of STEPS steps, each of which leaves a checkpoint; the log says which were done."""

    def run_cell(cell: Cell, session: Session) -> dict:
        kept = session.folder / "step"
        start = int(kept.read_text()) if kept.is_file() else 0
        for step in range(start, STEPS):
            pause()
            if log is not None:
                with open(log, "a", encoding="utf-8") as handle:
                    handle.write(f"{cell.name} {step}\n")
            kept.write_text(str(step + 1))
            session.check()
        value = cell.configuration["value"]
        score = {"test_set": "toy", "metric": "exact", "normaliser": "mm", "mean": value, "n": 1}
        return {"seed": 0, "samples": STEPS, "scores": [score]}

    return run_cell


def toy(run_cell, value: float = 1.0) -> Study:
    """Three cells."""
    cells = (Cell(name, {"which": name, "seed": 0}, {"value": value}) for name in NAMES)
    return Study("toy", "Does a queue keep its word?", tuple(cells), run_cell, minutes=3)


if __name__ == "__main__":
    root = Path(sys.argv[1])
    pace = float(sys.argv[2]) if len(sys.argv) > 2 else 0.0
    run(toy(steps(root / "log", lambda: time.sleep(pace))), reports=root / "reports", cache=root / "cache")
