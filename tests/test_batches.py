"""Training batches and test sets: functions of the step, one order for all networks, truth that follows."""

import pytest
import tiny_people
import torch
from tiny_people import SIZE, studio, tiny
from torch import nn

from facet import paths
from facet.augment import Augmentation
from facet.evaluation import mean_face_rows
from facet.face_model import files, sampler, vertices_from_map
from facet.geometry import angle_between, image_flip, rotation_matrix, similarity
from facet.synthetic import test_sets
from facet.synthetic.batches import FRONT, LEFT, RIGHT, VALIDATION, Batches, Validation
from facet.synthetic.dataset import open_pictures
from facet.synthetic.render import truth_maps
from facet.synthetic.stream import Stream

NONE = Augmentation()
STRONG = Augmentation.preset("photo")


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory):
    """Data sets of this module go to a folder of its own."""
    home = tiny_people.root(tmp_path_factory.mktemp("home"))
    files.ensure()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "CACHE", home / "data" / "cache")
        yield home


@pytest.fixture(scope="module")
def people(home):
    return open_pictures(tiny(people=6), workers=1)


@pytest.fixture(scope="module")
def maps():
    return sampler(studio().model, SIZE)


@pytest.fixture(scope="module")
def batches(people, maps):
    """Makes batches of a kind, four at a time."""
    return lambda kind, augmentation=NONE, **options: Batches(people, maps, kind, 4, augmentation, **options)


def test_front_and_pair_show_the_same_front_pictures(batches):
    """Networks on one photo and on two see the same people in the same order, with the same targets."""
    front, pair = batches("front"), batches("pair")
    for step in (0, 1, 2, 7):
        one, target = front(step)
        two, other = pair(step)
        assert (one.shape, two.shape) == ((4, 3, SIZE, SIZE), (4, 6, SIZE, SIZE))
        assert torch.equal(one, two[:, :3])
        assert torch.equal(target, other)
        assert all(torch.equal(a, b) for a, b in zip(front.items(step), pair.items(step), strict=True))


def test_a_batch_is_the_stored_pictures_and_their_maps(batches, people, maps):
    images, target = batches("pair")(3)
    who, side = batches("pair").items(3)
    for k in range(4):
        for place, view in ((0, FRONT), (1, int(side[k]))):
            stored = torch.from_numpy(people.picture(int(who[k]), view)[:, 8:-8, 8:-8].copy()) / 255
            shown = images[k, 3 * place : 3 * place + 3]
            assert (shown - stored).abs().max() < 1e-4
    rows = people.views.rows(people.view_rows(who, torch.zeros_like(who)))
    torch.testing.assert_close(target, truth_maps(maps, people.subjects, rows), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("kind", ["front", "pair", "all-poses"])
def test_batches_are_a_function_of_the_step_alone(batches, kind):
    one, other = batches(kind, STRONG), batches(kind, STRONG)
    late = one(5)
    for step in (0, 1, 5):
        again = other(step)
    assert all(torch.equal(a, b) for a, b in zip(late, again, strict=True))
    assert not torch.equal(late[0], one(6)[0])
    assert not torch.equal(late[0], batches(kind, STRONG, seed=1)(5)[0])
    assert late[0].min() >= 0
    assert late[0].max() <= 1


def test_an_epoch_passes_once_over_every_person_and_side(people, maps):
    """Twelve pairs in batches of five: epochs end within batches, and each has its own order."""
    batches = Batches(people, maps, "pair", 5, NONE)
    shown = [
        pair for step in range(12) for pair in zip(*(t.tolist() for t in batches.items(step)), strict=True)
    ]
    everything = {(person, side) for person in range(6) for side in (LEFT, RIGHT)}
    epochs = [shown[k : k + 12] for k in range(0, 60, 12)]
    assert all(set(epoch) == everything for epoch in epochs)
    assert epochs[0] != epochs[1]


def test_of_one_view_a_person_an_epoch_passes_once_over_everybody(home, maps):
    """Six fronts in batches of four, posed as the fronts of pairs; there are no sides for other kinds."""
    fronts = open_pictures(tiny(poses="front", people=6), workers=1)
    assert fronts.per_person == 1
    assert fronts.views.yaw.abs().max() <= 14
    assert torch.stack([fronts.views.pitch, fronts.views.roll]).abs().max() <= 9
    one = Batches(fronts, maps, "front", 4, NONE)
    shown = [person for step in range(6) for person in one.items(step)[0].tolist()]
    epochs = [shown[k : k + 6] for k in range(0, 24, 6)]
    assert all(sorted(epoch) == list(range(6)) for epoch in epochs)
    assert epochs[0] != epochs[1]
    images, target = one(1)
    who, _ = one.items(1)
    stored = fronts.stack(who, torch.zeros_like(who))[..., 8:-8, 8:-8].float() / 255
    assert (images - stored).abs().max() < 1e-4
    expected = truth_maps(maps, fronts.subjects, fronts.views.rows(who))
    torch.testing.assert_close(target, expected, rtol=1e-5, atol=1e-4)
    for kind in ("pair", "all-poses"):
        with pytest.raises(ValueError, match="one view a person, too few"):
            Batches(fronts, maps, kind, 4, NONE)


def test_all_poses_shows_each_view_with_its_own_map(batches, people, maps):
    every = Batches(people, maps, "all-poses", 16, NONE)
    images, target = every(0)
    who, _ = every.items(0)
    flat = torch.stack([torch.from_numpy(people.picture(p, v).copy()) for p in range(6) for v in range(3)])
    flat = flat[..., 8:-8, 8:-8].float() / 255
    nearest = torch.cdist(images.flatten(1), flat.flatten(1)).argmin(dim=1)
    assert (nearest // 3 == who).all()
    assert set((nearest % 3).tolist()) == {0, 1, 2}
    rows = people.views.rows(nearest)
    torch.testing.assert_close(target, truth_maps(maps, people.subjects, rows), rtol=1e-5, atol=1e-4)


def test_a_flip_mirrors_pictures_and_truth_together(batches):
    """Front and side are mirrored together; the map in x and along u, so it is still one of a face."""
    plain, target = batches("pair")(2)
    flipped, mirrored = batches("pair", Augmentation(flip=1.0))(2)
    assert (flipped - plain.flip(3)).abs().max() < 1e-4
    expected = target.flip(3)
    expected[:, 0] = SIZE - 1 - expected[:, 0]
    torch.testing.assert_close(mirrored, expected, rtol=1e-5, atol=1e-4)
    model = studio().model
    points = vertices_from_map(mirrored, model.uv[model.landmarks])
    assert (points[:, 45, 0] > points[:, 36, 0]).all()  # the left eye is still at the image's right
    assert (points[:, 8, 1] > points[:, 27, 1]).all()


def test_augmented_pictures_follow_their_maps(batches):
    """A turned picture's landmarks, read off its map, lie where the turn puts the plain ones."""
    turned = Augmentation(rotation=40.0, scale=(0.9, 1.1), translation=0.05)
    (_, target), (_, moved) = batches("front")(1), batches("front", turned)(1)
    model = studio().model
    before, after = (vertices_from_map(m, model.uv[model.landmarks])[..., :2] for m in (target, moved))
    sides = [(p[:, 36] - p[:, 8], p[:, 45] - p[:, 8]) for p in (before, after)]
    areas = [a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0] for a, b in sides]
    scale = (areas[1] / areas[0]).sqrt()
    assert (scale > 0.89).all()
    assert (scale < 1.11).all()
    depth = (moved[:, 2].amax(dim=(1, 2)) / target[:, 2].amax(dim=(1, 2))).float()
    torch.testing.assert_close(depth, scale, rtol=1e-3, atol=1e-3)  # z grows with the picture


def test_unknown_kind(batches):
    with pytest.raises(ValueError, match="kind must be one of"):
        batches("side")


class Constant(nn.Module):
    """Answers with zeros, and counts."""

    def __init__(self):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1))
        self.seen = []

    def forward(self, images):
        self.seen.append(len(images))
        return torch.zeros(len(images), 3, SIZE, SIZE) + self.bias


def test_validation_counts_every_person_once(people, maps):
    """Six people in batches of four: the mean over people, not over batches."""
    network = Constant()
    made = Batches(people, maps, "pair", 4, VALIDATION, 1)
    validation = Validation(made, lambda output, target: target.abs().mean())
    value = validation(network)
    assert network.seen == [4, 2]
    targets = torch.cat([target for _, target in validation._fixed])
    assert value == pytest.approx(float(targets.abs().mean()), rel=1e-5)
    assert Validation(made, lambda output, target: target.abs().mean())(network) == value


@pytest.fixture(scope="module")
def stream():
    return lambda kind, augmentation=NONE, seed=0: Stream.open(
        kind, 3, SIZE, augmentation, seed=seed, device="cpu"
    )


def test_stream_is_a_function_of_the_step(stream):
    first = stream("pair", STRONG)
    late = first(9)
    other = stream("pair", STRONG)
    other(0)
    again = other(9)
    assert late[0].shape == (3, 6, SIZE, SIZE)
    assert late[1].shape == (3, 3, SIZE, SIZE)
    assert all(torch.equal(a, b) for a, b in zip(late, again, strict=True))
    assert not torch.equal(late[0], other(10)[0])
    assert not torch.equal(late[0], stream("pair", STRONG, seed=1)(9)[0])


def test_stream_shows_the_same_fronts_to_one_photo_and_to_two(stream):
    one, target = stream("front")(4)
    two, other = stream("pair")(4)
    assert (one - two[:, :3]).abs().max() < 1e-6
    assert torch.equal(target, other)
    model = studio().model
    points = vertices_from_map(target, model.uv[model.landmarks])
    box = points[..., :2].amax(dim=1) - points[..., :2].amin(dim=1)
    assert (box.mean(dim=1) - (SIZE - 1) / 1.5).abs().max() < 2  # cropped by the landmarks
    with pytest.raises(ValueError, match="kind must be one of"):
        stream("sides")


@pytest.mark.assets
def test_stream_gives_targets_the_beards_volume():
    options = {"generation": 2, "seed": 3, "device": "cpu"}
    bare, bearded = (Stream.open("front", 6, SIZE, NONE, beards=b, **options) for b in (False, True))
    assert bare.beards is None
    (photos, target), (same, full) = bare(2), bearded(2)
    assert torch.equal(photos, same)
    moved = (full - target).abs().amax(dim=(1, 2, 3))
    assert moved[0] > 0.3  # the one with a beard
    assert moved[1:].max() == 0


KEYS = {
    *("images", "vertices", "landmarks", "scale", "yaw", "pitch", "roll", "identity"),
    *("years", "gender", "ancestry", "side"),
}


def test_pairs_test_set(monkeypatch):
    model = studio().model
    opened = []

    def small(description, **options):
        opened.append(description)
        return open_pictures(tiny("test", people=2, jitter=True), workers=1)

    monkeypatch.setattr(test_sets, "open_pictures", small)
    found = test_sets.pairs(SIZE, 2, model=model)
    samples = list(found)
    assert len(found) == len(samples) == 4
    assert opened[0].jitter
    assert opened[0].split == "test"
    assert [s["identity"] for s in samples] == [0, 0, 1, 1]
    assert [s["side"] for s in samples] == ["left", "right"] * 2
    for sample in samples:
        assert set(sample) == KEYS
        assert sample["images"].shape == (6, SIZE, SIZE)
        assert 0 <= sample["images"].min() < sample["images"].max() <= 1
        assert sample["vertices"].shape == model.mean.shape
        assert torch.equal(sample["landmarks"], sample["vertices"][model.landmarks])
        assert abs(sample["yaw"]) <= 14
        assert sample["gender"] in ("female", "male")
        assert sample["ancestry"] in ("african", "asian", "caucasian")
        assert 18 <= sample["years"] <= 80
        span = sample["vertices"][:, :2].amax(dim=0) - sample["vertices"][:, :2].amin(dim=0)
        assert 100 < float(span[1]) / sample["scale"] < 300  # millimetres from hairline to neck
    assert torch.equal(samples[0]["images"][:3], samples[1]["images"][:3])
    assert not torch.equal(samples[0]["images"][3:], samples[1]["images"][3:])
    assert len(list(found.head(1))) == 2
    assert [s["side"] for s in found.person(1)] == ["left", "right"]


def samples_and_own_faces(pictures, views):
    """Vertices (N, V, 3) of a test set's samples, the people's own faces in mm, and what else is told."""
    model, subjects = studio().model, pictures.subjects
    samples = list(test_sets.TestSet("tiny", pictures, model, views))
    names = ("scale", "yaw", "pitch", "roll")
    faces = model.blend(subjects.alpha_id, subjects.alpha_exp).repeat_interleave(len(views), dim=0)
    vertices = torch.stack([sample["vertices"] for sample in samples])
    return vertices, faces, {name: torch.tensor([s[name] for s in samples]) for name in names}


def test_scale_and_pose_of_pairs_lead_from_faces_to_their_vertices():
    """They are those of the similarity that fits best, but for a little perspective."""
    pictures = open_pictures(tiny("test", people=2, jitter=True), workers=1)
    vertices, faces, told = samples_and_own_faces(pictures, ((FRONT, LEFT), (LEFT, FRONT), (RIGHT, FRONT)))
    assert all(told[name].abs().max() > 2 for name in ("yaw", "pitch", "roll"))
    fitted = similarity(faces, vertices, reflect=True)
    torch.testing.assert_close(told["scale"], fitted.scale, rtol=0.04, atol=0)
    rotation = image_flip(fitted.rotation) @ fitted.rotation
    apart = angle_between(rotation_matrix(told["yaw"], told["pitch"], told["roll"]), rotation)
    assert apart.max() < 2.0


def test_scale_and_pose_of_the_florence_set_give_its_depth():
    """Depth is a length even near the camera: it is linear in the face, by scale times R's third row."""
    pictures = open_pictures(tiny("test", "florence", people=1, jitter=True, first=200, shard=1), workers=1)
    vertices, faces, told = samples_and_own_faces(pictures, tuple((view,) for view in range(27)))
    assert set(told["pitch"].tolist()) == {-15, 0, 15}
    known = torch.nn.functional.pad(faces[:1], (0, 1), value=1.0).double()
    row = torch.linalg.lstsq(known, vertices[:, :, 2].mT[None].double()).solution[0, :3].mT.float()
    torch.testing.assert_close(told["scale"], row.norm(dim=1), rtol=1e-3, atol=0)
    across, up, ahead = (row / row.norm(dim=1, keepdim=True)).unbind(1)
    torch.testing.assert_close(told["yaw"], torch.rad2deg(-across.asin()), rtol=0, atol=0.1)
    torch.testing.assert_close(told["pitch"], torch.rad2deg(torch.atan2(-up, ahead)), rtol=0, atol=0.1)
    assert not told["roll"].any()


def test_florence_test_set_and_its_mean_face_rows(monkeypatch):
    """27 poses a person, one photo each; the evaluation takes the samples as they are."""
    model = studio().model

    def small(description, **options):
        assert description.first == test_sets.FLORENCE_FIRST
        return open_pictures(tiny("test", "florence", people=1, jitter=True, first=200, shard=1), workers=1)

    monkeypatch.setattr(test_sets, "open_pictures", small)
    found = test_sets.florence(SIZE, 1, model=model)
    samples = list(found)
    assert len(found) == len(samples) == 27
    assert {s["identity"] for s in samples} == {200}
    assert {s["side"] for s in samples} == {""}
    assert samples[0]["images"].shape == (3, SIZE, SIZE)
    assert sorted({s["yaw"] for s in samples}) == [-80, -60, -40, -20, 0, 20, 40, 60, 80]
    frame = mean_face_rows(samples[9:18], model, test_set=found.name)
    mean = (
        frame[(frame["metric"] == "exact-unaligned") & (frame["normaliser"] == "mm")]
        .groupby("model")["value"]
        .mean()
    )
    assert mean["mean-face-true-pose"] < mean["mean-face"] < 100
