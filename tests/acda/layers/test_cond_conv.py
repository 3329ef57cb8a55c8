"""``CondConv2d`` against one convolution an image, with its kernel summed up expert by expert."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acda import CondConv2d
from tests.support.agreement import GEOMETRIES, SIZE, assert_agrees, made


def experts(layer: CondConv2d) -> Tensor:
    """``[n, O, C, l, l]``."""
    return layer.weight.unflatten(1, (layer.out_channels, layer.in_channels, *layer.kernel_size))


def naive(layer: CondConv2d, x: Tensor) -> Tensor:
    images = []
    for image in x:
        mean = image.flatten(1).sum(1) / image[0].numel()
        weights = 1 / (1 + torch.exp(-(layer.routing.weight @ mean + layer.routing.bias)))
        kernel = sum(r * expert for r, expert in zip(weights, experts(layer), strict=True))
        bias = None if layer.bias is None else sum(r * b for r, b in zip(weights, layer.bias, strict=True))
        images.append(F.conv2d(image[None], kernel, bias, layer.stride, layer.padding))
    return torch.cat(images)


@pytest.mark.parametrize("geometry", [*GEOMETRIES, {"kernel_size": 2, "stride": 2}, {"kernel_size": 1}], ids=str)
def test_agrees_with_its_definition(geometry: dict[str, Any]) -> None:
    assert_agrees(made(CondConv2d, 3, 4, num_experts=3, **geometry), naive, torch.randn(3, 3, *SIZE).double())


def test_experts_are_drawn_one_by_one() -> None:
    layer = CondConv2d(4, 6, 3).requires_grad_(False)
    assert layer.weight.shape == (8, 6 * 4 * 3 * 3)
    for i, expert in enumerate(layer.weight):
        assert expert.std() == pytest.approx(float(layer.weight.std()), rel=0.25)
        assert all((expert - other).abs().min() > 0 for other in layer.weight[:i])


def test_equal_images_have_equal_kernels_and_others_do_not() -> None:
    layer = CondConv2d(3, 4, 3)
    x = torch.randn(1, 3, 6, 6)
    weights = layer.routing_weights(torch.cat([x, x, x + 1]))
    torch.testing.assert_close(weights[0], weights[1])
    assert (weights[0] - weights[2]).abs().min() > 1e-3
    assert weights.min() > 0 and weights.max() < 1
    y = layer(torch.cat([x, x]))
    torch.testing.assert_close(y[0], y[1])


def test_images_do_not_touch_each_other() -> None:
    layer = made(CondConv2d, 3, 4, 3)
    x = torch.randn(4, 3, 6, 5).double()
    torch.testing.assert_close(layer(x), torch.cat([layer(image) for image in x.split(1)]), rtol=1e-12, atol=1e-12)


def test_zero_mean_input_takes_half_of_every_expert() -> None:
    layer = CondConv2d(3, 4, 3, bias=False)
    x = torch.randn(2, 3, 6, 6)
    x -= x.mean((2, 3), keepdim=True)
    torch.testing.assert_close(layer(x), F.conv2d(x, experts(layer).sum(0) / 2))


def test_a_single_expert_wide_open_is_a_convolution() -> None:
    layer, conv = CondConv2d(3, 4, 3, num_experts=1), nn.Conv2d(3, 4, 3)
    with torch.no_grad():
        layer.weight[0] = conv.weight.flatten()
        assert layer.bias is not None
        layer.bias[0] = conv.bias
        layer.routing.bias.fill_(40)
    x = torch.randn(2, 3, 6, 6)
    torch.testing.assert_close(layer(x), conv(x))
