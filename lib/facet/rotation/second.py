"""Second photos for training: true ones, views by the rotator, and true ones that imitate its views.

Every person of a two-view data set gives one photo, drawn once (the front one for half of the people, else
one of the sides), and one second picture, that of the kind asked for. Views are made once and stored;
augmentation comes after, as in the thesis. A view has a window's margin, so that it can be turned.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from facet.augment import Augmentation, augment
from facet.face_model import UVSampler
from facet.rotation.rotator import Rotator
from facet.rotation.store import Store, Stored
from facet.rotation.turn import ANGLE, FULL, second_pose
from facet.synthetic.batches import FRONT, LEFT, RIGHT
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
    """(N,) which view of each person is the photo: a function of the person's row alone."""
    draw = _draws(people, 1)
    return torch.where(draw < 0.5, FRONT, torch.where(draw < 0.75, LEFT, RIGHT))


def true_views(people: Tensor) -> Tensor:
    """(N,) which view of each person is the true second photo: a side for a front, the front for a side."""
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
    """The rotator's views of a data set's photos, or the true second photos drawn as it draws its own.

    Args:
        kind: "rotated" (by 30°), "rotated-side" (a full turn) or "imitated": the true second photo goes
            through the rotator at its own yaw, which levels pitch and roll, crops, and paints the background.
        about: plain values that decide what the rotator does: its weights.
    """
    if kind not in (*ANGLES, "imitated"):
        raise ValueError(f"views are {', '.join((*ANGLES, 'imitated'))}, not {kind!r}")
    size, shift = pictures.description.window

    def make(people: Tensor) -> Tensor:
        shown = photo_views(people) if kind in ANGLES else true_views(people)
        photos = crops(pictures, people, shown).to(rotator.device)
        heads = rotator.heads(photos)
        pose = second_pose(heads.pose(), to=ANGLES.get(kind, 0.0))
        return rotator.view(photos, heads, pose, size=size, shift=shift).image

    about = {"kind": kind, "people": pictures.description.key, **about}
    return Store(f"{kind}-{pictures.description.split}", about, len(pictures), make)


@dataclass
class SecondBatches:
    """Batches of (photo, second photo) and the photo's map, as `facet.synthetic.batches.Batches`.

    Attributes:
        pictures: two-view data set; views: the opened `view_store` of each kind but "true".
        kind: a key of KINDS; sampler: of the maps.
        batch, augmentation, seed: as there.
    """

    pictures: Pictures
    sampler: UVSampler
    kind: str
    views: dict[str, Stored]
    batch: int
    augmentation: Augmentation
    seed: int = 0

    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        """Images (B, 6, S, S) in [0, 1] and maps (B, 3, S, S) in pixels of step `step`."""
        people, which = self.items(step)
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        return self.make(people, which, generator)

    def items(self, step: int) -> tuple[Tensor, Tensor]:
        """(B,) people and (B,) which of the kinds: each epoch passes once over every person and kind."""
        count = len(self.pictures) * len(KINDS[self.kind])
        wanted = torch.arange(step * self.batch, (step + 1) * self.batch)
        epochs = wanted // count
        item = torch.cat(
            [self._order(e, count)[wanted[epochs == e] % count] for e in epochs.unique().tolist()]
        )
        return item % len(self.pictures), item // len(self.pictures)

    def make(self, people: Tensor, which: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The batch of given people; `which` counts through the kinds and round again."""
        kinds = KINDS[self.kind]
        first = photo_views(people)
        context, second = self.pictures.stack(people, first), self.pictures.stack(people, true_views(people))
        for number, kind in enumerate(kinds):
            chosen = (which % len(kinds) == number).nonzero()[:, 0]
            if kind != "true" and len(chosen):
                second[chosen] = self.views[kind].stack(people[chosen])
        views = self.pictures.views.rows(self.pictures.view_rows(people, first))
        target = truth_maps(self.sampler, self.pictures.subjects, views)
        return augment(torch.cat([context, second], dim=1), target, generator, self.augmentation)

    def _order(self, epoch: int, count: int) -> Tensor:
        return torch.randperm(count, generator=torch.Generator().manual_seed(self.seed * 7919 + epoch))
