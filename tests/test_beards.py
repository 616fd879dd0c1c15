"""Beards in the ground truth: how far they stand off, where not, on whom, in vertices, maps and targets."""

from dataclasses import fields, replace

import numpy as np
import pytest
import tiny_people
import torch
from test_portrait import tables
from test_wardrobe import wearing
from tiny_people import SIZE, tiny

from facet import face_model, paths
from facet.augment import Augmentation
from facet.face_model import wearables
from facet.rendering import map_from_mesh
from facet.rendering.normals import triangle_normals, vertex_normals
from facet.synthetic import beards as module
from facet.synthetic import dataset, test_sets
from facet.synthetic.batches import Batches
from facet.synthetic.beards import LENGTHS, REACH, Beards
from facet.synthetic.dataset import Description, Pictures, open_pictures, read_bank
from facet.synthetic.outfits import Outfit, draw_outfit
from facet.synthetic.poses import two_view_poses
from facet.synthetic.render import truth_maps, truth_vertices
from facet.synthetic.subjects import draw_subjects, draw_views
from facet.synthetic.truth import truth_of
from facet.synthetic.wardrobe import Wardrobe, dress

pytestmark = pytest.mark.assets

STYLES = {"beard_full": "beard", "goatee": "beard", "moustache": "moustache"}
# Style → mean mm over what it covers, shortest and longest; cm² that the longest covers.
EXPECTED = {
    "beard_full": ((1.5, 2.5), (4.0, 6.0), (130, 210)),
    "goatee": ((0.8, 1.5), (2.0, 3.5), (20, 45)),
    "moustache": ((1.8, 3.0), (1.8, 3.0), (8, 16)),
}


@pytest.fixture(scope="module")
def model():
    return tiny_people.studio().model


@pytest.fixture(scope="module")
def wardrobe():
    opened = Wardrobe.open()
    if not len(opened):
        pytest.skip("npm was absent: nothing to wear")
    return opened


@pytest.fixture(scope="module")
def beards(model, wardrobe):
    return Beards.open(model, wardrobe)


@pytest.fixture(scope="module")
def normals(model):
    """(V, 3) of the mean face."""
    return vertex_normals(model.mean[None], model.triangles, frame="model")[0]


@pytest.fixture(scope="module")
def people(model, wardrobe):
    """Ninety people making faces, nobody's expression settled, and their outfits."""
    generator = torch.Generator().manual_seed(3)
    subjects = draw_subjects(generator, model, read_bank("train"), torch.arange(90), expressive=1.0)
    return subjects, draw_outfit(generator, wardrobe, subjects)


def worn(wardrobe, name, length=1.1, count=1):
    return wearing(count, **{STYLES[name]: wardrobe.number(name)}, beard_length=length)


def shots(model, subjects, seed=0):
    """Front, left and right views of subjects at SIZE pixels."""
    generator = torch.Generator().manual_seed(seed)
    poses = two_view_poses(generator, len(subjects))
    return draw_views(generator, model, subjects, poses, image_size=SIZE)


def ray_caster(vertices, triangles):
    from open3d.t.geometry import RaycastingScene

    scene = RaycastingScene(nthreads=1)
    scene.add_triangles(vertices.numpy().astype(np.float32), triangles.numpy().astype(np.uint32))
    return scene


def above(points, vertices, triangles):
    """(N,) signed mm from nearest points of a mesh (open3d), these points, their triangles and weights."""
    from open3d.core import Tensor

    found = ray_caster(vertices, triangles).compute_closest_points(Tensor(points.numpy().astype(np.float32)))
    nearest, face = (torch.from_numpy(found[k].numpy()) for k in ("points", "primitive_ids"))
    across = triangle_normals(vertices[None], triangles)[0][face.long()]
    away = points - nearest
    second = torch.from_numpy(found["primitive_uvs"].numpy())
    weights = torch.cat([1 - second.sum(1, keepdim=True), second], dim=1)
    return away.norm(dim=1) * (away * across).sum(dim=1).sign(), nearest, face.long(), weights


def rim_of(vertices, triangles):
    """(K, 3) vertices on the border of a mesh whose seams are split."""
    places, joined = vertices.mul(1e3).round().unique(dim=0, return_inverse=True)
    edges = torch.cat([joined[triangles[:, [k, (k + 1) % 3]]] for k in range(3)]).sort(dim=1).values
    edges, count = edges.unique(dim=0, return_counts=True)
    return places[edges[count == 1].unique()] / 1e3


def test_rays_find_what_the_ray_caster_finds(model, wardrobe, normals):
    """Every hit of open3d's list of intersections on a mesh that faces along the ray, and no other."""
    from open3d.core import Tensor

    dressed = dress(wardrobe, worn(wardrobe, "beard_full"), model.coarse_mean[None])
    vertices, triangles = dressed.vertices[0], dressed.triangles[0]
    ray, face, weights, length = module._hits(
        model.mean.double(), normals.double(), vertices[triangles].double()
    )
    assert len(ray) > 4000
    hit = (vertices[triangles[face]] * weights[..., None].float()).sum(dim=1)
    torch.testing.assert_close(
        hit, model.mean[ray] + length.float()[:, None] * normals[ray], rtol=0, atol=1e-3
    )
    found = ray_caster(vertices, triangles).list_intersections(
        Tensor(torch.cat([model.mean, normals], 1).numpy())
    )
    theirs = {k: torch.from_numpy(found[k].numpy().astype(np.int64)) for k in ("ray_ids", "primitive_ids")}
    distance = torch.from_numpy(found["t_hit"].numpy())
    across = torch.nn.functional.normalize(triangle_normals(vertices[None], triangles)[0], dim=1)
    cosine = (across[theirs["primitive_ids"]] * normals[theirs["ray_ids"]]).sum(dim=1)
    kept = (distance < REACH) & (cosine > module.FACING)
    expected = set(zip(*(theirs[k][kept].tolist() for k in theirs), strict=True))
    ours = set(zip(ray.tolist(), face.tolist(), strict=True))
    assert len(ours ^ expected) < 0.01 * len(expected)  # rays through an edge


def test_a_shell_stands_off_by_its_height():
    """Two spheres about one centre; turned inside out, the outer one is not over the inner."""
    import trimesh

    ball, shell = (trimesh.creation.icosphere(4, radius) for radius in (40.0, 45.0))
    points, outward = torch.from_numpy(ball.vertices), torch.from_numpy(ball.vertices / 40.0)
    corners = torch.from_numpy(np.asarray(shell.triangles).copy())
    ray, _, _, length = module._hits(points, outward, corners)
    assert ray.unique().tolist() == list(range(len(points)))
    assert (length - 5).abs().max() < 0.1
    assert not len(module._hits(points, outward, corners.flip(1))[0])


@pytest.mark.parametrize("name", STYLES)
def test_heights_are_human(beards, model, wardrobe, name):
    corners = model.mean[model.triangles]
    area = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]).norm(dim=1) / 6
    area = torch.zeros(len(model.mean)).index_add(0, model.triangles.flatten(), area.repeat_interleave(3))
    *means, covers = EXPECTED[name]
    for length, (low, high) in zip(LENGTHS, means, strict=True):
        height = beards.heights(worn(wardrobe, name, length))[0]
        covered = height > 0.5
        mean = float((height * area)[covered].sum() / area[covered].sum())
        assert low < mean < high
        assert 1.2 * mean < height.max() < 12
        assert height.min() == 0
    assert covers[0] < area[covered].sum() / 100 < covers[1]


def test_heights_are_linear_in_the_length_between(beards, model, wardrobe):
    """A length in the middle, measured at it, is what the two that are stored give."""
    middle = sum(LENGTHS) / 2
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "LENGTHS", (middle, middle + 0.1))
        there = module._measure(model, wardrobe, [("beard", wardrobe.number("beard_full"))])[0, 0]
    ours = beards.heights(worn(wardrobe, "beard_full", middle))[0]
    assert (ours - there).abs().max() < 0.4
    assert (ours - there)[there > 0.5].abs().mean() < 0.05


def test_nothing_where_no_beard_is(beards, model, wardrobe, people):
    subjects, outfit = people
    none = (outfit.beard < 0) & (outfit.moustache < 0)
    assert 5 < int((~none).sum()) < 40
    relief = beards.relief(subjects, outfit)
    assert not relief[none].any()
    assert relief[~none].flatten(1).any(dim=1).all()
    x, y, _ = model.mean.T
    for name in STYLES:
        height = beards.heights(worn(wardrobe, name))[0]
        assert not height[model.landmarks[17:68]].any()  # brows, nose, eyes, lips
        assert not height[model.rim].any()
        assert not height[model.triangles[model.triangle_part > 0].unique()].any()
        assert not height[(y > -5) & (x.abs() < 45)].any()
        assert not height[y > 40].any()
    assert not beards.heights(worn(wardrobe, "moustache"))[0, y < -65].any()
    assert not beards.heights(worn(wardrobe, "goatee"))[0, x.abs() > 50].any()
    both = wearing(1, beard=wardrobe.number("goatee"), moustache=wardrobe.number("moustache"))
    single = [beards.heights(worn(wardrobe, name, 1.0)) for name in ("goatee", "moustache")]
    assert torch.equal(beards.heights(both), torch.maximum(*single))


@pytest.mark.parametrize("name", STYLES)
def test_the_surface_lies_between_skin_and_mesh(beards, model, wardrobe, normals, name):
    """On the mean face, by open3d's nearest points: outside the skin, on the mesh where that is opaque."""
    for length in LENGTHS:
        outfit = worn(wardrobe, name, length)
        height = beards.heights(outfit)[0]
        covered = height > 0.5
        points = (model.mean + height[:, None] * normals)[covered]
        off, *_ = above(points, model.mean, model.triangles)
        assert (off / height[covered]).min() > 0.97
        assert (off / height[covered]).max() < 1.001
        dressed = dress(wardrobe, outfit, model.coarse_mean[None])
        vertices, triangles = dressed.vertices[0], dressed.triangles[0]
        off, nearest, face, weights = above(points, vertices, triangles)
        uv = (dressed.corner_uv[0][face] * weights[..., None]).sum(dim=1)
        inner = torch.cdist(nearest, rim_of(vertices, triangles)).amin(dim=1) > 6
        inner &= wardrobe.alpha(dressed.item[0][face], uv) > 0.9
        assert inner.sum() > 60
        assert off[inner].max() < 1.2  # what is evened out may stand before a dent
        assert off[inner].abs().median() < 0.8
        assert off[inner].quantile(0.05) > -2.0


def test_no_triangle_turns_over(beards, model, people, wardrobe, monkeypatch):
    """Whatever faces people make; under a lip drawn up to the nose some would, were heights not lowered."""
    subjects, outfit = people
    some = ((outfit.beard >= 0) | (outfit.moustache >= 0)).nonzero()[:, 0]
    chosen, outfit = subjects.rows(some), outfit.rows(some)
    lifted = dict.fromkeys(("mouthUpperUpLeft", "mouthUpperUpRight"), 0.9) | {"mouthFunnel": 0.65}
    lifted |= dict.fromkeys(("mouthSmileLeft", "mouthSmileRight", "cheekSquintLeft", "cheekSquintRight"), 0.8)
    for name, strength in lifted.items():
        chosen.alpha_exp[:3, model.expression_names.index(name)] = strength
    outfit.moustache[:3] = wardrobe.number("moustache")
    skin = model.blend(chosen.alpha_id, chosen.alpha_exp)
    before = triangle_normals(skin, model.triangles)

    def steepest():
        relief = beards.relief(chosen, outfit)
        after = triangle_normals(skin + relief, model.triangles)
        return torch.nn.functional.cosine_similarity(before, after, dim=2).amin(dim=1)

    kept = steepest()
    assert kept.min() > 0.1
    monkeypatch.setattr(module, "ROUNDS", 0)
    free = steepest()
    assert free.min() < 0
    calm = free > module.STEEPEST + 0.01
    assert calm.float().mean() > 0.7
    assert torch.equal(kept[calm], free[calm])


def test_relief_follows_the_size_of_the_head(beards, model, wardrobe):
    """Against rays on each person's own head and beard, for the largest and smallest of many men."""
    bank = read_bank("train")
    men = (bank["gender"][:3000] < 0.5).nonzero()[:, 0]
    size = wardrobe.frame.scale(model.coarse(bank["alpha_id"][men].float())).mean(dim=1)
    rows = men[size.argsort()[[3, -4]]]
    subjects = draw_subjects(torch.Generator().manual_seed(0), model, bank, rows)
    subjects.alpha_exp = 0 * subjects.alpha_exp
    outfit = worn(wardrobe, "beard_full", 1.0, count=2)
    relief, plain = beards.relief(subjects, outfit), beards.heights(outfit)
    faces = model.blend(subjects.alpha_id)
    outward = vertex_normals(faces, model.triangles, frame="model")
    assert ((relief * outward).sum(dim=2) - relief.norm(dim=2)).abs().max() < 1e-3
    dressed = dress(wardrobe, outfit, model.coarse(subjects.alpha_id))
    free, around = module._free(model)[:, None], module._around(model.triangles, len(model.mean))
    means = []
    for row in range(2):
        own = module._outside(faces[row], outward[row], wardrobe, dressed, row)[:, None]
        own = (free * module._evened(own * (free > 0), around, module.EVENING))[:, 0]
        ours = relief[row].norm(dim=1)
        error = (ours - own)[own > 1]
        assert error.abs().mean() < 0.35
        assert error.abs().mean() < 0.6 * (plain[row] - own)[own > 1].abs().mean()
        means.append(float(ours[own > 1].mean()))
    assert means[1] > 1.3 * means[0]


def test_maps_are_the_rasterised_surface(beards, model, wardrobe, people):
    subjects, outfit = (table.rows(slice(40)) for table in people)
    some = ((outfit.beard >= 0) & (outfit.moustache >= 0)).nonzero()[:3, 0]
    subjects, outfit = subjects.rows(some), outfit.rows(some)
    views = shots(model, subjects)
    views.distance = torch.full_like(views.distance, torch.inf)  # so that a triangle's inside stays flat
    relief = beards.of_views(subjects, outfit, views)
    assert torch.equal(relief, beards.relief(subjects, outfit)[views.subject])
    sampler = face_model.sampler(model, SIZE)
    ours = truth_maps(sampler, subjects, views, relief)
    surface = truth_vertices(model, subjects, views, relief)
    theirs = map_from_mesh(surface, model.uv, model.triangles, SIZE)
    assert (ours - theirs).abs().max() < 1e-3
    skin = truth_maps(sampler, subjects, views)
    assert (ours - skin).norm(dim=1).flatten(1).amax(dim=1).min() > 1  # pixels
    moved = (surface - truth_vertices(model, subjects, views)).norm(dim=2)
    torch.testing.assert_close(moved, relief.norm(dim=2) * views.scale[:, None], rtol=1e-3, atol=1e-3)
    assert not moved[:, model.rim].any()  # depth has the same zero


def test_the_switch_off_changes_no_bit(beards, model, people):
    subjects, outfit = people
    views = shots(model, subjects.rows(slice(20)))
    chosen = subjects.rows(views.subject)
    sampler = face_model.sampler(model, SIZE)
    points, _ = views.project(sampler.points(chosen.alpha_id, chosen.alpha_exp).transpose(1, 2))
    skin = truth_maps(sampler, subjects, views)
    assert torch.equal(skin, sampler.as_map(points.transpose(1, 2)))
    points, _ = views.project(model.blend(chosen.alpha_id, chosen.alpha_exp))
    assert torch.equal(truth_vertices(model, subjects, views)[..., :2], points[..., :2])
    bearded = truth_maps(sampler, subjects, views, beards.of_views(subjects, outfit, views))
    none = ((outfit.beard < 0) & (outfit.moustache < 0))[views.subject]
    assert torch.equal(bearded[none], skin[none])
    assert (bearded != skin).flatten(1).any(dim=1).equal(~none)


def test_batches_with_beards_differ_in_their_targets_alone(beards, model, people):
    subjects, outfit = (table.rows(slice(20)) for table in people)
    images = [np.random.default_rng(5).integers(0, 255, (20, 3, 3, 80, 80), dtype=np.uint8)]
    pictures = Pictures(tiny(people=20, shard=20), images, subjects, shots(model, subjects), outfit)
    sampler = face_model.sampler(model, SIZE)
    options = pictures, sampler, "all-poses", 20, Augmentation.preset("photo")
    plain, bearded = Batches(*options), Batches(*options, beards=beards)
    who = plain.items(0)[0]
    hairy = ((outfit.beard >= 0) | (outfit.moustache >= 0))[who]
    assert 0 < hairy.sum() < 20
    (one, skin), (two, surface) = plain(0), bearded(0)
    assert torch.equal(one, two)
    assert torch.equal(skin[~hairy], surface[~hairy])
    assert (skin != surface).flatten(1).any(dim=1).equal(hairy)
    first = Batches(replace(pictures, outfit=None), *options[1:], beards=beards)
    with pytest.raises(ValueError, match="first generation wear no beards"):
        first(0)


def test_data_sets_keep_outfits_and_their_names(model, wardrobe, tmp_path, monkeypatch):
    """Outfits are read from the shards; test sets know a truth with beards by name; pictures do not."""
    assert "beards" not in {f.name for f in fields(Description)}
    atelier = tiny_people.atelier()  # opened while the cache is at hand
    monkeypatch.setattr(paths, "CACHE", tiny_people.root(tmp_path) / "data" / "cache")
    monkeypatch.setattr(dataset, "open_studio", lambda generation, model: atelier)
    blank = torch.zeros(50, 3, 3, SIZE, SIZE, dtype=torch.uint8)
    monkeypatch.setattr(
        dataset, "render_shard", lambda described, people, shots, studio: blank[: len(people)]
    )
    pictures = open_pictures(tiny(people=3, generation=2), workers=1)
    drawn = [dataset.draw_shard(pictures.description, k, atelier)[0].outfit for k in range(2)]
    for name in Outfit.__dataclass_fields__:
        both = torch.cat([getattr(outfit, name) for outfit in drawn])[:3]
        assert torch.equal(getattr(pictures.outfit, name), both)
    monkeypatch.setattr(Beards, "open", classmethod(lambda cls, model: measured))
    measured = Beards(*(None for _ in fields(Beards)))
    monkeypatch.setattr(Beards, "of_views", lambda self, subjects, outfit, views: 2 * torch.ones(1, 1, 3))
    plain = test_sets.pairs(SIZE, 2, model=model, generation=2, workers=1)
    bearded = test_sets.pairs(SIZE, 2, model=model, generation=2, workers=1, beards=True)
    assert [plain.name, bearded.name] == ["synthetic-v2-pairs", "synthetic-v2-pairs-beards"]
    one, two = next(iter(plain)), next(iter(bearded))
    assert torch.equal(one["images"], two["images"])
    step = two["vertices"] - one["vertices"]  # everything moves alike; depth is measured from the rim
    assert step.std(dim=0).max() < 1e-4
    assert step[:, 0].mean() > 0.3
    assert step[:, 2].abs().max() < 1e-4


def test_truth_of_portraits_takes_beards(beards, model, wardrobe):
    cast, some = tables(people=1)
    cast.outfit.beard[:] = wardrobe.number("beard_full")
    sampler = face_model.sampler(model, SIZE)
    options, views = (tiny_people.atelier(), sampler, cast, some), some.views
    skin = truth_of(*options, size=SIZE, shift=0)
    surface = truth_of(*options, size=SIZE, shift=0, beards=beards)
    relief = beards.of_views(cast.subjects, cast.outfit, views)
    assert torch.equal(surface.position_map, truth_maps(sampler, cast.subjects, views, relief))
    assert torch.equal(surface.vertices, truth_vertices(model, cast.subjects, views, relief))
    assert torch.equal(skin.vertices, truth_vertices(model, cast.subjects, views))
    for name in ("normals", "pncc", "albedo", "segmentation"):
        assert torch.equal(getattr(skin, name), getattr(surface, name))
    chin = model.landmarks[6:11]
    hidden, seen = (t.landmark_seen[0, 6:11].sum() for t in (skin, surface))
    assert seen >= hidden
    assert (surface.vertices[:, chin] - skin.vertices[:, chin]).norm(dim=2).min() > 0.3


def test_without_wearables_nobody_has_a_beard(model, wardrobe, people, tmp_path, monkeypatch):
    monkeypatch.setattr(wearables.proxies, "folder", lambda: None)
    monkeypatch.setattr(wearables, "load", lambda: model)
    monkeypatch.setattr(paths, "CACHE", tmp_path)
    wearables.build(lambda *_, **__: None)
    empty = Beards.open(model)
    subjects, _ = people
    outfit = draw_outfit(torch.Generator().manual_seed(0), Wardrobe.open(), subjects)
    relief = empty.relief(subjects, outfit)
    assert relief.shape == (len(subjects), len(model.mean), 3)
    assert not relief.any()
