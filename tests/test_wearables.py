"""Wearables: reading proxies, binding them, anchors in the teeth, what the file holds."""

import json

import numpy as np
import pytest
import torch

from facet import paths
from facet.face_model import binding, fitting, load, proxies, wearables
from facet.face_model.binding import Frame, follow, frames, offsets_of


def slow_follow(points, references, weights, offsets, turns, scale):
    """One vertex after another."""
    places = []
    for reference, weight, offset, turn, factor in zip(
        references, weights, offsets, turns, scale, strict=True
    ):
        corner = points[reference]
        place = sum(w * c for w, c in zip(weight, corner, strict=True))
        if turn:
            along = (corner[1] - corner[0]) / np.linalg.norm(corner[1] - corner[0])
            normal = np.cross(corner[1] - corner[0], corner[2] - corner[0])
            normal /= np.linalg.norm(normal)
            offset = offset[0] * along + offset[1] * np.cross(normal, along) + offset[2] * normal
            factor = factor.mean()
        places.append(place + factor * offset)
    return np.asarray(places)


@pytest.fixture
def bound(rng):
    points = 100 * rng.normal(size=(30, 3))
    references = np.stack([rng.choice(30, 3, replace=False) for _ in range(50)])
    weights = rng.dirichlet((1, 1, 1), 50)
    return points, references, weights, 10 * rng.normal(size=(50, 3)), rng.random(50) < 0.5


def tensors(*arrays):
    return [torch.from_numpy(np.asarray(array)) for array in arrays]


def test_following_is_the_slow_loop(bound, rng):
    scale = rng.uniform(0.8, 1.2, size=(50, 3))
    ours = follow(*tensors(*bound, scale)).numpy()
    np.testing.assert_allclose(ours, slow_follow(*bound, scale), atol=1e-10)


def test_offsets_lead_back(bound, rng):
    points, references, weights, _, turns = bound
    places, scale = 50 * rng.normal(size=(50, 3)), np.array([0.9, 1.1, 1.2])
    offsets = offsets_of(*tensors(places, points, references, weights, turns, scale))
    back = follow(*tensors(points, references, weights), offsets, *tensors(turns, np.tile(scale, (50, 1))))
    np.testing.assert_allclose(back.numpy(), places, atol=1e-9)


def test_what_turns_keeps_its_place_on_a_turned_triangle(bound, rng):
    points, references, weights, offsets, _ = bound
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    ones, all_turn = np.ones((50, 3)), np.ones(50, bool)
    before = follow(*tensors(points, references, weights, offsets, all_turn, ones)).numpy()
    after = follow(*tensors(points @ turn.T + 5, references, weights, offsets, all_turn, ones)).numpy()
    np.testing.assert_allclose(after, before @ turn.T + 5, atol=1e-9)


def test_frames_are_rotations(rng):
    axes = frames(*tensors(*rng.normal(size=(3, 20, 3))))
    torch.testing.assert_close(axes.mT @ axes, torch.eye(3).expand(20, 3, 3).double())
    torch.testing.assert_close(torch.linalg.det(axes), torch.ones(20).double())


def test_scale_is_width_height_depth():
    head = torch.tensor([[[-1.0, 0, 0], [1, 0, 0], [0, -2, 0], [0, 2, 0], [0, 0, -3], [0, 0, 3]]])
    ends = torch.arange(6).view(3, 2, 1)
    none = torch.zeros(0, dtype=torch.int64)
    frame = Frame(ends, torch.tensor([2.0, 4.0, 6.0]), none, torch.zeros(0, 0), none, none)
    factor = torch.tensor([1.1, 0.9, 1.3])
    torch.testing.assert_close(frame.scale(head * factor + 7), factor[None])


def three_js(path):
    """Two quads that share an edge, with a seam of the texture along it."""
    faces = [11, 0, 1, 2, 3, 0, 0, 1, 2, 3, 11, 1, 4, 5, 2, 0, 4, 5, 6, 7]
    uv = [0, 0, 0.5, 0, 0.5, 1, 0, 1, 0.5, 0.25, 1, 0.25, 1, 1, 0.75, 1]
    data = {
        "faces": faces,
        "uvs": [uv],
        "ref_vIdxs": [[k, k + 1, k + 2] for k in range(6)],
        "weights": [[0.5, 0.25, 0.25]] * 6,
        "offsets": [[0.0, 0.01 * k, 0.0] for k in range(6)],
    }
    path.write_text(json.dumps(data))
    return data


def test_a_proxy_is_split_at_seams_and_placed_by_its_formula(tmp_path, rng):
    data = three_js(tmp_path / "a.json")
    proxy = proxies.read(tmp_path / "a.json")
    assert proxy.triangles.shape == (4, 3)
    assert len(proxy.uv) == 8  # the edge's two vertices stand twice
    assert proxy.place.max() == 5
    assert proxy.uv[:, 1].max() == 1
    base = rng.normal(size=(8, 3))
    places = proxy.on(base)
    for vertex in range(6):
        wanted = sum(0.25 * base[vertex + k] for k in (0, 0, 1, 2)) + 100 * np.array(data["offsets"][vertex])
        np.testing.assert_allclose(
            places[proxy.place == vertex], np.tile(wanted, (2, 1))[: (proxy.place == vertex).sum()]
        )
    first = proxy.uv[(proxy.place == 0)]
    np.testing.assert_allclose(first, [[0.0, 1.0]])  # v is turned over: three.js has it up


def test_part_of_a_proxy_keeps_its_triangles(tmp_path, rng):
    three_js(tmp_path / "a.json")
    proxy, base = proxies.read(tmp_path / "a.json"), rng.normal(size=(8, 3))
    some = proxy.part(np.array([False, True, False, True]))
    np.testing.assert_allclose(some.on(base)[some.triangles], proxy.on(base)[proxy.triangles[[1, 3]]])
    assert len(some.uv) == len(np.unique(proxy.triangles[[1, 3]]))


def test_other_faces_are_refused(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"faces": [10, 0, 1, 2, 0, 0, 1, 2, 0, 0]}))
    with pytest.raises(ValueError, match=r"a\.json: expected quads"):
        proxies.read(tmp_path / "a.json")


def test_grey_has_mean_one_and_the_wanted_spread(rng):
    image = rng.uniform(0.05, 0.5, size=(64, 64, 4))
    grey = proxies.even_grey(image, 0.3, image[..., 3])
    assert (grey * image[..., 3]).sum() / image[..., 3].sum() == pytest.approx(1)
    mean = (np.log(grey) * image[..., 3]).sum() / image[..., 3].sum()
    spread = np.sqrt(((np.log(grey) - mean) ** 2 * image[..., 3]).sum() / image[..., 3].sum())
    assert spread == pytest.approx(0.3, abs=0.02)


def test_strands_run_along_the_stripes():
    row = 1 + 0.5 * np.sin(np.arange(64) * 1.3)
    upright = proxies.strand_direction(np.tile(row, (64, 1)))[16:48, 16:48]
    assert np.abs(upright[..., 1]).min() > 0.95
    assert np.abs(proxies.strand_direction(np.tile(row, (64, 1)).T)[16:48, 16:48, 0]).min() > 0.95


def test_specks_go_and_islands_stay():
    alpha = np.zeros((32, 32))
    alpha[2:4, 2:4] = alpha[10:20, 10:20] = 1
    kept = proxies.without_specks(alpha)
    assert kept[2:4, 2:4].max() == 0
    assert kept[10:20, 10:20].min() == 1


def test_the_nearest_point_is_trimeshs(rng):
    import trimesh

    ball = trimesh.creation.icosphere(2, 50.0)
    points = 40 * rng.normal(size=(60, 3))
    corners, weights = fitting.nearest(points, ball.vertices, ball.faces)
    found = (ball.vertices[corners] * weights[..., None]).sum(axis=1)
    distances = np.linalg.norm(ball.triangles.reshape(-1, 3)[:, None] - points, axis=2).min(axis=0)
    assert (np.linalg.norm(found - points, axis=1) <= distances + 1e-9).all()
    flat = np.repeat(ball.triangles[None], 60, axis=0).reshape(-1, 3, 3)
    exact = trimesh.triangles.closest_point(flat, np.repeat(points, len(ball.faces), axis=0))
    exact = np.linalg.norm(exact.reshape(60, -1, 3) - points[:, None], axis=2).min(axis=1)
    np.testing.assert_allclose(np.linalg.norm(found - points, axis=1), exact, atol=1e-6)


def test_without_assets_the_file_is_empty(tmp_path, monkeypatch):
    monkeypatch.setattr(proxies, "folder", lambda: None)
    monkeypatch.setattr(wearables, "load", lambda: type("Model", (), {"coarse_mean": torch.zeros(7, 3)}))
    monkeypatch.setattr(paths, "CACHE", tmp_path)
    assert not wearables.current()
    wearables.build(lambda *_, **__: None)
    assert wearables.current()
    monkeypatch.setattr(proxies, "folder", lambda: tmp_path)  # npm came later
    assert not wearables.current()


def test_a_machine_without_anny_is_told_what_to_carry(tmp_path, monkeypatch):
    def fail():
        raise ImportError("No module named 'anny'")

    monkeypatch.setattr(paths, "CACHE", tmp_path)
    monkeypatch.setattr(wearables, "build", fail)
    with pytest.raises(ValueError, match=r"wearables\.safetensors is missing .*anny.*carry"):
        wearables.ensure()


@pytest.mark.assets
def test_the_file_is_small_and_whole():
    from safetensors import safe_open

    path = wearables.ensure()
    assert path.stat().st_size <= 4 * 2**20
    with safe_open(path, "pt") as handle:
        stored = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118
    if not len(stored["shade"]):
        pytest.skip("npm was absent: nothing to wear")
    vertices, triangles = stored["vertices_of"], stored["triangles_of"]
    assert vertices.sum() == len(stored["uv"])
    assert triangles.sum() == len(stored["triangles"])
    largest = [part.max() for part in stored["triangles"].split(triangles.tolist())]
    assert [int(k) + 1 for k in largest] == vertices.tolist()
    assert stored["references"].max() < stored["shade"].shape[1] + len(stored["anchor_weights"])


@pytest.fixture(scope="module")
def mannequin():
    pytest.importorskip("anny")
    if proxies.folder() is None:
        pytest.skip("npm was absent")
    from facet.face_model.mannequin import Mannequin

    return Mannequin.load(load())


@pytest.mark.assets
@pytest.mark.slow
@pytest.mark.parametrize(
    ("asset", "skull"), [("hair/Moustache", False), ("hair/Full_beard", False), ("hair/short01", True)]
)
def test_binding_is_makehumans_formula_on_the_reference_head(mannequin, asset, skull):
    name = asset.split("/")[1]
    proxy = proxies.read(proxies.folder() / asset / f"{name}.json")
    fitted = fitting.bind(proxy, mannequin, skull=skull)
    factor = mannequin.frame.scale(torch.from_numpy(mannequin.template)[None])[0].numpy()
    apart = []
    for k in range(0, len(proxy.uv), 7):
        corners = mannequin.row[proxy.references[k]]
        wanted = proxy.offsets[k] / factor
        for corner, weight in zip(corners, proxy.weights[k], strict=True):
            wanted = wanted + weight * mannequin.reference[corner]
        apart.append(np.linalg.norm(fitted.places[k] - wanted))
    apart = np.asarray(apart)
    assert np.median(apart) < 1e-6
    assert (apart < 1e-6).mean() > 0.95
    assert apart.max() < 6


@pytest.mark.assets
@pytest.mark.slow
def test_anchors_move_as_the_teeth(mannequin):
    frame, model = mannequin.frame, mannequin.model
    count = len(mannequin.template)
    template = torch.from_numpy(mannequin.template)[None]
    rest = frame.points(template)[0, count:]
    moved = {
        name: frame.points(template + shape.double())[0, count:] - rest
        for name, shape in zip(model.expression_names, model.expression, strict=True)
    }
    jaw = moved["jawOpen"][:3]
    assert jaw[0, 1] < -20  # the front of the lower teeth goes down …
    assert abs(float((rest[0] - rest[1]).norm() - (rest[0] + jaw[0] - rest[1] - jaw[1]).norm())) < 1.5
    for name, shift in moved.items():
        assert shift[3:].norm(dim=1).max() < 0.6, name  # … the upper ones stay
        if not name.startswith("jaw"):
            assert shift[:3].norm(dim=1).max() < 0.6, name


@pytest.mark.assets
@pytest.mark.slow
def test_the_frame_fits_the_reference(mannequin):
    reference = torch.from_numpy(mannequin.reference)[None]
    torch.testing.assert_close(mannequin.frame.scale(reference), torch.ones(1, 3).double())
    assert 0 < float(mannequin.frame.gap(reference)) < 1
    partner = mannequin.frame.mirror
    assert (partner[partner] == torch.arange(len(partner))).all()
    assert isinstance(mannequin.frame, binding.Frame)
