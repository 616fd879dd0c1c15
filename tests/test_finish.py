"""Camera finish: every effect alone against a closed form or another implementation, and the whole."""

import io
import math
from dataclasses import fields

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from scipy import ndimage

from facet.disturb import LUMA
from facet.jpeg import jpeg
from facet.synthetic import finish as f
from facet.synthetic.finish import Finish, apply_finish, draw_finish, to_linear, to_srgb


def radiance(count: int = 1, size: int = 64, seed: int = 0) -> torch.Tensor:
    """Smooth pictures with some detail, a few pixels brighter than white."""
    draw = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 6, 6, generator=draw)
    fine = torch.rand(count, 3, size, size, generator=draw)
    return 1.1 * F.interpolate(coarse, (size, size), mode="bilinear") * (0.8 + 0.2 * fine)


def one(**columns) -> Finish:
    """A plain finish of one picture with some columns changed."""
    table = Finish.plain(1)
    for name, value in columns.items():
        column = getattr(table, name)
        setattr(table, name, torch.as_tensor(value, dtype=column.dtype).expand_as(column).clone())
    return table


def test_plain_encodes_srgb_and_nothing_else(device):
    pictures = radiance(3).to(device)
    assert torch.equal(apply_finish(pictures, Finish.plain(3).to(device)), to_srgb(pictures))


def test_srgb_curve():
    linear = torch.linspace(0, 1, 4001, dtype=torch.float64)
    expected = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    assert np.allclose(to_srgb(linear), expected, atol=1e-7)
    assert torch.allclose(to_linear(to_srgb(linear)), linear, atol=1e-7)
    assert float(to_srgb(torch.tensor(0.2140411))) == pytest.approx(0.5, abs=1e-6)
    assert to_srgb(torch.tensor([-1.0, 0.0, 1.0, 7.0])).tolist() == pytest.approx([0, 0, 1, 1], abs=1e-6)


def test_vignette_falls_with_the_square_of_the_radius():
    flat = torch.full((1, 3, 65, 65), 0.6)
    out = f.vignette(flat, one(vignette=[0.4, 0.0, 0.0]))[0, 0]
    assert float(out[32, 32]) == pytest.approx(0.6)
    assert float(out[0, 0]) == pytest.approx(0.6 * 0.6)
    assert float(out[32, 64]) == pytest.approx(0.6 * 0.8)  # half of the corner's squared distance
    right = f.vignette(flat, one(vignette=[0.4, 0.5, -0.5]))[0, 0]
    assert float(right[16, 48]) == pytest.approx(0.6)


@pytest.mark.parametrize("sigma", [0.4, 0.8, 1.5])
def test_soften_is_a_gaussian(sigma):
    pictures = radiance(1, 256)
    out = f.soften(pictures, one(blur=sigma))
    expected = ndimage.gaussian_filter(pictures.numpy(), (0, 0, sigma, sigma), mode="nearest", radius=6)
    assert np.allclose(out, expected, atol=1e-5)


def slow_kernel(points: np.ndarray, reach: int) -> np.ndarray:
    """Bilinear weights of points on a grid, one point after the other."""
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1))
    for x, y in points:
        left, top = math.floor(x), math.floor(y)
        for column in (left, left + 1):
            for row in (top, top + 1):
                kernel[row + reach, column + reach] += (1 - abs(x - column)) * (1 - abs(y - row))
    return kernel / len(points)


@pytest.mark.parametrize(("radius", "path"), [(1.7, (0.0, 0.0)), (0.0, (4.0, -1.5)), (1.2, (-2.0, 3.0))])
def test_smudge_is_a_disk_along_a_path(radius, path):
    pictures = radiance(1, 64)
    steps = (np.arange(64) + 0.5) / 64
    angle = (np.arange(64) + 0.5) * math.pi * (3 - math.sqrt(5))
    disk = radius * np.sqrt(steps)[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
    line = np.linspace(-0.5, 0.5, 49)[:, None] * np.array(path)
    expected = F.pad(pictures, (4,) * 4, mode="replicate").double().numpy()
    for points in (disk, line):
        expected = ndimage.convolve(expected, slow_kernel(points, 4)[None, None], mode="nearest")
    out = f.smudge(pictures, one(defocus=radius, motion=path))
    assert np.allclose(out, expected[:, :, 4:-4, 4:-4], atol=1e-5)


def test_blur_spreads_as_far_as_asked():
    point = torch.zeros(1, 3, 129, 129)
    point[:, :, 64, 64] = 1.0
    place = torch.arange(-64.0, 65.0)

    def variance(out):
        return [float((out[0, 0].sum(axis) * place**2).sum()) for axis in (0, 1)]

    assert variance(f.smudge(point, one(motion=[6.0, 0.0]))) == pytest.approx(
        [36 / 12, 0.0], rel=0.1, abs=0.01
    )
    assert variance(f.smudge(point, one(defocus=4.0))) == pytest.approx([4.0, 4.0], rel=0.06)
    assert float(f.smudge(point, one(defocus=4.0)).sum()) == pytest.approx(3.0, rel=1e-4)


@pytest.mark.parametrize("cells", [32, 16])
def test_shrink_is_area_down_and_bilinear_up(cells):
    pictures = radiance(1, 64)
    expected = F.interpolate(F.interpolate(pictures, (cells, cells), mode="area"), (64, 64), mode="bilinear")
    assert torch.allclose(f.shrink(pictures, one(shrink=64 / cells)), expected, atol=1e-5)


@pytest.mark.parametrize("cells", [50, 23])
def test_shrink_by_any_factor(cells):
    line = radiance(1, 64)[0, 0, :1]
    sums = np.concatenate([[0.0], np.cumsum(line[0].double().numpy())])
    edges = np.linspace(0, 64, cells + 1)
    small = np.diff(np.interp(edges, np.arange(65), sums)) / (64 / cells)
    expected = np.interp(np.arange(64) + 0.5, (edges[1:] + edges[:-1]) / 2, small)
    out = f.shrink(line[None, None].expand(1, 3, 64, 64), one(shrink=64 / cells))
    assert np.allclose(out[0, 0, 7], expected, atol=1e-5)
    assert torch.allclose(out[0, 0, 7], out[0, 2, 50], atol=1e-5)


def test_exposure_and_white_balance():
    grey = torch.full((1, 3, 8, 8), 0.2)
    out = apply_finish(grey, one(exposure=1.0, white_balance=[1.5, 1.0, 0.5]))[0, :, 0, 0]
    assert torch.allclose(out, to_srgb(torch.tensor([0.6, 0.4, 0.2])))
    assert torch.allclose(apply_finish(grey, one(exposure=4.0)), torch.ones(1, 3, 8, 8))


@pytest.mark.parametrize("grain", [(0.0, 0.0), (0.8, 1.6)])
@pytest.mark.parametrize("signal", [0.05, 0.6])
def test_noise_has_the_variance_asked_for(signal, grain):
    flat = torch.full((2, 3, 256, 256), signal)
    table = Finish.plain(2)
    table.noise, table.grain = torch.tensor([[4e-4, 2e-3, 0.3]] * 2), torch.tensor([grain] * 2)
    table.seed = torch.tensor([5, 6])
    noise = f.add_noise(flat, table) - signal
    assert float(noise.var()) == pytest.approx(4e-4 * signal + 4e-6, rel=0.04)
    assert abs(float(noise.mean())) < 0.02 * math.sqrt(4e-4 * signal + 4e-6)
    channels = torch.corrcoef(noise[0].flatten(1))
    assert float(channels[0, 1]) == pytest.approx(0.7, abs=0.04)
    pictures = torch.corrcoef(noise[:, 0].flatten(1))
    assert abs(float(pictures[0, 1])) < 0.03
    neighbours = torch.corrcoef(torch.stack([noise[0, 0, :, 1:].flatten(), noise[0, 0, :, :-1].flatten()]))
    assert (float(neighbours[0, 1]) > 0.4) == (grain[0] > 0)


def test_noise_is_a_hash_of_place_and_seed(device):
    def mix(x):
        x = ((x ^ (x >> 16)) * 0x7FEB352D) & 0xFFFFFFFF
        x = ((x ^ (x >> 15)) * 0x846CA68B) & 0xFFFFFFFF
        return x ^ (x >> 16)

    seeds = [0, 77, 2**31 - 1]
    out = f.hashed_normal(torch.tensor(seeds, device=device), (2, 3, 5)).cpu()
    for row, seed in zip(out, seeds, strict=True):
        states = [mix(mix(seed) ^ place) for place in range(30)]
        bytes_ = [sum((s >> k) & 255 for k in (0, 8, 16, 24)) for s in states]
        expected = (np.array(bytes_) - 510) * math.sqrt(3 / 65535)
        assert np.allclose(row.flatten(), expected, atol=1e-5)


def test_highlights_roll_off_above_the_knee():
    light = np.linspace(0, 6, 100, dtype=np.float32)
    out = f.roll_off(torch.from_numpy(light).expand(1, 3, 1, 100), one(knee=0.6))[0, 0, 0]
    assert np.allclose(out, np.where(light < 0.6, light, 1 - 0.4 * np.exp(-(light - 0.6) / 0.4)), atol=1e-6)


def test_tone_curve():
    y = torch.linspace(0, 1, 101).expand(1, 3, 1, 101)
    out = f.bend(y, one(curve=[0.1, 0.5, 0.0]))[0, 0, 0]
    assert torch.allclose(
        out, y[0, 0, 0] + y[0, 0, 0] * (1 - y[0, 0, 0]) * (0.1 + y[0, 0, 0] - 0.5), atol=1e-6
    )
    faded = f.bend(y, one(curve=[0.0, 0.0, 0.1]))[0, 0, 0]
    assert (float(faded[0]), float(faded[-1])) == pytest.approx((0.1, 1.0))
    curves = draw_finish(torch.Generator().manual_seed(1), 4000, image_size=256).curve
    assert float((curves[:, 0].abs() + curves[:, 1]).max()) <= 1.0  # monotone


def test_colours():
    pictures = to_srgb(radiance())
    grey = f.recolour(pictures, one(saturation=0.0))
    assert torch.allclose(grey[:, 0], torch.einsum("nchw,c->nhw", pictures, torch.tensor(LUMA)), atol=1e-6)
    assert torch.allclose(grey[:, 0], grey[:, 2], atol=1e-6)
    brown = f.recolour(pictures * 0.8, one(sepia=1.0))
    assert torch.allclose(brown[:, 2], brown[:, 0] * f.SEPIA[2] / f.SEPIA[0], atol=1e-5)


def test_sharpening_is_an_unsharp_mask_of_the_luma():
    pictures = 0.3 + 0.4 * to_srgb(radiance(1, 48))
    luma = np.einsum("nchw,c->nhw", pictures, LUMA)
    halo = 0.7 * (luma - ndimage.gaussian_filter(luma, (0, 1.1, 1.1), mode="nearest", radius=5))
    expected = (pictures.numpy() + halo[:, None]).clip(0, 1)
    assert np.allclose(f.sharpen(pictures, one(sharpen=[0.7, 1.1])), expected, atol=1e-5)


@pytest.mark.parametrize("quality", [25, 40, 50, 75, 90, 98])
@pytest.mark.parametrize("size", [(64, 64), (61, 83)])
def test_jpeg_is_pillows(quality, size):
    coloured = to_srgb(radiance(1, 96))[:, :, : size[0], : size[1]]
    pixels = (coloured[0].permute(1, 2, 0) * 255).round().to(torch.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels.numpy()).save(file, "JPEG", quality=quality, subsampling=2)
    expected = np.asarray(Image.open(file), dtype=np.float32)
    given = pixels.permute(2, 0, 1)[None] / 255
    out = 255 * jpeg(given, torch.tensor([float(quality)]), subsample=True)[0].permute(1, 2, 0).numpy()
    assert np.abs(out - expected).mean() < 1.0
    assert np.abs(out - expected).mean() < 0.4 * np.abs(pixels.numpy() - expected).mean()


def test_pictures_do_not_depend_on_their_batch(device):
    pictures = radiance(24, 64).to(device)
    table = draw_finish(torch.Generator().manual_seed(3), 24, image_size=64).to(device)
    kept = pictures.clone()
    together = apply_finish(pictures, table)
    assert torch.equal(pictures, kept)
    assert torch.equal(together, apply_finish(pictures, table))
    assert together.shape == pictures.shape
    assert float(together.min()) >= 0.0
    assert float(together.max()) <= 1.0
    assert torch.isfinite(together).all()
    assert torch.equal(together, apply_finish(pictures.to(memory_format=torch.channels_last), table))
    for k in (0, 5, 23):
        alone = apply_finish(pictures[k : k + 1], table.rows(slice(k, k + 1)))
        assert float((alone[0] - together[k]).abs().mean()) < 1e-4


def test_nothing_is_made_on_another_device_than_the_inputs():
    pictures, table = radiance(24, 64), draw_finish(torch.Generator().manual_seed(3), 24, image_size=64)
    expected = apply_finish(pictures, table)  # fills the cache of JPEG's tables
    with torch.device("meta"):  # where a tensor lands that is made without a word on where
        assert torch.equal(apply_finish(pictures, table), expected)
        f._expose(pictures.clone(), table)


def test_effects_of_a_batch_are_those_of_its_rows():
    pictures = radiance(5, 48)
    table = Finish.plain(5)
    table.blur[1], table.shrink[2], table.quality[3] = 1.0, 2.0, 50.0
    table.noise[4] = torch.tensor([1e-3, 1e-3, 0.5])
    together = f._expose(pictures.clone(), table)  # all rows at once, as on a GPU
    for k in range(5):
        alone = apply_finish(pictures[k : k + 1], table.rows(slice(k, k + 1)))
        assert torch.allclose(alone[0], together[k], atol=1e-5)


def test_draws_are_mostly_decent_and_each_effect_is_often_absent():
    table = draw_finish(torch.Generator().manual_seed(0), 4000, image_size=256)
    plain = Finish.plain(1)
    for field in fields(Finish):
        if field.name not in ("seed", "vignette", "noise", "curve", "sharpen"):
            column, neutral = getattr(table, field.name), getattr(plain, field.name)
            absent = torch.isclose(column, neutral, atol=1e-6).view(4000, -1).all(1)
            assert 0.1 < float(absent.float().mean()) < 0.995, field.name
    for strength in (table.vignette[:, 0], table.noise[:, 0], table.sharpen[:, 0], *table.curve.T):
        assert 0.1 < float((strength == 0).float().mean()) < 0.9
    assert float(table.quality[table.quality > 0].median()) > 75
    assert 25 <= float(table.quality[table.quality > 0].min()) < 40
    assert float(table.exposure.abs().median()) < 0.3
    reach = table.defocus + table.motion.norm(dim=1) / 2
    assert float(reach.max()) < 256 * f.REACH
    assert 0.02 < float((table.saturation == 0).float().mean()) < 0.07


def test_lengths_follow_the_image_size_and_rows_are_stored():
    small, large = (draw_finish(torch.Generator().manual_seed(0), 50, image_size=s) for s in (128, 256))
    for name in ("blur", "defocus", "motion", "grain"):
        assert torch.allclose(2 * getattr(small, name), getattr(large, name))
    again = Finish.from_state(large.state("finish"), "finish")
    assert all(torch.equal(getattr(again, x.name), getattr(large, x.name)) for x in fields(Finish))


def test_a_table_of_another_length_is_refused():
    with pytest.raises(ValueError, match="2 finishes do not fit 3 pictures"):
        apply_finish(radiance(3), Finish.plain(2))
