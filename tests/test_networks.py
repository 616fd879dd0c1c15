"""Networks: the papers' counts, TensorFlow's padding, ranges, the registry."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from facet.networks import (
    SYSTEMS,
    build,
    from_pixels,
    layers_table,
    macs,
    parameters,
    predict,
    systems_table,
    to_pixels,
)
from facet.networks.blocks import (
    Decoder,
    PaddedConv2d,
    SameConv2d,
    SameTransposedConv2d,
    scaled,
    start_linear,
)
from facet.networks.registry import register


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def same_convolution_by_loop(x, kernel, stride):
    """TensorFlow's definition, pixel by pixel: (C, H, W), (O, C, k, k) -> (O, ceil(H/s), ceil(W/s))."""
    side, size = x.shape[-1], kernel.shape[-1]
    outputs = -(-side // stride)
    total = max((outputs - 1) * stride + size - side, 0)
    result = np.zeros((kernel.shape[0], outputs, outputs))
    for i in range(outputs):
        for j in range(outputs):
            for a in range(size):
                for b in range(size):
                    row, column = i * stride + a - total // 2, j * stride + b - total // 2
                    if 0 <= row < side and 0 <= column < side:
                        result[:, i, j] += kernel[:, :, a, b] @ x[:, row, column]
    return result


@pytest.mark.parametrize(("kernel", "stride"), [(4, 1), (4, 2), (3, 1), (3, 2), (1, 1), (1, 2)])
@pytest.mark.parametrize("side", [8, 7])
def test_same_convolution_is_tensorflows(kernel, stride, side):
    layer = SameConv2d(2, 3, kernel, stride, bias=False).double()
    x = torch.rand(1, 2, side, side, generator=generator(), dtype=torch.float64)
    expected = same_convolution_by_loop(x[0].numpy(), layer.weight.detach().numpy(), stride)
    np.testing.assert_allclose(layer(x)[0].detach().numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("stride", [1, 2])
def test_same_transposed_convolution_is_the_gradient_of_the_same_convolution(stride):
    """TensorFlow defines conv2d_transpose as the gradient of conv2d with respect to its input."""
    layer = SameTransposedConv2d(3, 2, stride, bias=False).double()
    y = torch.rand(1, 3, 6, 6, generator=generator(), dtype=torch.float64)
    x = torch.zeros(1, 2, 6 * stride, 6 * stride, dtype=torch.float64, requires_grad=True)
    forward = SameConv2d(2, 3, 4, stride, bias=False).double()
    forward.weight = nn.Parameter(layer.weight.detach().clone())
    (expected,) = torch.autograd.grad(forward(x), x, y)
    torch.testing.assert_close(layer(y), expected)


def test_transposed_convolution_of_stride_1_equals_torchs_cropped_at_the_end():
    layer = SameTransposedConv2d(3, 2, 1, bias=True)
    y = torch.rand(2, 3, 5, 5, generator=generator())
    full = F.conv_transpose2d(y, layer.weight, layer.bias, padding=1)
    torch.testing.assert_close(layer(y), full[:, :, :-1, :-1])


def test_padded_convolution_has_the_gradients_of_its_sum():
    generator = torch.Generator().manual_seed(0)
    shapes = (2, 3, 6, 6), (5, 3, 4, 4), (5,)
    x, kernel, bias = (torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes)
    inputs = [t.requires_grad_() for t in (x, kernel, bias)]
    assert torch.autograd.gradcheck(PaddedConv2d.apply, inputs)


@pytest.mark.parametrize("bias", [True, False])
def test_decoder_layers_train_in_mixed_precision(bias):
    torch.manual_seed(0)
    layer = SameTransposedConv2d(8, 8, 1, bias=bias)
    x = torch.randn(2, 8, 6, 6, requires_grad=True)
    exact = torch.autograd.grad(layer(x).square().mean(), (x, *layer.parameters()))
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    mixed = torch.autograd.grad(y.float().square().mean(), (x, *layer.parameters()))
    assert y.dtype == torch.bfloat16
    for a, b in zip(exact, mixed, strict=True):
        assert b.dtype == torch.float32
        assert (a - b).norm() < 0.02 * a.norm()


def test_decoder_layers_can_be_counted_without_memory():
    with torch.device("meta"):
        layer = SameTransposedConv2d(3, 4, 1, bias=True)
        assert layer(torch.empty(1, 3, 8, 8)).shape == (1, 4, 8, 8)


def test_two_view_has_the_thesis_parameters():
    network = build("twoview", image_size=256, width=1.0)
    assert parameters(network, moving_statistics=True) == 11_791_273
    assert parameters(network) == 11_758_633
    assert parameters(network.encoder, moving_statistics=True) == 2_027_488
    assert parameters(network.decoder, moving_statistics=True) == 9_763_785
    assert macs(network) == 3_562_594_304


def test_prn_has_the_published_parameters():
    network = build("prn", image_size=256, width=1.0)
    assert parameters(network) == 13_353_618
    assert parameters(network, moving_statistics=True) == 13_365_508
    assert macs(network) == 4_129_292_288
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    shortcuts = [n for n, m in network.named_modules() if n.endswith("shortcut") and isinstance(m, nn.Conv2d)]
    assert len(convolutions) - len(shortcuts) == 1 + 3 * 10 + 17


def test_macs_of_a_known_layer():
    """A 3 -> 5 transposed convolution of stride 2 on 4 x 4 inputs: 16 * 3 * 5 * 16 multiply-adds."""
    network = nn.Sequential(SameTransposedConv2d(3, 5, 2, bias=True), SameConv2d(5, 2, 3, bias=False))
    network.image_size, network.views = 4, 1
    assert macs(network) == 16 * 3 * 5 * 16 + 64 * 5 * 2 * 9
    assert network.training


@pytest.mark.parametrize("name", ["prn", "twoview", "mobile"])
@pytest.mark.parametrize("image_size", [32, 64])
def test_shapes_range_and_lowest_resolution(name, image_size):
    network = build(name, image_size=image_size, width=0.1).eval()
    images = torch.rand(2, 3 * network.views, image_size, image_size, generator=generator())
    assert network.encoder(images).shape[-2:] == (image_size // 32, image_size // 32)
    output = network(images)
    assert output.shape == (2, 3, image_size, image_size)
    assert output.min() >= 0
    assert output.max() <= 1
    torch.testing.assert_close(predict(network, images), (1.2 * output.detach() - 0.1) * image_size)


@pytest.mark.parametrize("name", ["prn", "twoview"])
@pytest.mark.parametrize("width", [0.25, 0.3])
def test_channels_last_gives_each_layer_the_same_gradients(name, width):
    """Also guards against a strided 1x1 convolution whose channels-last gradient crashed."""
    network = build(name, image_size=64, width=width)
    layers = {}
    for layer in network.modules():
        if isinstance(layer, SameConv2d | SameTransposedConv2d):
            layers.setdefault((type(layer), layer.in_channels, layer.out_channels, layer.stride), layer)
    for kind, layer in layers.items():
        results = []
        x = torch.rand(4, layer.in_channels, 16, 16, generator=generator())
        for layout in (torch.contiguous_format, torch.channels_last):
            leaf = x.contiguous(memory_format=layout).requires_grad_()
            output = layer.to(memory_format=layout)(leaf)
            gradients = torch.autograd.grad(output.square().sum(), [leaf, layer.weight])
            results.append([output.detach(), *gradients])
        for nchw, nhwc in zip(*results, strict=True):
            assert (nchw - nhwc).norm() < 1e-5 * nchw.norm(), kind


@pytest.mark.parametrize(
    ("channels", "width", "expected"),
    [(16, 0.3, 8), (512, 0.3, 156), (40, 0.3, 12), (3, 0.3, 3), (24, 1.0, 24)],
)
def test_width_rounds_up_to_multiples_of_four(channels, width, expected):
    assert scaled(channels, width) == expected


def test_small_networks_fit_the_files_limit():
    for name in ("prn", "twoview", "mobile"):
        stored = 2 * parameters(build(name, image_size=128, width=0.3), moving_statistics=True)
        assert stored < 2.6 * 2**20


@pytest.mark.parametrize("name", ["prn", "twoview", "mobile"])
@pytest.mark.parametrize("seed", range(4))
def test_no_start_is_dead(name, seed):
    """At every seed x, y and z answer to the photo, and the first layer hears of it."""
    network = build(name, image_size=64, width=0.3, seed=seed)
    output = network(torch.rand(8, 3 * network.views, 64, 64, generator=generator()))
    assert (output.std(0).mean((1, 2)) > 1e-7).all()
    saturated = (output < 1e-3) | (output > 1 - 1e-3)
    assert saturated.float().mean() < 0.01
    for channel in range(3):
        (gradient,) = torch.autograd.grad(
            output[:, channel].sum(), network.encoder[0].weight, retain_graph=True
        )
        assert gradient.abs().max() > 0


@pytest.mark.parametrize("width", [0.25, 0.3, 1.0])
def test_a_decoder_without_batch_norm_starts_linear(width):
    """Superposition holds, a constant stays one far from the border, and seventeen layers lose nothing."""
    decoder = Decoder(scaled(512, width), width, normalised=False, squash=None)
    start_linear(decoder)
    inputs = decoder[0].in_channels
    first, second = 0.05 * torch.rand(2, 4, inputs, 4, 4, generator=generator())
    with torch.no_grad():
        both, none = decoder(first + second), decoder(torch.zeros_like(first))
        torch.testing.assert_close(both, decoder(first) + decoder(second), atol=1e-5, rtol=0)
        flat = decoder(first[:, :, :1, :1].expand(-1, -1, 4, 4))[:, :, 48:80, 48:80]
        spread = decoder(first).std() / first.std()
    assert (none == 0).all()
    torch.testing.assert_close(flat, flat[:, :, :1, :1].expand_as(flat), atol=1e-5, rtol=0)
    assert 0.1 < spread < 30


def test_a_decoder_with_batch_norm_starts_open():
    """Nearly everything passes its three-channel layers: the last batch norm sees what the first one made."""
    decoder = build("prn", image_size=64, width=0.3).decoder
    *_, first, second, last, squash = [m for m in decoder if not isinstance(m, nn.ConvTranspose2d | nn.ReLU)]
    seen = {}
    for layer in (first, last):
        layer.register_forward_hook(lambda layer, _, out: seen.__setitem__(layer, out.clone()))
    with torch.no_grad():
        decoder(torch.rand(8, decoder[0].in_channels, 2, 2, generator=generator()))
    made, said = (seen[layer].flatten(2) for layer in (first, last))
    for channel in range(3):
        pair = torch.stack((made[:, channel].flatten(), said[:, channel].flatten()))
        assert torch.corrcoef(pair)[0, 1] > 0.98
    assert isinstance(squash, nn.Sigmoid)
    assert second.bias.tolist() == [1.0, 1.0, 1.0]


def test_a_seed_gives_the_same_network_and_leaves_the_global_generator_alone():
    state = torch.get_rng_state()
    first, second, other = (build("prn", image_size=32, width=0.1, seed=s).state_dict() for s in (1, 1, 2))
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["encoder.0.weight"], other["encoder.0.weight"])


def test_pixels_round_trip_and_ends_of_the_range():
    assert to_pixels(torch.tensor([0.0, 1.0]), 128).tolist() == pytest.approx([-12.8, 140.8], abs=1e-4)
    output = torch.rand(1, 3, 4, 4, generator=generator())
    torch.testing.assert_close(from_pixels(to_pixels(output, 256), 256), output)


def test_tanh_output_is_signed():
    network = build("prn", image_size=32, width=0.1, squash="tanh")
    assert network(torch.rand(4, 3, 32, 32, generator=generator())).min() < 0


def test_decoder_is_seventeen_transposed_convolutions():
    layers = [m for m in Decoder(8, 1.0, normalised=False, squash=None) if isinstance(m, nn.ConvTranspose2d)]
    assert len(layers) == 17
    assert [layer.stride[0] for layer in layers].count(2) == 5


def test_registering_a_network_is_one_entry():
    @register("test-identity", title="Identity", views=1, source="this test")
    class Identity(nn.Module):
        def __init__(self, *, image_size, width, shift=0.0):
            super().__init__()
            self.shift = nn.Parameter(torch.tensor(shift))

        def forward(self, images):
            return images + self.shift

    try:
        network = build("test-identity", image_size=32, shift=0.5)
        assert (network.name, network.views, network.image_size) == ("test-identity", 1, 32)
        assert network(torch.zeros(1)).item() == 0.5
        with pytest.raises(ValueError, match="two networks"):
            register("test-identity", title="", views=1, source="")(Identity)
    finally:
        del SYSTEMS["test-identity"]


def test_systems_table_lists_every_system():
    rows = systems_table(image_size=32, width=0.1)
    assert [row["system"] for row in rows] == list(SYSTEMS)
    assert all(row["with_statistics"] > row["parameters"] > 0 for row in rows if row["output"] == "map")


def test_errors_say_what_is_wrong():
    with pytest.raises(ValueError, match=r"unknown system 'prm'; known: .*prn"):
        build("prm")
    with pytest.raises(ValueError, match="multiple of 32"):
        build("prn", image_size=100)
    with pytest.raises(ValueError, match="width must be positive"):
        build("prn", width=0)
    with pytest.raises(ValueError, match=r"prn: .*colour"):
        build("prn", colour=True)
    with pytest.raises(ValueError, match=r"twoview reads \(B, 6, 32, 32\), got \(1, 3, 32, 32\)"):
        predict(build("twoview", image_size=32, width=0.1), torch.zeros(1, 3, 32, 32))


@pytest.mark.parametrize("name", ["prn", "twoview"])
def test_layers_table_adds_up_and_follows_the_papers(name):
    network = build(name)
    rows = layers_table(network)
    assert sum(row["parameters"] for row in rows) == parameters(network)
    assert sum(row["macs"] for row in rows) == macs(network)
    assert [r["repeats"] for r in rows if r["part"] == "decoder"] == [1, 3, 3, 3, 2, 2, 3]
    blocks = [r["repeats"] for r in rows if "residual" in r["layer"]]
    assert blocks == ([2] * 5 if name == "prn" else [1, 2, 3, 4, 3, 3, 1])
    assert (rows[0]["part"], rows[-1]["output"]) == ("encoder", "256x256x3")
