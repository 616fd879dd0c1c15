"""Reconstruction by coefficients where network and face model lie on another device; tried on none at all."""

import numpy as np
import pytest
import torch
from elsewhere import There, elsewhere
from torch import nn

from facet.face_model import compact, load
from facet.networks.layout import Layout
from facet.reconstruction import by_coefficients, photos, pipeline
from facet.reconstruction.views import View

pytestmark = pytest.mark.assets


class Same(nn.Module):
    """The same coefficients for every crop, on the crop's device."""

    name, image_size, output, views = "coefficients", 32, "coefficients", 1

    def __init__(self, layout, numbers, device="cpu"):
        super().__init__()
        self.layout, self.numbers = layout, numbers.to(device)

    def parameters(self, recurse=True):
        return iter([self.numbers])

    def forward(self, images):
        assert images.device == self.numbers.device
        return self.numbers.expand(len(images), -1)


@pytest.mark.parametrize(("given", "refine"), [(True, 0), (False, 0), (True, 2)])
def test_a_face_by_coefficients(monkeypatch, given, refine):
    """As on the CPU: with the caller's box, with a second crop by what was found, and fitted to the photo."""
    monkeypatch.setattr(compact, "VERTICES", 300)
    model = load()
    layout = Layout(**compact.counts(model))
    numbers = 0.3 * torch.randn(1, layout.total, generator=torch.Generator().manual_seed(1))
    numbers[:, -6:] = 0
    photo, marks = photos.load("astronaut").copy(), np.linspace((180.0, 87.5), (270.0, 177.0), 68)
    view = View("her", photo, np.array([180.0, 87.5, 270, 177]), given, landmarks=marks)
    expected = pipeline._by_coefficients([view], Same(layout, numbers), model, refine)
    with elsewhere() as device:
        there = model.to(device)
        assert isinstance(by_coefficients.renderer_of(there).face.mean, There)
        found = pipeline._by_coefficients([view], Same(layout, numbers, device), there, refine)
    np.testing.assert_allclose(found.vertices, expected.vertices, atol=1e-3)
    np.testing.assert_allclose(found.box, expected.box)
    np.testing.assert_allclose(found.texture.astype(int), expected.texture.astype(int), atol=1)
    np.testing.assert_allclose(found.pose, expected.pose, atol=1e-3)
