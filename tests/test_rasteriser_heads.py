"""The rasteriser on the heads it is for, beside open3d's ray caster, with a table of both speeds."""

import pytest
import torch

from facet.geometry import model_to_image, transform_points
from facet.paths import CACHE

pytestmark = [
    pytest.mark.assets,
    pytest.mark.slow,
    pytest.mark.skipif(
        not (CACHE / "face_model.safetensors").is_file(), reason="the face model has not been built"
    ),
]
YAWS = (-90.0, -45.0, 0.0, 45.0, 90.0)
SIZE = 256


@pytest.fixture(scope="module")
def heads():
    """(20, V, 3) heads in millimetres and their (F, 3) triangles."""
    import facet.face_model

    model = facet.face_model.load()
    generator = torch.Generator().manual_seed(0)
    alpha_id = 0.8 * torch.randn(20, model.identity_modes, generator=generator)
    alpha_exp = 0.6 * (torch.rand(20, 52, generator=generator) > 0.9).float()
    with torch.no_grad():
        return model.blend_head(alpha_id, alpha_exp), model.head_triangles


def in_image(heads, yaw):
    """(B, V, 3) in the image frame, the head's box filling nine tenths of the picture."""
    batch = len(heads)
    low, high = heads.amin(1), heads.amax(1)
    centred = heads - ((low + high) / 2)[:, None]
    scale = 0.9 * SIZE / (high - low).amax(1)
    angles = [torch.full((batch,), angle) for angle in (yaw, 0.0, 0.0)]
    matrix = model_to_image(*angles, scale, torch.full((batch, 2), SIZE / 2))
    return transform_points(matrix, centred)


def test_heads_agree_with_a_ray_caster(heads, record_property):
    pytest.importorskip("open3d")
    from facet.rendering.compare import comparison_table

    meshes, triangles = heads
    views = {f"{yaw:+.0f}": in_image(meshes, yaw) for yaw in YAWS}
    table = comparison_table(views, triangles, SIZE, repeats=1)
    assert [row["meshes"] for row in table] == [20] * len(YAWS)
    for row in table:
        record_property(f"yaw {row['view']}", row)  # `pytest --junitxml` keeps the table of both speeds
        assert row["same_or_adjacent"] >= 0.995
        assert row["depth_error"] <= 1e-3
        assert row["coverage_difference"] <= 2e-3
