"""``DynamicFilterConv2d`` against filters made and applied pixel by pixel, and what it refuses to make."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acda import DynamicFilterConv2d
from acda.layers import memory
from tests.support.agreement import GEOMETRIES, SIZE, assert_agrees, batch_norm, by_pixel, made, pixel
from tests.support.oracle import Geometry, apply_filters


def naive_filters(layer: DynamicFilterConv2d, x: Tensor) -> Tensor:
    hidden = torch.einsum("dc,nchw->ndhw", layer.conv1.weight[:, :, 0, 0], x)
    if layer.conv1.bias is not None:
        hidden = hidden + layer.conv1.bias.view(-1, 1, 1)
    hidden = batch_norm(hidden, layer.norm) if isinstance(layer.norm, nn.BatchNorm2d) else hidden
    hidden = hidden.tanh()

    def at(row: int, column: int) -> Tensor:
        taps = [(i, j) for i in range(3) for j in range(3)]
        parts = [pixel(hidden, row + i - 1, column + j - 1) @ layer.conv2.weight[:, :, i, j].T for i, j in taps]
        return torch.stack(parts).sum(0) + layer.conv2.bias

    return by_pixel(layer, x, at).unflatten(1, layer.filter_shape)


def naive(layer: DynamicFilterConv2d, x: Tensor) -> Tensor:
    y = apply_filters(x, naive_filters(layer, x), Geometry(layer.stride, layer.padding))
    return y if layer.bias is None else y + layer.bias.view(-1, 1, 1)


@pytest.mark.parametrize("norm", [nn.BatchNorm2d, None], ids=["norm", "no-norm"])
@pytest.mark.parametrize("geometry", [*GEOMETRIES, {"kernel_size": 1, "stride": 2}], ids=str)
def test_agrees_with_its_definition(geometry: dict[str, Any], norm: Any) -> None:
    layer = made(DynamicFilterConv2d, 2, 3, hidden_channels=3, norm=norm, **geometry)
    x = torch.randn(2, 2, *SIZE).double()
    torch.testing.assert_close(layer.filters(x), naive_filters(layer, x), rtol=1e-10, atol=1e-10)
    assert_agrees(layer, naive, x)


def test_without_weights_it_is_the_convolution_of_its_bias() -> None:
    layer = made(DynamicFilterConv2d, 2, 3, 5, padding=2, stride=2)
    nn.init.zeros_(layer.conv2.weight)
    x = torch.randn(2, 2, 7, 8).double()
    shared = layer.conv2.bias.view(3, 2, 5, 5)
    torch.testing.assert_close(layer(x), F.conv2d(x, shared, layer.bias, 2, 2), rtol=1e-12, atol=1e-12)


def test_filters_differ_from_pixel_to_pixel() -> None:
    filters = DynamicFilterConv2d(2, 3, 3).filters(torch.randn(1, 2, 8, 8)).detach()
    assert filters.shape == (1, 3, 2, 3, 3, 6, 6)
    assert float(filters.std((-2, -1)).mean()) > 0.5 * float(filters.std())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_bytes_are_those_of_the_filters(dtype: torch.dtype) -> None:
    layer = DynamicFilterConv2d(2, 3, 3, stride=2, padding=1, dtype=dtype)
    x = torch.zeros(2, 2, 7, 6, dtype=dtype)
    assert layer.filter_bytes(x.shape) == layer.filters(x).nbytes == 2 * 3 * 2 * 9 * 4 * 3 * dtype.itemsize
    with torch.autocast("cpu", torch.bfloat16):
        expected = 2 * 3 * 2 * 9 * 4 * 3 * (8 if dtype == torch.float64 else 2)  # autocast leaves float64 alone
        assert layer.filter_bytes(x.shape) == layer.filters(x).nbytes == expected


def test_bytes_of_any_size_on_meta_without_refusal() -> None:
    """Table 7: an Ad-ResNet-s layer of 128 channels, 32 images a GPU."""
    layer = DynamicFilterConv2d(128, 128, 7, padding=3, max_bytes=1, device="meta")
    shape = (32, 128, 14, 14)
    assert layer.filter_bytes(shape) == 4 * 32 * 14 * 14 * 128 * 128 * 49
    assert layer(torch.empty(shape, device="meta")).shape == shape


def test_filters_over_the_limit_are_refused_with_figure_and_limit() -> None:
    layer = DynamicFilterConv2d(2, 3, 3, hidden_channels=1)
    x = torch.zeros(2, 2, 8, 9)
    needed = layer.filter_bytes(x.shape)
    layer.max_bytes = needed
    assert layer(x).shape == (2, 3, 6, 7)
    layer.max_bytes = needed - 1
    message = rf"filters for x of shape \[2, 2, 8, 9\] need {needed:,} bytes, more than max_bytes={needed - 1:,}"
    for run in (layer, layer.filters):
        with pytest.raises(MemoryError, match=message):
            run(x)


def test_weights_over_the_limit_are_refused() -> None:
    nbytes = 4 * 9 * 5 * (3 * 2 * 49)
    DynamicFilterConv2d(2, 3, 7, hidden_channels=5, max_bytes=nbytes)
    with pytest.raises(MemoryError, match=rf"filters of 294 numbers need {nbytes:,} bytes, more than max_bytes"):
        DynamicFilterConv2d(2, 3, 7, hidden_channels=5, max_bytes=nbytes - 1)


def test_default_limit_is_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = DynamicFilterConv2d(2, 3, 3)
    x = torch.zeros(2, 2, 8, 9)
    needed = layer.filter_bytes(x.shape)
    monkeypatch.setattr(memory, "available_bytes", lambda device: needed - 1)
    with pytest.raises(MemoryError, match=rf"need {needed:,} bytes, more than the {needed - 1:,} free on cpu"):
        layer(x)
    monkeypatch.setattr(memory, "available_bytes", lambda device: None)  # a system that does not say
    layer(x)


def test_free_memory_of_this_machine() -> None:
    free = memory.available_bytes(torch.device("cpu"))
    if Path("/proc/meminfo").exists():
        assert free is not None and 2**20 < free < 2**50
    assert memory.available_bytes(torch.device("meta")) is None


def test_a_system_without_meminfo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "exists", lambda self: False)
    assert memory.available_bytes(torch.device("cpu")) is None


def test_compiled_code_has_the_limit_too() -> None:
    layer = DynamicFilterConv2d(2, 3, 3, hidden_channels=1, max_bytes=5000)
    compiled = torch.compile(copy.deepcopy(layer), fullgraph=True, backend="aot_eager", dynamic=False)
    assert compiled(torch.zeros(1, 2, 5, 5)).shape == (1, 3, 3, 3)
    with pytest.raises(Exception, match=r"need [\d,]+ bytes, more than max_bytes=5,000"):
        compiled(torch.zeros(3, 2, 9, 9))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hidden_channels": 0}, "hidden_channels must be at least 1, got 0"),
        ({"max_bytes": 0}, "max_bytes must be at least 1, got 0"),
        ({"kernel_size": 2}, "kernel_size must be odd and square, got 2"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DynamicFilterConv2d(**({"in_channels": 2, "out_channels": 3, "kernel_size": 3} | arguments))
