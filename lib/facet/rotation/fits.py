"""How the face in a photo is found before it is turned: fits by name.

Each is a module: photos (B, 3, S, S) in [0, 1] → vertices (B, V, 3) of the face patch in their pixels, image
frame. `coefficients` is the face model's own face as Coefficients fits it to the photo, `prn` reads PRN's
position map; others are entered with `register`. Each is made by name with a network that was shown all yaws.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from facet.coefficients.renderer import full_vertices
from facet.networks import predict

FITS: dict[str, Callable[..., nn.Module]] = {}
NETWORKS: dict[str, str] = {}  # of each fit: the trained network that it is made with by name
DEFAULT = "coefficients"  # a whole face at every yaw; the thesis fits a 3DMM, too


def register(name: str, *, network: str) -> Callable:
    """Class decorator that enters a fit, made with (network, face model), into FITS and NETWORKS."""

    def enter(fit: type[nn.Module]) -> type[nn.Module]:
        if name in FITS:
            raise ValueError(f"two fits are called {name!r}")
        FITS[name], NETWORKS[name] = fit, network
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


@register("prn", network="prn-wide")
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


@register("coefficients", network="coefficients-wide")
class CoefficientFit(nn.Module):
    """The face model's face of the coefficients that a network gives."""

    def __init__(self, network: nn.Module, face):
        from facet.reconstruction.by_coefficients import renderer_of

        super().__init__()
        if network.output != "coefficients":
            raise ValueError(f"this fit needs a network from one photo to coefficients, not {network.name}")
        self.network, self.face, self.renderer = network, face, renderer_of(face)

    @torch.no_grad()
    def forward(self, photos: Tensor) -> Tensor:
        """(B, 3, S, S) → (B, V, 3), z from the patch's rim."""
        found = self.network.layout.read(self.network(photos))
        return full_vertices(self.face, self.renderer, found, photos.shape[-1])
