"""Are synthetic people built like people? Face measurements against published ones, and who they are.

Our points are vertices of the face patch that lie where the anthropometric points are, and a calliper presses
into flesh that a mesh only has on its surface: a millimetre or two of difference means nothing.

Published means and standard deviations, in mm:

- 3D Facial Norms: Weinberg et al., "The 3D Facial Norms Database: Part 1", Cleft Palate–Craniofacial Journal
  53(6), 2016. 883 to 952 men and 1337 to 1502 women of 3 to 40 years, from four US sites, of European
  descent; the fitted growth curves at 30 years, as the programme Cliniface stores them (frontiersi/Cliniface,
  data/metrics and data/stats). Widths of face and jaw by calliper, the rest from 3D photographs.
- Distance of the pupils: ANSUR II, 4,082 men and 1,986 women of the US Army, 17 to 58 years (Gordon et al.,
  "2012 Anthropometric Survey of U.S. Army Personnel", NATICK/TR-15/007, 2014).

Neither is a sample of the world: other populations have other means (noses 3 to 5 mm wider, say), so mixed
people spread more than either.

Classes of skin tone are those of Chardon, Cretois & Hourseau, "Skin colour typology and suntanning pathways",
International Journal of Cosmetic Science 13, 1991, with the darkest split off at −30° (Del Bino & Bernerd,
British Journal of Dermatology 169, 2013).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from facet.face_model import FaceModel
from facet.face_model.people import AGES, ANCESTRIES
from facet.synthetic.openings import dense_rows

LANDMARKS = {
    "pronasale": 30, "subnasale": 33, "labiale superius": 51, "stomion": 62, "lower stomion": 66,
    "labiale inferius": 57, "right cheilion": 48, "left cheilion": 54, "right endocanthion": 39,
    "left endocanthion": 42, "right exocanthion": 36, "left exocanthion": 45, "right crista": 50,
    "left crista": 52,
}  # fmt: skip
PLACED = {
    "nasion": (0.5, 0.2921), "gnathion": (0.5, 0.8236), "left alare": (0.6138, 0.5024),
    "left zygion": (0.9224, 0.5181), "left gonion": (0.9188, 0.9229),
}  # fmt: skip
"""UV of points that are no landmarks: between the lids' creases, under the chin, nose wing, cheek, jaw."""


@dataclass(frozen=True)
class Measure:
    """A distance between two points; men and women: published (mean, standard deviation) in mm."""

    ends: tuple[str, str]
    men: tuple[float, float]
    women: tuple[float, float]


def _between(side: str) -> tuple[str, str]:
    return f"right {side}", f"left {side}"


MEASURES: dict[str, Measure] = {
    "face width": Measure(_between("zygion"), (139.4, 6.3), (131.7, 5.3)),
    "jaw width": Measure(_between("gonion"), (106.0, 7.3), (98.6, 6.6)),
    "face height": Measure(("nasion", "gnathion"), (130.0, 6.7), (120.4, 6.0)),
    "nose height": Measure(("nasion", "subnasale"), (58.2, 4.0), (55.7, 3.7)),
    "nose bridge": Measure(("nasion", "pronasale"), (51.4, 3.9), (48.5, 3.5)),
    "nose protrusion": Measure(("subnasale", "pronasale"), (21.7, 2.1), (20.6, 1.9)),
    "nose width": Measure(_between("alare"), (36.8, 2.7), (33.2, 2.4)),
    "mouth width": Measure(_between("cheilion"), (51.6, 3.9), (49.2, 3.6)),
    "upper lip": Measure(("subnasale", "stomion"), (23.2, 2.6), (20.6, 2.5)),
    "philtrum length": Measure(("subnasale", "labiale superius"), (16.8, 2.5), (14.2, 2.4)),
    "philtrum width": Measure(_between("crista"), (13.5, 1.8), (12.0, 1.8)),
    "upper vermilion": Measure(("labiale superius", "stomion"), (7.7, 1.6), (7.4, 1.4)),
    "lower vermilion": Measure(("lower stomion", "labiale inferius"), (8.9, 2.1), (8.8, 1.7)),
    "inner eye corners": Measure(_between("endocanthion"), (33.1, 3.0), (31.6, 2.7)),
    "outer eye corners": Measure(_between("exocanthion"), (90.1, 4.1), (86.6, 3.9)),
    "eye length": Measure(("left endocanthion", "left exocanthion"), (29.2, 2.0), (28.2, 2.0)),
    "pupils": Measure(_between("pupil"), (64.0, 3.4), (61.7, 3.6)),
}


TONES = ("dark", "brown", "tan", "intermediate", "light", "very light")
TONE_EDGES = (-30.0, 10.0, 28.0, 41.0, 55.0)
"""Degrees of the individual typology angle, atan((L* − 50) / b*), between the classes."""


def point_vertices(model: FaceModel) -> dict[str, int]:
    """Name of an anthropometric point → vertex of the face patch."""
    found = {name: int(model.landmarks[number]) for name, number in LANDMARKS.items()}
    for name, place in PLACED.items():
        vertex = int((model.uv - model.uv.new_tensor(place)).norm(dim=1).argmin())
        found[name] = vertex
        if name.startswith("left"):
            found[name.replace("left", "right")] = int(model.mirror[vertex])
    return found


def points(model: FaceModel, alpha_id: Tensor) -> dict[str, Tensor]:
    """Name → (N, 3) anthropometric points of neutral faces (N, K), mm; pupils lie between the eye corners."""
    vertices = point_vertices(model)
    rows = dense_rows(model.face_matrix, torch.tensor(list(vertices.values()), device=model.device))
    mean = rows @ model.coarse_mean  # (P, 3)
    modes = torch.einsum("pv,kvc->kpc", rows, model.identity[: alpha_id.shape[1]])
    placed = mean + torch.einsum("nk,kpc->npc", alpha_id.to(modes), modes)
    found = dict(zip(vertices, placed.unbind(dim=1), strict=True))
    for side in ("right", "left"):
        found[f"{side} pupil"] = (found[f"{side} endocanthion"] + found[f"{side} exocanthion"]) / 2
    return found


def measures(found: dict[str, Tensor]) -> dict[str, Tensor]:
    """Name of each measure → (N,) mm, from named points (N, 3)."""
    return {name: (found[m.ends[0]] - found[m.ends[1]]).norm(dim=1) for name, m in MEASURES.items()}


def check(
    model: FaceModel, bank: dict[str, Tensor], count: int = 10_000, *, size_free: bool = False
) -> list[dict]:
    """Measures of the first `count` people of a bank beside the published ones.

    Args:
        size_free: bring everybody to the size of the average man or woman first (the geometric mean of the
            measures): what is left is the shape, which is all that a picture shows. Published deviations
            contain size, so a spread near 1 is then too much and one of 0.7 about right.

    Returns:
        a row for each measure and gender: measure, gender, people, published mean and sd, our mean and sd,
        `shift` (difference of the means in published sd), `spread` (our sd over the published one) and
        `within` (share of our people within three published sd of the published mean).
    """
    table = measures(points(model, bank["alpha_id"][:count].float().to(model.device)))
    values = torch.stack(list(table.values()), dim=1)  # (N, M)
    female = (bank["gender"][:count] > 0.5).to(model.device)
    rows = []
    for gender, chosen in (("men", ~female), ("women", female)):
        ours = values[chosen]
        if size_free:
            size = ours.log().mean(dim=1, keepdim=True)
            ours = ours * (size.mean() - size).exp()
        for name, column in zip(table, ours.T, strict=True):
            mean, sd = getattr(MEASURES[name], gender)
            rows.append(
                {
                    "measure": name,
                    "gender": gender,
                    "people": len(column),
                    "published mean": mean,
                    "published sd": sd,
                    "mean": float(column.mean()),
                    "sd": float(column.std()),
                    "shift": float(column.mean() - mean) / sd,
                    "spread": float(column.std()) / sd,
                    "within": float(((column - mean).abs() < 3 * sd).float().mean()),
                }
            )
    return rows


def typology_angle(melanin: Tensor) -> Tensor:
    """Individual typology angle in degrees of skin, from `Skin.melanin`."""
    return 60 - 120 * melanin


def melanin_of(angle: Tensor) -> Tensor:
    """`Skin.melanin` of skins with these typology angles in degrees."""
    return (60 - angle) / 120


def tones(melanin: Tensor) -> Tensor:
    """(N,) index into TONES of skins."""
    return torch.bucketize(typology_angle(melanin), torch.tensor(TONE_EDGES))


def demographics(people: Mapping[str, Tensor], count: int = 10_000) -> list[dict]:
    """Who the first `count` people are.

    Args:
        people: years, gender, ancestry, as a bank has them; and melanin, as `Skin` has it, if it is known: a
            bank holds no skin colour.

    Returns:
        a row for each gender, decade of age, ancestry (the largest of a person's shares) and class of skin
        tone: what, value, people, share, expected (the share were all equally common, by years for ages) and
        deviation.
    """
    years, gender = people["years"][:count].float(), people["gender"][:count].float()
    ancestry = people["ancestry"][:count].argmax(dim=1)
    rows = [("gender", "men", gender <= 0.5, 1 / 2), ("gender", "women", gender > 0.5, 1 / 2)]
    edges = [AGES[0], *range(30, 71, 10), AGES[1]]
    for low, high in pairwise(edges):
        last = high == AGES[1]
        inside = (years >= low) & (years <= high if last else years < high)
        name = f"{low:.0f} to {high:.0f}" if last else f"{low:.0f} to {high - 1:.0f}"
        rows.append(("age", name, inside, (high - low) / (AGES[1] - AGES[0])))
    rows += [("ancestry", name, ancestry == k, 1 / 3) for k, name in enumerate(ANCESTRIES)]
    if "melanin" in people:
        kind = tones(people["melanin"][:count])
        rows += [("skin tone", name, kind == k, 1 / len(TONES)) for k, name in enumerate(TONES)]
    return [
        {
            "what": what,
            "value": value,
            "people": int(chosen.sum()),
            "share": int(chosen.sum()) / len(chosen),
            "expected": expected,
            "deviation": int(chosen.sum()) / len(chosen) - expected,
        }
        for what, value, chosen, expected in rows
    ]
