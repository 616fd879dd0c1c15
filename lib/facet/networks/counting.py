"""How large and how costly a network is."""

import math
import re

import torch
from torch import Tensor, nn

from facet.networks.registry import SYSTEMS, build

_COSTLY = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


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
    costs = _observe(network, [layer for layer in network.modules() if isinstance(layer, _COSTLY)])
    return sum(_cost(*seen) for seen in costs)


def layers_table(network: nn.Module) -> list[dict[str, object]]:
    """One row for each run of equal layers or blocks of an encoder-decoder, in order.

    Returns:
        part ("encoder", "decoder", and those of the network's `parts`), layer (kind and kernel), repeats,
        output ("height x width x channels"),
        parameters (trainable; norms count with the layer before them) and macs.
    """
    parts = {"encoder": network.encoder, "decoder": network.decoder, **getattr(network, "parts", {})}
    children = [(name, child) for name, part in parts.items() for child in part.children()]
    seen = _observe(network, [c for _, c in children])
    inner = [layer for layer in network.modules() if isinstance(layer, _COSTLY)]
    costs = {layer: _cost(layer, *shapes) for layer, *shapes in _observe(network, inner)}
    rows: list[dict[str, object]] = []
    for (part, child), (_, _, output) in zip(children, seen, strict=True):
        own = sum(p.numel() for p in child.parameters())
        cost = sum(costs.get(layer, 0) for layer in child.modules())
        if not cost:  # a norm or an activation belongs to the layer before it
            rows[-1]["parameters"] += own
            continue
        about = {"part": part, "layer": _kind(child), "output": "x".join(map(str, (*output[2:], output[1])))}
        if rows and all(rows[-1][name] == value for name, value in about.items()):
            rows[-1]["repeats"] += 1
            rows[-1]["parameters"] += own
            rows[-1]["macs"] += cost
        else:
            about["repeats"] = 1
            rows.append({**about, "parameters": own, "macs": cost})
    return rows


def _observe(network: nn.Module, layers: list[nn.Module]) -> list[tuple[nn.Module, tuple, tuple]]:
    """(layer, input shape, output shape) of one forward pass on zeros, in the order of `layers`."""
    shapes: dict[nn.Module, tuple] = {}

    def note(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        shapes[layer] = (tuple(inputs[0].shape), tuple(output.shape))

    hooks = [layer.register_forward_hook(note) for layer in layers]
    was_training = network.training
    try:
        device = next(network.parameters()).device
        side = network.image_size
        with torch.no_grad():
            channels = getattr(network, "inputs", 3 * network.views)  # VRN-Guided reads heat-maps too
            network.eval()(torch.zeros(1, channels, side, side, device=device))
    finally:
        network.train(was_training)
        for hook in hooks:
            hook.remove()
    return [(layer, *shapes[layer]) for layer in layers]


def _cost(layer: nn.Module, inputs: tuple, output: tuple) -> int:
    """Multiply-adds of a convolution or linear layer."""
    if isinstance(layer, nn.Linear):
        return layer.weight.numel() * (math.prod(output) // layer.out_features)
    places = inputs if isinstance(layer, nn.ConvTranspose2d) else output
    return layer.weight.numel() * math.prod(places[2:])


def _kind(layer: nn.Module) -> str:
    """What a table calls a layer."""
    if isinstance(layer, nn.ConvTranspose2d):
        return "transposed convolution {}x{}".format(*layer.kernel_size)
    if isinstance(layer, nn.Conv2d):
        return "convolution {}x{}".format(*layer.kernel_size)
    return re.sub(r"(?<!^)([A-Z])", r" \1", type(layer).__name__).lower()


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
