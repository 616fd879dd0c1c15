"""Scores of fitted coefficients: the usual errors of their vertices, and how well they explain the photo.

Every fit is given the same landmarks, those of a detector: true places with Gaussian noise of a stated size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pandas as pd
import torch
from torch import Tensor, nn

from facet.coefficients.batches import NOISE
from facet.coefficients.fitting import fit_landmarks, refine
from facet.coefficients.losses import CoefficientLoss
from facet.coefficients.renderer import FaceRenderer, full_vertices
from facet.evaluation.protocol import evaluate
from facet.evaluation.statistics import TIDY_COLUMNS
from facet.networks.layout import Layout
from facet.reconstruction.by_coefficients import PHOTO_SIZE, photo_loss
from facet.reconstruction.landmarks import landmarks_of_crops
from facet.rendering import downsample

BATCH = 10
PHOTO = ("photo", "levels")  # measure: root mean squared colour difference on the face, of 255 levels


def detected(samples: Sequence[dict], *, noise: float = NOISE, seed: int = 0) -> Tensor:
    """(N, 68, 2) landmarks of samples as a detector finds them: noise is a share of the crop's side."""
    true = torch.stack([sample["landmarks"][:, :2] for sample in samples])
    generator = torch.Generator().manual_seed(seed)
    size = samples[0]["images"].shape[-1]
    return true + noise * size * torch.randn(true.shape, generator=generator)


@torch.no_grad()
def answers(network: nn.Module, images: Tensor) -> Tensor:
    """(N, total) numbers of photos (N, 3, S, S), by a network in eval mode."""
    device = next(network.parameters()).device
    return torch.cat([network(some.to(device)).cpu() for some in images.split(BATCH)])


def coefficient_predictor(
    network: nn.Module, model, *, finder: nn.Module | None = None, steps: int = 0, photos: int = 1
) -> Callable[[Tensor], Tensor]:
    """Of `evaluate`: photos (N, C, S, S), the front photo first → (N, V, 3) in pixels of its crop.

    Args:
        finder: the landmark network, whose landmarks the refinement is given; steps: of it, on each person.
        photos: of a person to which one identity is fitted, 1 or 2.
    """
    renderer = FaceRenderer.open(model)

    def predict_vertices(images: Tensor) -> Tensor:
        size = images.shape[-1]
        shown = images[:, : 3 * photos].reshape(-1, 3, size, size)  # a person's photos one after another
        numbers = answers(network, shown)
        if steps:
            loss = photo_loss(renderer, network.layout, size)
            device = next(finder.parameters()).device
            marks = torch.cat(
                [landmarks_of_crops(finder, some.to(device)).cpu() for some in shown.split(BATCH)]
            )
            targets = targets_of(shown.cpu(), marks, min(PHOTO_SIZE, size))
            numbers = refined(loss, numbers, targets, steps, photos=photos)
        return full_vertices(model, renderer, network.layout.read(numbers[::photos]), size)

    predict_vertices.name = network.name
    return predict_vertices


def landmark_fit(renderer: FaceRenderer, layout: Layout, landmarks: Tensor, size: int) -> Tensor:
    """(N, total) the row `landmark-fit`: see `fit_landmarks`, with twice the landmarks' own noise."""
    # the model itself is no exact truth: trusting landmarks fully, it bends to their noise
    return fit_landmarks(renderer, layout, landmarks, size, noise=2 * NOISE)


def refined(
    loss: CoefficientLoss, numbers: Tensor, targets: dict[str, Tensor], steps: int, *, photos: int = 1
) -> Tensor:
    """(N, total) numbers after `refine`, each person by himself, some at a time.

    Args:
        photos: so many rows after one another are of one person; a divisor of BATCH and of N.
    """
    parts, person = [], torch.arange(len(numbers), device=numbers.device) // photos
    for start in range(0, len(numbers), BATCH):
        some = slice(start, start + BATCH)
        target = {name: value[some] for name, value in targets.items()}
        whose = person[some] - person[start]
        parts.append(refine(loss, numbers[some], target, steps=steps, person=whose)[0])
    return torch.cat(parts)


def refinements(
    network: nn.Module,
    finder: nn.Module,
    samples: Sequence[dict],
    model,
    losses: Mapping[str, CoefficientLoss],
    *,
    steps: int,
    test_set: str,
) -> pd.DataFrame:
    """Tidy rows of a network's answers, and of what each loss makes of them in so many steps.

    Args:
        finder: the landmark network; losses: name → loss; the name becomes the variant.
    """
    images = torch.stack([sample["images"] for sample in samples])
    numbers, size = answers(network, images), images.shape[-1]
    marks = torch.cat([landmarks_of_crops(finder, some) for some in images.split(BATCH)])
    targets = targets_of(images, marks, min(PHOTO_SIZE, size))
    found = {"": numbers} | {k: refined(loss, numbers, targets, steps) for k, loss in losses.items()}
    judge, about = next(iter(losses.values())), {"name": network.name, "test_set": test_set}
    return pd.concat(
        [rows(some, samples, model, judge, targets, variant=name, **about) for name, some in found.items()],
        ignore_index=True,
    )


def targets_of(images: Tensor, landmarks: Tensor, size: int) -> dict[str, Tensor]:
    """What a loss compares coefficients with, without 3D: photos of a size R, landmarks of the crop."""
    return {"photo": downsample(images, images.shape[-1] // size), "landmarks": landmarks}


def rows(
    numbers: Tensor,
    samples: Sequence[dict],
    model,
    loss: CoefficientLoss,
    targets: dict[str, Tensor],
    **about,
) -> pd.DataFrame:
    """Tidy rows of coefficients (N, total): those of `evaluate`, and PHOTO.

    Args:
        samples: of N photos; loss: reads the numbers; targets: see `targets_of`; about: of `evaluate`, such
            as name, variant, test_set.
    """
    size = samples[0]["images"].shape[-1]
    chunks = iter(numbers.split(16))

    def vertices(images: Tensor) -> Tensor:
        return full_vertices(model, loss.renderer, loss.layout.read(next(chunks)), size)

    frame = evaluate(vertices, samples, model, batch=16, **about)
    found = photo_differences(numbers, loss, targets["photo"])
    first = frame.drop_duplicates("sample").sort_values("sample")
    extra = first.assign(metric=PHOTO[0], normaliser=PHOTO[1], value=found.tolist())
    return pd.concat((frame, extra), ignore_index=True)[[*TIDY_COLUMNS, "sample"]]


@torch.no_grad()
def photo_differences(numbers: Tensor, loss: CoefficientLoss, photos: Tensor) -> Tensor:
    """(N,) root mean squared difference of stitched picture and photo over the face, in levels of 255."""
    plain = CoefficientLoss(loss.renderer, loss.layout, loss.image_size)
    found = []
    for some, photo in zip(numbers.split(BATCH), photos.split(BATCH), strict=True):
        picture = plain.renderer.picture(plain.layout.read(some), photo.shape[-1], crop=loss.image_size)
        found.append(plain.photo_error(picture, photo))
    return 255 * torch.cat(found).sqrt()
