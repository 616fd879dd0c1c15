"""Still pictures and pages: which way is up and left, and that nothing is asked from the web."""

import re
from types import SimpleNamespace

import numpy as np
import pytest

from facet import viewers


def _ball():
    trimesh = pytest.importorskip("trimesh")
    ball = trimesh.creation.uv_sphere(radius=50.0, count=[24, 24])
    vertices = np.array(ball.vertices)
    return vertices, np.array(ball.faces)


def test_still_is_upright_and_not_mirrored():
    vertices, triangles = _ball()
    colours = np.zeros_like(vertices)
    colours[:, 0] = vertices[:, 0] > 0  # red on the right
    colours[:, 1] = vertices[:, 1] > 0  # green above
    picture = np.asarray(viewers.still(vertices, triangles, colors=colours, yaws=(0.0,), size=64)).astype(int)
    assert picture.shape == (64, 64, 3)
    assert picture[20, 44, 0] > 80 > picture[20, 20, 0]
    assert picture[20, 44, 1] > 80 > picture[44, 44, 1]
    assert (picture[0, 0] == 255).all()


def test_still_texture_matches_vertex_colours_and_turning_right_shows_the_left():
    vertices, triangles = _ball()
    uv = np.stack((vertices[:, 0] / 100 + 0.5, 0.5 - vertices[:, 1] / 100), axis=1)
    texture = np.zeros((64, 64, 3), dtype=np.uint8)
    texture[:, 32:, 0] = texture[:32, :, 1] = 255
    options = {"uv": uv, "texture": texture, "size": 64}
    front, turned = np.split(
        np.asarray(viewers.still(vertices, triangles, yaws=(0.0, 60.0), **options)).astype(int), 2, axis=1
    )
    assert front[20, 44, 0] > 150 > 60 > front[20, 20, 0]
    assert front[20, 44, 1] > 150 > 60 > front[44, 44, 1]
    assert (
        turned[32, 40, 0] < 60
    )  # yaw > 0 moves the front to the right: what was left of the middle comes in


def test_upright_is_a_reflection():
    out = viewers.upright(np.array([[1.0, 0.0, 5.0], [1.0, 9.0, 5.0]]), 10)
    np.testing.assert_array_equal(out, [[1, 9, 5], [1, 0, 5]])


def test_k3d_plot_holds_the_mesh():
    pytest.importorskip("k3d")
    vertices, triangles = _ball()
    plot = viewers.show_mesh(vertices, triangles, colors=np.ones_like(vertices) * [1.0, 0.5, 0.0])
    (mesh,) = plot.objects
    np.testing.assert_allclose(mesh.vertices, vertices, atol=5e-3)
    np.testing.assert_array_equal(mesh.indices, triangles)
    assert set(np.asarray(mesh.colors).tolist()) == {0xFF8000}


def test_page_uses_local_scripts_only(tmp_path):
    pytest.importorskip("k3d")
    vertices, triangles = _ball()
    plot = viewers.show_mesh(vertices, triangles)
    page = viewers.write_snapshot(plot, tmp_path / "ball.html").read_text()
    scripts = re.findall(r'<script src="([^"]*)"', page)
    assert scripts == ["k3d/require.js", "k3d/standalone.js"]
    assert all((tmp_path / script).stat().st_size > 10_000 for script in scripts)
    assert (tmp_path / "k3d" / "standalone.js").stat().st_size < 1.3e6  # packed: every report carries it
    assert sorted(p.name for p in (tmp_path / "k3d").iterdir()) == ["require.js", "standalone.js"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["ball.html", "k3d"]
    with pytest.raises(ValueError, match=r"ends in \.html"):
        viewers.write_snapshot(plot, tmp_path / "ball.htm")


def test_the_same_mesh_gives_the_same_page():
    pytest.importorskip("k3d")
    vertices, triangles = _ball()
    first, second = (viewers.show_mesh(vertices, triangles) for _ in range(2))
    page = viewers.snapshot(first)
    assert viewers.snapshot(second) == page
    assert "<title>facet</title>" in page
    assert "UTC" not in page


@pytest.mark.assets
def test_a_face_is_drawn_with_fewer_vertices(tmp_path):
    """The same surface, by rows of its own vertices; what is no face patch says so."""
    pytest.importorskip("k3d")
    from facet import face_model

    model = face_model.load()
    vertices = model_to_photo(model.mean.numpy())
    texture = np.full((8, 8, 3), 200, dtype=np.uint8)
    face = SimpleNamespace(
        vertices=vertices, triangles=model.triangles.numpy(), uv=model.uv.numpy(),
        colors=None, texture=texture, image_size=(300, 300), system="prn",
    )  # fmt: skip
    whole, small = viewers.show_reconstruction(face), viewers.show_reconstruction(face, vertices=3000)
    assert len(whole.objects[0].vertices) == len(model.mean)
    assert 2900 < len(small.objects[0].vertices) == len(small.objects[0].uvs) <= 3000
    pages = [viewers.write_snapshot(p, tmp_path / f"{n}.html") for n, p in enumerate((whole, small))]
    sizes = [page.stat().st_size for page in pages]
    assert sizes[1] < 0.2 * sizes[0]
    trimesh = pytest.importorskip("trimesh")
    drawn = small.objects[0]
    mesh = trimesh.Trimesh(drawn.vertices.astype(np.float64), drawn.indices, process=False)
    inner = model.weight.numpy() > 0
    distance = np.abs(trimesh.proximity.closest_point(mesh, viewers.upright(vertices, 300)[inner][::50])[1])
    assert np.quantile(distance, 0.99) < 1  # pixels, a millimetre each
    face.vertices, face.triangles = _ball()
    with pytest.raises(ValueError, match="only a face patch can be drawn with fewer vertices, this mesh has"):
        viewers.show_reconstruction(face, vertices=3000)


def model_to_photo(points):
    """Millimetres of the model frame in the image frame of a photo of 300 pixels, a pixel each."""
    return points * np.array([1.0, -1.0, 1.0]) + 150.0
