"""Systems on the frozen test sets, person by person in several processes: the rows of notebook 30.

A system that reads one photo sees the same front photo in both samples of a person of `synthetic-v1-pairs`;
it is scored on it once, and the row counts for both samples, so that systems of one and of two photos can be
compared sample by sample. Results do not depend on the number of processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn

from facet.evaluation.coefficients import coefficient_predictor
from facet.evaluation.distances import aligned
from facet.evaluation.mean_face import MeanFace, MeanFaceTruePose
from facet.evaluation.protocol import Counted, evaluate, position_map_predictor
from facet.face_model import FaceModel, load
from facet.profiles import Profile
from facet.reconstruction.pipeline import REFINE
from facet.reconstruction.prior import NOISE
from facet.synthetic import test_sets
from facet.synthetic.factors import CHANGES
from facet.synthetic.test_sets import FLORENCE, FLORENCE_2, FRONT_2, PAIRS, PAIRS_2, TestSet

OPEN = {
    PAIRS: test_sets.pairs,
    FLORENCE: test_sets.florence,
    PAIRS_2: partial(test_sets.pairs, generation=2),
    FLORENCE_2: partial(test_sets.florence, generation=2),
    FRONT_2: test_sets.front,
    **{f"{FRONT_2} {change}": partial(test_sets.front, change=change) for change in CHANGES},
}
CHUNK = {FLORENCE: 2, FLORENCE_2: 2}  # people a task; else 5
# What stands in notebook 30: everything that gives a face in the face model's own correspondence.
TRAINED = (
    ("prn", ""), ("prn", "longer"), ("prn", "all-poses"), ("prn", "wide"), ("mobile", ""), ("twoview", ""),
    ("residual", ""), ("one-pass", ""),
    ("coefficients", ""), ("coefficients", "supervised"), ("coefficients", "wide"),
)  # fmt: skip
KEPT = ("roll", "side", "years", "gender", "ancestry")  # columns beside the tidy ones
SIDES = ("own", "another's", "none")


@dataclass(frozen=True)
class System:
    """A predictor that can be sent to another process.

    Attributes:
        name: as in every table; the two mean faces have no network.
        variant: of the system.
        network: in eval mode, or None.
        samples: training images that it has seen, those of the network that it went on from among them.
        weights: the file that they came from, or None.
        smooth: mirrored and smoothed, see :func:`position_map_predictor`; False is the bare map.
        noise: with `smooth`, mm of it that the prior takes away; 0 is without prior.
        side: which side photo a system of two photos is shown: "own", "another's" (of the next person of the
            chunk that a task scores, turned the same way) or "none" (mid grey). The last two are controls:
            does it look at the side photo?
        finder, steps: of a network of coefficients: who finds the landmarks for so many steps of refinement.
        fitted: to how many photos of a person such a network's identity is fitted.
    """

    name: str
    variant: str = ""
    network: nn.Module | None = None
    samples: int = 0
    weights: Path | None = None
    smooth: bool = False
    noise: float = 0.0
    side: str = "own"
    finder: nn.Module | None = None
    steps: int = 0
    fitted: int = 1

    @property
    def label(self) -> str:
        """Name and variant."""
        return f"{self.name} {self.variant}".strip()

    @property
    def photos(self) -> int:
        """How many photos it reads."""
        return max(self.network.views, self.fitted) if self.network is not None else 1

    @property
    def gives_map(self) -> bool:
        """Whether it answers with a position map."""
        return self.network is not None and getattr(self.network, "output", "map") == "map"

    def predictor(self, model: FaceModel, image_size: int) -> Callable[..., Tensor]:
        """What `evaluate` calls."""
        if self.network is not None and not self.gives_map:
            how = {"finder": self.finder, "steps": self.steps, "photos": self.fitted}
            return coefficient_predictor(self.network, model, **how)
        if self.network is not None:
            return position_map_predictor(self.network, model, smooth=self.smooth, noise=self.noise)
        return MeanFace(model, image_size) if self.name == "mean-face" else MeanFaceTruePose(model)


def smoothed(system: System) -> System:
    """The same network, read as `facet.reconstruct(..., prior=False)`; "smoothed" joins its variant."""
    return replace(system, smooth=True, variant=f"{system.variant} smoothed".strip())


def with_prior(system: System) -> System:
    """The same network, read as `facet.reconstruct` does; "prior" joins its variant."""
    return replace(system, smooth=True, noise=NOISE, variant=f"{system.variant} prior".strip())


def refined(system: System, finder: nn.Module, steps: int = REFINE, *, photos: int = 1) -> System:
    """The same network, fitted to each photo, or to both photos of a person, as `facet.reconstruct` does.

    "refined" joins its variant, or "two photos".
    """
    variant = f"{system.variant} {'two photos' if photos == 2 else 'refined'}".strip()
    return replace(system, finder=finder, steps=steps, fitted=photos, variant=variant)


def sets(generation: int) -> tuple[str, str]:
    """Names of the pairs and of the Florence set of a generation of synthetic people."""
    return {1: (PAIRS, FLORENCE), 2: (PAIRS_2, FLORENCE_2)}[generation]


def systems(profile: Profile, names: Sequence[tuple[str, str]] = TRAINED, **options) -> list[System]:
    """Both mean faces and the trained (name, variant) of a profile; options as `trainings.trained`."""
    from facet import trainings
    from facet.training import recipes, weights_state

    found = [System("mean-face"), System("mean-face-true-pose")]
    for name, variant in names:
        network, history = trainings.trained(name, profile, variant=variant, **options)
        about = {"variant": variant, "seed": options.get("seed")}
        path = weights_state(trainings.recipe(name, profile, **about)).path
        before = recipes.samples_before(name, profile, find=trainings.recipe, **about)
        samples = before + history.rows[-1]["samples"]
        found.append(System(name, variant, network, samples, path))
    return found


def score(
    systems: Iterable[System],
    test_set: str | Sequence[str],
    *,
    people: int,
    image_size: int,
    icp_people: int = 0,
    workers: int = 2,
    device: str = "cpu",
) -> pd.DataFrame:
    """Tidy rows of every system on the first people of a frozen set, or of several sets.

    Args:
        systems: that fit the sets: those of two photos need pairs.
        test_set: names of OPEN.
        people: how many; pictures that are not in the cache are rendered first.
        image_size: of the networks.
        icp_people: for so many of them the ICP error too, but for readings that are between the bare map and
            the one with the prior (`smoothed`): it takes a second a sample.
        workers: processes on a CPU; another device is used from this one alone.
        device: of the networks.

    Returns:
        As `evaluate`, with the columns KEPT; in the order of systems, sets, samples and measures.

    Raises:
        ValueError: a set is unknown, or has one photo a sample and a system reads two.
    """
    systems, names = list(systems), [test_set] if isinstance(test_set, str) else list(test_set)
    for name in names:
        if name not in OPEN:
            raise ValueError(f"test set {name!r} is not one of {', '.join(OPEN)}")
        OPEN[name](image_size, people, workers=workers)  # rendered here, once
    tasks = [
        (name, range(start, min(people, start + CHUNK.get(name, 5))))
        for name in names
        for start in range(0, people, CHUNK.get(name, 5))
    ]
    arguments = (systems, people, image_size, icp_people, device)
    if workers < 2 or len(tasks) < 2 or device != "cpu":
        worker = _Worker(*arguments)
        frames = [worker(*task) for task in tasks]
    else:
        import multiprocessing

        pool = multiprocessing.get_context("spawn").Pool(min(workers, len(tasks)), _begin, arguments)
        with pool:
            frames = pool.map(_work, tasks, chunksize=1)
    order = {(system.name, system.variant): number for number, system in enumerate(systems)}
    frame = pd.concat(frames, ignore_index=True)
    rank = pd.Series(list(zip(frame["model"], frame["variant"], strict=True))).map(order)
    where = frame["test_set"].map({name: number for number, name in enumerate(names)})
    return (
        frame.assign(rank=rank, where=where)
        .sort_values(["rank", "where", "sample"], kind="stable")
        .drop(columns=["rank", "where"])
        .reset_index(drop=True)
    )


@dataclass(frozen=True)
class Look:
    """Some predictions beside the truth, for pictures; only vertices that are scored.

    Attributes:
        vertices: (B, K, 3) predicted, after the best similarity, pixels, image frame.
        truth: (B, K, 3).
        triangles: (F, 3).
        errors: (B, K) distances in millimetres.
    """

    vertices: Tensor
    truth: Tensor
    triangles: Tensor
    errors: Tensor


@torch.no_grad()
def look(system: System, samples: Sequence[dict], model: FaceModel) -> Look:
    """The predictions of one system on some samples."""
    images = torch.stack([sample["images"] for sample in samples])
    truth = torch.stack([sample["vertices"] for sample in samples])
    predict = system.predictor(model, images.shape[-1])
    predicted = predict(images, *((truth,) if getattr(predict, "needs_truth", False) else ()))
    counted = Counted(model)
    truth = truth[:, counted.vertices].double()
    moved = aligned(predicted[:, counted.vertices].double().cpu(), truth, align="similarity")
    scale = torch.tensor([float(sample["scale"]) for sample in samples], dtype=torch.float64)
    errors = torch.linalg.vector_norm(moved - truth, dim=2) / scale[:, None]
    return Look(moved, truth, counted.triangles, errors)


class _Worker:
    """Scores all systems on some people of a set."""

    def __init__(self, systems, people: int, image_size: int, icp_people: int, device: str):
        self.model = load()
        self.people, self.image_size = people, image_size
        self.systems, self.icp_people, self.device = systems, icp_people, device
        self.test_set: TestSet | None = None  # the one that was asked for last
        for system in systems:
            if system.network is not None:
                system.network.to(device).eval()
            if system.finder is not None:
                system.finder.to(device).eval()

    def __call__(self, test_set: str, people: range) -> pd.DataFrame:
        if self.test_set is None or self.test_set.name != test_set:
            self.test_set = OPEN[test_set](self.image_size, self.people, model=self.model)
        if len(self.test_set.views[0]) < max(system.photos for system in self.systems):
            raise ValueError(
                f"{test_set} has one photo a sample: a system of two photos cannot be scored on it"
            )
        samples = {number: self.test_set.person(number) for number in people}
        if len(people) == 1 and any(system.side == "another's" for system in self.systems):
            other = (people[0] + 1) % len(self.test_set.pictures)
            if other == people[0]:
                raise ValueError("nobody else's side photo can be shown of one person: score two or more")
            samples[other] = self.test_set.person(other)
        frames = []
        for system in self.systems:
            by_icp = 0 if system.smooth and not system.noise else self.icp_people
            for icp in (True, False):
                chosen = [number for number in people if (number < by_icp) == icp]
                if chosen:
                    frames.append(self._score(system, samples, chosen, icp=icp))
        return pd.concat(frames, ignore_index=True)

    @torch.no_grad()
    def _score(self, system: System, samples: dict, people: list[int], *, icp: bool) -> pd.DataFrame:
        """One system on whole people; what it sees twice is scored once."""
        seen: dict[tuple, int] = {}  # (person, views that the system reads) → number of the scored sample
        shown, where = [], []
        for number in people:
            for place, views in enumerate(self.test_set.views):
                key = (number, *views[: system.photos])
                if key not in seen:
                    seen[key] = len(shown)
                    shown.append(_shown(system, samples, number, place))
                about = {name: samples[number][place][name] for name in KEPT}
                where.append(
                    {"scored": seen[key], "sample": number * len(self.test_set.views) + place, **about}
                )
        frame = evaluate(
            system.predictor(self.model, shown[0]["images"].shape[-1]), shown, self.model,
            name=system.name, variant=system.variant, test_set=self.test_set.name, icp=icp,
            device=self.device,
        )  # fmt: skip
        frame = frame.rename(columns={"sample": "scored"})
        return pd.DataFrame(where).merge(frame, on="scored", how="left")[
            [*frame.columns.drop("scored"), "sample", *KEPT]
        ]


def _shown(system: System, samples: dict, number: int, place: int) -> dict:
    """A sample as the system sees it: with the side photo that it is to be shown."""
    sample = samples[number][place]
    if system.photos == 1 or system.side == "own":
        return sample
    if system.side not in SIDES:
        raise ValueError(f"side {system.side!r} is not one of {SIDES}")
    people = list(samples)
    other = samples[people[(people.index(number) + 1) % len(people)]][place]["images"][3:]
    side = other if system.side == "another's" else torch.full_like(other, 0.5)
    return {**sample, "images": torch.cat((sample["images"][:3], side))}


_worker: _Worker | None = None


def _begin(*arguments) -> None:
    global _worker  # one a process: the model and the test set are opened once
    torch.set_num_threads(1)
    _worker = _Worker(*arguments)


def _work(task: tuple[str, range]) -> pd.DataFrame:
    return _worker(*task)
