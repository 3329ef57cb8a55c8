"""``DDFConv2d`` against filters multiplied out and applied pixel by pixel."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acda import DDFConv2d
from tests.support.agreement import GEOMETRIES, SIZE, assert_agrees, by_pixel, made, pixel
from tests.support.oracle import Geometry, apply_filters


def normalised(filters: Tensor) -> Tensor:
    """Over the last dimension."""
    taps = filters.shape[-1]
    mean = filters.sum(-1, keepdim=True) / taps
    std = ((filters - mean).square().sum(-1, keepdim=True) / (taps - 1)).sqrt()
    return (filters - mean) / (std + 1e-5) * math.sqrt(2) / math.sqrt(taps)


def naive(layer: DDFConv2d, x: Tensor) -> Tensor:
    side = layer.kernel_size[0]
    if isinstance(layer.project, nn.Conv2d):
        x = torch.einsum("oc,nchw->nohw", layer.project.weight[:, :, 0, 0], x)

    def at(row: int, column: int) -> Tensor:
        return normalised(pixel(x, row, column) @ layer.spatial.weight[:, :, 0, 0].T + layer.spatial.bias)

    spatial = by_pixel(layer, x, at).unflatten(1, (1, 1, side, side))
    mean = x.flatten(2).sum(2) / x[0, 0].numel()
    hidden = (mean @ layer.squeeze.weight.T + layer.squeeze.bias).clamp(min=0)
    channel = (hidden @ layer.excite.weight.T + layer.excite.bias).view(len(x), x.shape[1], side**2)
    channel = normalised(channel) * layer.scale.view(-1, 1)
    filters = spatial * channel.view(*channel.shape[:2], 1, side, side, 1, 1)
    y = apply_filters(x, filters, Geometry(layer.stride, layer.padding))
    return y if layer.bias is None else y + layer.bias.view(-1, 1, 1)


@pytest.mark.parametrize("channels", [(7, 7), (2, 12)], ids=str)
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_agrees_with_its_definition(geometry: dict[str, Any], channels: tuple[int, int]) -> None:
    layer = made(DDFConv2d, *channels, channel_ratio=0.7, **geometry)
    assert_agrees(layer, naive, torch.randn(2, channels[0], *SIZE).double())


@pytest.mark.parametrize("side", [3, 5, 7])
def test_normalised_filters_have_mean_0_and_standard_deviation_root_2_over_l(side: int) -> None:
    layer = DDFConv2d(6, 6, side, padding=1, dtype=torch.float64)
    x = torch.randn(2, 6, 9, 9).double()
    spatial, channel = layer.spatial_filters(x).flatten(1, 2), layer.channel_filters(x).flatten(2)
    assert spatial.shape == (2, side**2, 11 - side + 1, 11 - side + 1)
    assert channel.shape == (2, 6, side**2)
    for filters, dim in ((spatial, 1), (channel, 2)):
        torch.testing.assert_close(filters.mean(dim), torch.zeros_like(filters.mean(dim)))
        torch.testing.assert_close(
            filters.std(dim), torch.full_like(filters.mean(dim), math.sqrt(2) / side), rtol=1e-3, atol=0
        )


def test_scale_of_a_channel_scales_that_channel() -> None:
    layer = DDFConv2d(4, 4, 3, bias=False)
    assert layer.scale.shape == (4,)
    x = torch.randn(2, 4, 6, 6)
    before = layer(x).detach()
    with torch.no_grad():
        layer.scale[2] *= 3
    factors = torch.tensor([1.0, 1, 3, 1]).view(-1, 1, 1)
    torch.testing.assert_close(layer(x), before * factors)


def test_blank_images_have_finite_gradients() -> None:
    """Equal taps have no standard deviation to divide by, nor one to differentiate."""
    layer = DDFConv2d(3, 3, 3, padding=1)
    for sublayer in (layer.spatial, layer.squeeze, layer.excite):
        nn.init.zeros_(sublayer.bias)
    x = torch.zeros(2, 3, 5, 5, requires_grad=True)
    y = layer(x)
    y.sum().backward()
    assert torch.equal(y, torch.zeros_like(y))
    for tensor in (x, *layer.parameters()):
        assert tensor.grad is not None and tensor.grad.isfinite().all()


def test_one_filter_for_all_pixels_is_a_depthwise_convolution_per_image() -> None:
    layer = made(DDFConv2d, 4, 4, 3, padding=1)
    nn.init.zeros_(layer.spatial.weight)
    x = torch.randn(1, 4, 6, 6).double()
    filters = layer.spatial_filters(x)[0, :, :, 0, 0] * layer.channel_filters(x)[0] * layer.scale.view(-1, 1, 1)
    expected = F.conv2d(x, filters.unsqueeze(1), layer.bias, padding=1, groups=4)
    torch.testing.assert_close(layer(x), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("channels", "hidden"), [(256, 51), (20, 4), (3, 4)])
def test_hidden_width_is_a_fifth_but_no_less_than_4(channels: int, hidden: int) -> None:
    assert DDFConv2d(3, channels, 3, device="meta").squeeze.out_features == hidden


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kernel_size": 1}, "kernel_size must be odd and at least 3, got 1"),
        ({"kernel_size": 4}, "kernel_size must be odd and square, got 4"),
        ({"channel_ratio": 0.0}, "channel_ratio must be above 0, got 0.0"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DDFConv2d(**({"in_channels": 2, "out_channels": 3, "kernel_size": 3} | arguments))
