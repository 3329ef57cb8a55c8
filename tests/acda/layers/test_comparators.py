"""What all comparators share: they stand wherever ``Conv2d`` does, with its sizes, and are modules like any other."""

import copy
import inspect
import io
import math
import pickle
from typing import Any

import pytest
import torch
from jsonargparse import ArgumentParser
from torch import Tensor, nn

import acda
from acda import (
    CondConv2d,
    ConvFactory,
    DDFConv2d,
    DeformConv2d,
    DynamicConv2d,
    DynamicFilterConv2d,
    Involution2d,
)
from acda.analysis import cost
from acda.models import AdResNet, LeNet
from tests.support.oracle import error_ratio

COMPARATORS = [CondConv2d, DynamicConv2d, DynamicFilterConv2d, DDFConv2d, Involution2d, DeformConv2d]
every_comparator = pytest.mark.parametrize("layer_class", COMPARATORS)


def noisy(layer: nn.Module) -> nn.Module:
    """With noise on all parameters, so that offsets, biases and the like, which begin at 0, count too."""
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return layer


@every_comparator
def test_arguments_are_a_factorys_then_named_options_with_defaults(layer_class: type[nn.Module]) -> None:
    asked = list(inspect.signature(ConvFactory.__call__).parameters)[1:]
    parameters = list(inspect.signature(layer_class).parameters.values())
    assert [p.name for p in parameters[: len(asked)]] == asked
    assert [p.default for p in parameters[3:6]] == [1, 0, True]
    options = parameters[len(asked) :]
    assert all(p.kind is p.KEYWORD_ONLY and p.default is not p.empty for p in options)
    assert [p.name for p in options[-2:]] == ["device", "dtype"]


@every_comparator
@pytest.mark.parametrize("stride", [1, 2, 3, (1, 2)], ids=str)
@pytest.mark.parametrize("padding", [0, 1, 2, (3, 1)], ids=str)
def test_output_has_the_size_of_conv2d(layer_class: type[nn.Module], stride: Any, padding: Any) -> None:
    layer, conv = layer_class(2, 3, 3, stride, padding), nn.Conv2d(2, 3, 3, stride, padding)
    for height, width in [(3, 3), (4, 5), (7, 6), (9, 8)]:
        x = torch.randn(2, 2, height, width)
        assert layer(x).shape == conv(x).shape


@every_comparator
def test_same_and_valid_padding(layer_class: type[nn.Module]) -> None:
    x = torch.randn(2, 2, 7, 6)
    assert layer_class(2, 3, 5, padding="same")(x).shape == (2, 3, 7, 6)
    assert layer_class(2, 3, 5, padding="valid")(x).shape == (2, 3, 3, 2)


@every_comparator
def test_one_pixel_and_no_images(layer_class: type[nn.Module]) -> None:
    layer = layer_class(2, 3, 3, padding=1)
    assert layer(torch.randn(2, 2, 1, 1)).shape == (2, 3, 1, 1)
    assert layer.eval()(torch.randn(1, 2, 1, 1)).shape == (1, 3, 1, 1)
    x = torch.zeros(0, 2, 5, 5, requires_grad=True)
    y = layer.train()(x)
    assert y.shape == (0, 3, 5, 5)
    y.sum().backward()
    assert x.grad is not None and x.grad.shape == x.shape
    for name, parameter in layer.named_parameters():
        assert parameter.grad is not None and not parameter.grad.any(), name


@pytest.mark.parametrize("layer_class", [DynamicFilterConv2d, Involution2d])
def test_without_norm_one_pixel_of_one_image_can_be_trained_on(layer_class: type[nn.Module]) -> None:
    layer = layer_class(2, 3, 3, padding=1, norm=None)
    assert layer(torch.randn(1, 2, 1, 1)).shape == (1, 3, 1, 1)
    assert not list(layer.buffers())


@every_comparator
@pytest.mark.parametrize("channels", [(16, 16), (3, 32), (32, 8)], ids=str)
@pytest.mark.parametrize("kernel_size", [3, 7])
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_initialisation_preserves_variance(
    layer_class: type[nn.Module], channels: tuple[int, int], kernel_size: int, mode: str
) -> None:
    ratios = []
    for _ in range(6):
        layer = layer_class(*channels, kernel_size, bias=False).train(mode == "train")  # all windows lie inside
        x = torch.randn(2, channels[0], 16, 16)
        with torch.no_grad():
            ratios.append(float(layer(x).var() / x.var()))
    assert 0.5 <= sum(ratios) / len(ratios) <= 2


@every_comparator
def test_every_parameter_learns(layer_class: type[nn.Module]) -> None:
    layer = layer_class(6, 8, 3, padding=1)
    layer(1 + torch.randn(3, 6, 6, 6)).square().sum().backward()
    for name, parameter in layer.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all() and parameter.grad.any(), name


@every_comparator
def test_translation_equivariance(layer_class: type[nn.Module]) -> None:
    """Away from the border; the mean over all pixels does not change in a roll."""
    layer = noisy(layer_class(3, 4, 3, padding=1)).double().eval()
    x = torch.randn(1, 3, 20, 20).double()
    moved = torch.roll(layer(x), (3, 2), dims=(2, 3))[..., 8:-8, 8:-8]
    assert error_ratio(layer(torch.roll(x, (3, 2), dims=(2, 3)))[..., 8:-8, 8:-8], moved) < 1e-10
    assert error_ratio(layer(x)[..., 8:-8, 8:-8], moved) > 0.1


@every_comparator
def test_bias_is_added_to_each_channel(layer_class: type[nn.Module]) -> None:
    with_bias, without = layer_class(2, 3, 3), layer_class(2, 3, 3, bias=False)
    assert without.bias is None
    state = {name: value for name, value in with_bias.state_dict().items() if name != "bias"}
    without.load_state_dict(state)
    nn.init.constant_(with_bias.bias, 1.5)
    x = torch.randn(2, 2, 6, 6)
    added = with_bias(x) - without(x)
    torch.testing.assert_close(added.amax((0, 2, 3)), added.amin((0, 2, 3)), rtol=0.2, atol=1e-5)
    assert (added > 1).all()


@every_comparator
def test_float64_and_bfloat16(layer_class: type[nn.Module]) -> None:
    layer = noisy(layer_class(4, 6, 3, padding=1)).eval()
    x = torch.randn(2, 4, 6, 7)
    expected = layer(x)
    assert error_ratio(copy.deepcopy(layer).double()(x.double()), expected) < 1e-5
    narrow = copy.deepcopy(layer).bfloat16()(x.bfloat16())
    assert narrow.dtype == torch.bfloat16
    assert error_ratio(narrow, expected) < 5e-2


@every_comparator
def test_autocast(layer_class: type[nn.Module]) -> None:
    layer = noisy(layer_class(4, 6, 3, padding=1))
    x = torch.randn(2, 4, 6, 7)
    expected = layer(x)
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    assert y.dtype == torch.bfloat16
    assert error_ratio(y, expected) < 5e-2
    y.float().square().sum().backward()
    for name, parameter in layer.named_parameters():
        assert parameter.grad is not None and parameter.grad.dtype == torch.float32, name


@every_comparator
@pytest.mark.parametrize("stride", [1, 2])
def test_channels_last(layer_class: type[nn.Module], stride: int) -> None:
    layer = noisy(layer_class(4, 6, 3, stride, 1)).double()
    x = torch.randn(2, 4, 7, 6).double()
    other = x.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(layer(other), layer(x), rtol=1e-10, atol=1e-10)
    last = copy.deepcopy(layer).to(memory_format=torch.channels_last)
    torch.testing.assert_close(last(other), layer(x), rtol=1e-10, atol=1e-10)


@every_comparator
@pytest.mark.parametrize("autocast", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_compiled_equals_eager(layer_class: type[nn.Module], autocast: bool) -> None:
    layer = noisy(layer_class(3, 4, 3, 2, 1))
    compiled = torch.compile(copy.deepcopy(layer), fullgraph=True, backend="aot_eager")
    for shape in [(2, 3, 7, 8), (3, 3, 9, 6)]:  # the second with dynamic sizes
        x = torch.randn(shape)
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            y, truth = compiled(x), layer(x)
        assert y.dtype == truth.dtype
        torch.testing.assert_close(y, truth)
    y.float().square().sum().backward()
    truth.float().square().sum().backward()
    tolerance = {"rtol": 2e-2, "atol": 2e-1} if autocast else {"rtol": 1e-4, "atol": 1e-4}
    for got, want in zip(compiled.parameters(), layer.parameters(), strict=True):
        torch.testing.assert_close(got.grad, want.grad, **tolerance)


@every_comparator
def test_state_dict_goes_round(layer_class: type[nn.Module]) -> None:
    layer, other = noisy(layer_class(3, 4, 3)), layer_class(3, 4, 3)
    layer(torch.randn(3, 3, 5, 5))  # moves running statistics
    buffer = io.BytesIO()
    torch.save(layer.state_dict(), buffer)
    buffer.seek(0)
    other.load_state_dict(torch.load(buffer, weights_only=True), strict=True)
    x = torch.randn(1, 3, 5, 5)
    assert torch.equal(layer.eval()(x), other.eval()(x))


@every_comparator
@pytest.mark.parametrize("clone", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
def test_copies(layer_class: type[nn.Module], clone: Any) -> None:
    layer = noisy(layer_class(3, 4, 3)).eval()
    other, x = clone(layer), torch.randn(1, 3, 5, 5)
    assert torch.equal(layer(x), other(x))


@every_comparator
def test_reset_parameters_repeats_under_a_seed_and_leaves_nothing(layer_class: type[nn.Module]) -> None:
    layer = layer_class(3, 4, 3)
    states = []
    for _ in range(2):
        for tensor in (*layer.parameters(), *layer.buffers()):
            nn.init.constant_(tensor.data, 7)  # what was there before
        torch.manual_seed(3)
        layer.reset_parameters()
        states.append(copy.deepcopy(layer.state_dict()))
    torch.manual_seed(3)
    fresh = layer_class(3, 4, 3)
    fresh.reset_parameters()
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name])
        assert not (value == 7).any(), name


@every_comparator
def test_device_and_dtype_of_everything(layer_class: type[nn.Module]) -> None:
    layer = layer_class(2, 4, 3, device="meta", dtype=torch.float16)
    floats = [t for t in (*layer.parameters(), *layer.buffers()) if t.is_floating_point()]
    assert {(t.device.type, t.dtype) for t in floats} == {("meta", torch.float16)}
    with torch.device("meta"):
        assert {t.device.type for t in layer_class(2, 4, 3).parameters()} == {"meta"}


@every_comparator
def test_repr_leaves_out_defaults(layer_class: type[nn.Module]) -> None:
    plain = layer_class(2, 4, 3).extra_repr()
    assert plain == "2, 4, kernel_size=3"
    odd = layer_class(2, 4, 3, 2, 1, False).extra_repr()
    assert odd == "2, 4, kernel_size=3, stride=(2, 2), padding=(1, 1), bias=False"


def test_repr_has_options() -> None:
    assert "num_experts=3" in repr(CondConv2d(2, 4, 3, num_experts=3))
    assert "initial_temperature=10.0, anneal_epochs=5" in repr(
        DynamicConv2d(2, 4, 3, initial_temperature=10, anneal_epochs=5)
    )
    assert "max_bytes=10000000" in repr(DynamicFilterConv2d(2, 4, 3, max_bytes=10000000))
    assert "channel_ratio=0.5" in repr(DDFConv2d(2, 4, 3, channel_ratio=0.5))
    assert "reduction=2" in repr(Involution2d(2, 4, 3, reduction=2))


@every_comparator
def test_attributes_of_conv2d(layer_class: type[nn.Module]) -> None:
    layer, conv = layer_class(4, 8, 5, (2, 1), (1, 3)), nn.Conv2d(4, 8, 5, (2, 1), (1, 3))
    for name in ("in_channels", "out_channels", "kernel_size", "stride", "padding"):
        assert getattr(layer, name) == getattr(conv, name)


@every_comparator
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"in_channels": 0}, "in_channels must be at least 1, got 0"),
        ({"out_channels": -1}, "out_channels must be at least 1, got -1"),
        ({"kernel_size": (3, 5)}, r"kernel_size must be .*square, got \(3, 5\)"),
        ({"kernel_size": 0}, "kernel_size must be an int or a pair of ints, each at least 1, got 0"),
        ({"stride": 0}, "stride must be an int or a pair of ints, each at least 1, got 0"),
        ({"padding": -1}, "padding must be an int or a pair of ints, each at least 0, got -1"),
        ({"padding": "full"}, "padding must be 'same', 'valid', an int or a pair of ints, got 'full'"),
        ({"padding": "same", "stride": 2}, "padding='same' needs stride 1, got stride=2"),
    ],
    ids=str,
)
def test_constructor_errors_name_argument_given_and_allowed(
    layer_class: type[nn.Module], arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        layer_class(**({"in_channels": 2, "out_channels": 4, "kernel_size": 3} | arguments))


@pytest.mark.parametrize("layer_class", [CondConv2d, DynamicConv2d, DeformConv2d])
def test_same_padding_of_an_even_kernel_is_refused(layer_class: type[nn.Module]) -> None:
    with pytest.raises(ValueError, match="padding='same' needs an odd kernel_size, got 2"):
        layer_class(2, 4, 2, padding="same")


@every_comparator
@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 3, 9, 9), r"x must have shape \[N, 2, H, W\] \(in_channels=2\), got \[1, 3, 9, 9\]"),
        ((9, 9), r"x must have shape \[N, 2, H, W\].*got \[9, 9\]"),
        ((1, 2, 4, 9), r"x must be at least 5×5 pixels for kernel_size=5, padding=\(0, 0\).*got 4×9"),
    ],
)
def test_wrong_inputs_are_refused(layer_class: type[nn.Module], shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        layer_class(2, 4, 5)(torch.zeros(shape))


def small_macs(layer_class: type[nn.Module]) -> int:
    """Multiply-accumulates at 6 → 8 channels, l = 3, 5×4 pixels from 10×8, 2 images, by each layer's formula."""
    c, o, taps, pixels, images, whole = 6, 8, 9, 5 * 4, 2, 10 * 8
    conv = pixels * o * c * taps
    of_one_image = {
        CondConv2d: conv + c * 8 + 8 * (o * c * taps + o),
        DynamicConv2d: conv + c * 4 + 4 * 4 + 4 * (o * c * taps + o),
        DynamicFilterConv2d: conv + whole * c * 64 + pixels * 64 * 9 * o * c * taps,
        DDFConv2d: whole * c * o + pixels * o * taps + o * 4 + 4 * o * taps + pixels * o * taps,
        Involution2d: whole * c * o + pixels * (o * 4 + 4 * taps) + pixels * o * taps,
        DeformConv2d: conv + pixels * c * taps * 3 * taps,
    }
    return images * of_one_image[layer_class]


@every_comparator
def test_cost(layer_class: type[nn.Module]) -> None:
    layer = layer_class(6, 8, 3, 2, 1)
    counted = cost(layer, (2, 6, 10, 8))
    assert counted.macs == small_macs(layer_class)
    assert counted.parameters == sum(p.numel() for p in layer.parameters())
    assert counted.saved_bytes > 0
    assert cost(layer_class(256, 256, 7, padding=3, device="meta"), (1, 256, 14, 14)).macs > 0


@pytest.mark.parametrize(
    ("layer_class", "millions"),
    [
        (CondConv2d, 25.694),
        (DynamicConv2d, 12.863),
        (DynamicFilterConv2d, 1852.916),
        (DDFConv2d, 0.679),
        (Involution2d, 0.068),
        (DeformConv2d, 5.056),
    ],
)
def test_parameters_of_a_wide_layer(layer_class: type[nn.Module], millions: float) -> None:
    layer = layer_class(256, 256, 7, padding=3, device="meta")
    assert sum(p.numel() for p in layer.parameters()) / 1e6 == pytest.approx(millions, abs=1e-3)


@every_comparator
def test_stands_in_a_network_by_its_name_in_yaml(layer_class: type[nn.Module]) -> None:
    parser = ArgumentParser()
    parser.add_subclass_arguments(nn.Module, "network")
    name = f"acda.{layer_class.__name__}"
    for conv in (name, {"class_path": name, "init_args": {"dtype": None}}):
        init_args = {"in_channels": 1, "image_size": 8, "kernel_size": 3, "padding": 1, "conv": conv}
        config = parser.parse_object({"network": {"class_path": "acda.models.LeNet", "init_args": init_args}})
        network = parser.instantiate(config).network
        assert isinstance(network, LeNet)
        assert sum(isinstance(module, layer_class) for module in network.modules()) == 2
        logits: Tensor = network(torch.rand(2, 1, 8, 8))
        assert logits.shape == (2, 10)
        assert math.isfinite(float(logits.detach().sum()))


@every_comparator
def test_stands_in_ad_resnet_and_keeps_its_own_weights(layer_class: type[nn.Module]) -> None:
    """The network draws its plain convolutions anew, not those inside other layers."""
    drawn: list[tuple[nn.Module, dict[str, Tensor]]] = []

    def conv(*arguments: Any, **options: Any) -> nn.Module:
        layer = layer_class(*arguments, **options)
        drawn.append((layer, copy.deepcopy(layer.state_dict())))
        return layer

    network = AdResNet(num_classes=3, conv=conv, widths=(4, 4, 8, 8), kernel_sizes=(5, 3), small_images=True)
    assert network(torch.randn(2, 3, 9, 8)).shape == (2, 3)
    assert len(drawn) == 4
    for layer, before in drawn:
        assert all(torch.equal(value, before[name]) for name, value in layer.named_parameters())


@every_comparator
def test_is_public(layer_class: type[nn.Module]) -> None:
    assert layer_class.__name__ in acda.__all__
    assert layer_class.__name__ in acda.layers.__all__
