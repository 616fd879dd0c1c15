"""Landmarks of a photo: who finds them, and when they are believed."""

from types import SimpleNamespace

import numpy as np
import pytest

from facet import networks
from facet.face_model import load
from facet.reconstruction import by_coefficients, landmarks, photos, weights
from facet.reconstruction.views import View

pytestmark = pytest.mark.assets
BOX = np.array([180, 87.5, 270, 177])


@pytest.fixture(scope="module")
def photo():
    return photos.load("astronaut").copy()


def test_they_come_from_the_first_network_at_hand(photo, monkeypatch):
    """Of the landmark network as of a position map: where it sees them, in pixels of the photo."""
    asked, model = [], load()

    def none_but(*names):
        def load_weights(name, device):
            asked.append(name)
            if name not in names:
                raise FileNotFoundError(name)
            return networks.build(name, image_size=64, width=0.125).eval()

        monkeypatch.setattr(weights, "load", load_weights)
        asked.clear()

    for names in (("landmarks", "prn"), ("prn",)):
        none_but(*names)
        network = landmarks.load_network("cpu", landmarks.FINDERS)
        assert network.name == asked[-1] == names[0]
        found = landmarks.find(photo, BOX, network, model)
        assert found.shape == (68, 2)
        assert np.isfinite(found).all()
    none_but()
    with pytest.raises(FileNotFoundError, match="make one by `facet train landmarks`"):
        landmarks.located(View("her", photo, BOX, False), model)
    assert asked == list(landmarks.FINDERS)
    assert by_coefficients.detected(photo, BOX, model) is None


def test_they_are_believed_where_they_fit_the_box(photo, monkeypatch):
    view, inside = View("her", photo, BOX, False, ("a note",)), np.linspace(BOX[:2], BOX[2:], 68)
    marks = {"found": inside}
    monkeypatch.setattr(landmarks, "load_network", lambda device, names: SimpleNamespace(name="prn"))
    monkeypatch.setattr(landmarks, "find", lambda *_: marks["found"])
    face = SimpleNamespace(uv=SimpleNamespace(device="cpu"))
    found = landmarks.located(view, face)
    assert found.landmarks is inside
    assert found.notes == ("a note", "landmarks by prn: the landmark network has no weights on this machine")
    for wrong in (inside + 50.0, np.full((68, 2), 220.0), np.full((68, 2), np.nan)):
        marks["found"] = wrong
        found = landmarks.located(view, face)
        assert found.landmarks is None
        assert found.notes[1] == "the landmarks found in her do not fit the detected face: they were not used"
        assert by_coefficients.detected(photo, BOX, face) is None


def test_a_refinement_is_not_led_by_landmarks_beside_the_face(photo, monkeypatch):
    """`reconstruct(..., refine=n)`: those that do not fit are noted and not handed on."""
    from facet.reconstruction import pipeline

    told = []

    def fit_together(photos, network, face, *, refine=0):
        told.extend(photo.landmarks for photo in photos)
        raise StopIteration

    monkeypatch.setattr(by_coefficients, "fit_together", fit_together)
    monkeypatch.setattr(landmarks, "load_network", lambda device, names: SimpleNamespace(name="landmarks"))
    face = SimpleNamespace(uv=SimpleNamespace(device="cpu"))
    inside = np.linspace(BOX[:2], BOX[2:], 68)
    for found in (inside, inside + 50.0):
        monkeypatch.setattr(landmarks, "find", lambda *_, found=found: found)
        with pytest.raises(StopIteration):
            pipeline._by_coefficients([View("her", photo, BOX, True)], None, face, 3)
    assert told[0] is inside
    assert told[1] is None
