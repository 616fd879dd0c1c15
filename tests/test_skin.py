"""Skin: tones against CIELAB, the chart against geometry, and textures that do what their table says."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from facet import face_model
from facet.face_model import PARTS
from facet.face_model import files as cache
from facet.rendering.texture import hashed, pyramid
from facet.synthetic import skin_chart, skin_paint
from facet.synthetic.skin import CHANNELS, Skin, atlas, bake, bumped, draw_skin
from facet.synthetic.skin_chart import MOUNDS, WRINKLES, Lattice
from facet.synthetic.subjects import draw_subjects

SIZE = 256
NAMES = [f"{age}_{who}" for age in ("young", "middleage", "old") for who in ("a", "b")]
MIRROR = torch.diag(torch.tensor([1.0, -1.0, 1.0]))  # model frame to image frame


@pytest.fixture(scope="module")
def model():
    return face_model.load()


@pytest.fixture(scope="module")
def bank():
    stored = load_file(cache.ensure().people)
    return {k.split(".")[1]: v for k, v in stored.items() if k.startswith("train.")}


@pytest.fixture(scope="module")
def textures():
    """Six skins of one tone each, with speckles."""
    generator = torch.Generator().manual_seed(1)
    tone = 0.2 + 0.6 * torch.rand(len(NAMES), 3, 1, 1, generator=generator)
    return (tone * (1 + 0.1 * torch.randn(len(NAMES), 1, 256, 256, generator=generator))).clamp(0, 1)


@pytest.fixture(scope="module")
def painted(model, textures):
    return atlas(model, textures, (SIZE,))


@pytest.fixture(scope="module")
def people(model, bank):
    return drawn(model, bank, 24)


def drawn(model, bank, count, seed=3, names=NAMES, split="train"):
    generator = torch.Generator().manual_seed(seed)
    subjects = draw_subjects(generator, model, bank, torch.arange(count))
    subjects.skin = subjects.skin % len(names)
    return draw_skin(generator, subjects, names, split=split)


def plain(skin: Skin) -> Skin:
    """The same people with nothing on their skin that varies, bald and unpainted."""
    zeros = ("pigment", "relief", "spots", "wrinkles", "makeup", "stubble", "scalp", "brow")
    return replace(skin, **{name: torch.zeros_like(getattr(skin, name)) for name in zeros})


def texels(painted, skin, **options) -> torch.Tensor:
    """(N, M, 6) what the chart's texels became."""
    chart = painted[0][SIZE]
    return bake(*painted, skin, size=SIZE, **options).texels[:, : SIZE * SIZE][:, chart.texel]


def face(chart) -> torch.Tensor:
    """(M,) bool the middle of the face, away from borders."""
    return (chart.face > 0.9) & (chart.inner > 0.9)


# Colour


def ita(linear: torch.Tensor) -> torch.Tensor:
    """(...) individual typology angle, degrees, of linear RGB (..., 3): atan((L* − 50)/b*)."""
    lab = skin_paint.to_lab(linear)
    return torch.rad2deg(torch.atan2(lab[..., 0] - 50, lab[..., 2]))


def test_lab_agrees_with_another_implementation(rng):
    from skimage.color import rgb2lab

    srgb = rng.random((500, 3))
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    ours = skin_paint.to_lab(torch.from_numpy(linear))
    assert ours.numpy() == pytest.approx(rgb2lab(srgb), abs=0.15)  # its white is a little other
    assert skin_paint.from_lab(ours).numpy() == pytest.approx(linear, abs=1e-6)


def test_tone_has_the_angle_of_its_melanin_and_a_natural_hue():
    melanin = torch.linspace(-0.03, 1.02, 50)
    for haemoglobin, warmth in ((0.0, 0.0), (2.0, -2.0), (-2.0, 2.0)):
        colour = skin_paint.tone(
            melanin, torch.full_like(melanin, haemoglobin), torch.full_like(melanin, warmth)
        )
        assert (ita(colour) - skin_paint.ita_of(melanin)).abs().max() < 0.1
        assert (colour.diff(dim=0) < 0).all()
        assert (colour[:, 0] > colour[:, 1]).all()
        assert (colour[:, 1] > colour[:, 2]).all()
        light, red, yellow = skin_paint.to_lab(colour).unbind(1)
        assert 24 < light.min() < light.max() < 80
        assert 5 < red.min() < red.max() < 16
        assert 8 < yellow.min() < yellow.max() < 22


def test_more_pigment_is_darker_and_haemoglobin_redder():
    melanin = torch.linspace(0, 1, 11)
    zero = torch.zeros_like(melanin)
    base, per_melanin, per_haemoglobin = skin_paint.densities(melanin, zero, zero)
    assert (per_melanin > 0).all()
    assert (per_melanin[:7, 2] > 1.2 * per_melanin[:7, 0]).all()  # it takes blue before red
    before, after = (skin_paint.to_lab((-base - k * per_haemoglobin).exp()) for k in (0, 1))
    assert ((after - before)[:, 1] > 1.2).all()
    assert (after[:, 2] > before[:, 2] - 0.1).all()  # not purple
    assert (after[:, 0] < before[:, 0]).all()


# Noise


def test_hash_is_pinned_and_even():
    cells = torch.tensor([[0, 0, 0], [512, 511, 600], [512, 511, 601]])
    assert hashed(torch.tensor([5, 5, 5]), *cells.unbind(1)).tolist() == pytest.approx(
        [0.6922623, 0.0465631, 0.4094151], abs=1e-6
    )
    many = torch.cartesian_prod(*[torch.arange(24)] * 3)
    values = hashed(torch.zeros(len(many), dtype=torch.long), *many.unbind(1))
    assert (torch.histc(values, 10, 0, 1) / len(many) - 0.1).abs().max() < 0.01


def test_noise_is_smooth_even_and_a_matter_of_place(generator):
    place = 400 * torch.rand(4000, 3, generator=generator) - 200
    seed = torch.tensor([1, 2**31 - 1])
    noise = Lattice.at(place, 5.0).noise(seed)
    assert noise.shape == (2, 4000)
    assert noise.mean(1).abs().max() < 0.08
    assert (noise.std(1) - 1).abs().max() < 0.08
    assert torch.corrcoef(noise)[0, 1].abs() < 0.06
    near = Lattice.at(place + 0.01, 5.0).noise(seed)
    assert (near - noise).abs().max() < 0.05
    some = Lattice.at(place[100:120], 5.0).noise(seed[1:])
    assert (some[0] - noise[1, 100:120]).abs().max() < 1e-6


# Chart


@pytest.mark.assets
def test_every_texel_takes_its_colour_from_the_nearest_one(painted):
    from scipy.spatial import cKDTree

    chart = painted[0][SIZE]
    grid = np.stack(np.divmod(np.arange(SIZE * SIZE), SIZE), axis=1)
    distance, _ = cKDTree(grid[chart.texel]).query(grid)
    ours = np.linalg.norm(grid[chart.texel[chart.nearest]] - grid, axis=1)
    assert (ours[chart.texel] == 0).all()
    assert np.mean(np.abs(ours - distance) < 1e-9) > 0.999  # jump flooding misses a texel now and then
    assert np.abs(ours - distance).max() < 1


@pytest.mark.assets
def test_places_are_where_makehumans_texture_has_them(model, painted):
    """Corners of the mesh, looked up at their own UV, are at their own place."""
    chart = painted[0][SIZE]
    whole = chart.place[chart.nearest].view(SIZE, SIZE, 3)
    skin = model.head_part == PARTS.index("skin")
    uv = model.head_uv[skin].mean(dim=1)
    column, row = (uv[:, 0] * SIZE).long(), ((1 - uv[:, 1]) * SIZE).long()
    place = model.head_rest[model.head_triangles[skin]].mean(dim=1)
    away = (whole[row, column] - place).norm(dim=1)
    assert away.median() < 4  # a texel is about 4 mm
    assert away.quantile(0.99) < 10


@pytest.mark.assets
def test_slopes_of_a_tilted_plane(painted):
    """On the forehead, where sideways is x and up is nearly y, slopes of x and y are 1."""
    chart = painted[0][SIZE]
    some = (chart.place[:, 0].abs() < 12) & ((chart.place[:, 1] - 52).abs() < 8) & (chart.place[:, 2] > 80)
    for axis, expected in ((0, (1.0, 0.0)), (1, (0.0, 1.0))):
        height = chart.place[:, axis]
        steps = height[chart.neighbours[1::2]] - height[chart.neighbours[::2]]
        slopes = (chart.slope @ steps.mT[:, :, None])[some, :, 0]
        assert slopes.mean(0).tolist() == pytest.approx(expected, abs=0.05)


@pytest.mark.assets
def test_details_carry_no_tone(painted, textures):
    chart, details = painted[0][SIZE], painted[1][SIZE]
    assert (details * chart.face).sum(2).abs().max() / chart.face.sum() < 1e-4
    assert details.abs().max() < 0.6
    linear = skin_chart.to_linear(textures) * torch.tensor([0.5, 0.4, 0.3])[:, None, None]
    darker = torch.where(
        linear < 0.0031308, linear * 12.92, 1.055 * linear.clamp(min=1e-9) ** (1 / 2.4) - 0.055
    )
    again = skin_chart.details(chart, darker)
    assert (again - details).abs().mean() < 2e-3


# Draws


@pytest.mark.assets
def test_people_of_every_tone(model, bank):
    skin = drawn(model, bank, 2000)
    angle = skin_paint.ita_of(skin.melanin)
    bins = torch.histogram(angle, torch.tensor([-90.0, -30, 10, 28, 41, 55, 90])).hist / 2000
    assert bins.min() > 0.1
    assert bins.max() < 0.3
    ancestry = bank["ancestry"][:2000].float().argmax(dim=1)
    african, asian, caucasian = (angle[ancestry == k].median() for k in range(3))
    assert african < 0 < asian < caucasian
    light = skin.melanin < 0.25
    assert skin.spots[light, 0].mean() > 0.05
    assert skin.spots[skin.melanin > 0.46, 0].max() == 0
    female = bank["gender"][:2000] > 0.5
    assert 0.3 < (skin.makeup[female, 0] > 0).float().mean() < 0.7
    assert (skin.makeup[~female, 0] > 0).float().mean() < 0.05
    assert skin.stubble[female].max() == 0
    assert (skin.stubble[~female] > 0).float().mean() > 0.4
    years = bank["years"][:2000].float()
    assert skin.wrinkles[years > 65].mean() > 3 * skin.wrinkles[years < 30].mean()
    assert skin.wrinkles.shape == (2000, len(WRINKLES))
    assert skin.pigment.shape == (2000, 2, len(MOUNDS))
    left, right = (
        skin.wrinkles[:, [k for k, n in enumerate(WRINKLES) if n.endswith(side)]]
        for side in ("_left", "_right")
    )
    assert ((left - right).abs() <= 0.25 * torch.maximum(left, right) + 1e-6).all()
    for column in vars(skin).values():
        assert len(column) == 2000
        assert column.isfinite().all()


@pytest.mark.assets
def test_draws_follow_the_generator_and_tables_round_trip(model, bank):
    one, two, other = drawn(model, bank, 20), drawn(model, bank, 20), drawn(model, bank, 20, seed=4)
    back = Skin.from_state(one.state("skin"), "skin")
    for a, b, c in zip(vars(one).values(), vars(two).values(), vars(back).values(), strict=True):
        assert torch.equal(a, b)
        assert torch.equal(a, c)
    assert not torch.equal(one.melanin, other.melanin)


@pytest.mark.assets
def test_held_out_skins_are_for_test(model, bank):
    names = ["young_asian_male", "young_african_male", "old_african_male", "old_asian_male"]
    for split, allowed in (("train", {0, 3}), ("test", {0, 1, 2, 3})):
        assert set(drawn(model, bank, 200, names=names, split=split).texture[:, 1].tolist()) == allowed


# Textures


@pytest.mark.assets
def test_textures_are_whole_and_within_range(painted, people):
    table = bake(*painted, people, size=SIZE, brows=True)
    assert table.texels.isfinite().all()
    assert table.texels[..., :4].min() >= 0
    assert table.texels[..., :4].max() <= 1
    assert table.texels[..., 4:].abs().max() <= 1
    first = table.texels[:, : SIZE * SIZE].unflatten(1, (SIZE, SIZE)).permute(0, 3, 1, 2)
    assert first.shape[1] == len(CHANNELS)
    expected = pyramid(first, len(table.sizes))
    assert torch.equal(expected.sizes, table.sizes)
    assert torch.equal(expected.starts, table.starts)
    assert (expected.texels - table.texels).abs().max() < 1e-6


@pytest.mark.assets
def test_textures_do_not_depend_on_who_else_is_painted(painted, people):
    whole = bake(*painted, people, size=SIZE).texels
    assert torch.equal(whole, bake(*painted, people, size=SIZE).texels)
    chosen = torch.tensor([17, 4])
    alone = bake(*painted, people.rows(chosen), size=SIZE).texels
    assert (alone - whole[chosen]).abs().max() < 1e-5


@pytest.mark.assets
def test_the_tone_asked_for_is_reached(painted, people):
    chart = painted[0][SIZE]
    mean = (texels(painted, people)[..., :3] * (chart.face * face(chart))[:, None]).sum(1)
    got = ita(mean / (chart.face * face(chart)).sum())
    assert (got - skin_paint.ita_of(people.melanin)).abs().mean() < 4


@pytest.mark.assets
def test_melanin_darkens(painted, people):
    chart = painted[0][SIZE]
    same = people.rows(torch.zeros(9, dtype=torch.long))
    same.melanin = torch.linspace(0, 1, 9)
    colour = texels(painted, same)[:, face(chart), :3].mean(1)
    assert (colour.diff(dim=0) < 0).all()


@pytest.mark.assets
def test_lips_are_redder_than_the_skin_around(painted, people):
    chart = painted[0][SIZE]
    lab = skin_paint.to_lab(texels(painted, people)[..., :3])
    around = (chart.lips > -25) & (chart.lips < -6) & (chart.place[:, 2] > 70)
    difference = lab[:, chart.lips > 3].mean(1) - lab[:, around].mean(1)
    assert (difference[:, 1] > 1).all()
    assert difference[:, 1].mean() > 4
    assert (difference[:, 0] < 2).all()


@pytest.mark.assets
@pytest.mark.parametrize("column", range(4), ids=["freckles", "moles", "blemishes", "age spots"])
def test_spots_stay_on_the_face(painted, people, column):
    chart, skin = painted[0][SIZE], plain(people)
    before = texels(painted, skin)
    skin.spots[:, column] = 1.0
    after = texels(painted, skin)
    changed = (after[..., :3] - before[..., :3]).abs().amax(dim=2) > 1e-4
    assert not changed[:, chart.face == 0].any()
    assert changed[:, face(chart)].any(1).float().mean() > 0.9
    assert changed[:, face(chart)].float().mean() < 0.7
    red, green = (after - before)[..., :2].unbind(-1)
    if column == 2:  # blemishes redden: they may brighten red, and darken green more
        assert (green <= red + 1e-4).all()
    else:
        assert (red <= 1e-6).all()


@pytest.mark.assets
def test_wrinkles_stay_in_their_lines(painted, people):
    chart, skin = painted[0][SIZE], plain(people)
    before = texels(painted, skin)
    for name in ("forehead1", "nasolabial_left", "crow2_right"):
        k = WRINKLES.index(name)
        skin.wrinkles = torch.zeros_like(people.wrinkles)
        skin.wrinkles[:, k] = 0.8
        after = texels(painted, skin)
        line = chart.wrinkles[k]
        near = torch.maximum(line, line[chart.neighbours].amax(dim=0)) > 1e-5
        changed = (after - before).abs().amax(dim=2) > 1e-4
        assert not changed[:, ~near].any()
        assert (after[:, line > 0.7, :3] < before[:, line > 0.7, :3]).all()
        if name.endswith("_left"):
            assert (chart.place[near, 0] > 0).all()
        if name.endswith("_right"):
            assert (chart.place[near, 0] < 0).all()


@pytest.mark.assets
def test_hair_shows_on_scalp_and_beard_only(painted, people):
    chart, skin = painted[0][SIZE], plain(people)
    skin.hair = torch.tensor([0.0, 1.0, 0.0]).expand(len(skin), -1)
    bald = texels(painted, skin)
    skin.scalp[:, 0] = 1.0
    cropped = texels(painted, skin)
    green = (cropped - bald)[..., 1] > 0.05
    assert green[:, chart.scalp > 25].float().mean() > 0.9
    assert not green[:, face(chart) & (chart.place[:, 1] < 45)].any()
    skin.scalp[:, 0], skin.stubble = 0.0, torch.ones_like(skin.stubble)
    bearded = texels(painted, skin)
    green = (bearded - bald)[..., 1] > 0.02
    assert green[:, chart.beard > 0.9].float().mean() > 0.9
    assert not green[:, (chart.place[:, 1] > 14) | (chart.lips > 2)].any()


@pytest.mark.assets
def test_brows_only_where_asked_for(painted, people):
    chart = painted[0][SIZE]
    changed = (texels(painted, people, brows=True) - texels(painted, people)).abs().amax(dim=2) > 1e-4
    assert changed.any(1).all()
    x, y = chart.place[:, 0].abs(), chart.place[:, 1]
    assert not changed[:, (x > 54) | (y < 20) | (y > 62)].any()


@pytest.mark.assets
def test_cloth_is_worn_below_the_collar(painted, people):
    chart = painted[0][SIZE]
    before = texels(painted, people)
    people = replace(people, cloth=1 - people.cloth)
    changed = (texels(painted, people) - before).abs().amax(dim=2) > 1e-4
    assert not changed[:, chart.place[:, 1] > -80].any()
    body = (chart.part == PARTS.index("body")) & (chart.place[:, 1] < -160)
    assert changed[:, body].float().mean() > 0.95
    assert (before[:, body, 3] < 0.1).all()  # and dull


@pytest.mark.assets
def test_a_plain_texture_does(model, people):
    """Skins without any detail, as few as one: what is painted by place is there all the same."""
    made = atlas(model, torch.full((1, 3, 32, 32), 0.6), (SIZE,))
    assert made[1][SIZE].abs().max() < 1e-3
    skin = replace(people, texture=torch.zeros_like(people.texture))
    colour = texels(made, skin)[:, face(made[0][SIZE]), :3]
    assert colour.isfinite().all()
    assert (colour.std(1) > 1e-3).all()


@pytest.mark.assets
def test_devices_agree(model, textures, people, device):
    here = atlas(model.to(device), textures.to(device), (SIZE,))
    there = bake(*here, people.to(device), size=SIZE).texels.cpu()
    before = bake(*atlas(model, textures, (SIZE,)), people, size=SIZE).texels
    assert ((there - before).abs() < 1e-3).float().mean() > 0.999


# Relief


def test_no_slope_leaves_normals_alone(generator):
    normals = torch.nn.functional.normalize(torch.randn(50, 3, generator=generator), dim=1)
    turn = torch.linalg.qr(torch.randn(3, 3, generator=generator)).Q
    assert (bumped(normals, torch.zeros(50, 2), turn) - normals).abs().max() < 1e-5


def test_slopes_tilt_normals_against_the_rise():
    front = torch.tensor([[0.0, 0.0, 1.0]])
    for slopes, expected in (([1.0, 0.0], [-1.0, 0.0, 1.0]), ([0.0, 1.0], [0.0, -1.0, 1.0])):
        tilted = bumped(front, torch.tensor([slopes]), torch.eye(3))
        expected = torch.tensor(expected) / 2**0.5
        assert tilted[0].tolist() == pytest.approx(expected.tolist(), abs=1e-6)
        seen = bumped(front, torch.tensor([slopes]), MIRROR)  # in the picture, y is down
        assert seen[0].tolist() == pytest.approx((MIRROR @ expected).tolist(), abs=1e-6)


def test_tilting_turns_with_the_head(generator):
    turn = torch.linalg.qr(torch.randn(3, 3, generator=generator)).Q
    turn = turn * torch.linalg.det(turn).sign()
    normals = torch.nn.functional.normalize(torch.randn(50, 3, generator=generator), dim=1)
    slopes = 0.5 * torch.randn(50, 2, generator=generator)
    own = bumped(normals, slopes, torch.eye(3))
    for axes in (turn, MIRROR @ turn):
        seen = bumped(normals @ axes.mT, slopes, axes)
        assert (seen - own @ axes.mT).abs().max() < 1e-5
