"""Voxels: winding against trimesh, closed columns at every pose, bits, the lattice; solids of faces."""

from importlib.util import find_spec

import numpy as np
import pytest
import tiny_people
import torch
import trimesh
from torch.nn import functional

from facet.augment import Augmentation, draw_geometry, warp
from facet.crop import invert
from facet.face_model import load
from facet.face_model.shell import close, grid_corners, grid_shell
from facet.geometry import model_to_image, transform_points
from facet.rendering.voxels import Lattice, pack, unpack, voxelise
from facet.synthetic.batches import Batches
from facet.synthetic.dataset import open_pictures
from facet.synthetic.render import truth_vertices
from facet.synthetic.solids import SolidTruth, solids_of

needs_rtree = pytest.mark.skipif(find_spec("rtree") is None, reason="trimesh's contains wants rtree")
VOLUME = (32, 32, 32)
GRID = Lattice(64, VOLUME)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def image_frame(mesh):
    """Vertices (1, V, 3) and triangles of a trimesh in the image frame: y turned down, faces as they are."""
    vertices = torch.tensor(np.asarray(mesh.vertices)).float() * torch.tensor([1.0, -1.0, 1.0])
    return vertices[None], torch.tensor(np.asarray(mesh.faces)).long()


def centres(volume):
    height, width, depth = volume
    k, i, j = np.meshgrid(np.arange(depth), np.arange(height), np.arange(width), indexing="ij")
    return np.stack((j, i, k), axis=-1).reshape(-1, 3).astype(float)


def enclosed(vertices, triangles, points):
    """trimesh's `contains`: parity of the crossings of a ray, here along the oblique default direction."""
    flipped = vertices.numpy() * [1, -1, 1]
    mesh = trimesh.Trimesh(flipped, triangles.numpy(), process=False)
    return mesh.contains(points * [1, -1, 1])


# ---- voxelise


@needs_rtree
@pytest.mark.parametrize("angle", [0.0, 37.0, 90.0])
def test_a_torus_is_what_trimesh_says(angle):
    mesh = trimesh.creation.torus(major_radius=4.3, minor_radius=2.1, major_sections=16, minor_sections=8)
    mesh.apply_transform(trimesh.transformations.rotation_matrix(np.radians(angle), [1, 0.4, 0.2]))
    vertices, triangles = image_frame(mesh)
    solid = voxelise(vertices + 7.4, triangles, (16, 16, 16))[0].flatten().numpy()
    some = torch.randperm(16**3, generator=generator())[:400].numpy()
    inside = enclosed(vertices[0] + 7.4, triangles, centres((16, 16, 16))[some])
    assert 0.03 < inside.mean() < 0.3
    assert np.array_equal(solid[some], inside)


def test_a_bent_solid_against_its_solid_angles():
    """The winding number of a point is the sum of the triangles' solid angles over 4π, in a slow loop."""
    mesh = trimesh.creation.torus(major_radius=5, minor_radius=2.2, major_sections=12, minor_sections=7)
    mesh.apply_transform(trimesh.transformations.rotation_matrix(1.1, [1, 0.4, 0.2]))
    vertices, triangles = image_frame(mesh)
    vertices = vertices + 7.4
    points = torch.from_numpy(centres((16, 16, 16)))
    a, b, c = (vertices[0].double()[triangles[:, k]] - points[:, None] for k in range(3))  # (P, F, 3)
    la, lb, lc = (p.norm(dim=-1) for p in (a, b, c))
    top = (a * torch.linalg.cross(b, c)).sum(-1)
    bottom = la * lb * lc + (a * b).sum(-1) * lc + (b * c).sum(-1) * la + (c * a).sum(-1) * lb
    turns = -torch.atan2(top, bottom).sum(-1) / (2 * torch.pi)  # y is down: the frame is left-handed
    expected = (turns > 0.5).view(16, 16, 16)
    assert torch.equal(voxelise(vertices, triangles, (16, 16, 16))[0], expected)
    assert 0.05 < expected.float().mean() < 0.3


@pytest.mark.parametrize("corner", [3.0, 3.5])
def test_a_box_whose_edges_run_through_the_centres(corner):
    """Lines through edges and corners count once: faces of the box at 3 hold the voxels moved by (ε, ε²)."""
    mesh = trimesh.creation.box(bounds=[[corner, -corner - 5, 4.5], [corner + 5, -corner, 8.5]])
    vertices, triangles = image_frame(mesh)
    solid = voxelise(vertices, triangles, (16, 16, 16))[0]
    expected = torch.zeros(16, 16, 16, dtype=torch.bool)
    first = {3.0: 3, 3.5: 4}[corner]
    expected[5:9, first : first + 5, first : first + 5] = True
    assert torch.equal(solid, expected)


def test_axes_are_columns_rows_and_slices():
    mesh = trimesh.creation.box(bounds=[[1.5, -6.5, 9.5], [2.5, -4.5, 12.5]])
    solid = voxelise(*image_frame(mesh), (8, 10, 16))[0]
    assert solid.nonzero().tolist() == [[k, i, 2] for k in (10, 11, 12) for i in (5, 6)]


def test_what_lies_outside_the_volume_is_cut_off():
    mesh = trimesh.creation.box(bounds=[[-50, -50, -50], [3.5, 50, 100]])
    solid = voxelise(*image_frame(mesh), (8, 8, 8))[0]
    assert torch.equal(solid, (torch.arange(8) < 4).expand(8, 8, 8))


def test_batches_are_their_parts():
    mesh = trimesh.creation.icosphere(subdivisions=2, radius=6)
    vertices, triangles = image_frame(mesh)
    moved = vertices + 12 + 6 * torch.rand(3, 1, 3, generator=generator())
    together = voxelise(moved, triangles, VOLUME)
    for one, whole in zip(moved, together, strict=True):
        assert torch.equal(voxelise(one[None], triangles, VOLUME)[0], whole)


def test_inside_out_is_empty_and_overlaps_count_once():
    mesh = trimesh.creation.icosphere(subdivisions=1, radius=6)
    vertices, triangles = image_frame(mesh)
    vertices = vertices + 15
    assert not voxelise(vertices, triangles.flip(1), VOLUME).any()
    both = torch.cat((vertices, vertices + 4), dim=1)
    two = torch.cat((triangles, triangles + vertices.shape[1]))
    expected = voxelise(vertices, triangles, VOLUME) | voxelise(vertices + 4, triangles, VOLUME)
    assert torch.equal(voxelise(both, two, VOLUME), expected)


def test_an_open_mesh_is_refused():
    mesh = trimesh.creation.icosphere(subdivisions=2, radius=9)
    vertices, triangles = image_frame(mesh)
    with pytest.raises(ValueError, match="not closed"):
        voxelise(vertices + 15, triangles[:-40], VOLUME)


def test_filled_columns_have_one_run():
    mesh = trimesh.creation.torus(major_radius=9, minor_radius=3, major_sections=20, minor_sections=10)
    mesh.apply_transform(trimesh.transformations.rotation_matrix(np.pi / 2, [1, 0, 0]))
    vertices, triangles = image_frame(mesh)
    plain, filled = (voxelise(vertices + 15.4, triangles, VOLUME, fill=fill)[0] for fill in (False, True))
    for i in range(32):
        for j in range(32):
            inside = plain[:, i, j].nonzero()[:, 0].tolist()
            run = list(range(inside[0], inside[-1] + 1)) if inside else []
            assert filled[:, i, j].nonzero()[:, 0].tolist() == run
    assert filled.sum() > 1.2 * plain.sum()


# ---- bits, lattice


def test_bits_come_back_and_take_an_eighth():
    volume = torch.rand(2, 200, 6, 6, generator=generator()) < 0.3
    packed = pack(volume)
    assert packed.dtype == torch.uint8
    assert packed.numel() * 8 == volume.numel()
    assert torch.equal(unpack(packed), volume)
    assert torch.equal((packed[:, 3] >> 5) & 1, volume[:, 29].to(torch.uint8))
    with pytest.raises(ValueError, match="multiple of 8"):
        pack(volume[:, :7])


@pytest.mark.parametrize(
    ("size", "volume"), [(256, (192, 192, 200)), (128, (64, 64, 64)), (64, (32, 32, 32))]
)
def test_lattice_is_aligned_with_the_image(size, volume):
    grid = Lattice(size, volume)
    points = size * torch.rand(5, 3, generator=generator())
    torch.testing.assert_close(grid.to_pixels(grid.to_voxels(points)), points, atol=1e-4, rtol=0)
    corner = grid.to_voxels(torch.tensor([-0.5, -0.5, grid.behind]))
    assert corner.tolist() == [-0.5, -0.5, -0.5]  # the crop's corner is the first voxel's
    last = grid.to_voxels(torch.tensor([size - 0.5, size - 0.5, 0.0]))[:2]
    assert last.tolist() == [volume[1] - 0.5, volume[0] - 0.5]


# ---- faces


@pytest.fixture(scope="module")
def model():
    return load()


def test_shells_are_closed_and_turn_outward(model):
    for shell, vertices in (
        (close(model.triangles, len(model.mean)), model.mean),
        (grid_shell(4), torch.rand(25, 3, generator=generator())),
    ):
        mesh = trimesh.Trimesh(
            shell.closed(vertices[None])[0].numpy(), shell.triangles.numpy(), process=False
        )
        assert mesh.is_watertight
        assert mesh.is_winding_consistent
    solid = shell_of_mean(model)
    assert solid.volume > 5e5  # cubic millimetres, positive: outward
    with pytest.raises(ValueError, match="no rim"):
        close(torch.tensor([[0, 1, 2], [0, 2, 3], [0, 3, 1], [1, 3, 2]]), 4)


def shell_of_mean(model):
    shell = close(model.triangles, len(model.mean))
    return trimesh.Trimesh(shell.closed(model.mean[None])[0].numpy(), shell.triangles.numpy(), process=False)


def faces_at(model, yaws, *, size=64, seed=0):
    """(B, V, 3) random people turned to the yaws, in a crop of `size` pixels, z from the rim."""
    count = len(yaws)
    alpha = torch.randn(count, model.identity_modes, generator=generator(seed))
    vertices = model.blend(alpha, 0.5 * torch.rand(count, 52, generator=generator(seed + 1)) ** 4)
    tilt = 40 * torch.rand(2, count, generator=generator(seed + 2)) - 20
    centre = torch.full((count, 2), (size - 1) / 2)
    matrix = model_to_image(torch.tensor(yaws), tilt[0], tilt[1], size / 240, centre)
    placed = transform_points(matrix, vertices)
    return torch.cat(
        (placed[..., :2], placed[..., 2:] - placed[:, model.rim, 2:].amin(dim=1, keepdim=True)), dim=-1
    )


@needs_rtree
def test_face_solids_are_what_trimesh_says(model):
    """Random points near the surface of four people at four yaws, on a coarse grid that does not fold."""
    shell, corners = grid_shell(20), grid_corners(model, 20)
    vertices = faces_at(model, [-90.0, -35.0, 10.0, 70.0])
    nodes = (vertices[:, corners[0]] * corners[1][..., None]).sum(dim=2)
    solids = voxelise(GRID.to_voxels(shell.closed(nodes)), shell.triangles, VOLUME)
    for solid, face in zip(solids, shell.closed(nodes), strict=True):
        near = face[torch.randint(len(face), (120,), generator=generator(5))]
        near = GRID.to_voxels(near + 6 * torch.randn(near.shape, generator=generator(6))).round()
        where = near.clamp(0, 31).long()  # x, y, z
        inside = enclosed(face, shell.triangles, GRID.to_pixels(where.float()).double().numpy())
        assert 0.2 < inside.mean() < 0.8
        assert np.array_equal(solid[where[:, 2], where[:, 1], where[:, 0]].numpy(), inside)


def test_no_pose_leaks(model):
    """`voxelise` refuses what does not close, so 40 poses in all directions prove that every column does."""
    yaws = torch.linspace(-180, 180, 40).tolist()
    solids = solids_of(model, faces_at(model, yaws, seed=3), GRID)
    share = solids.flatten(1).float().mean(dim=1)
    assert (share > 0.05).all()
    assert (share < 0.3).all()


def test_volume_of_the_solid_is_that_of_the_mesh(model):
    vertices = faces_at(model, [0.0, 45.0, -90.0])
    shell = close(model.triangles, len(model.mean))
    counted = solids_of(model, vertices, GRID).flatten(1).sum(dim=1) * GRID.pitch**3
    for count, face in zip(counted, shell.closed(vertices), strict=True):
        mesh = trimesh.Trimesh(face.numpy() * [1, -1, 1], shell.triangles.numpy(), process=False)
        assert float(count) == pytest.approx(mesh.volume, rel=0.02)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    from facet import paths

    home = tiny_people.root(tmp_path_factory.mktemp("home"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "CACHE", home / "data" / "cache")
        yield open_pictures(tiny_people.tiny(), workers=1)


def test_training_solids_are_those_of_the_full_patch(model, pictures):
    """The grid over UV against every triangle of the patch: they differ in few voxels of the surface."""
    truth = SolidTruth.open(model, GRID)
    views = pictures.views.rows(slice(0, 6))
    nodes, landmarks = truth.points(pictures.subjects, views)
    exact = truth_vertices(model, pictures.subjects, views)
    torch.testing.assert_close(landmarks, exact[:, model.landmarks], atol=2e-2, rtol=0)
    coarse, fine = truth.volume(nodes), solids_of(model, exact, GRID)
    union = (coarse | fine).flatten(1).sum(dim=1)
    assert ((coarse ^ fine).flatten(1).sum(dim=1) / union < 0.02).all()


def test_a_mirrored_batch_has_the_mirrored_volume(model, pictures):
    people, side = torch.arange(3), torch.ones(3, dtype=torch.int64)
    targets = []
    for chance in (0.0, 1.0):
        truth = SolidTruth.open(model, GRID, guide_sigma=1.0)
        batches = Batches(pictures, None, "all-poses", 3, Augmentation(flip=chance), truth=truth)
        targets.append(batches.make(people, side, generator(2)))
    (plain, kept), (mirrored, turned) = targets
    assert plain.shape == (3, 71, 64, 64)
    torch.testing.assert_close(mirrored[:, :3], plain[:, :3].flip(3), atol=1e-3, rtol=0)
    there, back = unpack(kept["volume"]), unpack(turned["volume"]).flip(3)
    assert there.any()
    assert (there ^ back).sum() / there.sum() < 0.03


def test_augmented_solid_follows_the_picture(model, pictures):
    """Turned, shrunk, shifted and mirrored, the volume's silhouette is the plain one's, warped likewise.

    Where the plain crop shows something: once shrunk, more of a face may be seen. Depth shrinks along.
    """
    truth = SolidTruth.open(model, GRID)
    people, side = torch.arange(3), torch.ones(3, dtype=torch.int64)
    change = Augmentation(rotation=45.0, scale=(0.8, 0.8), translation=0.1, flip=0.5)
    batches = [Batches(pictures, None, "front", 3, some, truth=truth) for some in (Augmentation(), change)]
    before, after = (unpack(b.make(people, side, generator(4))[1]["volume"]) for b in batches)
    geometry = draw_geometry(generator(4), 3, change, image_size=64)
    assert geometry.flip.any()
    assert not geometry.flip.all()

    def warped(silhouettes, matrices):
        fine = silhouettes.float().repeat_interleave(2, 1).repeat_interleave(2, 2)  # two pixels a voxel
        fine = warp(fine[:, None].expand(-1, 3, -1, -1), matrices, image_size=64)[:, 0]
        return functional.avg_pool2d(fine, 2) > 0.5

    plain, turned = before.any(dim=1), after.any(dim=1)
    matrices = geometry.matrices[:, 0]
    shown = warped(torch.ones_like(plain), matrices)

    def overlap(expected):
        both, either = (expected & turned & shown), ((expected | turned) & shown)
        return both.flatten(1).sum(1) / either.flatten(1).sum(1)

    assert (overlap(warped(plain, matrices)) > 0.9).all()
    assert (overlap(warped(plain, invert(matrices))) < 0.9).all()  # turned the other way
    deep = [solid.any(dim=3).any(dim=2).sum(dim=1) for solid in (before, after)]
    assert ((deep[1] / deep[0] - 0.8).abs() < 0.1).all()
