"""Who the synthetic people are: draws of age, gender, ancestry, build and local face changes for `anny`.

Adults of 18 to 80 years, uniform over age, over the two genders and over three ancestries (most people lean
to one, some are mixed). Skins belong to one of three ages, two genders and three ancestries in the assets,
so skin is confounded with all three; wherever groups are compared that has to be said.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

ANCESTRIES = ("african", "asian", "caucasian")
AGES = (18.0, 80.0)
LOCAL_SPREAD, ASYMMETRY = 0.22, 0.05  # more makes caricatures
DAMPED = {"ear-": 0.4, "head-scale": 0.6, "mouth-": 0.8}  # reach further for one unit than the other changes
LEFT_OUT = ("head-trans", "head-angle", "nose-trans-out", "mouth-trans-out")  # move a part as a whole


@dataclass
class People:
    """N people.

    Attributes:
        years: (N,); gender: (N,) 0 male … 1 female; ancestry: (N, 3) shares in the order of ANCESTRIES.
        build: (N, 4) muscle, weight, height, proportions in [0, 1]; local: (N, L) local face changes in
            [−1, 1].
    """

    years: Tensor
    gender: Tensor
    ancestry: Tensor
    build: Tensor
    local: Tensor


def local_labels(labels: list[str]) -> list[str]:
    """The local changes that shape a face or an ear (see LEFT_OUT)."""
    face = ("cheek", "chin", "ear-", "eyebrows", "eye-", "forehead", "head-", "mouth", "nose", "neck-double")
    return [
        name
        for name in labels
        if any(name.removeprefix("l-").removeprefix("r-").startswith(part) for part in face)
        and not name.startswith(LEFT_OUT)
    ]


def draw(generator: torch.Generator, count: int, labels: list[str]) -> People:
    """People drawn at random; left and right local changes agree but for a small asymmetry."""

    def uniform(*shape):
        return torch.rand(shape, generator=generator, dtype=torch.float64)

    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    years = AGES[0] + (AGES[1] - AGES[0]) * uniform(count)
    female = uniform(count) < 0.5
    gender = torch.where(female, 1 - 0.3 * uniform(count) ** 2, 0.3 * uniform(count) ** 2)
    lean = uniform(count, 3) ** 3 + 1e-3  # soft shares …
    chosen = torch.randint(3, (count,), generator=generator)
    lean[torch.arange(count), chosen] += 2.0  # … that lean to one ancestry
    ancestry = lean / lean.sum(dim=1, keepdim=True)
    build = (0.5 + 0.2 * normal(count, 4)).clamp(0, 1)
    pairs = sorted({name.removeprefix("l-").removeprefix("r-") for name in labels})
    spread = [next((d for part, d in DAMPED.items() if name.startswith(part)), 1.0) for name in pairs]
    shared = LOCAL_SPREAD * torch.tensor(spread, dtype=torch.float64) * normal(count, len(pairs))
    columns = [pairs.index(name.removeprefix("l-").removeprefix("r-")) for name in labels]
    sided = torch.tensor([name[:2] in ("l-", "r-") for name in labels], dtype=torch.float64)
    local = shared[:, columns] + ASYMMETRY * sided * normal(count, len(labels))
    if "head-age-incr" in labels:  # anny's own scale changes little between 20 and 64 years
        local[:, labels.index("head-age-incr")] += (years - 45) / 60
    return People(years, gender, ancestry, build, local.clamp(-1, 1))


def choose_skin(generator: torch.Generator, people: People, skins: list[str]) -> Tensor:
    """(N,) index of a skin `<age>_<ancestry>_<gender>…` that matches each person.

    Where several match, one is drawn; where none does, one of the right ancestry.
    """
    age = ["young" if y < 38 else "middleage" if y < 58 else "old" for y in people.years.tolist()]
    ancestry = [ANCESTRIES[k] for k in people.ancestry.argmax(dim=1).tolist()]
    gender = ["female" if g > 0.5 else "male" for g in people.gender.tolist()]
    draws = torch.rand(len(age), generator=generator).tolist()
    parts = [
        (name.split("_")[0], name.split("_")[1], name.split("_")[2].rstrip("0123456789")) for name in skins
    ]
    chosen = []
    for wanted, draw_ in zip(zip(age, ancestry, gender, strict=True), draws, strict=True):
        exact = [i for i, p in enumerate(parts) if p == wanted]
        close = [i for i, p in enumerate(parts) if p[1:] == wanted[1:]]
        loose = [i for i, p in enumerate(parts) if p[1] == wanted[1]]
        pool = exact or close or loose or list(range(len(skins)))
        chosen.append(pool[int(draw_ * len(pool))])
    return torch.tensor(chosen)
