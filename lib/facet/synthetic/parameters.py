"""What every stored number of a picture and of its person means."""

import inspect
import re
from dataclasses import fields

from facet.face_model.people import ANCESTRIES
from facet.synthetic.portrait import Cast, Shots
from facet.synthetic.subjects import Subjects, Table, Views

# Of the tables that both generations have.
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
UNREAD = {
    Subjects: "skin skin_gain iris hair cloth lips eye brow scalp stubble gloss grain".split(),
    Views: "sh key_direction key_colour".split(),
}
"""Columns that pictures of the second generation do not depend on, once the tables are drawn."""


def parameter_rows(cast: Cast, shots: Shots) -> list[dict]:
    """For every stored parameter: whose it is, table, name, how many numbers, meaning, the first one's."""
    rows = []
    for bundle, of in ((cast, "person"), (shots, "picture")):
        for field in fields(bundle):
            table = getattr(bundle, field.name)
            told = MEANING if type(table) in UNREAD else described(type(table))
            for name in (f.name for f in fields(table)):
                value = getattr(table, name)[0].flatten()
                shown = ", ".join(f"{v:.4g}" for v in value[:4].tolist()) + (", …" if len(value) > 4 else "")
                about = {"of": of, "table": field.name, "name": name, "numbers": len(value)}
                read = "" if name in UNREAD.get(type(table), ()) else "yes"
                rows.append(about | {"read": read, "meaning": told[name], "example": shown})
    return rows


def described(table: type[Table]) -> dict[str, str]:
    """Column → what the table's docstring says of it, or just its name where it says nothing.

    There, `names: (N, 3) text` follow one another.
    """
    columns = [f.name for f in fields(table)]
    text = " ".join(inspect.getdoc(table).split("Attributes:")[-1].split())
    pieces = re.split(r"((?:\w+, )*\w+): (?=\([NM][,)])", text)
    said, last = {}, []
    for names, after in zip(pieces[1::2], pieces[2::2], strict=True):
        own = [name for name in names.split(", ") if name in columns]
        before = names.removesuffix(", ".join(own)).strip(" ,")  # the end of the text before
        for name in last if before else ():
            said[name] += f" {before}"
        last = own
        said |= dict.fromkeys(own, re.sub(r"^\([^)]*\),?", "", after).strip(" ;,."))
    return {name: said.get(name) or name.replace("_", " ") for name in columns}
