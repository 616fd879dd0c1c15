"""Second photos for training: true ones, views by the rotator, and true ones that imitate its views.

A sample's photo is any of a person's three, drawn as `facet.synthetic.batches.Batches` draws those of
"all-poses": with one seed, PRN's `wide`, `one-pass` and every kind of TwoView here see the same photos
in the same order, moved alike. Beside it lies one second picture, that of the kind asked for. Views of all
photos are made once and stored (by the rotator on one core about 20 minutes a kind for 5,000 people at 128
pixels); augmentation comes after, as in the thesis. A view has a window's margin, so that it can be turned.

The generator's lessons (`lessons`) take one photo a person, drawn once: `photo_views`, `true_views`.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from facet.augment import augment
from facet.rotation.rotator import Rotator
from facet.rotation.store import Store, Stored
from facet.rotation.turn import ANGLE, FULL, second_pose
from facet.synthetic.batches import FRONT, LEFT, RIGHT, Batches
from facet.synthetic.dataset import Pictures
from facet.synthetic.render import truth_maps

# kind of second photo → the kinds among which a sample's is drawn
KINDS = {
    "true": ("true",),
    "rotated": ("rotated",),
    "rotated-side": ("rotated-side",),
    "both": ("true", "rotated"),
    "imitated": ("imitated",),
}
MOST = 1 << 16  # people of a data set
ANGLES = {"rotated": ANGLE, "rotated-side": FULL}


def photo_views(people: Tensor) -> Tensor:
    """(N,) which view of each person is a lesson's photo, the front one for half: by the row alone."""
    draw = _draws(people, 1)
    return torch.where(draw < 0.5, FRONT, torch.where(draw < 0.75, LEFT, RIGHT))


def true_views(people: Tensor) -> Tensor:
    """(N,) which view of each person answers that photo: a side for a front, the front for a side."""
    draw = _draws(people, 2)
    return torch.where(photo_views(people) == FRONT, torch.where(draw < 0.5, LEFT, RIGHT), FRONT)


def _draws(people: Tensor, salt: int) -> Tensor:
    """(N,) uniform numbers, always the same for a row."""
    return torch.rand(MOST, generator=torch.Generator().manual_seed(977 * salt))[people]


def crops(pictures: Pictures, people: Tensor, views: Tensor) -> Tensor:
    """(N, 3, S, S) the crops of stored windows, float in [0, 1]."""
    size, (_, shift) = pictures.description.image_size, pictures.description.window
    inner = pictures.stack(people, views)[:, :, shift : shift + size, shift : shift + size]
    return inner.float().div(255).contiguous()


def view_store(pictures: Pictures, rotator: Rotator, kind: str, about: dict[str, object]) -> Store:
    """What the rotator makes of every photo of a data set: row 3·person + view.

    Args:
        kind: "rotated" (by 30°), "rotated-side" (a full turn), or "imitated": the photo goes through the
            rotator at its own yaw, which levels pitch and roll, crops, and paints the background.
        about: plain values that decide what the rotator does: its weights.
    """
    if kind not in (*ANGLES, "imitated"):
        raise ValueError(f"views are {', '.join((*ANGLES, 'imitated'))}, not {kind!r}")
    (size, shift), each = pictures.description.window, pictures.per_person

    def make(rows: Tensor) -> Tensor:
        photos = crops(pictures, rows // each, rows % each).to(rotator.device)
        heads = rotator.heads(photos)
        pose = second_pose(heads.pose(), to=ANGLES.get(kind, 0.0))
        return rotator.view(photos, heads, pose, size=size, shift=shift).image

    about = {"kind": kind, "people": pictures.description.key, "of": "every photo", **about}
    return Store(f"{kind}-{pictures.description.split}", about, each * len(pictures), make)


@dataclass
class SecondBatches(Batches):
    """As `Batches` of kind "all-poses", with a second picture beside each photo; the map is the photo's.

    Attributes:
        second: a key of KINDS; views: the opened `view_store` of each of its kinds but "true".
    """

    second: str = field(kw_only=True)
    views: dict[str, Stored] = field(kw_only=True)

    def make(self, people: Tensor, side: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Images (B, 6, S, S) in [0, 1] and maps (B, 3, S, S) in pixels; a front photo's other is `side`."""
        kinds = KINDS[self.second]
        first = torch.randint(3, side.shape, generator=generator)
        other = torch.where(first == FRONT, side, FRONT)
        which = torch.zeros_like(side)
        if len(kinds) > 1:
            which = torch.randint(len(kinds), side.shape, generator=generator)
        photos, second = self.pictures.stack(people, first), self.pictures.stack(people, other)
        for number, kind in enumerate(kinds):
            chosen = (which == number).nonzero()[:, 0]
            if kind != "true" and len(chosen):
                source = first if kind in ANGLES else other
                rows = self.pictures.per_person * people + source
                second[chosen] = self.views[kind].stack(rows[chosen])
        views = self.pictures.views.rows(self.pictures.view_rows(people, first))
        target = truth_maps(self.sampler, self.pictures.subjects, views, self.relief(views))
        return augment(torch.cat([photos, second], dim=1), target, generator, self.augmentation)
