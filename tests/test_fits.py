"""Who finds the head that the rotation pipeline turns: PRN or Coefficients."""

import pytest
import torch

import facet
from facet import face_model, networks, paths, trainings
from facet.face_model import compact
from facet.reconstruction import by_coefficients, photos, pipeline, weights
from facet.rotation import fit, fits
from facet.rotation import pipeline as rotation

pytestmark = pytest.mark.assets
SIZE = 64


@pytest.fixture(scope="module")
def model():
    return face_model.load()


@pytest.fixture(scope="module")
def answer(model):
    """A network that always gives one and the same plausible face."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compact, "VERTICES", 300)
        network = networks.build("coefficients", image_size=SIZE, width=0.25, **compact.counts(model)).eval()
        by_coefficients.renderer_of(model)  # made once, with few vertices
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        network.decoder[-1].bias.copy_(0.3 * torch.randn(network.layout.total, generator=generator))
    return network


def test_coefficients_put_the_model_s_face_into_the_crop(model, answer):
    """The same vertices as `reconstruct` by coefficients has them in its crop."""
    found = fit("coefficients", answer, model)(torch.rand(2, 3, SIZE, SIZE))
    assert found.shape == (2, len(model.mean), 3)
    photo, box = photos.load("astronaut").copy(), (180.0, 87.5, 270.0, 177.0)
    fitted = by_coefficients.fit(photo, box, answer, model)
    torch.testing.assert_close(found[0], fitted.vertices(model))
    with pytest.raises(ValueError, match="needs a network from one photo to coefficients, not prn"):
        fit("coefficients", networks.build("prn", image_size=32, width=0.1), model)


def test_every_fit_names_its_network():
    assert fits.NETWORKS.keys() == fits.FITS.keys()
    assert fits.NETWORKS == {"prn": "prn-wide", "coefficients": "coefficients-wide"}
    known = {"-".join(filter(None, pair)) for pair in trainings.known()}
    assert known >= set(fits.NETWORKS.values())


def test_reconstruct_turns_the_head_that_coefficients_find(model, answer, monkeypatch, tmp_path):
    """`model="rotation-prn"` and "rotation": each with the networks it needs, of one profile."""
    known = {"coefficients-wide": answer} | {
        name: networks.build(system, image_size=SIZE, width=0.1).eval()
        for name, system in (
            ("rotation", "rotation"),
            ("twoview-rotated", "twoview"),
            ("prn-wide", "prn"),
        )
    }
    monkeypatch.setattr(pipeline, "face_model_of", lambda device: model)
    monkeypatch.setattr(paths, "WEIGHTS", tmp_path)
    monkeypatch.setattr(paths, "CACHE", tmp_path)
    monkeypatch.setattr(
        weights, "_load", lambda path, *_: known[path.split("/")[-1].removesuffix("-small.safetensors")]
    )
    how = {"box": (180.0, 87.5, 270.0, 177.0), "device": "cpu"}
    photo = photos.load("astronaut").copy()
    for name in ("rotation", "twoview-rotated", "prn-wide"):
        (tmp_path / f"{name}-small.safetensors").touch()
    pipeline._rotation.cache_clear()
    make = "no weights of coefficients-wide: `facet train coefficients --variant wide`"
    with pytest.raises(FileNotFoundError, match=make):
        facet.reconstruct(photo, model="rotation", **how)
    (tmp_path / "coefficients-wide-small.safetensors").touch()
    made = {name: pipeline._network(name, 1, torch.device("cpu")) for name in pipeline.ROTATIONS}
    assert isinstance(made["rotation-prn"].rotator.fit, fits.PositionMapFit)
    assert made["rotation"].rotator.fit.network is answer
    face = facet.reconstruct(photo, model="rotation", **how)
    assert face.system == "rotation"
    assert face.position_map.shape == (3, SIZE, SIZE)
    pipeline._rotation.cache_clear()
    assert rotation.PARTS[0] == fits.NETWORKS[fits.DEFAULT]
