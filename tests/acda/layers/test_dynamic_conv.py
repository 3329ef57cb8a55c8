"""``DynamicConv2d`` against one convolution an image, and its temperature."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from acda import DynamicConv2d
from tests.support.agreement import GEOMETRIES, SIZE, assert_agrees, made


def kernels(layer: DynamicConv2d) -> Tensor:
    """``[K, O, C, l, l]``."""
    return layer.weight.unflatten(1, (layer.out_channels, layer.in_channels, *layer.kernel_size))


def naive(layer: DynamicConv2d, x: Tensor) -> Tensor:
    images = []
    for image in x:
        mean = image.flatten(1).sum(1) / image[0].numel()
        hidden = (layer.squeeze.weight @ mean).clamp(min=0)
        shares = torch.exp(layer.excite.weight @ hidden / layer.temperature)
        shares = shares / shares.sum()
        kernel = sum(share * kernel for share, kernel in zip(shares, kernels(layer), strict=True))
        bias = None if layer.bias is None else sum(share * b for share, b in zip(shares, layer.bias, strict=True))
        images.append(F.conv2d(image[None], kernel, bias, layer.stride, layer.padding))
    return torch.cat(images)


@pytest.mark.parametrize("geometry", [*GEOMETRIES, {"kernel_size": 2, "stride": 2}, {"kernel_size": 1}], ids=str)
@pytest.mark.parametrize("epoch", [0, 7, 10])
def test_agrees_with_its_definition(geometry: dict[str, Any], epoch: int) -> None:
    layer = made(DynamicConv2d, 3, 4, **geometry)
    layer.anneal_temperature(epoch)
    assert_agrees(layer, naive, torch.randn(3, 3, *SIZE).double())


@pytest.mark.parametrize(
    ("epoch", "temperature"), [(0, 30), (1, 27.1), (2.5, 22.75), (5, 15.5), (9, 3.9), (10, 1), (11, 1), (300, 1)]
)
def test_temperature_falls_from_30_to_1_in_10_epochs(epoch: float, temperature: float) -> None:
    layer = DynamicConv2d(3, 4, 3)
    assert float(layer.temperature) == 30
    layer.anneal_temperature(epoch)
    assert float(layer.temperature) == pytest.approx(temperature)


def test_temperature_is_saved() -> None:
    trained, other = DynamicConv2d(3, 4, 3), DynamicConv2d(3, 4, 3)
    trained.anneal_temperature(4)
    other.load_state_dict(trained.state_dict(), strict=True)
    assert float(other.temperature) == float(trained.temperature) == pytest.approx(18.4)
    other.reset_parameters()
    assert float(other.temperature) == 30


def test_attention_sums_to_one_and_sharpens_as_the_temperature_falls() -> None:
    layer = made(DynamicConv2d, 16, 4, 3)
    x = 3 * torch.randn(5, 16, 4, 4).double()
    largest = []
    for epoch in (0, 5, 10):
        layer.anneal_temperature(epoch)
        attention = layer.attention(x)
        assert attention.shape == (5, 4)
        torch.testing.assert_close(attention.sum(1), torch.ones(5).double())
        largest.append(attention.max(1).values)
    assert (largest[0] < largest[1]).all() and (largest[1] < largest[2]).all()


def test_without_end_to_the_temperature_the_kernel_is_the_mean() -> None:
    layer = made(DynamicConv2d, 3, 4, 3, initial_temperature=1e14)
    x = torch.randn(2, 3, 6, 6).double()
    expected = F.conv2d(x, kernels(layer).mean(0), layer.bias.mean(0))
    torch.testing.assert_close(layer(x), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("channels", "hidden"), [(256, 64), (16, 4), (3, 4), (1, 4)])
def test_hidden_width_is_a_quarter_but_no_less_than_the_kernels(channels: int, hidden: int) -> None:
    assert DynamicConv2d(channels, 4, 3, device="meta").squeeze.out_features == hidden


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_kernels": 0}, "num_kernels must be at least 1, got 0"),
        ({"anneal_epochs": 0}, "anneal_epochs must be at least 1, got 0"),
        ({"initial_temperature": 0.5}, "initial_temperature must be at least 1, got 0.5"),
        ({"initial_temperature": float("nan")}, "initial_temperature must be at least 1, got nan"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DynamicConv2d(3, 4, 3, **arguments)
