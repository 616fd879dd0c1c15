"""Meshes to turn with the mouse (k3d), the same as a still picture, and as a page that opens from a file.

A page on the web shows no widgets, so a notebook puts the still picture, drawn by our own rasteriser, beside
the live view. Meshes are given in a right-handed frame with y up (x right, z toward the viewer), such as the
model frame; open ones are shown with a smooth outline (`outline`), the face patch's own is a saw.
"""

import base64
import io
import os
import re
import warnings
import zlib
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from facet.files import write_text
from facet.outline import smooth_outline

GREY = (188, 178, 170)
FIELD_OF_VIEW = 25.0  # degrees, vertical: about a portrait lens, a wide one makes the nose large
# What an online snapshot asks the web for, and the file of k3d's own that serves it from disk.
_SCRIPTS = {"require.min.js": "require.js", "standalone.js": "standalone.js"}
# k3d as a script that unpacks itself; the unpacker hides from require.js, which would wait for its name.
_UNPACK = """(function (define) { %s
})();
window.k3dCompressed = "%s";
(0, eval)(fflate.strFromU8(fflate.unzlibSync(
  Uint8Array.from(atob(window.k3dCompressed), (letter) => letter.charCodeAt(0)))));
"""


def show_mesh(
    vertices: np.ndarray,
    triangles: np.ndarray,
    *,
    colors: np.ndarray | None = None,
    uv: np.ndarray | None = None,
    texture: np.ndarray | None = None,
    height: int = 480,
    name: str = "mesh",
):
    """A k3d plot of a mesh, seen from the front.

    Args:
        vertices: (V, 3), right-handed, y up.
        triangles: (F, 3) counter-clockwise seen from outside.
        colors: (V, 3) uint8 or float in [0, 1]; ignored where a texture is given.
        uv: (V, 2), u right and v down from the top of the texture.
        texture: (T, T, 3) uint8.
        height: of the plot in screen pixels.
        name: of the object in the viewer's panel.

    Returns:
        k3d.Plot; display it, or write it with :func:`write_snapshot`.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="traittypes")
        import k3d

        options = {
            "flat_shading": False,
            "side": "double",
            "roughness": 1.0,
            "name": name,
            "color": _packed(GREY),
        }
        if texture is not None and uv is not None:
            options |= {"texture": _jpeg(texture), "texture_file_format": "jpeg", "color": 0xFFFFFF}
            options["uvs"] = _short(uv, 1.0)  # k3d counts v from the top too
        elif colors is not None:
            options |= {"colors": _packed(_as_bytes(colors)), "color": 0xFFFFFF}
        else:
            options["color"] = _packed(GREY)
        vertices = smooth_outline(np.asarray(vertices), np.asarray(triangles))
        vertices = _short(vertices, float(np.ptp(vertices, axis=0).max()))
        mesh = k3d.mesh(vertices, np.asarray(triangles, dtype=np.uint32), **options)
        mesh.id = 1  # k3d takes its place in memory, which would make every page another
        plot = k3d.plot(
            height=height,
            grid_visible=False,
            camera_auto_fit=False,
            camera_fov=FIELD_OF_VIEW,
            menu_visibility=False,
            axes_helper=0,
        )
        plot += mesh
    plot.camera = _front_camera(vertices)
    return plot


def show_volume(volume: np.ndarray, *, height: int = 480, name: str = "volume"):
    """A k3d plot of a volume (D, H, W) of probabilities: the denser, the more surely inside.

    Slice 0 is the farthest from the viewer and row 0 at the top, as in the image frame.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="traittypes")
        import k3d

        values = np.ascontiguousarray(np.asarray(volume, dtype=np.float32)[:, ::-1])  # y up
        depth, rows, columns = values.shape
        block = k3d.volume(
            values.astype(np.float16),
            bounds=[0, columns, 0, rows, 0, depth],
            color_range=[0.2, 1.0],
            color_map=k3d.matplotlib_color_maps.Magma,
            alpha_coef=30,
            name=name,
        )
        block.id = 1
        plot = k3d.plot(
            height=height,
            grid_visible=False,
            camera_auto_fit=False,
            camera_fov=FIELD_OF_VIEW,
            menu_visibility=False,
            axes_helper=0,
        )
        plot += block
    corners = np.array([[0.0, 0.0, 0.0], [columns, rows, depth]])
    plot.camera = _front_camera(corners)
    return plot


def show_reconstruction(face, *, textured: bool = True, height: int = 480, vertices: int | None = None):
    """A k3d plot of a `Reconstruction`: with the photo's texture, or plain to judge the shape.

    Args:
        vertices: about so many of the face patch are drawn, for a smaller page, which takes seconds once;
            None draws all.

    Raises:
        ValueError: fewer vertices are asked of a mesh that is no face patch (a volumetric system's).
    """
    placed, triangles = upright(face.vertices, face.image_size[0]), face.triangles
    paint = {"colors": face.colors, "uv": face.uv, "texture": face.texture} if textured else {}
    if vertices is not None:
        few = _decimated(len(placed), vertices)
        chosen, triangles = few.vertices.numpy(), few.triangles.numpy()
        placed = placed[chosen]
        for name in ("colors", "uv"):
            if paint.get(name) is not None:
                paint[name] = paint[name][chosen]
    return show_mesh(placed, triangles, height=height, name=face.system, **paint)


@lru_cache(maxsize=4)
def _decimated(count: int, vertices: int):
    """The face patch, which has `count` vertices, with fewer."""
    from facet.face_model import load
    from facet.face_model.decimate import decimate

    model = load()
    if count != len(model.mean):
        raise ValueError(f"only a face patch can be drawn with fewer vertices, this mesh has {count:,}")
    return decimate(model, vertices)


def upright(vertices: np.ndarray, height: int) -> np.ndarray:
    """(V, 3) from the image frame of a photo of `height` rows to the right-handed frame with y up."""
    return np.asarray(vertices) * np.array([1.0, -1.0, 1.0]) + np.array([0.0, height - 1.0, 0.0])


def still(
    vertices: np.ndarray,
    triangles: np.ndarray,
    *,
    colors: np.ndarray | None = None,
    uv: np.ndarray | None = None,
    texture: np.ndarray | None = None,
    yaws: tuple[float, ...] = (-40.0, 0.0, 40.0),
    size: int = 320,
) -> Image.Image:
    """The mesh drawn by our rasteriser from several sides, next to each other on white.

    Args:
        yaws: degrees by which the mesh is turned about the vertical, one picture each; 0 is the given pose.
        size: side of each picture in pixels.

    Others as in :func:`show_mesh`.

    Returns:
        RGB image of size × (number of yaws) by size pixels.
    """
    from facet.rendering import downsample, interpolate, rasterise, sample_texture

    faces = torch.as_tensor(np.asarray(triangles), dtype=torch.int64)
    vertices = smooth_outline(np.asarray(vertices), faces.numpy())
    placed, normals = _placed(vertices, faces, yaws, 2 * size)
    fragments = rasterise(placed, faces, 2 * size, cull_backfaces=False)
    if texture is not None and uv is not None:
        place = interpolate(fragments, faces, torch.as_tensor(uv, dtype=torch.float32)[None])
        image = torch.tensor(texture).permute(2, 0, 1)[None].float() / 255.0
        albedo = sample_texture(image, place, antialias=True, mask=fragments.mask)
        light = 0.85 + 0.15 * _lambert(interpolate(fragments, faces, normals))
    else:
        paint = np.full((len(vertices), 3), GREY, dtype=np.uint8) if colors is None else _as_bytes(colors)
        albedo = interpolate(fragments, faces, torch.from_numpy(paint)[None].float() / 255.0)
        light = 0.35 + 0.65 * _lambert(interpolate(fragments, faces, normals))
    picture = torch.where(fragments.mask[..., None], albedo * light, 1.0)
    picture = downsample(picture.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)
    strip = torch.cat(list(picture), dim=1)
    return Image.fromarray((strip.clamp(0, 1) * 255).round().to(torch.uint8).numpy())


def still_of(face, *, textured: bool = True, **options) -> Image.Image:
    """:func:`still` of a `Reconstruction`."""
    paint = {"colors": face.colors, "uv": face.uv, "texture": face.texture} if textured else {}
    return still(upright(face.vertices, face.image_size[0]), face.triangles, **paint, **options)


def snapshot(plot, *, scripts: str = "k3d") -> str:
    """A plot as the text of a page that needs no server and no web, only :func:`copy_scripts`.

    The page is k3d's online snapshot with the addresses of its two scripts replaced by local copies. The same
    plot gives the same text: the time in the title is taken out.

    Args:
        plot: from :func:`show_mesh`.
        scripts: folder of the scripts, relative to the page.

    Raises:
        RuntimeError: this k3d's snapshot asks the web for something else.
    """
    plot.snapshot_type = "online"
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="traittypes")
        page = plot.get_snapshot()
    for asked, local in _SCRIPTS.items():
        start = page.find('<script src="http')
        address = page[start : page.find("</script>", start)]
        if start < 0 or not address.rstrip('">').endswith(asked):
            raise RuntimeError(f"this k3d's snapshot does not ask for {asked} as expected")
        page = page.replace(address, f'<script src="{scripts}/{local}">', 1)
    page = re.sub(r"<title>.*?</title>", "<title>facet</title>", page, count=1)
    # Else k3d reads its own source again, which browsers forbid to a page from disk, and complain of.
    page = page.replace("<script", '<script>window.k3dCompressed = "";</script>\n    <script', 1)
    if '<script src="http' in page:
        raise RuntimeError("this k3d's snapshot asks the web for a third script")
    return page


def copy_scripts(folder: str | os.PathLike) -> None:
    """Put k3d's two scripts (1.2 MB) into a folder, if they are not there; all pages may share them.

    k3d itself is packed as in its own pages that stand alone, to less than half: the script unpacks itself.
    """
    static = Path(next(iter(find_spec("k3d").submodule_search_locations))) / "static"
    texts = {name: (static / name).read_text(encoding="utf-8") for name in ("fflate.js", *_SCRIPTS.values())}
    packed = base64.b64encode(zlib.compress(texts["standalone.js"].encode(), 9)).decode()
    texts["standalone.js"] = _UNPACK % (texts.pop("fflate.js"), packed)
    for name, text in texts.items():
        target = Path(folder) / name
        if not target.exists() or target.stat().st_size != len(text.encode()):
            write_text(target, text)


def write_snapshot(plot, path: str | os.PathLike, *, scripts: str = "k3d") -> Path:
    """Write :func:`snapshot` into a file, and the scripts into the folder `scripts` beside it.

    Raises:
        ValueError: the path does not end in .html.
    """
    path = Path(path)
    if path.suffix != ".html":
        raise ValueError(f"cannot write {path}: a snapshot ends in .html")
    copy_scripts(path.parent / scripts)
    write_text(path, snapshot(plot, scripts=scripts))
    return path


def _placed(vertices, triangles, yaws, side) -> tuple[torch.Tensor, torch.Tensor]:
    """(B, V, 3) the mesh turned and scaled into square images of `side` pixels, and its normals there."""
    from facet.geometry import model_to_image, transform_points
    from facet.rendering import vertex_normals

    points = torch.as_tensor(np.asarray(vertices), dtype=torch.float32)
    points = points - (points.amin(dim=0) + points.amax(dim=0)) / 2.0
    scale = 0.5 * side / float(points.norm(dim=1).max().clamp(min=1e-6))
    centre = torch.full((len(yaws), 2), (side - 1) / 2.0)
    matrix = model_to_image(torch.tensor(yaws, dtype=torch.float32), 0.0, 0.0, scale, centre)
    placed = transform_points(matrix, points[None])
    return placed, vertex_normals(placed, triangles, frame="image")


def _lambert(normals: torch.Tensor) -> torch.Tensor:
    """(B, H, W, 1) light from the upper left behind the viewer; back faces are lit from their own side."""
    direction = torch.tensor([-0.35, -0.45, 0.82])
    unit = torch.nn.functional.normalize(normals, dim=-1)
    unit = unit * torch.where(unit[..., 2:] < 0, -1.0, 1.0)
    return (unit @ (direction / direction.norm()))[..., None].clamp(min=0.0)


def _front_camera(vertices: np.ndarray) -> list[float]:
    """Position, target and up vector: the whole mesh, from the front."""
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    target = (low + high) / 2.0
    distance = 0.45 * float(np.linalg.norm(high - low)) / np.tan(np.radians(FIELD_OF_VIEW / 2))
    return [*(target + np.array([0.0, 0.0, distance])).tolist(), *target.tolist(), 0.0, 1.0, 0.0]


def _as_bytes(colors) -> np.ndarray:
    colors = np.asarray(colors)
    if colors.dtype != np.uint8:
        colors = np.rint(np.clip(colors, 0.0, 1.0) * 255.0).astype(np.uint8)
    return colors


def _short(values, extent: float) -> np.ndarray:
    """float32 rounded to a power of two near extent/16,000: far below a pixel, and pages compress to half."""
    step = 2.0 ** np.floor(np.log2(max(extent, 1e-12) / 16_000))
    return (np.rint(np.asarray(values, dtype=np.float64) / step) * step).astype(np.float32)


def _packed(colors):
    """0xRRGGBB of one colour as int, or of (V, 3) as (V,) uint32."""
    rgb = np.asarray(colors).astype(np.uint32)
    packed = (rgb[..., 0] << 16) | (rgb[..., 1] << 8) | rgb[..., 2]
    return int(packed) if packed.ndim == 0 else packed


def _jpeg(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()  # a fifth of a PNG's size, and pages carry it
    Image.fromarray(image).save(buffer, format="JPEG", quality=90)
    return buffer.getvalue()
