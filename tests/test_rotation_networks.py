"""One pass, Rotation's generator and discriminators, their losses and trainings."""

import pytest
import torch
from torch import nn

from facet import face_model, networks
from facet.augment import Augmentation
from facet.face_model import sampler
from facet.geometry import image_flip, model_to_image, rotation_matrix
from facet.networks import build, from_pixels, to_pixels
from facet.networks.one_pass import facing, lift, own_frame
from facet.networks.rotation import discriminators
from facet.rendering import map_from_mesh, vertex_normals
from facet.training import PositionLoss, Settings
from facet.training import perceptual as vgg
from facet.training.adversarial import Game, GameLoss, ReconstructionError, Shares, fitted, hinge
from facet.training.told_loss import ToldLoss

SIZE = 64


@pytest.fixture(scope="module")
def model():
    return face_model.load()


def test_one_pass_is_little_larger_than_prn():
    """Parameters and multiply-adds at the papers' size."""
    ours, prn = (build(name, image_size=256, width=1.0) for name in ("one-pass", "prn"))
    assert networks.parameters(ours) == 13_544_728
    assert networks.macs(ours) < 1.2 * networks.macs(prn)
    assert ours.views == 1


def test_one_pass_begins_as_prn(generator):
    """Its coarse features are those of PRN's decoder, layer by layer; no other network's."""
    prn = build("prn", image_size=SIZE, width=0.1, seed=5).eval()
    network = build("one-pass", image_size=SIZE, width=0.1).eval()
    untouched = network.coarse.weight.clone(), network.refine[-1].weight.clone()
    network.start_from(prn)
    x = torch.rand(2, 3, SIZE, SIZE, generator=generator)
    ours, theirs = x, prn.encoder(x)
    with torch.no_grad():
        for stage in network.encoder:
            ours = stage(ours)
        torch.testing.assert_close(ours, theirs)
        inner = theirs
        for layer in list(prn.decoder)[: len(network.decoder)]:
            inner = layer(inner)
        torch.testing.assert_close(network.decoder(ours), inner)
        for layer in list(prn.decoder)[len(network.decoder) : -2]:
            inner = layer(inner)
        torch.testing.assert_close(network.refine[:-1](network.decoder(ours)), inner)
    assert torch.equal(untouched[0], network.coarse.weight)
    assert torch.equal(untouched[1], network.refine[-1].weight)
    for other in (build("prn", image_size=SIZE, width=0.2), build("mobile", image_size=SIZE, width=0.1)):
        with pytest.raises(ValueError, match=f"{other.name} cannot start this one: train prn with the same"):
            network.start_from(other)


def test_one_pass_gives_a_map_and_in_training_all_it_tells(generator):
    network = build("one-pass", image_size=SIZE, width=0.1)
    images = torch.rand(2, 3, SIZE, SIZE, generator=generator)
    fine, coarse, colours = network(images)
    assert (fine.shape, coarse.shape, colours.shape) == ((2, 3, 64, 64), (2, 3, 16, 16), (2, 3, 16, 16))
    up = nn.functional.interpolate(coarse, scale_factor=4, mode="bilinear")
    torch.testing.assert_close(fine, up)  # it starts without a correction
    assert network.eval()(images).shape == (2, 3, SIZE, SIZE)


@pytest.mark.parametrize("part", ["lift", "mirror", "turn"])
def test_each_part_of_one_pass_can_be_left_out(part, generator):
    network = build("one-pass", image_size=32, width=0.1, **{part: False}).eval()
    assert network(torch.rand(1, 3, 32, 32, generator=generator)).shape == (1, 3, 32, 32)
    assert networks.parameters(network) <= networks.parameters(build("one-pass", image_size=32, width=0.1))


def coarse_maps(model, poses):
    """(B, 3, 32, 32) maps of the mean face in the network's range, and their rotations in the image frame."""
    maps = sampler(model, 32, modes=1)
    yaw, pitch, roll = torch.tensor(poses).T
    matrix = model_to_image(yaw, pitch, roll, 0.3, torch.full((len(poses), 2), 31.5))
    zero = torch.zeros(len(poses), 1)
    pixels = maps.map(zero, torch.zeros(len(poses), 52), matrix)
    flip = image_flip(matrix)
    return from_pixels(pixels, SIZE), flip @ rotation_matrix(yaw, pitch, roll) @ flip


def test_a_map_tells_the_pose_of_its_head(model):
    """`own_frame` turns with the head: two frames differ by exactly the rotation between the poses."""
    poses = [(0.0, 0.0, 0.0), (60.0, 10.0, 5.0), (-85.0, -5.0, 20.0), (30.0, 0.0, -40.0)]
    maps, rotation = coarse_maps(model, poses)
    frame, size, places = own_frame(maps)
    torch.testing.assert_close(frame @ frame[:1].mT, rotation @ rotation[:1].mT, atol=1e-4, rtol=0)
    torch.testing.assert_close(size, size[:1].expand_as(size), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(places, places[:1].expand_as(places), atol=1e-3, rtol=0)
    assert torch.linalg.det(frame).sub(1).abs().max() < 1e-5
    mirrored = places.flip(3) * torch.tensor([-1.0, 1.0, 1.0]).view(1, 3, 1, 1)
    assert (mirrored - places).abs().max() < 0.02


def test_facing_is_the_normals_toward_the_camera(model):
    maps, _ = coarse_maps(model, [(0.0, 0.0, 0.0), (50.0, 5.0, 0.0)])
    yaw, pitch = torch.tensor([0.0, 50.0]), torch.tensor([0.0, 5.0])
    matrix = model_to_image(yaw, pitch, torch.zeros(2), 0.3, torch.full((2, 2), 31.5))
    vertices = model.mean @ matrix[:, :, :3].mT + matrix[:, None, :, 3]
    normals = vertex_normals(vertices, model.triangles, frame="image")[..., 2:]
    wanted = map_from_mesh(normals.expand(-1, -1, 3), model.uv, model.triangles, 32)[:, :1]
    inner = model.interior(32)
    error = (facing(maps) - wanted)[..., inner].abs()
    assert error.median() < 0.05
    assert (
        torch.corrcoef(torch.stack((facing(maps)[..., inner].flatten(), wanted[..., inner].flatten())))[0, 1]
        > 0.95
    )


def test_lifting_reads_the_photo_where_the_map_says(generator):
    """Features that are their own pixel's place come back as the map."""
    axis = torch.arange(SIZE // 2) * 2 + 0.5  # the middle of each 2 x 2 pixels
    features = torch.stack(torch.meshgrid(axis, axis, indexing="ij")[::-1])[None]  # x, y in pixels
    places = 10 + 40 * torch.rand(1, 3, 8, 8, generator=generator)
    found = lift([features], from_pixels(places, SIZE), SIZE)
    torch.testing.assert_close(found, places[:, :2], atol=1e-3, rtol=0)
    torch.testing.assert_close(to_pixels(from_pixels(places, SIZE), SIZE), places)


def test_told_loss_is_zero_for_the_truth_and_judges_maps_alone_in_eval(generator):
    weight = torch.rand(SIZE, SIZE, generator=generator)
    loss = ToldLoss(weight, squared=False, coarse=4)
    ramp = torch.stack(torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij"))
    truth = torch.cat((ramp, ramp.sum(0, keepdim=True) / 2))[None]
    colours, seen = torch.rand(1, 3, 16, 16, generator=generator), torch.ones(1, 1, 16, 16)
    coarse = from_pixels(nn.functional.avg_pool2d(truth, 4), SIZE)
    right = (from_pixels(truth, SIZE), coarse, colours)
    assert loss(right, (truth, colours, seen)) < 1e-5
    assert loss((right[0], coarse, 1 - colours), (truth, colours, torch.zeros_like(seen))) < 1e-5
    wrong = loss((right[0], coarse, colours + 0.2), (truth, colours, seen))
    assert wrong == pytest.approx(0.2 * loss.colour_share, rel=1e-3)
    plain = PositionLoss(weight, squared=False)
    output = torch.rand(1, 3, SIZE, SIZE, generator=generator)
    assert loss(output, truth) == plain(output, truth) == loss(output, (truth, colours, seen))


@pytest.mark.parametrize(("squared", "fine", "coarse"), [(False, 0.03, 0.012), (True, 0.0036, 0.00144)])
def test_told_loss_counts_each_map_by_its_weight_and_share(generator, squared, fine, coarse):
    """0.1 of the range is 0.12 of the crop, moved at the texel that has 5 of 20, and 2 of 5 among means."""
    weight = torch.ones(4, 4)
    weight[1, 2] = 5
    loss = ToldLoss(weight, squared=squared, coarse=2, coarse_share=0.25, colour_share=7.0)
    truth = 4 * torch.rand(1, 3, 4, 4, generator=generator)
    colours, seen = torch.rand(1, 3, 2, 2, generator=generator), torch.ones(1, 1, 2, 2)
    right = from_pixels(truth, 4), from_pixels(nn.functional.avg_pool2d(truth, 2), 4)
    for moved, row, column, wanted in ((0, 1, 2, fine), (1, 0, 1, coarse)):
        maps = [part.clone() for part in right]
        maps[moved][0, 1, row, column] += 0.1
        assert loss((*maps, colours), (truth, colours, seen)).item() == pytest.approx(wanted, abs=5e-6)


def test_the_generator_starts_by_giving_the_view_back(generator):
    network = build("rotation", image_size=SIZE, width=0.1)
    view, guide = torch.rand(2, 2, 3, SIZE, SIZE, generator=generator)
    assert torch.equal(network(view, guide), view)
    assert torch.equal(network(view), view)
    window = torch.rand(1, 3, 80, 80, generator=generator)  # a window is no multiple of 32
    assert network(window).shape == window.shape


def test_the_generators_layers_at_the_papers_size():
    network = build("rotation", image_size=256, width=1.0)
    assert networks.parameters(network) == 7_092_547
    assert (network.views, network.output) == (1, "image")


def test_the_generator_reads_its_guide(generator):
    network = build("rotation", image_size=32, width=0.1).eval()
    nn.init.normal_(network.end[-1].weight, std=0.1)
    view = torch.rand(1, 3, 32, 32, generator=generator)
    assert not torch.allclose(network(view, torch.zeros_like(view)), network(view, torch.ones_like(view)))


def test_discriminators_judge_patches_at_two_sizes(generator):
    judges = discriminators(width=0.1, seed=3)
    again, other = (discriminators(width=0.1, seed=s).state_dict() for s in (3, 4))
    state = judges.state_dict()
    assert all(torch.equal(state[name], again[name]) for name in state)
    assert any(not torch.equal(state[name], other[name]) for name in state)
    x = torch.rand(3, 2, 3, SIZE, SIZE, generator=generator)
    found = judges(*x)
    assert len(found) == 2
    assert [len(scale) for scale in found] == [5, 5]
    assert found[0][-1].shape[1] == 1
    assert found[0][-1].shape[-1] > found[1][-1].shape[-1] > 1


def test_hinge_is_what_it_says():
    real, fake = [[torch.tensor([[[[2.0, 0.5]]]])]], [[torch.tensor([[[[-2.0, 0.5]]]])]]
    assert hinge(real, fake) == pytest.approx(0.25 + 0.75)


def game(generator):
    network = build("rotation", image_size=32, width=0.1)
    nn.init.normal_(network.end[-1].weight, std=0.1)
    played = Game(network, discriminators(width=0.1))
    told = torch.rand(2, 6, 32, 32, generator=generator)
    target = torch.rand(2, 3, 32, 32, generator=generator), torch.ones(2, 1, 32, 32)
    return played, GameLoss(played.discriminators, Shares()), told, target


def test_each_player_is_moved_by_its_own_loss_alone(generator):
    """The generator's terms leave the discriminators alone, theirs leaves the generator alone."""
    played, loss, told, target = game(generator)
    terms = loss.terms(played(told), target)
    assert set(terms) == {"adversarial", "features", "reconstruction", "discriminators"}
    for name, term in terms.items():
        played.zero_grad()
        term.backward(retain_graph=True)
        moved = {
            part: any(
                p.grad is not None and p.grad.abs().max() > 0 for p in getattr(played, part).parameters()
            )
            for part in ("generator", "discriminators")
        }
        assert moved == {"generator": name != "discriminators", "discriminators": name == "discriminators"}
    assert loss(played(told), target).isfinite()


def test_the_right_picture_costs_nothing_but_being_judged(generator):
    played, loss, told, (truth, weight) = game(generator)
    terms = loss.eval().terms((truth, told), (truth, weight))
    played.eval()
    assert terms["reconstruction"] == 0
    terms = loss.terms((truth, told), (truth, weight))
    assert terms["features"] < 1e-5


class Judges(nn.Module):
    """Two sizes that judge 2 and 4 guides; features are 1, 2, 3 and 4 pictures."""

    def forward(self, view, guide, picture):
        return [[picture, 2 * picture, 2 * guide], [3 * picture, 4 * picture, 4 * guide]]


def test_every_term_of_the_game_has_its_sign_and_its_factor():
    """By hand for a picture that is 0.1 off in one half and 0.3 in the other, which counts three times."""
    apart = torch.tensor([0.1, 0.3]).expand(2, 3, 4, 2)
    told = torch.cat((torch.zeros(2, 3, 4, 2), torch.ones(2, 3, 4, 2)), dim=1)
    truth, weight = torch.full((2, 3, 4, 2), 0.4), torch.tensor([1.0, 3.0]).expand(2, 1, 4, 2)
    loss = GameLoss(Judges(), Shares(perceptual=2.0), nn.L1Loss())
    terms = loss.terms((truth + apart, told), (truth, weight))
    wanted = {
        "adversarial": -0.5 * (2 + 4) / 2,
        "features": 5 * 0.2 * (1 + 2 + 3 + 4) / 4,
        "reconstruction": 50 * (0.1 + 3 * 0.3) / (1 + 3),
        "discriminators": ((1 + 2) + (1 + 4)) / 2,  # the truth, judged above 1, costs nothing
        "perceptual": 2 * 0.2,
    }
    assert {name: term.item() for name, term in terms.items()} == pytest.approx(wanted, rel=1e-5)
    assert loss((truth + apart, told), (truth, weight)).item() == pytest.approx(17.9, rel=1e-5)


def test_a_perceptual_share_needs_its_loss():
    with pytest.raises(ValueError, match="perceptual share needs a perceptual loss"):
        GameLoss(discriminators(width=0.1), Shares(perceptual=1.0))


def vgg16():
    """Entries as torchvision's file has them: 13 convolutions, and the layers behind them."""
    sizes, channels, number, stored = "64 64 M 128 128 M 256 256 256 M 512 512 512 M 512 512 512 M", 3, 0, {}
    for size in sizes.split():
        if size == "M":
            number += 1
            continue
        stored[f"features.{number}.weight"] = 0.05 * torch.randn(int(size), channels, 3, 3)
        stored[f"features.{number}.bias"] = torch.zeros(int(size))
        channels, number = int(size), number + 2
    return {**stored, "classifier.0.bias": torch.zeros(1)}


def test_perceptual_loss_reads_weights_where_they_are(tmp_path, monkeypatch, generator):
    monkeypatch.setattr(vgg, "place", lambda: tmp_path / vgg.FILE)
    assert not vgg.available()
    with pytest.raises(FileNotFoundError, match=r"needs vgg16-397923af.pth .* or train without"):
        vgg.load()
    torch.save(vgg16(), tmp_path / vgg.FILE)
    loss = vgg.load()
    picture = torch.rand(1, 3, 32, 32, generator=generator, requires_grad=True)
    assert loss(picture, picture.detach()) == 0
    value = loss(picture, 1 - picture.detach())
    value.backward()
    assert value > 0
    assert picture.grad.abs().max() > 0
    assert not any(p.requires_grad for p in loss.parameters())
    assert [tap.shape[1] for tap in loss.taps(picture)] == [64, 128, 256, 512]


def lessons(step):
    """Views with a dark hole where the answer is bright: a generator can learn to paint it."""
    generator = torch.Generator().manual_seed(step)
    answer = torch.rand(4, 3, 1, 1, generator=generator).expand(-1, -1, 32, 32).clone()
    hole = torch.zeros(4, 1, 32, 32)
    hole[..., 8:24, 8:24] = 1
    told = torch.cat((answer * (1 - hole), (1 - hole).expand(-1, 3, -1, -1)), dim=1)
    return told, (answer, torch.ones_like(hole))


def test_the_game_teaches_the_generator_and_resumes(tmp_path):
    settings = Settings(steps=24, batch=4, learning_rate=3e-3, validate_every=6, patience=0, prefetch=0)
    validate = ReconstructionError([lessons(1000)])

    def play(minutes=None, folder=None, steps=24):
        network = build("rotation", image_size=32, width=0.1)
        history = fitted(0.1, Shares(adversarial=0.1))(
            network, lessons, validate, Settings(**{**settings.__dict__, "steps": steps}),
            loss=nn.Identity(), progress="none", folder=folder, minutes=minutes,
        )  # fmt: skip
        return network, history

    network, history = play()
    untrained = validate(Game(build("rotation", image_size=32, width=0.1), None).eval())
    assert history.best["val_loss"] < 0.7 * untrained
    play(folder=tmp_path, steps=12)
    resumed, _ = play(folder=tmp_path)
    state = network.state_dict()
    assert all(torch.equal(value, resumed.state_dict()[name]) for name, value in state.items())


def test_augmentations_of_this_system_leave_geometry_alone():
    assert Augmentation.preset("rotation").rotation == 0
