"""The 68 landmarks of a face in a photo: by the landmark network, else by the position map of another.

The landmark network is asked about a crop, and again about one that is made by its answer.
"""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from facet.crop import crop_image
from facet.geometry import euler_angles
from facet.landmarks68 import FLIP
from facet.reconstruction import detect, weights
from facet.reconstruction.crops import predict_with_flip, square, to_photo
from facet.reconstruction.views import View

ROUNDS = 2  # crops that are asked, the first by the box, the others by what was found in the last
# Whose landmarks are taken, the first that is at hand: the landmark network's, or those of a position map.
FINDERS = ("landmarks", "prn", "mobile")


def load_network(
    device: torch.device | str = "cpu", names: tuple[str, ...] = FINDERS[:1]
) -> nn.Module | None:
    """The first of some networks in eval mode (the landmark network), None where this machine has none."""
    for name in names:
        try:
            return weights.load(name, device)
        except FileNotFoundError:
            continue
    return None


def located(view: View, face, *, names: tuple[str, ...] = FINDERS) -> View:
    """The view with the landmarks that a network finds; with a note instead where they do not fit its box.

    Args:
        face: the face model, on the device on which the network is to run.
        names: of networks; the first with weights on this machine is asked.

    Raises:
        FileNotFoundError: none of them has weights on this machine.
    """
    network = load_network(face.uv.device, names)
    if network is None:
        raise FileNotFoundError("no network finds landmarks yet: make one by `facet train landmarks`")
    found = find(view.image, view.box, network, face)
    if not view.fits(found):
        return view.misfit("they were not used")
    notes = view.notes
    if network.name != "landmarks":
        notes += (f"landmarks by {network.name}: the landmark network has no weights on this machine",)
    return replace(view, landmarks=found, notes=notes)


def find(image: np.ndarray, box: np.ndarray, network: nn.Module, face) -> np.ndarray:
    """(68, 2) landmarks in pixels of the photo, by the landmark network or by a network of position maps.

    Args:
        image: (H, W, 3) uint8 RGB; box: (4,) about that of the landmarks.
        network: in eval mode; face: the face model, over whose UV its maps are.
    """
    if network.name == "landmarks":
        return find_landmarks(image, box, network)
    matrix = square(box, network.image_size)
    crop = crop_image(image, matrix, network.image_size).to(next(network.parameters()).device)
    return of_map(predict_with_flip(network, crop)[0], matrix, face)


def of_map(position_map: Tensor, matrix: Tensor, face) -> np.ndarray:
    """(68, 2) landmarks in pixels of the photo of a map (3, S, S) of the crop behind a (2, 3) matrix."""
    from facet.face_model import vertices_from_map

    uv = face.uv.to(position_map)[face.landmarks]
    return to_photo(matrix, vertices_from_map(position_map[None], uv)[0])


def landmarks_of_crops(network: nn.Module, images: Tensor) -> Tensor:
    """(B, 68, 2) of crops (B, 3, S, S): the mean of the answers to them and to their mirror images."""
    from facet.networks import predict_landmarks

    straight, mirrored = predict_landmarks(network, torch.cat((images, images.flip(3)))).chunk(2)
    mirrored = mirrored[:, list(FLIP)]
    mirrored = torch.stack((images.shape[3] - 1 - mirrored[..., 0], mirrored[..., 1]), dim=-1)
    return (straight + mirrored) / 2


class NetworkAligner:
    """The landmark network as face correction asks it (`correction.Aligner`)."""

    def __init__(self, network: nn.Module):
        self.network, self.image_size = network, network.image_size

    def __call__(self, crops: Tensor) -> Tensor:
        """(B, 3, S, S) in [0, 1] -> (B, 68, 2) pixels of the crops."""
        device = next(self.network.parameters()).device
        return landmarks_of_crops(self.network, crops.to(device)).to(crops.device)


def find_landmarks(
    image: np.ndarray, box: np.ndarray, network: nn.Module, *, rounds: int = ROUNDS
) -> np.ndarray:
    """(68, 2) landmarks in pixels of the photo.

    Args:
        image: (H, W, 3) uint8 RGB.
        box: (4,) x0, y0, x1, y1, about that of the landmarks.
        network: `landmarks`, in eval mode.
        rounds: crops that are asked; fewer where the landmarks found do not fit the box (`detect.agree`).

    Raises:
        ValueError: the box lies outside of the photo.
    """
    size, device = network.image_size, next(network.parameters()).device
    image = np.require(image, requirements="W")  # torch warns of arrays that cannot be written to
    about = box
    for _ in range(rounds):
        matrix = square(about, size)
        found = to_photo(matrix, landmarks_of_crops(network, crop_image(image, matrix, size).to(device))[0])
        about = detect.box_of(found)
        if not detect.agree(about, box):
            break
    return found


def yaw_of(landmarks: Tensor, mean: Tensor) -> float:
    """Degrees by which the face of landmarks (68, 2) is turned away; `mean` as of :func:`place_mean_face`."""
    rotation, _ = place_mean_face(landmarks.cpu(), mean.cpu())
    return float(euler_angles(rotation)[0])


def place_mean_face(landmarks: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
    """The mean face's landmarks, turned so that they project onto those of a photo: pose and depth.

    Scaled orthography: the affine camera that fits x ≈ A X + t best, and the rotation nearest to it.

    Args:
        landmarks: (68, 2) pixels of the photo.
        mean: (68, 3) of the mean face, model frame, mm.

    Returns:
        rotation (3, 3) in the model frame, and (68,) depth z in pixels, image frame, about its mean.
    """
    mean, landmarks = mean.double(), landmarks.double()
    centred = mean - mean.mean(dim=0)
    affine = torch.linalg.lstsq(centred, landmarks - landmarks.mean(dim=0)).solution.T  # (2, 3)
    affine = affine * affine.new_tensor([[1.0], [-1.0]])  # the image's y is down
    u, scales, v = torch.linalg.svd(affine, full_matrices=False)
    rows = u @ v
    rotation = torch.cat((rows, torch.linalg.cross(rows[0], rows[1])[None]))
    return rotation, scales.mean() * centred @ rotation[2]
