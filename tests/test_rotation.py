"""The rotator's geometry: heads from faces, where to turn, what is seen, holes, backgrounds."""

import pytest
import torch
from torch import nn

from facet import face_model, networks
from facet.crop import crop_box
from facet.geometry import image_flip, model_to_image, rotation_matrix, similarity, transform_points
from facet.rendering import push_pull
from facet.rotation import (
    FITS,
    Completion,
    Gatherer,
    Rotator,
    fit,
    given_pose,
    random_pose,
    register,
    second_pose,
)
from facet.rotation.gather import FACING, GRAZING
from facet.rotation.head import flattened, project
from facet.rotation.pairs import there_and_back, true_pair
from facet.rotation.rotator import background, fill, place
from facet.synthetic.poses import Camera

SIZE = 64


@pytest.fixture(scope="module")
def model():
    return face_model.load()


@pytest.fixture(scope="module")
def completion(model):
    return Completion(model)


def draw(model, generator, poses, scale=0.28):
    """Faces and heads (B, ·, 3) of people within the model at poses, in pixels of a 64-pixel crop."""
    count = len(poses)
    alpha_id = 0.8 * torch.randn(count, model.identity_modes, generator=generator)
    alpha_exp = 0.3 * torch.rand(count, 52, generator=generator)
    face, head = model.blend_both(alpha_id, alpha_exp)
    yaw, pitch, roll = torch.tensor(poses).T
    matrix = model_to_image(yaw, pitch, roll, scale, torch.full((count, 2), (SIZE - 1) / 2))
    return transform_points(matrix, face), transform_points(matrix, head)


POSES = [(0.0, 0.0, 0.0), (35.0, -10.0, 5.0), (-85.0, 5.0, -8.0)]


def test_a_head_is_completed_from_its_face(model, completion, generator):
    """Within the model's own people the head is known: the rest of it comes out right, and so the pose."""
    faces, heads = draw(model, generator, POSES)
    found = completion(faces)
    error = (found.in_photo() - heads)[:, completion.triangles.unique()].norm(dim=2) / 0.28  # mm
    on_face = (found.in_photo() - heads)[:, completion.on_patch].norm(dim=2) / 0.28
    assert on_face.mean() < 0.5
    assert error.mean() < 3.0  # the mean head is wrong by 9 mm
    yaw, pitch, roll = torch.tensor(POSES).T
    turn = image_flip(faces) @ found.placement.rotation @ rotation_matrix(yaw, pitch, roll).mT
    off = torch.rad2deg(((turn.diagonal(dim1=1, dim2=2).sum(dim=1) - 1) / 2).clamp(max=1).acos())
    assert off.max() < 6.0  # what of a person is pose and what is shape is not told by one face
    marks = project(found.landmarks, found.placement, found.nearness)
    torch.testing.assert_close(marks, faces[:, model.landmarks], atol=1e-3, rtol=0)


def test_a_shape_outside_of_the_model_is_kept_on_the_face(model, completion, generator):
    """A bump that no mode knows stays on the face, and the back of the head does not feel it."""
    faces, _ = draw(model, generator, POSES[:1])
    middle = faces[:, model.landmarks[30]]
    bump = 3.0 * torch.exp(-((faces - middle[:, None]) / 8).square().sum(dim=2))
    pushed = torch.cat((faces[..., :2], faces[..., 2:] + bump[..., None]), dim=2)
    before, after = completion(faces).in_photo(), completion(pushed).in_photo()
    moved = (after - before)[0]
    nose = (before[0] - middle).norm(dim=1).argmin()
    assert moved[nose, 2] > 2.0
    back = before[0, :, 2] < before[0, :, 2].median() - 10
    assert moved[back].norm(dim=1).mean() < 1.0


def test_noise_of_the_map_is_smoothed(model, completion, generator):
    faces, heads = draw(model, generator, POSES[:1])
    noisy = faces + 0.5 * torch.randn(faces.shape, generator=generator)
    on = completion.on_patch
    error = (completion(noisy).in_photo() - heads)[:, on].norm(dim=2).mean()
    assert error < 0.3  # the noise's own length is 0.8


def test_the_cameras_distance_is_found(model, completion, generator):
    """Near and far cameras are told apart; with the right one the sides of the head lie where they are."""
    alpha_id = 0.8 * torch.randn(6, model.identity_modes, generator=generator)
    face, head = model.blend_both(alpha_id)
    yaw = torch.tensor([0.0, 20.0, -50.0] * 2)
    distance = torch.tensor([400.0] * 3 + [torch.inf] * 3)
    centre = torch.full((6, 2), (SIZE - 1) / 2)
    camera = Camera(torch.full((6,), 0.28), centre, distance)
    turn = rotation_matrix(yaw, torch.zeros(6), torch.zeros(6))
    faces, heads = (camera.project(x @ turn.mT)[0] for x in (face, head))
    found = completion(faces)
    assert (found.nearness[:3] - 1 / 400).abs().max() < 5e-4
    assert found.nearness[3:].max() < 5e-4
    shown = completion.triangles.unique()
    error = (found.in_photo() - heads)[:, shown].norm(dim=2) / 0.28  # mm
    assert error.mean() < 4.0
    flat = found.placement.apply(found.points)
    assert (flat - heads)[:3, shown].norm(dim=2).mean() > 2.5 * 0.28 * error[:3].mean()
    back = flattened(found.in_photo(), found.placement, found.nearness)
    torch.testing.assert_close(back, flat, atol=1e-3, rtol=0)


def test_mirror_partners_lie_opposite(model, completion):
    head = model.blend_head(torch.zeros(1, 1))[0]
    opposite = head[completion.mirror] * torch.tensor([-1.0, 1.0, 1.0])
    assert (opposite - head).norm(dim=1).max() < 0.2
    assert torch.equal(completion.mirror[completion.mirror], torch.arange(len(head)))


@pytest.mark.parametrize(
    ("yaw", "to", "expected"),
    [
        (5.0, 30.0, 35.0),
        (-5.0, 30.0, -35.0),
        (0.0, 30.0, 30.0),
        (45.0, 30.0, 75.0),
        (46.0, 30.0, 16.0),
        (-80.0, 30.0, -50.0),
        (50.0, 60.0, 0.0),
        (40.0, 60.0, 90.0),
        (10.0, "side", 80.0),
        (-10.0, "side", -80.0),
        (-70.0, "side", 0.0),
        (95.0, 0.0, 90.0),
    ],
)
def test_direction_and_angle(yaw, to, expected):
    pose = torch.tensor([[yaw, 12.0, -7.0]])
    assert second_pose(pose, to=to).tolist() == [[pytest.approx(expected), 0.0, 0.0]]
    assert second_pose(pose, to=to, level=False).tolist() == [[pytest.approx(expected), 12.0, -7.0]]


def test_a_turn_is_odd_in_yaw(generator):
    pose = torch.randn(50, 3, generator=generator) * 40
    mirrored = pose * torch.tensor([-1.0, 1.0, -1.0])
    torch.testing.assert_close(
        second_pose(mirrored, level=False), second_pose(pose, level=False) * torch.tensor([-1.0, 1.0, -1.0])
    )


def test_angles_that_cannot_be_are_refused():
    pose = torch.zeros(1, 3)
    with pytest.raises(ValueError, match=r'from 0 to 180 degrees or "side", got \'left\''):
        second_pose(pose, to="left")
    with pytest.raises(ValueError, match='to must be an angle from 0 to 180 degrees or "side", got None'):
        second_pose(pose, to=None)
    with pytest.raises(ValueError, match="-90 to 90 degrees, not to 120"):
        given_pose(pose, 120.0)
    assert given_pose(torch.tensor([[1.0, 2.0, 3.0]]), -90.0, level=False).tolist() == [[-90.0, 2.0, 3.0]]


def test_random_poses_stay_in_range_and_near(generator):
    pose = torch.tensor([[-100.0, 0.0, 0.0], [0.0, 0.0, 0.0], [80.0, 0.0, 0.0]]).repeat(100, 1)
    found = random_pose(pose, generator)
    assert found[:, 0].abs().max() <= 90
    assert (found[:, 0] - pose[:, 0]).abs().max() <= 75
    assert found[:, 1:].abs().max() <= 10


def sphere(points=4000):
    """A ball of radius 20 as (V, 3) vertices and outward triangles (model frame's order), by its hull."""
    from scipy.spatial import ConvexHull

    step = torch.arange(points, dtype=torch.float64) + 0.5
    z, angle = 1 - 2 * step / points, step * 2.399963229728653
    xy = (1 - z * z).sqrt()
    ball = torch.stack((xy * angle.cos(), xy * angle.sin(), z), dim=1)
    faces = torch.from_numpy(ConvexHull(ball.numpy()).simplices).long()
    a, b, c = ball[faces].unbind(dim=1)
    inward = (torch.linalg.cross(b - a, c - a) * a).sum(dim=1) < 0
    faces[inward] = faces[inward].flip(1)
    return 20 * ball.float(), faces


def ball_at(yaw):
    vertices, faces = sphere()
    matrix = model_to_image(yaw, 0.0, 0.0, 1.0, torch.tensor([[31.5, 31.5]]))
    return transform_points(matrix, vertices[None]), faces


def test_a_turned_ball_shows_the_colours_that_the_photo_shows_of_it():
    """Against the closed form: place, colour and visibility of every pixel of a ball turned by 40°."""
    yaw = 40.0
    home, faces = ball_at(0.0)
    turned, _ = ball_at(yaw)
    axis = torch.arange(SIZE) - 31.5
    photo = torch.stack(torch.meshgrid(axis, axis, indexing="ij")[::-1]) / 64 + 0.5  # red: x, green: y
    photo = torch.cat((photo, torch.full_like(photo[:1], 0.25)))[None]
    found = Gatherer(photo, home, faces)(turned, SIZE)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    z = (400 - x**2 - y**2).clamp(min=0).sqrt()
    angle = torch.deg2rad(torch.tensor(yaw))
    was_x, was_z = x * angle.cos() - z * angle.sin(), x * angle.sin() + z * angle.cos()
    inside = x**2 + y**2 < 18.5**2
    clear = inside & (was_z / 20 > FACING + 0.1) & (was_x**2 + y**2 < 17.5**2)
    assert clear.sum() > 300
    assert found.seen[0, 0][clear].min() > 0.95
    assert (found.image[0, 0] - (was_x / 64 + 0.5))[clear].abs().max() < 0.01
    assert (found.image[0, 1] - (y / 64 + 0.5))[clear].abs().max() < 0.01
    hidden = inside & (was_z / 20 < GRAZING - 0.1)
    assert hidden.sum() > 100
    assert found.seen[0, 0][hidden].max() == 0
    assert found.image[0, :, hidden].abs().max() == 0
    assert (found.head[0, 0] > 0)[inside].all()
    assert not (found.head[0, 0] > 0)[x**2 + y**2 > 21**2].any()


def test_what_lies_behind_is_not_seen():
    """A small ball behind a large one: its triangles face the camera, yet the photo shows none of them."""
    large, faces = ball_at(0.0)
    small = large * 0.3
    small = small - small.mean(dim=1, keepdim=True) + torch.tensor([31.5, 31.5, -60.0])
    both = torch.cat((large, small), dim=1)
    triangles = torch.cat((faces, faces + large.shape[1]))
    photo = torch.rand(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    aside = torch.cat((large + torch.tensor([200.0, 0.0, 0.0]), small), dim=1)
    found = Gatherer(photo, both, triangles)(aside, SIZE)
    assert found.head.sum() > 80
    assert found.seen.max() == 0
    alone = Gatherer(photo, small, faces)(small, SIZE)
    assert (alone.seen > 0.9).sum() > 20


def test_outside_of_the_photo_and_hidden_in_it_nothing_is_seen():
    home, faces = ball_at(0.0)
    away = home + torch.tensor([40.0, 0.0, 0.0])  # half of the ball beyond the photo's right edge
    photo = torch.full((1, 3, SIZE, SIZE), 0.5)
    found = Gatherer(photo, away, faces)(home, SIZE)
    columns = torch.arange(SIZE) + 40 > SIZE
    assert found.seen[0, 0][:, columns].max() == 0
    assert found.seen.max() > 0.9
    shown = torch.ones(1, 1, SIZE, SIZE)
    shown[..., :32] = 0
    found = Gatherer(photo, home, faces, shown=shown)(home, SIZE)
    assert found.seen[0, 0, :, :31].max() == 0
    assert found.seen[0, 0, 32, 36:40].min() > 0.9


def test_push_pull_keeps_what_is_known_and_continues_the_rest():
    image = torch.rand(2, 3, 24, 24, generator=torch.Generator().manual_seed(1))
    known = torch.ones(2, 1, 24, 24)
    torch.testing.assert_close(push_pull(image, known), image)
    known[:, :, :, 12:] = 0
    flat = torch.full_like(image, 0.3)
    torch.testing.assert_close(push_pull(flat * known, known), flat)
    continued = push_pull(image * known, known)
    assert torch.equal(continued[..., :12], image[..., :12])
    assert continued[..., 12:].min() >= image[..., :12].min()


class Painted(nn.Module):
    """A fit that knows: gives the vertices it was told."""

    def __init__(self, vertices):
        super().__init__()
        self.vertices = vertices

    def forward(self, photos):
        return self.vertices[: len(photos)]


@pytest.fixture(scope="module")
def scene(model, completion):
    """Photos of heads coloured by the place on the mean head: a colour tells what it shows."""
    from facet.rendering import interpolate, rasterise

    generator = torch.Generator().manual_seed(5)
    poses = [(0.0, 0.0, 0.0), (20.0, 8.0, -6.0)]
    faces, heads = draw(model, generator, poses)
    rest = model.blend_head(torch.zeros(1, 1))
    colours = ((rest - rest.amin(dim=1)) / (rest.amax(dim=1) - rest.amin(dim=1))).expand(len(heads), -1, -1)

    def picture(vertices):
        fragments = rasterise(vertices, completion.triangles, SIZE)
        return interpolate(fragments, completion.triangles, colours).permute(0, 3, 1, 2)

    return faces, heads, picture


def test_the_rotator_turns_places_and_colours(model, completion, scene):
    faces, heads, picture = scene
    photos = picture(heads)
    rotator = Rotator(Painted(faces), completion, to=40.0)
    found = rotator.heads(photos)
    wanted = second_pose(found.pose(), to=40.0)
    view = rotator.view(photos, found, wanted)
    assert torch.equal(rotator(photos), view.image)
    again = similarity(found.points, view.placed, reflect=True)
    torch.testing.assert_close(torch.stack(again.head_pose(), dim=1), wanted, atol=0.5, rtol=0)
    clear = (view.render.seen > 0.99).expand(-1, 3, -1, -1)
    assert clear.float().mean() > 0.1
    expected = picture(view.placed)
    assert (view.image - expected)[clear].abs().mean() < 0.01
    # cropped by its own landmarks: they fill the crop as those of every photo do
    marks = again.apply(found.landmarks)
    box = crop_box(marks)
    torch.testing.assert_close(box.centre, torch.full((2, 2), (SIZE - 1) / 2), atol=0.2, rtol=0)
    torch.testing.assert_close(box.size, torch.full((2,), SIZE - 1.0), atol=0.3, rtol=0)


def test_scale_and_place_of_the_photo_can_be_kept(completion, scene):
    faces, _, _ = scene
    found = completion(faces)
    placed = place(found, given_pose(found.pose(), 60.0), SIZE, crop=False)
    again = similarity(found.points, placed, reflect=True)
    torch.testing.assert_close(again.scale, found.placement.scale, atol=0, rtol=1e-2)
    before, after = crop_box(found.placement.apply(found.landmarks)), crop_box(again.apply(found.landmarks))
    torch.testing.assert_close(before.centre, after.centre, atol=0.3, rtol=0)


def test_a_window_around_the_crop_shows_the_same_crop(completion, scene):
    faces, heads, picture = scene
    rotator = Rotator(Painted(faces), completion)
    photos = picture(heads)
    found = rotator.heads(photos)
    pose = given_pose(found.pose(), 30.0)
    crop = rotator.view(photos, found, pose)
    window = rotator.view(photos, found, pose, size=SIZE + 16, shift=8)
    assert torch.equal(window.render.head[..., 8:-8, 8:-8], crop.render.head)
    torch.testing.assert_close(window.render.image[..., 8:-8, 8:-8], crop.render.image, atol=2e-2, rtol=0)


def test_the_background_is_the_photos_own():
    photos = torch.zeros(1, 3, SIZE, SIZE)
    photos[:, 0], photos[:, 1] = 0.6, torch.linspace(0, 1, SIZE)
    outline = torch.zeros(1, 1, SIZE, SIZE)
    outline[..., 20:44, 24:40] = 1
    photos = photos * (1 - outline) + outline  # a white head
    behind = background(photos, outline, SIZE)
    assert behind[:, 0].sub(0.6).abs().max() < 1e-4  # nothing of the head is left
    assert behind[0, 2].abs().max() < 1e-4
    assert torch.equal(behind[..., :10], photos[..., :10])


def test_beyond_the_photos_edge_there_is_no_background():
    photos, shown = torch.zeros(1, 3, SIZE, SIZE), torch.zeros(1, 1, SIZE, SIZE)
    photos[..., :40, :], shown[..., :40, :] = 0.6, 1.0
    outline = torch.zeros(1, 1, SIZE, SIZE)
    outline[..., 20:, 24:40] = 1
    behind = background(photos, outline, SIZE, shown=shown)
    assert behind.sub(0.6).abs().max() < 1e-4
    assert background(photos, outline, SIZE)[..., 40:, :16].max() == 0  # untold: the photo's black
    whole = background(photos, outline, SIZE, shown=torch.ones_like(shown))
    assert torch.equal(whole, background(photos, outline, SIZE))


def test_a_head_beyond_the_photos_edge_is_not_seen_there(completion, scene):
    """From where the photo was taken: what lies below its edge is filled, and seen is what lies above."""
    faces, heads, picture = scene
    rotator = Rotator(Painted(faces), completion, crop=False)
    shown = torch.ones(2, 1, SIZE, SIZE)
    shown[..., 36:, :] = 0
    photos = picture(heads) * shown
    found = rotator.heads(photos)
    about = photos, found, found.pose()
    view, blind = rotator.view(*about, shown=shown), rotator.view(*about)
    assert view.render.seen[..., 38:, :].max() == 0
    assert blind.render.seen[..., 38:, :].max() > 0.9
    assert torch.equal(view.render.seen[..., 2:32, :], blind.render.seen[..., 2:32, :])
    chin = (view.render.head[..., 40:50, :] > 0).expand(-1, 3, -1, -1)
    assert blind.image[..., 40:50, :][chin].mean() < 0.02
    assert view.image[..., 40:50, :][chin].mean() > 0.2


def test_there_and_back_shows_no_more_than_both_views_do(completion, scene, generator):
    faces, heads, picture = scene
    photos = picture(heads)
    found = completion(faces)
    there, back = there_and_back(photos, found, completion, generator)
    straight = Gatherer(photos, found.in_photo(), completion.triangles)(found.in_photo(), SIZE)
    assert back.render.seen.sum() < 0.97 * straight.seen.sum()
    clear = (back.render.seen > 0.9).expand(-1, 3, -1, -1)
    assert clear.float().mean() > 0.03
    assert (back.filled - photos)[clear].abs().mean() < 0.03
    assert torch.equal(there.render.mirrored_seen, torch.zeros_like(there.render.seen))
    outside = (back.render.head == 0) & (straight.head == 0)
    assert torch.equal(back.render.head, straight.head)
    assert outside.any()


def test_a_true_pair_lies_on_the_other_photo(model, completion, scene):
    faces, heads, picture = scene
    found = completion(faces)
    pose = torch.tensor([[50.0, 0.0, 0.0]] * 2)
    there = place(found, pose, SIZE)
    truth = similarity(found.points, there, reflect=True).apply(found.placement.inverse().apply(faces))
    view = true_pair(picture(heads), found, completion, truth)
    assert (view.placed - there).norm(dim=2).mean() < 0.3
    clear = (view.render.seen > 0.9).expand(-1, 3, -1, -1)
    assert (view.image - picture(there))[clear].abs().mean() < 0.02


def test_filling_takes_the_mirrored_side_where_it_is_seen(completion, scene):
    """From a profile to the front: the hidden half gets the colours of its partners, not a smear."""
    faces, _, picture = scene
    found = completion(faces)
    side = place(found, given_pose(found.pose(), 70.0), SIZE)
    front = place(found, given_pose(found.pose(), 0.0), SIZE)
    render = Gatherer(picture(side), side, completion.triangles, mirror=completion.mirror)(front, SIZE)
    only = (render.seen == 0) & (render.mirrored_seen > 0.999)
    assert only.sum() > 100
    assert (fill(render) - render.mirrored)[only.expand(-1, 3, -1, -1)].abs().max() < 1e-3
    truth = picture(front)
    height = (render.mirrored - truth)[:, 1:2][only]  # green is the height on the head: alike on both sides
    assert height.abs().mean() < 0.03


def test_fits_by_name(model):
    network = networks.build("prn", image_size=32, width=0.1).eval()
    found = fit("prn", network, model)(torch.rand(2, 3, 32, 32))
    assert found.shape == (2, len(model.mean), 3)
    with pytest.raises(ValueError, match=r"no fit is called 'eos'; there are .*prn"):
        fit("eos", network, model)
    with pytest.raises(ValueError, match="two fits are called 'prn'"):
        register("prn", network="prn-wide")(nn.Module)
    with pytest.raises(ValueError, match="not twoview"):
        fit("prn", networks.build("twoview", image_size=32, width=0.1), model)
    assert "prn" in FITS
