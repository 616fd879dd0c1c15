"""Pictures and truths move together: dots at mapped points, roll, mirrors; colours beside Pillow, scipy."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from facet import disturb
from facet.augment import (
    PRESETS,
    Augmentation,
    augment,
    augment_colour,
    augment_geometry,
    draw_geometry,
    flip_landmarks,
    warp,
)
from facet.crop import compose
from facet.geometry import euler_angles, image_flip, model_to_image, similarity
from facet.jpeg import jpeg
from facet.landmarks68 import FLIP, GROUPS, NAMES, SEGMENTS
from facet.synthetic.backgrounds import background

SIZE, CONTEXT = 64, 96
STRONG = Augmentation(rotation=45.0, scale=(0.8, 1.25), translation=0.05, flip=0.5)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def dots(points: torch.Tensor, size: int, sigma: float = 2.0) -> torch.Tensor:
    """(N, 2) pixels → (N, 3, size, size), one Gaussian dot each."""
    axis = torch.arange(size, dtype=points.dtype)
    x, y = axis[None, None, :] - points[:, 0, None, None], axis[None, :, None] - points[:, 1, None, None]
    return torch.exp(-(x**2 + y**2) / (2 * sigma**2))[:, None].expand(-1, 3, -1, -1).contiguous()


def centroids(pictures: torch.Tensor) -> torch.Tensor:
    plane = pictures[:, 0]
    axis = torch.arange(plane.shape[-1], dtype=plane.dtype)
    total = plane.sum(dim=(1, 2))
    return (
        torch.stack(((plane * axis).sum(dim=(1, 2)), (plane * axis[:, None]).sum(dim=(1, 2))), 1)
        / total[:, None]
    )


def test_a_dot_moves_with_the_position_map():
    """Each photo shows one dot where its map says a random texel lies; after augmentation it still does."""
    batch = 24
    position_map = torch.rand((batch, 3, 8, 8), generator=generator(1)) * 16 + SIZE / 2 - 8
    row, column = torch.randint(0, 8, (2, batch), generator=generator(2))
    points = position_map[torch.arange(batch), :, row, column]
    context = dots(points[:, :2] + (CONTEXT - SIZE) / 2, CONTEXT)
    images, geometry = augment_geometry(context, generator(3), STRONG, image_size=SIZE)
    moved = geometry.move_map(position_map)
    assert 4 < int(geometry.flip.sum()) < 20
    column = torch.where(geometry.flip, 7 - column, column)
    expected = moved[torch.arange(batch), :, row, column]
    error = (centroids(images) - expected[:, :2]).abs().max()
    assert float(error) < 0.1
    scale = torch.linalg.det(geometry.matrices[:, 0, :, :2]).abs().sqrt()
    torch.testing.assert_close(expected[:, 2], points[:, 2] * scale)


def test_context_offset_and_identity():
    context = background(generator(), 2, CONTEXT)
    images, geometry = augment_geometry(context, generator(), PRESETS["none"], image_size=SIZE)
    edge = (CONTEXT - SIZE) // 2
    torch.testing.assert_close(images, context[:, :, edge:-edge, edge:-edge], atol=2e-5, rtol=0)
    torch.testing.assert_close(geometry.lift()[0, :, :3], torch.eye(3))


def test_positive_turn_is_clockwise_and_lowers_roll():
    """Pins the sign: roll' = roll − θ, and the map stays a similarity into the image frame."""
    turn = Augmentation(rotation=30.0)
    geometry = draw_geometry(generator(5), 6, turn, image_size=SIZE)
    angle = torch.rad2deg(torch.atan2(geometry.matrices[:, 0, 1, 0], geometry.matrices[:, 0, 0, 0]))
    assert float(angle.abs().max()) > 5
    before = model_to_image(60.0, 10.0, 4.0, 0.4, torch.full((6, 2), 31.5))
    after = compose(geometry.lift(), before)
    yaw, pitch, roll = euler_angles(image_flip(after) @ after[:, :, :3] / 0.4)
    torch.testing.assert_close(roll, 4.0 - angle, atol=1e-3, rtol=0)
    torch.testing.assert_close(yaw, torch.full((6,), 60.0), atol=1e-3, rtol=0)
    torch.testing.assert_close(pitch, torch.full((6,), 10.0), atol=1e-3, rtol=0)


def spans(values: torch.Tensor, low: float, high: float) -> bool:
    """Whether values lie in a range and reach to within 1.5 % of it at both ends."""
    lowest, highest, slack = float(values.min()), float(values.max()), 1e-5
    reach = 0.015 * (high - low)
    return low - slack <= lowest < low + reach and high - reach < highest <= high + slack


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_geometry_is_drawn_from_the_whole_of_its_ranges(flip):
    """Turn, size and the place of the crop's centre in 2,000 crops; mirrored ones are mirrored back."""
    ranges = Augmentation(rotation=30.0, scale=(0.8, 1.3), translation=0.05, flip=flip)
    matrix = draw_geometry(generator(4), 2000, ranges, image_size=SIZE).matrices[:, 0]
    centre = torch.full((2,), (SIZE - 1) / 2)
    shift = matrix[..., :2] @ centre + matrix[..., 2] - centre
    if flip:
        matrix, shift = matrix * torch.tensor([[-1.0], [1.0]]), shift * torch.tensor([-1.0, 1.0])
    assert spans(torch.rad2deg(torch.atan2(matrix[:, 1, 0], matrix[:, 0, 0])), -30.0, 30.0)
    assert spans(torch.linalg.det(matrix[..., :2]).sqrt(), 0.8, 1.3)
    for along in shift.T:
        assert spans(along, -0.05 * SIZE, 0.05 * SIZE)


def test_mirrored_map_is_a_head_turned_the_other_way():
    """A mirror-symmetric face at yaw 30, roll 8, mirrored: the face at yaw −30, roll −8, texel by texel."""
    u, v = torch.meshgrid((torch.arange(16) + 0.5) / 16, (torch.arange(16) + 0.5) / 16, indexing="xy")
    face = torch.stack((120 * (u - 0.5), 140 * (0.5 - v), 60 - 150 * (u - 0.5) ** 2)).flatten(1).T[None]
    centre = torch.full((1, 2), (SIZE - 1) / 2)

    def as_map(yaw: float, roll: float) -> torch.Tensor:
        matrix = model_to_image(yaw, 5.0, roll, 0.3, centre)
        return (face @ matrix[:, :, :3].mT + matrix[:, None, :, 3]).mT.reshape(1, 3, 16, 16)

    geometry = draw_geometry(generator(), 1, Augmentation(flip=1.0), image_size=SIZE)
    torch.testing.assert_close(geometry.move_map(as_map(30.0, 8.0)), as_map(-30.0, -8.0), atol=1e-4, rtol=0)


def test_mirror_is_exact_and_turns_both_photos():
    context = background(generator(), 4, SIZE).view(2, 6, SIZE, SIZE)
    images, geometry = augment_geometry(context, generator(), Augmentation(flip=1.0), image_size=SIZE)
    torch.testing.assert_close(images, context.flip(-1), atol=2e-5, rtol=0)
    assert geometry.matrices.shape == (2, 2, 2, 3)
    points = torch.rand((2, 68, 2), generator=generator()) * SIZE
    moved = geometry.move_landmarks(points)
    torch.testing.assert_close(moved[:, 0, 0], SIZE - 1 - points[:, 16, 0], atol=1e-4, rtol=0)
    torch.testing.assert_close(moved[:, 36], geometry.move_landmarks(points, view=1)[:, 36])


def test_views_turn_each_by_itself_but_mirror_together():
    geometry = draw_geometry(generator(), 64, STRONG, image_size=SIZE, views=2)
    front, side = geometry.matrices[:, 0], geometry.matrices[:, 1]
    assert float((front - side).abs().amax(dim=(1, 2)).min()) > 1e-3
    mirrored = torch.linalg.det(geometry.matrices[..., :2]) < 0
    assert torch.equal(mirrored, geometry.flip[:, None].expand(-1, 2))


def test_outside_black_or_mirrored():
    context = torch.full((2, 3, SIZE, SIZE), 0.7)
    matrix = torch.tensor([[0.7071, -0.7071, 31.5], [0.7071, 0.7071, -13.05]]).expand(2, 2, 3)
    out = warp(context, matrix, image_size=SIZE, black_outside=torch.tensor([True, False]))
    assert float(out[0, :, 0, 0].max()) == 0.0
    torch.testing.assert_close(out[1], torch.full_like(out[1], 0.7))
    torch.testing.assert_close(warp(context, matrix, image_size=SIZE)[1], out[0])
    eight_bit = warp((context * 255).to(torch.uint8), matrix, image_size=SIZE)
    torch.testing.assert_close(eight_bit[0], out[0], atol=3e-3, rtol=0)


def test_a_noisy_fit_recovers_the_drawn_matrix():
    """Umeyama between map before and after gives the lift (not mirrored)."""
    position_map = torch.rand((3, 3, 6, 6), generator=generator(), dtype=torch.float64) * SIZE
    geometry = draw_geometry(generator(7), 3, Augmentation(rotation=45.0, scale=(0.7, 1.3)), image_size=SIZE)
    moved = geometry.move_map(position_map)
    fitted = similarity(position_map.flatten(2).mT, moved.flatten(2).mT).matrix()
    torch.testing.assert_close(fitted.float(), geometry.lift(), atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_reproducible_bounded_and_leave_the_input(name):
    context = background(generator(), 8, 48).view(4, 6, 48, 48)
    position_map = torch.rand((4, 3, 32, 32), generator=generator()) * 32
    kept = context.clone()
    first = augment(context, position_map, generator(1), PRESETS[name])
    second = augment(context, position_map, generator(1), PRESETS[name])
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    assert torch.equal(context, kept)
    assert first[0].shape == (4, 6, 32, 32)
    assert 0.0 <= float(first[0].min()) <= float(first[0].max()) <= 1.0
    if name == "none":
        torch.testing.assert_close(first[0], context[..., 8:40, 8:40], atol=1e-5, rtol=0)
        torch.testing.assert_close(first[1], position_map)


def test_channel_scale_range_is_per_photo_and_channel():
    images = torch.full((200, 6, 8, 8), 0.5)
    out = augment_colour(images, generator(), Augmentation(channel_scale=(0.9, 1.2)))
    factor = out[:, :, 0, 0] / 0.5
    assert 0.9 <= float(factor.min()) < 0.91
    assert 1.19 < float(factor.max()) <= 1.2 + 1e-6
    assert float((factor[:, :3] - factor[:, 3:]).abs().min()) > 0
    some = augment_colour(images, generator(), Augmentation(channel_scale=(0.5, 0.6), channels=(1, 3)))
    changed = (some.view(400, 3, 8, 8)[..., 0, 0] < 0.45).sum(dim=1)
    assert sorted(changed.unique().tolist()) == [1, 2, 3]


def test_grey_contrast_and_gamma_formulas():
    photos = background(generator(), 3, 32) * 0.8 + 0.1
    luma = torch.tensor(disturb.LUMA)
    grey = disturb.colours(photos, generator(), Augmentation(grey=1.0))
    torch.testing.assert_close(grey, torch.einsum("c,nchw->nhw", luma, photos)[:, None].expand(-1, 3, -1, -1))
    half = disturb.colours(photos, generator(), Augmentation(contrast=(0.5, 0.5)))
    level = torch.einsum("c,nc->n", luma, photos.mean(dim=(2, 3)))[:, None, None, None]
    torch.testing.assert_close(half, level + 0.5 * (photos - level))
    bent = disturb.gamma(photos.clone(), generator(), Augmentation(gamma=(1.0, 2.0)))
    power = torch.log(bent) / torch.log(photos)
    assert float((power.amax(dim=(1, 2, 3)) - power.amin(dim=(1, 2, 3))).max()) < 1e-3
    assert 0.5 <= float(power.min()) <= float(power.max()) <= 2.0


def test_brightness_is_one_offset_a_photo():
    photos = torch.rand((500, 3, 4, 4), generator=generator()) * 0.6 + 0.2
    offset = (disturb.colours(photos, generator(1), Augmentation(brightness=0.1)) - photos).flatten(1)
    torch.testing.assert_close(offset, offset[:, :1].expand_as(offset), atol=1e-6, rtol=0)
    assert spans(offset[:, 0], -0.1, 0.1)


def test_saturation_moves_colours_from_their_grey():
    """All channels' distances from it grow by one factor; the grey of (0.5, 0.4, 0.3) is 0.4185."""
    photos = background(generator(), 3, 32) * 0.6 + 0.2
    red, green, blue = photos.unbind(1)
    grey = (0.299 * red + 0.587 * green + 0.114 * blue)[:, None]
    for factor in (0.3, 1.2):
        found = disturb.colours(photos, generator(), Augmentation(saturation=(factor, factor)))
        torch.testing.assert_close(found, (1 - factor) * grey + factor * photos)
    colour = torch.tensor([0.5, 0.4, 0.3])
    pixels = colour.view(1, 3, 1, 1).expand(500, 3, 1, 1)
    out = disturb.colours(pixels, generator(1), Augmentation(saturation=(0.4, 1.3)))[:, :, 0, 0]
    factors = (out - 0.4185) / (colour - 0.4185)
    torch.testing.assert_close(factors, factors[:, :1].expand_as(factors), atol=1e-4, rtol=0)
    assert spans(factors[:, 0], 0.4, 1.3)


def test_shade_is_a_ramp_of_any_direction_and_up_to_its_strength():
    """A plane through 1 at the middle; toward where it rises the edge is up to a third brighter."""
    photos = torch.full((1000, 3, 6, 8), 0.6)
    ramp = disturb.colours(photos, generator(), Augmentation(shade=1 / 3)).numpy() / 0.6
    y, x = np.meshgrid(np.linspace(-1, 1, 6), np.linspace(-1, 1, 8), indexing="ij")
    places = np.stack((np.ones(48), x.ravel(), y.ravel()), axis=1)
    plane = np.linalg.lstsq(places, ramp[:, 0].reshape(1000, 48).T, rcond=None)[0]
    np.testing.assert_allclose(ramp.reshape(3000, 48), np.repeat((places @ plane).T, 3, axis=0), atol=1e-6)
    np.testing.assert_allclose(plane[0], 1, atol=1e-6)
    assert spans(torch.from_numpy(np.hypot(plane[1], plane[2])), 0, 1 / 3)
    assert spans(torch.from_numpy(np.arctan2(plane[2], plane[1])), -np.pi, np.pi)


def test_blur_equals_scipy():
    from scipy.ndimage import gaussian_filter

    photos = background(generator(), 2, 40)
    sigma = torch.tensor([0.8, 1.7])
    ours = disturb.gaussian_blur(photos, sigma)
    radius = int(np.ceil(2.5 * 1.7))
    for photo, result, value in zip(photos, ours, sigma.tolist(), strict=True):
        for channel in range(3):
            expected = gaussian_filter(photo[channel].numpy(), value, mode="nearest", radius=radius)
            np.testing.assert_allclose(result[channel].numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("quality", [25, 60, 90])
def test_jpeg_equals_pillow(quality):
    """A slow loop with scipy's DCT and the tables that Pillow writes; and Pillow's rounded pixels.

    What ends in exactly .5 (a chroma, or a wave of eighths over a step) rounds as the machine adds, so blocks
    with such a number are left out of the first comparison; the others must be equal.
    """
    from scipy.fft import dctn, idctn
    from scipy.ndimage import gaussian_filter

    noise = torch.rand((3, 64, 60), generator=generator(4)).numpy()
    smooth = gaussian_filter(noise, (0, 3, 3)) - 0.5
    photo = torch.from_numpy((255 * (0.5 + 0.2 * smooth / smooth.std())).clip(0, 255).round())
    buffer = io.BytesIO()
    stored = Image.fromarray(photo.permute(1, 2, 0).numpy().astype(np.uint8))
    stored.save(buffer, "JPEG", quality=quality, subsampling=0)
    decoded = Image.open(buffer)
    ours = jpeg(photo[None] / 255, torch.tensor([float(quality)]), subsample=False)[0].numpy() * 255
    tied = np.zeros((64, 64), bool)

    def rounded(values, rows=slice(None), columns=slice(None)):
        tied[rows, columns] |= (np.abs(values % 1 - 0.5) < 1e-3).any()
        return np.round(values)

    ycc = np.pad(photo.numpy().astype(np.float64), ((0, 0), (0, 0), (0, 4)), mode="edge")
    forward = np.array([disturb.LUMA, (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312)])
    ycc = np.einsum("ij,jhw->ihw", forward, ycc)
    for channel, top, left in np.ndindex(3, 8, 8):
        table = np.array(decoded.quantization[min(channel, 1)]).reshape(8, 8)
        where = slice(8 * top, 8 * top + 8), slice(8 * left, 8 * left + 8)
        middle = 0 if channel else 128
        block = rounded(ycc[channel][where], *where) - middle
        waves = rounded(dctn(block, norm="ortho") / table, *where) * table
        ycc[channel][where] = rounded(idctn(waves, norm="ortho"), *where) + middle
    expected = (np.linalg.inv(forward) @ ycc.reshape(3, -1)).reshape(3, 64, 64)[:, :, :60].clip(0, 255)
    clear = ~tied[:, :60]
    assert clear.mean() > 0.3
    np.testing.assert_allclose(ours[:, clear], expected[:, clear], atol=0.01)
    pixels = np.asarray(decoded).astype(np.float64).transpose(2, 0, 1)
    assert np.abs(ours - pixels).mean() < 0.5 * np.abs(photo.numpy() - pixels).mean()


def test_boxes_cover_what_they_say_and_noise_has_its_strength():
    photos = torch.full((300, 3, 32, 32), 0.5)
    boxed = disturb.occlude(photos.clone(), generator(), Augmentation(boxes=0.5, box_size=(0.2, 0.4)))
    share = (boxed[:, 0] == 0).float().mean(dim=(1, 2))
    assert 0.4 < float((share > 0).float().mean()) < 0.6
    assert float(share.max()) < 3 * 0.17
    noisy = disturb.add_noise(photos.clone(), generator(), Augmentation(noise=0.1)) - 0.5
    strength = noisy.std(dim=(1, 2, 3))
    assert float(strength.min()) < 0.01
    assert 0.09 < float(strength.max()) < 0.105
    assert abs(float(torch.corrcoef(noisy[:20].flatten(1))[0, 1:].abs().mean())) < 0.05
    with pytest.raises(ValueError, match="box_fill"):
        disturb.occlude(photos, generator(), Augmentation(boxes=1.0, box_fill=("fur",)))


def test_landmark_tables():
    assert torch.equal(torch.tensor(FLIP)[list(FLIP)], torch.arange(68))
    assert [FLIP[i] for i in (0, 8, 17, 21, 30, 31, 36, 39, 41, 48, 51, 54, 55, 57, 60, 62, 67)] == [
        16, 8, 26, 22, 30, 35, 45, 42, 46, 54, 51, 48, 59, 57, 64, 62, 65,
    ]  # fmt: skip
    assert sum(FLIP[i] == i for i in range(68)) == 10  # Residual eq. 3.2: the other 58 points are paired
    assert sorted(i for group in GROUPS.values() for i in group) == list(range(68))
    assert len(set(NAMES)) == 68
    assert {i for line in SEGMENTS for i in line} == set(range(68))
    points = torch.rand((2, 68, 3), generator=generator())
    out = flip_landmarks(points, torch.tensor([True, False]))
    assert torch.equal(out[1], points[1])
    assert torch.equal(out[0, 45], points[0, 36])


def test_unknown_preset_names_the_known():
    with pytest.raises(ValueError, match="twoview"):
        Augmentation.preset("strong")
