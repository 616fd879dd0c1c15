"""Beards in image and target, in the image only, or not at all: an experiment that once failed, again.

A thesis (Rotation, NTNU 2021) had beards on its synthetic people and in their shapes, and suspected that this
had harmed its network; it did not try without. Here half of the people are men, and in two of three cells
every man is bearded; the targets are the surface with the beard's volume, or the bare skin below it. All are
tested on the same held-out men with beards, against either surface, and on held-out people without.
"""

from facet.face_model import load
from facet.studies import prn64, scores
from facet.studies.queue import Cell, Session, Study
from facet.studies.train import held_out, train
from facet.synthetic.beards import Beards

TITLE = "Do beards help? PRN trained with beards in image and target, in the image only, and not at all."
# cell: the change of its people, and whether the targets have the beards' volume
CELLS = {
    "image and target": ("bearded", True),
    "image only": ("bearded", False),
    "not at all": ("without beards", False),
}
SEEDS = (0, 1)
MEN, BEARDLESS = "synthetic-v2-bearded-men", "synthetic-v2-beardless"
COVERED = 0.5  # mm that a beard must stand off a vertex to cover it


def study(
    *, samples: int = 40_000, train_people: int = 2_500, validation_people: int = 150, test_people: int = 200
) -> Study:
    """The study at a budget of training pictures; all cells of a seed before those of the next."""
    counts = {"people": train_people, "validation_people": validation_people}
    cells = []
    for seed in SEEDS:
        for name, (change, beards) in CELLS.items():
            described = prn64.configuration(
                seed=seed, samples=samples, counts=counts, change=change, beards=beards,
                names=(MEN, BEARDLESS), people=test_people, jitter=True,
            )  # fmt: skip
            varied = {"beards": name, "seed": seed}
            cells.append(Cell(f"{name.replace(' ', '-')}-seed{seed}", varied, described))
    return Study("beards", TITLE, tuple(cells), run_cell, minutes=10)


def run_cell(cell: Cell, session: Session) -> dict[str, object]:
    """Train and score one cell: its entries of the record.

    The test set's name ends in "-beards" where the truth has their volume. "exact-part" is the error of the
    vertices that a man's beard covers.
    """
    described = cell.configuration
    network, history = train(described, session)
    model = load()
    bare = held_out(described, session, change="without beards")
    bearded = held_out(described, session, change="bearded")
    found = scores.synthetic(network, BEARDLESS, scores.fronts(BEARDLESS, bare, model), model)
    surfaces = {MEN: None, f"{MEN}-beards": Beards.open(model)}
    men = {
        name: [s for s in scores.fronts(name, bearded, model, beards) if s["gender"] == "male"]
        for name, beards in surfaces.items()
    }
    covered = [
        (outer["vertices"] - skin["vertices"]).norm(dim=1) > COVERED * skin["scale"]
        for skin, outer in zip(*men.values(), strict=True)
    ]
    for name, samples in men.items():
        found += scores.synthetic(network, name, samples, model)
        found += scores.partial(network, name, samples, covered, model)
    return prn64.entries(described, history, found)
