"""Figures in one calm style: colour-blind safe, one colour a model everywhere, units on every axis.

Every function returns a matplotlib Figure, or draws into `axes` when given some. Vertices are in the image
frame (pixels, x right, y down, z toward the camera), images are float in [0, 1] or uint8, H×W×3 or 3×H×W.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from facet import landmarks68
from facet.evaluation.statistics import bin_angle, ced, intervals
from facet.evaluation.tables import measure_name
from facet.geometry import image_flip, rotation_matrix
from facet.pictures import as_numpy, image_array, overlay_mesh, render_mesh

_BESIDE = {"loc": "center left", "bbox_to_anchor": (1.0, 0.5)}  # legends that cover no curve
INK, GREY, PALE = "#2b2f36", "#8a8f98", "#e4e6ea"
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": PALE,
    "grid.linewidth": 0.8,
    "text.color": INK,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.framealpha": 0.9,
    "legend.edgecolor": "none",
    "legend.fancybox": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
    "figure.dpi": 110,
    "figure.constrained_layout.use": True,
    "savefig.dpi": 150,
    "savefig.facecolor": "white",
}

__all__ = [
    "COLOURS",
    "colour",
    "degrees",
    "draw_landmarks",
    "draw_pose_box",
    "image_array",
    "number",
    "overlay_mesh",
    "panels",
    "plot_ced",
    "plot_error_by_yaw",
    "plot_history",
    "plot_position_map",
    "render_mesh",
    "show_images",
]

# Okabe & Ito's palette, with Tol's purple and wine for the families that are left; greys are no networks.
COLOURS = {
    "mean-face": "#a6abb3",
    "mean-face-true-pose": "#646a73",
    "landmark-fit": "#8c6d4f",
    "prn": "#0072b2",
    "mobile": "#56b4e9",
    "twoview": "#d55e00",
    "residual": "#009e73",
    "vrn": "#aa4499",
    "vrn-guided": "#882255",
    "vrn-multitask": "#cc79a7",
    "coefficients": "#e69f00",
    "rotation": "#b3a100",
    "one-pass": "#332288",
}
# Lines that are no model's take the same colours in this order.
_CYCLE = ("prn", "twoview", "residual", "coefficients", "vrn", "mobile", "one-pass", "landmark-fit")
plt.rcParams.update(STYLE | {"axes.prop_cycle": cycler(color=[COLOURS[name] for name in _CYCLE])})
_DASHES = ("-", (0, (4, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.5, 1, 1.5)), (0, (8, 2)))
ERROR_MAP = LinearSegmentedColormap.from_list(
    "facet_error", ["#f2efe9", "#f3c98b", "#d9713f", "#8d2451", "#2d1140"]
)


def colour(model: str) -> str:
    """The colour of a model's name, the same in every figure; ink for names that have none."""
    return COLOURS.get(model, INK)


def degrees(angle: float, *, sign: bool = False) -> str:
    """An angle as pictures name it, with a true minus: "−30°", "0°"; with `sign`, "+30°"."""
    whole = round(float(angle))
    return (f"{whole:+d}°" if sign and whole else f"{whole}°").replace("-", "−")


def number(value: float, digits: int = 2) -> str:
    """A number as pictures name it, with a true minus, and no "−0.00"."""
    return f"{round(float(value), digits) + 0.0:.{digits}f}".replace("-", "−")


def plot_history(
    histories,
    *,
    title: str = "",
    loss: str = "loss",
    before: Mapping[str, int] | None = None,
    training: bool = True,
) -> Figure:
    """Training (thin) and validation (thick) loss against samples seen; a ring marks the best validation.

    Args:
        histories: rows of one training (a History, a frame or a list of dicts), or {name: rows} of several.
        title: of the figure.
        loss: what the loss is, for the axis.
        before: name → samples that the network had seen before this training, where its curve begins.
        training: draw the training loss too; not where it measures something else than validation does.
    """
    if not isinstance(histories, Mapping):
        histories = {"": histories}
    figure, axes = plt.subplots(figsize=(6.4, 3.6))
    for i, (name, rows) in enumerate(histories.items()):
        rows = pd.DataFrame(getattr(rows, "rows", rows))
        line = colour(name.split()[0]) if name else COLOURS["prn"]
        dash = _DASHES[
            sum(other.split()[:1] == name.split()[:1] for other in list(histories)[:i]) % len(_DASHES)
        ]
        thousands = ((before or {}).get(name, 0) + rows["samples"]) / 1000
        whole = rows["samples"].diff().fillna(np.inf) > rows["samples"].iloc[0] / 2  # no rest of an epoch
        thin = {"color": line, "linewidth": 0.9, "alpha": 0.55, "linestyle": dash}
        if training:
            axes.plot(thousands[whole], rows["train_loss"][whole], **thin)
        label = f"{name} validation".strip() if len(histories) == 1 else name
        axes.plot(thousands, rows["val_loss"], color=line, linestyle=dash, label=label)
        best = rows["val_loss"].astype(float).idxmin()
        axes.plot(
            thousands[best], rows["val_loss"][best], "o", color=line, markerfacecolor="white", markersize=6
        )
    if training:
        axes.plot([], [], color=GREY, linewidth=0.9, label="training (thin)")
    axes.set(yscale="log", xlabel="samples seen (thousands)", ylabel=loss, title=title)
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("")
    axes.legend()
    return figure


def plot_ced(
    frame: pd.DataFrame,
    *,
    metric: str,
    normaliser: str,
    limit: float | None = None,
    title: str = "",
    styles: Mapping[str, tuple[str, object]] | None = None,
) -> Figure:
    """Cumulative error distribution of every model in a tidy frame, best mean first in the legend.

    Args:
        frame: per-sample rows of one test set.
        metric: which measure; so is normaliser.
        normaliser: "mm" or what the per cent are of.
        limit: right end of the axis; None shows 98 % of the samples of all models. The left end is where the
            first curve leaves 0.
        title: of the figure.
        styles: label → colour and dash of its curve, where a model has more variants than there are dashes.
    """
    chosen = _measure(frame, metric, normaliser)
    limit = limit or float(np.percentile(chosen["value"], 98))
    start = 0.9 * min(float(np.percentile(group["value"], 0.5)) for *_, group in _curves(chosen))
    figure, axes = plt.subplots(figsize=(7.8, 3.8))
    for label, line, dash, group in sorted(_curves(chosen), key=lambda curve: curve[3]["value"].mean()):
        curve = ced(group["value"])
        x = np.concatenate(([0.0], curve.thresholds, [max(limit, curve.thresholds[-1])]))
        share = 100 * np.concatenate(([0.0], curve.share, [1.0]))
        text = f"{label}  {_number(group['value'].mean(), normaliser)}"
        line, dash = (styles or {}).get(label, (line, dash))
        axes.step(x, share, where="post", color=line, linestyle=dash, label=text)
    axes.set(xlim=(start, limit), ylim=(0, 101), ylabel="faces with at most this error (%)", title=title)
    axes.set_xlabel(measure_name(metric, normaliser))
    axes.legend(title="mean error", title_fontsize=8.5, alignment="left", **_BESIDE)
    return figure


def plot_error_by_yaw(
    frame: pd.DataFrame,
    *,
    metric: str,
    normaliser: str,
    centres: Sequence[float] = (-80, -60, -40, -20, 0, 20, 40, 60, 80),
    title: str = "",
    seed: int = 0,
) -> Figure:
    """Mean error by the head's yaw with 95 % intervals over identities (bands).

    Args:
        frame: per-sample rows of one test set.
        metric: which measure; so is normaliser.
        normaliser: "mm" or what the per cent are of.
        centres: degrees; each sample counts for the nearest.
        title: of the figure.
        seed: of the bootstrap.
    """
    chosen = bin_angle(_measure(frame, metric, normaliser), centres)
    figure, axes = plt.subplots(figsize=(7.8, 3.8))
    lowest = np.inf
    for label, line, dash, group in sorted(_curves(chosen), key=lambda curve: curve[3]["value"].mean()):
        rows = intervals(group, by=("yaw",), seed=seed).sort_values("yaw")
        lowest = min(lowest, rows["low"].min())
        axes.fill_between(rows["yaw"], rows["low"], rows["high"], color=line, alpha=0.14, linewidth=0)
        axes.plot(rows["yaw"], rows["mean"], "o", color=line, markersize=4)
        axes.plot(rows["yaw"], rows["mean"], color=line, linestyle=dash, label=label)
    axes.set(xticks=sorted(chosen["yaw"].unique()), xlabel="yaw (°), + turns the nose to the image's right")
    axes.set(ylim=(0.85 * lowest, None), ylabel=measure_name(metric, normaliser), title=title)
    axes.legend(**_BESIDE)
    return figure


def panels(*widths: float, height: float = 2.7) -> tuple[Figure, np.ndarray]:
    """A figure with a row of axes, so wide in inches."""
    figure, grid = plt.subplots(
        1, len(widths), figsize=(sum(widths), height), width_ratios=widths, squeeze=False
    )
    return figure, grid[0]


def show_images(
    images: Sequence,
    captions: Sequence[str] = (),
    *,
    columns: int | None = None,
    size: float = 1.7,
    row_labels: Sequence[str] = (),
) -> Figure:
    """A grid of images with captions above them and labels at the left of each row; `size` in inches."""
    columns = columns or min(len(images), 6)
    rows = -(-len(images) // columns)
    shape = image_array(images[0]).shape
    told = -(-len(captions) // columns)  # rows that have captions above them
    figure, grid = plt.subplots(
        rows,
        columns,
        figsize=(columns * size, rows * size * shape[0] / shape[1] + 0.22 * told),
        squeeze=False,
        gridspec_kw={"wspace": 0.02},
    )
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.03, wspace=0.01, hspace=0.01)
    for i, axes in enumerate(grid.flat):
        _bare(axes)
        if i >= len(images):
            axes.set_visible(False)
            continue
        axes.imshow(image_array(images[i]), interpolation="antialiased")
        if i < len(captions):
            axes.set_title(captions[i], fontsize=8, pad=3, loc="center")
        if i % columns == 0 and i // columns < len(row_labels):
            axes.set_ylabel(row_labels[i // columns], fontsize=8.5)
    return figure


def draw_landmarks(image, landmarks, *, axes: Axes | None = None, color: str = "#ffffff") -> Figure:
    """68 landmarks (68, 2 or 3) with the lines of the face, on a photo."""
    axes = _photo(image, axes)
    points = as_numpy(landmarks)[:, :2]
    for start, end in landmarks68.SEGMENTS:
        pair = points[[start, end]]
        axes.plot(*pair.T, color=INK, linewidth=2.2, alpha=0.45)
        axes.plot(*pair.T, color=color, linewidth=1.1)
    axes.scatter(*points.T, s=7, color=COLOURS["twoview"], edgecolors="white", linewidths=0.4, zorder=3)
    return axes.figure


def draw_pose_box(
    image, vertices, pose: Sequence[float], *, axes: Axes | None = None, color: str = "#e69f00"
) -> Figure:
    """A box around the face that turns with the head, its front side filled.

    Args:
        image: the photo.
        vertices: (V, 3) of the face, image frame.
        pose: yaw, pitch, roll in degrees.
        axes: where to draw.
        color: of the box.
    """
    axes = _photo(image, axes)
    vertices = torch.as_tensor(as_numpy(vertices), dtype=torch.float64)
    turn = image_flip(vertices) @ rotation_matrix(*(torch.tensor(float(a)).double() for a in pose))
    in_head = vertices @ turn  # Rᵀ v: x to the subject's left, y up, z out of the face
    low, high = in_head.amin(dim=0), in_head.amax(dim=0)
    corners = torch.tensor(
        [[x, y, z] for z in (0.0, 1.0) for x, y in ((0, 0), (1, 0), (1, 1), (0, 1))]
    ).double()
    box = ((low + corners * (high - low)) @ turn.mT)[:, :2].numpy()  # (8, 2), 4…7 in front
    for start, end in [*((i, (i + 1) % 4) for i in range(4)), *((i, i + 4) for i in range(4))]:
        axes.plot(*box[[start, end]].T, color=color, linewidth=1.1, alpha=0.85)
    axes.fill(*box[4:].T, facecolor=color, alpha=0.16, edgecolor="none")
    axes.fill(*box[4:].T, facecolor="none", edgecolor=color, linewidth=2.2, joinstyle="round")
    caption = "yaw {}  pitch {}  roll {}".format(*map(degrees, pose))
    axes.set_title(caption, fontsize=8.5, pad=4, loc="center")
    return axes.figure


def plot_position_map(position_map, *, title: str = "") -> Figure:
    """A position map (3, S, S) in pixels as one colour picture and as its three channels."""
    values = as_numpy(position_map)
    flat = values.reshape(3, -1)
    low, high = flat.min(axis=1)[:, None, None], flat.max(axis=1)[:, None, None]
    figure, grid = plt.subplots(1, 4, figsize=(9.6, 2.6))
    for axes in grid:
        _bare(axes)
    grid[0].imshow(
        ((values - low) / np.maximum(high - low, 1e-9)).transpose(1, 2, 0), interpolation="nearest"
    )
    grid[0].set_title("x, y, z as red, green, blue", fontsize=8.5)
    names = ("x: to the right", "y: down", "z: toward the camera")
    for axes, name, channel in zip(grid[1:], names, values, strict=True):
        shown = axes.imshow(channel, cmap="cividis", interpolation="nearest")
        axes.contour(channel, levels=10, colors="white", linewidths=0.5, alpha=0.55)
        axes.set_title(f"{name} (px)", fontsize=8.5)
        bar = figure.colorbar(shown, ax=axes, fraction=0.046, pad=0.03)
        bar.outline.set_visible(False)
        bar.ax.tick_params(labelsize=7, length=2)
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=10)
    return figure


def _measure(frame: pd.DataFrame, metric: str, normaliser: str) -> pd.DataFrame:
    chosen = frame[(frame["metric"] == metric) & (frame["normaliser"] == normaliser)]
    if chosen.empty:
        raise ValueError(f"the frame has no rows of {metric!r} over {normaliser!r}")
    if chosen["test_set"].nunique() > 1:
        raise ValueError(f"one figure shows one test set, got {sorted(chosen['test_set'].unique())}")
    return chosen


def _curves(chosen: pd.DataFrame) -> list[tuple[str, str, object, pd.DataFrame]]:
    """(label, colour, dash, rows) of each model and variant; variants share the colour and differ in dash.

    Of curves that would lie on each other, as both mean faces do where they are aligned, the first is kept.
    """
    curves, seen = [], {}
    for (model, variant), group in chosen.groupby(["model", "variant"], sort=False):
        values = group["value"].to_numpy()
        if any(
            len(values) == len(other) and np.allclose(values, other["value"], rtol=1e-3)
            for *_, other in curves
        ):
            continue
        seen[model] = seen.get(model, -1) + 1
        dash = _DASHES[(seen[model] + (1 if model.startswith("mean-face") else 0)) % len(_DASHES)]
        curves.append((f"{model} {variant}".strip(), colour(model), dash, group))
    return curves


def _number(value: float, normaliser: str) -> str:
    return f"{value:.2f} mm" if normaliser == "mm" else f"{value:.2f} %"


def _photo(image, axes: Axes | None) -> Axes:
    array = image_array(image)
    if axes is None:
        _, axes = plt.subplots(figsize=(3.2, 3.2 * array.shape[0] / array.shape[1]))
    _bare(axes)
    axes.imshow(array, interpolation="antialiased")
    axes.set(xlim=(-0.5, array.shape[1] - 0.5), ylim=(array.shape[0] - 0.5, -0.5), autoscale_on=False)
    return axes


def _bare(axes: Axes) -> None:
    axes.set(xticks=[], yticks=[])
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
