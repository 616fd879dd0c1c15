"""Where training runs: Lightning Fabric, torch's flags, the optimiser."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from facet.networks.blocks import BATCH_NORM_MOMENTUM
from facet.training.settings import PRECISIONS, Settings


def start_fabric(settings: Settings):
    """Lightning Fabric on the device that the settings name, launched.

    Raises:
        ValueError: a CUDA device is asked for and there is none.
    """
    from lightning.fabric import Fabric  # costs seconds: only where training starts

    device = settings.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device is cuda, but torch sees no CUDA device: set device to cpu or auto")
    precision = PRECISIONS[settings.precision]
    fabric = Fabric(
        accelerator=device, devices=settings.devices, num_nodes=settings.nodes, precision=precision
    )
    fabric.launch()
    return fabric


def make_optimiser(network: nn.Module, settings: Settings) -> torch.optim.Optimizer:
    """Adam or RMSProp over the parameters that are not frozen."""
    trained = [p for p in network.parameters() if p.requires_grad]
    if settings.optimiser == "rmsprop":
        return torch.optim.RMSprop(trained, lr=settings.learning_rate)
    return torch.optim.Adam(trained, lr=settings.learning_rate, fused=True)


def prepare_step(network: nn.Module, optimiser, settings: Settings, step: int) -> None:
    """Set everything that is a function of the step: learning rate, seed of dropout, batch norm's momentum.

    During the first steps batch norm's statistics are the mean over all batches so far (1 / (step + 1)):
    with Keras' slow momentum a short run would be left with the statistics of its first moments.
    """
    for group in optimiser.param_groups:
        group["lr"] = settings.rate(step)
    torch.manual_seed(random.Random(f"{settings.seed}-{step}").getrandbits(63))
    if hasattr(network, "at_step"):  # a network whose parts join in later
        network.at_step(step)
    for layer in network.modules():  # always: no checkpoint keeps a momentum
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = max(BATCH_NORM_MOMENTUM, 1 / (step + 1))


def share(batch: object, fabric) -> object:
    """This process's part of a batch: every n-th sample of n processes."""
    if fabric.world_size == 1:
        return batch
    if isinstance(batch, Tensor):
        return batch[fabric.global_rank :: fabric.world_size]
    if isinstance(batch, dict):
        return {name: share(part, fabric) for name, part in batch.items()}
    return tuple(share(part, fabric) for part in batch)


@contextmanager
def fixed(settings: Settings) -> Iterator[None]:
    """Threads, kernels and generators as the settings say; all put back afterwards."""
    threads, cudnn = torch.get_num_threads(), torch.backends.cudnn
    flags = (cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32, torch.get_float32_matmul_precision())
    torch.set_num_threads(settings.threads)
    torch.set_flush_denormal(True)
    cudnn.deterministic, cudnn.benchmark = settings.deterministic, not settings.deterministic
    cudnn.allow_tf32 = settings.precision != "32"
    torch.set_float32_matmul_precision("highest" if settings.precision == "32" else "high")
    try:
        with torch.random.fork_rng():
            yield
    finally:
        torch.set_num_threads(threads)
        torch.set_flush_denormal(False)
        cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32 = flags[:3]
        torch.set_float32_matmul_precision(flags[3])
