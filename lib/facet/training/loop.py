"""The training loop."""

import os
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from facet.training.checkpoint import TrainingState
from facet.training.engine import fixed, make_optimiser, prepare_step, share, start_fabric
from facet.training.history import History
from facet.training.prefetch import Prefetch
from facet.training.progress import Progress
from facet.training.settings import Settings


def fit(
    network: nn.Module,
    batches: Callable[[int], tuple[Tensor, Tensor]],
    validate: Callable[[nn.Module], float | dict[str, float]],
    settings: Settings,
    *,
    loss: nn.Module,
    folder: str | os.PathLike | None = None,
    minutes: float | None = None,
    progress: str | None = "auto",
) -> History:
    """Train a network in place; it ends with its best weights, in eval mode, on the training device.

    Args:
        network: initialised; overwritten by the folder's checkpoint if there is one.
        batches: step -> (images (B, C, S, S), target), a pure function of the step with its own generators.
        validate: network (in eval mode, without gradients) -> loss; lower is better. Or a dict with the key
            "loss" and terms of it, which the history keeps.
        settings: budget, schedule and device.
        loss: (network output, target) -> scalar.
        folder: of the checkpoint; a run that was killed goes on and gives the same bytes as one that was not.
            One call at a time: who may share it holds a lock, as `obtain` and the studies do.
        minutes: stop cleanly after this time, with a checkpoint; the next call goes on.
        progress: "auto", "bar", "lines" or "none".

    Returns:
        One row an epoch; `.finished` is False if the time ended before the budget.

    Raises:
        FloatingPointError: the loss is no longer finite.
        ValueError: the folder belongs to another run.
    """
    began = time.perf_counter()
    with fixed(settings):
        fabric = start_fabric(settings)
        if settings.channels_last:
            network = network.to(memory_format=torch.channels_last)
        model, optimiser = fabric.setup(network, make_optimiser(network, settings))
        state = TrainingState(network, optimiser.optimizer, settings.identity())
        if folder is not None:
            state.restore(folder)
        began -= state.seconds
        stop_at = None if minutes is None else time.perf_counter() + 60 * minutes
        source = Prefetch(
            batches, state.step, settings.steps, ahead=settings.prefetch, threads=settings.threads
        )
        with (
            source,
            Progress(settings.steps, state.step, getattr(network, "name", "network"), progress) as report,
        ):
            pieces = fabric, model, optimiser, loss.to(fabric.device), state
            _loop(*pieces, iter(source), validate, settings, folder, began, stop_at, report)
        if state.best is not None:
            network.load_state_dict(state.best)
        network.eval()
    state.history.finished = _over(state, settings)
    return state.history


def _loop(
    fabric,
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    loss: nn.Module,
    state: TrainingState,
    stream: Iterator[tuple[Tensor, Tensor]],
    validate: Callable[[nn.Module], float],
    settings: Settings,
    folder: str | os.PathLike | None,
    began: float,
    stop_at: float | None,
    report: Progress,
) -> None:
    state.loss_sum = state.loss_sum.to(fabric.device)
    model.train()
    while not _over(state, settings):
        images, target = fabric.to_device(share(next(stream), fabric))
        if settings.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)

        prepare_step(state.network, optimiser, settings, state.step)
        value = loss(model(images), target)
        fabric.backward(value)
        optimiser.step()
        optimiser.zero_grad()

        state.step += 1
        state.loss_sum += value.detach()
        state.seconds = time.perf_counter() - began
        report.step(state.step)
        epoch_ends = state.step % settings.validate_every == 0 or state.step == settings.steps
        if epoch_ends:
            report.epoch(_close_epoch(state, validate, settings, fabric))
        out_of_time = fabric.broadcast(stop_at is not None and time.perf_counter() >= stop_at)
        extra = settings.checkpoint_every and state.step % settings.checkpoint_every == 0
        if folder is not None and (epoch_ends or out_of_time or extra) and fabric.is_global_zero:
            state.save(folder)
        if out_of_time:
            break


def _over(state: TrainingState, settings: Settings) -> bool:
    return state.step >= settings.steps or 0 < settings.patience <= state.history.epochs_since_best()


def _close_epoch(state: TrainingState, validate, settings: Settings, fabric) -> dict[str, object]:
    """Validate, add a row to the history, keep the weights if they are the best."""
    network = state.network.eval()
    with torch.no_grad():
        found = validate(network)
        terms = {name: float(value) for name, value in found.items()} if isinstance(found, dict) else {}
        val_loss = fabric.broadcast(terms.pop("loss") if terms else float(found))
    network.train()
    since = state.step - (state.history.rows[-1]["step"] if state.history.rows else 0)
    row = state.history.add(
        step=state.step,
        samples=state.step * settings.batch,
        epoch=-(-state.step // settings.validate_every),
        train_loss=float(fabric.all_reduce(state.loss_sum) / since),
        val_loss=val_loss,
        learning_rate=settings.rate(state.step - 1),
        seconds=round(state.seconds, 1),
        note=state.note,
        terms=terms,
    )
    state.loss_sum.zero_()
    state.note = ""
    state.keep_best()
    return row
