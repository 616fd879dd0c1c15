"""How a run tells where it is: a bar on a terminal, one line an epoch elsewhere, always on stdout."""

import sys
import time

MODES = ("auto", "bar", "lines", "none")


def tell(text: str, mode: str | None) -> None:
    """A line on stdout, in every mode but "none"."""
    if mode not in (None, "none"):
        sys.stdout.write(text + "\n")
        sys.stdout.flush()


class Progress:
    """Reports steps and epochs.

    Args:
        steps: in all.
        start: step that the run begins with.
        title: name of the run.
        mode: "auto" (bar on a terminal, else lines), "bar", "lines" or "none".
    """

    def __init__(self, steps: int, start: int, title: str, mode: str | None = "auto"):
        mode = mode or "none"
        if mode not in MODES:
            raise ValueError(f"progress must be one of {', '.join(MODES)}, got {mode!r}")
        if mode == "auto":
            mode = "bar" if sys.stdout.isatty() else "lines"
        self.steps, self.start, self.title, self.mode = steps, start, title, mode
        self._bar, self._began = None, time.perf_counter()
        if mode == "bar":
            from tqdm import tqdm

            self._bar = tqdm(total=steps, initial=start, desc=title, file=sys.stdout, dynamic_ncols=True)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_) -> None:
        if self._bar:
            self._bar.close()

    def step(self, step: int) -> None:
        """One step is done."""
        if self._bar:
            self._bar.update()
        elif self.mode == "lines" and step - self.start == 20:
            each = (time.perf_counter() - self._began) / 20
            left = each * (self.steps - step) / 60
            text = f"{self.title}: {self.steps} steps, {1000 * each:.0f} ms each, about {left:.0f} min left"
            tell(text, self.mode)

    def epoch(self, row: dict[str, object]) -> None:
        """An epoch is done: a history row."""
        losses = f"train {row['train_loss']:.3e}  val {row['val_loss']:.3e}"
        if self._bar:
            self._bar.set_postfix_str(losses)
        elif self.mode == "lines":
            tell(
                f"{self.title}: epoch {row['epoch']:3d}  step {row['step']}/{self.steps}  {losses}  "
                f"rate {row['learning_rate']:.1e}  {row['seconds'] / 60:.1f} min",
                self.mode,
            )
