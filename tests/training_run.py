"""A tiny training run as a process of its own, so that a test can kill it.

python training_run.py FOLDER [SECONDS A BATCH]
"""

import sys
import time
from pathlib import Path

import torch

from facet.networks import build
from facet.training import PositionLoss, Settings, fit, save_weights

SIZE = 32
SETTINGS = Settings(
    steps=24, batch=4, learning_rate=1e-3, validate_every=4, halve_every=2, checkpoint_every=3, device="cpu"
)


def batches(step, pace=0.0):
    """Random photos; the target is the photo's own colours, as positions."""
    time.sleep(pace)
    generator = torch.Generator().manual_seed(1000 + step)
    images = torch.rand(4, 3, 1, 1, generator=generator).expand(4, 3, SIZE, SIZE).contiguous()
    return images, SIZE * images


@torch.no_grad()
def validate(network):
    images, target = batches(10_000)
    return float(PositionLoss(torch.ones(SIZE, SIZE))(network(images), target))


def train(folder, pace=0.0, **options):
    """Train to the end in the folder; weights and history lie there afterwards."""
    network = build("prn", image_size=SIZE, width=0.05)
    loss = PositionLoss(torch.ones(SIZE, SIZE))
    history = fit(
        network,
        lambda s: batches(s, pace),
        validate,
        SETTINGS,
        loss=loss,
        folder=folder,
        progress="none",
        **options,
    )
    save_weights(network, Path(folder) / "weights.safetensors", {"system": "prn", "rows": len(history.rows)})
    return network, history


if __name__ == "__main__":
    train(sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else 0.0)
