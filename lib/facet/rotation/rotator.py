"""The rotator: one photo in, the same person from another side out.

    photo → face (fit) → head (completion) → turned in 3D → colours gathered → holes repaired

Backgrounds: what the photo shows beside the head, continued smoothly behind it, is the new background, so a
view has the photo's colours around the head without its content. The view is cropped by its own landmarks, as
every photo is: the head is centred and of the usual size.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facet.crop import crop_box, crop_matrix
from facet.rendering import push_pull
from facet.rotation.gather import Gatherer, Render
from facet.rotation.head import Completion, Heads, project
from facet.rotation.turn import ANGLE, given_pose, second_pose

# How far the head's outline is widened before the background is read, share of the image's side: hair.
HAIR = 1 / 16


@dataclass
class View:
    """Turned views of size S.

    Attributes:
        image: (B, 3, S, S) in [0, 1], finished.
        filled: (B, 3, S, S) before the repair: holes filled from the mirrored side, then smoothly.
        render: what was gathered, with its holes.
        background: (B, 3, S, S).
        pose: (B, 3) yaw, pitch, roll in degrees.
        placed: (B, Vh, 3) the head's vertices in the view's pixels.
    """

    image: Tensor
    filled: Tensor
    render: Render
    background: Tensor
    pose: Tensor
    placed: Tensor

    def guide(self) -> Tensor:
        """(B, 3, S, S) what a generator is told beside the filled image: seen, seen mirrored, head."""
        return guide_of(self.render)


def guide_of(render: Render) -> Tensor:
    """(B, 3, S, S) seen, seen mirrored, head."""
    return torch.cat((render.seen, render.mirrored_seen, render.head), dim=1)


class Rotator(nn.Module):
    """Turns the heads in photos.

    Attributes:
        fit: photos (B, 3, S, S) → vertices (B, V, 3) of the face patch in their pixels (`fits.fit`).
        completion: from the patch to the head.
        generator: repairs a filled view (`networks` "rotation"), or None: the filled view is the result.
        goal, level: of `second_pose` (`to` there), for `forward`.
        crop: True crops a view by its own landmarks; False keeps scale and place of the photo.
    """

    def __init__(
        self,
        fit: Callable[[Tensor], Tensor],
        completion: Completion,
        generator: nn.Module | None = None,
        *,
        to: float | str = ANGLE,
        level: bool = True,
        crop: bool = True,
    ):
        super().__init__()
        self.fit, self.completion, self.generator = fit, completion, generator
        self.goal, self.level, self.crop = to, level, crop

    @property
    def device(self) -> torch.device:
        """Where heads are made, and where photos have to be."""
        return self.completion.triangles.device

    @torch.no_grad()
    def forward(self, photos: Tensor) -> Tensor:
        """(B, 3, S, S) photos → (B, 3, S, S) the views that `second_pose` chooses."""
        heads = self.heads(photos)
        return self.view(photos, heads, second_pose(heads.pose(), to=self.goal, level=self.level)).image

    @torch.no_grad()
    def heads(self, photos: Tensor) -> Heads:
        """The heads in the photos."""
        return self.completion(self.fit(photos))

    @torch.no_grad()
    def turn(self, photos: Tensor, yaw: float | Tensor) -> View:
        """The views at a yaw of one's own, degrees."""
        heads = self.heads(photos)
        return self.view(photos, heads, given_pose(heads.pose(), yaw, level=self.level))

    @torch.no_grad()
    def view(
        self,
        photos: Tensor,
        heads: Heads,
        pose: Tensor,
        *,
        size: int = 0,
        shift: float = 0.0,
        shown: Tensor | None = None,
    ) -> View:
        """The views at given poses.

        Args:
            photos: (B, 3, H, W), on whose pixels the heads lie.
            pose: (B, 3) degrees.
            size: side of the window that is drawn; 0 is the photos'.
            shift: pixels from the crop's corner to the window's, both ways.
            shown: (B, 1, H, W) in [0, 1], where a crop lies inside of its photograph; None is everywhere.
        """
        size = size or photos.shape[-1]
        placed = place(heads, pose, size - 2 * round(shift), crop=self.crop)
        placed = torch.cat((placed[..., :2] + shift, placed[..., 2:]), dim=2)
        about = {"mirror": self.completion.mirror, "shown": shown}
        gatherer = Gatherer(photos, heads.in_photo(), self.completion.triangles, **about)
        found = finish(gatherer, gatherer(placed, size), pose, placed, shown=shown)
        return found if self.generator is None else repaired(found, self.generator)


def place(heads: Heads, pose: Tensor, size: int, *, crop: bool = True) -> Tensor:
    """(B, Vh, 3) vertices of turned heads in pixels of a crop of side S.

    Args:
        crop: by the rule of `facet.crop` on the turned landmarks; else at the scale of the photo, the middle
            of the landmarks' box where it was.
    """
    points, landmarks = heads.turned(pose)
    box = crop_box(landmarks)
    if crop:
        matrix = crop_matrix(box.centre, box.size, size)
        scale, shift = matrix[:, 0, 0], matrix[:, :, 2]
    else:
        scale = torch.ones_like(box.size)
        marks = project(heads.landmarks, heads.placement, heads.nearness)
        shift = crop_box(marks).centre - box.centre
    moved = points * scale[:, None, None]
    return torch.cat((moved[..., :2] + shift[:, None], moved[..., 2:]), dim=2)


def finish(
    gatherer: Gatherer, render: Render, pose: Tensor, placed: Tensor, *, shown: Tensor | None = None
) -> View:
    """A view from what was gathered: holes filled, background behind; `shown` as of `background`."""
    filled = fill(render)
    behind = background(gatherer.photos, gatherer.outline, render.head.shape[-1], shown=shown)
    image = render.head * filled + (1 - render.head) * behind
    return View(image, image, render, behind, pose, placed)


def fill(render: Render) -> Tensor:
    """(B, 3, S, S) colours of the whole head: seen, else seen on the other half, else continued smoothly."""
    seen, other = render.seen, (1 - render.seen) * render.mirrored_seen
    weight = seen + other
    return push_pull(seen * render.image + other * render.mirrored, weight).clamp(0.0, 1.0)


def background(photos: Tensor, outline: Tensor, size: int, *, shown: Tensor | None = None) -> Tensor:
    """(B, 3, S, S) the photo beside the head, continued smoothly behind it and beyond the photo's edge.

    Args:
        photos: (B, 3, H, W); outline: (B, 1, H, W) of the heads.
        shown: (B, 1, H, W) in [0, 1], where the photos have colours; None is everywhere.
    """
    reach = 2 * round(outline.shape[-1] * HAIR) + 1
    beside = 1 - F.max_pool2d(outline, reach, stride=1, padding=reach // 2)
    if shown is not None:
        beside = beside * shown
    spread = push_pull(photos * beside, beside)
    if spread.shape[-1] == size:
        return spread
    return F.interpolate(spread, size=(size, size), mode="bilinear", align_corners=False)


@torch.no_grad()
def repaired(view: View, generator: nn.Module) -> View:
    """The view as a generator finishes it; its colours are cut off at 0 and 1, as a stored picture's are."""
    return replace(view, image=generator(view.filled, view.guide()).clamp(0.0, 1.0))
