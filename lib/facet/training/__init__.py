"""Training: one loop for every network, weights with provenance, runs that resume."""

from facet.training.history import History
from facet.training.loop import fit
from facet.training.losses import PositionLoss, weighted_error
from facet.training.obtain import Recipe, Task, obtain, save_trained
from facet.training.release import release, weights_state
from facet.training.settings import Settings
from facet.training.shards import export_shards, import_shards
from facet.training.slices import train_slice
from facet.training.weights import configuration_hash, load_weights, provenance, read_metadata, save_weights

__all__ = [
    "History",
    "PositionLoss",
    "Recipe",
    "Settings",
    "Task",
    "configuration_hash",
    "export_shards",
    "fit",
    "import_shards",
    "load_weights",
    "obtain",
    "provenance",
    "read_metadata",
    "release",
    "save_trained",
    "save_weights",
    "train_slice",
    "weighted_error",
    "weights_state",
]
