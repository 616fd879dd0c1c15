"""What the generator learns from: views with holes, and photographs of what belongs there.

There and back (Zhou et al. 2020): the head is turned to a random pose, drawn with its holes, and from that
drawing turned back; the result has the holes and blurs of two turns and is compared with the photo it came
from. No second photograph is needed. True pairs, which the thesis could not have: the head of one photo drawn
in the pose of another photo of the same person, and compared with that.
"""

import torch
from torch import Tensor

from facet.geometry import similarity
from facet.rotation.gather import Gatherer
from facet.rotation.head import Completion, Heads, flattened, project
from facet.rotation.rotator import View, fill, finish, place
from facet.rotation.turn import random_pose


@torch.no_grad()
def there_and_back(
    photos: Tensor, heads: Heads, completion: Completion, generator: torch.Generator
) -> tuple[View, View]:
    """The view at a random pose, its holes not repaired, and the view turned back from it.

    Args:
        photos: (B, 3, S, S), on whose pixels the heads lie.

    Returns:
        there, and back in the photo's own pixels: what the photo is the answer to.
    """
    size = photos.shape[-1]
    triangles, mirror = completion.triangles, completion.mirror
    pose = random_pose(heads.pose(), generator)
    placed, home = place(heads, pose, size), heads.in_photo()
    first = Gatherer(photos, home, triangles)
    away = first(placed, size)
    there = finish(first, away, pose, placed)
    second = Gatherer(fill(away), placed, triangles, mirror=mirror, shown=away.seen)
    again = second(home, size)
    # The background is the photo's own, but what either head hides of it is lost, hair around them too.
    second.photos, second.outline = photos, torch.maximum(first.outline, away.head)
    return there, finish(second, again, heads.pose(), home)


@torch.no_grad()
def true_pair(photos: Tensor, heads: Heads, completion: Completion, truth: Tensor) -> View:
    """The heads of photos drawn where they lie in other photos, to be compared with those.

    Args:
        photos: (B, 3, S, S), on whose pixels the heads lie.
        truth: (B, V, 3) the face patch in the other photos, in their pixels, which have side S too.
    """
    on, of = completion.on_patch, completion.of_patch
    truth = truth.to(heads.points)
    other = completion(truth)  # where the other camera was
    far = flattened(truth, other.placement, other.nearness)
    placement = similarity(heads.points[:, on], far[:, of], reflect=True)
    placed = project(heads.points, placement, other.nearness)
    gatherer = Gatherer(photos, heads.in_photo(), completion.triangles, mirror=completion.mirror)
    pose = torch.stack(placement.head_pose(), dim=1)
    return finish(gatherer, gatherer(placed, photos.shape[-1]), pose, placed)
