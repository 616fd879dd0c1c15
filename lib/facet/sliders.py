"""The face model with sliders, for JupyterLab: modes in standard deviations, expressions from 0 to 1."""

from collections.abc import Sequence

import torch

from facet.face_model import PARTS, FaceModel
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
