"""PRN at 64 pixels: the network and the training that the studies of people have in common.

In the manner of the profile small: learning rate 1e-3, halved three times, batches of eight, the same
augmentation; every person is seen from the front once, and the budget is used up (nothing stops early).
"""

from collections.abc import Mapping
from dataclasses import asdict

from facet.augment import Augmentation
from facet.face_model import files
from facet.training import History

SIZE, WIDTH, BATCH = 64, 0.3, 8
EPOCHS = 20  # validations; the rate is halved after every fifth


def configuration(
    *,
    seed: int,
    samples: int,
    counts: Mapping[str, int],
    change: str = "",
    beards: bool = False,
    **test: object,
) -> dict[str, object]:
    """Of `train.train`, and what the network is tested on.

    Args:
        samples: training pictures in all.
        counts: people and validation_people.
        change: of both (`synthetic.factors`).
        beards: whether the targets have their volume.
        test: plain values that describe the test.
    """
    steps = samples // BATCH
    return {
        "system": "prn",
        "image_size": SIZE,
        "width": WIDTH,
        "options": {},
        "settings": {
            "steps": steps,
            "batch": BATCH,
            "learning_rate": 1e-3,
            "validate_every": max(1, steps // EPOCHS),
            "halve_every": 5,
            "warmup": min(100, steps // 10),
            "patience": 0,
            "threads": 1,
            "seed": seed,
        },
        "data": {
            "generation": 2,
            "poses": "front",
            "shown": "front",
            "change": change,
            "beards": beards,
            "face_model": files.VERSION,
            **counts,
        },
        "augmentation": asdict(Augmentation.preset("photo-light")),
        "loss": {"name": "uv-weighted", "squared": False, "weights": "16:4:3:0"},
        "test": test,
    }


def entries(configuration: Mapping, history: History, scores: list[dict]) -> dict[str, object]:
    """A record's entries: seed, budget, history in few numbers, scores."""
    last, best = history.rows[-1], history.best
    about = {"seconds": last["seconds"], "best_step": best["step"], "best_val_loss": best["val_loss"]}
    about |= {f"last_{name}": last[name] for name in ("train_loss", "val_loss")}
    seed = configuration["settings"]["seed"]
    return {"seed": seed, "samples": last["samples"], "history": about, "scores": scores}
