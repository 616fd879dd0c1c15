"""Pictures of the rotator at work: stages, there and back, people from side to side, what one pass tells."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from facet import figures
from facet.crop import crop_image
from facet.face_model import FaceModel
from facet.networks import to_pixels
from facet.pictures import overlay_mesh, render_mesh
from facet.reconstruction import Reconstruction
from facet.reconstruction.crops import square
from facet.reconstruction.detect import box_of
from facet.rotation import Rotator, given_pose
from facet.rotation.pairs import there_and_back
from facet.rotation.photograph import SIZE, rotate

HOLE = torch.tensor([1.0, 0.0, 1.0]).view(3, 1, 1)  # no skin has this colour
YAWS = (-90.0, -60.0, -30.0, 0.0, 30.0, 60.0, 90.0)


def with_holes(image: Tensor, seen: Tensor, head: Tensor) -> Tensor:
    """(3, S, S) gathered colours, holes of the head magenta, white beside it."""
    return head * (seen * image + (1 - seen) * HOLE.to(image)) + (1 - head)


@torch.no_grad()
def stage_sheet(rotator: Rotator, photos: Tensor, yaws: Sequence[float], *, size: float = 1.35):
    """A row a photo: photo, completed head, turned head with its holes, filled, finished.

    Args:
        photos: (N, 3, S, S); yaws: to which each is turned, degrees.

    Returns:
        matplotlib Figure.
    """
    heads = rotator.heads(photos)
    view = rotator.view(photos, heads, given_pose(heads.pose(), torch.tensor(yaws)))
    triangles, placed = rotator.completion.triangles.cpu(), heads.in_photo().cpu()
    shown = []
    for i, photo in enumerate(photos):
        shown += [photo, overlay_mesh(photo, placed[i], triangles)]
        shown.append(with_holes(view.render.image[i], view.render.seen[i], view.render.head[i]))
        shown += [view.filled[i], view.image[i]]
    captions = ["photo", "face, completed", "turned, holes", "holes filled", "finished"]
    rows = [figures.degrees(yaw, sign=True) for yaw in yaws]
    return figures.show_images(shown, captions, columns=5, size=size, row_labels=rows)


@torch.no_grad()
def lesson_sheet(rotator: Rotator, photos: Tensor, generator: torch.Generator, *, size: float = 1.35):
    """A row a photo: photo, there (holes), back (holes), what the generator is given, what it is to give."""
    heads = rotator.heads(photos)
    there, back = there_and_back(photos, heads, rotator.completion, generator)
    shown = []
    for i, photo in enumerate(photos):
        shown.append(photo)
        for view in (there, back):
            shown.append(with_holes(view.render.image[i], view.render.seen[i], view.render.head[i]))
        shown += [back.filled[i], photo]
    captions = ["photo", "there", "and back", "the generator gets", "and shall give"]
    return figures.show_images(shown, captions, columns=5, size=size)


@torch.no_grad()
def angle_sheet(rotator: Rotator, photos: Tensor, names: Sequence[str] = (), *, size: float = 1.1):
    """A row a photo: the photo, then its views from -90° to 90° in steps of 30°."""
    heads = rotator.heads(photos)
    views = [rotator.view(photos, heads, given_pose(heads.pose(), yaw)).image for yaw in YAWS]
    shown = [image.clamp(0, 1) for row in zip(photos, *views, strict=True) for image in row]
    captions = ["photo", *(figures.degrees(yaw, sign=True) for yaw in YAWS)]
    return figures.show_images(shown, captions, columns=len(captions), size=size, row_labels=names)


def turned_sheet(photos: Mapping[str, tuple[np.ndarray, Reconstruction]], *, size: float = 1.9):
    """A row a photograph: its crop as it was taken, then its views from -60° to 60° by `facet.rotate`.

    Args:
        photos: name → (H, W, 3) uint8 and the face that was reconstructed from it.
    """
    shown = []
    for image, face in photos.values():
        matrix = square(box_of(face.landmarks), SIZE)[None]
        shown.append(crop_image(image, matrix, SIZE)[0])
        shown += [rotate(image, yaw, face=face).image for yaw in YAWS[1:-1]]
    captions = ["photo", *(figures.degrees(yaw, sign=True) for yaw in YAWS[1:-1])]
    names = list(photos) if len(photos) > 1 else ()
    return figures.show_images(shown, captions, columns=len(captions), size=size, row_labels=names)


@torch.no_grad()
def told_sheet(network, photos: Tensor, model: FaceModel, *, size: float = 1.35):
    """A row a photo of what one pass tells: coarse map, colours over (u, v), the face turned.

    Args:
        network: a trained `one-pass`, in eval mode on the CPU.
    """
    from facet.face_model import vertices_from_map

    told = network.tell(photos)
    side, shown = photos.shape[-1], []
    vertices = vertices_from_map(to_pixels(told.position_map, side), model.uv)
    counted = model.weight > 0
    number = counted.cumsum(0) - 1  # of each counted vertex: the others may lie anywhere
    triangles = number[model.triangles[counted[model.triangles].all(dim=1)]]
    painted = F.interpolate(told.colours, size=(side, side), mode="bilinear", align_corners=False)
    colours = vertices_from_map(painted, model.uv)
    for i, photo in enumerate(photos):
        places = told.coarse[i]
        low, high = places.amin(dim=(1, 2), keepdim=True), places.amax(dim=(1, 2), keepdim=True)
        shown += [photo, (places - low) / (high - low), told.colours[i]]
        for view in (-60.0, 60.0):
            mesh = vertices[i][counted], triangles
            turned = render_mesh(*mesh, 180, view=view, colors=colours[i][counted], relief=0.25)
            shown.append(turned)
    captions = ["photo", "coarse map", "colours over (u, v)", "turned by −60°", "turned by +60°"]
    return figures.show_images(shown, captions, columns=5, size=size)
