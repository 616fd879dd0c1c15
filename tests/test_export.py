"""Mesh files: what another program reads back, and which way is up, left and out."""

from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

from facet.reconstruction import export

HEIGHT = 101


def _sphere():
    """A sphere in the image frame: given in the model frame, then reflected, triangles kept."""
    ball = trimesh.creation.uv_sphere(radius=20.0, count=[12, 16])
    model = np.array(ball.vertices)
    image = model * [1.0, -1.0, 1.0] + [60.0, 40.0, 20.0]
    uv = np.stack((model[:, 0] / 40 + 0.5, 0.5 - model[:, 1] / 40), axis=1)
    return image, np.array(ball.faces), uv


def _texture():
    """Red in the upper left quarter, green in the upper right, blue below."""
    texture = np.zeros((16, 16, 3), dtype=np.uint8)
    texture[:8, :8, 0] = texture[:8, 8:, 1] = texture[8:, :, 2] = 255
    return texture


def _saved(path, **paint):
    image, triangles, _ = _sphere()
    export.save_mesh(path, export.to_files_frame(image, HEIGHT), triangles, **paint)
    return trimesh.load(path, process=False, force="mesh")


@pytest.mark.parametrize("suffix", [".obj", ".ply", ".glb"])
def test_read_back_outward_and_upright(tmp_path, suffix):
    image, triangles, uv = _sphere()
    mesh = _saved(
        tmp_path / f"ball{suffix}", uv=uv, texture=_texture(), colors=np.zeros_like(image, np.uint8)
    )
    assert mesh.vertices.shape == image.shape
    np.testing.assert_array_equal(mesh.faces, triangles)
    assert mesh.volume == pytest.approx(4 / 3 * np.pi * 20**3, rel=0.1)  # negative if triangles faced inward
    outward = mesh.vertices - mesh.vertices.mean(axis=0)
    assert ((mesh.vertex_normals * outward).sum(axis=1) > 0).all()
    # The smallest y of the image is the highest in the file.
    np.testing.assert_allclose(mesh.vertices[:, 1], HEIGHT - 1 - image[:, 1], atol=1e-4)
    np.testing.assert_allclose(mesh.vertices[:, [0, 2]], image[:, [0, 2]], atol=1e-4)


def test_image_frame_to_files_frame_reflects():
    frame = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    out = export.to_files_frame(frame, 10)
    np.testing.assert_array_equal(out[0], [0, 9, 0])
    assert np.linalg.det(out[1:] - out[0]) == -1.0


@pytest.mark.parametrize("suffix", [".obj", ".glb"])
def test_texture_is_the_right_way_up(tmp_path, suffix):
    image, _, uv = _sphere()
    mesh = _saved(tmp_path / f"ball{suffix}", uv=uv, texture=_texture())
    material = mesh.visual.material
    picture = np.asarray((material.baseColorTexture if suffix == ".glb" else material.image).convert("RGB"))
    column = np.clip((mesh.visual.uv[:, 0] * 16).astype(int), 0, 15)
    row = np.clip(((1 - mesh.visual.uv[:, 1]) * 16).astype(int), 0, 15)  # trimesh counts v from the bottom
    colour = picture[row, column]
    upper_left = (image[:, 0] < 55) & (image[:, 1] < 35)
    upper_right = (image[:, 0] > 65) & (image[:, 1] < 35)
    assert (colour[upper_left] == [255, 0, 0]).all()
    assert (colour[upper_right] == [0, 255, 0]).all()
    assert (colour[image[:, 1] > 45] == [0, 0, 255]).all()


def test_ply_keeps_vertex_colours(tmp_path):
    image, _, uv = _sphere()
    colours = np.random.default_rng(0).integers(0, 256, image.shape, dtype=np.uint8)
    mesh = _saved(tmp_path / "ball.ply", uv=uv, texture=_texture(), colors=colours)
    np.testing.assert_array_equal(mesh.visual.vertex_colors[:, :3], colours)


@pytest.mark.parametrize("suffix", [".obj", ".ply", ".glb"])
def test_a_mesh_without_any_paint_is_written_too(tmp_path, suffix):
    assert len(_saved(tmp_path / f"plain{suffix}").faces) == len(_sphere()[1])


def test_obj_names_its_files_and_leaves_nothing_else(tmp_path):
    _, _, uv = _sphere()
    path = tmp_path / "my face (1).obj"
    _saved(path, uv=uv, texture=_texture())
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "my face (1).obj",
        "my_face_1_.mtl",
        "my_face_1__texture.png",
    ]
    assert {p.name for p in export.files_of(path)} == {p.name for p in tmp_path.iterdir()}
    assert "mtllib my_face_1_.mtl" in path.read_text()
    assert "map_Kd my_face_1__texture.png" in (tmp_path / "my_face_1_.mtl").read_text()
    with Image.open(tmp_path / "my_face_1__texture.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture.convert("RGB")), _texture())


def test_an_obj_leaves_the_photograph_of_its_name_alone(tmp_path):
    (tmp_path / "me.png").write_bytes(b"my photograph")
    _saved(tmp_path / "me.obj", uv=_sphere()[2], texture=_texture())
    assert (tmp_path / "me.png").read_bytes() == b"my photograph"
    assert export.files_of("me.GLB") == (Path("me.GLB"),)


def test_targets_are_no_photographs_and_not_one_file(tmp_path):
    photo, link = tmp_path / "me.png", tmp_path / "link.png"
    photo.write_bytes(b"my photograph")
    link.symlink_to(photo)
    export.check_apart([tmp_path / "me.obj", tmp_path / "me_texture.png"], [photo, "gone.jpg"])
    for target in (photo, link, tmp_path / "folder" / ".." / "me.png"):
        with pytest.raises(ValueError, match=r"cannot write .*\.png: it is the photograph that is read"):
            export.check_apart([target], [photo])
    with pytest.raises(ValueError, match=r"cannot write two files to .*face\.png: give the mesh or the pict"):
        export.check_apart([tmp_path / "face.png", tmp_path / "." / "face.png"], [])


def test_bad_targets(tmp_path):
    image, triangles, _ = _sphere()
    with pytest.raises(ValueError, match=r"face\.stl: the extension must be one of \.glb, \.obj, \.ply"):
        export.save_mesh(tmp_path / "face.stl", image, triangles)
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="is not a folder"):
        export.check_target(tmp_path / "file" / "face.glb")
    (tmp_path / "folder.glb").mkdir()
    with pytest.raises(OSError, match="it is a folder"):
        export.check_target(tmp_path / "folder.glb")


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "face.glb"
    path.write_bytes(b"old")
    image, triangles, _ = _sphere()
    with pytest.raises(ValueError, match="not finite"):
        export.save_mesh(path, image * np.nan, triangles)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["face.glb"]
