"""The 68 landmarks of a face in a photo by the landmark network: crop, ask, crop by the answer, ask again."""

import numpy as np
import torch
from torch import Tensor, nn

from facet.crop import crop_box, crop_box_from_bounds, crop_image, invert
from facet.geometry import euler_angles
from facet.landmarks68 import FLIP
from facet.reconstruction import weights

ROUNDS = 2  # crops that are asked, the first by the box, the others by what was found in the last


def load_network(device: torch.device | str = "cpu") -> nn.Module | None:
    """The landmark network in eval mode, None where its weights are not on this machine."""
    try:
        return weights.load("landmarks", device)
    except FileNotFoundError:
        return None


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
        rounds: crops that are asked.

    Raises:
        ValueError: the box lies outside of the photo.
    """
    size, device = network.image_size, next(network.parameters()).device
    image = np.require(image, requirements="W")  # torch warns of arrays that cannot be written to
    square = crop_box_from_bounds(torch.as_tensor(np.asarray(box, dtype=np.float64)))
    found = None
    for _ in range(rounds):
        if found is not None:
            square = crop_box(found)
        matrix = square.matrix(size)[0]
        crop = crop_image(image, matrix, size).to(device)
        back = invert(matrix[None])[0]
        found = landmarks_of_crops(network, crop)[0].double().cpu() @ back[:, :2].T + back[:, 2]
    return found.numpy()


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
