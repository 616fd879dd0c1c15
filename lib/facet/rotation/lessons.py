"""The generator's lessons: stored pairs of a view with holes and the photo that answers it.

A lesson is nine planes: the filled view, its guide, the answer. "back" lessons need single photos only: there
and back. "true" lessons have another photo of the person for an answer. Its light, white balance and exposure
are its own, which no rotation can tell, so it is first brought to the photo's colours: channel by channel by
the gain and offset that fit best where the photo shows the head.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from facet.rotation.pairs import there_and_back, true_pair
from facet.rotation.rotator import Rotator, View
from facet.rotation.second import crops, photo_views, true_views
from facet.rotation.store import Store, Stored
from facet.synthetic.dataset import Pictures
from facet.synthetic.render import truth_vertices

KINDS = ("back", "true")
BESIDE = 0.1  # what a pixel beside the head counts; on it 1
NEAR = 1 / 16  # share of the side that counts as on the head around its outline: hair


def lesson_store(
    pictures: Pictures, rotator: Rotator, kind: str, count: int, about: dict[str, object]
) -> Store:
    """The lessons from the first `count` people of a two-view data set.

    Args:
        kind: "back" or "true".
        about: plain values that decide what the rotator's fit does: its weights.
    """
    if kind not in KINDS:
        raise ValueError(f"lessons are {' or '.join(KINDS)}, not {kind!r}")

    face = rotator.completion.face.to("cpu")

    def make(people: Tensor) -> Tensor:
        first = photo_views(people)
        photos = crops(pictures, people, first).to(rotator.device)
        heads = rotator.heads(photos)
        if kind == "back":
            generator = torch.Generator().manual_seed(int(people[0]))
            view, answer = there_and_back(photos, heads, rotator.completion, generator)[1], photos
        else:
            second = true_views(people)
            rows = pictures.views.rows(pictures.view_rows(people, second))
            truth = truth_vertices(face, pictures.subjects, rows)
            view = true_pair(photos, heads, rotator.completion, truth)
            answer = recoloured(crops(pictures, people, second).to(photos), view)
        return torch.cat((view.filled, view.guide(), answer), dim=1)

    about = {"lessons": kind, "people": pictures.description.key, **about}
    return Store(f"lessons-{kind}-{pictures.description.split}", about, count, make)


def recoloured(answer: Tensor, view: View) -> Tensor:
    """The answer (B, 3, S, S) with the gain and offset a channel that bring it to the view's colours."""
    weight = view.render.seen
    total = weight.sum(dim=(2, 3), keepdim=True).clamp(min=1e-3)
    mean = [(weight * x).sum(dim=(2, 3), keepdim=True) / total for x in (answer, view.render.image)]
    spread = [
        ((weight * (x - m) ** 2).sum(dim=(2, 3), keepdim=True) / total).sqrt()
        for x, m in zip((answer, view.render.image), mean, strict=True)
    ]
    gain = (spread[1] / spread[0].clamp(min=1e-2)).clamp(0.4, 2.5)
    enough = weight.sum(dim=(1, 2, 3), keepdim=True) > 20
    return torch.where(enough, (mean[1] + gain * (answer - mean[0])).clamp(0, 1), answer)


@dataclass
class LessonBatches:
    """Batches of lessons, mirrored at random, see `taken_apart`."""

    stored: Stored
    count: int
    batch: int
    seed: int = 0

    def __call__(self, step: int) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        wanted = torch.arange(step * self.batch, (step + 1) * self.batch)
        epochs = wanted // self.count
        parts = [self._order(e)[wanted[epochs == e] % self.count] for e in epochs.unique().tolist()]
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        flip = torch.rand(self.batch, generator=generator) < 0.5
        lessons = self.stored.stack(torch.cat(parts)).float() / 255
        return taken_apart(torch.where(flip[:, None, None, None], lessons.flip(3), lessons))

    def fixed(self) -> list:
        """Every lesson once, as it is: for validation."""
        rows = torch.arange(self.count).split(self.batch)
        return [taken_apart(self.stored.stack(some).float() / 255) for some in rows]

    def _order(self, epoch: int) -> Tensor:
        return torch.randperm(self.count, generator=torch.Generator().manual_seed(self.seed * 7919 + epoch))


def taken_apart(lessons: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Lessons (B, 9, S, S) as told (B, 6, S, S), and the answer with what each pixel counts."""
    told, answer = lessons[:, :6], lessons[:, 6:]
    reach = 2 * round(lessons.shape[-1] * NEAR) + 1
    near = F.max_pool2d(told[:, 5:6], reach, stride=1, padding=reach // 2)
    return told, (answer, BESIDE + (1 - BESIDE) * (near > 0.5))
