"""A training run's state in one file, replaced in one step: killed at any moment, it resumes where it was.

`checkpoint.pt` holds the step, the network, the optimiser, the best weights so far, the running sum of the
training loss and the history. No generator state is kept: every draw is a function of seed and step.
"""

import copy
import os
import pickle
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from facet.files import write_beside
from facet.training.history import History

FILE, TABLE = "checkpoint.pt", "history.csv"


@dataclass
class TrainingState:
    """All that changes while training."""

    network: nn.Module
    optimiser: torch.optim.Optimizer
    identity: dict[str, object]  # Settings.identity(): what must be equal for a run to go on
    step: int = 0
    seconds: float = 0.0
    loss_sum: Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.float64))
    best: dict[str, Tensor] | None = None
    note: str = ""
    history: History = field(default_factory=History)

    def keep_best(self) -> None:
        """Copy the weights aside if the last validation is the best."""
        if self.history.epochs_since_best() == 0:
            state = self.network.state_dict()
            self.best = {name: value.detach().cpu().clone() for name, value in state.items()}

    def content(self) -> dict[str, object]:
        """What goes into the file."""
        return {
            "identity": self.identity,
            "step": self.step,
            "seconds": self.seconds,
            "loss_sum": self.loss_sum.cpu(),
            "note": self.note,
            "history": self.history.rows,
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "best": self.best,
        }

    def save(self, folder: str | os.PathLike) -> None:
        """Write the checkpoint and the history table."""
        write_checkpoint(folder, self.content())

    def restore(self, folder: str | os.PathLike) -> bool:
        """Take over the folder's checkpoint if there is one; nobody else may be writing there (see `fit`).

        Raises:
            ValueError: the file is broken, or belongs to a run with other settings or another network.
        """
        path = Path(folder) / FILE
        for leftover in path.parent.glob(".checkpoint.*.pt"):  # of a run killed while it wrote
            leftover.unlink(missing_ok=True)
        if not path.is_file():
            return False
        saved = read_checkpoint(folder)
        differing = sorted(
            name
            for name in {*saved["identity"], *self.identity}
            if saved["identity"].get(name) != self.identity.get(name)
        )
        if differing:
            raise ValueError(f"{path} is of a run with another {', '.join(differing)}: use another folder")
        try:
            self.network.load_state_dict(saved["network"])
        except RuntimeError as error:
            raise ValueError(f"{path} is of another network: use another folder ({error})") from error
        self.note = saved["note"]
        if saved["optimiser"] is None:
            self.note = "fresh optimiser moments"
        else:
            self.optimiser.load_state_dict(saved["optimiser"])
        self.step, self.seconds, self.best = saved["step"], saved["seconds"], saved["best"]
        self.loss_sum = saved["loss_sum"].to(self.loss_sum.device)
        self.history = History(copy.deepcopy(saved["history"]))
        return True


def write_checkpoint(folder: str | os.PathLike, content: dict[str, object]) -> None:
    """Write `checkpoint.pt` and `history.csv` into the folder, each in one step."""
    with write_beside(Path(folder) / FILE) as temporary:
        torch.save(content, temporary)
    History(content["history"]).write_csv(Path(folder) / TABLE)


def read_checkpoint(folder: str | os.PathLike) -> dict[str, object]:
    """Content of a checkpoint, on the CPU.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is broken.
    """
    path = Path(folder) / FILE
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise ValueError(f"{path} is broken: remove it to start anew") from error
