"""Factors of the second generation's people, taken away one at a time while all other numbers stay the same.

A change takes freshly drawn tables (`portrait.draw_cast`, `portrait.draw_shots`) and gives new ones in which
one group of factors no longer varies:

    hair        no hair styles, beards, moustaches, stubble, nor strands before the face: painted short hair
    skin        everybody has one mean tone, without detail, spots, wrinkles, make-up or blush, and one shine
    expression  neutral faces that look ahead on a straight neck
    light       one soft white light: nothing hard, no cast shadows
    things      no glasses, no hats, nothing before the face
    camera      orthographic, before an even grey; lens, sensor and file do nothing

"without beards" takes beards and moustaches alone; in "bearded" every man wears a beard; `interventions` has
those that set one thing of everybody. Where a change moves the landmarks in the picture, the crop is moved
with them, so that it frames the new face as the old crop did the old face, jitter included.
"""

from dataclasses import replace

import torch
from torch import Tensor

from facet.rendering.shading import LUMINANCE, front_normals, soft_light, spherical_harmonics, toward
from facet.synthetic.finish import Finish
from facet.synthetic.framing import framed_as
from facet.synthetic.interventions import INTERVENTIONS, Change
from facet.synthetic.occluders import KINDS
from facet.synthetic.portrait import Atelier, Cast, Shots
from facet.synthetic.rooms import PLAIN
from facet.synthetic.skin import PIGMENT
from facet.synthetic.skin_chart import MOUNDS

GROUPS = ("hair", "skin", "expression", "light", "things", "camera")
NOTHING = ("texture", "mix", "haemoglobin", "warmth", "relief", "spots", "wrinkles", "makeup")
# Means over 2,000 training people: melanin; colour, softness and share of lips; shine.
MELANIN = 0.42
LIPS = (0.31, 0.12, 0.1, 1.5, 0.83)
GLOSS = (0.4, 0.11, 0.65)
LEVEL, ELEVATION = 0.9, 0.8  # of the one light: what a white face sends back, radians above the camera


def without(group: str, atelier: Atelier, cast: Cast, shots: Shots) -> tuple[Cast, Shots]:
    """The tables without a group of factors: one of GROUPS, or "beards"."""
    return change(f"without {group}", atelier, cast, shots)


def change(name: str, atelier: Atelier, cast: Cast, shots: Shots) -> tuple[Cast, Shots]:
    """The tables after one of CHANGES; those given stay as they are.

    Raises:
        ValueError: there is no such change.
    """
    return CHANGES[checked(name)](atelier, cast, shots)


def checked(name: str) -> str:
    """The name of a change.

    Raises:
        ValueError: there is no such change; the message lists them.
    """
    if name not in CHANGES:
        raise ValueError(f"no change is called {name!r}; there are {', '.join(CHANGES)}")
    return name


def _hair(atelier: Atelier, cast: Cast, shots: Shots) -> tuple[Cast, Shots]:
    outfit, skin = cast.outfit, cast.skin
    covered = (outfit.hair >= 0).float()
    scalp = skin.scalp.clone()
    scalp[:, 0] = outfit.crop
    scalp[:, 1] += covered * outfit.recession
    outfit = replace(outfit, hair=_none(outfit.hair), beard=_none(outfit.beard), moustache=_none(outfit.hair))
    cast = replace(cast, outfit=outfit, skin=replace(skin, scalp=scalp, stubble=0 * skin.stubble))
    kind = shots.occluder.kind
    kind = torch.where(kind == KINDS.index("hair"), 0, kind)
    return cast, replace(shots, occluder=replace(shots.occluder, kind=kind))


def _skin(atelier: Atelier, cast: Cast, shots: Shots) -> tuple[Cast, Shots]:
    skin = cast.skin
    pigment = torch.zeros(2, len(MOUNDS))
    for name, (brown, red, _) in PIGMENT.items():
        pigment[:, list(MOUNDS).index(name)] = torch.tensor([brown, red * (1.1 - 0.6 * MELANIN)])
    fixed = dict.fromkeys(NOTHING, 0) | {"pigment": pigment, "melanin": MELANIN, "lips": LIPS, "gloss": GLOSS}
    columns = {}
    for name, value in fixed.items():
        column = getattr(skin, name)
        columns[name] = torch.as_tensor(value).to(column).expand_as(column).clone()
    return replace(cast, skin=replace(skin, **columns)), shots


def _expression(atelier: Atelier, cast: Cast, shots: Shots) -> tuple[Cast, Shots]:
    subjects = cast.subjects
    still = replace(subjects, alpha_exp=torch.zeros_like(subjects.alpha_exp))
    views = framed_as(atelier.model, subjects, still, shots.views, shots.views)
    stance = replace(shots.stance, neck=torch.zeros_like(shots.stance.neck))
    return replace(cast, subjects=still), replace(shots, views=views, stance=stance)


def _light(atelier: Atelier, cast: Cast, shots: Shots) -> tuple[Cast, Shots]:
    lights = shots.lights
    one = torch.ones(1)
    sh = soft_light(toward(0 * one, ELEVATION * one), torch.ones(1, 3), one)
    front = spherical_harmonics(front_normals().float()).mean(dim=0) @ sh[0]
    sh = sh * (LEVEL / (front @ torch.tensor(LUMINANCE)))
    lights = replace(lights, sh=sh.expand_as(lights.sh).clone(), colour=torch.zeros_like(lights.colour))
    return cast, replace(shots, lights=lights)


def _things(atelier: Atelier, cast: Cast, shots: Shots) -> tuple[Cast, Shots]:
    outfit, occluder = cast.outfit, shots.occluder
    outfit = replace(outfit, glasses=_none(outfit.glasses), hat=_none(outfit.hat))
    occluder = replace(occluder, kind=torch.zeros_like(occluder.kind))
    return replace(cast, outfit=outfit), replace(shots, occluder=occluder)


def _camera(atelier: Atelier, cast: Cast, shots: Shots) -> tuple[Cast, Shots]:
    views = shots.views
    far = replace(views, distance=torch.full_like(views.distance, torch.inf))
    views = framed_as(atelier.model, cast.subjects, cast.subjects, views, far)
    views = replace(views, background=torch.full_like(views.background, PLAIN))
    return cast, replace(shots, views=views, finish=Finish.plain(len(shots)))


def _beards(atelier: Atelier, cast: Cast, shots: Shots) -> tuple[Cast, Shots]:
    outfit = cast.outfit
    outfit = replace(outfit, beard=_none(outfit.beard), moustache=_none(outfit.moustache))
    return replace(cast, outfit=outfit), shots


def _bearded(atelier: Atelier, cast: Cast, shots: Shots) -> tuple[Cast, Shots]:
    """Men without a beard get one by the seed of their skin's noise, three of four a moustache with it."""
    outfit, seed = cast.outfit, cast.skin.seed
    shaven = (cast.subjects.gender < 0.5) & (outfit.beard < 0)
    beards, moustaches = (
        torch.tensor([atelier.wardrobe.number(name) for name in atelier.wardrobe.of_kind(kind)] or [-1])
        for kind in ("beard", "moustache")
    )
    beard = torch.where(shaven, beards[seed % len(beards)], outfit.beard)
    lip = shaven & (seed // len(beards) % 4 > 0)
    moustache = torch.where(lip, moustaches[seed % len(moustaches)], outfit.moustache)
    return replace(cast, outfit=replace(outfit, beard=beard, moustache=moustache)), shots


CHANGES: dict[str, Change] = {
    "without hair": _hair,
    "without skin": _skin,
    "without expression": _expression,
    "without light": _light,
    "without things": _things,
    "without camera": _camera,
    "without beards": _beards,
    "bearded": _bearded,
    **INTERVENTIONS,
}


def _none(items: Tensor) -> Tensor:
    return torch.full_like(items, -1)
