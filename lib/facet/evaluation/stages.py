"""How long networks and the stages of Rotation take, one photo at a time, in one run on one device."""

import time
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from facet.networks import predict
from facet.rotation.gather import Gatherer
from facet.rotation.pipeline import Pipeline
from facet.rotation.rotator import finish, place, repaired
from facet.rotation.turn import second_pose


@torch.no_grad()
def stage_rows(
    pipeline: Pipeline, others: dict[str, nn.Module], photos: Tensor, *, repeats: int = 20
) -> list[dict]:
    """Milliseconds a photo of each stage: medians over `repeats`, one photo at a time.

    Args:
        pipeline: in eval mode, on the device that is timed.
        others: name → network of one photo, to stand beside it in the same run.
        photos: (N, 3, S, S) on the device.

    Returns:
        rows with stage, device, ms; `cpu_ms`, processor time, on a CPU (it does not grow when others use the
        machine). The stages of the pipeline sum up to about its own row.
    """
    device, rotator = photos.device, pipeline.rotator
    completion, state = rotator.completion, {}

    def gather(photo: Tensor) -> None:
        heads = state["heads"]
        state["pose"] = second_pose(heads.pose(), to=rotator.goal, level=rotator.level)
        state["placed"] = place(heads, state["pose"], photo.shape[-1], crop=rotator.crop)
        gatherer = Gatherer(photo, heads.in_photo(), completion.triangles, mirror=completion.mirror)
        found = gatherer(state["placed"], photo.shape[-1])
        state["view"] = finish(gatherer, found, state["pose"], state["placed"])

    def repair(photo: Tensor) -> None:
        if rotator.generator is not None:
            state["view"] = repaired(state["view"], rotator.generator)

    stages: dict[str, Callable[[Tensor], object]] = {
        "fit": lambda photo: state.update(vertices=rotator.fit(photo)),
        "complete the head": lambda photo: state.update(heads=completion(state["vertices"])),
        "turn, gather, fill": gather,
        "repair": repair,
        "reconstruct from both": lambda photo: predict(
            pipeline.reader, torch.cat((photo, state["view"].image), dim=1)
        ),
        "pipeline": lambda photo: predict(pipeline, photo),
    }
    stages |= {name: lambda photo, net=net: predict(net, photo) for name, net in others.items()}
    times = {name: [] for name in stages}
    for number in range(-2, repeats):  # two rounds to warm up
        photo = photos[number % len(photos)][None]
        for name, stage in stages.items():
            measured = _timed(stage, photo, device)
            if number >= 0:
                times[name].append(measured)
    rows = []
    for name, measured in times.items():
        wall, cpu = torch.tensor(measured).quantile(0.5, dim=0).tolist()
        rows.append({"stage": name, "device": device.type, "ms": wall})
        if device.type == "cpu":
            rows[-1]["cpu_ms"] = cpu
    return rows


@torch.no_grad()
def network_rows(
    asked: Mapping[str, Callable[[Tensor], object]],
    photos: Tensor,
    *,
    threads: Sequence[int] = (1, 2),
    repeats: int = 20,
) -> list[dict]:
    """Milliseconds a photo of some networks: medians over `repeats`, by turns, one photo at a time.

    Args:
        asked: name → what is asked about a photo (1, 3, S, S).
        photos: (N, 3, S, S) on the device that is timed.
        threads: numbers of torch's threads; of a GPU the first alone. What was set before is set again.

    Returns:
        rows with network, device, threads, ms, images_per_second; on a CPU `cpu_ms`, processor time of all
        threads.
    """
    device, before, rows = photos.device, torch.get_num_threads(), []
    try:
        for count in threads if device.type == "cpu" else threads[:1]:
            torch.set_num_threads(count)
            times = {name: [] for name in asked}
            for number in range(-2, repeats):  # two rounds to warm up
                photo = photos[number % len(photos)][None]
                for name, answer in asked.items():
                    measured = _timed(answer, photo, device)
                    if number >= 0:
                        times[name].append(measured)
            for name, measured in times.items():
                ms, cpu = torch.tensor(measured).quantile(0.5, dim=0).tolist()
                about = {"network": name, "device": device.type, "threads": count}
                rows.append({**about, "ms": ms, "images_per_second": 1000 / ms})
                if device.type == "cpu":
                    rows[-1]["cpu_ms"] = cpu
    finally:
        torch.set_num_threads(before)
    return rows


def _timed(stage: Callable[[Tensor], object], photo: Tensor, device: torch.device) -> tuple[float, float]:
    """(milliseconds by the clock, of processor time)."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    wall, cpu = time.perf_counter(), time.process_time()
    stage(photo)
    if device.type == "cuda":
        torch.cuda.synchronize()
    return 1e3 * (time.perf_counter() - wall), 1e3 * (time.process_time() - cpu)
