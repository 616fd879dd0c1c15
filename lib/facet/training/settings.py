"""What a training run is told: budget, schedule, seed and where it runs."""

import math
from dataclasses import asdict, dataclass

SCHEDULES = ("halve", "cosine", "drop")
OPTIMISERS = ("adam", "rmsprop")
PRECISIONS = {"32": "32-true", "tf32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}
# What may differ between a checkpoint and the run that resumes it: where it runs, and how long.
_FREE = ("steps", "patience", "device", "devices", "nodes", "prefetch", "checkpoint_every", "deterministic")


@dataclass(frozen=True)
class Settings:
    """One training run. An *epoch* is `validate_every` steps: training people may be endless.

    Attributes:
        steps: optimiser steps in all.
        batch: images a step, over all devices.
        learning_rate: of the first step (after warm-up). PRN and TwoView: 1e-4; Residual: 1e-3.
        schedule: "halve" every `halve_every` epochs (the papers), "cosine" down to 1 % at the last step, or
            "drop" to a tenth after `halve_every` epochs (the volumetric networks).
        halve_every: epochs; 0 keeps the rate.
        warmup: steps over which the rate rises linearly from nothing.
        patience: epochs without a better validation loss before training stops; 0 never stops early.
        validate_every: steps an epoch.
        seed: of dropout and anything else drawn inside the network.
        optimiser: "adam", or "rmsprop" (the volumetric networks).
        device: "auto" (CUDA if there is one), "cpu" or "cuda"; `devices` of them on each of `nodes` machines.
        threads: of torch; fixed, because sums over threads round differently.
        precision: "32"; "tf32", "bf16" or "16" mixed, for CUDA (bf16 gains on CPUs with AMX only).
        channels_last: memory layout; faster on CPU and GPU, same result up to rounding.
        prefetch: batches made ahead in a thread; 0 makes them in the loop.
        checkpoint_every: steps between checkpoints beside those after each epoch; 0: epochs only.
        deterministic: no autotuning of CUDA kernels.
    """

    steps: int
    batch: int = 16
    learning_rate: float = 1e-4
    schedule: str = "halve"
    halve_every: int = 5
    warmup: int = 0
    patience: int = 10
    validate_every: int = 250
    seed: int = 0
    optimiser: str = "adam"
    device: str = "auto"
    devices: int = 1
    nodes: int = 1
    threads: int = 1
    precision: str = "32"
    channels_last: bool = True
    prefetch: int = 2
    checkpoint_every: int = 0
    deterministic: bool = True

    def __post_init__(self):
        for name in ("steps", "batch", "learning_rate", "validate_every", "threads"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        for name, known in (("schedule", SCHEDULES), ("optimiser", OPTIMISERS), ("precision", PRECISIONS)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, got {getattr(self, name)!r}")

    @classmethod
    def from_profile(cls, profile, **changes) -> "Settings":
        """Settings with a profile's budget, schedule, seed and threads; keywords override."""
        names = (
            *("steps", "batch", "learning_rate", "validate_every", "halve_every"),
            *("patience", "threads", "seed"),
        )
        return cls(**{**{name: getattr(profile, name) for name in names}, **changes})

    def rate(self, step: int) -> float:
        """Learning rate of step 0, 1, ...: a pure function, so that a resumed run has the same."""
        factor = min(1.0, (step + 1) / self.warmup) if self.warmup else 1.0
        if self.schedule == "cosine":
            done = min(1.0, max(0.0, (step - self.warmup) / max(1, self.steps - self.warmup)))
            factor *= 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done))
        elif self.schedule == "drop":
            factor *= 0.1 if 0 < self.halve_every <= step // self.validate_every else 1.0
        elif self.halve_every:
            factor *= 0.5 ** (step // self.validate_every // self.halve_every)
        return self.learning_rate * factor

    def identity(self) -> dict[str, object]:
        """The values that decide which numbers a run makes, apart from how far it goes."""
        kept = {name: value for name, value in asdict(self).items() if name not in _FREE}
        if self.schedule == "cosine":
            kept["steps"] = self.steps
        return kept
