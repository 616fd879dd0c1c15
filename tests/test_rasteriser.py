"""The rasteriser beside a slow loop and a ray caster; winding, ties, perspective, gradients, UV space."""

import math

import numpy as np
import pytest
import torch

from facet.rendering import (
    downsample,
    interpolate,
    map_from_mesh,
    rasterise,
    rasteriser,
    triangle_normals,
    vertex_normals,
    zbuffer,
)

REFLECT = torch.tensor([1.0, -1.0, 1.0])  # model frame -> image frame, before scale and translation


def lumpy_sphere(rows=40, columns=60):
    """(V, 3), (F, 3): a closed star-shaped surface in the model frame, its triangles facing outward."""
    theta = torch.linspace(0, math.pi, rows)[1:-1].double()
    phi = torch.arange(columns, dtype=torch.float64) * 2 * math.pi / columns
    t, p = torch.meshgrid(theta, phi, indexing="ij")
    ring = torch.stack([t.sin() * p.sin(), t.cos(), t.sin() * p.cos()], -1).reshape(-1, 3)
    d = torch.cat([ring, torch.tensor([[0.0, 1, 0], [0, -1, 0]]).double()])
    nose = 0.3 * torch.exp(-12 * (d - torch.tensor([0.0, 0, 1]).double()).square().sum(1))
    radius = 1 + 0.12 * (5 * d[:, 0] + 1).sin() * (4 * d[:, 1]).sin() + nose
    i, j = torch.meshgrid(torch.arange(rows - 3), torch.arange(columns), indexing="ij")
    a, b = (i * columns + j).flatten(), (i * columns + (j + 1) % columns).flatten()
    k = torch.arange(columns)
    north, south = torch.full_like(k, len(ring)), torch.full_like(k, len(ring) + 1)
    last = (rows - 3) * columns
    parts = [
        (a, a + columns, b),
        (b, a + columns, b + columns),
        (north, k, (k + 1) % columns),
        (south, last + (k + 1) % columns, last + k),
    ]
    triangles = torch.cat([torch.stack(part, 1) for part in parts])
    return (d * radius[:, None] * torch.tensor([0.75, 1, 0.9]).double()).float(), triangles


def turned(vertices, yaw, size, scale=0.33):
    """(V, 3) in the image frame after a turn about the model's y axis."""
    c, s = math.cos(math.radians(yaw)), math.sin(math.radians(yaw))
    rotation = torch.tensor([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    return vertices @ rotation.T * REFLECT * scale * size + torch.tensor([size * 0.503, size * 0.497, 0.0])


def random_soup(seed=0, batch=2, faces=40):
    generator = torch.Generator().manual_seed(seed)
    vertices = torch.rand(batch, 3 * faces, 3, generator=generator) * torch.tensor([36.0, 30, 20]) - 5
    vertices[:, 1::3] = vertices[:, ::3] + (vertices[:, 1::3] - vertices[:, ::3]) * 0.4
    return vertices, torch.arange(3 * faces).view(-1, 3)


def slow_loop(vertices, triangles, height, width, cull):
    """Triangle and depth by solving for the barycentrics of every pixel and triangle in float64."""
    triangle, depth = np.full((height, width), -1), np.full((height, width), -np.inf)
    for f, corners in enumerate(triangles.tolist()):
        a, b, c = vertices[corners].double().numpy()
        edges = np.column_stack([b[:2] - a[:2], c[:2] - a[:2]])
        if cull and np.linalg.det(edges) >= 0:  # clockwise on the screen, which has y down
            continue
        for row in range(height):
            for column in range(width):
                s, t = np.linalg.solve(edges, np.array([column, row]) - a[:2])
                z = a[2] + s * (b[2] - a[2]) + t * (c[2] - a[2])
                if s >= 0 and t >= 0 and s + t <= 1 and z > depth[row, column]:
                    triangle[row, column], depth[row, column] = f, z
    return triangle, depth


@pytest.mark.parametrize("cull", [False, True])
def test_equals_a_slow_loop(cull):
    vertices, triangles = random_soup()
    fragments = rasterise(vertices, triangles, (18, 25), cull_backfaces=cull)
    for image in range(2):
        triangle, depth = slow_loop(vertices[image], triangles, 18, 25, cull)
        assert 0.3 < (triangle >= 0).mean() < 1
        np.testing.assert_array_equal(fragments.triangle[image], triangle)
        np.testing.assert_allclose(fragments.depth[image], depth, atol=1e-4)


def test_pieces_of_work_do_not_change_the_result(monkeypatch):
    vertices, triangles = random_soup(seed=1, batch=3)
    whole = rasterise(vertices, triangles, (20, 30), opaque=15)
    monkeypatch.setattr(zbuffer, "_CORNER_PIECE", {"cpu": 50})
    monkeypatch.setattr(zbuffer, "_TILE_PIECE", {"cpu": 7})
    monkeypatch.setattr(rasteriser, "_PIECE", {"cpu": 11})
    pieces = rasterise(vertices, triangles, (20, 30), opaque=15)
    for name in ("triangle", "barycentrics", "depth"):
        assert torch.equal(getattr(whole, name), getattr(pieces, name))


@pytest.mark.parametrize("perspective", [False, True])
def test_what_is_opaque_comes_first_and_hides_the_same(perspective):
    """Told or not told which triangles the hook lets pass, the rasteriser finds the same."""
    vertices, triangles = random_soup(seed=7, batch=3, faces=300)
    vertices[..., 2] /= 4  # many layers that cross each other
    near = 1 / (4 + vertices[..., 2].abs()) if perspective else None

    def hook(candidates):
        odd = (candidates.row + candidates.column + candidates.triangle) % 2 == 1
        return odd | (candidates.triangle < 90)

    told, untold = (
        rasterise(vertices, triangles, 40, inverse_depth_w=near, cull_backfaces=90, accept=hook, opaque=n)
        for n in (90, 0)
    )
    for name in ("triangle", "barycentrics", "depth"):
        assert torch.equal(getattr(told, name), getattr(untold, name))
    place = 2 * told.image + (told.seen >= 90)
    assert (place.diff() >= 0).all()
    assert 0.1 < (told.seen < 90).float().mean() < 0.9


def test_the_same_bits_again_and_alone():
    vertices, triangles = random_soup(seed=2, batch=3)
    together, again = (rasterise(vertices, triangles, 32) for _ in range(2))
    alone = rasterise(vertices[1:2], triangles, 32)
    for name in ("triangle", "barycentrics", "depth"):
        assert torch.equal(getattr(together, name), getattr(again, name))
        assert torch.equal(getattr(together, name)[1:2], getattr(alone, name))


@pytest.mark.parametrize("yaw", [-90, -45, 0, 45, 90])
def test_agrees_with_a_ray_caster(yaw):
    pytest.importorskip("open3d")
    from facet.rendering.compare import compare_with_open3d

    vertices, triangles = lumpy_sphere(120, 160)
    for cull in (False, True):
        result = compare_with_open3d(
            turned(vertices, yaw, 128), triangles, 128, cull_backfaces=cull, repeats=1
        )
        assert result["same_or_adjacent"] >= 0.9995
        assert result["same_triangle"] >= 0.998
        assert result["depth_error"] <= 1e-5
        assert result["coverage_difference"] <= 2e-4


def test_the_table_of_a_comparison():
    pytest.importorskip("open3d")
    from facet.rendering.compare import comparison_table

    vertices, triangles = lumpy_sphere()
    views = {
        str(yaw): torch.stack([turned(vertices, yaw, 48, scale) for scale in (0.2, 0.3)]) for yaw in (0, 60)
    }
    table = comparison_table(views, triangles, (48, 50), repeats=1)
    assert [(row["view"], row["meshes"], row["pixels"]) for row in table] == [("0", 2, 2400), ("60", 2, 2400)]
    for row in table:
        assert row["same_or_adjacent"] > 0.99
        assert row["ours_images_per_second"] == pytest.approx(1e3 / row["ours_ms"])
        assert row["open3d_ms"] > row["open3d_rays_ms"] > 0


def test_no_pinholes_in_a_plane_of_slivers():
    generator = torch.Generator().manual_seed(3)
    n = 70
    y, x = torch.meshgrid(torch.linspace(-3, 42, n), torch.linspace(-3, 42, n), indexing="ij")
    jitter = 0.3 * torch.rand(n, n, 2, generator=generator)
    vertices = torch.stack([x + jitter[..., 0], y + jitter[..., 1], torch.zeros(n, n)], -1).view(1, -1, 3)
    a = (torch.arange(n - 1)[:, None] * n + torch.arange(n - 1)).flatten()
    triangles = torch.cat([torch.stack([a, a + n, a + 1], 1), torch.stack([a + 1, a + n, a + n + 1], 1)])
    assert rasterise(vertices, triangles, 40).mask.all()
    on_centres = torch.stack([x, y, torch.zeros(n, n)], -1).view(1, -1, 3).round()
    assert rasterise(on_centres, triangles, 40).mask.all()


def test_equal_depths_go_to_the_lower_index():
    vertices = torch.tensor([[[0.0, 0, -0.0], [0, 9, 0], [9, 0, 0]]])
    fragments = rasterise(vertices, torch.tensor([[2, 0, 1], [0, 1, 2], [1, 2, 0]]), 10)
    assert set(fragments.triangle.unique().tolist()) == {-1, 0}


def test_edges_and_corners_belong_to_the_triangle():
    vertices = torch.tensor([[[1.0, 1, 0], [1, 4, 0], [4, 1, 0]]])
    expected = torch.zeros(6, 6, dtype=torch.bool)
    for row in range(1, 5):
        expected[row, 1 : 6 - row] = True
    assert torch.equal(rasterise(vertices, torch.tensor([[0, 1, 2]]), 6).mask[0], expected)


def test_axes_and_nearness():
    """x is the column, y the row (down), larger z hides smaller z."""
    near = torch.tensor([[6.0, 0.5, 5], [6, 2.5, 5], [9, 0.5, 5]])
    far = torch.tensor([[-50.0, -50, -5], [-50, 150, -5], [150, -50, -5]])
    fragments = rasterise(torch.cat([far, near])[None], torch.tensor([[0, 1, 2], [3, 4, 5]]), (8, 12))
    assert fragments.triangle[0, 1, 6] == 1
    assert fragments.depth[0, 1, 6] == pytest.approx(5)
    assert fragments.triangle[0, 6, 1] == 0
    assert fragments.depth[0, 6, 1] == pytest.approx(-5, abs=1e-5)


def test_front_faces_are_counter_clockwise_in_the_model_frame():
    model = torch.tensor([[[-3.0, -3, 0], [3, -3, 0], [0, 3, 0]]])  # seen from +z: right, then up
    triangle = torch.tensor([[0, 1, 2]])
    assert triangle_normals(model, triangle)[0, 0, 2] > 0
    image = model * REFLECT + 5
    assert rasterise(image, triangle, 11).mask.any()
    assert not rasterise(image, triangle.flip(1), 11).mask.any()
    assert rasterise(image, triangle.flip(1), 11, cull_backfaces=False).mask.any()
    assert not rasterise(model + 5, triangle, 11).mask.any()  # not reflected: seen from behind


def test_culling_shows_the_front_of_a_closed_mesh():
    vertices, triangles = lumpy_sphere()
    image = turned(vertices, 30, 64)[None]
    culled, all_faces = (rasterise(image, triangles, 64, cull_backfaces=cull) for cull in (True, False))
    assert (culled.triangle == all_faces.triangle).double().mean() > 0.999
    normals = interpolate(culled, triangles, vertex_normals(image, triangles))
    assert (normals[culled.mask][:, 2] > -0.2).all()
    assert normals[culled.mask][:, 2].mean() > 0.5


def test_vertex_normals_point_outward_in_both_frames():
    vertices, triangles = lumpy_sphere()
    model = vertex_normals(vertices[None], triangles, frame="model")[0]
    assert ((model * vertices).sum(1) > 0).all()  # star-shaped
    image = vertices * REFLECT
    seen = vertex_normals(image[None], triangles, frame="image")[0]
    torch.testing.assert_close(seen, model * REFLECT)
    both = vertex_normals(torch.stack([vertices, image]), triangles)
    torch.testing.assert_close(both, torch.stack([model, seen]))
    torch.testing.assert_close(model.norm(dim=1), torch.ones(len(model)))


def test_vertex_normals_equal_a_slow_sum():
    vertices, triangles = lumpy_sphere(12, 14)
    points = vertices.double().numpy()
    expected = np.zeros_like(points)
    for corners in triangles.numpy():
        a, b, c = points[corners]
        expected[corners] += np.cross(b - a, c - a)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(vertex_normals(vertices.double()[None], triangles)[0], expected, atol=1e-12)
    doubled = triangles.clone()
    vertex_normals(vertices[None], doubled)
    doubled.copy_(triangles.flip(1))  # what is remembered of the triangles follows their changes
    torch.testing.assert_close(
        vertex_normals(vertices[None], doubled, frame="model"), -vertex_normals(vertices[None], triangles)
    )


def test_open_patches_know_their_outside_until_they_are_flat():
    vertices, triangles = lumpy_sphere(60, 80)
    cap = triangles[(vertices[triangles][..., 2] > 0.55).all(1)]
    used, local = cap.unique(return_inverse=True)
    patch = vertices[used][None]
    torch.testing.assert_close(vertex_normals(patch, local), vertex_normals(patch, local, frame="model"))
    flat = patch * torch.tensor([1.0, 1.0, 0.0])
    with pytest.raises(ValueError, match="too flat"):
        vertex_normals(flat, local)
    with pytest.raises(ValueError, match="frame must be"):
        vertex_normals(patch, local, frame="camera")


def test_perspective_agrees_with_a_ray_caster():
    open3d = pytest.importorskip("open3d")
    vertices, triangles = lumpy_sphere()
    triangles = triangles[::5]  # holes through which far triangles are seen
    size, focal, distance = 96, 90.0, 2.6
    camera = vertices.double() * REFLECT + torch.tensor(
        [0.1, -0.05, -distance]
    )  # z toward the camera, negative
    inverse = -1 / camera[:, 2]
    projected = torch.cat([camera[:, :2] * inverse[:, None] * focal + size / 2, camera[:, 2:]], 1)
    fragments = rasterise(
        projected[None], triangles, size, inverse_depth_w=inverse[None], cull_backfaces=False
    )
    points = interpolate(fragments, triangles, camera[None])[0]
    y, x = np.mgrid[:size, :size]
    rays = np.stack([x - size / 2, y - size / 2, np.full_like(x, -focal, float)], -1) / focal
    scene = open3d.t.geometry.RaycastingScene(nthreads=1)
    scene.add_triangles(
        open3d.core.Tensor(camera.float().numpy()), open3d.core.Tensor(triangles.numpy().astype(np.uint32))
    )
    full = np.concatenate([np.zeros_like(rays), rays], -1).astype(np.float32)
    hits = scene.cast_rays(open3d.core.Tensor(full))
    theirs = hits["primitive_ids"].numpy().astype(np.int64)
    same = theirs == fragments.triangle[0].numpy()
    covered = fragments.mask[0].numpy() & same
    assert same[fragments.mask[0]].mean() > 0.998
    expected = rays * np.where(covered, hits["t_hit"].numpy(), 0)[..., None]
    np.testing.assert_allclose(points.numpy()[covered], expected[covered], atol=2e-5)
    np.testing.assert_allclose(fragments.depth[0].numpy()[covered], expected[covered][:, 2], atol=2e-5)
    flat = interpolate(
        rasterise(projected[None], triangles, size, cull_backfaces=False), triangles, camera[None]
    )[0]
    assert np.abs(flat.numpy()[covered] - expected[covered]).max() > 1e-3  # the test can tell the difference


def test_leaves_out_what_is_behind_the_camera_or_not_finite():
    vertices = torch.tensor([[[0.0, 0, 0], [0, 9, 0], [9, 0, 0]]])
    triangle = torch.tensor([[0, 1, 2]])
    assert not rasterise(vertices, triangle, 10, inverse_depth_w=torch.tensor([[1.0, -1, 1]])).mask.any()
    for bad in (math.nan, math.inf, -math.inf):
        broken = vertices.clone()
        broken[0, 1, 1] = bad
        assert not rasterise(broken, triangle, 10).mask.any()
    assert not rasterise(vertices, triangle[:0], 10).mask.any()
    assert not rasterise(vertices * 0, triangle, 10, cull_backfaces=False).mask.any()
    assert rasterise(vertices[:0], triangle, 10).triangle.shape == (0, 10, 10)


def test_gradients_of_depth_weights_and_attributes():
    vertices, triangles = random_soup(seed=0, batch=2, faces=6)
    inverse = 1 / (30 - vertices[..., 2].double())
    attributes = torch.rand(2, 18, 2, generator=torch.Generator().manual_seed(0)).double()

    def render(points, values, weights):
        fragments = rasterise(points, triangles, (9, 8), inverse_depth_w=weights, cull_backfaces=False)
        return fragments.depth[fragments.mask], interpolate(fragments, triangles, values)

    inputs = [part.requires_grad_() for part in (vertices.double(), attributes, inverse)]
    assert rasterise(inputs[0], triangles, (9, 8), cull_backfaces=False).mask.sum() > 10
    assert torch.autograd.gradcheck(render, inputs, eps=1e-7)


def test_interpolation_is_linear_and_zero_outside():
    vertices, triangles = random_soup(seed=5)
    fragments = rasterise(vertices, triangles, (18, 25), cull_backfaces=False)
    values = interpolate(fragments, triangles, vertices)
    row, column = torch.meshgrid(torch.arange(18.0), torch.arange(25.0), indexing="ij")
    expected = torch.stack([column.expand(2, -1, -1), row.expand(2, -1, -1), fragments.depth], -1)
    torch.testing.assert_close(values[fragments.mask], expected[fragments.mask], atol=2e-4, rtol=0)
    assert (values[~fragments.mask] == 0).all()
    assert torch.isneginf(fragments.depth[~fragments.mask]).all()
    torch.testing.assert_close(fragments.barycentrics.sum(-1), fragments.mask.float())
    shared = interpolate(fragments, triangles, vertices[:1])
    torch.testing.assert_close(shared[0], values[0])


def test_corner_attributes_may_differ_across_a_seam():
    vertices = torch.tensor([[[0.0, 0, 0], [0, 8, 0], [8, 0, 0], [8, 8, 0]]])
    triangles = torch.tensor([[0, 1, 2], [2, 1, 3]])
    corners = torch.stack([torch.zeros(3, 1), torch.ones(3, 1)])
    fragments = rasterise(vertices, triangles, 9)
    values = interpolate(fragments, triangles, corner_attributes=corners)[..., 0]
    assert torch.equal(values, fragments.triangle.float())
    torch.testing.assert_close(
        interpolate(fragments, triangles, corner_attributes=vertices[0][triangles]),
        interpolate(fragments, triangles, vertices),
    )
    with pytest.raises(ValueError, match="either"):
        interpolate(fragments, triangles)
    with pytest.raises(ValueError, match="1 or 1"):
        interpolate(fragments, triangles, torch.zeros(3, 4, 1))


def test_map_from_mesh_samples_texel_centres():
    """A plane over uv: texel (i, j) sits at u = (j + ½)/S, v = (i + ½)/S, whatever the winding."""
    generator = torch.Generator().manual_seed(6)
    n, size = 9, 16
    v, u = torch.meshgrid(torch.linspace(0, 1, n), torch.linspace(0, 1, n), indexing="ij")
    uv = torch.stack([u, v], -1).view(-1, 2)
    a = (torch.arange(n - 1)[:, None] * n + torch.arange(n - 1)).flatten()
    triangles = torch.cat([torch.stack([a, a + n, a + 1], 1), torch.stack([a + n, a + 1, a + n + 1], 1)])
    plane = torch.rand(2, 3, 3, generator=generator)
    vertices = torch.cat([uv, torch.ones(len(uv), 1)], 1) @ plane
    result = map_from_mesh(vertices, uv, triangles, size)
    centres = (torch.arange(size) + 0.5) / size
    rows, columns = torch.meshgrid(centres, centres, indexing="ij")
    homogeneous = torch.stack([columns, rows, torch.ones(size, size)], -1).view(-1, 3)
    expected = (homogeneous @ plane).transpose(1, 2).reshape(2, 3, size, size)
    torch.testing.assert_close(result, expected, atol=1e-6, rtol=0)
    assert result.dtype == torch.float32
    half = map_from_mesh(vertices, uv, triangles[uv[triangles][..., 0].amax(1) <= 0.5], size, fill=-1.0)
    torch.testing.assert_close(half[..., :8], expected[..., :8], atol=1e-6, rtol=0)
    assert (half[..., 8:] == -1).all()


def test_downsample_is_the_mean():
    image = torch.arange(2 * 4 * 6.0).view(1, 2, 4, 6)
    assert torch.equal(downsample(image, 2)[0, 1, 1, 2], image[0, 1, 2:4, 4:6].mean())
    with pytest.raises(ValueError, match="4 x 6"):
        downsample(image, 4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vertices": torch.zeros(4, 3)}, r"\(B, V, 3\)"),
        ({"vertices": torch.zeros(1, 4, 3, dtype=torch.int64)}, "float"),
        ({"triangles": torch.zeros(2, 3, dtype=torch.int32)}, "int64"),
        ({"triangles": torch.zeros(2, 4, dtype=torch.int64)}, r"\(F, 3\)"),
        ({"size": (0, 4)}, "0 x 4"),
        ({"inverse_depth_w": torch.ones(2, 4)}, r"\(1, 4\)"),
    ],
)
def test_says_what_is_wrong(change, message):
    good = {"vertices": torch.zeros(1, 4, 3), "triangles": torch.zeros(2, 3, dtype=torch.int64), "size": 4}
    with pytest.raises(ValueError, match=message):
        rasterise(**(good | change))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_gpu_sees_the_same():
    vertices, triangles = lumpy_sphere(120, 160)
    image = torch.stack([turned(vertices, yaw, 128) for yaw in (-60, 0, 20)])
    here, there = rasterise(image, triangles, 128), rasterise(image.cuda(), triangles.cuda(), 128)
    again = rasterise(image.cuda(), triangles.cuda(), 128)
    assert torch.equal(there.triangle, again.triangle)
    assert torch.equal(there.barycentrics, again.barycentrics)
    assert (here.triangle == there.triangle.cpu()).double().mean() > 0.9999


# Other triangles in each image.


def test_triangles_of_each_image_are_those_of_separate_calls():
    vertices, triangles = random_soup(3, batch=3)
    count = len(triangles)
    own = torch.stack([triangles.roll(7 * b, dims=0) for b in range(3)])
    own[1, 30:] = 0  # padding
    fragments = rasterise(vertices, own, 32, cull_backfaces=False)
    colours = torch.rand(3, count, 3, 2)
    shown = interpolate(fragments, own, corner_attributes=colours)
    for b in range(3):
        kept = own[b, :30] if b == 1 else own[b]
        alone = rasterise(vertices[b : b + 1], kept, 32, cull_backfaces=False)
        assert torch.equal(fragments.triangle[b], alone.triangle[0])
        assert torch.equal(fragments.barycentrics[b], alone.barycentrics[0])
        expected = interpolate(alone, kept, corner_attributes=colours[b, : len(kept)])
        torch.testing.assert_close(shown[b], expected[0])
        places = interpolate(fragments, own, vertices)[b]
        torch.testing.assert_close(places, interpolate(alone, kept, vertices[b : b + 1])[0])


def test_the_first_triangles_alone_can_be_one_sided():
    vertices, triangles = random_soup(4, batch=1)
    corners = vertices[0, triangles]
    a, b, c = corners[..., :2].unbind(1)
    front = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0]) < 0
    seen = rasterise(vertices, triangles, 32, cull_backfaces=20).triangle
    shown = seen[seen >= 0].unique()
    assert front[shown[shown < 20]].all()
    kept = torch.where((front | (torch.arange(len(triangles)) >= 20))[:, None], triangles, 0)
    assert torch.equal(seen, rasterise(vertices, kept, 32, cull_backfaces=False).triangle)
