"""Photo sessions for notebooks: pictures of a few subjects, what every stored number means, and how fast."""

import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from facet.augment import Augmentation
from facet.face_model import sampler
from facet.face_model.people import ANCESTRIES
from facet.synthetic.batches import Batches
from facet.synthetic.dataset import Description, Pictures, draw_shard, read_bank, render_shard
from facet.synthetic.poses import Poses
from facet.synthetic.render import Studio, context_size, render, truth_maps, truth_vertices
from facet.synthetic.subjects import Subjects, Views, draw_views

MEANING = {
    "identity": "row of the people bank",
    "alpha_id": "identity coefficients, standard deviations",
    "alpha_exp": "strengths of the 52 expressions, 0 to 1",
    "skin": "number of the skin texture",
    "skin_gain": "factors on the skin's red, green, blue",
    "iris": "colour",
    "hair": "colour of hair, brows and stubble",
    "cloth": "colour",
    "lips": "factors on the skin's red, green, blue",
    "eye": "radius of iris and pupil (of the eyeball's), highlight x, y",
    "brow": "thickness, height, arch (mm), density",
    "scalp": "cover of cropped hair, shift of the hairline (mm)",
    "stubble": "strength, 0 to 1",
    "gloss": "strength of the skin's shine",
    "grain": "seed of hair's and cloth's noise",
    "years": "age, from the bank",
    "gender": "0 male to 1 female, from the bank",
    "ancestry": "shares: " + ", ".join(ANCESTRIES),
    "subject": "row of the subjects' table",
    "yaw": "degrees; + turns the nose to the image's right",
    "pitch": "degrees; + lifts the nose",
    "roll": "degrees; + tilts to the subject's right",
    "scale": "pixels a millimetre in the plane of the origin",
    "centre": "pixel at which the origin lands",
    "distance": "mm from the camera to the origin; inf is orthographic",
    "origin": "mm, the point that the camera looks at",
    "sh": "light from all sides: nine spherical harmonics in red, green, blue",
    "key_direction": "toward the key light, image frame",
    "key_colour": "of the key light",
    "background": "seed",
}


def photograph(
    studio: Studio,
    subjects: Subjects,
    poses: Poses,
    *,
    size: int,
    seed: int = 0,
    split: str = "train",
    florence: bool = False,
    **fixed,
) -> tuple[Tensor, Views]:
    """Pictures (N·P, 3, S, S) of subjects at poses (N, P), and their views.

    Args:
        size: S; the pictures are crops by the 300W-LP rule.
        seed: of camera, light and background.
        split: whose backgrounds and lights.
        florence: the Florence protocol's camera.
        fixed: columns of the views to overwrite, such as `background` or `sh`; broadcast over the views.

    Raises:
        ValueError: the views have no such column.
    """
    generator = torch.Generator().manual_seed(seed)
    views = draw_views(
        generator, studio.model, subjects, poses, image_size=size, split=split, florence=florence
    )
    for name, value in fixed.items():
        if name not in Views.__dataclass_fields__:
            raise ValueError(f"views have no {name!r}")
        column = getattr(views, name)
        setattr(views, name, torch.as_tensor(value, dtype=column.dtype).expand_as(column).clone())
    family = "test" if split == "test" else "train"
    pictures = [
        render(studio, subjects, views.rows(slice(k, k + 6)), size=size, shift=0, split=family)
        for k in range(0, len(views), 6)
    ]
    return torch.cat(pictures), views


def parameter_rows(subjects: Subjects, views: Views) -> list[dict]:
    """For every stored parameter: whose it is, its name, how many numbers, meaning, the first one's."""
    rows = []
    for table, of in ((subjects, "person"), (views, "picture")):
        for name in table.__dataclass_fields__:
            value = getattr(table, name)[0].flatten()
            shown = ", ".join(f"{v:.4g}" for v in value[:4].tolist()) + (", …" if len(value) > 4 else "")
            rows.append(
                {"of": of, "name": name, "numbers": len(value), "meaning": MEANING[name], "example": shown}
            )
    return rows


def demographic_rows(splits: Sequence[str] = ("train", "validation", "test")) -> list[dict]:
    """Who is in the bank, by split: people, ages, genders, ancestries, coefficients, skins in use."""
    rows = []
    for split in splits:
        bank = read_bank(split)
        years = bank["years"].float()
        leans = bank["ancestry"].argmax(dim=1).bincount(minlength=len(ANCESTRIES)) / len(years)
        row = {"split": split, "people": len(years), "youngest": float(years.min())}
        row |= {"median age": float(years.median()), "oldest": float(years.max())}
        row["female %"] = 100 * float((bank["gender"] > 0.5).float().mean())
        row |= {f"{name} %": 100 * float(lean) for name, lean in zip(ANCESTRIES, leans, strict=True)}
        rows.append(row | {"coefficients": bank["alpha_id"].shape[1], "skins": len(bank["skin"].unique())})
    return rows


def speed_rows(studio: Studio, sizes: Sequence[int], *, people: int = 4, repeats: int = 3) -> list[dict]:
    """Milliseconds a picture for each step of the generator, best of `repeats`, at each image size.

    `ms` is time by the clock, `cpu_ms` processor time, which does not grow when others use the machine.

    Steps: drawing subjects and views, rendering, true vertices, position maps, augmenting a batch of pairs
    that are in memory. "all" is a data set's shard: drawn and rendered.
    """
    rows = []
    for size in sizes:
        description = Description("train", "two-view", people, size, shard=people)
        subjects, views = draw_shard(description, 0, studio)
        pictures = render_shard(description, subjects, views, studio)
        maps = sampler(studio.model, size)
        made = Pictures(description, [pictures.numpy()], subjects, views)
        batches = Batches(made, maps, "pair", people, Augmentation.preset("photo"))
        steps: dict[str, Callable[[], object]] = {
            "draw": lambda d=description: draw_shard(d, 0, studio),
            "render": lambda d=description, s=subjects, v=views: render_shard(d, s, v, studio),
            "true vertices": lambda s=subjects, v=views: truth_vertices(studio.model, s, v),
            "position maps": lambda m=maps, s=subjects, v=views: truth_maps(m, s, v),
            "batch of pairs": lambda b=batches: b(0),
        }
        count = {name: 3 * people for name in steps} | {"batch of pairs": 2 * people}
        times = {name: [t / count[name] for t in _best(repeats, step)] for name, step in steps.items()}
        times["all"] = [a + b for a, b in zip(times["draw"], times["render"], strict=True)]
        rows += [
            {
                "step": name,
                "size": size,
                "window": context_size(size),
                "ms": ms,
                "cpu_ms": cpu_ms,
                "images_per_second": 1000 / ms,
                "threads": torch.get_num_threads(),
            }
            for name, (ms, cpu_ms) in times.items()
        ]
    return rows


def _best(repeats: int, run: Callable[[], object]) -> tuple[float, float]:
    """Milliseconds of the fastest run, by the clock and of processor time (of all threads together)."""
    times = []
    for _ in range(max(repeats, 1)):
        began, cpu = time.perf_counter(), time.process_time()
        run()
        times.append((1000 * (time.perf_counter() - began), 1000 * (time.process_time() - cpu)))
    return min(t for t, _ in times), min(t for _, t in times)
