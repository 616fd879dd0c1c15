"""Named, frozen test sets: held-out identities with exact truth, as `facet.evaluation.evaluate` takes them.

    synthetic-v1-pairs     200 people × (front + left), (front + right): TwoView's poses
    synthetic-v1-florence  50 other people × 27 poses, perspective: Rotation's poses, one photo a sample
    synthetic-v2-…         the same people and poses, as the second generation photographs them
    synthetic-v2-front     the pairs' people, a front photo alone; "synthetic-v2-front in glasses" and so on:
                           the same photos after one of `factors.CHANGES`

Crops are jittered as a detector's are. Identities are full-detail heads outside the training bank, some
with skins, backgrounds and lights that training never shows. The truth is bare skin; in sets asked for with
`beards` (…-v2-…-beards) it has their volume.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from facet.face_model import FaceModel, load
from facet.synthetic.batches import FRONT, LEFT, RIGHT
from facet.synthetic.beards import Beards
from facet.synthetic.dataset import Description, Pictures, open_pictures
from facet.synthetic.render import truth_vertices

FLORENCE_FIRST = 200  # the first row of the test bank that the florence set uses
PAIRS, FLORENCE = "synthetic-v1-pairs", "synthetic-v1-florence"
PAIRS_2, FLORENCE_2 = "synthetic-v2-pairs", "synthetic-v2-florence"
FRONT_2 = "synthetic-v2-front"


@dataclass
class TestSet:
    """An iterable of samples.

    Each is a mapping: images (3 or 6, S, S), vertices (V, 3), landmarks, scale, yaw, pitch, roll, identity,
    years, gender, ancestry, side.
    """

    __test__ = False  # not a test case, whatever pytest makes of its name

    name: str
    pictures: Pictures
    model: FaceModel
    # for each sample of a person: the views it shows, the scored one first
    views: tuple[tuple[int, ...], ...]
    beards: Beards | None = None  # whose volume the truth has

    def __len__(self) -> int:
        return len(self.pictures) * len(self.views)

    def __iter__(self) -> Iterator[dict]:
        for number in range(len(self.pictures)):
            yield from self.person(number)

    def person(self, number: int) -> list[dict]:
        """The samples of one person, in the order of `views`."""
        truth = self._truth(number)
        return [self._sample(number, shown, truth) for shown in self.views]

    def head(self, people: int) -> "TestSet":
        """The first people of the set."""
        people = min(people, len(self.pictures))
        description = replace(self.pictures.description, people=people)
        return replace(self, pictures=replace(self.pictures, description=description))

    def _truth(self, person: int) -> Tensor:
        rows = slice(person * self.pictures.per_person, (person + 1) * self.pictures.per_person)
        subjects, views = self.pictures.subjects, self.pictures.views.rows(rows)
        worn = subjects, self.pictures.outfit, views
        relief = None if self.beards is None else self.beards.of_views(*worn)
        return truth_vertices(self.model, subjects, views, relief)

    def _sample(self, person: int, shown: tuple[int, ...], truth: Tensor) -> dict:
        images = [torch.from_numpy(self.pictures.picture(person, view).copy()) for view in shown]
        view = self.pictures.views.rows(slice(person * self.pictures.per_person + shown[0], None))
        subject = self.pictures.subjects.rows(slice(person, person + 1))
        return {
            "images": torch.cat(images).float() / 255,
            "vertices": truth[shown[0]],
            "landmarks": truth[shown[0]][self.model.landmarks],
            "scale": float(view.scale[0]),
            "yaw": float(view.yaw[0]),
            "pitch": float(view.pitch[0]),
            "roll": float(view.roll[0]),
            "identity": int(subject.identity[0]),
            "years": float(subject.years[0]),
            "gender": "female" if float(subject.gender[0]) > 0.5 else "male",
            "ancestry": ("african", "asian", "caucasian")[int(subject.ancestry[0].argmax())],
            "side": {LEFT: "left", RIGHT: "right"}.get(shown[1], "") if len(shown) > 1 else "",
        }


def pairs(
    image_size: int,
    people: int = 200,
    *,
    model: FaceModel | None = None,
    generation: int = 1,
    beards: bool = False,
    **options,
) -> TestSet:
    """`synthetic-v1-pairs` (or of another generation) at an image size.

    Args:
        beards: the truth has their volume; options: as `open_pictures`.
    """
    description = Description("test", "two-view", people, image_size, jitter=True, generation=generation)
    shown = ((FRONT, LEFT), (FRONT, RIGHT))
    return _opened({1: PAIRS, 2: PAIRS_2}[generation], description, shown, model, beards, options)


def florence(
    image_size: int,
    people: int = 50,
    *,
    model: FaceModel | None = None,
    generation: int = 1,
    beards: bool = False,
    **options,
) -> TestSet:
    """`synthetic-v1-florence` (see `pairs`): one photo a sample, 27 poses a person."""
    description = Description(
        "test", "florence", people, image_size, jitter=True, first=FLORENCE_FIRST, shard=10,
        generation=generation,
    )  # fmt: skip
    shown = tuple((k,) for k in range(27))
    return _opened({1: FLORENCE, 2: FLORENCE_2}[generation], description, shown, model, beards, options)


def front(
    image_size: int,
    people: int = 200,
    *,
    model: FaceModel | None = None,
    change: str = "",
    split: str = "test",
    **options,
) -> TestSet:
    """`synthetic-v2-front` (see `pairs`): one photo a sample and person, after a change of factors.

    Args:
        split: "validation" for people on whom choices may be made; the set's name says so.
    """
    name = f"{FRONT_2 if split == 'test' else f'{split}-v2-front'} {change}".strip()
    description = front_description(image_size, people, change, split)
    return _opened(name, description, ((FRONT,),), model, False, options)


def front_description(image_size: int, people: int, change: str = "", split: str = "test") -> Description:
    """Of the pictures of :func:`front`."""
    return Description(split, "front", people, image_size, jitter=True, generation=2, change=change)


def _opened(
    name: str, description: Description, shown: tuple, model: FaceModel | None, beards: bool, options: dict
) -> TestSet:
    model, pictures = model or load(), open_pictures(description, **options)
    if not beards:
        return TestSet(name, pictures, model, shown)
    return TestSet(f"{name}-beards", pictures, model, shown, Beards.open(model))
