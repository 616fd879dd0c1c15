"""Which device a name means on this machine."""

import torch


def device_of(name: str | torch.device | None) -> torch.device:
    """The device of a name; None is a CUDA device if there is one, else the CPU.

    Raises:
        ValueError: this machine has no such device.
    """
    name = name or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError):  # AssertionError: torch was built without CUDA
        raise ValueError(
            f"device {str(name)!r} cannot be used on this machine: take cpu, or leave it out"
        ) from None
    return device
