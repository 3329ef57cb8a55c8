"""``Involution2d`` against filters made and applied pixel by pixel."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acda import Involution2d
from tests.support.agreement import GEOMETRIES, SIZE, assert_agrees, batch_norm, by_pixel, made, pixel
from tests.support.oracle import Geometry, apply_filters


def naive_pooled(layer: Involution2d, x: Tensor) -> Tensor:
    """Mean of the stride's pixels from each window's centre on, of those in the image; zero beyond its start."""
    reach = [max(0, p - side // 2) for p, side in zip(layer.padding, layer.kernel_size, strict=True)]

    def at(row: int, column: int) -> Tensor:
        cell = [
            pixel(x, i, j)
            for i in range(row, row + layer.stride[0])
            for j in range(column, column + layer.stride[1])
            if i < x.shape[2] + reach[0] and j < x.shape[3] + reach[1]
        ]
        return torch.stack(cell).mean(0)

    return by_pixel(layer, x, at)


def naive(layer: Involution2d, x: Tensor) -> Tensor:
    if isinstance(layer.project, nn.Conv2d):
        x = torch.einsum("oc,nchw->nohw", layer.project.weight[:, :, 0, 0], x)
    hidden = torch.einsum("dc,nchw->ndhw", layer.reduce.weight[:, :, 0, 0], naive_pooled(layer, x))
    if layer.reduce.bias is not None:
        hidden = hidden + layer.reduce.bias.view(-1, 1, 1)
    hidden = batch_norm(hidden, layer.norm) if isinstance(layer.norm, nn.BatchNorm2d) else hidden
    filters = torch.einsum("kd,ndhw->nkhw", layer.span.weight[:, :, 0, 0], hidden.clamp(min=0))
    filters = (filters + layer.span.bias.view(-1, 1, 1)).unflatten(1, (layer.groups, *layer.kernel_size))
    channels_of_group = x.shape[1] // layer.groups
    of_channels = torch.stack([filters[:, c // channels_of_group] for c in range(x.shape[1])], 1).unsqueeze(2)
    y = apply_filters(x, of_channels, Geometry(layer.stride, layer.padding))
    return y if layer.bias is None else y + layer.bias.view(-1, 1, 1)


@pytest.mark.parametrize("norm", [nn.BatchNorm2d, None], ids=["norm", "no-norm"])
@pytest.mark.parametrize("channels", [(32, 32), (3, 6)], ids=str)
@pytest.mark.parametrize("geometry", [*GEOMETRIES, {"kernel_size": 1, "stride": 2}], ids=str)
def test_agrees_with_its_definition(geometry: dict[str, Any], channels: tuple[int, int], norm: Any) -> None:
    layer = made(Involution2d, *channels, norm=norm, **geometry)
    assert_agrees(layer, naive, torch.randn(2, channels[0], *SIZE).double())


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_agrees_with_the_original_where_that_works(stride: int) -> None:
    """The original pools with ``AvgPool2d(stride, stride)`` and unfolds with half the kernel as padding."""
    layer = made(Involution2d, 32, 32, 5, stride, 2, bias=False).eval()
    x = torch.randn(2, 32, 8, 12).double()
    filters = layer.span(F.relu(layer.norm(layer.reduce(F.avg_pool2d(x, stride, stride)))))
    rows, columns = filters.shape[2:]
    filters = filters.view(2, 2, 1, 25, rows, columns)
    patches = F.unfold(x, 5, padding=2, stride=stride).view(2, 2, 16, 25, rows, columns)
    expected = (filters * patches).sum(3).view(2, 32, rows, columns)
    torch.testing.assert_close(layer(x), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("channels", "groups"), [(256, 16), (32, 2), (16, 1), (6, 1), (1, 1), (24, 1), (56, 2), (100, 5), (84, 4)]
)
def test_groups_of_16_channels_or_the_next_larger_that_fit(channels: int, groups: int) -> None:
    layer = Involution2d(3, channels, 3, device="meta")
    assert layer.groups == groups
    assert layer.span.out_channels == 9 * groups


def test_channels_of_a_group_share_their_filter_and_groups_do_not() -> None:
    layer = Involution2d(32, 32, 3, bias=False)
    x = torch.randn(2, 1, 6, 6).expand(2, 32, 6, 6) + torch.zeros(2, 32, 6, 6)
    y = layer(x)
    torch.testing.assert_close(y[:, :16], y[:, :1].expand_as(y[:, :16]))
    torch.testing.assert_close(y[:, 16:], y[:, 16:17].expand_as(y[:, 16:]))
    assert (y[:, 0] - y[:, 16]).abs().max() > 1e-2


@pytest.mark.parametrize(("channels", "hidden"), [(256, 64), (16, 4), (3, 4)])
def test_hidden_width_is_a_quarter_but_no_less_than_4(channels: int, hidden: int) -> None:
    assert Involution2d(3, channels, 3, device="meta").reduce.out_channels == hidden


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="reduction must be at least 1, got 0"):
        Involution2d(4, 4, 3, reduction=0)
    with pytest.raises(ValueError, match="kernel_size must be odd and square, got 2"):
        Involution2d(4, 4, 2)
