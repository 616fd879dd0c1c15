"""The 300W-LP crop beside the thesis' listing and beside scikit-image; loading of photographs."""

import numpy as np
import pytest
import torch
from PIL import Image

from facet.crop import compose, crop_box, crop_box_from_bounds, crop_image, crop_matrix, invert, lift
from facet.geometry import model_to_image, similarity, transform_points
from facet.images import load_image
from facet.synthetic.backgrounds import background


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def landmarks(seed: int = 0) -> torch.Tensor:
    return torch.rand((68, 3), generator=generator(seed), dtype=torch.float64) * 150 + 90


def picture(size: int = 200) -> torch.Tensor:
    return background(generator(3), 1, size)[0].permute(1, 2, 0).contiguous()


def test_crop_equals_listing_a1():
    """TwoView listing A.1, copied line by line, without its random part."""
    from skimage.transform import estimate_transform, warp

    points, image, size_out = landmarks().numpy(), picture(300).numpy(), 256
    kpt = points.astype(np.int32)
    left, right, top, bottom = kpt[:, 0].min(), kpt[:, 0].max(), kpt[:, 1].min(), kpt[:, 1].max()
    center = np.array([right - (right - left) / 2.0, bottom - (bottom - top) / 2.0])
    size = int((right - left + bottom - top) / 2 * 1.5)
    source = center + np.array([[-0.5, -0.5], [-0.5, 0.5], [0.5, -0.5]]) * size
    target = np.array([[0, 0], [0, size_out - 1], [size_out - 1, 0]])
    form = estimate_transform("similarity", source, target)
    expected = warp(image, form.inverse, output_shape=(size_out, size_out))
    box = crop_box(landmarks(), truncate=True)
    matrix = box.matrix(size_out)
    np.testing.assert_allclose(matrix[0], form.params[:2], atol=1e-9)
    ours = crop_image(torch.from_numpy(image), matrix, size_out)[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(ours, expected, atol=2e-5)


def test_crop_sends_box_corners_to_image_corners():
    matrix = crop_matrix(torch.tensor([[50.0, 70.0]]), torch.tensor([40.0]), 128)
    corners = torch.tensor([[30.0, 50.0], [70.0, 90.0]])
    moved = corners @ matrix[0, :, :2].T + matrix[0, :, 2]
    torch.testing.assert_close(moved, torch.tensor([[0.0, 0.0], [127.0, 127.0]]), atol=1e-4, rtol=0)


def test_jitter_stays_in_range_and_is_reproducible():
    batch = landmarks()[None].expand(500, 68, 3)
    plain, jittered = crop_box(batch), crop_box(batch, generator=generator())
    old_size = plain.size / 1.5
    shift = (jittered.centre - plain.centre) / old_size[:, None]
    factor = jittered.size / plain.size
    assert 0.095 < float(shift.abs().max()) <= 0.1
    assert 0.9 <= float(factor.min()) < 0.905
    assert 1.095 < float(factor.max()) <= 1.1
    again = crop_box(batch, generator=generator())
    assert torch.equal(again.centre, jittered.centre)


def test_bounds_and_landmarks_agree():
    points = landmarks()
    bounds = (*points[:, :2].amin(0).tolist(), *points[:, :2].amax(0).tolist())
    torch.testing.assert_close(crop_box_from_bounds(bounds).size.double(), crop_box(points).size)


def test_lift_scales_depth_and_composes_with_the_model_map():
    centre = torch.tensor([[120.0, 130.0]], dtype=torch.float64)
    to_photo = model_to_image(torch.tensor(90.0, dtype=torch.float64), 5.0, 3.0, 1.3, centre)
    matrix = crop_matrix(centre + 4, torch.tensor([170.0], dtype=torch.float64), 128)
    points = torch.rand((1, 20, 3), generator=generator(), dtype=torch.float64) * 100
    both = transform_points(compose(lift(matrix), to_photo), points)
    photo = transform_points(to_photo, points)
    expected = torch.cat(
        (photo[..., :2] @ matrix[:, :, :2].mT + matrix[:, None, :, 2], photo[..., 2:] * 127 / 170), dim=2
    )
    torch.testing.assert_close(both, expected)
    torch.testing.assert_close(similarity(points, both, reflect=True).scale[0].item(), 1.3 * 127 / 170)


def test_invert_undoes_and_z_offset_adds():
    matrix = crop_matrix(torch.tensor([[20.0, 30.0]]), torch.tensor([25.0]), 64)
    unit = compose(invert(matrix), matrix)
    torch.testing.assert_close(unit[0, :, :2], torch.eye(2))
    assert float(unit[0, :, 2].abs().max()) < 1e-5
    assert float(lift(matrix, 7.0)[0, 2, 3]) == 7.0


def test_shrinking_averages_and_keeps_places():
    """A fine checkerboard shrunk ten times is grey, and a soft blob stays where the matrix sends it."""
    y, x = torch.meshgrid(torch.arange(900.0), torch.arange(900.0), indexing="ij")
    checks = ((x + y) % 2)[..., None].expand(-1, -1, 3)
    matrix = crop_matrix(torch.tensor([[450.0, 450.0]]), torch.tensor([800.0]), 80)
    assert float((crop_image(checks, matrix, 80) - 0.5).abs().max()) < 0.02
    blob = torch.exp(-((x - 300.3) ** 2 + (y - 520.7) ** 2) / (2 * 30.0**2))[..., None].expand(-1, -1, 3)
    small = crop_image(blob, matrix, 80)[0, 0]
    rows, columns = torch.meshgrid(torch.arange(80.0), torch.arange(80.0), indexing="ij")
    found = torch.stack(((small * columns).sum(), (small * rows).sum())) / small.sum()
    expected = matrix[0, :, :2] @ torch.tensor([300.3, 520.7]) + matrix[0, :, 2]
    torch.testing.assert_close(found, expected, atol=0.02, rtol=0)


def test_outside_is_black_or_the_edge():
    white = torch.full((60, 60, 3), 255, dtype=torch.uint8)
    matrix = crop_matrix(torch.tensor([[0.0, 30.0]]), torch.tensor([40.0]), 41)
    black, edge = crop_image(white, matrix, 41), crop_image(white, matrix, 41, fill="edge")
    assert float(black[..., :19].max()) == 0.0
    assert float(black[..., 22:].min()) > 0.999
    assert float(edge.min()) > 0.999


def test_crop_errors():
    matrix = crop_matrix(torch.tensor([[900.0, 900.0]]), torch.tensor([40.0]), 32)
    with pytest.raises(ValueError, match="outside of the photograph"):
        crop_image(torch.zeros(50, 50, 3), matrix, 32)
    with pytest.raises(ValueError, match="x0 < x1"):
        crop_box_from_bounds((10.0, 10.0, 10.0, 10.0))
    with pytest.raises(ValueError, match="landmarks must be"):
        crop_box(torch.zeros(68, 4))


# Loading

RGB = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_is_turned_upright(tmp_path, orientation):
    """Stored pixels per EXIF 2.3: undo the orientation and the original comes back."""
    undo = {
        1: lambda a: a,
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: np.rot90(a.transpose(1, 0, 2), 2),
        8: lambda a: np.rot90(a, -1),
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "photo.png"
    Image.fromarray(np.ascontiguousarray(undo[orientation](RGB))).save(path, exif=exif)
    np.testing.assert_array_equal(load_image(path), RGB)


def test_modes_become_rgb(tmp_path):
    grey = RGB[..., 0]
    np.testing.assert_array_equal(load_image(grey), np.repeat(grey[..., None], 3, axis=2))
    alpha = np.dstack((RGB, np.where(np.arange(50) < 25, 0, 255).astype(np.uint8)[None].repeat(40, 0)))
    over_white = load_image(alpha)
    assert (over_white[:, :25] == 255).all()
    np.testing.assert_array_equal(over_white[:, 25:], RGB[:, 25:])
    deep = Image.fromarray(grey.astype(np.uint16) * 257)
    deep.save(tmp_path / "deep.png")
    np.testing.assert_array_equal(load_image(tmp_path / "deep.png")[..., 1], grey)
    flat = np.full((40, 40, 3), (200, 100, 50), np.uint8)
    Image.fromarray(flat).convert("CMYK").save(tmp_path / "print.jpg", quality=95)
    assert np.abs(load_image(tmp_path / "print.jpg").astype(int) - flat).max() < 6
    palette = Image.fromarray(flat).convert("P", palette=Image.Palette.ADAPTIVE)
    np.testing.assert_array_equal(load_image(palette), flat)
    np.testing.assert_array_equal(load_image(RGB), RGB)
    assert load_image(RGB) is not RGB


def test_floats_span_what_their_highest_value_says():
    """0…1 where none is above 1, else 0…255, else 0…65535; whole numbers of the mode "I" stay as they are."""
    grey = RGB[..., 0]
    for highest in (1, 255, 65535):
        image = Image.fromarray((grey / 255 * highest).astype(np.float32))
        assert image.mode == "F"
        np.testing.assert_array_equal(load_image(image)[..., 0], grey)
    dark = Image.fromarray(np.minimum(grey, 1).astype(np.int32))
    assert load_image(dark).max() == 1


def test_load_errors_name_the_file(tmp_path):
    text = tmp_path / "text.jpg"
    text.write_text("no picture")
    whole = tmp_path / "whole.jpg"
    Image.fromarray(np.tile(RGB, (5, 5, 1))).save(whole)
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(whole.read_bytes()[:4000])
    tiny = tmp_path / "tiny.png"
    Image.fromarray(RGB[:20]).save(tiny)
    cases = {
        tmp_path / "missing.jpg": "does not exist",
        text: "JPEG or PNG",
        cut: "cut short",
        tiny: "50×20 pixels",
        tmp_path: "is a folder",
    }
    for path, words in cases.items():
        with pytest.raises(ValueError, match=words) as caught:
            load_image(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="the path of the photograph is empty"):
        load_image("")
    with pytest.raises(ValueError, match=r"\. is a folder"):
        load_image(".")
    with pytest.raises(ValueError, match="float32"):
        load_image(np.zeros((40, 40, 3), np.float32))
    with pytest.raises(ValueError, match="shape"):
        load_image(np.zeros((40, 40, 5), np.uint8))
