"""Figures of one reconstruction: what was found on the photo, the mesh from several sides, its maps."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from facet.figures import GREY, INK, draw_landmarks, draw_pose_box, show_images
from facet.pictures import image_array, render_mesh
from facet.reconstruction import Reconstruction

MARGIN = 0.55  # of the landmarks' box, on every side, in pictures of the photo
CLOSE = 0.4  # likewise, in pictures of the face alone
_HIDDEN, _SEEN = np.array((0.16, 0.20, 0.36)), np.array((0.98, 0.87, 0.55))


def face_region(image, box, *, margin: float = MARGIN) -> tuple[np.ndarray, np.ndarray]:
    """The square of a photo around a face, white beyond the photo's border.

    Args:
        image: (H, W, 3); box: (4,) x0, y0, x1, y1; margin: share of the box's longer side.

    Returns:
        (S, S, 3) float in [0, 1], and (2,) the photo's pixel at its upper left corner.
    """
    image, box = image_array(image), np.asarray(box, dtype=np.float64)
    side = round(float((box[2:] - box[:2]).max()) * (1 + 2 * margin))
    corner = np.rint((box[:2] + box[2:]) / 2 - side / 2).astype(int)
    part = np.ones((side, side, 3), dtype=np.float32)
    low = np.maximum(corner, 0)
    high = np.minimum(corner + side, image.shape[1::-1])
    there = low - corner
    shown = image[low[1] : high[1], low[0] : high[0]]
    part[there[1] : there[1] + shown.shape[0], there[0] : there[0] + shown.shape[1]] = shown
    return part, corner


def photo_sheet(image, face: Reconstruction, *, points: Mapping[int, tuple[float, float]] | None = None):
    """The photo with the landmarks' box and hand-placed points, with 68 landmarks, and with the pose box.

    Args:
        image: the photo; face: reconstructed from it.
        points: {landmark: (x, y)} placed by hand, to be drawn as rings.

    Returns:
        matplotlib Figure.
    """
    part, corner = face_region(image, face.box)
    figure = show_images([part] * 3, ("the face in the photo", "68 landmarks", ""), size=2.6)
    outline, landmarks, pose = figure.axes[:3]
    x0, y0, x1, y1 = np.asarray(face.box) - np.tile(corner, 2)
    outline.plot([x0, x1, x1, x0, x0], [y0, y0, y1, y1, y0], color="#ffffff", linewidth=1.4)
    draw_landmarks(part, face.landmarks[:, :2] - corner, axes=landmarks)
    if points:
        rings = np.array(list(points.values())) - corner
        landmarks.plot(*rings.T, "o", markersize=8, markerfacecolor="none", color="#f0e442", zorder=4)
    draw_pose_box(part, face.vertices - np.array([*corner, 0]), face.pose, axes=pose)
    return figure


def mesh_sheet(
    face: Reconstruction,
    *,
    views: tuple[str | float, ...] = ("front", "three-quarter", "side"),
    truth=None,
    size: int = 320,
):
    """The mesh turned to the front, then to the sides: clay above, the photo's texture below.

    Args:
        truth: (V, 3) true vertices; if they are known they take the texture's place.

    Returns:
        matplotlib Figure.
    """
    captions = [view if isinstance(view, str) else f"yaw {view:.0f}°".replace("-", "−") for view in views]
    clay = [_turned(face, view, size) for view in views]
    if truth is None:
        second = [_turned(face, view, size, textured=True) for view in views]
    else:
        second = [_turned(replace(face, vertices=np.asarray(truth)), view, size) for view in views]
    clay, second = _trimmed(clay), _trimmed(second)
    labels = ("shape", "with texture") if truth is None else ("reconstructed", "truth")
    return show_images([*clay, *second], captions, columns=len(views), size=2.2, row_labels=labels)


def map_sheet(image, face: Reconstruction, *, size: int = 256):
    """Depth, normals, how well each place is seen, the position map and the texture.

    Returns:
        matplotlib Figure.
    """
    part, corner = face_region(image, face.box, margin=CLOSE)
    depth, normals = (_region(values, corner, len(part)) for values in (face.depth(), face.normal_map()))
    paint = _HIDDEN + face.confidence[:, None] * (_SEEN - _HIDDEN)
    seen = render_mesh(
        face.vertices, face.triangles, size, view=25.0, pose=face.pose, colors=paint, relief=0.4
    )
    low, high = (f(face.position_map, axis=(1, 2), keepdims=True) for f in (np.min, np.max))
    pictures = [
        part,
        np.where(np.isnan(normals), 1.0, 0.5 + 0.5 * np.nan_to_num(normals) * (1, -1, 1)),
        seen,
        ((face.position_map - low) / (high - low)).transpose(1, 2, 0),
        face.texture,
    ]
    captions = ("depth", "normals", "seen (light) or guessed", "position map: x, y, z as RGB", "texture")
    figure = show_images(pictures, captions, size=2.0)
    axes = figure.axes[0]
    shown = axes.imshow(depth, cmap="cividis", interpolation="nearest")
    bar = figure.colorbar(shown, ax=axes, location="bottom", fraction=0.05, pad=0.02)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=7, length=2)
    bar.set_label("pixels above the farthest point", fontsize=7, color=GREY)
    return figure


def hero(image, face: Reconstruction, *, size: int = 480):
    """One row for the first screen: the photo with its landmarks, the shape from front and side, the texture.

    Returns:
        matplotlib Figure.
    """
    part, corner = face_region(image, face.box)
    turned = [_turned(face, view, size) for view in ("front", "side")]
    pictures = [part, *_trimmed([*turned, _turned(face, -35.0, size, textured=True)])]
    captions = ("one photograph, 68 landmarks", "shape", "from the side", "with the photograph's colours")
    figure = show_images(pictures, captions, size=2.6)
    draw_landmarks(part, face.landmarks[:, :2] - corner, axes=figure.axes[0])
    for axes in figure.axes:
        axes.title.set(fontsize=10, color=INK)
    return figure


def _turned(face: Reconstruction, view, size: int, *, textured: bool = False) -> np.ndarray:
    """A picture of the mesh with the head's own pose undone, then turned to a view."""
    colors = None if not textured else face.colors / np.float32(255)
    relief = 0.45 if textured else 1.0
    return render_mesh(
        face.vertices, face.triangles, size, view=view, pose=face.pose, colors=colors, relief=relief
    )


def _trimmed(pictures: list[np.ndarray], *, margin: float = 0.03) -> list[np.ndarray]:
    """Square pictures on white without the white that all of them have around what they show."""
    size = len(pictures[0])
    inked = np.min([picture.min(axis=2) for picture in pictures], axis=0) < 0.995
    away = np.abs(np.argwhere(inked) - (size - 1) / 2)  # from the middle, rows and columns
    half = min(int(np.ceil(away.max(initial=0) + margin * size)), size // 2)
    return [
        picture[size // 2 - half : size // 2 + half, size // 2 - half : size // 2 + half]
        for picture in pictures
    ]


def _region(values: np.ndarray, corner: np.ndarray, side: int) -> np.ndarray:
    """The same square as :func:`face_region`'s of an image of the photo's size, NaN beyond its border."""
    padded = np.pad(
        values, ((side, side), (side, side), *((0, 0),) * (values.ndim - 2)), constant_values=np.nan
    )
    x, y = corner + side
    return padded[y : y + side, x : x + side]
