"""One thing is set for everybody, and every other number of the pictures stays: the same people in glasses.

Whoever compares the answers to a picture and to its twin measures what this one thing does, on the same
people. Groups of people that differ in it differ in other things as well. Each is a change of `factors`:

    in … skin                 melanin in the middle of one of `anthropometry.TONES`
    in glasses, sunglasses    on every nose, whatever was worn before
    behind a mask             over mouth and nose; nothing else before the face
    laughing, eyes closed     a prototype of `expressions` at full strength, fitted to each face
    in hard side light        one small lamp from the image's right, a little light from everywhere else
    from 30 cm, from 3 m      the camera's distance; the crop follows
    at a quarter of the size  taken with a quarter of the pixels in either direction, and enlarged
    in black and white        no colours
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import torch

from facet.rendering.shading import LUMINANCE, front_normals, soft_light, spherical_harmonics, toward
from facet.synthetic.anthropometry import TONE_EDGES, TONES, melanin_of
from facet.synthetic.expressions import prototype
from facet.synthetic.framing import framed_as, landmarks_of
from facet.synthetic.occluders import draw_occluders
from facet.synthetic.portrait import Atelier, Cast, Shots
from facet.synthetic.skin_paint import tone

Change = Callable[[Atelier, Cast, Shots], tuple[Cast, Shots]]

# Middles of the classes of skin tone, degrees of the typology angle; the outer two end where people do.
MIDDLES = tuple((low + high) / 2 for low, high in zip((-60.0, *TONE_EDGES), (*TONE_EDGES, 60.0), strict=True))
SIDE, ABOVE = 1.1, 0.4  # radians from the camera's axis to the lamp of hard side light
HARD, AROUND = 1.0, 0.25  # what a white face sends back of lamp and surroundings before the level is set
LEVEL = 0.9  # mean luminance of a white face that looks ahead
MASKS = 0  # seed


def toned(cast: Cast, melanin: Sequence[float]) -> Cast:
    """The cast with other melanin (N,); lips change as the skin does, channel by channel."""
    cast, melanin = cast.rows(slice(None)), torch.as_tensor(melanin)
    before, after = (tone(m, cast.skin.haemoglobin, cast.skin.warmth) for m in (cast.skin.melanin, melanin))
    cast.skin.lips = torch.cat([cast.skin.lips[:, :3] * after / before, cast.skin.lips[:, 3:]], dim=1)
    cast.skin.melanin = melanin
    return cast


def _in_skin(angle: float, atelier: Atelier, cast: Cast, shots: Shots) -> tuple[Cast, Shots]:
    melanin = melanin_of(torch.full_like(cast.skin.melanin, angle))
    return toned(cast, melanin), shots


def _in_glasses(name: str, atelier: Atelier, cast: Cast, shots: Shots) -> tuple[Cast, Shots]:
    glasses = torch.full_like(cast.outfit.glasses, atelier.wardrobe.number(name))
    return replace(cast, outfit=replace(cast.outfit, glasses=glasses)), shots


def _masked(atelier: Atelier, cast: Cast, shots: Shots) -> tuple[Cast, Shots]:
    marks = landmarks_of(atelier.model, cast.subjects, shots.views)[..., :2]
    middle = (marks.amin(dim=1) + marks.amax(dim=1)) / 2
    painted = marks + (shots.occluder.face[:, :2] - middle)[:, None]  # from the crop to the picture's pixels
    generator = torch.Generator().manual_seed(MASKS)
    return cast, replace(shots, occluder=draw_occluders(generator, painted, 0, share=1.0, kind="mask"))


def _acting(name: str, atelier: Atelier, cast: Cast, shots: Shots) -> tuple[Cast, Shots]:
    subjects, model = cast.subjects, atelier.model
    asked = prototype(name, model.expression_names).expand_as(subjects.alpha_exp)
    acted = replace(subjects, alpha_exp=atelier.openings.settle(subjects.alpha_id, asked))
    views = framed_as(model, subjects, acted, shots.views, shots.views)
    return replace(cast, subjects=acted), replace(shots, views=views)


def _side_light(atelier: Atelier, cast: Cast, shots: Shots) -> tuple[Cast, Shots]:
    one, white, normals = torch.ones(1), torch.ones(1, 3), front_normals().float()
    lamp = toward(SIDE * one, ABOVE * one)
    sh = AROUND * soft_light(toward(0 * one, math.pi / 2 * one), white, one)
    soft = (spherical_harmonics(normals) @ sh[0]) @ torch.tensor(LUMINANCE)
    level = LEVEL / (soft + HARD * (normals @ lamp[0]).clamp(min=0)).mean()
    lights = shots.lights
    direction, colour = lights.direction.clone(), torch.zeros_like(lights.colour)
    direction[:, 0], colour[:, 0] = lamp, HARD * level
    softness = torch.ones_like(lights.softness)
    lights = replace(
        lights, sh=(level * sh).expand_as(lights.sh).clone(), direction=direction, colour=colour,
        softness=softness,
    )  # fmt: skip
    return cast, replace(shots, lights=lights)


def _from_distance(millimetres: float, atelier: Atelier, cast: Cast, shots: Shots) -> tuple[Cast, Shots]:
    views, people = shots.views, cast.subjects
    moved = replace(views, distance=torch.full_like(views.distance, millimetres))
    return cast, replace(shots, views=framed_as(atelier.model, people, people, views, moved))


def _finished(column: str, value: float, atelier: Atelier, cast: Cast, shots: Shots) -> tuple[Cast, Shots]:
    finish = shots.finish
    changed = {column: torch.full_like(getattr(finish, column), value)}
    if column == "saturation":
        changed["sepia"] = torch.zeros_like(finish.sepia)
    return cast, replace(shots, finish=replace(finish, **changed))


INTERVENTIONS: dict[str, Change] = {
    **{f"in {name} skin": partial(_in_skin, angle) for name, angle in zip(TONES, MIDDLES, strict=True)},
    "in glasses": partial(_in_glasses, "glasses"),
    "in sunglasses": partial(_in_glasses, "sunglasses"),
    "behind a mask": _masked,
    "laughing": partial(_acting, "laugh"),
    "eyes closed": partial(_acting, "closed eyes"),
    "in hard side light": _side_light,
    "from 30 cm": partial(_from_distance, 300.0),
    "from 3 m": partial(_from_distance, 3000.0),
    "at a quarter of the size": partial(_finished, "shrink", 4.0),
    "in black and white": partial(_finished, "saturation", 0.0),
}
