"""Coefficients: network and layout, the small face model, camera, losses, fitting, alignment."""

import math

import pytest
import torch
from torch import nn

from facet import coefficient_pictures, networks
from facet.coefficients import CoefficientLoss, FaceRenderer, Weights, full_vertices, losses
from facet.coefficients.alignment import align, aligned, five_points, plane_similarity
from facet.coefficients.attention import skin_attention
from facet.coefficients.fitting import fit_landmarks, refine
from facet.coefficients.losses import MapPoints
from facet.evaluation.coefficients import photo_differences
from facet.face_model import compact, load, sampler
from facet.face_model.decimate import decimate
from facet.geometry import rotation_matrix
from facet.networks.coefficients import BACKBONES, load_imagenet
from facet.networks.layout import AMBIENT, Layout
from facet.reconstruction import by_coefficients
from facet.rendering import downsample, interpolate, rasterise
from facet.synthetic.poses import Camera

SIZE = 64


@pytest.fixture(scope="module")
def model():
    return load()


@pytest.fixture(scope="module")
def renderer(model):
    return FaceRenderer.open(model, vertices=300)


@pytest.fixture(scope="module")
def layout(model):
    return Layout(**compact.counts(model))


def some(layout, generator, batch=2, *, pose=0.5):
    """Numbers of plausible faces."""
    numbers = 0.6 * torch.randn(batch, layout.total, generator=generator)
    numbers[:, -33:-6] *= 0.3
    numbers[:, -6:] *= pose / 0.6
    return numbers


# Network and layout


def test_the_paper_s_network_has_resnet_50_s_layers():
    """25,557,032 parameters with its 1000 classes (He et al. 2016, as torchvision counts them)."""
    network = networks.build("coefficients", image_size=224, width=1.0)
    assert network.layout.total == 257
    assert networks.parameters(network) == 25_557_032 - (2048 * 1000 + 1000) + (2048 * 257 + 257)
    assert networks.macs(network) == 4_089_184_256 - 2048 * 1000 + 2048 * 257
    convolutions = sum(isinstance(m, nn.Conv2d) for m in network.modules())
    assert convolutions + 1 == 50 + 4  # four shortcuts are convolutions too
    small = networks.build("coefficients", image_size=224, width=1.0, backbone="resnet18")
    assert networks.parameters(small) == 11_689_512 - (512 * 1000 + 1000) + (512 * 257 + 257)


def test_the_first_answer_is_the_mean_face():
    network = networks.build("coefficients", image_size=64, width=0.25, identity=4, expression=5, texture=6)
    answer = network(torch.rand(2, 3, 64, 64))
    assert answer.shape == (2, 4 + 5 + 6 + 27 + 3 + 3)
    assert torch.equal(answer, torch.zeros_like(answer))


def test_dropout_only_while_training():
    network = networks.build("coefficients", image_size=64, width=0.25, dropout=0.5)
    nn.init.normal_(network.decoder[-1].weight)
    images = torch.rand(2, 3, 64, 64)
    network.eval()
    assert torch.equal(network(images), network(images))
    network.train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    assert not torch.equal(network(images), network(images))


class Torchvision(nn.Module):
    """A ResNet written as torchvision writes it, with its names of layers, for reference."""

    def __init__(self, repeats, bottleneck):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        inputs = 64
        for stage, count in enumerate(repeats):
            blocks = []
            for number in range(count):
                stride = 2 if stage and not number else 1
                blocks.append(TorchvisionBlock(inputs, 64 << stage, stride, bottleneck))
                inputs = (64 << stage) * (4 if bottleneck else 1)
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(inputs, 1000)

    def features(self, x):
        x = nn.functional.max_pool2d(self.bn1(self.conv1(x)).relu(), 3, 2, 1)
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))


class TorchvisionBlock(nn.Module):
    def __init__(self, inputs, channels, stride, bottleneck):
        super().__init__()
        outputs = channels * (4 if bottleneck else 1)
        shapes = [(inputs, channels, 3, stride), (channels, channels, 3, 1)]
        if bottleneck:
            shapes = [(inputs, channels, 1, 1), (channels, channels, 3, stride), (channels, outputs, 1, 1)]
        self.count = len(shapes)
        for k, (a, b, side, step) in enumerate(shapes, start=1):
            self.add_module(f"conv{k}", nn.Conv2d(a, b, side, step, side // 2, bias=False))
            self.add_module(f"bn{k}", nn.BatchNorm2d(b))
        self.downsample = None
        if stride != 1 or inputs != outputs:
            shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(outputs))

    def forward(self, x):
        out = x
        for k in range(1, self.count + 1):
            out = getattr(self, f"bn{k}")(getattr(self, f"conv{k}")(out))
            out = out.relu() if k < self.count else out
        return (out + (x if self.downsample is None else self.downsample(x))).relu()


@pytest.mark.parametrize("backbone", ["resnet18", "resnet50"])
def test_imagenet_weights_find_their_layers(tmp_path, generator, backbone):
    """A file with torchvision's names makes the encoder torchvision's network; any other is refused."""
    source = Torchvision(*BACKBONES[backbone]).eval()
    for name, value in source.state_dict().items():
        if value.ndim > 1:  # convolutions as He starts them
            value.copy_((2 / value[0].numel()) ** 0.5 * torch.randn(value.shape, generator=generator))
        elif value.ndim == 1:  # norms: factors and variances about 1, means and offsets about 0
            about = 1.0 if name.endswith(("weight", "var")) else 0.0
            value.copy_(about + 0.3 * torch.rand(value.shape, generator=generator))
    names = list(source.state_dict())
    assert names[5:8] == ["bn1.num_batches_tracked", "layer1.0.conv1.weight", "layer1.0.bn1.weight"]
    assert {"layer2.0.downsample.0.weight", "layer4.1.bn2.running_mean", "fc.bias"} < set(names)
    torch.save(source.state_dict(), tmp_path / "resnet.pth")
    network = networks.build("coefficients", image_size=64, backbone=backbone).eval()
    load_imagenet(network, tmp_path / "resnet.pth")
    images = torch.rand(1, 3, 64, 64, generator=generator)
    with torch.no_grad():
        ours, theirs = network.encoder(images), source.features(images)
    assert (ours - theirs).abs().max() < 1e-4 * theirs.abs().max()
    narrow = networks.build("coefficients", image_size=64, backbone=backbone, width=0.5)
    with pytest.raises(ValueError, match="at width 1 is wanted"):
        load_imagenet(narrow, tmp_path / "resnet.pth")
    with pytest.raises(FileNotFoundError, match="no weights at"):
        load_imagenet(network, tmp_path / "none.pth")


def test_layout_reads_and_writes(generator):
    layout = Layout(7, 52, 5)
    numbers = torch.randn(3, layout.total, generator=generator)
    assert (layout.write(layout.read(numbers)) - numbers).abs().max() < 1e-6
    plain = layout.read(torch.zeros(1, layout.total))
    assert float(plain.light[0, 0, 1]) == pytest.approx(AMBIENT)
    numbers = torch.zeros(1, layout.total)
    numbers[0, 7 + 52 + 5 + 9] = 1  # the first of green's nine
    assert layout.read(numbers).light[0, 0].argmax() == 1
    with pytest.raises(ValueError, match="97 numbers a face are expected"):
        layout.read(torch.zeros(2, 96))


# The small face model


def test_decimated_face_is_a_disk_of_the_same_surface(model):
    kept = decimate(model, 300)
    triangles, points = kept.triangles, model.mean[kept.vertices]
    assert len(kept.vertices) == 300
    assert torch.equal(kept.vertices[kept.landmarks], model.landmarks)
    edges = torch.cat([triangles[:, [k, (k + 1) % 3]] for k in range(3)])
    assert len(edges.unique(dim=0)) == len(edges)  # every directed edge once: a manifold, wound alike
    undirected = len(edges.sort(dim=1).values.unique(dim=0))
    assert len(points) - undirected + len(triangles) == 1
    a, b, c = (model.mean[model.triangles[:, k]] for k in range(3))
    whole = torch.linalg.cross(b - a, c - a).sum(0)
    a, b, c = (points[triangles[:, k]] for k in range(3))
    ours = torch.linalg.cross(b - a, c - a).sum(0)  # the area that the disk shows, by direction
    assert (ours - whole).norm() < 0.05 * whole.norm()
    assert set(kept.part.unique().tolist()) == {0, 1, 2}
    with pytest.raises(ValueError, match="a decimated face has 200 to"):
        decimate(model, 50)


def test_small_model_is_the_face_model_at_its_vertices(model, renderer, layout, generator):
    coefficients = layout.read(some(layout, generator))
    whole = model.blend(coefficients.identity, coefficients.expression)
    assert (renderer.shape(coefficients) - whole[:, renderer.face.vertices]).abs().max() < 1e-2


def test_counts_hold_the_variance_they_claim(model):
    counts = compact.counts(model, 0.99)
    share = model.share
    assert share[: counts["identity"]].sum() >= 0.99 > share[: counts["identity"] - 1].sum()
    assert counts["expression"] == 52


# Camera, light, picture


def test_camera_is_the_pinhole_of_the_synthetic_people(model, renderer, layout, generator):
    """The same projection as `Camera` with the crop's optical axis; the mean face fills the crop."""
    coefficients = layout.read(some(layout, generator))
    points = renderer.shape(coefficients)
    turned = points @ rotation_matrix(*coefficients.angles.unbind(1)).mT
    scale = renderer.fill * (SIZE - 1)
    far = 1500.0 - coefficients.translation[:, 2]
    centre = (coefficients.translation - renderer.middle)[:, :2] * torch.tensor([1.0, -1.0])
    near = (scale * 1500.0 / far)[:, None]
    placed = renderer.place(coefficients, points, SIZE)
    camera = Camera(near[:, 0], (SIZE - 1) / 2 + near * centre, far, None)
    # the synthetic camera looks along its own axis; ours along the crop's: they agree near that axis
    straight, _ = camera.project(turned)
    assert (placed[..., 2] - straight[..., 2]).abs().max() < 1e-3
    axis = (placed[..., :2] - (SIZE - 1) / 2).norm(dim=2) < 4
    assert (placed - straight)[axis].norm(dim=1).max() < 0.35
    mean = full_vertices(model, renderer, layout.read(torch.zeros(1, layout.total)), SIZE)[0]
    box = mean[model.landmarks, :2]
    size = (box.amax(0) - box.amin(0)).mean()
    assert float(size) == pytest.approx(SIZE / 1.5, rel=0.03)


def test_uniform_light_shows_the_albedo(renderer, layout, generator):
    coefficients = layout.read(some(layout, generator))
    light = torch.zeros(2, 9, 3)
    light[:, 0] = math.sqrt(4 * math.pi)
    shape = renderer.shape(coefficients)
    coefficients = coefficients._replace(light=light)
    seen, albedo = (renderer.colours(coefficients, shape, show) for show in ("face", "albedo"))
    assert (seen - albedo).abs().max() < 1e-5
    with pytest.raises(ValueError, match="show must be one of"):
        renderer.colours(coefficients, shape, "bones")


def test_picture_tends_to_the_hard_one(renderer, layout, generator):
    coefficients = layout.read(some(layout, generator))
    soft = renderer.picture(coefficients, SIZE, sigma=1e-7, gamma=1e-3)
    shape = renderer.shape(coefficients)
    placed = renderer.place(coefficients, shape, SIZE)
    hard = rasterise(placed, renderer.face.shown, SIZE)
    wanted = interpolate(hard, renderer.face.shown, renderer.colours(coefficients, shape))
    same = (soft.alpha > 0.999) == hard.mask
    assert same.float().mean() > 0.999
    assert (soft.colour - wanted)[hard.mask & same].abs().quantile(0.99) < 1e-3


@pytest.mark.parametrize(("crop", "side"), [(128, 64), (64, 128)])
def test_a_picture_of_another_size_lies_on_the_crop_s_own(renderer, layout, generator, crop, side):
    """As big and in the same place as the crop's picture averaged to fewer pixels: pixels are areas."""
    coefficients = layout.read(some(layout, generator, pose=0.3))
    sharp = {"sigma": 1e-4, "gamma": 0.1, "closed": True}
    one = renderer.picture(coefficients, crop, **sharp).alpha
    other = renderer.picture(coefficients, side, crop=crop, **sharp).alpha
    big, small = (one, other) if side < crop else (other, one)
    shrunk = downsample(big, 2)
    assert (shrunk.sum((1, 2)) / small.sum((1, 2)) - 1).abs().max() < 0.006  # 0.012 if both are S − 1 wide
    across = torch.arange(small.shape[-1]).float()
    for dim in (1, 2):
        middle = [(a.sum(dim) @ across) / a.sum((1, 2)) for a in (shrunk, small)]
        assert (middle[0] - middle[1]).abs().max() < 0.15  # pixels


def test_pictures_to_look_at_lie_on_the_photo(renderer, layout, generator):
    coefficients = layout.read(some(layout, generator, pose=0.3))
    alpha = renderer.picture(coefficients, SIZE, **coefficient_pictures.SHARP).alpha
    shown = coefficient_pictures.shown(renderer, coefficients._replace(light=0 * coefficients.light), SIZE)
    covered = 1 - shown.mean(dim=1)  # a black face on white
    assert (covered.sum((1, 2)) / alpha.sum((1, 2)) - 1).abs().max() < 0.006  # 0.012 with S − 1


def test_gradients_of_pose_light_and_shape_by_finite_differences(renderer, layout):
    """Central differences of the stitched loss in double precision, for every kind of number."""
    generator = torch.Generator().manual_seed(2)
    exact = renderer.to(torch.float64)
    loss = CoefficientLoss(exact, layout, SIZE, sigma=0.5, gamma=2.0)
    numbers = some(layout, generator, 1).double()
    photo = torch.rand(1, 3, 24, 24, generator=generator, dtype=torch.float64)

    def value(x):
        return loss.photo_error(exact.picture(layout.read(x), 24, sigma=0.5, gamma=2.0), photo).sum()

    numbers.requires_grad_()
    gradient = torch.autograd.grad(value(numbers), numbers)[0][0]
    ends = torch.tensor(layout.sizes).cumsum(0)
    with torch.no_grad():
        for end, size in zip(ends.tolist(), layout.sizes, strict=True):
            direction = torch.zeros_like(numbers)
            direction[0, end - size : end] = gradient[end - size : end].sign()
            step = 1e-6
            change = (value(numbers + step * direction) - value(numbers - step * direction)) / (2 * step)
            assert float(change) == pytest.approx(float(gradient @ direction[0]), rel=1e-3)


# Losses


def test_terms_without_weight_are_not_computed_and_labels_are_asked_for(renderer, layout):
    loss = CoefficientLoss(renderer, layout, SIZE, Weights(photo=0.0))
    numbers = torch.zeros(2, layout.total)
    marks = renderer.landmarks(layout.read(numbers), SIZE)[..., :2]
    terms = loss.terms(numbers, {"landmarks": marks})  # no photo needed
    assert "photo" not in terms
    assert "vertices" not in terms
    assert float(terms["landmarks"]) < 1e-8
    assert float(loss(numbers, {"landmarks": marks + SIZE / 100})) == pytest.approx(2.0, rel=1e-3)
    with pytest.raises(ValueError, match="needs labels"):
        CoefficientLoss(renderer, layout, SIZE, Weights(vertices=1.0))


@pytest.mark.parametrize("side", [SIZE, SIZE // 2])
def test_the_photo_s_term_is_zero_for_its_own_picture(renderer, layout, generator, side):
    numbers = some(layout, generator)
    picture = renderer.picture(layout.read(numbers), side, crop=SIZE)
    photo = torch.where(picture.alpha[:, None] > 0, picture.colour.permute(0, 3, 1, 2), 0.5)
    for options in ({}, {"squared": False}, {"over": "image"}, {"attention": True}):
        loss = CoefficientLoss(renderer, layout, SIZE, **options)
        target = {"photo": photo, "landmarks": renderer.landmarks(layout.read(numbers), SIZE)[..., :2]}
        right, wrong = loss.terms(numbers, target), loss.terms(numbers * 0.5, target)
        assert float(right["photo"]) < 1e-5
        assert float(wrong["photo"]) > 1e-3
    assert photo_differences(numbers, loss, photo).max() < 0.1  # of 255 levels


def test_photo_differences_are_levels_on_the_face_alone(renderer, layout, generator):
    """Ten levels up or down in all colours are 10, 30 in red alone 30 / √3; pixels beside do not count."""
    numbers = some(layout, generator)
    picture = renderer.picture(layout.read(numbers), SIZE)
    colour, face = picture.colour.movedim(3, 1), picture.alpha[:, None] > 0
    assert not face.all()
    levels = torch.tensor([[10.0, 10.0, 10.0], [30.0, 0.0, 0.0]])[:, :, None, None]
    levels = torch.where(torch.rand(face.shape, generator=generator) < 0.5, levels, -levels)
    loss = CoefficientLoss(renderer, layout, SIZE, over="image", squared=False, attention=True)
    for beside in (0.0, 1.0):
        found = photo_differences(numbers, loss, torch.where(face, colour + levels / 255, beside))
        torch.testing.assert_close(found, torch.tensor([10.0, 30 / 3**0.5]), atol=1e-3, rtol=0)


def test_attention_looks_where_the_landmarks_are_in_the_smaller_photo(renderer, layout, monkeypatch):
    """A landmark in the middle of four pixels lies in the middle of the one that is their mean."""
    asked = []
    monkeypatch.setattr(losses, "skin_attention", lambda photo, marks: asked.append(marks) or photo[:, 0])
    loss = CoefficientLoss(renderer, layout, SIZE, attention=True)
    picture = renderer.picture(layout.read(torch.zeros(1, layout.total)), SIZE // 2, crop=SIZE)
    loss.photo_error(picture, torch.rand(1, 3, SIZE // 2, SIZE // 2), torch.full((1, 68, 2), 20.5))
    assert torch.equal(asked[0], torch.full((1, 68, 2), 10.0))


def test_averaged_over_the_image_a_stitched_face_only_wants_to_shrink(renderer, layout):
    """Every pixel's error falls with its coverage; over the face, pixels that fit draw the outline out."""
    from facet.rendering.soft import SoftImage

    colour = torch.full((1, 4, 4, 3), 0.5)
    photo = torch.full((1, 3, 4, 4), 0.55)
    photo[:, :, :2] = 0.9
    slopes = {}
    for over in ("image", "face"):
        alpha = torch.full((1, 4, 4), 0.8, requires_grad=True)
        loss = CoefficientLoss(renderer, layout, SIZE, over=over)
        value = loss.photo_error(SoftImage(colour, alpha), photo).sum()
        slopes[over] = torch.autograd.grad(value, alpha)[0]
    assert (slopes["image"] > 0).all()
    assert (slopes["face"][0, :2] > 0).all()
    assert (slopes["face"][0, 2:] < 0).all()


def test_labels_are_exact_at_the_truth(model, renderer, layout, generator):
    maps = sampler(model, 16)
    numbers = some(layout, generator)
    coefficients = layout.read(numbers)
    points = MapPoints.open(maps, model.uv_weight(16))
    placed = renderer.place(
        coefficients, maps.points(coefficients.identity, coefficients.expression).mT, SIZE
    )
    true = maps.as_map(placed.mT)
    assert float(points.distance(renderer, coefficients, true, SIZE)) < 0.01  # 100 · sqrt(1e-6) / 64 = 0.0016
    moved = true + torch.tensor([0.64, 0, 0]).view(1, 3, 1, 1)
    assert float(points.distance(renderer, coefficients, moved, SIZE)) == pytest.approx(1.0, rel=1e-2)


def test_attention_looks_at_skin_of_any_tone():
    marks = torch.rand(68, 2, generator=torch.Generator().manual_seed(1)) * 10 + 11
    for tone in ((0.9, 0.75, 0.65), (0.25, 0.16, 0.11)):
        photo = torch.tensor(tone)[None, :, None, None].expand(1, 3, 32, 32).clone()
        photo[:, :, :6] = torch.tensor((0.1, 0.3, 0.7))[:, None, None]
        found = skin_attention(photo, marks[None])[0]
        assert found[8:].min() > 0.99
        assert found[:6].max() < 0.05


def test_attention_takes_the_colour_at_the_landmarks():
    """Skin at the left and blue at the right, the face at the right above: blue is what counts."""
    blue = torch.tensor((0.1, 0.3, 0.7))[:, None, None]
    photo = torch.tensor((0.9, 0.75, 0.65))[:, None, None].repeat(1, 32, 32)
    photo[:, :, 16:] = blue
    corner = torch.tensor([19.0, 2.0])
    marks = corner + 10 * torch.rand(68, 2, generator=torch.Generator().manual_seed(2))
    pictures = torch.stack((photo, photo.flip(2), photo.mT))
    mirrored = torch.stack((31 - marks[:, 0], marks[:, 1]), dim=1)
    places = torch.stack((marks, mirrored, marks.flip(1)))
    for picture, weight in zip(pictures, skin_attention(pictures, places), strict=True):
        counts = (picture == blue).all(dim=0)
        assert weight[counts].min() > 0.99
        assert weight[~counts].max() < 0.05


# Fitting and alignment


def test_landmarks_alone_recover_the_pose_and_much_of_the_face(renderer, layout):
    generator = torch.Generator().manual_seed(4)
    true = some(layout, generator, 3, pose=0.4)
    marks = renderer.landmarks(layout.read(true), SIZE)[..., :2]
    numbers = fit_landmarks(renderer, layout, marks, SIZE, noise=1e-3)
    found = renderer.landmarks(layout.read(numbers), SIZE)[..., :2]
    assert (found - marks).norm(dim=2).max() < 0.25
    assert (layout.read(numbers).angles - layout.read(true).angles).abs().max() < 6
    careful = fit_landmarks(renderer, layout, marks, SIZE, noise=0.05)
    assert careful[:, :46].norm() < numbers[:, :46].norm()
    assert torch.equal(numbers[:, -33:-6], torch.zeros_like(numbers[:, -33:-6]))


def test_refinement_takes_the_steps_of_torchs_adam(layout):
    def valley(numbers, _):
        return ((numbers[:, 1:] - numbers[:, :-1] ** 2) ** 2).sum() + 0.1 * ((1 - numbers) ** 2).sum()

    valley.layout = layout
    start = 0.5 * torch.randn(3, layout.total, generator=torch.Generator().manual_seed(7))
    numbers, curve = refine(valley, start, {}, steps=30, rate=0.05)
    expected = start.clone().requires_grad_()
    optimiser = torch.optim.Adam([expected], lr=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 30, eta_min=0.005)
    for value in curve[:-1]:
        loss = valley(expected, {})
        assert loss.item() == pytest.approx(value, rel=1e-5)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    assert curve[-1] == min(curve) < 0.7 * curve[0]
    torch.testing.assert_close(numbers, expected.detach(), atol=1e-5, rtol=0)


def test_refinement_explains_the_photo_and_finds_light(renderer, layout):
    generator = torch.Generator().manual_seed(5)
    true = some(layout, generator, 2, pose=0.2)
    coefficients = layout.read(true)
    photo = renderer.picture(coefficients, 32, crop=SIZE).over(torch.full((2, 3, 32, 32), 0.3))
    target = {"photo": photo, "landmarks": renderer.landmarks(coefficients, SIZE)[..., :2]}
    loss = CoefficientLoss(renderer, layout, SIZE)
    start = torch.zeros_like(true)
    numbers, curve = refine(loss, start, target, steps=15, rate=0.1)
    assert len(curve) == 16
    assert float(loss(numbers, target)) == pytest.approx(min(curve), rel=1e-4)
    assert min(curve) < 0.35 * curve[0]
    assert torch.equal(refine(loss, start, target, steps=0)[0], start)
    with pytest.raises(ValueError, match="-1 steps"):
        refine(loss, start, target, steps=-1)


def test_what_facet_reconstruct_goes_down_does_not_follow_wrong_landmarks(renderer, layout):
    """Ten of the 68 landmarks, those of the mouth, are a tenth of the crop off, as behind a mask."""
    true = some(layout, torch.Generator().manual_seed(8), 1, pose=0.2)
    marks = renderer.landmarks(layout.read(true), SIZE)[..., :2]
    target = {"landmarks": marks.clone()}
    target["landmarks"][:, 48:58, 1] += 0.1 * SIZE
    robust = by_coefficients.photo_loss(renderer, layout, SIZE, Weights(photo=0.0))
    assert robust.outliers == by_coefficients.OUTLIERS > 0
    assert by_coefficients.photo_loss(renderer, layout, SIZE).weights == Weights(photo=by_coefficients.PHOTO)
    apart = []
    for loss in (robust, CoefficientLoss(renderer, layout, SIZE, Weights(photo=0.0))):
        numbers = refine(loss, 0.9 * true, target, steps=60)[0]
        found = renderer.landmarks(layout.read(numbers), SIZE)[..., :2]
        apart.append(float((found - marks)[:, 48:58].norm(dim=2).mean()))
    assert apart[0] < 0.5 * apart[1]


def test_photos_of_one_person_share_their_identity_and_nothing_else(renderer, layout):
    """Landmarks of three photos: two of one person, and people beside each other do not touch."""
    generator = torch.Generator().manual_seed(6)
    true = some(layout, generator, 3, pose=0.3)
    true[1, : layout.identity] = true[0, : layout.identity]
    target = {"landmarks": renderer.landmarks(layout.read(true), SIZE)[..., :2]}
    loss = CoefficientLoss(renderer, layout, SIZE, Weights(photo=0.0))
    start, person = 0.1 * some(layout, generator, 3), torch.tensor([0, 0, 1])
    begun = refine(loss, start, target, steps=0, person=person)[0]
    mean = start[:2, : layout.identity].mean(dim=0)
    torch.testing.assert_close(begun[0, : layout.identity], mean)
    assert torch.equal(begun[:, layout.identity :], start[:, layout.identity :])
    found, curve = refine(loss, start, target, steps=60, person=person)
    assert torch.equal(found[0, : layout.identity], found[1, : layout.identity])
    assert (found[0] != found[1])[layout.identity :].float().mean() > 0.5
    assert curve[-1] < 0.1 * curve[0]
    two = {"landmarks": target["landmarks"][:2]}
    alone = refine(loss, start[:2], two, steps=60, person=person[:2])[0]
    torch.testing.assert_close(found[:2], alone, atol=5e-3, rtol=0)
    apart = refine(loss, start, target, steps=60)[0]
    assert (apart[0, : layout.identity] - apart[1, : layout.identity]).abs().max() > 0.1


def test_five_points_bring_a_turned_face_upright(renderer, layout, generator):
    standard = renderer.landmarks(layout.read(torch.zeros(1, layout.total)), SIZE)[0, :, :2]
    angle = 0.5
    turn = 1.7 * torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    moved = (standard @ turn.mT + torch.tensor([30.0, -8.0]))[None]
    matrix = align(moved, standard)
    assert (moved @ matrix[:, :, :2].mT + matrix[:, None, :, 2] - standard).abs().max() < 1e-3
    assert five_points(standard).shape == (5, 2)
    assert five_points(standard)[0, 0] < five_points(standard)[1, 0]  # the subject's right eye is on the left
    with pytest.raises(ValueError, match="coincide"):
        plane_similarity(torch.zeros(1, 5, 2), torch.ones(1, 5, 2))


def test_an_aligned_crop_shows_the_five_points_of_the_standard_face(renderer, layout):
    """Dots painted at eyes, nose and mouth of a turned photo come to lie where the mean face has its own."""
    standard = renderer.landmarks(layout.read(torch.zeros(1, layout.total)), SIZE)[0, :, :2]
    turn = 2.5 * rotation_matrix(0.0, 0.0, 25.0)[:2, :2]
    marks = (standard - 31.5) @ turn.mT + torch.tensor([140.0, 110.0])
    rows, columns = torch.meshgrid(torch.arange(220.0), torch.arange(280.0), indexing="ij")
    place = torch.stack((columns, rows), dim=-1)
    dots = [torch.exp(-0.5 * ((place - p) / 4).square().sum(-1)) for p in five_points(marks)]
    photo = (255 * sum(dots).clamp(max=1)).to(torch.uint8)[..., None].expand(-1, -1, 3).numpy()
    crop, points = aligned(photo, marks[None].double(), standard, SIZE)
    assert crop.shape == (1, 3, SIZE, SIZE)
    assert (points[0] - five_points(standard)).abs().max() < 1e-3
    for x, y in points[0].round().long().tolist():
        near = crop[0, 0, y - 3 : y + 4, x - 3 : x + 4]
        assert int(near.argmax()) in {17, 23, 24, 25, 31}  # the middle of 7 × 7, or next to it
