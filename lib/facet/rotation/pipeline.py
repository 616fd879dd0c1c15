"""Rotation as one system: photo → rotator → TwoView on both, in one call."""

import torch
from torch import Tensor, nn

from facet.reconstruction import weights
from facet.rotation.fits import DEFAULT, NETWORKS, fit
from facet.rotation.head import Completion
from facet.rotation.rotator import Rotator
from facet.rotation.turn import ANGLE

# What the pipeline is made of: the network of the fit, the generator, what reads both photos.
PARTS = (NETWORKS[DEFAULT], "rotation", "twoview-rotated")


class Pipeline(nn.Module):
    """A network of one photo: it makes the second one itself.

    Attributes:
        rotator: photo → second view; reader: both (B, 6, S, S) → position map of the photo.
        name: of the system, by what fits the face that is turned.
    """

    def __init__(self, rotator: Rotator, reader: nn.Module, name: str = "rotation"):
        super().__init__()
        if reader.views != 2:
            raise ValueError(f"the pipeline needs a reader of two photos, {reader.name} reads {reader.views}")
        self.rotator, self.reader = rotator, reader
        self.name, self.views, self.output = name, 1, "map"
        self.image_size, self.width = reader.image_size, reader.width

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) RGB in [0, 1] → (B, 3, S, S) position map in the network's range."""
        return self.reader(torch.cat((images, self.rotator(images)), dim=1))


def load(
    device: torch.device | str = "cpu", *, face=None, fit_by: str = DEFAULT, to: float | str = ANGLE
) -> Pipeline:
    """The pipeline from weights on this machine, in eval mode.

    Args:
        face: the face model on the device; None loads it.
        fit_by: name of the fit, see `fits`; it is made with its own network's weights.
        to: of `second_pose`.

    Raises:
        FileNotFoundError: a part has no weights; the message says how they are made.
    """
    from facet import face_model

    parts = _parts((NETWORKS.get(fit_by, PARTS[0]), *PARTS[1:]))
    fitter, generator, reader = (weights.load(path, device) for path in parts)
    face = face_model.load(device=device) if face is None else face
    rotator = Rotator(fit(fit_by, fitter, face), Completion(face), generator, to=to)
    name = "rotation" if fit_by == DEFAULT else f"rotation-{fit_by}"
    return Pipeline(rotator, reader, name).eval().to(device)


def _parts(parts: tuple[str, ...]) -> list[str]:
    """The parts' files, all of one profile, the one that is preferred."""
    missing = {}
    for profile in weights.preferred_profiles():
        found = {part: weights.of_profile(part, profile) for part in parts}
        if all(found.values()):
            return [str(found[part]) for part in parts]
        missing[profile] = [part for part in parts if not found[part]]
    nearest = min(missing, key=lambda profile: len(missing[profile]))
    make = ", ".join(f"`{weights.training_of(part)}`" for part in missing[nearest])
    raise FileNotFoundError(f"the rotation pipeline has no weights of {', '.join(missing[nearest])}: {make}")
