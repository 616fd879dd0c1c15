"""Data sets of synthetic people on disk: made in shards when asked for, in parallel, resumable, cached.

A shard holds some people's pictures (`.npy`, uint8) and every parameter that made them (`.safetensors`).
What a shard contains depends on the data set's description and the shard's number alone, so it does not
matter which process makes it, in which order, or after how many interruptions. Files are renamed into place
whole.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from facet import paths
from facet.face_model import FaceModel, load
from facet.face_model import files as cache
from facet.files import write_beside
from facet.synthetic import factors, portrait
from facet.synthetic.outfits import Outfit
from facet.synthetic.poses import THREE_VIEWS, Poses, florence_poses, rotation_poses, two_view_poses
from facet.synthetic.render import Studio, context_size, render
from facet.synthetic.subjects import Subjects, Views, draw_subjects, draw_views

# First: painted heads (`render`). Second: hair, beards, glasses, hard light, lens and sensor (`portrait`).
# Both are frozen; whoever changes pictures adds another.
GENERATIONS = (1, 2)
TOGETHER = 6  # pictures rendered at a time
SPLITS = ("train", "validation", "test")
POSES = (*THREE_VIEWS, "rotation", "florence", "front")


@dataclass(frozen=True)
class Description:
    """What a data set is made of.

    Attributes:
        split: whose identities: train, validation or test; they are different people.
        poses: "two-view" (front, left, right), "wide" (the same three, over all yaws), "rotation" (eight
            bins), "florence" (27 poses, perspective) or "front" (one view, posed as the front of
            "two-view").
        people: how many; the first ones of the split's bank, so a larger set contains a smaller one.
        image_size: side of the crop; pictures show `CONTEXT` times as much, unless `jitter` is set.
        jitter: crops as a detector would give them (300W-LP jitter), and just the crop: for test sets.
        seed: of everything drawn.
        first: first row of the bank.
        generation: of synthetic people, see GENERATIONS.
        change: one of `factors.CHANGES`, made to what is drawn without it; second generation only.
    """

    split: str
    poses: str
    people: int
    image_size: int
    jitter: bool = False
    seed: int = 0
    first: int = 0
    shard: int = 50
    generation: int = 1
    change: str = ""

    def __post_init__(self):
        if self.generation not in GENERATIONS:
            raise ValueError(f"generation must be one of {GENERATIONS}, got {self.generation!r}")
        if self.change and factors.checked(self.change) and self.generation == 1:
            raise ValueError(f"only people of the second generation can be changed ({self.change!r})")
        if self.split not in SPLITS or self.poses not in POSES:
            raise ValueError(
                f"split must be one of {SPLITS} and poses of {POSES}, got {self.split!r}, {self.poses!r}"
            )

    @property
    def key(self) -> str:
        """Short hash of all but the number of people: shards are shared by sets of different size."""
        values = {k: v for k, v in asdict(self).items() if k != "people" and (k != "change" or v)}
        text = json.dumps({**values, "face_model": cache.VERSION}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:10]

    @property
    def folder(self) -> Path:
        """Where its shards are."""
        return paths.CACHE / "synthetic" / f"{self.split}-{self.poses}-{self.image_size}-{self.key}"

    @property
    def shards(self) -> int:
        """How many shards it has; the last may be larger than the set needs."""
        return -(-self.people // self.shard)

    @property
    def window(self) -> tuple[int, int]:
        """Side of the stored pictures, and how far the crop lies inside them."""
        size = self.image_size if self.jitter else context_size(self.image_size)
        return size, (size - self.image_size) // 2


@dataclass
class Pictures:
    """An opened data set.

    Attributes:
        images: for each shard (n, P, 3, L, L) uint8, a memory map; subjects, views: tables of all shards.
        outfit: table of what the subjects wear; None in the first generation.
    """

    description: Description
    images: list[np.ndarray]
    subjects: Subjects
    views: Views
    outfit: Outfit | None = None

    @property
    def per_person(self) -> int:
        return self.images[0].shape[1]

    def __len__(self) -> int:
        return self.description.people

    def picture(self, person: int, view: int) -> np.ndarray:
        """(3, L, L) uint8 picture of one person."""
        return self.images[person // self.description.shard][person % self.description.shard, view]

    def stack(self, people: Tensor, views: Tensor) -> Tensor:
        """(B, 3, L, L) uint8 pictures: view views[b] of person people[b]."""
        rows = zip(people.tolist(), views.tolist(), strict=True)
        return torch.from_numpy(np.stack([self.picture(p, v) for p, v in rows]))

    def view_rows(self, people: Tensor, views: Tensor) -> Tensor:
        """Rows of the views' table."""
        return people * self.per_person + views


def open_pictures(description: Description, *, workers: int = 2, progress=None) -> Pictures:
    """The data set, its missing shards made first.

    Args:
        workers: processes; progress: called with (shards there, shards in all).

    Raises:
        ValueError: the bank has fewer people than asked for.
    """
    make(description, workers=workers, progress=progress)
    return _read(description)


def make(description: Description, *, workers: int = 2, progress=None, only: slice | None = None) -> None:
    """Make the missing shards (`only` some of them, to share the work between machines)."""
    _make([(description, k) for k in range(description.shards)[only or slice(None)]], workers, progress)


def make_all(descriptions: Iterable[Description], *, workers: int = 2, progress=None) -> None:
    """Make the missing shards of several data sets, as `make`, by the same processes."""
    _make([(each, k) for each in descriptions for k in range(each.shards)], workers, progress)


def _make(wanted: list[tuple[Description, int]], workers: int, progress) -> None:
    cache.ensure()
    missing = [work for work in wanted if not _is_made(*work)]
    if not missing:
        return
    done = len(wanted) - len(missing)
    if workers < 2 or len(missing) < 2:
        studios = {}
        for description, shard in missing:
            generation = description.generation
            if generation not in studios:
                studios[generation] = open_studio(generation, load())
            make_shard(description, shard, studios[generation])
            done += 1
            _report(progress, done, len(wanted))
        return
    import multiprocessing

    with multiprocessing.get_context("spawn").Pool(min(workers, len(missing)), _one_thread) as pool:
        for _ in pool.imap_unordered(_make_in_worker, missing):
            done += 1
            _report(progress, done, len(wanted))


def open_studio(generation: int, model: FaceModel, device: str | torch.device = "cpu"):
    """What renders a generation: `Studio` or `Atelier`."""
    return {1: Studio, 2: portrait.Atelier}[generation].open(model, device)


def make_shard(description: Description, shard: int, studio) -> None:
    """Render one shard and rename it into place; its pictures come last and mark it complete."""
    from safetensors.torch import save_file

    people, shots = draw_shard(description, shard, studio)
    pictures = render_shard(description, people, shots, studio)
    images, parameters = shard_files(description, shard)
    if description.generation == 1:
        tables = {**people.state("subjects"), **shots.state("views")}
    else:  # bundles of tables that know their names, `subjects` and `views` among them
        tables = {**people.state(), **shots.state()}
    with write_beside(parameters) as temporary:
        save_file(tables, temporary)
    with write_beside(images) as temporary:
        np.save(temporary, pictures.numpy())


def render_shard(description: Description, people, shots, studio) -> Tensor:
    """(n, P, 3, L, L) uint8 pictures of a shard's tables, be they freshly drawn or read back.

    Six views at a time: products of matrices round otherwise in another grouping. With its group a picture
    has the same bits; alone it has them if its company is told (`record.Record`), else it can differ by some
    grey levels in some pixels.
    """
    size, shift = description.window
    split = "test" if description.split == "test" else "train"
    take = {1: render, 2: portrait.photograph}[description.generation]
    pictures = []
    for start in range(0, len(shots), TOGETHER):
        some = shots.rows(slice(start, start + TOGETHER))
        picture = take(studio, people, some, size=size, shift=shift, split=split)
        pictures.append(as_bytes(picture))
    return torch.cat(pictures).view(len(people), -1, 3, size, size)


def as_bytes(pictures: Tensor) -> Tensor:
    """Values in [0, 1] as uint8."""
    return (pictures * 255).round().to(torch.uint8)


def draw_shard(description: Description, shard: int, studio):
    """Every random number of a shard, from (data set, shard number) alone.

    Returns:
        `Subjects` and `Views`, or of the second generation `Cast` and `Shots`.
    """
    drawn = replace(description, change="")  # a change keeps every number that it does not change
    digest = hashlib.sha256(f"{drawn.key}/{shard}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "little"))
    bank = read_bank(description.split)
    first = description.first + shard * description.shard
    if first + description.shard > len(bank["alpha_id"]):
        raise ValueError(
            f"the bank has {len(bank['alpha_id'])} {description.split} people; "
            f"{first + description.shard} were asked for."
        )
    rows = torch.arange(first, first + description.shard)
    options = {"image_size": description.image_size, "jitter": description.jitter}
    options |= {"split": description.split, "florence": description.poses == "florence"}
    if description.generation == 1:
        people = draw_subjects(generator, studio.model, bank, rows)
        poses = _poses(description.poses, generator, description.shard)
        return people, draw_views(generator, studio.model, people, poses, **options)
    cast = portrait.draw_cast(generator, studio, bank, rows, split=description.split)
    poses = _poses(description.poses, generator, description.shard)
    shots = portrait.draw_shots(generator, studio, cast, poses, shift=description.window[1], **options)
    if description.change:
        return factors.change(description.change, studio, cast, shots)
    return cast, shots


def read_bank(split: str) -> dict[str, Tensor]:
    """The people bank's rows of a split: alpha_id, years, gender, ancestry, build, skin."""
    from safetensors import safe_open

    with safe_open(cache.ensure().people, "pt") as handle:
        return {k.split(".", 1)[1]: handle.get_tensor(k) for k in handle.keys() if k.startswith(split)}  # noqa: SIM118


def read_tables(description: Description) -> tuple[portrait.Cast, portrait.Shots]:
    """Everything that was drawn for the people of a data set of the second generation, its shards there."""
    from safetensors.torch import load_file

    casts, shots = [], []
    for shard in range(description.shards):
        state = load_file(shard_files(description, shard)[1])
        casts.append(portrait.Cast.from_state(state))
        shots.append(portrait.Shots.from_state(state))
        shots[-1].views.subject += shard * description.shard
    cast, shots = (_joined(bundles) for bundles in (casts, shots))
    return cast.rows(slice(description.people)), shots.rows(shots.views.subject < description.people)


def shard_files(description: Description, shard: int) -> tuple[Path, Path]:
    """Pictures and parameters of a shard."""
    stem = description.folder / f"{shard:05d}"
    return stem.with_suffix(".npy"), stem.with_suffix(".safetensors")


def _poses(name: str, generator: torch.Generator, people: int) -> Poses:
    if name == "florence":
        poses = florence_poses()
        return Poses(*(getattr(poses, angle).expand(people, -1) for angle in ("yaw", "pitch", "roll")))
    if name == "front":
        poses = two_view_poses(generator, people)
        return Poses(*(getattr(poses, angle)[:, :1] for angle in ("yaw", "pitch", "roll")))
    return {**THREE_VIEWS, "rotation": rotation_poses}[name](generator, people)


def _read(description: Description) -> Pictures:
    from safetensors.torch import load_file

    images, subjects, views, outfits = [], [], [], []
    for shard in range(description.shards):
        picture_file, parameter_file = shard_files(description, shard)
        images.append(np.load(picture_file, mmap_mode="r"))
        state = load_file(parameter_file)
        people, seen = Subjects.from_state(state, "subjects"), Views.from_state(state, "views")
        seen.subject = seen.subject + shard * description.shard
        subjects.append(people)
        views.append(seen)
        if description.generation > 1:
            outfits.append(Outfit.from_state(state, "outfit"))
    people, per_person = description.people, images[0].shape[1]
    return Pictures(
        description,
        images,
        _join(subjects).rows(slice(people)),
        _join(views).rows(slice(people * per_person)),
        _join(outfits).rows(slice(people)) if outfits else None,
    )


def _join(tables: list):
    names = tables[0].__dict__
    return type(tables[0])(**{name: torch.cat([getattr(table, name) for table in tables]) for name in names})


def _joined(bundles: list):
    """Bundles of tables one below the other."""
    states = [bundle.state() for bundle in bundles]
    return type(bundles[0]).from_state({name: torch.cat([s[name] for s in states]) for name in states[0]})


def _is_made(description: Description, shard: int) -> bool:
    return all(path.is_file() for path in shard_files(description, shard))


_studios: dict[int, object] = {}  # one of a kind a process: it loads in a second and serves every shard


def _one_thread() -> None:
    torch.set_num_threads(1)


def _make_in_worker(work: tuple[Description, int]) -> int:
    generation = work[0].generation
    if generation not in _studios:
        _studios[generation] = open_studio(generation, load())
    make_shard(*work, _studios[generation])
    return work[1]


def _report(progress, done: int, total: int) -> None:
    if progress is not None:
        progress(done, total)
