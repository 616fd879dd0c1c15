"""Trainings that several cells share: made once, by whoever asks first, and kept.

A training is known by its configuration (`train.train`, without what is tested). Its network lies under
`data/cache/studies/kept/<hash>/`, in the half precision of released weights: who trained it scores the same
bytes as who found it. An entry `start` is the configuration of the training that it goes on from.
"""

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from torch import nn

from facet.locks import claimed
from facet.studies.queue import Session
from facet.studies.train import train
from facet.training import History, configuration_hash, load_weights, provenance, save_weights
from facet.training.checkpoint import FILE
from facet.training.starts import trained_network

NAME = "network.safetensors"
PATIENCE = 5.0  # seconds between looks at a training that another process is at


def network(configuration: Mapping, session: Session) -> tuple[nn.Module, History]:
    """The trained network in eval mode on the CPU, and its history.

    Raises:
        OutOfTime: the session's time was not enough; the next call goes on.
    """
    return _kept(configuration, session, session.folder.parents[1] / "kept")


def _kept(configuration: Mapping, session: Session, home: Path) -> tuple[nn.Module, History]:
    described = {name: value for name, value in configuration.items() if name != "test"}
    folder = home / configuration_hash(described)
    path = folder / NAME
    while not path.is_file():
        with claimed(folder.with_suffix(".lock")) as mine:
            if mine and not path.is_file():
                _train(described, replace(session, folder=folder), path, home)
        if not path.is_file():
            session.check()
            time.sleep(PATIENCE)
    found = trained_network(path)
    return found.eval(), History(load_weights(found, path)["history"], finished=True)


def _train(described: Mapping, session: Session, path: Path, home: Path) -> None:
    """Train it, and the training that it starts from; the checkpoint goes when the network is there."""
    session.folder.mkdir(parents=True, exist_ok=True)
    start = None
    if described.get("start"):
        start, _ = _kept(described["start"], session, home)
    made, history = train(described, session, start)
    about = provenance(device=session.device, configuration=dict(described), history=history.rows)
    save_weights(made, path, about)
    (session.folder / FILE).unlink(missing_ok=True)
