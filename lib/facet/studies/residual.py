"""The studies of Residual: losses, strategies of training, augmentation, range, equal work, the mask's edge.

Every network of a table sees the same pictures of the same people in the same order, as many of them, and is
tested on the same held-out people; what the tables differ in stands in the cells. A training that stands in
several tables is made once (`kept`). The thesis' own numbers, on its own data, are in `evaluation.reported`.
"""

from collections.abc import Mapping

from facet.studies import prn64, residual64
from facet.studies.queue import Cell, Study

SEEDS = (0, 1)
MINUTES = 4  # a cell
WIDE = 0.9  # width of a PRN with the multiply-adds of both stages (a test holds it to 2 %)
FROZEN = 0.5  # of the steps, in the staged training
# Of the geometric terms, which the thesis leaves open. As heavy as the distance, both together can draw all
# points of a map into one in a training as short as these: nothing is more symmetric, nor smoother.
TERM = 0.1

# The ten cells of the thesis' table 4.1, and its equation's squared distance; "mask" is 1 : 0.4 : 0.3 : 0.
GEOMETRY = {
    "L1": {"weights": "none"},
    "L1 + K": {"weights": "none", "symmetry": TERM},
    "L1 + S": {"weights": "none", "smoothness": TERM},
    "L1 + K + S": {"weights": "none", "symmetry": TERM, "smoothness": TERM},
    "L1 x mask": {},
    "L2 x mask": {"squared": True},
}
# The others change TwoView's mask, whose seam its thesis describes.
SEAMS = {
    "16:4:3:0": {"weights": "16:4:3:0"},
    "raised": {"weights": "raised"},
    "lowered": {"weights": "lowered"},
    "taper": {"weights": "taper"},
    "everywhere": {"weights": "everywhere"},
    "smoothness": {"weights": "16:4:3:0", "smoothness": 1.0},
}
AUGMENTATIONS = ("none", "prn", "residual", "photo-light")


def losses(**budget) -> Study:
    """PRN and Residual by six losses, from scratch."""
    title = "Do symmetry and smoothness in the loss, or the mask, help PRN and Residual?"
    return _study("losses", title, budget, [
        ({"network": system, "loss": name}, {"system": system, "loss": loss})
        for system in ("prn", "residual") for name, loss in GEOMETRY.items()
    ])  # fmt: skip


def strategies(**budget) -> Study:
    """What to do with a trained PRN and as many samples again: six ways, PRN going on among them."""
    samples = budget.get("samples", residual64.SAMPLES)
    steps = samples // prn64.BATCH
    ways = {
        "prn goes on": {"system": "prn"},
        "frozen": {"system": "residual", "frozen_steps": steps},
        "joint": {"system": "residual"},
        "staged": {"system": "residual", "frozen_steps": round(FROZEN * steps)},
        "staged, logits": {"system": "residual", "frozen_steps": round(FROZEN * steps), "join": "logit"},
        "staged, three stages": {"system": "residual", "frozen_steps": round(FROZEN * steps), "stages": 3},
    }
    title = "From a trained PRN: train the second stage alone, both, or one after the other?"
    cells = [({"strategy": name}, {**way, "from_prn": True}) for name, way in ways.items()]
    return _study("strategies", title, budget, cells)


def augmentation(**budget) -> Study:
    """PRN by four lists of changes to its pictures, tested on plain and on turned pictures."""
    title = "Which augmentation: none, PRN's, Residual's full list, or this project's?"
    cells = [({"augmentation": name}, {"augmentation": name}) for name in AUGMENTATIONS]
    return _study("augmentation", title, budget, cells, parts="turned")


def output_range(**budget) -> Study:
    """Sigmoid and tanh at the end of PRN and of Residual; the positions that can be said are the same."""
    title = "Sigmoid or tanh at the end?"
    cells = [
        ({"network": system, "range": squash}, {"system": system, **_squash(system, squash)})
        for system in ("prn", "residual") for squash in ("sigmoid", "tanh")
    ]  # fmt: skip
    return _study("range", title, budget, cells)


def equal_macs(**budget) -> Study:
    """Residual against PRN at equal samples, and against a PRN so wide that it costs as much."""
    title = "Does the second stage pay, or would a wider PRN do as well?"
    networks = {
        "prn": {"system": "prn"},
        "residual": {"system": "residual"},
        "residual, logits": {"system": "residual", "join": "logit"},
        "prn, as costly": {"system": "prn", "width": WIDE},
    }
    return _study("equal-macs", title, budget, [({"network": name}, way) for name, way in networks.items()])


def seam(**budget) -> Study:
    """PRN by six treatments of the mask's edge, scored ring by ring."""
    title = "What mends the seam where the mask ends?"
    cells = [({"edge": name}, {"loss": loss}) for name, loss in SEAMS.items()]
    return _study("seam", title, budget, cells, parts="seam")


STUDIES = {
    "losses": losses,
    "strategies": strategies,
    "augmentation": augmentation,
    "range": output_range,
    "equal-macs": equal_macs,
    "seam": seam,
}


def _squash(system: str, squash: str) -> dict[str, str]:
    """PRN is a sigmoid network by itself: naming that would make its training another one."""
    return {} if system == "prn" and squash == "sigmoid" else {"squash": squash}


def _study(
    name: str,
    title: str,
    budget: Mapping,
    cells: list[tuple[dict, dict]],
    *,
    parts: str = "",
) -> Study:
    """All cells of a seed before those of the next.

    Args:
        budget: samples, train_people, validation_people, test_people, where they are not the default.
        cells: (what is varied, arguments of `residual64.configuration`).
    """
    people = {
        "people": budget.get("train_people", 2_500),
        "validation_people": budget.get("validation_people", 150),
    }
    common = {"samples": budget.get("samples", residual64.SAMPLES), "people": people}
    made = []
    for seed in SEEDS:
        about = {**common, "seed": seed, "test_people": budget.get("test_people", 100)}
        for varied, arguments in cells:
            own = dict(arguments)
            if own.pop("from_prn", False):
                own["start"] = residual64.configuration("prn", **about)
            described = residual64.configuration(**about, **own)
            if parts:
                described["test"]["parts"] = parts
            made.append(Cell(_name(varied, seed), {**varied, "seed": seed}, described))
    return Study(name, title, tuple(made), residual64.run_cell, minutes=MINUTES)


def _name(varied: Mapping[str, str], seed: int) -> str:
    """Lower-case letters, digits and dashes: "prn-l1-x-mask-seed0"."""
    text = " ".join(varied.values()).lower()
    kept = "".join(letter if letter.isalnum() else " " for letter in text)
    return "-".join([*kept.split(), f"seed{seed}"])
