"""Figures of synthetic people: contact sheets, truth layer by layer, who they are and how they are built."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from facet.face_model.people import ANCESTRIES
from facet.figures import COLOURS, GREY, INK, PALE, panels, show_images
from facet.pictures import draw_mesh, image_array
from facet.synthetic import anthropometry, sitting
from facet.synthetic.anthropometry import TONES
from facet.synthetic.finish import to_srgb
from facet.synthetic.portrait import Atelier, Cast, Shots
from facet.synthetic.skin_paint import tone
from facet.synthetic.truth import CLASSES, Truth

# Colours of CLASSES in pictures of the segmentation.
CLASS_COLOURS = (
    (0.93, 0.93, 0.93), (0.93, 0.74, 0.62), (0.80, 0.30, 0.33), (0.45, 0.10, 0.12), (0.22, 0.50, 0.80),
    (0.36, 0.25, 0.18), (0.55, 0.30, 0.65), (0.25, 0.60, 0.45), (0.95, 0.70, 0.15),
)  # fmt: skip


def contact_sheet(pictures: Sequence, *, columns: int, gap: int = 3) -> np.ndarray:
    """Pictures of one size side by side, pixel by pixel, with white gaps; (H, W, 3) floats in [0, 1]."""
    arrays = [image_array(picture) for picture in pictures]
    height, width = arrays[0].shape[:2]
    rows = -(-len(arrays) // columns)
    sheet = np.ones((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), dtype=np.float32)
    for k, array in enumerate(arrays):
        top, left = (k // columns) * (height + gap), (k % columns) * (width + gap)
        sheet[top : top + height, left : left + width] = array
    return sheet


def layers(found: Truth, picture: int) -> dict[str, Tensor]:
    """Name → (3, S, S) picture of each layer of one picture's truth; white where nobody is."""
    depth = found.depth[picture]
    known = ~depth.isnan()
    low, high = depth[known].min(), depth[known].max()
    grey = ((depth - low) / (high - low)).nan_to_num(1.0).expand(3, -1, -1)
    normals = found.normals[picture] * depth.new_tensor([1.0, -1.0, 1.0])[:, None, None]
    colours = depth.new_tensor(CLASS_COLOURS)
    pncc = found.pncc[picture]
    return {
        "depth": grey,
        "normals": torch.where(known, normals * 0.5 + 0.5, 1.0),
        "PNCC": torch.where(pncc.sum(dim=0) > 0, pncc, 1.0),
        "albedo": torch.where(known, to_srgb(found.albedo[picture].clamp(0, 1)), 1.0),
        "segmentation": colours[found.segmentation[picture].long()].permute(2, 0, 1),
    }


def beard_sheet(atelier: Atelier, cast: Cast, shots: Shots, relief: Tensor, *, size: int, names: Sequence):
    """A column a picture: itself, the surface of the skin, and that with the volume of what grows on it.

    Args:
        relief: (N, V, 3) mm of the cast, see `facet.synthetic.beards`; size: of the crops; names: of columns.

    Returns:
        matplotlib Figure.
    """
    model, window, of = atelier.model, sitting.window(size), shots.views.subject
    skin = model.blend(cast.subjects.alpha_id, cast.subjects.alpha_exp)[of]
    shown = list(sitting.take(atelier, cast, shots, size=size))
    for surface in (skin, skin + relief[of]):
        points, _ = shots.views.project(surface, window["shift"])
        shown += [draw_mesh(face, model.triangles, window["size"]) for face in points]
    rows = ("picture", "skin", "with beard")
    return show_images(shown, names, columns=len(shots), row_labels=rows, size=1.5)


def truth_sheet(pictures: Tensor, found: Truth, landmarks: Tensor, *, shift: float, size: float = 1.45):
    """A row a picture: itself with its landmarks, its layers, and which texels of its map are seen.

    Args:
        pictures: (M, 3, S, S); landmarks: (68,) vertices of the face patch.
        shift: pixels from the crop's corner to the picture's.

    Returns:
        matplotlib Figure.
    """
    shown, captions = [], []
    for k, picture in enumerate(pictures):
        told = layers(found, k)
        seen = torch.where(found.texel_seen[k], found.position_map[k], torch.nan)
        low, high = (
            f(found.position_map[k].flatten(1), dim=1)[:, None, None] for f in (torch.amin, torch.amax)
        )
        shown += [picture, *told.values(), ((seen - low) / (high - low)).nan_to_num(1.0)]
        captions = ["seen and hidden landmarks", *told, "seen part of the map"]
    figure = show_images(shown, captions, columns=len(captions), size=size)
    for k, axes in enumerate(figure.axes[:: len(captions)][: len(pictures)]):
        x, y = (found.vertices[k, landmarks, :2] + shift).T.numpy()
        hidden = ~found.landmark_seen[k].numpy()
        axes.scatter(
            x[~hidden], y[~hidden], s=5, color=COLOURS["twoview"], edgecolors="white", linewidths=0.3
        )
        axes.scatter(x[hidden], y[hidden], s=5, facecolors="none", edgecolors="white", linewidths=0.6)
    for name, colour in zip(CLASSES, CLASS_COLOURS, strict=True):
        figure.axes[0].plot([], [], "s", color=colour, label=name, markersize=6)
    figure.axes[0].plot([], [], "o", color=COLOURS["twoview"], label="landmark, seen", markersize=4)
    ring = {"markerfacecolor": "none", "markeredgecolor": GREY, "markersize": 4}
    figure.axes[0].plot([], [], "o", **ring, label="landmark, hidden")
    figure.legend(
        loc="outside lower center", ncols=len(CLASSES) + 2, fontsize=7, labelcolor=INK, handletextpad=0.1
    )
    return figure


def plot_demographics(people: Mapping[str, Tensor]):
    """Ages of men and women, and skin tones of all and within each ancestry, in the tones' own colours.

    Args:
        people: years, gender, ancestry, melanin, as `anthropometry.demographics` takes them.

    Returns:
        matplotlib Figure.
    """
    figure, (ages, tones, within) = panels(3.2, 3.0, 3.6)
    women, ancestry = people["gender"] > 0.5, people["ancestry"].argmax(dim=1)
    for name, some, model in (("men", ~women, "prn"), ("women", women, "twoview")):
        years = people["years"][some].float().numpy()
        ages.hist(
            years, np.arange(18, 81, 3.1), histtype="step", color=COLOURS[model], label=name, linewidth=1.8
        )
    ages.set(xlabel="age (years)", ylabel="people", ylim=(0, None))
    ages.legend(loc="lower center")
    kind = anthropometry.tones(people["melanin"])
    middle = torch.stack([people["melanin"][kind == k].median() for k in range(len(TONES))])
    colours = to_srgb(tone(middle, 0 * middle, 0 * middle)).clamp(0, 1).numpy()
    shares = 100 * kind.bincount(minlength=len(TONES)).numpy() / len(kind)
    tones.bar(TONES, shares, color=colours)
    tones.axhline(100 / len(TONES), color=GREY, linestyle=":")
    _slanted(tones)
    tones.set(ylabel="people (%)")
    left = np.zeros(len(ANCESTRIES))
    for k, name in enumerate(TONES):
        share = np.array([100 * float((kind[ancestry == a] == k).float().mean()) for a in range(3)])
        within.barh(ANCESTRIES, share, left=left, color=colours[k], label=name, height=0.62)
        left += share
    within.set(xlabel="skin tones within an ancestry (%)", xlim=(0, 100))
    within.grid(visible=False)
    return figure


def plot_measures(rows: Sequence[Mapping]):
    """Our means and two standard deviations of face measures, in published standard deviations.

    Args:
        rows: of `anthropometry.check`.

    Returns:
        matplotlib Figure.
    """
    figure, (axes,) = panels(7.6, height=4.4)
    names = list(dict.fromkeys(row["measure"] for row in rows))
    axes.axvspan(-2, 2, color=PALE, label="published: mean ± 2 sd")
    for gender, model, away in (("men", "prn", -0.16), ("women", "twoview", 0.16)):
        own = [row for row in rows if row["gender"] == gender]
        place = np.array([names.index(row["measure"]) for row in own]) + away
        middle, reach = (np.array([row[key] for row in own]) for key in ("shift", "spread"))
        style = {"fmt": "o", "markersize": 4, "color": COLOURS[model], "linewidth": 1.6}
        axes.errorbar(middle, place, xerr=2 * reach, **style, label=f"our {gender}: mean ± 2 sd")
    axes.set(yticks=range(len(names)), yticklabels=names, ylim=(len(names) - 0.4, -0.6))
    axes.set_xlabel("published standard deviations from the published mean")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def plot_expressions(alpha_exp: Tensor, names: Sequence[str]):
    """How many faces show each action, left and right as one: at all (pale), and with half its strength.

    Args:
        alpha_exp: (N, 52) strengths.

    Returns:
        matplotlib Figure.
    """
    stems = [name.removesuffix("Left").removesuffix("Right") for name in names]
    stems = [f"{stem}Aside" if stem in ("jaw", "mouth") else stem for stem in stems]
    shown = {
        stem: alpha_exp[:, [k for k, other in enumerate(stems) if other == stem]].amax(dim=1)
        for stem in stems
    }
    shares = {s: [100 * float((v > least).float().mean()) for least in (0.1, 0.5)] for s, v in shown.items()}
    order = sorted(shares, key=lambda stem: -shares[stem][0])
    figure, (axes,) = panels(9.6, height=3.3)
    axes.bar(order, [shares[s][0] for s in order], color="#b9c7d6", label="more than a tenth of its strength")
    axes.bar(order, [shares[s][1] for s in order], color=COLOURS["prn"], label="more than half of it")
    _slanted(axes, 55)
    axes.set(ylabel="faces (%)", xlim=(-0.7, len(order) - 0.3))
    axes.grid(visible=False, axis="x")
    axes.legend()
    return figure


def _slanted(axes, angle: float = 35.0) -> None:
    """Names under bars, that end where their bar is."""
    for label in axes.get_xticklabels():
        label.set(ha="right", rotation=angle, rotation_mode="anchor", fontsize=8)
