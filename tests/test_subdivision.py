"""Loop subdivision against trimesh, its limit against many more steps; Tutte embeddings of small disks."""

import numpy as np
import pytest
from scipy.spatial import ConvexHull, cKDTree

from facet.face_model import subdivision, tutte

trimesh = pytest.importorskip("trimesh")


def bumpy_sphere(rng):
    """A closed mesh with valences 5 and 6."""
    mesh = trimesh.creation.icosphere(subdivisions=1)
    return mesh.vertices + rng.normal(0, 0.1, mesh.vertices.shape), mesh.faces.astype(np.int64)


def fan(spokes, rng):
    """A closed two-sided fan: two vertices of valence `spokes`, the others of valence 4."""
    angle = 2 * np.pi * np.arange(spokes) / spokes
    ring = np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1)
    points = np.concatenate([ring, [[0, 0, 1.0], [0, 0, -1.0]]]) + rng.normal(0, 0.05, (spokes + 2, 3))
    k, n = np.arange(spokes), (np.arange(spokes) + 1) % spokes
    top = np.stack([k, n, np.full(spokes, spokes)], axis=1)
    return points, np.concatenate([top, np.stack([n, k, np.full(spokes, spokes + 1)], axis=1)])


def sheet(size, rng):
    """An open square sheet of (size + 1)² vertices with a regular boundary."""
    i, j = np.meshgrid(np.arange(size + 1), np.arange(size + 1), indexing="ij")
    points = np.stack([j.ravel(), -i.ravel(), rng.normal(0, 0.4, i.size)], axis=1).astype(float)
    corner = (i * (size + 1) + j)[:-1, :-1].ravel()
    right, below, across = corner + 1, corner + size + 1, corner + size + 2
    faces = [np.stack([corner, below, right], axis=1), np.stack([right, below, across], axis=1)]
    return points, np.concatenate(faces)


def hexagon(radius, rng):
    """An open hexagonal sheet. No inner edge joins two boundary vertices: there trimesh errs, we do not."""
    span = range(-radius - 1, radius + 2)
    inside = [(a, b) for a in span for b in span if max(abs(a), abs(b), abs(a + b)) <= radius]
    number = {place: i for i, place in enumerate(inside)}
    corners = [((a, b), (a + 1, b), (a, b + 1)) for a in span for b in span]
    corners += [((a + 1, b), (a + 1, b + 1), (a, b + 1)) for a in span for b in span]
    faces = [[number[p] for p in places] for places in corners if all(p in number for p in places)]
    flat = np.array([(a + b / 2, b * 3**0.5 / 2) for a, b in number])
    return np.column_stack([flat, rng.normal(0, 0.4, len(flat))]), np.array(faces)


MESHES = {
    "sphere": bumpy_sphere,
    "fan3": lambda rng: fan(3, rng),
    "fan9": lambda rng: fan(9, rng),
    "hexagon": lambda rng: hexagon(2, rng),
}


@pytest.fixture(params=MESHES)
def mesh(request, rng):
    return MESHES[request.param](rng)


def test_one_step_is_trimesh_loop(mesh):
    points, faces = mesh
    matrix, fine = subdivision.subdivide(faces, len(points))
    theirs, their_faces = trimesh.remesh.subdivide_loop(points, faces, iterations=1)
    ours = matrix @ points
    distance, partner = cKDTree(theirs).query(ours)
    assert distance.max() < 1e-12
    assert len(set(partner.tolist())) == len(theirs) == len(ours)
    assert turned(partner[fine]) == turned(their_faces)


def turned(faces):
    """The set of triangles, each begun at its lowest corner: the winding is kept."""
    return {tuple(np.roll(face, -face.argmin()).tolist()) for face in np.asarray(faces)}


def test_limit_is_where_many_steps_lead(mesh):
    points, faces = mesh
    count, current, fine = len(points), points, faces
    for _ in range(6):
        matrix, fine = subdivision.subdivide(fine, len(current))
        current = matrix @ current
    reached = subdivision.limit(faces, count) @ points
    pushed = (subdivision.limit(fine, len(current)) @ current)[
        :count
    ]  # the limit of a level is the limit of all
    np.testing.assert_allclose(pushed, reached, atol=1e-12)
    assert np.abs(current[:count] - reached).max() < 0.02 * np.abs(points - reached).max()


@pytest.mark.parametrize("level", [1, 2])
def test_every_level_lies_on_one_surface(mesh, level):
    points, faces = mesh
    coarse, _ = subdivision.limit_levels(faces, len(points), 0)
    fine, triangles = subdivision.limit_levels(faces, len(points), level)
    np.testing.assert_allclose((fine @ points)[: len(points)], coarse @ points, atol=1e-12)
    np.testing.assert_allclose(np.asarray(fine.sum(axis=1)), 1, atol=1e-12)  # moves with its mesh
    assert len(triangles) == 4**level * len(faces)


def test_corner_attributes_follow_their_triangles(mesh):
    points, faces = mesh
    matrix, fine = subdivision.subdivide(faces, len(points))
    straight = subdivision.subdivide_corners(points[faces])
    edges, _, _ = subdivision.edges_of(faces)
    middles = np.concatenate([points, points[edges].mean(axis=1)])
    np.testing.assert_allclose(straight, middles[fine], atol=1e-12)
    assert matrix.shape == (len(middles), len(points))


def test_a_third_triangle_on_an_edge_is_refused():
    with pytest.raises(ValueError, match="more than two triangles"):
        subdivision.edges_of(np.array([[0, 1, 2], [1, 0, 3], [0, 1, 4]]))


def symmetric_sheet(size, rng):
    """A sheet that is its own mirror image in x, and its mirror table."""
    points, faces = sheet(size, rng)
    points[:, 0] -= size / 2
    order = np.arange(len(points)).reshape(size + 1, size + 1)
    mirror = order[:, ::-1].ravel()
    points[:, 2] = (points[:, 2] + points[mirror, 2]) / 2
    left = faces[points[faces].mean(axis=1)[:, 0] > 0]
    return points, np.concatenate([left, mirror[left][:, ::-1]]), mirror


def test_tutte_tiles_the_square_without_flips(rng):
    points, faces, mirror = symmetric_sheet(8, rng)
    uv = tutte.embed(faces, points, mirror)
    areas = tutte.signed_areas(faces, uv)
    assert (areas < 0).all()  # one sign; v points down
    assert areas.sum() == pytest.approx(-1)
    np.testing.assert_allclose(uv[mirror], uv * [-1, 1] + [1, 0], atol=1e-12)
    for corner in ([0, 0], [0, 1], [1, 0], [1, 1]):
        assert np.abs(uv - corner).sum(axis=1).min() < 1e-9
    assert uv[np.lexsort((np.abs(points[:, 0]), -points[:, 1]))[0]] == pytest.approx([0.5, 0])  # the top
    assert uv[np.argmax(points[:, 0]), 0] == 1  # u runs to the subject's left


def test_inner_vertices_lie_inside_the_hull_of_their_neighbours(rng):
    """The weights are positive (Tutte 1963; Floater 2003), whatever the stretch rounds do to them."""
    points, faces, mirror = symmetric_sheet(6, rng)
    uv = tutte.embed(faces, points, mirror)
    loop = set(tutte.boundary_loops(faces)[0].tolist())
    edges = subdivision.edges_of(faces)[0]
    for vertex in sorted(set(range(len(points))) - loop):
        ring = np.concatenate([edges[edges[:, 0] == vertex, 1], edges[edges[:, 1] == vertex, 0]])
        hull = ConvexHull(uv[ring])
        assert (hull.equations @ [*uv[vertex], 1] < -1e-6).all()


def test_no_disk_is_refused(rng):
    points, faces, mirror = symmetric_sheet(6, rng)
    middle = np.abs(points[faces].mean(axis=1)[:, :2] + [0, 3]).max(axis=1) < 1
    with pytest.raises(ValueError, match="one boundary"):
        tutte.embed(faces[~middle], points, mirror)


def test_boundary_runs_with_its_triangles(rng):
    _, faces = sheet(3, rng)
    (loop,) = tutte.boundary_loops(faces)
    half = {tuple(e) for f in faces.tolist() for e in zip(f, f[1:] + f[:1], strict=True)}
    assert all(pair in half for pair in zip(loop.tolist(), np.roll(loop, -1).tolist(), strict=True))
    assert len(loop) == 12
