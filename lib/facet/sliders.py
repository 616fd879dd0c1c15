"""Panels with sliders, for JupyterLab: the face model's modes and expressions; a synthetic portrait."""

import io
import math
from collections.abc import Mapping, Sequence

import torch
from PIL import Image
from torch import Tensor

from facet.face_model import PARTS, FaceModel
from facet.rendering.shading import toward
from facet.synthetic import sitting
from facet.synthetic.portrait import Atelier, Cast, Shots
from facet.viewers import show_mesh

EXPRESSIONS = (
    "jawOpen",
    "mouthSmileLeft",
    "mouthSmileRight",
    "mouthPucker",
    "browInnerUp",
    "eyeBlinkLeft",
    "eyeBlinkRight",
)
# What a portrait's sliders change: lowest and highest value.
DIALS = {
    "yaw": (-90.0, 90.0),
    "pitch": (-25.0, 25.0),
    "distance": (350.0, 3000.0),
    "melanin": (0.0, 1.0),
    "wrinkles": (0.0, 2.0),
    "smile": (0.0, 1.0),
    "jaw": (0.0, 0.8),
    "gaze": (-1.0, 1.0),
    "light from": (-120.0, 120.0),
    "hard light": (0.0, 1.5),
    "exposure": (-2.0, 2.0),
}
WORN = ("hair", "beard", "glasses", "hat")
_COLUMNS = {
    "yaw": ("views", "yaw"), "pitch": ("views", "pitch"), "distance": ("views", "distance"),
    "melanin": ("skin", "melanin"), "exposure": ("finish", "exposure"),
}  # fmt: skip
_ACTIONS = {
    "smile": ("mouthSmileLeft", "mouthSmileRight", "cheekSquintLeft", "cheekSquintRight"),
    "jaw": ("jawOpen",),
    "gaze": ("eyeLookOutLeft", "eyeLookInRight"),
}
_CROPPED = 0.95  # share of the scalp that cropped hair covers


def face_sliders(
    model: FaceModel, *, modes: int = 6, expressions: Sequence[str] = EXPRESSIONS, height: int = 480
):
    """A k3d view of the head beside sliders that move it; an ipywidgets box to end a cell with.

    Args:
        modes: how many of the strongest identity modes get a slider, −3 … 3 standard deviations.
        expressions: names that get one, 0 … 1 of full strength.
        height: of the view in screen pixels.

    Raises:
        ValueError: the model has no expression of such a name.
    """
    import ipywidgets

    if unknown := [name for name in expressions if name not in model.expression_names]:
        raise ValueError(f"the model has no expression {', '.join(unknown)}")
    triangles = model.head_triangles[model.head_part != PARTS.index("body")]
    used, flat = triangles.unique(return_inverse=True)
    alpha, strength = torch.zeros(1, max(modes, 1)), torch.zeros(1, len(model.expression_names))
    plot = show_mesh(model.blend_head(alpha)[0, used].numpy(), flat.numpy(), height=height, name="head")
    mesh = plot.objects[0]

    def slider(name: str, row: torch.Tensor, column: int, low: float, high: float):
        def moved(change):
            row[0, column] = change["new"]
            mesh.vertices = model.blend_head(alpha, strength)[0, used].numpy()

        made = ipywidgets.FloatSlider(description=name, min=low, max=high, step=0.05, continuous_update=True)
        made.style.description_width = "9em"
        made.observe(moved, names="value")
        return made

    column = [slider(f"mode {k + 1} (sd)", alpha, k, -3.0, 3.0) for k in range(modes)]
    names = list(model.expression_names)
    column += [slider(name, strength, names.index(name), 0.0, 1.0) for name in expressions]
    plot.layout.width = "60%"
    return ipywidgets.HBox([plot, ipywidgets.VBox(column)])


def dialled(
    atelier: Atelier, cast: Cast, shots: Shots, values: Mapping[str, float | str], *, size: int
) -> Tensor:
    """(3, L, L) the first picture with some things set.

    Args:
        values: any of DIALS (degrees, mm, stops, else shares; `wrinkles` is a factor on this person's, gaze
            goes to the subject's left) and of WORN (names of items, "" for none).

    Raises:
        ValueError: a value is for neither of them.
    """
    if unknown := set(values) - {*DIALS, *WORN}:
        raise ValueError(f"nothing is called {', '.join(sorted(unknown))}")
    cast, shots = sitting.varied(cast, shots, 1)
    tables: dict[str, dict] = {"outfit": {n: atelier.wardrobe.number(values[n]) for n in WORN if n in values}}
    for name, (table, column) in _COLUMNS.items():
        if name in values:
            tables.setdefault(table, {})[column] = values[name]
    if "hair" in values:
        cast.skin.scalp[:, 0] = _CROPPED
    if "wrinkles" in values:
        cast.skin.wrinkles *= values["wrinkles"]
    if "light from" in values:
        azimuth = torch.tensor([math.radians(values["light from"])])
        shots.lights.direction[:, 0] = toward(azimuth, torch.full_like(azimuth, 0.4))
    if "hard light" in values:
        shots.lights.colour[:, 0] = values["hard light"]
    cast, shots = sitting.varied(cast, shots, 1, **tables)
    views = shots.views
    if {"yaw", "pitch"} & set(values):  # the torso follows half way
        shots.stance.neck = 0.5 * torch.stack([views.yaw, views.pitch, views.roll], dim=1)
    if _ACTIONS.keys() & values.keys():
        cast = sitting.acted(atelier, cast, _acted(atelier.model, cast.subjects.alpha_exp, values))
    return sitting.take(atelier, cast, sitting.framed(atelier, cast, shots, size=size), size=size)[0]


def _acted(model: FaceModel, alpha_exp: Tensor, values: Mapping) -> Tensor:
    alpha = alpha_exp.clone()
    names = list(model.expression_names)
    for dial in _ACTIONS.keys() & values.keys():
        for action in _ACTIONS[dial]:
            other = action.replace("Out", "?").replace("In", "Out").replace("?", "In")
            alpha[:, names.index(action)] = max(values[dial], 0.0)
            if other != action:  # eyes that look to one side do not look to the other
                alpha[:, names.index(other)] = max(-values[dial], 0.0)
    return alpha


def portrait_sliders(atelier: Atelier, cast: Cast, shots: Shots, *, size: int = 160, height: int = 420):
    """The first picture beside sliders that take it anew; an ipywidgets box to end a cell with.

    Args:
        size: of the crop in pixels; height: of the picture on the screen.
    """
    import ipywidgets

    values: dict[str, float | str] = {}
    screen = ipywidgets.Image(format="jpeg", height=height, width=height)

    def shoot() -> None:
        picture = dialled(atelier, cast, shots, values, size=size)
        pixels = (255 * picture.permute(1, 2, 0)).round().to(torch.uint8).numpy()
        with io.BytesIO() as file:
            Image.fromarray(pixels).save(file, format="JPEG", quality=92)
            screen.value = file.getvalue()

    def moved(change) -> None:
        values[change["owner"].description] = change["new"]
        shoot()

    column = []
    for name, (low, high) in DIALS.items():
        about = {"min": low, "max": high, "step": (high - low) / 50, "continuous_update": False}
        value = min(max(_start(cast, shots, name), low), high)
        column.append(ipywidgets.FloatSlider(value, description=name, **about))
    for name in WORN:
        options = ("", *atelier.wardrobe.of_kind(name))
        worn = int(getattr(cast.outfit, name)[shots.views.subject[0]])
        value = atelier.wardrobe.names[worn] if worn >= 0 else ""
        column.append(ipywidgets.Dropdown(options=options, value=value, description=name))
    for made in column:
        made.observe(moved, names="value")
    shoot()
    return ipywidgets.HBox([screen, ipywidgets.VBox(column)])


def _start(cast: Cast, shots: Shots, dial: str) -> float:
    """What a dial shows of the first picture; 0 for actions and lights, which are set, not read."""
    if dial not in _COLUMNS:
        return float(dial == "wrinkles")
    table, column = _COLUMNS[dial]
    row = shots.views.subject[0] if table == "skin" else 0
    return float(getattr(getattr(cast if table == "skin" else shots, table), column)[row])
