"""Faces as people make them: prototypes of actions that belong together, blended, lopsided and in motion.

The actions are the 52 named expressions of the face model (ARKit's names), strengths from 0 to 1. Which ones
an emotion moves follows the action units of EMFACS (Ekman & Friesen 1978); the numbers are ours, set by eye
on this model's heads. Key a name without Left or Right moves both sides.

    alpha = bound(mixture of one or two prototypes · lopsidedness + small movements + blinks + gaze)

`bound` holds what a face can do and what this basis can show, on the mean face. Lids and lips of a particular
person may lie closer together or farther apart: `openings` fits an expression to that person.
"""

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor


@dataclass(frozen=True)
class Prototype:
    """One kind of face.

    Attributes:
        share: how often it is drawn, in percent; least: its weakest intensity (the strongest is 1).
        group: "smile", "emotion", "talk", "eyes" (mouth free), "mouth" (eyes free) or "rest" (blends with
            nothing); see PARTNERS.
        actions: strengths at full intensity.
    """

    share: float
    least: float
    group: str
    actions: dict[str, float]


PROTOTYPES: dict[str, Prototype] = {
    "neutral": Prototype(30.0, 1.0, "rest", {}),
    "polite smile": Prototype(6.0, 0.4, "smile", dict(mouthSmile=0.5, mouthDimple=0.25, cheekSquint=0.1)),
    "Duchenne smile": Prototype(
        6.5, 0.4, "smile", dict(mouthSmile=0.75, cheekSquint=0.7, eyeSquint=0.4, mouthDimple=0.15)
    ),
    "open smile": Prototype(
        5.0, 0.4, "smile",
        dict(mouthSmile=0.8, cheekSquint=0.6, eyeSquint=0.3, jawOpen=0.13, mouthUpperUp=0.45,
             mouthLowerDown=0.25, mouthStretch=0.15),
    ),
    "laugh": Prototype(
        3.5, 0.5, "smile",
        dict(mouthSmile=0.85, jawOpen=0.42, mouthUpperUp=0.5, mouthLowerDown=0.25, mouthStretch=0.15,
             cheekSquint=0.85, eyeSquint=0.65, eyeBlink=0.2, browInnerUp=0.15, noseSneer=0.1),
    ),
    "sadness": Prototype(
        2.0, 0.4, "emotion",
        dict(browInnerUp=0.85, browDown=0.25, mouthFrown=0.75, mouthShrugLower=0.35, eyeBlink=0.15,
             eyeLookDown=0.3),
    ),
    "crying": Prototype(
        0.8, 0.5, "emotion",
        dict(browInnerUp=0.9, browDown=0.4, eyeSquint=0.7, cheekSquint=0.6, eyeBlink=0.25, mouthStretch=0.5,
             mouthFrown=0.6, mouthLowerDown=0.35, jawOpen=0.12, noseSneer=0.3),
    ),
    "anger": Prototype(
        2.0, 0.4, "emotion",
        dict(browDown=0.95, eyeSquint=0.45, noseSneer=0.4, mouthPress=0.6, mouthFrown=0.2, jawForward=0.2),
    ),
    "shouting": Prototype(
        0.8, 0.5, "emotion",
        dict(browDown=0.85, jawOpen=0.5, mouthUpperUp=0.5, mouthLowerDown=0.5, noseSneer=0.6,
             mouthStretch=0.35, eyeSquint=0.4, cheekSquint=0.3),
    ),
    "fear": Prototype(
        1.3, 0.4, "emotion",
        dict(browInnerUp=0.85, browOuterUp=0.5, eyeWide=0.75, mouthStretch=0.6, jawOpen=0.15,
             mouthLowerDown=0.2),
    ),
    "disgust": Prototype(
        1.5, 0.4, "emotion",
        dict(noseSneer=0.95, mouthUpperUp=0.45, browDown=0.55, eyeSquint=0.5, cheekSquint=0.4,
             mouthShrugLower=0.3, mouthFrown=0.3),
    ),
    "contempt": Prototype(
        1.5, 0.4, "emotion",
        dict(mouthSmileLeft=0.4, mouthDimpleLeft=0.6, mouthPressLeft=0.3, cheekSquintLeft=0.25,
             eyeSquint=0.15, browOuterUpRight=0.25),
    ),
    "surprise": Prototype(
        2.2, 0.4, "emotion",
        dict(browInnerUp=0.8, browOuterUp=0.9, eyeWide=0.65, jawOpen=0.35, mouthFunnel=0.1),
    ),
    "concentration": Prototype(
        3.0, 0.35, "emotion",
        dict(browDown=0.55, eyeSquint=0.4, mouthPress=0.35, mouthRollLower=0.2, mouthPucker=0.15),
    ),
    "doubt": Prototype(
        1.3, 0.4, "emotion",
        dict(browOuterUpLeft=0.85, browInnerUp=0.2, browDownRight=0.5, mouthLeft=0.3, mouthFrown=0.25,
             eyeSquintRight=0.25),
    ),
    "pain": Prototype(
        0.8, 0.5, "emotion",
        dict(browDown=0.8, eyeSquint=0.8, cheekSquint=0.7, eyeBlink=0.35, noseSneer=0.5, mouthStretch=0.5,
             mouthUpperUp=0.4, mouthLowerDown=0.2),
    ),
    "aa": Prototype(1.8, 0.35, "talk", dict(jawOpen=0.42, mouthLowerDown=0.2, mouthUpperUp=0.12)),
    "eh": Prototype(
        1.8, 0.35, "talk", dict(jawOpen=0.22, mouthStretch=0.25, mouthLowerDown=0.3, mouthUpperUp=0.15)
    ),
    "ee": Prototype(
        1.6, 0.35, "talk",
        dict(jawOpen=0.1, mouthStretch=0.35, mouthSmile=0.25, mouthLowerDown=0.4, mouthUpperUp=0.2),
    ),
    "oh": Prototype(1.6, 0.35, "talk", dict(jawOpen=0.32, mouthFunnel=0.5, mouthPucker=0.2)),
    "oo": Prototype(1.3, 0.4, "talk", dict(jawOpen=0.12, mouthPucker=0.7, mouthFunnel=0.35)),
    "ch": Prototype(
        1.0, 0.4, "talk",
        dict(jawOpen=0.1, mouthFunnel=0.5, mouthPucker=0.2, mouthUpperUp=0.2, mouthLowerDown=0.25),
    ),
    "fv": Prototype(1.0, 0.4, "talk", dict(jawOpen=0.08, mouthRollLower=0.45, mouthUpperUp=0.35)),
    "mbp": Prototype(
        1.3, 0.4, "talk",
        dict(jawOpen=0.14, mouthClose=0.14, mouthPress=0.35, mouthRollLower=0.2, mouthRollUpper=0.2),
    ),
    "th": Prototype(
        0.6, 0.4, "talk", dict(jawOpen=0.2, tongueOut=0.5, mouthLowerDown=0.2, mouthUpperUp=0.1)
    ),
    "s": Prototype(
        1.0, 0.4, "talk", dict(jawOpen=0.06, mouthStretch=0.25, mouthUpperUp=0.25, mouthLowerDown=0.4)
    ),
    "kiss": Prototype(1.2, 0.5, "mouth", dict(mouthPucker=0.95, mouthFunnel=0.15, cheekSquint=0.1)),
    "puffed cheeks": Prototype(1.0, 0.5, "mouth", dict(cheekPuff=0.75, mouthPucker=0.3, mouthPress=0.25)),
    "tongue out": Prototype(0.6, 0.7, "mouth", dict(tongueOut=1.0, jawOpen=0.5, mouthSmile=0.2)),
    "pout": Prototype(
        1.0, 0.4, "mouth", dict(mouthShrugLower=0.75, mouthPucker=0.4, mouthFrown=0.35, mouthShrugUpper=0.2)
    ),
    "pressed lips": Prototype(
        1.4, 0.4, "mouth",
        dict(mouthPress=0.75, mouthRollLower=0.4, mouthRollUpper=0.3, mouthDimple=0.25),
    ),
    "grimace": Prototype(
        0.8, 0.4, "mouth", dict(mouthStretch=0.8, mouthLowerDown=0.6, mouthUpperUp=0.3, jawOpen=0.06)
    ),
    "skewed jaw": Prototype(0.6, 0.5, "mouth", dict(jawLeft=0.85, jawOpen=0.1, mouthLeft=0.2)),
    "skewed mouth": Prototype(
        0.8, 0.5, "mouth", dict(mouthLeft=0.65, mouthPressLeft=0.25, mouthPucker=0.2)
    ),
    "wink": Prototype(
        1.0, 0.9, "rest",
        dict(eyeBlinkLeft=1.0, cheekSquintLeft=0.7, mouthSmileLeft=0.4, browDownLeft=0.3, mouthSmileRight=0.1,
             eyeSquintRight=0.1),
    ),
    "closed eyes": Prototype(1.8, 0.95, "eyes", dict(eyeBlink=1.0)),
    "sleepy": Prototype(2.0, 0.6, "eyes", dict(eyeBlink=0.48, browInnerUp=0.2, eyeLookDown=0.2)),
    "squinting": Prototype(
        2.2, 0.4, "eyes",
        dict(eyeSquint=0.9, cheekSquint=0.8, browDown=0.6, noseSneer=0.3, mouthUpperUp=0.2, eyeBlink=0.2),
    ),
    "wide eyes": Prototype(1.0, 0.5, "eyes", dict(eyeWide=0.85, browInnerUp=0.4, browOuterUp=0.4)),
    "raised brows": Prototype(1.6, 0.3, "eyes", dict(browInnerUp=0.65, browOuterUp=0.65)),
    "frown": Prototype(1.2, 0.3, "eyes", dict(browDown=0.75, eyeSquint=0.2)),
    "yawn": Prototype(
        0.6, 0.7, "rest",
        dict(jawOpen=0.85, eyeBlink=0.8, eyeSquint=0.4, browInnerUp=0.4, noseSneer=0.2, mouthStretch=0.2),
    ),
}  # fmt: skip
BLENDED = 0.3
"""Share of the faces that make a second expression at a part of its strength."""
PARTNERS = {
    "rest": (),
    "smile": ("eyes", "talk"),
    "emotion": ("talk", "smile", "eyes"),
    "talk": ("smile", "emotion", "eyes"),
    "mouth": ("eyes",),
    "eyes": ("smile", "mouth"),
}
LIMITS = {
    "jawOpen": 0.85, "eyeWide": 0.9, "cheekPuff": 0.8, "mouthLeft": 0.7, "mouthRight": 0.7, "jawLeft": 0.9,
    "jawRight": 0.9, "mouthFunnel": 0.9, "mouthShrugLower": 0.85, "mouthSmile": 0.95, "mouthRollUpper": 0.8,
}  # fmt: skip
"""More than this of an action tears or bulges the skin of some heads."""
OPPOSITES = {
    "mouthSmile": "mouthFrown mouthPucker mouthFunnel",
    "mouthStretch": "mouthPucker mouthFunnel cheekPuff",
    "mouthDimple": "mouthPucker",
    "cheekPuff": "mouthSmile",
    "browDown": "browOuterUp",
    "eyeWide": "eyeSquint eyeBlink",
    "mouthPress": "mouthFunnel",
    "mouthRollUpper": "mouthUpperUp mouthFunnel",
    "mouthRollLower": "mouthFunnel mouthLowerDown",
    "mouthShrugLower": "mouthLowerDown",
    "mouthLeft": "mouthRight",
    "jawLeft": "jawRight",
}
"""Muscles that pull against each other: where both would move, the stronger keeps the difference."""
OPEN_MOUTH = ("cheekPuff", "mouthPress", "mouthRollLower", "mouthRollUpper", "mouthShrugLower")
"""Actions of closed lips: they fade while the jaw opens."""
SMALL = (
    "browDown", "browInnerUp", "browOuterUp", "cheekSquint", "eyeSquint", "mouthDimple", "mouthFrown",
    "mouthPress", "mouthSmile", "mouthStretch", "mouthUpperUp", "mouthLowerDown", "mouthShrugLower",
    "mouthRollLower", "noseSneer", "mouthPucker",
)  # fmt: skip
"""What twitches in every face."""


def draw_expressions(generator: torch.Generator, names: tuple[str, ...], count: int) -> Tensor:
    """(count, 52) strengths in [0, 1] of the named actions.

    About three in ten people are at rest, which leaves small movements, a gaze and now and then a blink.
    """
    table, least = _tables(names)
    first, second = choose(generator, count).unbind(dim=1)
    intensity = least + (1 - least) * torch.rand(count, len(table), generator=generator).pow(1.2)
    jitter = (1 + 0.22 * torch.randn(count, len(_stems(names)), generator=generator)).clamp(0.3, 1.6)
    jitter = jitter[:, _stem_of(names)]
    row = torch.arange(count)
    alpha = table[first] * intensity[row, first, None]
    part = 0.35 + 0.4 * torch.rand(count, 1, generator=generator)
    partner = table[second.clamp_min(0)] * intensity[row, second.clamp_min(0), None] * part
    alpha = torch.where(second[:, None] >= 0, torch.maximum(alpha, partner), alpha) * jitter
    alpha = (alpha * _lopsided(generator, names, count)).clamp(0, 1)
    flip = torch.rand(count, generator=generator) < 0.5
    alpha = torch.where(flip[:, None], alpha[:, mirror(names)], alpha)
    talks = torch.tensor([p.group == "talk" for p in PROTOTYPES.values()])[first]
    alpha = alpha + _small(generator, names, count, 1 + 1.5 * talks.float())
    alpha = _blink(generator, names, alpha)
    return bound(_gaze(generator, names, alpha), names)


def choose(generator: torch.Generator, count: int) -> Tensor:
    """(count, 2) rows of PROTOTYPES: what each face shows and what blends into it, −1 for nothing."""
    share = torch.tensor([p.share for p in PROTOTYPES.values()])
    first = torch.multinomial(share, count, replacement=True, generator=generator)
    weights = _partners()[first]
    blends = (torch.rand(count, generator=generator) < BLENDED) & (weights.sum(dim=1) > 0)
    weights = torch.where(blends[:, None], weights, torch.ones_like(weights))
    second = torch.multinomial(weights, 1, generator=generator)[:, 0]
    return torch.stack([first, torch.where(blends, second, torch.full_like(second, -1))], dim=1)


def prototype(name: str, names: tuple[str, ...], strength: float = 1.0) -> Tensor:
    """(52,) strengths of one prototype without lopsidedness, small movements or gaze.

    Raises:
        KeyError: there is no such prototype.
    """
    row = list(PROTOTYPES).index(name) if name in PROTOTYPES else None
    if row is None:
        raise KeyError(f"no prototype {name!r}; there are {', '.join(PROTOTYPES)}.")
    return bound(strength * _tables(names)[0][row : row + 1], names)[0]


def bound(alpha: Tensor, names: tuple[str, ...]) -> Tensor:
    """(B, 52) the nearest strengths that a face can show.

    No action beyond its limit, none against its opposite on the same side, `mouthClose` never above
    `jawOpen`, a tongue only between parted jaws, no pressed, rolled or puffed lips while the jaw is open,
    no squint of a closed eye, no lip in the nose.
    """
    column = {name: i for i, name in enumerate(names)}
    alpha = alpha.clamp(0, 1).clone()
    for stem, most in LIMITS.items():
        for i in _columns(stem, column):
            alpha[:, i] = alpha[:, i].clamp(max=most)
    for one, others in OPPOSITES.items():
        for pair in ((_columns(one, column), _columns(other, column)) for other in others.split()):
            common = torch.minimum(alpha[:, pair[0]], alpha[:, pair[1]])  # one column for each side, or one
            for own in pair:
                lost = common if len(own) == common.shape[1] else common.amax(dim=1, keepdim=True)
                alpha[:, own] = alpha[:, own] - lost
    jaw, tongue = column["jawOpen"], column["tongueOut"]
    alpha[:, jaw] = torch.maximum(alpha[:, jaw], 0.45 * alpha[:, tongue])
    alpha[:, column["mouthClose"]] = torch.minimum(alpha[:, column["mouthClose"]], alpha[:, jaw])
    parted = alpha[:, jaw] - alpha[:, column["mouthClose"]]
    for stem in OPEN_MOUTH:
        for i in _columns(stem, column):
            alpha[:, i] = alpha[:, i] * (1 - parted / 0.25).clamp(0, 1)
    for side in ("Left", "Right"):
        blink, squint = column[f"eyeBlink{side}"], column[f"eyeSquint{side}"]
        smile, upper = column[f"mouthSmile{side}"], column[f"mouthUpperUp{side}"]
        alpha[:, squint] = alpha[:, squint] * ((1 - alpha[:, blink]) / 0.35).clamp(0, 1)
        alpha[:, upper] = torch.minimum(alpha[:, upper], 1 - 0.6 * alpha[:, smile])
    return alpha


@cache
def mirror(names: tuple[str, ...]) -> Tensor:
    """(52,) each action's partner on the other side."""
    swap = {"Left": "Right", "Right": "Left"}
    partner = [next((n.removesuffix(s) + t for s, t in swap.items() if n.endswith(s)), n) for n in names]
    return torch.tensor([names.index(n) for n in partner])


def _lopsided(generator: torch.Generator, names: tuple[str, ...], count: int) -> Tensor:
    """(count, 52) factors up to 1: one side of the brows, eyes and mouth is a little weaker."""
    lean = torch.tensor([0.16, 0.05, 0.12]) * torch.randn(count, 3, generator=generator)
    region = torch.tensor([0 if n.startswith("brow") else 1 if n.startswith("eye") else 2 for n in names])
    side = torch.tensor([float(n.endswith("Left")) - float(n.endswith("Right")) for n in names])
    side[[names.index(n) for n in ("jawLeft", "jawRight", "mouthLeft", "mouthRight")]] = 0.0
    return 1 - (lean[:, region] * side).clamp(0, 0.45)


def _small(generator: torch.Generator, names: tuple[str, ...], count: int, size: Tensor) -> Tensor:
    """(count, 52) small movements of a few muscles, about one twentieth of their range times `size`."""
    stems = _stems(names)
    strength = 0.06 * torch.randn(count, len(stems), generator=generator).abs() * size[:, None]
    moves = torch.rand(count, len(stems), generator=generator) < 0.25
    allowed = torch.tensor([float(stem in SMALL) for stem in stems])
    alpha = (strength * moves * allowed)[:, _stem_of(names)] * _lopsided(generator, names, count)
    parted = 0.05 * torch.rand(count, generator=generator)
    parts = torch.rand(count, generator=generator) < 0.2
    alpha[:, names.index("jawOpen")] += parted * parts
    return alpha


def _blink(generator: torch.Generator, names: tuple[str, ...], alpha: Tensor) -> Tensor:
    """The lids' tone, wider or narrower in each person, and in every thirtieth picture a blink."""
    count = len(alpha)
    tone = 0.07 * torch.randn(count, 1, generator=generator)
    blinks = torch.rand(count, 1, generator=generator) < 0.035
    closing = blinks * (0.15 + 0.85 * torch.rand(count, 1, generator=generator).sqrt())
    blink, wide = ([names.index(f"{n}{side}") for side in ("Left", "Right")] for n in ("eyeBlink", "eyeWide"))
    alpha[:, wide] += (1.5 * tone).clamp(min=0)
    alpha[:, blink] = torch.maximum(alpha[:, blink] + (-tone).clamp(min=0), closing)
    return alpha


def _gaze(generator: torch.Generator, names: tuple[str, ...], alpha: Tensor) -> Tensor:
    """Both eyes look at one point, more often ahead than aside, and the upper lids go with them."""
    count = len(alpha)
    ahead = torch.rand(count, 1, generator=generator) < 0.5
    spread = torch.where(ahead, 0.07, 0.45)
    gaze = spread * torch.randn(count, 2, generator=generator).clamp(-2.2, 2.2) * torch.tensor([1.0, 0.7])
    near = 0.02 + 0.12 * torch.rand(count, generator=generator).square()
    sideways = {"Left": gaze[:, 0] - near, "Right": -gaze[:, 0] - near}  # outward; near things turn eyes in
    up = gaze[:, 1] - alpha[:, names.index("eyeLookDownLeft")]
    for side, outward in sideways.items():
        looks = {"Out": outward, "In": -outward, "Up": up, "Down": -up}
        for way, strength in looks.items():
            alpha[:, names.index(f"eyeLook{way}{side}")] = strength.clamp(0, 1)
        alpha[:, names.index(f"eyeBlink{side}")] += 0.1 * (-up).clamp(0, 1)
        alpha[:, names.index(f"eyeWide{side}")] += 0.3 * up.clamp(0, 1)
    return alpha


@cache
def _tables(names: tuple[str, ...]) -> tuple[Tensor, Tensor]:
    """(P, 52) strengths at full intensity and (P,) least intensities of the prototypes."""
    column = {name: i for i, name in enumerate(names)}
    table = torch.zeros(len(PROTOTYPES), len(names))
    for row, kind in enumerate(PROTOTYPES.values()):
        for stem, strength in kind.actions.items():
            table[row, _columns(stem, column)] = strength
    return table, torch.tensor([p.least for p in PROTOTYPES.values()])


@cache
def _partners() -> Tensor:
    """(P, P) how often the second of a blend follows the first."""
    kinds = list(PROTOTYPES.values())
    return torch.tensor([[b.share * (b.group in PARTNERS[a.group]) for b in kinds] for a in kinds])


@cache
def _stems(names: tuple[str, ...]) -> tuple[str, ...]:
    """The actions' names without their sides; jaw and mouth may also move sideways, which is an action."""
    return tuple(dict.fromkeys(_stem(name) for name in names))


@cache
def _stem_of(names: tuple[str, ...]) -> Tensor:
    """(52,) index into `_stems`."""
    return torch.tensor([_stems(names).index(_stem(name)) for name in names])


def _stem(name: str) -> str:
    sided = name.startswith(("jaw", "mouthLeft", "mouthRight"))
    return name if sided else name.removesuffix("Left").removesuffix("Right")


def _columns(stem: str, column: dict[str, int]) -> list[int]:
    """Columns of an action: both sides of a stem, or the one named.

    Raises:
        KeyError: the face model has no such action.
    """
    found = [column[n] for n in (stem, f"{stem}Left", f"{stem}Right") if n in column]
    if not found:
        raise KeyError(f"the face model has no action {stem!r}.")
    return found
