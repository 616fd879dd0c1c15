"""The soft rasteriser: its formula in a slow loop, its limit, its gradients, its memory."""

import math

import pytest
import torch

from facet.geometry import rotation_matrix
from facet.rendering import interpolate, rasterise, spherical_harmonics, vertex_normals
from facet.rendering.soft import soft_rasterise

SIZE = 12
OCTAHEDRON = torch.tensor(
    [[0, 2, 4], [2, 1, 4], [1, 3, 4], [3, 0, 4], [2, 0, 5], [1, 2, 5], [3, 1, 5], [0, 3, 5]]
)


def scene(generator, dtype=torch.float64, batch=2):
    """Octahedra, turned and bent, in the middle of the picture; colours at random."""
    corners = torch.cat((torch.eye(3), -torch.eye(3)))[[0, 3, 1, 4, 2, 5]].to(dtype)
    turn = rotation_matrix(*(60 * torch.rand(3, batch, generator=generator, dtype=dtype) - 30))
    bent = corners * (1 + 0.2 * torch.rand(batch, 6, 1, generator=generator, dtype=dtype))
    flip = torch.tensor([1.0, -1.0, 1.0], dtype=dtype)
    placed = 4.0 * (bent @ turn.mT) * flip + torch.tensor([5.61, 5.27, 0.0], dtype=dtype)
    return placed, torch.rand(batch, 6, 3, generator=generator, dtype=dtype)


def slow(vertices, triangles, colours, size, sigma, gamma):
    """One picture, pixel by pixel and triangle by triangle, straight from the formula."""
    picture, alpha = torch.zeros(size, size, colours.shape[1]), torch.zeros(size, size)
    for row in range(size):
        for column in range(size):
            p = torch.tensor([column, row], dtype=vertices.dtype)
            total, weights, empty = 0, 0, 1.0
            for t in triangles.tolist():
                corner = vertices[t]
                a, b, c = corner[:, :2]
                area = (b - a)[0] * (c - a)[1] - (b - a)[1] * (c - a)[0]
                if area >= 0:
                    continue
                bary = torch.linalg.solve(
                    torch.stack([corner[:, 0], corner[:, 1], torch.ones(3).double()]),
                    torch.tensor([column, row, 1.0]).double(),
                )
                best, where = math.inf, None
                for k in range(3):
                    start, end = corner[k, :2], corner[(k + 1) % 3, :2]
                    s = float(((p - start) @ (end - start) / (end - start).square().sum()).clamp(0, 1))
                    d = float((start + s * (end - start) - p).square().sum())
                    if d < best:
                        best, where = d, torch.zeros(3).double()
                        where[k], where[(k + 1) % 3] = 1 - s, s
                inside = bool((bary >= 0).all())
                at = bary if inside else where
                probability = 1 / (1 + math.exp(min(60.0, -best / sigma if inside else best / sigma)))
                weight = probability * math.exp(float(at @ corner[:, 2]) / gamma)
                total, weights = total + weight * (at @ colours[t]), weights + weight
                empty *= 1 - probability
            if weights:
                picture[row, column], alpha[row, column] = total / weights, 1 - empty
    return picture, alpha


def test_it_is_the_formula(generator):
    vertices, colours = scene(generator)
    found = soft_rasterise(vertices, OCTAHEDRON, colours, SIZE, sigma=0.4, gamma=2.0)
    for k in range(2):
        picture, alpha = slow(vertices[k], OCTAHEDRON, colours[k], SIZE, 0.4, 2.0)
        assert (found.alpha[k] - alpha).abs().max() < 5e-4  # triangles below 1e-4 are left out
        clear = alpha > 0.02
        assert clear.sum() > 30
        assert (found.colour[k] - picture)[clear].abs().max() < 2e-2
        assert (found.colour[k] - picture)[alpha > 0.5].abs().max() < 1e-3


@pytest.mark.parametrize("size", [SIZE, (10, 14)])
def test_its_limit_is_the_hard_rasteriser(generator, size):
    vertices, colours = scene(generator)
    hard = rasterise(vertices, OCTAHEDRON, size)
    wanted = interpolate(hard, OCTAHEDRON, colours)
    apart = []
    for sharp in (1.0, 1e-2, 1e-4, 1e-8):
        soft = soft_rasterise(vertices, OCTAHEDRON, colours, size, sigma=0.3 * sharp, gamma=sharp)
        apart.append(float((soft.alpha - hard.mask.double()).abs().max()))
    assert apart[0] > 0.3
    assert apart[-1] < 1e-6
    assert (soft.colour - wanted)[hard.mask].abs().max() < 1e-6
    assert soft.colour.shape[1:3] == hard.mask.shape[1:]


def test_gradients_by_finite_differences(generator):
    """Positions and colours, inside, along edges and past corners, with triangles one behind another."""
    vertices, colours = scene(generator, batch=1)

    def picture(v, c):
        soft = soft_rasterise(v, OCTAHEDRON, c, 9, sigma=0.5, gamma=1.5, cull_backfaces=False)
        return soft.colour[soft.alpha > 0.05], soft.alpha

    vertices.requires_grad_()
    colours.requires_grad_()
    assert torch.autograd.gradcheck(picture, (vertices, colours), atol=1e-5, rtol=1e-3)


def test_gradients_of_light_and_vertex_normals(generator):
    vertices = scene(generator)[0].requires_grad_()
    light = torch.rand(9, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: vertex_normals(v, OCTAHEDRON, frame="image"), (vertices,))
    assert torch.autograd.gradcheck(
        lambda v, s: spherical_harmonics(vertex_normals(v, OCTAHEDRON, frame="image")) @ s, (vertices, light)
    )


def test_jacobian_of_a_vertex_normal_in_closed_form(generator):
    """∂n/∂v = (1 − n nᵀ)/|m| · ∂m/∂v, m the sum of cross products: for corner a, ∂m/∂a = [c − b]×."""
    vertices = scene(generator, batch=1)[0]
    whole = torch.autograd.functional.jacobian(
        lambda v: vertex_normals(v, OCTAHEDRON, frame="model"), vertices
    )[0, :, :, 0]  # (vertex of the normal, 3, vertex that moves, 3)
    points, expected = vertices[0], torch.zeros(6, 3, 6, 3, dtype=torch.float64)
    sums = torch.zeros(6, 3, dtype=torch.float64)
    for t in OCTAHEDRON.tolist():
        a, b, c = points[t]
        for vertex in t:
            sums[vertex] += torch.linalg.cross(b - a, c - a)
            for k in range(3):
                edge = points[t[(k + 2) % 3]] - points[t[(k + 1) % 3]]
                x, y, z = edge.tolist()
                turn = torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=torch.float64)
                expected[vertex, :, t[k]] += turn
    length = sums.norm(dim=1)
    unit = sums / length[:, None]
    across = (torch.eye(3) - unit[:, :, None] * unit[:, None]) / length[:, None, None]
    expected = torch.einsum("vij,vjwk->viwk", across, expected)
    assert (whole - expected).abs().max() < 1e-9
    assert expected.abs().max() > 1e-2


def test_triangles_seen_edge_on_have_finite_gradients():
    # rounding decides on which side of a triangle of no height a pixel lies
    heights = torch.tensor([0.0, 1e-7, -1e-7, 1e-5])
    corners = torch.tensor([[1.0, 5.0, 0.0], [9.0, 5.0, 1.0], [5.0, 5.0, 2.0]]).repeat(4, 1, 1)
    corners[:, 2, 1] += heights
    corners[0, 2] = corners[0, 0]  # and one without any length
    colours = torch.rand(4, 3, 3, generator=torch.Generator().manual_seed(0))
    for triangle in ([[0, 1, 2]], [[0, 2, 1]]):
        placed, shown = corners.clone().requires_grad_(), colours.clone().requires_grad_()
        about = {"sigma": 0.5, "gamma": 1.0, "cull_backfaces": False}
        picture = soft_rasterise(placed, torch.tensor(triangle), shown, SIZE, **about)
        gradients = torch.autograd.grad(picture.colour.square().sum() + picture.alpha.sum(), (placed, shown))
        assert picture.alpha[1:].amax() > 0.4
        assert all(g.isfinite().all() and g.abs().max() < 1e3 for g in gradients)


def test_pieces_give_the_same_picture_and_gradients(generator):
    results = []
    for piece in (None, 137):
        vertices, colours = scene(torch.Generator().manual_seed(3))
        vertices.requires_grad_()
        colours.requires_grad_()
        soft = soft_rasterise(vertices, OCTAHEDRON, colours, SIZE, sigma=0.3, gamma=1.0, piece=piece)
        (soft.colour.square().sum() + soft.alpha.sum()).backward()
        results.append((soft.colour, soft.alpha, vertices.grad, colours.grad))
    for whole, pieces in zip(*results, strict=True):
        assert (whole - pieces).abs().max() < 1e-9


def test_pieces_bound_the_memory(generator):
    """What the graph keeps between forward and backward is not the work on all pairs."""

    def kept(piece):
        vertices, colours = scene(torch.Generator().manual_seed(3))
        vertices.requires_grad_()
        sizes = []

        def pack(tensor):
            sizes.append(tensor.numel() * tensor.element_size())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            many = OCTAHEDRON.repeat(20, 1)
            soft_rasterise(vertices, many, colours, 16, sigma=2.0, gamma=1.0, piece=piece)
        return sum(sizes)

    assert kept(500) < kept(None) / 20


def test_a_wrong_place_is_recovered_and_the_hard_picture_has_no_gradient_for_it():
    """A square beside its target: the soft coverage pulls it there; the hard one stays."""
    square = torch.tensor([[0.0, 0, 0], [5, 0, 0], [5, 5, 0], [0, 5, 0]]).double()
    triangles = torch.tensor([[0, 2, 1], [0, 3, 2]])
    colours = torch.ones(1, 4, 1).double()
    wanted = torch.tensor([9.3, 7.4, 0.0]).double()

    def coverage(shift, sigma):
        place = (square + torch.cat((shift, shift.new_zeros(1))))[None]
        return soft_rasterise(place, triangles, colours, 20, sigma=sigma, gamma=1.0).alpha

    shift = torch.tensor([5.0, 11.0]).double().requires_grad_()
    assert (shift - wanted[:2]).norm() > 5
    optimiser = torch.optim.Adam([shift], lr=0.3)
    for step in range(60):
        sigma = 4.0 * 0.05 ** (step / 60)
        optimiser.zero_grad()
        (coverage(shift, sigma) - coverage(wanted[:2], sigma)).square().sum().backward()
        optimiser.step()
    assert (shift - wanted[:2]).norm() < 0.15
    place = (square + 5.0)[None].requires_grad_()
    hard = interpolate(rasterise(place, triangles, 20), triangles, colours)
    gradient = torch.autograd.grad((hard - 0.5).square().sum(), place)[0]
    assert gradient.abs().max() < 1e-12


def test_closed_surfaces_have_no_seams(generator):
    """A square of two triangles: ¾ on the diagonal by the formula, 1 when closed; its outline is the same."""
    square = torch.tensor([[[2.0, 2, 0], [9, 2, 0], [9, 9, 0], [2, 9, 0]]]).double()
    triangles, colours = torch.tensor([[0, 2, 1], [0, 3, 2]]), torch.ones(1, 4, 1).double()
    plain, closed = (
        soft_rasterise(square, triangles, colours, 12, sigma=0.3, gamma=1.0, closed=c).alpha[0]
        for c in (False, True)
    )
    assert abs(float(plain[5, 5]) - 0.75) < 1e-3
    assert float(closed[4:8, 4:8].min()) > 0.999
    rim = torch.arange(4, 8)
    assert (plain - closed)[rim, 1].abs().max() < 1e-9
    vertices, paint = scene(generator, batch=1)
    vertices.requires_grad_()

    def alpha(v):
        return soft_rasterise(v, OCTAHEDRON, paint, 9, sigma=0.5, gamma=1.5, closed=True).alpha

    assert torch.autograd.gradcheck(alpha, (vertices,), atol=1e-5, rtol=1e-3)


def test_back_faces_and_what_lies_outside():
    triangle = torch.tensor([[[2.0, 2, 0], [8, 2, 0], [2, 8, 0]]])
    colours = torch.ones(1, 3, 3)
    front, back = torch.tensor([[0, 2, 1]]), torch.tensor([[0, 1, 2]])
    options = {"sigma": 0.1, "gamma": 1.0}
    assert soft_rasterise(triangle, back, colours, 10, **options).alpha.max() == 0
    assert soft_rasterise(triangle, front, colours, 10, **options).alpha.max() > 0.99
    both = soft_rasterise(triangle, back, colours, 10, cull_backfaces=False, **options)
    assert torch.equal(both.alpha, soft_rasterise(triangle, front, colours, 10, **options).alpha)
    away = soft_rasterise(triangle + 50, front, colours, 10, **options)
    assert away.alpha.max() == 0
    assert away.colour.abs().max() == 0
    background = torch.rand(1, 3, 10, 10)
    assert torch.equal(away.over(background), background)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sigma": 0.0}, "sigma and gamma must be positive"),
        ({"attributes": torch.ones(1, 4, 3)}, "attributes must be"),
        ({"triangles": torch.tensor([[0.0, 1, 2]])}, "triangles must be an int64"),
        ({"vertices": torch.ones(3, 3)}, "vertices must be a float"),
    ],
)
def test_bad_input_is_named(change, words):
    given = {
        "vertices": torch.ones(1, 3, 3), "triangles": torch.tensor([[0, 1, 2]]),
        "attributes": torch.ones(1, 3, 3), "size": 4, "sigma": 1.0, "gamma": 1.0,
    }  # fmt: skip
    with pytest.raises(ValueError, match=words):
        soft_rasterise(**{**given, **change})
