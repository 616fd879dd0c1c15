"""How fast synthetic people are made: pictures with and without their truth, alone and on several cores."""

import multiprocessing
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from facet.face_model import load, sampler
from facet.rendering.compare import compare_with_open3d
from facet.synthetic import portrait
from facet.synthetic.dataset import TOGETHER
from facet.synthetic.portrait import Atelier, Cast, Shots
from facet.synthetic.render import Studio, render, truth_maps
from facet.synthetic.scene import SUPERSAMPLING
from facet.synthetic.sitting import posed, sit
from facet.synthetic.truth import photograph_with_truth, truth_of

YAWS = tuple(range(-75, 76, 30))  # of the pictures that are timed
PATIENCE = 600.0  # seconds for the processes to start: ten each on an idle machine


def speed_rows(atelier: Atelier, studio: Studio, size: int, *, repeats: int = 3) -> list[dict]:
    """Milliseconds a picture of size × size for each step of the generator: medians over `repeats`.

    Steps: the position map alone, a picture of either generation, the ground truth pack alone, picture and
    pack of one scene; and the bare head's geometry, at the samples that a picture has, by our rasteriser and
    by open3d's ray caster (with building its scene, which every new head needs).

    Returns:
        rows with step, size, ms, images_per_second, threads; `cpu_ms` is processor time, which does not grow
        when others use the machine (not known of open3d).
    """
    cast, shots = six(atelier, size)
    maps = sampler(atelier.model, size)
    subjects, views = cast.subjects, shots.views

    steps: dict[str, Callable[[], object]] = {
        "position map": lambda: truth_maps(maps, subjects, views),
        "picture, first generation": lambda: render(studio, subjects, views, size=size, shift=0),
        "picture": lambda: portrait.photograph(atelier, cast, shots, size=size, shift=0),
        "ground truth pack": lambda: truth_of(atelier, maps, cast, shots, size=size, shift=0),
        "picture and pack": lambda: photograph_with_truth(atelier, maps, cast, shots, size=size, shift=0),
    }
    timed = {name: _timed(repeats, step).quantile(0.5, dim=0) for name, step in steps.items()}
    rows = [_row(name, size, *times.tolist()) for name, times in timed.items()]
    return rows + _geometry_rows(atelier, cast, shots, size, repeats)


def six(atelier: Atelier, size: int) -> tuple[Cast, Shots]:
    """Six people, each from another side; a group is as large as in a data set's shard."""
    return sit(atelier, range(TOGETHER), posed([[yaw] for yaw in YAWS]), size=size)


def _geometry_rows(atelier: Atelier, cast: Cast, shots: Shots, size: int, repeats: int) -> list[dict]:
    """The bare heads by our rasteriser and by open3d's ray caster, medians over the heads."""
    people = cast.subjects.rows(shots.views.subject)
    heads, _ = shots.views.project(atelier.model.blend_head(people.alpha_id, people.alpha_exp))
    heads, triangles = heads * SUPERSAMPLING, atelier.model.head_triangles
    compare_with_open3d(heads[0], triangles, size, repeats=1)  # imports are not what is timed
    found = [compare_with_open3d(head, triangles, size * SUPERSAMPLING, repeats=repeats) for head in heads]
    names = {"ours": "our rasteriser", "open3d": "open3d's ray caster"}
    return [
        _row(f"bare geometry, {name}", size, statistics.median(row[f"{who}_ms"] for row in found), None)
        for who, name in names.items()
    ]


def shared_row(size: int, *, workers: int = 2, repeats: int = 3) -> dict:
    """Pictures with their pack by several processes of one thread each, a row as `speed_rows` has them.

    Raises:
        threading.BrokenBarrierError: a process could not start in time.
    """
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(workers + 1)
    with context.Pool(workers, _open, (ready, size)) as pool:
        ready.wait(PATIENCE)
        began = time.perf_counter()
        pool.map(_work, range(workers * repeats), chunksize=1)
        ms = 1000 * (time.perf_counter() - began) / (workers * repeats * TOGETHER)
    return _row(f"picture and pack, {workers} processes", size, ms, None) | {"threads": workers}


_desk: dict[str, tuple] = {}  # of one process


def _open(ready, size: int) -> None:
    torch.set_num_threads(1)
    model = load()
    atelier = Atelier.open(model)
    _desk["work"] = (atelier, sampler(model, size), *six(atelier, size), size)
    _work(0)
    ready.wait(PATIENCE)


def _work(_: int) -> None:
    atelier, maps, cast, shots, size = _desk["work"]
    photograph_with_truth(atelier, maps, cast, shots, size=size, shift=0)


def _row(step: str, size: int, ms: float, cpu_ms: float | None) -> dict:
    about = {"step": step, "size": size, "ms": ms, "cpu_ms": cpu_ms, "images_per_second": 1000 / ms}
    return about | {"threads": torch.get_num_threads()}


def _timed(repeats: int, run: Callable[[], object]) -> Tensor:
    """(repeats, 2) milliseconds a picture of six, by the clock and of processor time of all threads."""
    run()  # the first call fills caches
    times = []
    for _ in range(max(repeats, 1)):
        began, cpu = time.perf_counter(), time.process_time()
        run()
        times.append([time.perf_counter() - began, time.process_time() - cpu])
    return 1000 / TOGETHER * torch.tensor(times, dtype=torch.float64)
