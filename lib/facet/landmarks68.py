"""The 68 iBUG landmarks: order, names, groups, mirror partners and the lines that draw a face.

Left and right are the SUBJECT's. Numbering starts at 0; the jaw runs from the subject's right ear (0), which
is on the left of a frontal image, over the chin (8) to the left ear (16). Plain tuples, no imports.
"""

COUNT = 68

GROUPS: dict[str, tuple[int, ...]] = {
    "jaw": tuple(range(0, 17)),
    "right_brow": tuple(range(17, 22)),
    "left_brow": tuple(range(22, 27)),
    "nose_bridge": tuple(range(27, 31)),
    "nostrils": tuple(range(31, 36)),
    "right_eye": tuple(range(36, 42)),
    "left_eye": tuple(range(42, 48)),
    "outer_lips": tuple(range(48, 60)),
    "inner_lips": tuple(range(60, 68)),
}

CHIN = 8
NOSE_TIP = 30
OUTER_EYE_CORNERS = (36, 45)
MOUTH_CORNERS = (48, 54)

# Mirror partners, one (right side, left side) pair a line of the face; points on the midline pair with
# themselves.
_PAIRS = (
    *((i, 16 - i) for i in range(9)),
    *((17 + i, 26 - i) for i in range(5)),
    *((i, i) for i in range(27, 31)),
    *((31 + i, 35 - i) for i in range(3)),
    (36, 45),
    (37, 44),
    (38, 43),
    (39, 42),
    (40, 47),
    (41, 46),
    *((48 + i, 54 - i) for i in range(4)),
    (59, 55),
    (58, 56),
    (57, 57),
    *((60 + i, 64 - i) for i in range(3)),
    (67, 65),
    (66, 66),
)


def _flip_table() -> tuple[int, ...]:
    partner = dict(_PAIRS) | {right: left for left, right in _PAIRS}
    return tuple(partner[i] for i in range(COUNT))


def _names() -> tuple[str, ...]:
    return tuple(f"{group}_{i}" for group, members in GROUPS.items() for i in range(len(members)))


def _segments() -> tuple[tuple[int, int], ...]:
    closed = {"right_eye", "left_eye", "outer_lips", "inner_lips"}
    lines: list[tuple[int, int]] = []
    for group, members in GROUPS.items():
        lines += [(members[i], members[i + 1]) for i in range(len(members) - 1)]
        if group in closed:
            lines.append((members[-1], members[0]))
    return tuple(lines)


FLIP: tuple[int, ...] = _flip_table()
"""FLIP[i] is the mirror partner of landmark i: in a mirrored image points[FLIP], with x ↦ S − 1 − x."""

NAMES: tuple[str, ...] = _names()
"""A name for each landmark, for example `right_eye_0` (the outer corner)."""

SEGMENTS: tuple[tuple[int, int], ...] = _segments()
"""Pairs of landmarks that a drawing joins; eyes and lips are closed, the nose bridge ends at the tip."""
