"""What all comparators compute: maps of ``Conv2d``'s sizes, with its variance, equivariance and bias."""

from typing import Any

import pytest
import torch
from torch import nn

from acda import DynamicFilterConv2d, Involution2d
from tests.support.comparators import every_comparator
from tests.support.noise import noisy
from tests.support.oracle import error_ratio


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
