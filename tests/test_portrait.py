"""Portraits: pure functions of their tables, geometry where the truth says, light and shade as asked."""

from functools import cache

import pytest
import torch
from tiny_people import tiny
from torch.nn import functional

from facet import face_model
from facet.face_model import PARTS
from facet.face_model.wearables import KINDS
from facet.synthetic import dataset, portrait
from facet.synthetic import scene as scenes
from facet.synthetic.dataset import read_bank
from facet.synthetic.figure import Figure
from facet.synthetic.finish import Finish
from facet.synthetic.poses import Poses
from facet.synthetic.skin_chart import lip_depth
from facet.synthetic.skin_paint import under_collar
from facet.synthetic.truth import CLASSES, _classes, photograph_with_truth, truth_of

SIZE = 64


@cache
def atelier():
    return portrait.Atelier.open(face_model.load())


def posed(*yaw):
    yaw = torch.tensor([yaw])
    return Poses(yaw, torch.zeros_like(yaw), torch.zeros_like(yaw))


def tables(seed=0, people=2, yaw=(0.0, 70.0), **changes):
    generator = torch.Generator().manual_seed(seed)
    rows = torch.arange(people)
    cast = portrait.draw_cast(generator, atelier(), read_bank("train"), rows)
    angles = posed(*yaw)
    poses = Poses(*(getattr(angles, a).expand(people, -1) for a in ("yaw", "pitch", "roll")))
    return cast, portrait.draw_shots(generator, atelier(), cast, poses, image_size=SIZE, **changes)


def bare(cast, shots):
    """Nothing worn, nothing in front."""
    worn = {k: torch.full_like(v, -1) for k, v in vars(cast.outfit).items() if k in KINDS}
    for name, value in worn.items():
        setattr(cast.outfit, name, value)
    shots.occluder.kind = torch.zeros_like(shots.occluder.kind)
    shots.finish = Finish.plain(len(shots))
    return cast, shots


pytestmark = pytest.mark.assets


def test_pictures_are_a_pure_function_of_the_tables():
    cast, shots = tables()
    one, two = (portrait.photograph(atelier(), cast, shots, size=SIZE, shift=0) for _ in range(2))
    assert torch.equal(one, two)
    assert one.shape == (4, 3, SIZE, SIZE)
    assert one.min() >= 0
    assert one.max() <= 1
    assert one.flatten(1).std(dim=1).min() > 0.05
    again = portrait.Cast.from_state(cast.state()), portrait.Shots.from_state(shots.state())
    assert torch.equal(one, portrait.photograph(atelier(), *again, size=SIZE, shift=0))
    second, company = shots.rows(slice(2, 3)), portrait.Company(people=2, place=1)
    alone = portrait.photograph(atelier(), cast, second, size=SIZE, shift=0, company=company)
    assert torch.equal(alone[0], one[2])


def test_a_shard_is_rebuilt_from_its_parameters(tmp_path, monkeypatch):
    monkeypatch.setattr(dataset.paths, "CACHE", tmp_path)
    monkeypatch.setattr(dataset, "read_bank", lambda split: BANK)
    description = tiny(people=2, generation=2)
    people, shots = dataset.draw_shard(description, 0, atelier())
    again = dataset.draw_shard(description, 0, atelier())
    for one, two in zip(people.state().values(), again[0].state().values(), strict=True):
        assert torch.equal(one, two)
    pictures = dataset.render_shard(description, people, shots, atelier())
    stored = portrait.Cast.from_state(people.state()), portrait.Shots.from_state(shots.state())
    assert torch.equal(pictures, dataset.render_shard(description, *stored, atelier()))
    assert pictures.shape == (2, 3, 3, 80, 80)


BANK = read_bank("train")


def test_samples_lie_where_the_truth_is():
    """The bare head's samples at the 68 landmarks' pixels are those landmarks, to a millimetre or two."""
    cast, shots = bare(*tables(yaw=(0.0, -30.0)))
    scene, _, _ = portrait.illuminate(atelier(), cast, shots, size=SIZE, shift=0)
    model, views = atelier().model, shots.views
    chosen = cast.subjects.rows(views.subject)
    face = model.blend(chosen.alpha_id, chosen.alpha_exp)[:, model.landmarks]
    pixels = views.project(face)[0][..., :2]
    turned = face @ views.rotation().mT
    k = scenes.SUPERSAMPLING
    points = torch.full((len(views), (SIZE * k) ** 2, 3), torch.nan).view(-1, 3)
    points[scene.fragments.covered] = scene.points
    points = points.view(len(views), SIZE * k, SIZE * k, 3)
    at = (pixels * k + (k - 1) / 2).round().long()
    image = torch.arange(len(views))[:, None]
    distance = (points[image, at[..., 1], at[..., 0]] - turned)[:, 17:].norm(dim=2)  # not the jaw's outline
    assert distance.nanquantile(0.8) < 2.5


def test_the_chest_goes_on_below_the_picture():
    cast, shots = bare(*tables(yaw=(0.0,)))
    scene, _, _ = portrait.illuminate(atelier(), cast, shots, size=SIZE, shift=0)
    lowest = scene.fragments.mask[:, -1]
    assert (lowest[:, SIZE // 2 : 3 * SIZE // 2]).all()  # no gap under the chest in the middle
    figure = Figure.of(atelier().model)
    assert len(figure.uv) == len(figure.part) == figure.faces > len(atelier().model.head_triangles)


def test_light_from_one_side_lights_that_side():
    cast, shots = bare(*tables(yaw=(0.0,)))
    shots.lights.sh = torch.zeros_like(shots.lights.sh)
    brightness = []
    for side in (-1.0, 1.0):
        shots.lights.direction = torch.tensor([[side, -0.2, 0.5], [0.0, 0.0, 1.0]]).expand(2, 2, 3).clone()
        shots.lights.direction /= shots.lights.direction.norm(dim=2, keepdim=True)
        shots.lights.colour = torch.tensor([[1.0] * 3, [0.0] * 3]).expand(2, 2, 3).clone()
        scene, light, _ = portrait.illuminate(atelier(), cast, shots, size=SIZE, shift=0)
        right = scene.points[:, 0] > 15
        left = scene.points[:, 0] < -15
        brightness.append((light[right].mean() / light[left].mean()).log())
    assert brightness[0] < -0.5
    assert brightness[1] > 0.5


def test_truth_pack():
    cast, shots = bare(*tables(yaw=(0.0, 80.0)))
    sampler = face_model.sampler(atelier().model, 32)
    exposure = portrait.expose(atelier(), cast, shots, size=SIZE, shift=0)
    truth = truth_of(atelier(), sampler, cast, shots, size=SIZE, shift=0, exposure=exposure)
    person, k = truth.segmentation > 0, scenes.SUPERSAMPLING
    samples = exposure.scene.fragments.mask.view(4, SIZE, k, SIZE, k)
    assert torch.equal(~truth.depth.isnan(), samples.any(dim=4).any(dim=2))
    assert not (person & truth.depth.isnan()).any()
    assert person[samples.all(dim=4).all(dim=2)].all()
    unit = truth.normals.norm(dim=1)[person]
    torch.testing.assert_close(unit, torch.ones_like(unit), atol=1e-4, rtol=0)
    assert truth.normals[:, 2][person].mean() > 0.3  # toward the camera
    seen = truth.landmark_seen.view(2, 2, 68).float().mean(dim=2)
    assert (seen[:, 0] > 0.85).all()
    assert (seen[:, 1] < 0.75).all()  # half a face from the side
    shown = truth.texel_seen.view(2, 2, -1).float().mean(dim=2)
    assert (shown[:, 0] > shown[:, 1]).all()
    face = truth.pncc.sum(dim=1) > 0
    assert ((truth.pncc >= 0) & (truth.pncc <= 1)).all()
    front = face[0].nonzero()
    x = truth.pncc[0, 0][face[0]]
    assert torch.corrcoef(torch.stack([x, front[:, 1].float()]))[0, 1] > 0.95  # x grows to the right
    counts = torch.bincount(truth.segmentation[0].flatten().long(), minlength=len(CLASSES))
    assert counts[CLASSES.index("skin")] > 400
    assert counts[CLASSES.index("hair")] == counts[CLASSES.index("accessory")] == 0


def seen_from_far():
    """Two pictures of a bare head, without perspective, their truth, and where the mean face shows."""
    cast, shots = bare(*tables(people=1, yaw=(0.0, -30.0)))
    shots.views.distance = torch.full_like(shots.views.distance, torch.inf)
    truth = truth_of(atelier(), face_model.sampler(atelier().model, 8), cast, shots, size=SIZE, shift=0)
    return cast, shots, truth, truth.pncc.amax(dim=1) > 0


def test_depth_and_place_at_the_landmarks_are_theirs():
    """Half a pixel of depth from the plane of the head's origin, a hundredth of the mean face's box."""
    cast, shots, truth, face = seen_from_far()
    model, views = atelier().model, shots.views
    chosen = cast.subjects.rows(views.subject)
    turned = model.blend(chosen.alpha_id, chosen.alpha_exp)[:, model.landmarks] @ views.rotation().mT
    pixels = views.scale[:, None, None] * turned * torch.tensor([1.0, -1.0, 1.0])
    grid = (2 * (pixels[..., :2] + views.centre[:, None] + 0.5) / SIZE - 1)[:, :, None]
    layers = torch.cat((truth.depth[:, None], truth.pncc, face[:, None]), dim=1)
    found = functional.grid_sample(layers, grid, align_corners=False)[..., 0].mT  # (M, 68, 5)
    solid = truth.landmark_seen & (found[..., 4] > 0.999)  # no hole of eyes or mouth beside it
    assert (solid.sum(dim=1) > 40).all()
    depth = pixels[..., 2][solid]
    assert depth.max() - depth.min() > 15
    assert (found[..., 0][solid] - depth).abs().quantile(0.8) < 0.5
    low, high = model.mean.amin(dim=0), model.mean.amax(dim=0)
    place = ((model.mean[model.landmarks] - low) / (high - low)).expand(2, -1, -1)[solid]
    apart = (found[..., 1:4][solid] - place).abs()
    assert apart.quantile(0.8, dim=0).max() < 0.015
    assert place.std(dim=0).min() > 0.1


def test_normals_are_the_slopes_of_the_depth():
    """Across and down the picture, where neighbours are of the face too."""
    _, _, truth, face = seen_from_far()
    down, across = torch.gradient(truth.depth, dim=(1, 2))
    slopes = functional.normalize(torch.stack((-across, -down, torch.ones_like(down)), dim=1), dim=1)
    inner = functional.avg_pool2d(face.float()[:, None], 3, stride=1, padding=1)[:, 0] > 0.999
    angle = torch.rad2deg((slopes * truth.normals).sum(dim=1)[inner].clamp(max=1).acos())
    assert len(angle) > 3000
    assert angle.quantile(0.8) < 4
    assert truth.normals.movedim(1, 3)[inner].std(dim=0).min() > 0.1


def test_albedo_is_the_colour_of_what_is_seen():
    """Plain cloth has its linear colour in any light, but for a little unevenness; beside people is none."""
    cast, shots = bare(*tables(yaw=(0.0,)))
    colour = torch.tensor([0.6, 0.3, 0.1])
    cast.skin.cloth[:] = colour
    cast.skin.weave[:] = torch.tensor([0.0, 1.0, 12.0, 0.0])
    truth = truth_of(atelier(), face_model.sampler(atelier().model, 8), cast, shots, size=SIZE, shift=0)
    cloth = (truth.segmentation == CLASSES.index("cloth")).float()[:, None]
    inner = functional.avg_pool2d(cloth, 3, stride=1, padding=1, count_include_pad=False)[:, 0] > 0.999
    shares = truth.albedo.movedim(1, 3)[inner] / colour
    assert len(shares) > 100
    assert (shares.median(dim=0).values - 1).abs().max() < 0.1
    assert (shares.amax(dim=1) - shares.amin(dim=1)).quantile(0.8) < 0.01
    empty = truth.depth.isnan()
    assert empty.any()
    for layer in (truth.albedo, truth.normals, truth.pncc):
        assert not layer.movedim(1, 3)[empty].any()


def test_picture_and_truth_share_a_scene():
    """Taken together they are what each is by itself, to the bit."""
    cast, shots = tables(yaw=(0.0, 70.0))
    shots.occluder.kind[:2] = torch.tensor([1, 0])
    sampler = face_model.sampler(atelier().model, 32)
    picture, truth = photograph_with_truth(atelier(), sampler, cast, shots, size=SIZE, shift=0)
    assert torch.equal(picture, portrait.photograph(atelier(), cast, shots, size=SIZE, shift=0))
    apart = truth_of(atelier(), sampler, cast, shots, size=SIZE, shift=0)
    for name, layer in vars(apart).items():
        assert torch.equal(getattr(truth, name).nan_to_num(-1.0), layer.nan_to_num(-1.0)), name


def test_zones_leave_no_sample_out():
    """Classes by way of the zones are those of every sample asked by itself."""
    cast, shots = bare(*tables(yaw=(0.0, 50.0)))
    scene, _, _ = portrait.illuminate(atelier(), cast, shots, size=SIZE, shift=0)
    model, weave = atelier().model, cast.skin.weave[shots.views.subject]
    found = _classes(atelier(), scene, weave)
    own = ((scene.triangle < len(model.head_triangles)) & (scene.item < 0)).nonzero()[:, 0]
    skin = (atelier().head.part[scene.triangle[own]] == PARTS.index("skin")).nonzero()[:, 0]
    own = own[skin]
    corners = model.head_rest[model.head_triangles[scene.triangle[own]]]
    place = (corners * scene.weights[own, :, None]).sum(dim=1)
    collar, vee = weave[scene.image[own], 2:].unbind(1)
    expected = torch.full_like(own, CLASSES.index("skin"))
    expected[lip_depth(place) > 0] = CLASSES.index("lips")
    expected[under_collar(place, collar, vee) > 0] = CLASSES.index("cloth")
    assert (found[own] != expected).float().mean() < 1e-4  # sums of corners round otherwise at an edge
    assert len(expected.unique()) > 1


def test_cloth_begins_where_the_collar_is_painted():
    cast, shots = bare(*tables(yaw=(0.0,)))
    sampler = face_model.sampler(atelier().model, 32)
    shares = []
    for collar in (-12.0, 12.0):
        cast.skin.weave[:, 2], cast.skin.weave[:, 3] = collar, 0.0
        found = truth_of(atelier(), sampler, cast, shots, size=SIZE, shift=0).segmentation
        shares.append((found == CLASSES.index("cloth")).flatten(1).float().mean(dim=1))
    assert (shares[1] > shares[0] + 0.01).all()


def test_what_is_worn_is_segmented_and_hides_landmarks():
    cast, shots = tables(yaw=(0.0,))
    cast, shots = bare(cast, shots)
    wardrobe = atelier().wardrobe
    if not len(wardrobe):
        pytest.skip("no MakeHuman assets on this machine")
    cast.outfit.hair = torch.full_like(cast.outfit.hair, wardrobe.number("bob"))
    cast.outfit.glasses = torch.full_like(cast.outfit.glasses, wardrobe.number("sunglasses"))
    sampler = face_model.sampler(atelier().model, 32)
    truth = truth_of(atelier(), sampler, cast, shots, size=SIZE, shift=0)
    counts = torch.bincount(truth.segmentation[0].flatten().long(), minlength=len(CLASSES))
    assert counts[CLASSES.index("hair")] > 200
    assert counts[CLASSES.index("accessory")] > 30
    assert not truth.landmark_seen[:, 37:48].all()
