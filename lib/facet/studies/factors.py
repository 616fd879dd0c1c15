"""Which factors of the synthetic people matter? PRN trained without each of them, at equal budget.

Every network sees the same number of pictures of the same people; in each cell but the first one factor group
(`synthetic.factors`) is taken away from training and validation. All are tested on held-out people with every
factor, and, as an illustration, on the photographs that packages ship.
"""

from facet.face_model import load
from facet.studies import prn64, scores
from facet.studies.queue import Cell, Session, Study
from facet.studies.train import held_out, train
from facet.synthetic.factors import GROUPS

TITLE = "Which factors of the synthetic people matter? PRN trained without each, tested on people with all."
TEST = "synthetic-v2-front"
SEEDS = (0, 1)


def study(
    *, samples: int = 40_000, train_people: int = 2_500, validation_people: int = 150, test_people: int = 100
) -> Study:
    """The study at a budget of training pictures; all cells of a seed before those of the next."""
    counts = {"people": train_people, "validation_people": validation_people}
    cells = []
    for seed in SEEDS:
        for group in ("", *GROUPS):
            described = prn64.configuration(
                seed=seed, samples=samples, counts=counts, change=f"without {group}" if group else "",
                name=TEST, people=test_people, jitter=True,
            )  # fmt: skip
            name = f"without-{group}" if group else "all"
            varied = {"without": group or "nothing", "seed": seed}
            cells.append(Cell(f"{name}-seed{seed}", varied, described))
    return Study("factors", TITLE, tuple(cells), run_cell, minutes=10)


def run_cell(cell: Cell, session: Session) -> dict[str, object]:
    """Train and score one cell: its entries of the record."""
    described = cell.configuration
    network, history = train(described, session)
    model = load()
    samples = scores.fronts(TEST, held_out(described, session, change=""), model)
    found = scores.synthetic(network, TEST, samples, model)
    return prn64.entries(described, history, found + scores.photographs(network, model))
