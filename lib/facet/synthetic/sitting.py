"""Portrait sittings: people photographed as one likes, and one thing changed while all else stays equal."""

from collections.abc import Mapping, Sequence
from dataclasses import fields

import torch
from torch import Tensor

from facet.crop import crop_box, crop_matrix
from facet.face_model import UVSampler
from facet.synthetic import portrait
from facet.synthetic.dataset import TOGETHER, read_bank
from facet.synthetic.finish import Finish
from facet.synthetic.framing import landmarks_of
from facet.synthetic.occluders import KINDS, Occluder, draw_occluders
from facet.synthetic.portrait import Atelier, Cast, Shots
from facet.synthetic.poses import Poses
from facet.synthetic.render import context_size
from facet.synthetic.truth import Truth, truth_of


def posed(
    yaw: Sequence | float, pitch: Sequence | float = 0.0, roll: Sequence | float = 0.0, *, people: int = 1
) -> Poses:
    """Poses (N, P) in degrees: a row a person, or one row (or number) that is the same for everybody."""
    angles = torch.broadcast_tensors(*(torch.as_tensor(a, dtype=torch.float32) for a in (yaw, pitch, roll)))
    return Poses(*(a if a.ndim == 2 else a.reshape(1, -1).repeat(people, 1) for a in angles))


def sit(
    atelier: Atelier,
    rows: Sequence[int],
    poses: Poses,
    *,
    size: int,
    seed: int = 0,
    split: str = "train",
    plain: bool = False,
    **options,
) -> tuple[Cast, Shots]:
    """People of the bank, and their pictures at poses (N, P).

    Args:
        rows: (N,) of the split's bank; size: of the crops; seed: of everything drawn.
        plain: nothing in front, and a camera that only encodes sRGB.
        options: of `draw_views`.
    """
    generator = torch.Generator().manual_seed(seed)
    cast = portrait.draw_cast(generator, atelier, read_bank(split), torch.as_tensor(rows), split=split)
    shift = window(size)["shift"]
    shots = portrait.draw_shots(
        generator, atelier, cast, poses, image_size=size, shift=shift, split=split, **options
    )
    if plain:
        shots.finish = Finish.plain(len(shots))
        shots.occluder.kind = torch.zeros_like(shots.occluder.kind)
    return cast, shots


def crowd(atelier: Atelier, count: int, *, size: int, seed: int = 0) -> tuple[Cast, Shots]:
    """Random people of the training bank, one picture each: seen from everywhere, mostly from the front."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randint(len(read_bank("train")["years"]), (count,), generator=generator)
    spread = torch.tensor([32.0, 8.0, 6.0])[:, None, None]
    angles = (spread * torch.randn(3, count, 1, generator=generator)).clamp(-90, 90)
    return sit(atelier, rows.tolist(), Poses(*angles), size=size, seed=seed)


def window(size: int) -> dict[str, float]:
    """What `photograph` needs to show a crop of that size with its surroundings."""
    return {"size": context_size(size), "shift": (context_size(size) - size) / 2}


def take(atelier: Atelier, cast: Cast, shots: Shots, *, size: int, split: str = "train") -> Tensor:
    """(M, 3, L, L) pictures with their surroundings, L of `context_size`."""
    family = "test" if split == "test" else "train"
    parts = [slice(k, k + TOGETHER) for k in range(0, len(shots), TOGETHER)]
    return torch.cat(
        [portrait.photograph(atelier, cast, shots.rows(p), split=family, **window(size)) for p in parts]
    )


def truth(atelier: Atelier, sampler: UVSampler, cast: Cast, shots: Shots, *, size: int) -> Truth:
    """The truth of what `take` shows; `texel_seen` and `position_map` have the sampler's size."""
    return truth_of(atelier, sampler, cast, shots, **window(size))


def chosen(cast: Cast, shots: Shots, pictures: Sequence[int]) -> tuple[Cast, Shots]:
    """Some of the pictures, and the people who are in them."""
    shots = shots.rows(torch.as_tensor(pictures))
    who, shots.views.subject = shots.views.subject.unique(return_inverse=True)
    return cast.rows(who), shots


def varied(cast: Cast, shots: Shots, count: int, **tables: Mapping[str, object]) -> tuple[Cast, Shots]:
    """The first picture and its person `count` times, with columns of tables replaced.

        varied(cast, shots, 5, skin={"melanin": torch.linspace(0, 1, 5)}, views={"distance": 600.0})

    Args:
        tables: name of a table of `Cast` or `Shots` → its new columns, (count, …) or what broadcasts to that.

    Raises:
        ValueError: there is no such table or column, or the values do not fit.
    """
    cast = cast.rows(shots.views.subject[:1].expand(count))
    shots = shots.rows(torch.zeros(count, dtype=torch.int64))
    shots.views.subject = torch.arange(count)
    found = {f.name: getattr(bundle, f.name) for bundle in (cast, shots) for f in fields(bundle)}
    for name, columns in tables.items():
        if name not in found:
            raise ValueError(f"no table {name!r}; there are {', '.join(found)}")
        for column, value in columns.items():
            _replace(found[name], column, value)
    return cast, shots


def _replace(table, name: str, value) -> None:
    if name not in vars(table):
        raise ValueError(f"{type(table).__name__} has no column {name!r}")
    column = getattr(table, name)
    value = torch.as_tensor(value, dtype=column.dtype)
    if value.ndim and value.ndim < column.ndim and len(value) == len(column):
        value = value.reshape(len(value), *(1,) * (column.ndim - value.ndim))  # one number a row
    try:
        setattr(table, name, value.expand_as(column).clone())
    except RuntimeError:
        shapes = f"{tuple(value.shape)} for {tuple(column.shape)}"
        raise ValueError(f"{type(table).__name__}.{name}: {shapes}") from None


def framed(atelier: Atelier, cast: Cast, shots: Shots, *, size: int) -> Shots:
    """The shots, cropped anew by the 300W-LP rule: for poses, distances or faces that were changed."""
    shots, box = shots.rows(slice(None)), crop_box(landmarks(atelier, cast, shots))
    views = shots.views
    camera = views.camera().moved(crop_matrix(box.centre, box.size, size))
    views.scale, views.centre = camera.scale, camera.centre
    return shots


def acted(atelier: Atelier, cast: Cast, alpha_exp: Tensor) -> Cast:
    """The cast with other expressions (N, 52), fitted to each one's lids and lips."""
    cast = cast.rows(slice(None))
    cast.subjects.alpha_exp = atelier.openings.settle(cast.subjects.alpha_id, alpha_exp)
    return cast


def gazing(names: Sequence[str], aside: Tensor, up: Tensor) -> Tensor:
    """(N, 52) eyes turned to the subject's left and up by shares (N,) of their range; all else rests."""
    alpha = torch.zeros(len(aside), len(names))
    turns = {"OutLeft": aside, "InRight": aside, "InLeft": -aside, "OutRight": -aside}
    turns |= {f"{way}{side}": s * up for way, s in (("Up", 1), ("Down", -1)) for side in ("Left", "Right")}
    for name, share in turns.items():
        alpha[:, names.index(f"eyeLook{name}")] = share.clamp(0, 1)
    return alpha


def aged(atelier: Atelier, row: int, years: Sequence[float], *, seed: int = 0) -> Cast:
    """One person of the training bank at other ages, all drawn with the same random numbers.

    The skull and the flesh move by what ages differ by in the bank on average (least squares, each
    coefficient on age); wrinkles, spots and hair are drawn anew for the age.
    """
    bank = read_bank("train")
    ages, alpha = bank["years"].float(), bank["alpha_id"].float()
    centred = ages - ages.mean()
    slope = (centred @ alpha) / centred.square().sum()  # (K,) a year
    person = {name: column[row : row + 1] for name, column in bank.items()}
    casts = []
    for age in years:
        older = {
            "years": torch.tensor([float(age)]),
            "alpha_id": alpha[row : row + 1] + (age - ages[row]) * slope,
        }
        generator = torch.Generator().manual_seed(seed)
        casts.append(portrait.draw_cast(generator, atelier, person | older, torch.tensor([0])))
        casts[-1].subjects.identity = torch.tensor([row])
    states = [cast.state() for cast in casts]
    return Cast.from_state({name: torch.cat([s[name] for s in states]) for name in states[0]})


def occluders(atelier: Atelier, cast: Cast, shots: Shots, *, size: int, seed: int = 0) -> Occluder:
    """One of each kind of occluder before the first picture's person: a row a kind, "none" left out."""
    place = landmarks(atelier, *chosen(cast, shots, [0]), shift=window(size)["shift"])[..., :2]
    generator = torch.Generator().manual_seed(seed)
    tries = 64 * len(KINDS)  # the rarest kind is one of sixteen
    hair = cast.outfit.hair_colour[shots.views.subject[:1]].expand(tries, 3)
    table = draw_occluders(generator, place.expand(tries, -1, -1), size, share=1.0, hair=hair)
    rows = [int((table.kind == kind).nonzero()[0, 0]) for kind in range(1, len(KINDS))]
    return table.rows(torch.tensor(rows))


def landmarks(atelier: Atelier, cast: Cast, shots: Shots, *, shift: float = 0.0) -> Tensor:
    """(M, 68, 3) where the landmarks project, see `framing.landmarks_of`."""
    return landmarks_of(atelier.model, cast.subjects, shots.views, shift)
