"""What notebook 14 measures of the soft rasteriser, on a square of skin that stands for a face."""

import math

import pytest
import torch

from facet.coefficients import FaceRenderer, demonstrations, renderer
from facet.coefficients.demonstrations import gradient_errors, recover_pose, recoveries
from facet.face_model.compact import CompactFace
from facet.networks.layout import Layout
from facet.rendering.soft import SoftImage, soft_rasterise

LAYOUT = Layout(identity=2, expression=3, texture=2)
SIDE, FILL = 120.0, 1 / 180  # mm, and of the crop a millimetre


@pytest.fixture
def square():
    """A renderer of 3 × 3 vertices in the plane z = 0, which the camera's scale is exact for."""
    generator = torch.Generator().manual_seed(3)
    axis = torch.linspace(-SIDE / 2, SIDE / 2, 3)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    mean = torch.stack((x, y, torch.zeros(3, 3)), dim=-1).view(9, 3)
    corners = [(a, a + 1, a + 4, a + 3) for a in (0, 1, 3, 4)]
    triangles = torch.tensor([t for a, b, c, d in corners for t in ((a, b, c), (a, c, d))])
    identity, expression = (8 * torch.randn(k, 9, 3, generator=generator) for k in (2, 3))
    albedo, texture = torch.rand(9, 3, generator=generator), torch.rand(2, 9, 3, generator=generator)
    marks = torch.arange(68) % 9
    face = CompactFace(
        mean, identity, expression, albedo, 0.1 * texture, triangles, triangles, marks, torch.arange(9)
    )
    return FaceRenderer(face, torch.zeros(3), FILL)


def worse(change_vertices=lambda v: v, slope=1.0):
    """The soft rasteriser with the same pictures, but other gradients."""

    def rasterised(vertices, triangles, attributes, size, **options):
        picture = soft_rasterise(change_vertices(vertices), triangles, attributes, size, **options)
        parts = (slope * part + (1 - slope) * part.detach() for part in (picture.colour, picture.alpha))
        return SoftImage(*parts)

    return rasterised


def use(monkeypatch, rasterised):
    for module in (demonstrations, renderer):
        monkeypatch.setattr(module, "soft_rasterise", rasterised)


def test_right_slopes_have_no_error(square):
    rows = gradient_errors(square, LAYOUT, size=16)
    counts = {"positions of the vertices": 27, "colours of the vertices": 27, "identity": 2, "expression": 3}
    counts |= {"texture": 2, "light": 27, "rotation": 3, "translation": 3}
    assert {row["what"]: row["numbers"] for row in rows} == counts
    assert all(0 < row["error"] < 1e-5 for row in rows)


@pytest.mark.parametrize(("slope", "error"), [(1.5, 1 / 3), (0.5, 1.0)])
def test_slopes_that_are_off_by_a_factor_are_found_out(square, monkeypatch, slope, error):
    """|1 − f| of the true slope, over the f of it that is the steepest one told."""
    use(monkeypatch, worse(slope=slope))
    found = [row["error"] for row in gradient_errors(square, LAYOUT, size=16)]
    assert found == pytest.approx([error] * 8, rel=1e-4)


def test_a_gradient_that_lacks_a_part_is_found_along_other_directions(square, monkeypatch):
    """Without the vertices' y: along itself it is right, and only what is colour alone has all of it."""

    def without_y(vertices):
        return torch.stack((vertices[..., 0], vertices[..., 1].detach(), vertices[..., 2]), dim=-1)

    use(monkeypatch, worse(without_y))
    rows = {row["what"]: row["error"] for row in gradient_errors(square, LAYOUT, size=16)}
    right = {name for name, error in rows.items() if error < 1e-5}
    assert right == {"colours of the vertices", "texture", "light"}
    assert rows["positions of the vertices"] > 0.01


@pytest.mark.parametrize("soft", [True, False])
def test_a_true_pose_stays(square, soft):
    numbers = torch.zeros(1, LAYOUT.total)
    numbers[0, -6:] = torch.tensor([0.5, -0.3, 0.4, 0.2, -0.1, 0.1])
    true = LAYOUT.read(numbers)
    rows, pictures = recover_pose(square, true, true, soft=soft, size=16, steps=6)
    assert [row["step"] for row in rows] == list(range(7))
    assert all(row["difference"] == 0 for row in rows)
    assert max(row["degrees"] for row in rows) < 1e-3
    assert max(row["pixels"] for row in rows) < 1e-4
    assert len(pictures) == 4


def test_how_far_off_a_pose_is_and_that_it_is_found(square):
    """A roll of 12°, and 18 mm to the right, a tenth of the crop: its 32 pixels are 31 wide."""
    true = LAYOUT.read(torch.zeros(1, LAYOUT.total))
    radius = SIDE / 2 * 30 * (1 + 2**0.5) / 68  # mean of 30 marks at corners, 30 at edges, 8 in the middle
    rolled = 2 * math.sin(math.radians(6)) * radius * FILL * 31
    for moved, degrees, pixels in (
        ({"angles": torch.tensor([[0.0, 0.0, 12.0]])}, 12.0, rolled),
        ({"translation": torch.tensor([[18.0, 0.0, 0.0]])}, 0.0, 3.1),
    ):
        options = {"soft": True, "size": 32, "steps": 40, "sigma": (6.0, 0.1), "rate": 0.05}
        rows, _ = recover_pose(square, true, true._replace(**moved), **options)
        assert rows[0]["degrees"] == pytest.approx(degrees, abs=1e-3)
        assert rows[0]["pixels"] == pytest.approx(pixels, abs=1e-4)
        assert rows[-1]["pixels"] < 0.2 * rows[0]["pixels"]


def test_recoveries_start_away_and_turned_and_alike_for_both(square, monkeypatch):
    """Always 30 mm away in the image, in any direction; angles of 20° standard deviation."""
    begun = {True: [], False: []}

    def at_once(renderer, true, start, *, soft, **options):
        begun[soft].append(torch.cat((start.translation, start.angles), dim=1))
        return [{"degrees": float(len(begun[True])), "pixels": 4.0}, {"degrees": 1.0, "pixels": 2.0}], []

    monkeypatch.setattr(demonstrations, "recover_pose", at_once)
    rows, _ = recoveries(square, LAYOUT, starts=400, away=30.0, turned=20.0)
    soft, hard = (torch.cat(begun[kind]) for kind in (True, False))
    assert torch.equal(soft, hard)
    torch.testing.assert_close(soft[:, :2].norm(dim=1), torch.full((400,), 30.0))
    assert soft[:, :2].mean(dim=0).abs().max() < 3
    assert soft[:, 2].abs().max() == 0
    torch.testing.assert_close(soft[:, 3:].std(dim=0), torch.full((3,), 20.0), rtol=0.1, atol=0)
    third = {
        "start": 3,
        "degrees before": 3.0,
        "degrees after": 1.0,
        "pixels before": 4.0,
        "pixels after": 2.0,
    }
    assert rows[4:6] == [third | {"rasteriser": kind} for kind in ("soft", "hard")]


def test_a_recovery_ends_at_its_target(square):
    rows, pictures = recoveries(square, LAYOUT, starts=1, away=36.0, turned=0.0)
    for row in rows:
        assert row["degrees before"] == pytest.approx(0, abs=1e-3)
        assert row["pixels before"] == pytest.approx(6.2, abs=1e-3)
    assert rows[0]["pixels after"] < 1
    target = square.picture(LAYOUT.read(torch.zeros(1, LAYOUT.total)), 32, sigma=0.1)
    for kind in ("soft", "hard"):
        assert len(pictures[kind]) == 5
        torch.testing.assert_close(pictures[kind][-1], (target.colour * target.alpha[..., None])[0])
