"""Backgrounds: bounded, varied, reproducible, and the test split's families are its own."""

import pytest
import torch

from facet.synthetic.backgrounds import FAMILIES, TEST_HUES, background, natural_colours, noise_octaves


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("size", [17, 64, 160])
@pytest.mark.parametrize("split", ["train", "test"])
def test_shape_range_and_determinism(split, size):
    pictures = background(generator(), 12, size, split=split)
    assert pictures.shape == (12, 3, size, size)
    assert pictures.dtype == torch.float32
    assert 0.0 <= float(pictures.min()) <= float(pictures.max()) <= 1.0
    assert torch.isfinite(pictures).all()
    assert torch.equal(pictures[:5], background(generator(), 5, size, split=split))


def test_pictures_differ_and_have_structure():
    pictures = background(generator(), 60, 32)
    brightness = pictures.mean(dim=(1, 2, 3))
    assert float(brightness.std()) > 0.1
    assert float(pictures.flatten(1).std(dim=1).median()) > 0.05
    assert float(torch.cdist(pictures.flatten(1), pictures.flatten(1)).add(torch.eye(60) * 99).min()) > 0.5


def test_every_family_draws_and_splits_differ():
    palette = natural_colours(generator(), 6)
    for family in set(FAMILIES["train"]) | set(FAMILIES["test"]):
        picture = family(generator(1), 24, palette)
        assert picture.shape == (3, 24, 24)
        assert torch.isfinite(picture).all()
    assert {f.__name__ for f in set(FAMILIES["test"]) - set(FAMILIES["train"])} == {"_cells", "_waves"}


def test_reserved_hues_are_dull_in_training():
    def loudest(split: str) -> float:
        colours = torch.cat([natural_colours(generator(i), 6, split=split) for i in range(400)]).tolist()
        return max(_saturation(c) for c in colours if TEST_HUES[0] < _hue(c) < TEST_HUES[1])

    assert loudest("train") < 0.16
    assert loudest("test") > 0.5


def test_octaves_are_spread_over_the_range():
    field = noise_octaves(generator(), 64, 8)
    assert float(field.min()) < 0.15
    assert float(field.max()) > 0.85


def test_unknown_split():
    with pytest.raises(ValueError, match="split"):
        background(generator(), 1, 8, split="validation")


def _hue(colour: list[float]) -> float:
    import colorsys

    return colorsys.rgb_to_hsv(*colour)[0]


def _saturation(colour: list[float]) -> float:
    import colorsys

    return colorsys.rgb_to_hsv(*colour)[1]
