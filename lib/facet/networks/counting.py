"""How large and how costly a network is."""

import torch
from torch import Tensor, nn

from facet.networks.registry import SYSTEMS, build


def parameters(network: nn.Module, moving_statistics: bool = False) -> int:
    """Number of trainable parameters; with `moving_statistics` batch norm's means and variances too.

    Keras counts both in its "total params", which is what TwoView's thesis quotes.
    """
    count = sum(p.numel() for p in network.parameters())
    if moving_statistics:
        count += sum(b.numel() for n, b in network.named_buffers() if n.endswith(("_mean", "_var")))
    return count


def macs(network: nn.Module) -> int:
    """Multiply-adds of all convolutions and linear layers for one input of the network's own size.

    A convolution costs one weight's worth of multiply-adds for each output (a transposed one: each input) and
    channel pair; borders count in full. Runs one forward pass on zeros, on the network's device.
    """
    total = 0

    def count(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        places = inputs[0] if isinstance(layer, nn.ConvTranspose2d) else output
        if isinstance(layer, nn.Linear):
            total += layer.weight.numel() * (output.numel() // layer.out_features)
        else:
            total += layer.weight.numel() * places[0, 0].numel()

    kinds = nn.Conv2d | nn.ConvTranspose2d | nn.Linear
    hooks = [m.register_forward_hook(count) for m in network.modules() if isinstance(m, kinds)]
    was_training = network.training
    try:
        device = next(network.parameters()).device
        side = network.image_size
        with torch.no_grad():
            network.eval()(torch.zeros(1, 3 * network.views, side, side, device=device))
    finally:
        network.train(was_training)
        for hook in hooks:
            hook.remove()
    return total


def systems_table(*, image_size: int = 256, width: float = 1.0) -> list[dict[str, object]]:
    """One row a registered system: name, title, views, output, parameters (both counts), macs, source."""
    rows = []
    for system in SYSTEMS.values():
        network = build(system.name, image_size=image_size, width=width)
        rows.append(
            {
                "system": system.name,
                "title": system.title,
                "views": system.views,
                "output": system.output,
                "parameters": parameters(network),
                "with_statistics": parameters(network, moving_statistics=True),
                "macs": macs(network),
                "source": system.source,
            }
        )
    return rows
