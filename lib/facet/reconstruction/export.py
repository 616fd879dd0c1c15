"""Meshes as files: OBJ with MTL and PNG beside it, PLY with vertex colours, GLB with its texture inside.

Files are right-handed with y up, and triangles are counter-clockwise seen from outside. From the image frame
(left-handed, y down) that is one reflection, (x, y, z) → (x, H − 1 − y, z) for a photo of H rows, so the
triangles, which face outward in the right-handed model frame, keep their order. The unit stays the photo's
pixel: a photo does not tell how large a head is.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from facet.files import check_folder, write_beside

FORMATS = (".glb", ".obj", ".ply")
PICTURES = (".png",)


def check_target(path: str | os.PathLike, formats: tuple[str, ...] = FORMATS) -> Path:
    """The path a mesh or a picture is to be written to, checked before any work is done.

    Raises:
        ValueError: the extension is not one of `formats`.
        OSError: the place cannot be written to.
    """
    path = Path(path)
    if path.suffix.lower() not in formats:
        known = f"one of {', '.join(formats)}" if len(formats) > 1 else formats[0]
        raise ValueError(f"cannot write {path}: the extension must be {known}")
    if path.is_dir():
        raise IsADirectoryError(f"cannot write {path}: it is a folder")
    check_folder(path.parent, told=f"cannot write {path}")
    return path


def files_of(path: str | os.PathLike) -> tuple[Path, ...]:
    """The files that a mesh is written to: itself, and beside an .obj its material and texture, if any."""
    path = Path(path)
    if path.suffix.lower() != ".obj":
        return (path,)
    name = _plain(path.stem)
    return path, path.with_name(f"{name}.mtl"), path.with_name(f"{name}_texture.png")


def check_apart(targets: Sequence[Path], photos: Sequence[str | os.PathLike]) -> None:
    """Refuse to write over a photograph that is read, or to write two files to one place.

    Raises:
        ValueError: there is such a file; the message names it.
    """
    for number, target in enumerate(targets):
        if any(_same(target, Path(photo)) for photo in photos):
            raise ValueError(f"cannot write {target}: it is the photograph that is read, give another name")
        if any(_same(target, other) for other in targets[:number]):
            raise ValueError(f"cannot write two files to {target}: give the mesh or the picture another name")


def _same(one: Path, other: Path) -> bool:
    try:
        return os.path.samefile(one, other)  # knows links, and folders that do not tell a from A
    except OSError:  # one of them is not there yet
        return one.resolve() == other.resolve()


def _plain(stem: str) -> str:
    """A name that an OBJ or an MTL can refer to: they know no blanks."""
    return re.sub(r"[^\w.-]+", "_", stem)


def to_files_frame(vertices: np.ndarray, height: int) -> np.ndarray:
    """Image frame → right-handed, y up: (V, 3) pixels → (V, 3), y counted from the photo's bottom row."""
    out = np.array(vertices, dtype=np.float64)
    out[:, 1] = height - 1 - out[:, 1]
    return out


def save_mesh(
    path: str | os.PathLike,
    vertices: np.ndarray,
    triangles: np.ndarray,
    *,
    colors: np.ndarray | None = None,
    uv: np.ndarray | None = None,
    texture: np.ndarray | None = None,
) -> Path:
    """Write a mesh; every file is written beside its place and renamed into it.

    Args:
        path: ends in .obj (writes .mtl and _texture.png beside it, see `files_of`), .ply or .glb.
        vertices: (V, 3) right-handed, y up.
        triangles: (F, 3) counter-clockwise seen from outside.
        colors: (V, 3) uint8, used where the format or the absence of a texture asks for them.
        uv: (V, 2), u right and v down from the top of the texture.
        texture: (T, T, 3) uint8.

    Returns:
        The path.

    Raises:
        ValueError: an unknown extension, or vertices that are not finite.
        OSError: the place cannot be written to.
    """
    path = check_target(path)
    if not np.isfinite(vertices).all():
        raise ValueError(f"cannot write {path}: some vertices are not finite")
    kind = path.suffix.lower()
    textured = texture is not None and uv is not None and kind != ".ply"
    simple = kind == ".obj"
    name = f"{_plain(path.stem)}_texture" if simple else _plain(path.stem)
    mesh = _mesh(vertices, triangles, colors, uv if textured else None, texture, name, simple=simple)
    if simple:
        _write_obj(path, mesh, textured)
        return path
    data = mesh.export(file_type=kind[1:], **({"include_normals": True} if kind == ".glb" else {}))
    with write_beside(path) as temporary:
        temporary.write_bytes(data)
    return path


def _mesh(
    vertices: np.ndarray,
    triangles: np.ndarray,
    colors: np.ndarray | None,
    uv: np.ndarray | None,
    texture: np.ndarray | None,
    name: str,
    *,
    simple: bool,
):
    """A trimesh.Trimesh that keeps the vertices as they are; with uv it is textured, else coloured.

    Its material bears the name; of a simple one trimesh calls the picture so, too.
    """
    import trimesh
    from trimesh.visual import TextureVisuals
    from trimesh.visual.material import PBRMaterial, SimpleMaterial

    options = {"vertices": vertices, "faces": triangles, "process": False}
    if uv is None:
        return trimesh.Trimesh(vertex_colors=colors, **options)
    image = Image.fromarray(texture)
    flipped = np.column_stack((uv[:, 0], 1.0 - uv[:, 1]))  # OBJ and trimesh count v from the bottom
    if simple:
        white, black = (255, 255, 255, 255), (0, 0, 0, 255)
        material = SimpleMaterial(image=image, diffuse=white, ambient=white, specular=black, name=name)
    else:
        material = PBRMaterial(name=name, baseColorTexture=image, metallicFactor=0.0, roughnessFactor=1.0)
    return trimesh.Trimesh(visual=TextureVisuals(uv=flipped, material=material), **options)


def _write_obj(path: Path, mesh, textured: bool) -> None:
    """OBJ with its material and texture, the OBJ last: whoever sees it also finds what it names."""
    from trimesh.exchange.obj import export_obj

    text, extra = export_obj(
        mesh,
        include_normals=True,
        include_color=not textured,
        return_texture=True,
        mtl_name=f"{_plain(path.stem)}.mtl",
        header="vertices in pixels of the photo, right-handed, y up",
    )
    for file, data in sorted(extra.items(), reverse=True):  # .png before .mtl
        with write_beside(path.with_name(file)) as temporary:
            temporary.write_bytes(data)
    with write_beside(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
