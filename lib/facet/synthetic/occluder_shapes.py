"""Shapes of occluders: capsules and a convex sheet around a face's landmarks, for every kind of occluder.

A builder takes the `Face` of N pictures and gives the columns of `occluders.Occluder` that differ from an
empty row. Lengths are in cm of the face, as the landmarks show it; `side` is the cheek that is seen.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from facet.landmarks68 import FLIP

CAPSULES, PLANES, FAR = 20, 24, 1e4
_FACE_CM = 11.0  # from the bridge of the nose to the chin
# Where hands go: landmarks (of the image's left side), cm from wrist to there, degrees from upward to inward,
# share of the fingers' length that is seen.
_HANDS = (
    ((3, 4, 48), 12.0, (-5.0, 35.0), (0.85, 1.0)),  # cheek
    ((48, 54, 57), 15.0, (60.0, 100.0), (0.85, 1.0)),  # mouth
    ((36, 39, 41), 15.0, (0.0, 40.0), (0.85, 1.0)),  # eye
    ((8, 6), 10.0, (20.0, 75.0), (0.3, 0.55)),  # chin, fingers bent
    ((17, 19), 14.0, (10.0, 70.0), (0.7, 1.0)),  # brow
    ((2, 36), 13.0, (-30.0, 10.0), (0.6, 1.0)),  # temple
)
# Knuckles (across toward the thumb, along) in cm, length, angle to the middle finger, radius; then the thumb.
_FINGERS = ((3.3, 9.2, 6.9, 5.0, 1.0), (1.1, 9.7, 7.6, 0.0, 1.03), (-1.0, 9.3, 7.1, -5.0, 0.97),
            (-3.0, 8.3, 5.6, -12.0, 0.85))  # fmt: skip
_THUMB = ((2.4, 2.2, 1.7), (4.6, 5.0, 1.25), (5.8, 7.6, 1.0), (6.3, 9.8, 0.75))


class Face:
    """Landmarks of N faces, their axes, and random numbers: what the shapes are built from.

    Attributes:
        points: (N, 68, 2) pixels; cm: (N,) pixels a centimetre; down, right: (N, 2) unit axes.
        turned: (N,) cm that the nose's tip lies to the right of the ears' middle.
        side: (N,) the cheek that is seen (of a frontal face, one of them), −1 is the image's left.
    """

    def __init__(self, generator: torch.Generator, landmarks: Tensor, image_size: int):
        self.generator, self.points, self.size, self.count = generator, landmarks, image_size, len(landmarks)
        axis = landmarks[:, 8] - landmarks[:, 27]
        self.cm = axis.norm(dim=1).clamp(min=0.2 * image_size) / _FACE_CM
        self.down = F.normalize(axis, dim=1)
        self.right = torch.stack([self.down[:, 1], -self.down[:, 0]], 1)
        self.turned = ((landmarks[:, 30] - landmarks[:, [0, 16]].mean(1)) * self.right).sum(1) / self.cm
        coin = torch.where(self.uniform() < 0.5, -1.0, 1.0)
        self.side = torch.where(self.turned.abs() > 3, -self.turned.sign(), coin)

    def uniform(self, low: float = 0.0, high: float = 1.0, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand((self.count, *shape), generator=self.generator)

    def at(self, indices, *, side: bool = False) -> Tensor:
        """(N, 2) mean of landmarks; with `side` those of the side that is seen, given for the left one."""
        left = self.points[:, list(indices)].mean(1)
        if not side:
            return left
        right = self.points[:, [FLIP[i] for i in indices]].mean(1)
        return torch.where(self.side[:, None] < 0, left, right)

    def moved(self, point: Tensor, across, down) -> Tensor:
        """Points moved by cm to the image's right and down along the face."""
        across, down = (torch.as_tensor(v, dtype=torch.float32).expand(self.count) for v in (across, down))
        step = across[:, None] * self.right + down[:, None] * self.down
        return point + self.cm[:, None] * step

    def colour(self, low: float = 0.02, high: float = 0.8, spread: float = 0.6) -> Tensor:
        """(N, 3) albedo, mostly dull."""
        value = torch.exp(self.uniform(math.log(low), math.log(high)))[:, None]
        return value * (1 + spread * (self.uniform() ** 2)[:, None] * self.uniform(-1, 1, 3)).clamp(0.1, 1.6)

    def capsule(self, start: Tensor, start_cm, end: Tensor, end_cm, lift=0.0, nail=0.0) -> Tensor:
        """(N, 8) a row of `Occluder.capsules` from ends in pixels, radii and lift in cm."""
        sizes = [torch.as_tensor(v).expand(self.count) * self.cm for v in (start_cm, end_cm, lift)]
        first, last, raised = (v[:, None] for v in sizes)
        nails = torch.as_tensor(nail, dtype=torch.float32).expand(self.count)[:, None]
        return torch.cat([start, first, end, last, raised, nails], 1)

    def box(self, centre: Tensor, axis: Tensor, wide, long, taper: float = 0.0) -> Tensor:
        """(N, 24, 3) planes of a box of half sizes in cm, `long` along the unit axis, wider at its start."""
        across = torch.stack([axis[:, 1], -axis[:, 0]], 1)
        normals = torch.stack([across + taper * axis, taper * axis - across, axis, -axis], 1)
        normals = F.normalize(normals, dim=2)
        half = torch.as_tensor([wide, wide, long, long], dtype=torch.float32) * self.cm[:, None]
        return _padded(torch.cat([normals, (half + (normals * centre[:, None]).sum(2))[..., None]], 2))

    def hull(self, points: Tensor, wider: float = 0.0) -> Tensor:
        """(N, 24, 3) planes from 24 directions, `wider` cm around points (N, P, 2)."""
        turn = torch.arange(PLANES) * (2 * math.pi / PLANES)
        normals = torch.stack([turn.cos(), turn.sin()], 1).expand(self.count, PLANES, 2)
        reach = (normals @ points.mT).amax(dim=2, keepdim=True) + wider * self.cm[:, None, None]
        return torch.cat([normals, reach], 2)

    def dome(self, centre: Tensor, first: Tensor, second: Tensor, height) -> Tensor:
        """(N, 2, 4) a row of `Occluder.dome`: q is 1 at `first` and `second`, vectors from the centre."""
        height = (torch.as_tensor(height) * self.cm)[:, None, None].expand(-1, 2, 1)
        return torch.cat([self.frame(centre, first, second), height], 2)

    def frame(self, centre: Tensor, first: Tensor, second: Tensor) -> Tensor:
        """(N, 2, 3) rows in x, y, 1 of coordinates that are 1 at `first` and at `second` from the centre."""
        rows = torch.stack([first, second], 1)
        rows = rows / rows.square().sum(2, keepdim=True).clamp(min=1e-6)
        return torch.cat([rows, -(rows * centre[:, None]).sum(2, keepdim=True)], 2)


def _padded(planes: Tensor) -> Tensor:
    """Planes (N, P, 3) followed by planes that everything satisfies."""
    rest = torch.tensor([0.0, 0.0, FAR]).expand(len(planes), PLANES - planes.shape[1], 3)
    return torch.cat([planes, rest], 1)


def _hand(face: Face) -> dict:
    row = torch.randint(len(_HANDS), (face.count,), generator=face.generator)
    every = torch.arange(face.count)
    target = torch.stack([face.at(p, side=True) for p, *_ in _HANDS], 1)[every, row]
    spans = torch.tensor([(reach, *angle, *seen) for _, reach, angle, seen in _HANDS])[row]
    angle = torch.deg2rad(spans[:, 1] + (spans[:, 2] - spans[:, 1]) * face.uniform())
    seen = spans[:, 3] + (spans[:, 4] - spans[:, 3]) * face.uniform()
    target = face.moved(target, face.uniform(-1, 1), face.uniform(-1, 1))
    along = -face.down * angle.cos()[:, None] - face.right * (face.side * angle.sin())[:, None]
    back = (face.uniform() < 0.8).float()  # of the hand, on the thumb's usual side, else its palm
    mirror = face.side * (2 * back - 1)
    across = torch.stack([-along[:, 1], along[:, 0]], 1) * mirror[:, None]
    size = face.uniform(0.85, 1.05) * face.cm
    wrist = target - along * (spans[:, 0] * size)[:, None]

    def place(x, y) -> Tensor:
        x, y = (torch.as_tensor(v, dtype=torch.float32).expand(face.count) * size for v in (x, y))
        return wrist + across * x[:, None] + along * y[:, None]

    parts = _fingers(face, place, seen, back)
    sleeved = face.uniform() < 0.6
    cuff = wrist - along * (face.uniform(12, 14) * size)[:, None]
    planes = face.box(cuff, along, 3.9, 10.0)
    planes[:, 0, 2] = torch.where(sleeved, planes[:, 0, 2], -FAR)
    return {
        "capsules": parts,
        "planes": planes,
        "round": 0.4 * face.cm,
        "dome": face.dome(cuff, across * 4.2 * size[:, None], along * FAR, 3.0),
        "fold": _folds(face, along, 2.5, 0.25),
        "limb": face.uniform(0.85, 1.1, 1) * (1 + 0.04 * face.uniform(-1, 1, 3)),
        "cloth": face.colour(),
        "skin": torch.ones(face.count),
        "weave": face.uniform(0.01, 0.045),
        "gloss": face.uniform(0.0, 0.06),
        "shadow": face.uniform(0.3, 0.6),
        "blend": 0.35 * face.cm,
    }


def _fingers(face: Face, place: Callable[..., Tensor], seen: Tensor, back: Tensor) -> Tensor:
    """(N, 20, 8) forearm, palm, fingers of which a share `seen` shows, and thumb; nails on the back."""
    parts = [face.capsule(place(0, -16), 3.4, place(0, 1), 2.4)]
    spread = face.uniform(0.3, 1.8)
    for x, y, length, lean, radius in _FINGERS:
        parts.append(face.capsule(place(0.5 * x, 1.0), 1.7, place(x, y), 1.1 * radius, 0.3))
        turn = torch.deg2rad(lean * spread + face.uniform(-4, 4))
        lift, bend = face.uniform(0.0, 0.5), seen * face.uniform(0.9, 1.05)
        for share, low, high in ((0.46, 1.0, 0.93), (0.31, 0.93, 0.86), (0.23, 0.86, 0.74)):
            step = length * share * bend
            end = (x + step * turn.sin(), y + step * turn.cos())
            nail = back * (high == 0.74)
            parts.append(face.capsule(place(x, y), low * radius, place(*end), high * radius, lift, nail))
            (x, y), turn = end, turn + torch.deg2rad(face.uniform(-5, 5))
    turn = torch.deg2rad(face.uniform(-30, 10))
    joints = []
    for x, y, _ in _THUMB:
        right, up = x - _THUMB[0][0], y - _THUMB[0][1]
        turned = (right * turn.cos() + up * turn.sin(), up * turn.cos() - right * turn.sin())
        joints.append(place(_THUMB[0][0] + turned[0], _THUMB[0][1] + turned[1]))
    for k in range(3):
        radii = _THUMB[k][2], _THUMB[k + 1][2]
        parts.append(face.capsule(joints[k], radii[0], joints[k + 1], radii[1], 0.4, back * (k == 2)))
    return torch.stack(parts, 1)


def _folds(face: Face, direction: Tensor, period: float, height: float, turn: float = 0.5) -> Tensor:
    """(N, 5) a row of `Occluder.fold`: period and height in cm vary, so does the direction by `turn`."""
    across = torch.stack([-direction[:, 1], direction[:, 0]], 1)
    wave = F.normalize(direction + face.uniform(-turn, turn, 1) * across, dim=1)
    wave = wave * (2 * math.pi / period / face.cm / face.uniform(0.5, 1.5))[:, None]
    height = face.uniform(0.3, 1.3) * height * face.cm
    rest = [face.uniform(0.3, 1.5), height, face.uniform(-3, 0)]
    return torch.cat([wave, torch.stack(rest, 1)], 1)


def _mask(face: Face) -> dict:
    level = face.uniform()[:, None]
    top = torch.where(level < 0.75, face.at((28,)), torch.where(level < 0.9, face.at((33,)), face.at((57,))))
    jaw = face.points[:, 2:15]
    lower = torch.where(level[..., None] < 0.9, jaw, jaw + 0.15 * (face.at((8,))[:, None] - jaw))
    nose = torch.where(level < 0.75, face.at((30,)), top)
    middle = face.at((33, 51, 8))
    straps = []
    for side in (-1.0, 1.0):
        seen = (face.turned.abs() < 2.5) | (face.side == side)
        for start, end in ((2, 0), (5, 1)):
            a, b = (n if side < 0 else 16 - n for n in (start, end))
            straps.append(face.capsule(face.points[:, a], 0.16 * seen, face.points[:, b], 0.16 * seen))
    plain = torch.tensor([(0.3, 0.52, 0.68), (0.75, 0.76, 0.78), (0.03, 0.03, 0.035), (0.2, 0.45, 0.42)])
    cloth = plain[torch.randint(len(plain), (face.count,), generator=face.generator)]
    cloth = torch.where(face.uniform(0, 1, 1) < 0.75, cloth, face.colour())
    pleats = _folds(face, face.down, 2.2, 0.12, 0.1)
    return {
        "capsules": torch.stack(straps, 1),
        "planes": face.hull(torch.cat([top[:, None], nose[:, None], lower], 1), 0.6),
        "round": 0.25 * face.cm,
        "dome": face.dome(
            middle,
            face.right * (face.cm * 15)[:, None],
            face.down * (face.cm * 12)[:, None],
            face.uniform(7, 11),
        ),
        "fold": pleats * torch.tensor([1.0, 1.0, 0.3, 1.0, 1.0]),
        "limb": torch.full((face.count, 3), 0.7),
        "cloth": cloth,
        "weave": face.uniform(0.01, 0.06),
        "shadow": face.uniform(0.15, 0.4),
    }


def _scarf(face: Face) -> dict:
    level = face.uniform()[:, None]
    chin = face.at((8,))
    top = torch.where(level < 0.2, face.at((33,)), torch.where(level < 0.4, face.at((57,)), chin))
    edge = torch.where(level[:, 0] < 0.4, face.uniform(-5.5, -3.5), face.uniform(-2.5, 0.5))
    ends = [face.moved(chin, side * face.uniform(8, 9.5), edge) for side in (-1, 1)]
    corners = [face.moved(chin, x, y) for x, y in ((-11, 7), (11, 7), (-16, 22), (16, 22))]
    tilt = F.normalize(face.down + 0.4 * face.uniform(-1, 1, 1) * face.right, dim=1)
    cloth = face.colour(0.02, 0.6, 1.2)
    return {
        "capsules": torch.zeros(face.count, 1, 8),
        "planes": face.hull(torch.stack([face.moved(top, 0, -0.5), *ends, *corners], 1)),
        "round": 0.5 * face.cm,
        "dome": face.dome(chin, face.right * (face.cm * 14)[:, None], face.down * FAR, 8.0),
        "fold": _folds(face, tilt, 3.5, 0.5, 0.3),
        "cloth": cloth,
        "weave": face.uniform(0.03, 0.25),
        "shadow": face.uniform(0.3, 0.6),
    }


def _grip(face: Face, centre: Tensor, axis: Tensor, half: float, *, wrist: bool = True) -> Tensor:
    """(N, C, 7) four fingers that come round an object's outer edge, palm and forearm beside it."""
    across = torch.stack([axis[:, 1], -axis[:, 0]], 1)
    across = across * ((across * face.right).sum(1).sign() * face.side)[:, None]

    def place(x, y) -> Tensor:
        x, y = (torch.as_tensor(v, dtype=torch.float32).expand(face.count) * face.cm for v in (x, y))
        return centre + across * x[:, None] + axis * y[:, None]

    drop = face.uniform(-1.0, 2.5)
    parts = []
    for k, (radius, length) in enumerate(((0.9, 3.8), (0.95, 4.4), (0.9, 4.0), (0.75, 3.0))):
        y = drop + (k - 1.5) * 1.75
        tip = half + 0.6 - length * face.uniform(0.75, 1.0)
        lift = face.uniform(0.2, 0.6)
        parts.append(face.capsule(place(half + 0.7, y + 0.3), radius, place(tip, y), 0.8 * radius, lift))
    if wrist:
        parts.append(face.capsule(place(half + 1.2, drop - 1.5), 1.6, place(half + 1.0, drop + 5), 2.2))
        parts.append(face.capsule(place(half + 1.0, drop + 5), 2.4, place(half + 4.5, drop + 22), 3.4))
    return torch.stack(parts, 1)


def _phone(face: Face) -> dict:
    ear = face.moved(face.at((1, 3), side=True), face.side * face.uniform(0.0, 2.5), face.uniform(-2, 2))
    other = torch.where(face.uniform(0, 1, 1) < 0.5, face.at((30, 57)), face.at((36, 39), side=True))
    centre = torch.where(face.uniform(0, 1, 1) < 0.65, ear, face.moved(other, 0, face.uniform(0, 5)))
    axis = F.normalize(face.down + face.right * (face.side * face.uniform(-0.6, 0.15))[:, None], dim=1)
    across = torch.stack([axis[:, 1], -axis[:, 0]], 1)
    lens = centre - axis * (face.cm * 5.2)[:, None] + across * (face.cm * face.uniform(-1.7, 1.7))[:, None]
    return {
        "capsules": _grip(face, centre, axis, 3.6),
        "planes": face.box(centre, axis, 3.6, 7.4),
        "round": 0.35 * face.cm,
        "dome": face.dome(centre, across * (face.cm * 5)[:, None], axis * (face.cm * 12)[:, None], 0.8),
        "front": torch.zeros(face.count),
        "cloth": face.colour(0.008, 0.5, 0.4),
        "patch": face.frame(lens, across * (face.cm * 1.5)[:, None], axis * (face.cm * 1.5)[:, None]),
        "trim": face.colour(0.005, 0.05, 0.2),
        "skin": torch.ones(face.count),
        "gloss": face.uniform(0.05, 0.3),
        "shadow": face.uniform(0.3, 0.6),
        "blend": 0.1 * face.cm,
    }


def _cup(face: Face) -> dict:
    centre = face.moved(face.at((57,)), face.uniform(-1, 1), face.uniform(3.5, 6))
    axis = F.normalize(face.down + face.right * face.uniform(-0.25, 0.25, 1), dim=1)
    across = torch.stack([axis[:, 1], -axis[:, 0]], 1)
    band = centre + axis * (face.cm * face.uniform(-5, 4))[:, None]
    return {
        "capsules": _grip(face, centre, axis, 3.9),
        "planes": face.box(centre, axis, 3.9, 5.0, 0.12),
        "round": 0.25 * face.cm,
        "dome": face.dome(centre, across * (face.cm * 4.6)[:, None], axis * FAR, 4.0),
        "front": torch.zeros(face.count),
        "cloth": face.colour(0.05, 0.85, 0.6),
        "patch": face.frame(band, across * FAR, axis * (face.cm * face.uniform(0.2, 3))[:, None]),
        "trim": face.colour(0.02, 0.8, 0.9),
        "skin": torch.ones(face.count),
        "gloss": face.uniform(0.0, 0.25),
        "shadow": face.uniform(0.3, 0.5),
        "blend": 0.1 * face.cm,
    }


def _microphone(face: Face) -> dict:
    ball = face.moved(face.at((57,)), face.side * face.uniform(-1, 3), face.uniform(2.5, 5.5))
    collar = face.moved(ball, face.side * 0.8, 2.2)
    end = face.moved(ball, face.side * face.uniform(1, 9), 17)
    parts = [face.capsule(ball, 2.4, ball, 2.4, 0.8), face.capsule(collar, 1.6, end, 1.1)]
    return {
        "capsules": torch.stack(parts, 1),
        "limb": face.colour(0.01, 0.2, 0.2),
        "weave": face.uniform(0.1, 0.4),
        "gloss": face.uniform(0.1, 0.5),
        "shadow": face.uniform(0.2, 0.4),
        "blend": 0.05 * face.cm,
    }


def _hair(face: Face) -> dict:
    start = face.moved(face.at((27,)), face.side * face.uniform(-1, 4), -8.5)
    bow = face.moved(face.at((17, 36), side=True), face.side * face.uniform(-1, 1.5), face.uniform(-3, 0))
    end = face.moved(face.at((3, 5, 48), side=True), face.side * face.uniform(-1, 2), face.uniform(-4, 4))
    parts = []
    for strand in range(5):
        a, b, c = (
            face.moved(p, face.uniform(-n, n), face.uniform(-n, n))
            for p, n in ((start, 1), (bow, 0.8), (end, 1.5))
        )
        thick, lift = face.uniform(0.03, 0.3 if strand < 2 else 0.07), face.uniform(0.0, 0.3)
        bend = [a * (1 - t) ** 2 + b * 2 * t * (1 - t) + c * t * t for t in (k / 4 for k in range(5))]
        for k in range(4):
            width = [thick * (1 - 0.8 * j / 4) for j in (k, k + 1)]
            parts.append(face.capsule(bend[k], width[0], bend[k + 1], width[1], lift))
    brown = torch.tensor([0.09, 0.05, 0.028]) * torch.exp(face.uniform(-2.0, 1.0, 1))
    return {
        "capsules": torch.stack(parts, 1),
        "limb": brown * (1 + 0.2 * face.uniform(-1, 1, 3)),
        "gloss": face.uniform(0.0, 0.15),
        "shadow": face.uniform(0.0, 0.1),
        "blend": 0.05 * face.cm,
    }


def _pole(face: Face) -> dict:
    sign = torch.where(face.uniform() < 0.5, -1.0, 1.0)
    middle = face.moved(face.at((30,)), sign * face.uniform(5, 10), 0)
    lean = torch.stack([face.uniform(-0.06, 0.06), torch.ones(face.count)], 1) * 1.5 * face.size
    radius = face.uniform(0.6, 2.8)
    return {
        "capsules": face.capsule(middle - lean, radius, middle + lean, radius)[:, None],
        "limb": face.colour(0.03, 0.6),
        "weave": face.uniform(0.0, 0.1),
        "gloss": face.uniform(0.0, 0.4),
        "soft": face.uniform(1, 7) * face.size / 256,
    }


def _shoulder(face: Face) -> dict:
    sign = torch.where(face.uniform() < 0.5, -1.0, 1.0)
    middle, low = face.size / 2, face.uniform(0.75, 1.1) * face.size
    outer = torch.stack([middle + sign * 0.62 * face.size, low], 1)
    inner = torch.stack([middle + sign * face.uniform(0.15, 0.4) * face.size, low + 0.25 * face.size], 1)
    radius = face.uniform(5, 8)
    return {
        "capsules": face.capsule(outer, radius, inner, 0.9 * radius)[:, None],
        "limb": face.colour(0.02, 0.5, 0.5),
        "weave": face.uniform(0.02, 0.15),
        "soft": face.uniform(2, 10) * face.size / 256,
    }


BUILDERS = {
    "hand": _hand,
    "mask": _mask,
    "scarf": _scarf,
    "phone": _phone,
    "cup": _cup,
    "microphone": _microphone,
    "hair": _hair,
    "pole": _pole,
    "shoulder": _shoulder,
}
