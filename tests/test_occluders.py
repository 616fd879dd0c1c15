"""Occluders: where they lie on a face, the distances and the light they are painted by, and tables."""

import math
from dataclasses import fields

import numpy as np
import pytest
import torch

from facet.landmarks68 import FLIP
from facet.synthetic import occluders
from facet.synthetic.occluder_shapes import FAR, Face
from facet.synthetic.occluders import KINDS, Occluder, draw_occluders, paint_occluders

SIZE = 128


def frontal(count: int = 1, size: int = SIZE) -> torch.Tensor:
    """(count, 68, 2) landmarks of a plain frontal face that fills a picture as crops do."""
    points = torch.zeros(68, 2)
    turn = torch.linspace(math.pi, 0, 17)
    points[:17] = torch.stack([0.37 * turn.cos(), 0.05 + 0.38 * turn.sin()], 1)
    for k in range(5):
        points[17 + k] = torch.tensor([-0.3 + 0.055 * k, -0.17 - 0.015 * k * (4 - k)])
        points[31 + k] = torch.tensor([-0.06 + 0.03 * k, 0.12])
    points[27:31] = torch.tensor([[0.0, -0.1 + 0.06 * k] for k in range(4)])
    eye = torch.tensor([(-0.24, 0), (-0.2, -0.03), (-0.14, -0.03), (-0.1, 0), (-0.14, 0.02), (-0.2, 0.02)])
    points[36:42] = eye + torch.tensor([0.0, -0.08])
    turn = torch.linspace(math.pi, -math.pi, 13)[:12]
    points[48:60] = torch.stack([0.13 * turn.cos(), 0.24 - 0.05 * turn.sin()], 1)
    turn = torch.linspace(math.pi, -math.pi, 9)[:8]
    points[60:68] = torch.stack([0.09 * turn.cos(), 0.24 - 0.01 * turn.sin()], 1)
    mirrored = points[list(FLIP)] * torch.tensor([-1.0, 1.0])
    points[22:27], points[42:48] = mirrored[22:27], mirrored[42:48]
    return (size * (points + 0.5)).repeat(count, 1, 1)


def of_kind(name: str, count: int = 12, seed: int = 0, landmarks: torch.Tensor | None = None) -> Occluder:
    """`count` occluders of one kind."""
    landmarks = frontal(1) if landmarks is None else landmarks
    generator, found = torch.Generator().manual_seed(seed), []
    while sum(len(t) for t in found) < count:
        table = draw_occluders(generator, landmarks.expand(200, -1, -1), SIZE, share=1.0)
        found.append(table.rows(table.kind == KINDS.index(name)))
    return Occluder(
        **{f.name: torch.cat([getattr(t, f.name) for t in found])[:count] for f in fields(Occluder)}
    )


def grey(count: int, level: float = 0.3) -> torch.Tensor:
    return torch.full((count, 3, SIZE, SIZE), level)


def covered(alpha: torch.Tensor, indices, landmarks: torch.Tensor | None = None) -> float:
    """Mean alpha at landmarks of the plain face."""
    points = (frontal(1) if landmarks is None else landmarks)[0, list(indices)].round().long()
    return float(alpha[:, 0, points[:, 1].clamp(0, SIZE - 1), points[:, 0].clamp(0, SIZE - 1)].mean())


def test_about_an_eighth_of_the_pictures_and_every_kind():
    table = draw_occluders(torch.Generator().manual_seed(0), frontal(6000), SIZE)
    assert float((table.kind > 0).float().mean()) == pytest.approx(occluders.SHARE, abs=0.015)
    counts = table.kind.bincount(minlength=len(KINDS))[1:]
    assert len(counts) == len(KINDS) - 1
    shares = counts / counts.sum()
    assert torch.allclose(shares, torch.tensor(occluders.WEIGHTS) / sum(occluders.WEIGHTS), atol=0.05)


def test_pictures_without_an_occluder_stay_as_they_are():
    pictures = torch.rand(4, 3, 40, 50, generator=torch.Generator().manual_seed(1))
    table = draw_occluders(torch.Generator().manual_seed(0), frontal(4), SIZE, share=0.0)
    out, alpha = paint_occluders(pictures, table)
    assert torch.equal(out, pictures)
    assert alpha.shape == (4, 1, 40, 50)
    assert not alpha.any()


@pytest.mark.parametrize("kind", KINDS[1:])
def test_every_kind_is_painted_softly_and_inside(kind, device):
    table = of_kind(kind).to(device)
    pictures = torch.rand(12, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1)).to(device)
    kept = pictures.clone()
    out, alpha = paint_occluders(pictures, table)
    assert torch.equal(pictures, kept)
    assert out.shape == pictures.shape
    assert alpha.shape == (12, 1, SIZE, SIZE)
    assert torch.isfinite(out).all()
    assert float(out.min()) >= 0.0
    assert float(alpha.min()) >= 0.0
    assert float(alpha.max()) <= 1.0
    share = alpha.mean(dim=(1, 2, 3))
    assert 0.002 < float(share.median()) < 0.6
    edge = (alpha > 0.02) & (alpha < 0.98)
    assert edge.any()
    untouched = (alpha == 0).expand_as(out)
    assert float((out - kept)[untouched].max()) <= 1e-6  # beside it, a shadow at most


def test_where_things_lie():
    eyes, mouth, chin = range(36, 48), range(48, 60), (7, 8, 9)

    def on(kind, indices):
        return covered(paint_occluders(grey(24), of_kind(kind, 24))[1], indices)

    assert on("mask", mouth) > 0.95
    assert on("mask", chin) > 0.8
    assert on("mask", eyes) < 0.05
    assert on("scarf", chin) > 0.5
    assert on("scarf", eyes) < 0.05
    assert on("cup", (57, 58, 56)) + on("cup", chin) > 0.5
    assert 0.02 < on("hand", eyes) < 0.5
    assert 0.02 < on("hand", mouth) < 0.6
    assert 0.02 < on("phone", range(68)) < 0.6
    assert on("hair", range(68)) < 0.2
    assert on("microphone", eyes) == 0.0
    assert on("shoulder", eyes) < 0.05


def test_things_follow_the_face():
    shift = torch.tensor([6.0, -9.0])
    for kind in KINDS[1:9]:  # a shoulder comes from the picture's border
        here, there = of_kind(kind), of_kind(kind, landmarks=frontal(1) + shift)
        if kind == "pole":
            assert torch.allclose(there.capsules[:, 0, 0], here.capsules[:, 0, 0] + 6.0, atol=1e-3)
            continue
        used = (here.capsules[:, :, 2] > 0)[..., None]
        for k in (0, 3):
            moved = torch.where(used, there.capsules[:, :, k : k + 2] - here.capsules[:, :, k : k + 2], shift)
            assert torch.allclose(moved, shift.expand_as(moved), atol=1e-2)
        real = here.planes[..., 2].abs() < FAR
        reach = (there.planes[..., 2] - here.planes[..., 2] - here.planes[..., :2] @ shift)[real]
        assert float(reach.abs().max() if len(reach) else 0.0) < 1e-2


def test_a_turned_head_shows_the_cheek_away_from_the_nose():
    landmarks = frontal(2)
    landmarks[0, 27:36, 0] += 0.3 * SIZE  # the nose goes to the image's right: the subject's right is seen
    landmarks[1, 27:36, 0] -= 0.3 * SIZE
    landmarks[:, 27] = frontal(1)[0, 27]
    face = Face(torch.Generator(), landmarks, SIZE)
    assert face.side.tolist() == [-1.0, 1.0]
    assert torch.allclose(face.at((36,), side=True), landmarks[[0, 1], [36, 45]])
    straps = of_kind("mask", 6, landmarks=landmarks[:1]).capsules[:, :4, 2]
    assert bool((straps[:, :2] > 0).all())
    assert not straps[:, 2:].any()


def slow_capsule(x: float, y: float, capsule: list[float]) -> float:
    x0, y0, r0, x1, y1, r1 = capsule[:6]
    length = (x1 - x0) ** 2 + (y1 - y0) ** 2
    t = min(max(((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / length, 0.0), 1.0)
    return math.hypot(x - x0 - t * (x1 - x0), y - y0 - t * (y1 - y0)) - (r0 + t * (r1 - r0))


def axes(size: int) -> tuple[torch.Tensor, torch.Tensor]:
    line = torch.arange(float(size))
    return line[None, None, :], line[None, :, None]


def test_distances_of_capsules():
    table = of_kind("hand", 2)
    distance, height, nails = occluders._capsules(table, *axes(SIZE))
    for row in (0, 1):
        parts = [c for c in table.capsules[row].tolist() if c[2] > 0]
        assert len(parts) == 20
        for x, y in ((10, 90), (64, 64), (100, 31), (45, 120)):
            expected = min(slow_capsule(x, y, c) for c in parts)
            assert float(distance[row, y, x]) == pytest.approx(expected, abs=1e-3)
    assert bool((height[distance < -1] > 0).all())
    assert 0 < float((nails > 0.5).float().mean()) < 0.02


def test_distance_of_a_sheet():
    face = Face(torch.Generator(), frontal(1), SIZE)
    centre, turn = torch.tensor([[60.0, 50.0]]), 0.4
    axis = torch.tensor([[math.sin(turn), math.cos(turn)]])
    table = of_kind("phone", 1)
    table.planes, table.round = face.box(centre, axis, 3.0, 5.0), torch.tensor([1.0])
    distance, _ = occluders._sheet(table, *axes(SIZE), torch.zeros(1, SIZE, SIZE))
    cm = float(face.cm[0])
    y, x = np.mgrid[:SIZE, :SIZE]
    along = (x - 60) * math.sin(turn) + (y - 50) * math.cos(turn)
    across = (x - 60) * math.cos(turn) - (y - 50) * math.sin(turn)
    expected = np.maximum(np.abs(across) - 3 * cm, np.abs(along) - 5 * cm)
    corner = np.abs(np.abs(across) - 3 * cm - np.abs(along) + 5 * cm) < 6
    error = np.abs(distance[0].numpy() - expected)[(expected > -8) & (expected < 20) & ~corner]
    assert error.max() < 0.1
    assert np.abs(distance[0].numpy() - expected)[corner].max() < 0.75  # log 2 of a pixel, and a little


def test_coverage_is_the_area():
    table = of_kind("pole", 1)
    table.capsules[:] = 0
    table.capsules[0, 0, :6] = torch.tensor([60.3, 55.8, 17.0, 60.3, 55.8, 17.0])
    for soft in (1.0, 5.0):
        table.soft[:] = soft
        _, alpha = paint_occluders(grey(1), table)
        assert float(alpha.sum()) == pytest.approx(math.pi * 17**2, rel=0.01)
        y, x = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
        assert float((alpha[0, 0] * x).sum() / alpha.sum()) == pytest.approx(60.3, abs=0.05)
        assert float((alpha[0, 0] * y).sum() / alpha.sum()) == pytest.approx(55.8, abs=0.05)


def test_a_hand_has_the_faces_colour():
    table = of_kind("hand", 12)
    face = torch.tensor([0.5, 0.2, 0.1])[:, None, None]
    out, alpha = paint_occluders(face * torch.ones(12, 3, SIZE, SIZE), table)
    skin = alpha * (1 - occluders._patch(table, *axes(SIZE))) > 0.99
    distance = occluders._sheet(table, *axes(SIZE), torch.zeros(12, SIZE, SIZE))[0]
    skin = (skin & (distance[:, None] > 3)).expand_as(out)
    colours = [float(out[:, k][skin[:, k]].median()) for k in range(3)]
    assert colours[0] / colours[1] == pytest.approx(2.5, rel=0.25)
    assert colours[1] / colours[2] == pytest.approx(2.0, rel=0.25)
    dark, _ = paint_occluders(0.2 * face * torch.ones(12, 3, SIZE, SIZE), table)
    assert float(dark[skin].mean() / out[skin].mean()) == pytest.approx(0.2, rel=0.05)


def test_light_is_found_on_the_face():
    ramp = torch.linspace(1.0, 0.2, SIZE)
    left = (0.4 * ramp).expand(1, 3, SIZE, SIZE)
    anchors = of_kind("hand", 1).anchors
    _, level, toward = occluders._light(left, anchors)
    _, _, other = occluders._light(left.flip(3), anchors)
    assert float(toward[0, 0]) < -0.1
    assert float(other[0, 0]) > 0.1
    assert float(toward[0, 2]) > 0.3
    assert float(toward.norm()) == pytest.approx(1.0)
    _, brighter, _ = occluders._light(2 * left, anchors)
    assert float(brighter) == pytest.approx(2 * float(level), rel=1e-4)


def test_a_contact_shadow_stays_on_the_face():
    table = of_kind("hand", 8)
    out, alpha = paint_occluders(grey(8), table)
    y, x = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    cx, cy, rx, ry = table.face[0].tolist()
    assert (cx - rx, cx + rx) == pytest.approx((64 - 0.62 * 0.74 * SIZE, 64 + 0.62 * 0.74 * SIZE), abs=0.1)
    outside = ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 > 1.3
    bare = (alpha == 0)[:, 0]
    assert bool((out[:, 0][bare & ~outside] < 0.27).any())
    assert torch.allclose(out[:, 0][bare & outside], torch.tensor(0.3))


def test_strands_take_a_given_colour():
    count = 400
    hair = torch.tensor([0.4, 0.2, 0.05]).repeat(count, 1)
    table = draw_occluders(torch.Generator().manual_seed(0), frontal(count), SIZE, share=1.0, hair=hair)
    strands = table.kind == KINDS.index("hair")
    assert torch.allclose(table.limb[strands], hair[strands])
    plain = draw_occluders(torch.Generator().manual_seed(0), frontal(count), SIZE, share=1.0)
    assert torch.equal(plain.limb[~strands], table.limb[~strands])


def test_pictures_depend_on_their_row_alone():
    table = draw_occluders(torch.Generator().manual_seed(3), frontal(12), SIZE, share=0.8)
    torch.manual_seed(1)  # the global state has no say
    again = draw_occluders(torch.Generator().manual_seed(3), frontal(12), SIZE, share=0.8)
    stored = Occluder.from_state(table.state("occluder"), "occluder")
    for field in fields(Occluder):
        assert torch.equal(getattr(table, field.name), getattr(again, field.name))
        assert torch.equal(getattr(table, field.name), getattr(stored, field.name))
    pictures = torch.rand(12, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(2))
    out, alpha = paint_occluders(pictures, table)
    for k in range(12):
        one, its = paint_occluders(pictures[k : k + 1], table.rows(slice(k, k + 1)))
        assert torch.equal(one[0], out[k])
        assert torch.equal(its[0], alpha[k])
    some = (table.kind > 0).nonzero()[:, 0]
    together, their = occluders._paint(pictures[some], table.rows(some))  # all at once, as on a GPU
    assert torch.allclose(together, out[some], atol=1e-4)
    assert torch.allclose(their, alpha[some], atol=1e-4)


def test_nothing_is_made_on_another_device_than_the_inputs():
    table = draw_occluders(torch.Generator().manual_seed(3), frontal(40), SIZE, share=1.0)
    expected, _ = paint_occluders(grey(40), table)
    pictures = grey(40)
    with torch.device("meta"):  # where a tensor lands that is made without a word on where
        assert torch.equal(paint_occluders(pictures, table)[0], expected)


def test_no_pictures():
    table = draw_occluders(torch.Generator(), frontal(0), SIZE)
    out, alpha = paint_occluders(grey(0), table)
    assert len(table) == len(out) == len(alpha) == 0
