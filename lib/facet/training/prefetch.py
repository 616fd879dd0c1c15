"""Batches made ahead of their use in one thread, in order."""

import queue
import threading
from collections.abc import Callable, Iterator

import torch


class Prefetch:
    """Iterate over batches(start), batches(start + 1), ... batches(stop - 1), a few made ahead.

    Order and content do not depend on timing, so a run with and without prefetching is the same. An error in
    `batches` is raised where the batch is used. Use as a context manager: leaving it ends the thread.

    Args:
        batches: step -> batch, a pure function of the step; must not use torch's global generator.
        start, stop: first step, and one past the last.
        ahead: batches held; 0 makes each one when asked, in the caller's thread.
        threads: of torch, inside the worker.
    """

    def __init__(self, batches: Callable[[int], object], start: int, stop: int, *, ahead: int, threads: int):
        self._batches, self._steps, self._threads = batches, range(start, stop), threads
        self._queue: queue.Queue = queue.Queue(max(1, ahead))
        self._stopped = threading.Event()
        self._worker = threading.Thread(target=self._work, daemon=True) if ahead else None

    def __enter__(self) -> "Prefetch":
        if self._worker:
            self._worker.start()
        return self

    def __exit__(self, *_) -> None:
        self._stopped.set()
        while self._worker and self._worker.is_alive():
            try:
                self._queue.get_nowait()
            except queue.Empty:
                self._worker.join(0.01)

    def __iter__(self) -> Iterator[object]:
        for step in self._steps:
            batch = self._queue.get() if self._worker else self._batches(step)
            if isinstance(batch, _Failure):
                raise batch.error
            yield batch

    def _work(self) -> None:
        torch.set_num_threads(self._threads)  # OpenMP keeps this number for each thread
        torch.set_flush_denormal(True)
        for step in self._steps:
            try:
                batch = self._batches(step)
            except BaseException as error:
                batch = _Failure(error)
            if self._stopped.is_set():
                return
            self._queue.put(batch)


class _Failure:
    def __init__(self, error: BaseException):
        self.error = error
