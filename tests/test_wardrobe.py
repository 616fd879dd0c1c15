"""The wardrobe: who wears what, where it sits on heads, how it is coloured."""

from dataclasses import fields, replace

import pytest
import torch

from facet import paths
from facet.face_model import files as cache
from facet.face_model import load, proxies, wearables
from facet.face_model.wearables import KINDS
from facet.rendering.texture import pyramid, sample_points
from facet.synthetic import wardrobe as module
from facet.synthetic.outfits import HELD_OUT, STYLES, UNDER_HATS
from facet.synthetic.subjects import Subjects
from facet.synthetic.wardrobe import Outfit, Wardrobe, colour_of, draw_outfit, dress, shade_on_head

pytestmark = pytest.mark.assets


@pytest.fixture(scope="module")
def model():
    return load()


@pytest.fixture(scope="module")
def wardrobe():
    opened = Wardrobe.open()
    if not len(opened):
        pytest.skip("npm was absent: nothing to wear")
    return opened


@pytest.fixture(scope="module")
def alpha_id():
    from safetensors import safe_open

    with safe_open(cache.ensure().people, "pt") as handle:
        return handle.get_tensor("validation.alpha_id").float()


@pytest.fixture
def empty(tmp_path, monkeypatch, model):
    monkeypatch.setattr(proxies, "folder", lambda: None)
    monkeypatch.setattr(wearables, "load", lambda: model)
    monkeypatch.setattr(paths, "CACHE", tmp_path)
    wearables.build(lambda *_, **__: None)
    return Wardrobe.open()


def people(count, *, years=30.0, gender=0.0, ancestry=(0.1, 0.1, 0.8)):
    """Subjects of whom only age, gender and ancestry are known."""
    table = {f.name: torch.zeros(count) for f in fields(Subjects)}
    table |= {"years": torch.full((count,), years), "gender": torch.full((count,), gender)}
    return Subjects(**table | {"ancestry": torch.tensor(ancestry).expand(count, 3).clone()})


def wearing(count, **changes):
    """An outfit of nothing but what is given, plain colours."""
    table = {}
    for f in fields(Outfit):
        colour = f.name.endswith("colour") or f.name == "accent"
        table[f.name] = torch.rand(count, 3) if colour else torch.ones(count)
    table |= {kind: torch.full((count,), -1) for kind in KINDS}
    table["mirrored"] = torch.zeros(count, dtype=torch.bool)
    for name, value in changes.items():
        table[name] = torch.full_like(table[name], value) if isinstance(value, int | float) else value
    return Outfit(**table)


def everything(wardrobe, count):
    """One item of each kind."""
    return {kind: wardrobe.number(wardrobe.of_kind(kind)[0]) for kind in KINDS if kind != "hat"}


def expression(model, count, **strengths):
    alpha = torch.zeros(count, len(model.expression_names))
    for name, value in strengths.items():
        alpha[:, model.expression_names.index(name)] = value
    return alpha


def ray_scene(head, model, open3d):
    """The skin of a head (Vh, 3) to cast rays on."""
    skin = torch.isin(model.head_part, torch.tensor([0, 6]))
    scene = open3d.t.geometry.RaycastingScene()
    triangles = model.head_triangles[skin].numpy().astype("uint32")
    scene.add_triangles(open3d.core.Tensor(head.numpy()), open3d.core.Tensor(triangles))
    return scene


def test_there_is_enough_to_wear(wardrobe):
    assert len(wardrobe.of_kind("hair")) >= 12
    assert set(wardrobe.of_kind("hair")) == set(STYLES)
    assert all(wardrobe.of_kind(kind) for kind in KINDS)
    assert set(HELD_OUT) | set(UNDER_HATS) <= set(wardrobe.names)


def test_drawing_is_deterministic_and_made_of_items(wardrobe):
    crowd = people(40)
    first, second = (draw_outfit(torch.Generator().manual_seed(5), wardrobe, crowd) for _ in range(2))
    for f in fields(Outfit):
        assert torch.equal(getattr(first, f.name), getattr(second, f.name)), f.name
        assert len(getattr(first, f.name)) == 40
    worn = first.worn()
    for slot, kind in enumerate(KINDS):
        some = worn[:, slot][worn[:, slot] >= 0]
        assert (wardrobe.kind[some] == slot).all(), kind
    assert (
        Outfit.from_state(first.state("outfit"), "outfit").rows(slice(3)).hair.tolist()
        == first.hair[:3].tolist()
    )


def test_only_men_have_beards(wardrobe, generator):
    women = draw_outfit(generator, wardrobe, people(500, gender=1.0))
    men = draw_outfit(generator, wardrobe, people(500, gender=0.0))
    assert (women.beard < 0).all()
    assert (women.moustache < 0).all()
    assert 0.2 < (men.beard >= 0).float().mean() < 0.4
    assert (women.hair < 0).float().mean() < 0.08 < (men.hair < 0).float().mean()
    long = wardrobe.number("long")
    assert (women.hair == long).sum() > 4 * (men.hair == long).sum()


def test_held_out_styles_are_for_the_test(wardrobe, generator):
    held = torch.tensor([wardrobe.number(name) for name in HELD_OUT])
    for gender in (0.0, 1.0):
        train = draw_outfit(generator, wardrobe, people(800, gender=gender))
        assert not torch.isin(train.worn(), held).any()
    test = [draw_outfit(generator, wardrobe, people(1500, gender=g), split="test") for g in (0.0, 1.0)]
    shown = torch.cat([outfit.worn() for outfit in test])
    assert torch.isin(held, shown).all()


def test_glasses_hats_and_what_fits_under_them(wardrobe, generator):
    outfit = draw_outfit(generator, wardrobe, people(4000, years=49.0))
    assert 0.09 < (outfit.glasses >= 0).float().mean() < 0.15
    assert 0.04 < (outfit.hat >= 0).float().mean() < 0.08
    under = outfit.hair[outfit.hat >= 0]
    low = torch.tensor([-1, *(wardrobe.number(name) for name in UNDER_HATS)])
    assert torch.isin(under, low).all()


def test_hair_turns_grey_and_thin(wardrobe, generator):
    young, old = (draw_outfit(generator, wardrobe, people(600, years=y)) for y in (22.0, 78.0))
    assert old.hair_colour.mean() > 2 * young.hair_colour.mean()
    assert (old.hair < 0).float().mean() > (young.hair < 0).float().mean() + 0.1
    bald = [((o.hair < 0) & (o.crop < 0.3)).float().mean() for o in (young, old)]
    assert bald[0] < 0.08 < 0.2 < bald[1]


def test_ancestry_decides_style_and_colour(wardrobe, generator):
    african = draw_outfit(generator, wardrobe, people(600, ancestry=(0.9, 0.05, 0.05)))
    asian = draw_outfit(generator, wardrobe, people(600, ancestry=(0.05, 0.9, 0.05)))
    caucasian = draw_outfit(generator, wardrobe, people(600, ancestry=(0.05, 0.05, 0.9)))
    afro = wardrobe.number("afro")
    assert (african.hair == afro).float().mean() > 0.2 > 0.05 > (asian.hair == afro).float().mean()
    blond = [(o.hair_colour.mean(dim=1) > 0.15).float().mean() for o in (african, asian, caucasian)]
    assert max(blond[:2]) < 0.1 < blond[2]


def test_padding_and_numbers(wardrobe, model, alpha_id):
    outfit = wearing(3, hair=torch.tensor([wardrobe.number("bob"), -1, wardrobe.number("afro")]))
    outfit.brows[1] = wardrobe.number("brows_1")
    dressed = dress(wardrobe, outfit, model.coarse(alpha_id[:3]))
    shape = dressed.triangles.shape[:2]
    assert dressed.corner_uv.shape == (*shape, 3, 2)
    assert dressed.item.shape == shape
    assert (dressed.triangles[dressed.item < 0] == 0).all()
    for b, name in enumerate(("bob", "brows_1", "afro")):
        item = wardrobe.number(name)
        count, points = int(wardrobe.triangles[1, item]), int(wardrobe.vertices[1, item])
        assert (dressed.item[b] == item).sum() == count
        assert (dressed.item[b, :count] == item).all()
        assert (dressed.item[b, count:] < 0).all()
        assert dressed.triangles[b].max() == points - 1
        assert (dressed.vertices[b, points:] == 0).all()
    length = dressed.normals[0, : int(wardrobe.vertices[1, wardrobe.number("bob")])].norm(dim=1)
    torch.testing.assert_close(length, torch.ones_like(length), atol=0.02, rtol=0)


def test_people_dress_alike_alone_and_together(wardrobe, model, alpha_id, generator):
    outfit = draw_outfit(generator, wardrobe, people(6))
    coarse = model.coarse(alpha_id[:6], expression(model, 6, jawOpen=0.6))
    together = dress(wardrobe, outfit, coarse)
    for b in range(6):
        alone = dress(wardrobe, outfit.rows(slice(b, b + 1)), coarse[b : b + 1])
        points, faces = alone.vertices.shape[1], alone.item.shape[1]
        torch.testing.assert_close(together.vertices[b, :points], alone.vertices[0], atol=1e-3, rtol=0)
        assert torch.equal(together.triangles[b, :faces], alone.triangles[0])
        assert torch.equal(together.item[b, :faces], alone.item[0])
        assert (together.item[b, faces:] == -1).all()


def test_items_follow_a_larger_head_exactly(wardrobe, model, alpha_id):
    coarse = model.coarse(alpha_id[:4], expression(model, 4, jawOpen=0.8))
    outfit = wearing(4, **everything(wardrobe, 4))
    dressed = dress(wardrobe, outfit, coarse)
    shift = torch.tensor([5.0, -3.0, 11.0])
    moved = dress(wardrobe, outfit, 1.15 * coarse + shift)
    torch.testing.assert_close(moved.vertices, 1.15 * dressed.vertices + shift, atol=2e-2, rtol=0)
    hair = wearing(4, hair=wardrobe.number("curls"))
    factor = torch.tensor([1.1, 0.95, 1.2])
    wide, plain = dress(wardrobe, hair, factor * coarse), dress(wardrobe, hair, coarse)
    torch.testing.assert_close(wide.vertices, factor * plain.vertices, atol=2e-2, rtol=0)


def test_teeth_show_between_parted_lips_only(wardrobe, model, alpha_id):
    outfit = wearing(2, teeth=wardrobe.number("teeth_0"))
    closed = dress(wardrobe, outfit, model.coarse(alpha_id[:2]))
    assert closed.vertices.shape[1] == 0
    ajar, open_ = (
        dress(wardrobe, outfit, model.coarse(alpha_id[:2], expression(model, 2, jawOpen=strength)))
        for strength in (0.2, 1.0)
    )
    assert (ajar.item >= 0).any()
    assert ajar.occlusion.mean() < 0.6 * open_.occlusion.mean()
    drop = ajar.vertices[..., 1] - open_.vertices[..., 1]
    assert (drop.abs().amin(dim=1) < 0.5).all()  # the upper teeth stay
    assert (drop.amax(dim=1) > 15).all()  # the lower ones go with the jaw


@pytest.mark.slow
def test_teeth_lie_behind_closed_lips(wardrobe, model, alpha_id, monkeypatch):
    """A ray from every tooth to the front meets skin, but where it passes between the lips."""
    import open3d

    monkeypatch.setattr(module, "SHOWS", -100.0)
    coarse = model.coarse(alpha_id[:40])
    teeth = dress(wardrobe, wearing(40, teeth=wardrobe.number("teeth_0")), coarse).vertices
    for head, lips, tooth in zip(
        model.head_of(coarse), coarse[:, wardrobe.frame.lips.flatten(), 1], teeth, strict=True
    ):
        front = tooth[tooth[:, 2] > tooth[:, 2].quantile(0.5)]
        rays = torch.cat([front, torch.tensor([0.0, 0, 1]).expand(len(front), 3)], dim=1)
        scene = ray_scene(head, model, open3d)
        met = torch.from_numpy(scene.count_intersections(open3d.core.Tensor(rays.numpy())).numpy()) > 0
        assert met.float().mean() > 0.85
        assert ((front[~met, 1] - lips.mean()).abs() < 2.5).all()


def test_brows_rise_and_hair_does_not(wardrobe, model, alpha_id):
    outfit = wearing(1, brows=wardrobe.number("brows_1"))
    hair = wearing(1, hair=wardrobe.number("short_fade"))
    calm = model.coarse(alpha_id[:1])
    raised = model.coarse(alpha_id[:1], expression(model, 1, browInnerUp=1.0))
    opened = model.coarse(alpha_id[:1], expression(model, 1, jawOpen=1.0, mouthSmileLeft=1.0))
    assert (dress(wardrobe, outfit, raised).vertices - dress(wardrobe, outfit, calm).vertices)[
        ..., 1
    ].max() > 4
    assert (dress(wardrobe, hair, opened).vertices - dress(wardrobe, hair, calm).vertices).abs().max() < 1.5


def test_mirrored_hair_is_the_mirror_image(wardrobe, model):
    mirror = wardrobe.frame.mirror[: len(model.coarse_mean)]
    coarse = model.coarse_mean[None]
    symmetric = (coarse + coarse[:, mirror] * torch.tensor([-1.0, 1, 1])) / 2
    plain = wearing(1, hair=wardrobe.number("bob"))
    flipped = replace(plain, mirrored=torch.tensor([True]))
    a, b = (dress(wardrobe, outfit, symmetric) for outfit in (plain, flipped))
    torch.testing.assert_close(b.vertices, a.vertices * torch.tensor([-1.0, 1, 1]), atol=1e-2, rtol=0)

    def areas(dressed):  # vector areas: mirrored triangles still face outward
        p = dressed.vertices[0][dressed.triangles[0]]
        return torch.linalg.cross(p[:, 1] - p[:, 0], p[:, 2] - p[:, 0])

    torch.testing.assert_close(areas(b), areas(a) * torch.tensor([-1.0, 1, 1]), atol=0.5, rtol=1e-2)
    shade = [shade_on_head(wardrobe, outfit)[0] for outfit in (plain, flipped)]
    assert torch.equal(shade[1], shade[0][mirror])


def test_hair_lies_flat_under_a_hat(wardrobe, model, alpha_id):
    coarse = model.coarse(alpha_id[:1])
    bare = wearing(1, hair=wardrobe.number("short_fade"))
    hatted = replace(bare, hat=torch.tensor([wardrobe.number("fishing_hat")]))
    count = int(wardrobe.vertices[1, wardrobe.number("short_fade")])
    free, tucked = (dress(wardrobe, outfit, coarse).vertices[0, :count] for outfit in (bare, hatted))
    moved = (free - tucked).norm(dim=1) > 1
    assert 0.2 < moved.float().mean() < 1
    apart = [torch.cdist(hair, coarse[0]).amin(dim=1)[moved] for hair in (free, tucked)]
    assert (apart[1] < apart[0] + 1).float().mean() > 0.95
    assert apart[1].mean() < 0.7 * apart[0].mean()


def test_what_is_worn_shades_the_head(wardrobe):
    outfit = wearing(3, hair=torch.tensor([-1, wardrobe.number("fringe_long"), -1]))
    outfit.hat[2] = wardrobe.number("pith_helmet")
    shade = shade_on_head(wardrobe, outfit)
    assert (shade[0] == 1).all()
    assert (shade >= 0).all()
    assert shade[1].min() < 0.3
    assert shade[2].min() < 0.3


@pytest.mark.slow
@pytest.mark.parametrize("name", STYLES)
def test_hair_lies_outside_the_skull(wardrobe, model, alpha_id, name):
    import open3d

    heads = model.coarse(alpha_id[:100])
    dressed = dress(wardrobe, wearing(100, hair=wardrobe.number(name)), heads).vertices
    shares = []
    for head, hair in zip(model.head_of(heads)[::5], dressed[::5], strict=True):
        near = ray_scene(head, model, open3d).compute_closest_points(open3d.core.Tensor(hair.numpy()))
        points, normals = (torch.from_numpy(near[k].numpy()) for k in ("points", "primitive_normals"))
        apart = hair - points
        distance = apart.norm(dim=1) * (apart * normals).sum(dim=1).sign()
        shares.append((distance > -2).float().mean())
    assert torch.stack(shares).mean() > 0.99
    assert min(shares) > 0.95


def test_colours_are_grey_times_the_outfits(wardrobe, generator):
    count = 3000
    item = torch.randint(len(wardrobe), (count,), generator=generator)
    uv, image = torch.rand(count, 2, generator=generator), torch.randint(4, (count,), generator=generator)
    outfit = wearing(4)
    albedo, alpha, gloss = colour_of(wardrobe, outfit, image, item, uv)
    texel = wardrobe.textures.view(-1, 3)[wardrobe.texel(item, uv)].float() / 255
    hair = (wardrobe.kind[item] == 0) & (texel[:, 1] == 0)
    wanted = outfit.hair_colour[image] * 2 * texel[:, :1]
    torch.testing.assert_close(albedo[hair], wanted[hair])
    torch.testing.assert_close(alpha, wardrobe.alpha(item, uv))
    torch.testing.assert_close(alpha, texel[:, 2])
    assert ((gloss >= 0) & (gloss <= 1.01)).all()


def test_sampled_textures_are_bilinear_on_average(wardrobe, generator):
    item = wardrobe.number("curls")
    texture = wardrobe.textures[wardrobe.texture[item]].permute(2, 0, 1)[None].float() / 255
    corner = torch.rand(200, 1, 2, generator=generator) * 0.98
    uv = (corner + 0.004 * torch.rand(200, 400, 2, generator=generator)).view(-1, 2)
    ours = wardrobe.alpha(torch.full((len(uv),), item), uv).view(200, 400).mean(dim=1)
    exact = sample_points(pyramid(texture, 1), torch.zeros(len(uv), dtype=torch.int64), uv)[:, 2]
    assert (ours - exact.view(200, 400).mean(dim=1)).abs().max() < 0.08
    assert abs(float(ours.mean() - exact.mean())) < 0.005


def test_an_empty_wardrobe_works(empty, model, generator, alpha_id):
    outfit = draw_outfit(generator, empty, people(5))
    assert (outfit.worn() == -1).all()
    coarse = model.coarse(alpha_id[:5])
    dressed = dress(empty, outfit, coarse)
    assert dressed.vertices.shape == (5, 0, 3)
    assert dressed.triangles.shape == (5, 0, 3)
    assert dressed.corner_uv.shape == (5, 0, 3, 2)
    assert dressed.item.shape == (5, 0)
    assert (shade_on_head(empty, outfit) == torch.ones(5, coarse.shape[1])).all()
    none = torch.zeros(0, dtype=torch.int64)
    albedo, alpha, gloss = colour_of(empty, outfit, none, none, torch.zeros(0, 2))
    assert (albedo.shape, alpha.shape, gloss.shape) == ((0, 3), (0,), (0,))
    assert empty.alpha(none, torch.zeros(0, 2)).shape == (0,)


def test_on_a_device(device, model, wardrobe, alpha_id):
    outfit = wearing(2, **everything(wardrobe, 2))
    coarse = model.coarse(alpha_id[:2], expression(model, 2, jawOpen=0.5))
    here = dress(wardrobe, outfit, coarse)
    there = dress(Wardrobe.open(device), outfit.to(device), coarse.to(device))
    assert there.vertices.device.type == device.type
    torch.testing.assert_close(there.vertices.cpu(), here.vertices, atol=1e-3, rtol=0)
    assert torch.equal(there.triangles.cpu(), here.triangles)
