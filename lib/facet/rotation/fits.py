"""How the face in a photo is found before it is turned: fits by name.

Each is a module: photos (B, 3, S, S) in [0, 1] → vertices (B, V, 3) of the face patch in their pixels, image
frame. `prn` reads PRN's position map; a face model fitted to the photo (Coefficients) registers itself with
`register` and is taken by the same name.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from facet.networks import predict

FITS: dict[str, Callable[..., nn.Module]] = {}


def register(name: str) -> Callable:
    """Class decorator that enters a fit, made with (network, face model), into FITS."""

    def enter(fit: type[nn.Module]) -> type[nn.Module]:
        if name in FITS:
            raise ValueError(f"two fits are called {name!r}")
        FITS[name] = fit
        return fit

    return enter


def fit(name: str, network: nn.Module, face) -> nn.Module:
    """A fit by name.

    Args:
        network: trained, in eval mode.
        face: the face model.

    Raises:
        ValueError: there is none of that name.
    """
    if name not in FITS:
        raise ValueError(f"no fit is called {name!r}; there are {', '.join(sorted(FITS))}")
    return FITS[name](network, face)


@register("prn")
class PositionMapFit(nn.Module):
    """The vertices of a position map; any network of one photo that gives one."""

    def __init__(self, network: nn.Module, face):
        super().__init__()
        if network.views != 1 or network.output != "map":
            raise ValueError(f"a fit needs a network from one photo to a position map, not {network.name}")
        self.network = network
        self.register_buffer("uv", face.uv, persistent=False)

    @torch.no_grad()
    def forward(self, photos: Tensor) -> Tensor:
        """(B, 3, S, S) → (B, V, 3)."""
        from facet.face_model import vertices_from_map

        return vertices_from_map(predict(self.network, photos), self.uv)
