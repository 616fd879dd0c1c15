"""Scene backgrounds: light, not sRGB; varied, reproducible, out of focus as asked; the test split's own."""

import colorsys

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from facet.synthetic import rooms
from facet.synthetic.backgrounds import TEST_HUES
from facet.synthetic.canvas import Canvas
from facet.synthetic.finish import to_linear
from facet.synthetic.rooms import FAMILIES, scene_background, texture_files

NOWHERE = None  # procedural families only, whatever lies in data/raw
EVERY = {paint for paint, *_ in FAMILIES["test"]}


def make(seed: int, size: int = 48, split: str = "train", textures=NOWHERE) -> torch.Tensor:
    return scene_background(torch.Generator().manual_seed(seed), size, split=split, textures=textures)


def canvas(size: int = 64, seed: int = 0, split: str = "train") -> Canvas:
    return Canvas(torch.Generator().manual_seed(seed), size, split)


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("size", [33, 160])
def test_shape_range_and_one_seed(split, size):
    for seed in range(12):
        picture = make(seed, size, split)
        assert picture.shape == (3, size, size)
        assert picture.dtype == torch.float32
        assert torch.isfinite(picture).all()
        assert float(picture.min()) >= 0.0
        torch.manual_seed(seed + 5)  # the global state has no say
        assert torch.equal(picture, make(seed, size, split))


def test_pictures_differ_and_are_lit_like_scenes():
    pictures = torch.stack([make(seed, 32) for seed in range(80)])
    flat = pictures.clamp(max=1).flatten(1)
    assert float(torch.cdist(flat, flat).add(torch.eye(80) * 99).min()) > 0.3
    level = pictures.mean(dim=(1, 2, 3))
    assert float(level.std()) > 0.1
    assert 0.1 < float(level.median()) < 0.45
    assert 0.1 < float((pictures.amax(dim=(1, 2, 3)) > 1.2).float().mean()) < 0.8  # windows, lamps, sky


def test_splits_share_all_but_two_families():
    train, test = ({paint.__name__ for paint, *_ in FAMILIES[split]} for split in ("train", "test"))
    assert train < test
    assert test - train == {"stone", "beach"}
    seen = {split: torch.stack([make(seed, 24, split) for seed in range(20)]) for split in ("train", "test")}
    assert not torch.equal(seen["train"], seen["test"])


@pytest.mark.parametrize("paint", sorted(EVERY, key=lambda f: f.__name__), ids=lambda f: f.__name__)
@pytest.mark.parametrize("size", [16, 61])
def test_every_family_paints_at_every_size(paint, size):
    for seed in range(8):
        c = canvas(size, seed, "test")
        paint(c)
        assert c.pixels.shape == (3, size, size)
        assert torch.isfinite(c.pixels).all()
        assert float(c.pixels.std()) > 1e-4


@pytest.mark.parametrize("radius", [0.8, 2.3, 5.0])
def test_blur_is_a_disk(radius):
    picture = torch.rand(1, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    reach = int(np.ceil(radius))
    axis = np.arange(-reach, reach + 1)
    disk = np.clip(radius + 0.5 - np.hypot(axis[:, None], axis[None, :]), 0, 1)
    expected = ndimage.convolve(picture.numpy(), (disk / disk.sum())[None, None], mode="nearest")
    assert np.allclose(rooms._disk_blur(picture, radius), expected, atol=1e-5)


def test_a_lamp_becomes_a_disc_of_the_radius_asked_for():
    def lamp(c: Canvas) -> None:
        c.ellipse(0.5, 0.5, 0.02, 0.02, c.colour(30.0, 30.0, 30.0))

    out = rooms._out_of_focus(torch.Generator().manual_seed(0), 200, "train", lamp, 12.0)
    lit = float((out[0] > 0.5 * out[0, 95:105, 95:105].mean()).sum())
    assert lit == pytest.approx(np.pi * 12**2, rel=0.25)
    sharp = rooms._out_of_focus(torch.Generator().manual_seed(0), 200, "train", lamp, 0.0)
    assert float(out.sum()) == pytest.approx(float(sharp.sum()), rel=0.1)


def test_an_unknown_split_is_refused():
    with pytest.raises(ValueError, match="split"):
        make(0, split="validation")


def test_violet_is_dull_in_training():
    def loudest(split: str) -> float:
        worst = 0.0
        for seed in range(150):
            for colour in canvas(16, seed, split).palette.tolist():
                hue, saturation, _ = colorsys.rgb_to_hsv(*colour)
                if TEST_HUES[0] < hue < TEST_HUES[1]:
                    worst = max(worst, saturation)
        return worst

    assert loudest("train") < 0.35
    assert loudest("test") > 0.6


@pytest.fixture
def photographs(tmp_path):
    """Forty small JPEGs of one colour, in folders as DTD has them."""
    for k in range(40):
        folder = tmp_path / f"kind{k % 4}"
        folder.mkdir(exist_ok=True)
        Image.new("RGB", (50 + k, 90), (200, 100, 5 * k)).save(folder / f"kind{k % 4}_{k:04}.jpg", quality=95)
    return tmp_path


def test_texture_photographs_are_split_by_name(photographs):
    train, test = (set(texture_files(photographs, split)) for split in ("train", "test"))
    assert len(train | test) == 40
    assert not train & test
    assert 2 <= len(test) <= 16
    assert texture_files(photographs / "missing", "train") == ()


def test_texture_photographs_take_their_share_and_leave_the_others_alone(photographs):
    changed = 0
    for seed in range(100):
        plain, seen = make(seed, 20), make(seed, 20, textures=photographs)
        if torch.equal(plain, seen):
            continue
        changed += 1
        assert torch.equal(seen, make(seed, 20, textures=photographs))
        red, green = seen.mean(dim=(1, 2))[:2]
        expected = to_linear(torch.tensor([200 / 255, 100 / 255]))
        assert float(green / red) == pytest.approx(float(expected[1] / expected[0]), rel=0.05)
        assert float(seen.std(dim=(1, 2)).max()) < 0.01
    assert 8 < changed < 35


def test_a_part_of_a_photograph_is_square_and_inside(tmp_path):
    wide = np.zeros((60, 200, 3), dtype=np.uint8)
    wide[..., 0] = np.arange(200)  # red grows by one level a pixel
    Image.fromarray(wide).save(tmp_path / "a.jpg", quality=100)
    for seed in range(6):
        out = rooms._photograph(torch.Generator().manual_seed(seed), 64, tmp_path / "a.jpg")
        light = 0.5 + torch.rand(4, generator=torch.Generator().manual_seed(seed))[3]
        red = ((out[0] / light) ** (1 / 2.4) * 1.055 - 0.055).mean(0) * 255
        assert 38 < float(red[-1] - red[0]) < 61


def test_canvas_brushes():
    c = canvas(100)
    c.fill(c.colour(0.2, 0.4, 0.6))
    c.rectangle(0.1, 0.2, 0.5, 0.6, c.colour(1.0, 1.0, 1.0))
    assert int((c.pixels[0] == 1.0).sum()) == 40 * 40
    assert float(c.pixels[0, 20, 10]) == 1.0
    assert float(c.pixels[2, 19, 10]) == pytest.approx(0.6)
    c.fill(c.colour(0.0, 0.0, 0.0))
    c.ellipse(0.4, 0.7, 0.2, 0.1, c.colour(1.0, 2.0, 3.0))
    assert float(c.pixels[0].sum()) == pytest.approx(np.pi * 20 * 10, rel=0.02)
    rows, columns = torch.meshgrid(c.axis, c.axis, indexing="ij")
    weight = c.pixels[1] / c.pixels[1].sum()
    assert float((weight * columns).sum()) == pytest.approx(0.4, abs=0.005)
    assert float((weight * rows).sum()) == pytest.approx(0.7, abs=0.005)
    assert float(c.ramp(0.0, 0.5, 1.5)[3, -1]) > float(c.ramp(0.0, 0.5, 1.5)[3, 0])
    assert float(c.glow(0.5, 0.5, 0.2)[50, 70]) == pytest.approx(0.25, abs=0.02)
    for shape in ((30.0, 2.0), (1.0, 40.0)):
        field = c.stretched(*shape)
        assert float(field.min()) >= 0.0
        assert float(field.std()) > 0.1
