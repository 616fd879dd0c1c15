"""Who stands before the camera, and how: every random number of a picture, drawn once and kept.

`draw_subjects` draws what a person keeps over a session (shape, expression, skin, eyes, hair, clothes),
`draw_views` what changes from picture to picture (pose, camera, light, background). Pictures are a pure
function of these tables, so any picture can be made again from its saved parameters alone.
"""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from facet.crop import crop_box, crop_matrix
from facet.face_model import FaceModel
from facet.geometry import rotation_matrix
from facet.rendering.shading import random_sh
from facet.synthetic.poses import Camera, Poses, random_distance

HAIR = (
    (0.05, 0.04, 0.035),
    (0.13, 0.08, 0.055),
    (0.28, 0.17, 0.1),
    (0.5, 0.35, 0.2),
    (0.4, 0.2, 0.12),
    (0.6, 0.58, 0.55),
)
IRIS = (
    (0.16, 0.09, 0.05),
    (0.3, 0.18, 0.09),
    (0.38, 0.32, 0.16),
    (0.3, 0.38, 0.28),
    (0.32, 0.45, 0.55),
    (0.4, 0.45, 0.48),
)
# Actions that people make together: names without Left/Right, drawn with one strength for both sides.
ACTIONS = (
    ("mouthSmile", "cheekSquint"), ("jawOpen",), ("eyeBlink",), ("browInnerUp", "browOuterUp"),
    ("browDown", "eyeSquint"), ("mouthFrown",), ("mouthPucker",), ("mouthFunnel",), ("noseSneer",),
    ("mouthStretch",), ("mouthUpperUp",), ("mouthLowerDown",), ("eyeWide",), ("cheekPuff",), ("mouthPress",),
    ("mouthRollLower", "mouthRollUpper"), ("mouthShrugLower",), ("jawLeft",), ("jawRight",), ("jawForward",),
    ("mouthLeft",), ("mouthRight",), ("mouthDimple",), ("mouthClose",),
)  # fmt: skip


class Table:
    """Tensors that share their first axis; rows can be chosen, moved and stored."""

    def rows(self, index) -> "Table":
        """The rows of an index, slice or mask."""
        return type(self)(**{f.name: getattr(self, f.name)[index] for f in fields(self)})

    def to(self, device) -> "Table":
        """The table on another device."""
        return type(self)(**{f.name: getattr(self, f.name).to(device) for f in fields(self)})

    def state(self, prefix: str) -> dict[str, Tensor]:
        """Name → tensor, for safetensors."""
        return {f"{prefix}.{f.name}": getattr(self, f.name).contiguous() for f in fields(self)}

    @classmethod
    def from_state(cls, state: dict[str, Tensor], prefix: str) -> "Table":
        """The table that `state` gave."""
        return cls(**{f.name: state[f"{prefix}.{f.name}"] for f in fields(cls)})

    def __len__(self) -> int:
        return len(getattr(self, fields(self)[0].name))


@dataclass
class Subjects(Table):
    """N people in one session each.

    Attributes:
        identity: (N,) row in the people bank; alpha_id: (N, K); alpha_exp: (N, 52).
        skin: (N,) texture; skin_gain, lips: (N, 3) factors; iris, hair, cloth: (N, 3) colours.
        eye: (N, 4) radius of iris and pupil as shares of the eyeball's, highlight x, y.
        brow: (N, 4) thickness, height and arch in mm, density; scalp: (N, 2) cover, hairline shift in mm.
        stubble, gloss: (N,) strengths; grain: (N,) seed of painted noise.
        years, gender: (N,), ancestry: (N, 3), as in the bank.
    """

    identity: Tensor
    alpha_id: Tensor
    alpha_exp: Tensor
    skin: Tensor
    skin_gain: Tensor
    iris: Tensor
    hair: Tensor
    cloth: Tensor
    lips: Tensor
    eye: Tensor
    brow: Tensor
    scalp: Tensor
    stubble: Tensor
    gloss: Tensor
    grain: Tensor
    years: Tensor
    gender: Tensor
    ancestry: Tensor


@dataclass
class Views(Table):
    """M pictures of subjects.

    Attributes:
        subject: (M,) row of the subjects' table; yaw, pitch, roll: (M,) degrees.
        scale, distance: (M,), centre: (M, 2), origin: (M, 3): the `Camera`, in pixels of the crop.
        sh: (M, 9, 3) light around; key_direction, key_colour: (M, 3) directional light.
        background: (M,) seed.
    """

    subject: Tensor
    yaw: Tensor
    pitch: Tensor
    roll: Tensor
    scale: Tensor
    centre: Tensor
    distance: Tensor
    origin: Tensor
    sh: Tensor
    key_direction: Tensor
    key_colour: Tensor
    background: Tensor

    def camera(self, shift: float = 0.0) -> Camera:
        """The cameras, their pictures shifted by `shift` pixels in x and y, as to a wider window."""
        return Camera(self.scale, self.centre + shift, self.distance, self.origin)

    def rotation(self) -> Tensor:
        """(M, 3, 3) head rotations in the model frame."""
        return rotation_matrix(self.yaw, self.pitch, self.roll)

    def project(self, vertices: Tensor, shift: float = 0.0) -> tuple[Tensor, Tensor]:
        """Model-frame vertices (M, V, 3) to the image frame, pixels of the crop, and 1/w (M, V)."""
        return self.camera(shift).project(vertices @ self.rotation().mT)


def draw_subjects(
    generator: torch.Generator,
    model: FaceModel,
    bank: dict[str, Tensor],
    rows: Tensor,
    *,
    expressive: float = 0.75,
) -> Subjects:
    """Subjects for the given rows of a people bank; a share `expressive` makes a face, the others rest."""
    count = len(rows)

    def uniform(*shape, low=0.0, high=1.0):
        return low + (high - low) * torch.rand(shape, generator=generator)

    def normal(*shape):
        return torch.randn(shape, generator=generator)

    chosen = {k: v[rows] for k, v in bank.items()}
    hair = _palette(generator, HAIR, count, spread=0.25)
    grey = ((chosen["years"].float() - 45) / 50).clamp(0, 0.9) * uniform(count)
    hair = hair + (0.6 - hair) * grey[:, None]
    male = chosen["gender"] < 0.5
    highlight = torch.stack([uniform(count, low=-0.3, high=0.3), uniform(count, low=0.1, high=0.35)], dim=1)
    return Subjects(
        identity=rows.clone(),
        alpha_id=chosen["alpha_id"].float(),
        alpha_exp=draw_expressions(generator, model.expression_names, count, expressive=expressive),
        skin=chosen["skin"].long(),
        skin_gain=uniform(count, 1, low=0.7, high=1.2) * (1 + 0.06 * normal(count, 3)),
        iris=_palette(generator, IRIS, count, spread=0.25),
        hair=hair,
        cloth=uniform(count, 3) * uniform(count, 1),
        lips=torch.stack([uniform(count, low=0.9, high=1.15), *uniform(2, count, low=0.55, high=0.9)], dim=1),
        eye=torch.cat(
            [uniform(count, 1, low=0.46, high=0.54), uniform(count, 1, low=0.14, high=0.28), highlight], dim=1
        ),
        brow=torch.stack(
            [
                uniform(count, low=2.2, high=5.5),
                uniform(count, low=-3, high=3),
                2 * normal(count),
                uniform(count, low=0.3, high=1),
            ],
            1,
        ),
        scalp=torch.stack(
            [(uniform(count) < 0.75) * uniform(count, low=0.6, high=1.0), uniform(count, low=-10, high=14)], 1
        ),
        stubble=male * (uniform(count) < 0.5) * uniform(count, low=0.1, high=0.85),
        gloss=uniform(count, high=0.3),
        grain=torch.randint(2**31, (count,), generator=generator),
        years=chosen["years"].float(),
        gender=chosen["gender"].float(),
        ancestry=chosen["ancestry"].float(),
    )


def draw_expressions(
    generator: torch.Generator, names: tuple[str, ...], count: int, *, expressive: float = 0.75
) -> Tensor:
    """(count, 52) strengths in [0, 1]: about two groups of ACTIONS, both sides nearly alike, and a gaze."""
    groups = torch.zeros(len(ACTIONS), len(names))
    for row, actions in enumerate(ACTIONS):
        for column, name in enumerate(names):
            stem = name.removesuffix("Left").removesuffix("Right")
            groups[row, column] = float(stem in actions or name in actions)
    active = torch.rand(count, len(ACTIONS), generator=generator) < 2.2 / len(ACTIONS)
    strength = active * torch.rand(count, len(ACTIONS), generator=generator) ** 0.7
    strength *= torch.rand(count, 1, generator=generator) < expressive
    one_sided = 1 - 0.25 * torch.rand(count, len(names), generator=generator)
    alpha = (strength @ groups).clamp(0, 1) * one_sided
    gaze = 0.5 * torch.randn(count, 2, generator=generator).clamp(-2, 2)
    for direction, part in (
        ("Left", gaze[:, 0]),
        ("Right", -gaze[:, 0]),
        ("Up", gaze[:, 1] / 2),
        ("Down", -gaze[:, 1] / 2),
    ):
        for side in ("Left", "Right"):
            look = {
                "Left": "Out" if side == "Left" else "In",
                "Right": "In" if side == "Left" else "Out",
            }.get(direction, direction)
            alpha[:, names.index(f"eyeLook{look}{side}")] = part.clamp(0, 1)
    return alpha


def draw_views(
    generator: torch.Generator,
    model: FaceModel,
    subjects: Subjects,
    poses: Poses,
    *,
    image_size: int,
    split: str = "train",
    jitter: bool = False,
    florence: bool = False,
) -> Views:
    """Views of subjects at poses (N, P), cropped by the 300W-LP rule on the projected 68 landmarks.

    Args:
        jitter: shift and scale the crop box as a detector would.
        split: which family of backgrounds and lights: test pictures also see some that training never shows.
        florence: the perspective camera of the Florence protocol instead of random ones.
    """
    people, per_person = poses.yaw.shape
    subject = torch.arange(people).repeat_interleave(per_person)
    flat, total = poses.flatten(), people * per_person
    rotation = rotation_matrix(flat.yaw, flat.pitch, flat.roll)
    face = model.blend(subjects.alpha_id, subjects.alpha_exp)[subject] @ rotation.mT
    if florence:
        camera = Camera.florence(face, image_size)
    else:
        camera = Camera(
            torch.ones(total), torch.zeros(total, 2), random_distance(generator, total), torch.zeros(total, 3)
        )
    landmarks = camera.project(face)[0][:, model.landmarks]
    box = crop_box(landmarks, generator=generator if jitter else None, jitter=0.1 if jitter else 0.0)
    camera = camera.moved(crop_matrix(box.centre, box.size, image_size))
    azimuth = torch.pi * (torch.rand(total, generator=generator) - 0.5) * 1.6
    height = torch.rand(total, generator=generator) * 1.5 - 0.4
    direction = torch.stack([azimuth.sin(), -height, azimuth.cos()], dim=1)
    power = torch.rand(total, 1, generator=generator) ** 2 * (1.2 if split == "train" else 1.4)
    return Views(
        subject=subject,
        yaw=flat.yaw,
        pitch=flat.pitch,
        roll=flat.roll,
        scale=camera.scale,
        centre=camera.centre,
        distance=camera.distance,
        origin=camera.origin,
        sh=random_sh(generator, total) * (1.05 - 0.5 * power[..., None]),
        key_direction=direction,
        key_colour=power * (1 + 0.1 * torch.randn(total, 3, generator=generator)),
        background=torch.randint(2**31, (total,), generator=generator),
    )


def _palette(generator: torch.Generator, colours: tuple, count: int, *, spread: float) -> Tensor:
    """(count, 3) colours between two random entries of a palette, each channel scaled a little."""
    table = torch.tensor(colours)
    pair = table[torch.randint(len(table), (count, 2), generator=generator)]
    share = torch.rand(count, 1, generator=generator)
    mixed = pair[:, 0] * share + pair[:, 1] * (1 - share)
    return mixed * (1 + spread * (torch.rand(count, 1, generator=generator) - 0.5))
