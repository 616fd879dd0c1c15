"""When to stop: work that may take minutes is told until when, and stops between two of its pieces."""

import time
from collections.abc import Callable
from dataclasses import dataclass


class OutOfTime(Exception):
    """The time that a call may take is over; the next call goes on."""


@dataclass(frozen=True)
class Deadline:
    """The end of a call's time: `stop_at`, of `time.monotonic()`, or None for no end."""

    stop_at: float | None = None

    @classmethod
    def after(cls, minutes: float | None) -> "Deadline":
        """So many minutes from now; None is no end."""
        return cls(stop_at=None if minutes is None else time.monotonic() + 60 * minutes)

    @property
    def minutes(self) -> float | None:
        """How long there is still; None is for ever."""
        return None if self.stop_at is None else max(0.0, self.stop_at - time.monotonic()) / 60

    def check(self) -> None:
        """To be called between pieces of work.

        Raises:
            OutOfTime: the time is over.
        """
        if self.minutes == 0:
            raise OutOfTime

    def between(self, say: Callable[[str], None]) -> Callable[[str], None]:
        """A `say` that tells a piece of work that is done, and stops there when the time is over."""

        def step(text: str) -> None:
            say(text)
            self.check()

        return step
