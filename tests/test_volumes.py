"""From volumes to faces: iso-surface, bodies, correspondences, volumetric networks, `facet.reconstruct`."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import trimesh
from scipy.spatial.transform import Rotation
from torch import nn

import facet
from facet import profiles, trainings
from facet.evaluation.protocol import Surface
from facet.evaluation.volumetric import closest_points, correspondences, evaluate_surfaces, face_region
from facet.face_model import load
from facet.geometry import model_to_image, rotation_matrix, transform_points
from facet.heatmaps import gaussian_maps
from facet.networks import build, macs, parameters
from facet.networks.vrn import default_volume, guide_sigma
from facet.reconstruction import landmarks as finder
from facet.reconstruction import pipeline, volumes, weights
from facet.reconstruction.bodies import UNLABELLED, components, largest_body, merge_labels, sizes
from facet.reconstruction.isosurface import isosurface
from facet.rendering.voxels import Lattice, pack, unpack
from facet.synthetic.solids import solids_of
from facet.training import common, recipes
from facet.training.volume_losses import VolumeLoss

GRID = Lattice(64, (32, 32, 32))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def ball(side, middle, radius):
    k, i, j = np.meshgrid(*3 * [np.arange(side)], indexing="ij")
    return np.sqrt((j - middle[0]) ** 2 + (i - middle[1]) ** 2 + (k - middle[2]) ** 2) < radius


@pytest.fixture(scope="module")
def model():
    return load()


def face_in_crop(model, *, yaw=0.0, seed=0):
    """(V, 3) a random person in a crop of 64 pixels, z from the rim."""
    alpha = torch.randn(1, model.identity_modes, generator=generator(seed))
    matrix = model_to_image(yaw, 0.0, 0.0, 64 / 220, torch.full((1, 2), 31.5))
    placed = transform_points(matrix, model.blend(alpha))[0]
    placed[:, 2] -= placed[model.rim, 2].min()
    return placed


# ---- iso-surface


def test_surface_of_a_ball_is_closed_outward_and_in_place():
    volume = np.zeros((20, 24, 24), dtype=np.float32)
    k, i, j = np.meshgrid(np.arange(20), np.arange(24), np.arange(24), indexing="ij")
    far = np.sqrt((j - 9) ** 2 + (i - 14) ** 2 + (k - 7) ** 2)
    volume = 1 / (1 + np.exp(far - 5))
    vertices, triangles = isosurface(volume)
    assert np.abs(vertices.mean(axis=0) - [9, 14, 7]).max() < 0.02  # x, y, z
    assert np.abs(np.linalg.norm(vertices - [9, 14, 7], axis=1) - 5).max() < 0.05
    mesh = trimesh.Trimesh(vertices * [1, -1, 1], triangles, process=False)
    assert mesh.is_watertight
    assert mesh.volume == pytest.approx(4 / 3 * np.pi * 125, rel=0.03)  # positive: outward in the model frame


def test_a_face_that_leaves_the_volume_is_closed_by_the_padding():
    volume = np.ones((8, 8, 8), dtype=bool)
    volume[:, :, 5:] = False
    vertices, triangles = isosurface(volume)
    assert trimesh.Trimesh(vertices, triangles, process=False).is_watertight
    assert vertices.min(axis=0).tolist() == [-0.5, -0.5, -0.5]
    assert vertices.max(axis=0).tolist() == [4.5, 7.5, 7.5]


def test_smoothing_keeps_the_place():
    vertices, _ = isosurface(ball(24, (11, 12, 10), 6), smoothing=1.0)
    assert np.abs(vertices.mean(axis=0) - [11, 12, 10]).max() < 0.02


def test_an_empty_volume_is_named():
    with pytest.raises(ValueError, match=r"the volume is empty: none of its values reaches 0\.5"):
        isosurface(np.zeros((4, 4, 4)))


# ---- bodies


def several():
    """Three balls in one volume, as a mesh; the largest is the second."""
    volume = ball(40, (8, 8, 8), 4) | ball(40, (24, 26, 20), 9) | ball(40, (34, 6, 30), 3)
    return isosurface(volume)


def scattered(seed):
    """Random triangles over 60 vertices, in any order: what merging labels has trouble with."""
    return np.random.default_rng(seed).integers(0, 60, (25, 3))


@pytest.mark.parametrize("seed", range(30))
def test_merged_labels_are_the_connected_components(seed):
    triangles = scattered(seed)
    labels = merge_labels(triangles, 60)
    assert np.array_equal(labels, components(triangles, 60))
    for a, b, c in triangles:
        assert labels[a] == labels[b] == labels[c]
    assert set(np.flatnonzero(labels == UNLABELLED)) == set(range(60)) - set(triangles.ravel())


def test_only_the_largest_body_stays():
    vertices, triangles = several()
    labels = merge_labels(triangles, len(vertices))
    assert len(sizes(labels)) == 3
    kept, faces = largest_body(vertices, triangles, labels)
    mesh = trimesh.Trimesh(kept, faces, process=False)
    assert mesh.is_watertight
    assert mesh.body_count == 1
    assert np.abs(kept.mean(axis=0) - [24, 26, 20]).max() < 0.1
    again = largest_body(vertices, triangles)
    assert np.array_equal(again[0], kept)
    assert np.array_equal(again[1], faces)


def test_watching_shows_labels_spread_and_merge():
    vertices, triangles = several()
    order = np.random.default_rng(0).permutation(len(triangles))
    seen = []
    merge_labels(triangles[order], len(vertices), watch=lambda done, labels: seen.append((done, labels)))
    unlabelled = [int((labels == UNLABELLED).sum()) for _, labels in seen]
    counts = [len(np.unique(labels[labels != UNLABELLED])) for _, labels in seen]
    assert seen[-1][0] == len(triangles)
    assert unlabelled == sorted(unlabelled, reverse=True)
    assert unlabelled[-1] == 0
    assert max(counts) > 20
    assert counts[-1] == 3


# ---- correspondences and their error


def sphere(radius, at):
    mesh = trimesh.creation.icosphere(subdivisions=3, radius=radius)
    return torch.tensor(np.asarray(mesh.vertices)).double() + torch.tensor(at), torch.tensor(
        mesh.faces
    ).long()


def test_closest_points_of_a_sphere():
    vertices, triangles = sphere(10.0, (3.0, -2.0, 1.0))
    points = 6 * torch.randn(50, 3, generator=generator(), dtype=torch.float64)
    found = closest_points(points, vertices, triangles)
    centre = vertices.mean(dim=0)
    expected = centre + 10 * nn.functional.normalize(points - centre, dim=1)
    assert (found - expected).norm(dim=1).max() < 0.5  # the mesh has flat triangles
    query = trimesh.Trimesh(vertices.numpy(), triangles.numpy(), process=False)
    near = np.linalg.norm(query.triangles_center[None] - points.numpy()[:, None], axis=2).min(axis=1)
    assert ((found - points).norm(dim=1).numpy() <= near + 1e-4).all()


def test_a_moved_face_has_the_motion_as_its_error(model):
    """Shifted by 3 pixels the error is 3 as placed, and nothing once aligned; the back is no matter."""
    from facet.face_model.shell import close

    truth = face_in_crop(model)
    shell = close(model.triangles, len(model.mean))
    closed = shell.closed(truth[None])[0]
    region = face_region(model)
    shift = torch.tensor([2.0, -1.0, 2.0])
    placed, aligned = correspondences(truth[region], closed + shift, shell.triangles)
    error = (placed - truth[region].double()).norm(dim=1)
    assert error.mean().item() == pytest.approx(3.0, abs=0.15)
    assert (aligned - truth[region].double()).norm(dim=1).mean() < 0.15


def test_region_is_the_papers_size_and_a_face(model):
    region = face_region(model)
    assert len(region) == len(region.unique()) == 19_000
    assert (model.weight[region] > 0).all()
    low, high = model.mean[region].amin(dim=0), model.mean[region].amax(dim=0)
    marks = model.mean[model.landmarks][[8, *range(17, 68)]]  # chin, brows, eyes, nose, mouth
    assert (marks[:, :2] > low[:2] - 2).all()
    assert (marks[:, :2] < high[:2] + 2).all()
    assert torch.equal(region, face_region(model))


def test_error_of_the_voxels_alone(model):
    """What 32 voxels a side cost: about half a voxel, and twice that of 64; tidy rows as everywhere."""
    truth = face_in_crop(model, yaw=40.0)
    sample = {
        "images": torch.zeros(3, 64, 64),
        "vertices": truth,
        "scale": 64 / 220,
        "yaw": 40.0,
        "pitch": 0.0,
    }
    sample |= {"identity": 7}
    means = []
    for volume in ((32, 32, 32), (64, 64, 64)):
        grid = Lattice(64, volume)

        solid = volumes.solid_of(solids_of(model, truth[None], grid)[0], grid)
        marks = truth[model.landmarks]
        surface = Surface(torch.from_numpy(solid.vertices), torch.from_numpy(solid.triangles), marks)
        frame = evaluate_surfaces([surface], [sample], model, name="voxels", test_set="one")
        value = frame.set_index(["metric", "normaliser"])["value"]
        eyes = (truth[model.landmarks[36]] - truth[model.landmarks[45]]).norm()
        pixels = value["correspondence", "interocular"] / 100 * float(eyes)
        assert pixels == pytest.approx(value["correspondence", "mm"] * 64 / 220, rel=1e-5)
        assert pixels < 0.6 * grid.pitch
        assert value["landmarks", "landmark-box"] == 0
        assert value["found", "%"] == 100
        means.append(pixels)
    assert means[1] < 0.7 * means[0]
    assert set(frame["identity"]) == {7}


def test_what_is_not_found_has_no_error_but_is_counted(model):
    """Of three photos one gave no volume: two errors, and a share of two thirds beside their mean."""
    truth = face_in_crop(model)
    about = {"vertices": truth, "scale": 0.3, "yaw": 0.0, "pitch": 0.0, "identity": 1}
    surface = Surface(truth, model.triangles, truth[model.landmarks, :2])
    frame = evaluate_surfaces([surface, None, surface], 3 * [about], model, name="vrn", test_set="three")
    counts = frame.groupby(["metric", "normaliser"])["value"].agg(["mean", "size"])
    assert counts.loc[("found", "%")].tolist() == [pytest.approx(200 / 3), 3]
    others = counts.drop(index=("found", "%"))
    assert (others["size"] == 2).all()
    assert {metric for metric, _ in others.index} == {"correspondence", "correspondence-aligned", "landmarks"}


# ---- networks


@pytest.mark.parametrize(
    ("system", "count"), [("vrn", 6_946_376), ("vrn-guided", 7_159_624), ("vrn-multitask", 10_029_708)]
)
def test_papers_sizes(system, count):
    network = build(system)
    assert parameters(network) == count
    assert default_volume(256) == network.volume == (192, 192, 200)


@pytest.mark.parametrize("system", ["vrn", "vrn-guided", "vrn-multitask"])
def test_volume_comes_out_with_its_slices_as_channels(system):
    network = build(system, image_size=64, width=0.1, volume=(32, 32, 40)).eval()
    assert network.output == "volume"
    with torch.no_grad():
        output = network(torch.rand(2, network.inputs, 64, 64, generator=generator()))
    scores = network.volume_scores(output)
    assert scores.shape == (2, 40, 32, 32)
    if system == "vrn-multitask":
        assert network.landmark_scores(output).shape == (2, 68, 16, 16)
    with pytest.raises(ValueError, match="volume must be"):
        build(system, image_size=64, width=0.1, volume=(40, 40, 40))


def test_guiding_peaks_are_seen_wherever_they_lie_among_the_pixels():
    """At 64 pixels too; the widths at 128 and 256 pixels are the paper's in proportion."""
    assert guide_sigma(128) == 128 / 192
    assert guide_sigma(256) == 256 / 192
    assert guide_sigma(128, 3.0) == 2.0
    places = torch.stack([torch.linspace(30.0, 31.0, 9)] * 2, dim=1)[None]
    for size in (64, 128, 256):
        maps = gaussian_maps(places, size, size, sigma=guide_sigma(size))
        assert maps.amax(dim=(2, 3)).min() > 0.5, size


def test_networks_without_weights_are_not_trained_where_that_is_forbidden():
    profile = profiles.load("smoke").with_(learning_rate=0.123)  # which nobody has trained with
    with pytest.raises(ValueError, match="no weights for landmarks-smoke, and train is never"):
        trainings.shown(("landmarks",), profile, train="never", device="cpu")


def test_small_networks_fit_their_limit():
    small = profiles.load("small")
    for system in ("vrn", "vrn-guided", "vrn-multitask"):
        made = recipes.recipe(system, small)
        network = build(system, image_size=made.image_size, width=made.width, **made.options)
        assert 2 * parameters(network, moving_statistics=True) < 2**20
        assert macs(network) < 500e6


def test_compared_trainings_differ_in_the_network_alone():
    small = profiles.load("small")
    made = {s: recipes.recipe(s, small).configuration() for s in ("vrn", "vrn-multitask", "vrn-guided")}
    for system, configuration in made.items():
        plain = made["vrn"]
        differing = {k for k in plain if configuration[k] != plain[k]}
        assert differing <= {"system", "options", "data"}, system
        data = {k for k in configuration["data"] if configuration["data"][k] != plain["data"][k]}
        assert data <= {"loss"}
    assert recipes.recipe("vrn-guided", small).options["sigma"] == pytest.approx(128 / 192)
    wide = recipes.recipe("vrn-guided", small, variant="wide")
    assert wide.options["sigma"] == pytest.approx(2.0)
    assert recipes.recipe("vrn", small, variant="filled").data["filled"]
    detector = recipes.recipe("landmarks", small).data  # is asked about photos at any yaw
    assert (detector["poses"], detector["people"]) == ("wide", small.options["wide_people"])


def test_cross_entropy_is_stable_and_against_a_loop():
    scores = torch.tensor([-300.0, -1.0, 0.0, 2.0, 300.0, 50.0, -50.0, 1.0]).view(1, 8, 1, 1)
    inside = torch.tensor([0, 1, 1, 0, 1, 0, 1, 1]).view(1, 8, 1, 1).bool()
    expected = 0.0
    for score, one in zip(scores.flatten().double(), inside.flatten(), strict=True):
        sign = -1 if one else 1
        expected += max(0.0, float(sign * score)) + np.log1p(np.exp(-abs(float(score))))
    loss = VolumeLoss(64)
    scores.requires_grad_()
    value = loss(scores, {"volume": pack(inside)})
    assert value.item() == pytest.approx(expected / 8, rel=1e-5)
    value.backward()
    assert scores.grad.isfinite().all()


# ---- reconstruct


class Solid(nn.Module):
    """Answers every crop with one volume, whatever it is shown; notes what it was shown."""

    name, output, views, image_size = "vrn", "volume", 1, 64

    def __init__(self, volume, name="vrn"):
        super().__init__()
        self.answer = nn.Parameter(torch.where(volume, 8.0, -8.0)[None])
        self.volume, self.name, self.sigma, self.seen = (32, 32, 32), name, 0.5, []

    def forward(self, images):
        self.seen.append(images)
        return self.answer.expand(len(images), -1, -1, -1)

    def volume_scores(self, output):
        return output


@pytest.fixture
def person(model):
    """A face, its volume, and a photo three times the crop's size whose middle is the crop."""
    vertices = face_in_crop(model, yaw=25.0)
    volume = solids_of(model, vertices[None], GRID)[0]
    volume[1:3, 1:3, 1:3] = True  # a bump in the corner
    photo = np.zeros((192, 192, 3), dtype=np.uint8)
    photo[..., 0], photo[..., 1] = np.arange(192)[None], np.arange(192)[:, None]
    side = 64 / 1.5  # the box whose crop are the pixels 64 to 127
    box = np.array([95.5 - side / 2 * 63 / 64, 95.5 - side / 2 * 63 / 64] * 2)
    box[2:] = 191 - box[:2]
    return vertices, volume, photo, box


def _placed(photo, network, box, marks, model):
    view = pipeline.View("the photo", photo, box, True, (), marks)
    return volumes.reconstruct_volume(view, network, model, torch.device("cpu"))


def test_reconstruct_by_a_volume(model, person):
    vertices, volume, photo, box = person
    network = Solid(volume)
    marks = vertices[model.landmarks, :2].numpy() + 64
    face = _placed(photo, network, box, marks, model)
    assert face.system == "vrn"
    assert face.position_map is face.texture is None
    assert "1 bodies beside the face were removed" in " ".join(face.notes)
    mesh = trimesh.Trimesh(face.vertices * [1, -1, 1], face.triangles, process=False)
    assert mesh.is_watertight
    assert mesh.volume > 0
    true = vertices.numpy() + np.array([64, 64, 0])
    near = closest_points(
        torch.from_numpy(true).double(),
        torch.from_numpy(face.vertices).double(),
        torch.tensor(face.triangles),
    )
    inside = (vertices[:, :2] > 0).all(dim=1) & (vertices[:, :2] < 63).all(dim=1)
    assert np.linalg.norm(near.numpy() - true, axis=1)[inside.numpy()].mean() < 1.2
    assert face.landmarks.shape == (68, 3)
    assert face.pose.yaw == pytest.approx(25, abs=6)
    nose = face.landmarks[30]
    assert nose[2] == pytest.approx(vertices[model.landmarks[30], 2].item(), abs=5)
    spot = face.vertices[:, :2].round().astype(int)
    assert np.abs(face.colors[:, 0].astype(int) - spot[:, 0]).max() <= 1  # the photo's red is x


def test_guided_gets_the_heatmaps_of_the_landmarks_in_its_crop(model, person):
    vertices, volume, photo, box = person
    network = Solid(volume, name="vrn-guided")
    marks = vertices[model.landmarks, :2].numpy() + 64
    _placed(photo, network, box, marks, model)
    (seen,) = network.seen
    assert seen.shape == (1, 71, 64, 64)
    nose = vertices[model.landmarks[30], :2].round().long()
    assert seen[0, 3 + 30].argmax() == nose[1] * 64 + nose[0]
    with pytest.raises(ValueError, match="vrn-guided needs the 68 landmarks"):
        volumes.predict_volumes(network, torch.zeros(1, 3, 64, 64))


def test_empty_volume_and_wrong_words_are_named(person):
    _, volume, photo, box = person
    marks = np.random.default_rng(0).uniform(70, 120, (68, 2))
    place = r"around the box \(\d+, \d+, \d+, \d+\): give another"
    with pytest.raises(ValueError, match=f"vrn found no face in the front image {place}"):
        facet.reconstruct(photo, model=Solid(torch.zeros_like(volume)), landmarks=marks, device="cpu")
    with pytest.raises(ValueError, match='keep must be "largest" or "all", got \'most\''):
        volumes.solid_of(volume, GRID, keep="most")
    with pytest.raises(ValueError, match="a pair of them or \"network\", got 'guess'"):
        facet.reconstruct(photo, model=Solid(volume), landmarks="guess", box=box, device="cpu")


def seen_at(images, marks):
    """(B, 68, S, S) scores, highest where crops (B, 3, S, S) show the photo's pixels `marks`: red is x."""
    place = 255 * images[:, None].double()  # (B, 1, 3, S, S)
    x, y = (marks[:, k, None, None] for k in (0, 1))
    return -((place[:, :, 0] - x) ** 2 + (place[:, :, 1] - y) ** 2) / 2


class Multitask(Solid):
    """A volume, and landmarks that are always at the same pixels of the photo."""

    def __init__(self, volume, marks):
        super().__init__(volume, "vrn-multitask")
        self.marks = torch.from_numpy(marks)

    def landmark_scores(self, output):
        return seen_at(self.seen[-1], self.marks)


class Finder(nn.Module):
    """Landmarks that are always at the same pixels of the photo, whatever the crop: red is x, green is y."""

    name, output, image_size, views = "landmarks", "landmarks", 64, 1

    def __init__(self, marks):
        super().__init__()
        self.anchor = nn.Parameter(torch.zeros(1))
        self.marks = torch.from_numpy(marks)
        self.calls = 0

    def forward(self, images):
        self.calls += 1
        return seen_at(images, self.marks)[:, None]

    def landmark_scores(self, output):
        return output[:, -1]


def test_found_landmarks_are_in_the_photos_pixels(person):
    """Two rounds from a box that is off; the mirrored question changes nothing for a symmetric answer."""
    _, _, photo, box = person
    marks = np.column_stack((np.linspace(80, 112, 68), np.linspace(82, 110, 68)[::-1]))
    network = Finder(marks)
    found = finder.find_landmarks(photo, box + np.array([3, -2, 3, -2]), _symmetric(network), rounds=2)
    assert np.abs(found - marks).max() < 0.6
    assert network.calls == 2
    nowhere = Finder(np.full((68, 2), 68.0))  # in the crop, and no face: it is not followed
    finder.find_landmarks(photo, box, _symmetric(nowhere), rounds=2)
    assert nowhere.calls == 1


def _symmetric(network):
    """As if the network saw mirrored photos as what they are: it gets them turned back and renumbers."""
    from facet.landmarks68 import FLIP

    plain = network.forward

    def forward(images):
        half = len(images) // 2
        first = plain(images[:half])
        return torch.cat((first, first[:, :, list(FLIP)].flip(4)))

    network.forward = forward
    return network


def test_landmark_option_places_the_box_and_falls_back(model, person, monkeypatch):
    vertices, volume, photo, box = person
    marks = vertices[model.landmarks, :2].double().numpy() + 64
    detected(monkeypatch, box)
    with monkeypatch.context() as patch:
        at_hand(patch, prn=marks)
        face = facet.reconstruct(photo, model=Solid(volume), landmarks="network", device="cpu")
    assert "no weights on this machine: the detector's box was taken" in " ".join(face.notes)
    assert "landmarks by prn" in " ".join(face.notes)
    monkeypatch.setattr(finder, "load_network", lambda device, names: _symmetric(Finder(marks)))
    face = facet.reconstruct(photo, model=Solid(volume), landmarks="network", device="cpu")
    assert not any("weights" in note for note in face.notes)
    assert np.abs(face.landmarks[:, :2] - marks).max() < 1.0
    assert np.abs(face.box - [*marks.min(axis=0), *marks.max(axis=0)]).max() < 1.0


def detected(monkeypatch, box):
    """The detector finds a face in this box."""
    face = pipeline.detect.Face(np.asarray(box), 1.0, "x")
    monkeypatch.setattr(pipeline.detect, "find_face", lambda image, name: (face, ()))


def at_hand(monkeypatch, **marks):
    """Networks have weights here, and find these landmarks; all others have none."""

    def load_network(device, names):
        return next((SimpleNamespace(name=name) for name in names if name in marks), None)

    monkeypatch.setattr(finder, "load_network", load_network)
    monkeypatch.setattr(finder, "find", lambda image, box, network, face: marks[network.name])


@pytest.mark.parametrize("asked", [None, "network"])
def test_rejected_landmarks_are_not_used(model, person, monkeypatch, asked):
    """VRN keeps the detector's box and says so once; VRN-Guided cannot do without."""
    vertices, volume, photo, box = person
    detected(monkeypatch, box)
    at_hand(monkeypatch, landmarks=vertices[model.landmarks, :2].double().numpy() + 5)
    network = Solid(volume)
    face = facet.reconstruct(photo, model=network, landmarks=asked, device="cpu")
    np.testing.assert_array_equal(face.box, box)
    assert face.landmarks is face.pose is None
    note = "the landmarks found in the front image do not fit the detected face: they were not used"
    assert face.notes == (note, "1 bodies beside the face were removed")
    np.testing.assert_allclose(network.seen[0][0, 0, 0, :2] * 255, (64, 65), atol=0.1)
    with pytest.raises(ValueError, match="do not fit the detected face, and vrn-guided needs some: give"):
        facet.reconstruct(photo, model=Solid(volume, "vrn-guided"), landmarks=asked, device="cpu")


def test_vrn_needs_nobody_who_finds_landmarks(person, monkeypatch, tmp_path):
    _, volume, photo, box = person
    detected(monkeypatch, box)
    at_hand(monkeypatch)
    face = facet.reconstruct(photo, model=Solid(volume), device="cpu")
    assert face.landmarks is face.pose is None
    assert "no network on this machine finds landmarks" in face.notes[0]
    assert face.save(tmp_path / "face.ply").is_file()
    with pytest.raises(FileNotFoundError, match="no network finds landmarks yet: make one by `facet train"):
        facet.reconstruct(photo, model=Solid(volume, "vrn-guided"), device="cpu")


def test_own_landmarks_make_the_second_crop_where_they_fit(model, person, monkeypatch):
    """VRN-Multitask: the box of the result is the one its last crop was made from."""
    vertices, volume, photo, box = person
    marks = vertices[model.landmarks, :2].double().numpy() + 64
    loose = box + np.array([-4.0, 3.0, 5.0, 6.0])
    detected(monkeypatch, loose)
    network = Multitask(volume, marks)
    face = facet.reconstruct(photo, model=network, device="cpu")
    assert len(network.seen) == 2
    np.testing.assert_allclose(face.box, [*marks.min(axis=0), *marks.max(axis=0)], atol=0.6)
    crop = face.crop[:, :2] @ face.box.reshape(2, 2).mean(axis=0) + face.crop[:, 2]
    np.testing.assert_allclose(crop, 31.5)
    assert "may be wrong" not in " ".join(face.notes)
    elsewhere = Multitask(volume, np.full((68, 2), 70.0))
    face = facet.reconstruct(photo, model=elsewhere, device="cpu")
    np.testing.assert_array_equal(face.box, loose)
    assert "do not fit the detected face: the result may be wrong" in face.notes[0]
    given = facet.reconstruct(photo, model=Multitask(volume, marks), box=loose, device="cpu")
    np.testing.assert_array_equal(given.box, loose)


def test_no_weights_is_no_network(monkeypatch):
    def missing(name, device):
        raise FileNotFoundError(name)

    monkeypatch.setattr(weights, "load", missing)
    assert finder.load_network() is None


@pytest.mark.parametrize("angles", [(0, 0, 0), (70, -20, 15), (-95, 10, -30)])
def test_mean_face_is_turned_as_the_landmarks_say(model, angles):
    mean = model.mean[model.landmarks]
    matrix = model_to_image(*map(float, angles), 0.8, torch.tensor([[40.0, 50.0]]))
    placed = transform_points(matrix, mean)[0]
    rotation, depth = finder.place_mean_face(placed[:, :2], mean)
    expected = rotation_matrix(*(torch.tensor(float(a)).double() for a in angles))
    assert Rotation.from_matrix((rotation @ expected.T).numpy()).magnitude() < 1e-4
    torch.testing.assert_close(depth, (placed[:, 2] - placed[:, 2].mean()).double(), atol=1e-3, rtol=0)
    assert finder.yaw_of(placed[:, :2], mean) == pytest.approx(angles[0], abs=1e-2)


# ---- trainings


@pytest.mark.parametrize("system", ["vrn", "vrn-guided", "vrn-multitask"])
def test_task_of_a_cached_profile(model, system, tmp_path, monkeypatch):
    """Batches as the network reads them, packed targets, a loss with gradients; full-detail validation."""
    import tiny_people

    from facet import paths

    home = tiny_people.root(tmp_path)
    monkeypatch.setattr(paths, "CACHE", home / "data" / "cache")
    plain = common.Description
    monkeypatch.setattr(common, "Description", lambda *a, **k: plain(*a, **{"shard": 2, **k}))
    profile = profiles.load("smoke").with_(people={"train": 4, "val": 2, "test": 2}, samples=12)
    made = recipes.recipe(system, profile)
    task = recipes.task(made, profile, workers=1)
    network = build(system, image_size=64, width=0.1, **made.options)
    images, target = task.batches(0)
    assert images.shape == (profile.batch, network.inputs, 64, 64)
    assert target["volume"].shape == (profile.batch, 4, 32, 32)
    assert 0.03 < unpack(target["volume"]).float().mean() < 0.4
    loss = task.loss(network(images), target)
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad is not None for p in network.parameters())
    assert 0 < task.validate(network.eval()) < 5
    assert len(task.validate.batches.truth.sampler.identity) == model.detail_modes
