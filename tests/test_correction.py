"""Face correction: the tilt of landmarks at every turn, turned photos there and back, the shape model."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from facet import reconstruction
from facet.crop import crop_image
from facet.evaluation import rotations
from facet.evaluation.smoothness import dihedral_angles, share_under, smoothness_curve
from facet.face_model import load
from facet.geometry import model_to_image, transform_points
from facet.networks import predict
from facet.reconstruction import correction, detect, pipeline, shape_model, views

TURNS = (-179.0, -135.0, -90.0, -40.0, 0.0, 25.0, 90.0, 120.0, 180.0)


def face_at(yaw=0.0, pitch=0.0, roll=0.0, scale=0.7, centre=(64.0, 64.0)):
    """(68, 3) landmarks of the mean face in the image frame."""
    model = load()
    matrix = model_to_image(
        torch.tensor([yaw]).double(), pitch, roll, scale, torch.tensor([centre], dtype=torch.float64)
    )
    return transform_points(matrix, model.mean[model.landmarks][None].double())[0].numpy()


def apart(first, second):
    """Degrees between two angles, 0 to 180."""
    return abs((first - second + 180) % 360 - 180)


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("rule", correction.RULES)
def test_tilt_is_the_turn_of_a_frontal_face(turn, rule):
    """A head's roll goes against the clockwise turn of the picture."""
    assert apart(correction.tilt(face_at(roll=-turn), rule=rule), turn) < 0.01  # no face is quite symmetric
    assert apart(correction.tilt(face_at(yaw=30, pitch=10, roll=-turn)), turn) < 12


def test_in_a_profile_the_chin_tells_which_way_is_up():
    """Beyond 90° the far eye has crossed over: the eyes alone call an upright profile upside down."""
    profile = face_at(yaw=100.0)
    assert abs(correction.tilt(profile)) < 25
    assert abs(correction.tilt(profile, rule="eyes")) > 155
    with pytest.raises(ValueError, match="rule must be one of both, eyes"):
        correction.tilt(profile, rule="nose")


@pytest.mark.parametrize("turn", TURNS)
def test_landmarks_lie_upright_in_their_frame_and_come_back(turn):
    marks = face_at(roll=-turn, centre=(200.0, 90.0))[:, :2]
    found = correction.from_landmarks(marks)
    assert (found.tilt - turn + 180) % 360 - 180 == pytest.approx(0, abs=0.01)
    upright = correction.apply(found.frame, marks)
    assert correction.tilt(upright) == pytest.approx(0, abs=1e-6)
    np.testing.assert_allclose(detect.box_of(upright), found.box)
    np.testing.assert_allclose(correction.apply(correction.inverse(found.frame), upright), marks, atol=1e-9)
    x0, y0, x1, y1 = found.box_in_photo()
    assert (marks >= (x0 - 1e-6, y0 - 1e-6)).all()
    assert (marks <= (x1 + 1e-6, y1 + 1e-6)).all()


@pytest.mark.parametrize("turns", range(4))
def test_quarter_turns_are_numpys(turns):
    image = np.arange(5 * 7).reshape(5, 7)
    turned = np.rot90(image, turns)
    matrix = correction.quarter(image.shape, turns)
    for y in range(5):
        for x in range(7):
            there = correction.apply(matrix, np.array([[x, y]], dtype=float))[0].astype(int)
            assert turned[there[1], there[0]] == image[y, x]


def painted(turn, size=200):
    """A photo with three coloured spots where eyes and chin of a turned face are, and the landmarks."""
    marks = face_at(roll=-turn, scale=0.6, centre=(105.0, 95.0))[:, :2]
    photo = np.zeros((size, size, 3), np.uint8)
    y, x = np.mgrid[:size, :size]
    for channel, number in enumerate((36, 45, 8)):
        near = np.hypot(x - marks[number, 0], y - marks[number, 1]) < 5
        photo[near, channel] = 255
    return photo, marks


def spots(crop):
    """(3, 2) centres of the three spots of a crop (3, S, S)."""
    y, x = torch.meshgrid(*[torch.arange(float(crop.shape[-1]))] * 2, indexing="ij")
    return np.array([[float((c * a).sum() / c.sum()) for a in (x, y)] for c in crop])


@pytest.mark.parametrize("turn", [0.0, 37.0, 90.0, 180.0, -120.0])
def test_every_turn_gives_one_crop(turn):
    """What the network is shown does not depend on how the photo was turned."""
    photo, marks = painted(turn)
    crops = []
    for image, points in ((photo, marks), painted(0.0)):
        matrix = correction.crop_matrix(correction.from_landmarks(points), 64)
        crops.append(spots(crop_image(image, matrix, 64)[0]))
    np.testing.assert_allclose(crops[0], crops[1], atol=0.3)


class SpotReader(torch.nn.Module):
    """A "network" that sees the three spots and puts the mean face's map where they are."""

    name, views, image_size, signed, output = "spots", 1, 64, False, "map"

    def __init__(self, face):
        super().__init__()
        self.face, self.weight = face, torch.nn.Parameter(torch.zeros(1))

    def forward(self, images):
        from facet.geometry import similarity
        from facet.networks import from_pixels
        from facet.rendering import map_from_mesh

        maps = []
        for image in images:
            seen = torch.from_numpy(spots(image))
            seen = (
                seen if (image.sum(dim=(1, 2)) > 0).all() else torch.tensor([[20.0, 20], [44, 20], [32, 52]])
            )
            known = self.face.mean[self.face.landmarks[[36, 45, 8]]].double()
            flat = torch.cat((seen, known[:, 2:] * 0.3), dim=1)
            placed = similarity(known[None], flat[None], reflect=True).apply(self.face.mean[None].double())
            maps.append(map_from_mesh(placed.float(), self.face.uv, self.face.triangles, 64)[0])
        return from_pixels(torch.stack(maps), 64)


@pytest.mark.parametrize("turn", [0.0, 60.0, 180.0])
def test_reconstruct_undoes_the_turn(turn, monkeypatch):
    """The result lies on the turned photo: the spots' landmarks are where the spots are."""
    model = load()
    photo, marks = painted(turn)
    monkeypatch.setattr(
        pipeline, "predict_with_flip", predict
    )  # the mean with the mirror image knows no colours
    vertices, view = reconstruction.surface(
        photo, SpotReader(model).eval(), model, landmarks=marks, correct=True
    )
    assert view.given
    found = vertices[model.landmarks][[36, 45, 8], :2].numpy()
    np.testing.assert_allclose(found, marks[[36, 45, 8]], atol=3.0)
    pose = reconstruction.head_pose(vertices, model)
    assert (pose.roll + turn + 180) % 360 - 180 == pytest.approx(0, abs=4)


def test_surface_is_what_reconstruct_gives(monkeypatch):
    """By default with the prior, as `reconstruct` has it; without where it is left out."""
    model = load()
    photo, marks = painted(20.0)
    network = SpotReader(model).eval()
    monkeypatch.setattr(pipeline, "predict_with_flip", predict)
    for how, noise in (({}, {}), ({"prior": False}, {"noise": 0.0})):
        whole = pipeline.reconstruct(photo, model=network, landmarks=marks, device="cpu", **how)
        vertices, _ = reconstruction.surface(photo, network, model, landmarks=marks, **noise)
        np.testing.assert_allclose(vertices.numpy(), whole.vertices, atol=1e-3)


def test_an_aligner_is_asked_in_upright_crops():
    """It is shown a second crop, turned by what it found in the first."""
    photo, marks = painted(50.0)
    told = []

    def aligner(crops):
        told.append(spots(crops[0]))
        right, left, chin = told[-1]
        flat = np.tile((right + left) / 2, (68, 1))
        flat[36:42], flat[42:48], flat[8] = right, left, chin
        return torch.from_numpy(flat)[None]

    aligner.image_size = 64
    box = detect.box_of(marks)
    first = correction.Upright(correction.quarter(photo.shape, 0), box)
    found = correction.align(photo, first, aligner)
    assert len(told) == 2
    assert found.tilt == pytest.approx(50, abs=1)
    tilts = [np.degrees(np.arctan2(*(left - right)[::-1])) for right, left, _ in told]
    assert tilts[0] == pytest.approx(50, abs=2)
    assert tilts[1] == pytest.approx(0, abs=1)


def test_an_aligner_that_points_elsewhere_is_not_believed(monkeypatch):
    """The detected frame stays, a note says so, and the box may be moved to the network's own landmarks."""
    photo, marks = painted(0.0)
    box = detect.box_of(marks)
    monkeypatch.setattr(detect, "find_faces", lambda image, **_: [detect.Face(box, 0.9, "test")])

    def aligner(crops):
        return torch.from_numpy(face_at(roll=90.0, scale=0.1, centre=(5.0, 5.0)))[None]

    aligner.image_size = 64
    (view,) = views.views_of(photo, None, None, None, aligner)
    assert view.turned == ()
    assert not view.given
    assert "do not fit the detected face: they were not used" in " ".join(view.notes)
    found, _ = correction.find(photo)
    np.testing.assert_array_equal(view.box, found.box)
    np.testing.assert_array_equal(view.frame, found.frame)


def test_a_given_box_is_what_landmarks_of_a_turned_photo_are_compared_with(monkeypatch):
    """They may move it, and not far: the detector's box is no witness where the caller gave one."""
    photo, marks = painted(60.0)
    monkeypatch.setattr(detect, "find_faces", detector_of(marks))
    (view,) = views.views_of(photo, None, None, tuple(detect.box_of(marks)), True)
    assert not view.given
    np.testing.assert_array_equal(view.asked, detect.box_of(marks))
    there = views.moved(view, marks)
    assert there.notes == ()
    np.testing.assert_allclose(there.box_in_photo, correction.from_landmarks(marks).box_in_photo())
    beside = views.moved(view, marks + 0.6 * np.ptp(marks, axis=0))
    assert "the result may be wrong" in beside.notes[0]
    np.testing.assert_array_equal(beside.box, view.box)


def detector_of(truth, reach=60.0):
    """A detector that is surer of a face the more upright it stands, and misses one tilted beyond `reach`."""

    def find_faces(image, **_):
        spot = [
            np.argwhere(image[..., c] > 128).mean(axis=0)[::-1] for c in range(3) if image[..., c].max() > 128
        ]
        if len(spot) < 3:
            return []
        right, left, chin = spot
        tilt = np.degrees(np.arctan2(*(left - right)[::-1]))
        size = np.linalg.norm(chin - (right + left) / 2)
        middle = (right + left + chin) / 3
        if abs(tilt) > reach:
            return []
        box = np.array([*(middle - 0.7 * size), *(middle + 0.7 * size)])
        return [detect.Face(box, 0.95 - abs(tilt) / 500, "test")]

    return find_faces


@pytest.mark.parametrize("turn", [0.0, 70.0, 135.0, 180.0, -100.0])
def test_the_surest_turn_is_found(turn, monkeypatch):
    photo, marks = painted(turn)
    monkeypatch.setattr(detect, "find_faces", detector_of(marks))
    found, notes = correction.find(photo)
    assert notes == ()
    assert abs((found.tilt - turn + 180) % 360 - 180) <= 22.5
    inside = correction.apply(found.frame, marks[[36, 45, 8]])
    assert (inside > found.box[:2]).all()
    assert (inside < found.box[2:]).all()
    monkeypatch.setattr(detect, "find_faces", lambda image, **_: [])
    with pytest.raises(detect.FaceNotFoundError, match="no face"):
        correction.find(photo, name="p.jpg")
    kept, _ = correction.find(photo, box=np.array([10.0, 20, 60, 90]))
    assert kept.box.tolist() == [10, 20, 60, 90]
    assert kept.tilt == 0


def test_of_several_faces_a_note_says_which_was_taken(monkeypatch):
    """Each is found at several turns and counts once; the views keep the note."""
    photo = np.zeros((200, 400, 3), np.uint8)
    boxes = np.array([(20.0, 40, 110, 130), (250, 50, 350, 150)])

    def find_faces(image, **_):
        if image.shape != photo.shape:
            return []
        return [detect.Face(box, score, "test") for box, score in zip(boxes, (0.8, 0.9), strict=True)]

    monkeypatch.setattr(detect, "find_faces", find_faces)
    (view,) = views.views_of(photo, None, None, None, True)
    assert view.notes == ("the front image has 2 faces; the clearest of the large ones was taken",)
    np.testing.assert_allclose(view.box_in_photo, boxes[1], atol=1e-9)


@pytest.mark.parametrize(("turn", "place"), [(0.0, (48.0, 28.0)), (90.0, (47.0, 48.0)), (213.0, None)])
def test_a_turned_photo_holds_the_picture_and_its_points(turn, place):
    """A spot in a picture of 40 pixels with a border of 18; turned clockwise about the middle, 37.5."""
    picture = torch.zeros(3, 40, 40)
    picture[:, 9:12, 29:32] = 1.0
    photo, matrix = rotations.turned_photo(picture, turn)
    there = correction.apply(matrix, np.array([[30.0, 10.0]]))[0]
    if place is not None:
        np.testing.assert_allclose(there, place, atol=1e-9)
    light = photo[..., 0] / 255
    y, x = np.indices(light.shape)
    assert light.sum() == pytest.approx(9, abs=0.1)
    np.testing.assert_allclose(
        ((light * x).sum() / light.sum(), (light * y).sum() / light.sum()), there, atol=0.05
    )


def test_dihedral_angles_of_a_fold():
    """A sheet folded along a column: the pairs across the fold meet at the fold's angle, all others at 0."""
    size, angle = 9, np.radians(20)
    x = torch.arange(size, dtype=torch.float64)
    over = (x - 4).clamp(min=0)
    across = torch.where(x > 4, 4 + over * np.cos(angle), x)
    sheet = torch.stack(
        (across.expand(size, size), x[:, None].expand(size, size), (over * np.sin(angle)).expand(size, size))
    )
    found = dihedral_angles(sheet[None])[0]
    folded = found > 1
    assert int(folded.sum()) == size - 1  # one edge a row of squares
    torch.testing.assert_close(found[folded], torch.full_like(found[folded], 20.0), atol=1e-6, rtol=0)
    assert share_under(found) == pytest.approx(1 - (size - 1) / len(found))
    assert smoothness_curve(found, np.array([1.0, 19.0, 21.0])).tolist() == pytest.approx(
        [share_under(found), share_under(found), 1.0]
    )


def test_dihedral_angles_are_trimeshs():
    import trimesh

    size = 6
    sheet = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    index = np.arange(size**2).reshape(size, size)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    faces = np.concatenate([np.stack(t, axis=-1).reshape(-1, 3) for t in ((a, c, b), (b, c, d))])
    mesh = trimesh.Trimesh(sheet[0].flatten(1).T.numpy(), faces, process=False)
    expected = np.sort(np.degrees(mesh.face_adjacency_angles))
    np.testing.assert_allclose(np.sort(dihedral_angles(sheet)[0].numpy()), expected, atol=1e-4)
    inside = torch.ones(size, size, dtype=torch.bool)
    inside[:, 3:] = False
    part = np.isin(faces, index[:, :3]).all(axis=1)
    mesh = trimesh.Trimesh(mesh.vertices, faces[part], process=False)
    expected = np.sort(np.degrees(mesh.face_adjacency_angles))
    np.testing.assert_allclose(np.sort(dihedral_angles(sheet, inside)[0].numpy()), expected, atol=1e-4)


@pytest.fixture(scope="module")
def drawn():
    """Crops of line-drawn faces that vary, with their landmarks."""
    generator = torch.Generator().manual_seed(0)
    images, marks = [], []
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    mean = torch.from_numpy(face_at(scale=0.28, centre=(32.0, 33.0)))[:, :2].float()
    for _ in range(60):
        draw = torch.randn(5, generator=generator)
        spread = torch.tensor([1 + 0.05 * draw[0], 1 + 0.05 * draw[1]])
        points = (mean - 32) * spread + 32 + 1.5 * draw[2:4]
        picture = torch.full((64, 64), 0.5)
        for group in (
            "jaw",
            "right_eye",
            "left_eye",
            "outer_lips",
            "nose_bridge",
            "right_brow",
            "left_brow",
            "nostrils",
        ):
            for p in points[list(shape_model.GROUPS[group])]:
                picture -= 0.35 * torch.exp(-((x - p[0]) ** 2 + (y - p[1]) ** 2) / 4)
        images.append(picture.clamp(0, 1).expand(3, 64, 64))
        marks.append(points)
    return torch.stack(images), torch.stack(marks)


def test_a_shape_model_finds_what_it_was_shown(drawn, tmp_path):
    images, marks = drawn
    model = shape_model.fit(images[:50], marks[:50])
    assert model.image_size == 64
    found = model(images[50:])
    start = torch.view_as_real(model.place[0] * model.mean + model.place[1])
    error, before = ((points - marks[50:]).norm(dim=2).mean() for points in (found, start))
    assert error < 0.5 * before
    model.save(tmp_path / "m.safetensors")
    torch.testing.assert_close(shape_model.load(tmp_path / "m.safetensors")(images[50:]), found)
    with pytest.raises(ValueError, match="two crops or more"):
        shape_model.fit(images[:1], marks[:1])


def test_its_shapes_stay_near_the_training_shapes(drawn):
    images, marks = drawn
    model = shape_model.fit(images, marks)
    wild = torch.view_as_complex(
        (marks[:3] + 20 * torch.randn(3, 68, 2, generator=torch.Generator().manual_seed(1))).contiguous()
    )
    shape = model._shape(wild)
    a, t = shape_model._similarity(model.mean.expand_as(shape), shape)
    b = torch.view_as_real((shape - t) / a - model.mean).flatten(1) @ model.modes.T
    assert (b.abs() <= 1.1 * shape_model.CLIP * model.deviation + 1e-4).all()


def test_rotation_study_turns_results_back(monkeypatch):
    """A surface that is perfect on the photo scores 0 at every turn; a miss stays in the table."""
    model = SimpleNamespace(weight=torch.ones(68), landmarks=torch.arange(68))
    marks = torch.from_numpy(face_at(scale=0.3, centre=(32.0, 32.0)))
    sample = {
        "images": torch.rand(3, 64, 64),
        "vertices": marks,
        "landmarks": marks,
        "scale": 0.3,
        "identity": 4,
    }
    state = {}

    def turned_photo(picture, degrees):
        photo, matrix = plain(picture, degrees)
        state["matrix"], state["degrees"] = matrix, degrees
        return photo, matrix

    def surface(photo, network, face, **how):
        if "box" not in how and state["degrees"] == 90:
            raise detect.FaceNotFoundError("no")
        points = torch.from_numpy(correction.apply(state["matrix"], marks[:, :2].numpy()))
        frame = correction.from_landmarks(points.numpy()).frame
        return torch.cat((points, marks[:, 2:]), dim=1), SimpleNamespace(frame=frame)

    plain = rotations.turned_photo
    monkeypatch.setattr(rotations, "turned_photo", turned_photo)
    monkeypatch.setattr(rotations, "surface", surface)
    found = rotations.rotations(None, [sample], model, degrees=(0, 90, 200), sources={"s": True})
    assert found[["landmarks", "exact", "tilt"]].to_numpy().max() < 1e-4
    assert found["found"].tolist() == [True, False, True]
