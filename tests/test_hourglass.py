"""Hourglasses, heat-maps, the landmark detector: structure, places, losses, recipe."""

import math

import pytest
import tiny_people
import torch
from torch import nn

from facet import heatmaps, profiles
from facet.augment import Augmentation
from facet.face_model import load
from facet.landmarks68 import FLIP
from facet.networks import build, macs, parameters, predict_landmarks
from facet.networks.hourglass import Hourglass, ResidualModule, depth_of
from facet.synthetic.batches import Batches, Validation
from facet.synthetic.dataset import open_pictures
from facet.synthetic.points import LandmarkTruth
from facet.synthetic.render import truth_vertices
from facet.training import Settings, configuration_hash, fit, recipes, volumetric
from facet.training.volume_losses import LandmarkDistance, LandmarkLoss, distance, divergence

SIZE = 64
PROFILE = profiles.load("smoke")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


# ---- structure


def test_papers_sizes():
    """256 features everywhere; at 256 pixels four halvings of 64 x 64 features down to 4 x 4."""
    network = build("landmarks")
    assert parameters(network) == 6_602_184
    assert depth_of(64) == 4
    residual = (
        256 * 128 + 9 * 128 * 128 + 128 * 256 + 256 + 2 * (256 + 128 + 128)
    )  # convolutions, bias, norms
    assert parameters(ResidualModule(256, 256)) == residual
    assert parameters(Hourglass(4, 256)) == 13 * residual


@pytest.mark.parametrize(("side", "depth"), [(64, 4), (32, 3), (16, 2), (48, 3), (8, 1)])
def test_hourglass_goes_down_to_four_places(side, depth):
    seen = []

    def note(layer, inputs, output):
        seen.append(output.shape[-1])

    hourglass = Hourglass(depth_of(side), 8).eval()
    for module in hourglass.modules():
        if isinstance(module, ResidualModule):
            module.register_forward_hook(note)
    x = torch.rand(1, 8, side, side, generator=generator())
    assert depth_of(side) == depth
    assert hourglass(x).shape == x.shape
    assert min(seen) == side // 2**depth >= 4
    assert len(seen) == 3 * depth + 1


def test_hourglass_starts_as_sums_of_its_input():
    """Residual modules start as the identity: what comes out is the input and its pooled copies, doubled."""
    from facet.networks.hourglass import initialise

    hourglass = Hourglass(2, 4).eval()
    initialise(hourglass)
    x = torch.rand(1, 4, 8, 8, generator=generator())
    half = nn.functional.max_pool2d(x, 2)
    quarter = nn.functional.max_pool2d(half, 2)
    up = nn.functional.interpolate
    expected = x + up(half + up(quarter, scale_factor=2.0), scale_factor=2.0)
    torch.testing.assert_close(hourglass(x), expected)


def test_detector_at_the_profiles_size_fits_its_limit():
    small = profiles.load("small")
    made = recipes.recipe("landmarks", small)
    network = build("landmarks", image_size=made.image_size, width=made.width)
    assert 2 * parameters(network, moving_statistics=True) < 2 * 2**20
    assert macs(network) < 200e6
    assert network.eval()(torch.zeros(1, 3, 128, 128)).shape == (1, 2, 68, 32, 32)


# ---- heat-maps


def test_gaussian_is_where_the_landmark_is():
    landmarks = torch.tensor([[[10.0, 40.0], [31.5, 0.0]]])
    maps = heatmaps.gaussian_maps(landmarks, SIZE, SIZE, sigma=2.0)
    assert maps.shape == (1, 2, SIZE, SIZE)
    assert maps[0, 0].argmax() == 40 * SIZE + 10  # row y, column x
    assert maps[0, 0, 40, 10] == 1
    for x, y in ((12, 40), (10, 43), (7, 38)):
        expected = math.exp(-((x - 10) ** 2 + (y - 40) ** 2) / 8)
        assert maps[0, 0, y, x].item() == pytest.approx(expected, rel=1e-5)


def test_quarter_maps_have_their_places_in_the_middle_of_four_pixels():
    assert heatmaps.centres(16, 64, torch.zeros(1)).tolist() == [1.5 + 4 * k for k in range(16)]


def test_soft_argmax_reads_what_was_drawn():
    landmarks = 12 + 40 * torch.rand(2, 68, 2, generator=generator())
    drawn = heatmaps.gaussian_maps(landmarks, 16, SIZE, sigma=4.0).clamp(min=1e-30).log()
    torch.testing.assert_close(heatmaps.soft_argmax(drawn, SIZE), landmarks, atol=0.05, rtol=0)


def test_guide_stacks_colour_and_heatmaps():
    images = torch.rand(2, 3, SIZE, SIZE, generator=generator())
    landmarks = SIZE * torch.rand(2, 68, 3, generator=generator(1))
    stacked = heatmaps.guide(images, landmarks, sigma=1.0)
    assert stacked.shape == (2, 71, SIZE, SIZE)
    assert torch.equal(stacked[:, :3], images)
    torch.testing.assert_close(stacked[:, 3:], heatmaps.gaussian_maps(landmarks, SIZE, SIZE, sigma=1.0))
    assert stacked.is_contiguous(memory_format=torch.channels_last)


def test_predict_landmarks_names_what_does_not_fit():
    with pytest.raises(ValueError, match="prn gives no landmarks"):
        predict_landmarks(build("prn", image_size=64, width=0.25), torch.zeros(1, 3, 64, 64))
    with pytest.raises(ValueError, match=r"reads \(B, 3, 64, 64\), got \(1, 3, 32, 32\)"):
        predict_landmarks(build("landmarks", image_size=64, width=0.25), torch.zeros(1, 3, 32, 32))


# ---- losses


def test_distance_and_divergence_against_a_loop():
    scores = torch.randn(1, 68, 8, 8, generator=generator())
    landmarks = 64 * torch.rand(1, 68, 2, generator=generator(1)) - 0.5
    landmarks[0, 5] = torch.tensor([-3.0, 10.0])  # outside: does not count
    axis = [8 * k + 3.5 for k in range(8)]
    far, apart = [], []
    for k in set(range(68)) - {5}:
        share = scores[0, k].flatten().softmax(0).view(8, 8)
        x = sum(share[i, j].item() * axis[j] for i in range(8) for j in range(8))
        y = sum(share[i, j].item() * axis[i] for i in range(8) for j in range(8))
        far.append(math.hypot(x - landmarks[0, k, 0].item(), y - landmarks[0, k, 1].item()) / 64)
        drawn = torch.tensor(
            [[math.exp(-math.dist((axis[j], axis[i]), landmarks[0, k].tolist()) ** 2 / 72) for j in range(8)]
             for i in range(8)]
        )  # fmt: skip
        drawn = drawn / drawn.sum()
        apart.append((drawn * (drawn.log() - share.log())).nansum().item())
    assert distance(scores, landmarks, 64).item() == pytest.approx(sum(far) / 67, rel=1e-4)
    assert divergence(scores, landmarks, 64, sigma=6.0).item() == pytest.approx(sum(apart) / 67, rel=1e-4)


def test_landmark_loss_is_least_on_the_truth():
    landmarks = {"landmarks": 12 + 40 * torch.rand(2, 68, 2, generator=generator())}
    drawn = heatmaps.gaussian_maps(landmarks["landmarks"], 16, SIZE, sigma=4.0).clamp(min=1e-30).log()
    loss = LandmarkLoss(SIZE, sigma=4.0, share=0.1)
    right = loss(torch.stack((drawn, drawn), dim=1), landmarks)
    assert right < 1e-3
    assert loss(torch.stack((drawn, drawn.mT), dim=1), landmarks) > 100 * right  # x and y exchanged
    assert LandmarkDistance(SIZE)(torch.stack((drawn.mT, drawn), dim=1), landmarks) < 1e-3  # the last counts


def test_loss_without_any_landmark_in_the_photo_is_finite():
    scores = torch.zeros(1, 2, 68, 8, 8, requires_grad=True)
    value = LandmarkLoss(64, sigma=6.0, share=0.1)(scores, {"landmarks": torch.full((1, 68, 2), -50.0)})
    value.backward()
    assert value.isfinite()
    assert scores.grad.isfinite().all()


# ---- data and training


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    from facet import paths

    home = tiny_people.root(tmp_path_factory.mktemp("home"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "CACHE", home / "data" / "cache")
        yield open_pictures(tiny_people.tiny(), workers=1)


def test_landmarks_of_a_batch_are_the_truths(pictures):
    model = load()
    truth = LandmarkTruth.open(model, SIZE)
    batch = Batches(pictures, None, "all-poses", 4, Augmentation(), truth=truth)
    people, side = torch.arange(4), torch.ones(4, dtype=torch.int64)
    images, target = batch.make(people, side, generator(3))
    first = torch.randint(3, (4,), generator=generator(3))
    views = pictures.views.rows(pictures.view_rows(people, first))
    expected = truth_vertices(model, pictures.subjects, views)[:, model.landmarks, :2]
    torch.testing.assert_close(target["landmarks"], expected, atol=1e-2, rtol=0)
    assert images.shape == (4, 3, SIZE, SIZE)


def test_a_mirrored_batch_has_mirrored_landmarks(pictures):
    truth = LandmarkTruth.open(load(), SIZE)
    people, side = torch.arange(2), torch.ones(2, dtype=torch.int64)
    plain, mirrored = (
        Batches(pictures, None, "front", 2, Augmentation(flip=chance), truth=truth).make(
            people, side, generator(1)
        )
        for chance in (0.0, 1.0)
    )
    torch.testing.assert_close(mirrored[0], plain[0].flip(3), atol=1e-3, rtol=0)
    expected = plain[1]["landmarks"][:, list(FLIP)].clone()
    expected[..., 0] = SIZE - 1 - expected[..., 0]
    torch.testing.assert_close(mirrored[1]["landmarks"], expected, atol=1e-2, rtol=0)
    assert (
        plain[1]["landmarks"][:, 36, 0] < plain[1]["landmarks"][:, 45, 0]
    ).all()  # the subject's right eye


def test_detector_learns_a_batch(pictures):
    """It overfits two pictures: from a quarter of the side to a few hundredths in 60 steps."""
    truth = LandmarkTruth.open(load(), SIZE)
    batches = Batches(pictures, None, "front", 2, Augmentation(), truth=truth)
    fixed = batches(0)
    network = build("landmarks", image_size=SIZE, width=0.1)
    validation = Validation(batches, LandmarkDistance(SIZE))
    validation._fixed = [fixed]
    settings = Settings(
        steps=60, batch=2, learning_rate=5e-3, schedule="cosine", validate_every=30, device="cpu", prefetch=0
    )
    loss = LandmarkLoss(SIZE, sigma=4.0, share=0.1)
    history = fit(network, lambda step: fixed, validation, settings, loss=loss, progress="none")
    assert history.best["val_loss"] < 0.05


def test_recipe():
    small = profiles.load("small")
    made = recipes.recipe("landmarks", small)
    assert made.name == "landmarks-small"
    assert made.settings.steps * made.settings.batch == small.options["hourglass_samples"]
    assert (made.settings.optimiser, made.settings.schedule) == ("adam", "cosine")
    assert made.data["generation"] == 2
    assert made.data["shown"] == "all-poses"
    others = small.with_(learning_rate=2e-3), small.with_(options={"hourglass_width": 0.5})
    hashes = {configuration_hash(recipes.recipe("landmarks", p).configuration()) for p in (small, *others)}
    assert len(hashes) == 3
    with pytest.raises(ValueError, match="nothing is known of training landmarks-deep; known: landmarks"):
        recipes.recipe("landmarks", small, variant="deep")


@pytest.mark.parametrize(("profile", "rates"), [("full", (1e-4, 1e-5)), ("small", (2e-3, 2e-4))])
def test_volumetric_rate_falls_to_a_tenth_once(profile, rates):
    settings = volumetric.recipe("vrn", profiles.load(profile)).settings
    seen = {round(settings.rate(step), 9) for step in range(settings.warmup, settings.steps)}
    assert sorted(seen, reverse=True) == pytest.approx(rates)
    assert settings.optimiser == "rmsprop"
    drop = next(s for s in range(settings.warmup, settings.steps) if settings.rate(s) < rates[0] / 2)
    assert drop % settings.validate_every == 0
    assert drop / settings.steps == pytest.approx(2 / 3, abs=0.05)
