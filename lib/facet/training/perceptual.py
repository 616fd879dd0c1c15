"""The perceptual loss: distance of features of a network trained to name what pictures show.

VGG-16 (Simonyan and Zisserman 2015) with torchvision's ImageNet weights, where they are on the machine;
nothing is downloaded. The features after the second, fourth, seventh and tenth convolution are compared
(Johnson et al. 2016).
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FILE = "vgg16-397923af.pth"
LAYERS = (64, 64, "pool", 128, 128, "pool", 256, 256, 256, "pool", 512, 512, 512)
TAPS = (2, 4, 7, 10)  # convolutions after whose ReLU features are taken
MEAN, SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's pictures


class Perceptual(nn.Module):
    """Mean absolute difference of VGG-16's features, averaged over TAPS."""

    def __init__(self):
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for size in LAYERS:
            if size == "pool":
                layers.append(nn.MaxPool2d(2))
                continue
            layers += [nn.Conv2d(channels, size, 3, padding=1), nn.ReLU()]
            channels = size
        self.features = nn.Sequential(*layers)
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("spread", torch.tensor(SPREAD).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False)

    def taps(self, pictures: Tensor) -> list[Tensor]:
        """Features of (B, 3, H, W) pictures in [0, 1]."""
        x, found, number = (pictures - self.mean) / self.spread, [], 0
        for layer in self.features:
            x = layer(x)
            number += isinstance(layer, nn.ReLU)
            if isinstance(layer, nn.ReLU) and number in TAPS:
                found.append(x)
            if number == TAPS[-1]:
                break
        return found

    def forward(self, picture: Tensor, truth: Tensor) -> Tensor:
        """(B, 3, H, W) each → scalar."""
        with torch.no_grad():
            wanted = self.taps(truth)
        return sum(F.l1_loss(a, b) for a, b in zip(self.taps(picture), wanted, strict=True)) / len(TAPS)


def place() -> Path:
    """Where the weights would be."""
    return Path(torch.hub.get_dir()) / "checkpoints" / FILE


def available() -> bool:
    """Whether the weights are on this machine."""
    return place().is_file()


def load() -> Perceptual:
    """The loss.

    Raises:
        FileNotFoundError: its weights are not on this machine.
    """
    if not available():
        raise FileNotFoundError(
            f"the perceptual loss needs {FILE} in torch's hub folder: "
            "fetch it from torchvision, or train without"
        )
    loss = Perceptual()
    stored = torch.load(place(), map_location="cpu", weights_only=True)
    # the file has 13 convolutions and the layers that name pictures; all behind the last tap is left out
    loss.features.load_state_dict({name: stored[f"features.{name}"] for name in loss.features.state_dict()})
    return loss
