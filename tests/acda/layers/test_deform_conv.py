"""``DeformConv2d`` against windows sampled tap by tap."""

import math
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acda import DeformConv2d
from tests.support.agreement import GEOMETRIES, SIZE, assert_agrees, made, pixel
from tests.support.oracle import error_ratio


def sample(image: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """Bilinear sample of ``[1, C, H, W]`` at a point, zero beyond the image."""
    top, left = math.floor(row.detach()), math.floor(column.detach())
    down, right = row - top, column - left
    return (
        (1 - down) * (1 - right) * pixel(image, top, left)
        + (1 - down) * right * pixel(image, top, left + 1)
        + down * (1 - right) * pixel(image, top + 1, left)
        + down * right * pixel(image, top + 1, left + 1)
    )[0]


def naive(layer: DeformConv2d, x: Tensor) -> Tensor:
    side = layer.kernel_size[0]
    raw = F.conv2d(x, layer.offset.weight, layer.offset.bias, layer.stride, layer.padding)
    outputs = []
    for n, i, j in ((n, i, j) for n in range(len(x)) for i in range(raw.shape[2]) for j in range(raw.shape[3])):
        y = torch.zeros(layer.out_channels, dtype=x.dtype) if layer.bias is None else layer.bias
        for tap in range(side**2):
            row = i * layer.stride[0] - layer.padding[0] + tap // side + raw[n, 2 * tap, i, j]
            column = j * layer.stride[1] - layer.padding[1] + tap % side + raw[n, 2 * tap + 1, i, j]
            modulation = 1 / (1 + torch.exp(-raw[n, 2 * side**2 + tap, i, j]))
            y = y + modulation * (layer.weight[:, :, tap // side, tap % side] @ sample(x[n : n + 1], row, column))
        outputs.append(y)
    return torch.stack(outputs).view(len(x), *raw.shape[2:], -1).permute(0, 3, 1, 2)


@pytest.mark.parametrize("geometry", [*GEOMETRIES, {"kernel_size": 2, "stride": 2}, {"kernel_size": 1}], ids=str)
def test_agrees_with_its_definition(geometry: dict[str, Any]) -> None:
    assert_agrees(made(DeformConv2d, 2, 3, **geometry), naive, torch.randn(1, 2, *SIZE).double())


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_begins_as_half_a_convolution(geometry: dict[str, Any]) -> None:
    layer = DeformConv2d(2, 3, dtype=torch.float64, **geometry)
    x = torch.randn(2, 2, *SIZE).double()
    offsets, modulation = layer.offsets(x)
    assert torch.equal(offsets, torch.zeros_like(offsets))
    assert torch.equal(modulation, torch.full_like(modulation, 0.5))
    expected = F.conv2d(x, layer.weight / 2, layer.bias, layer.stride, layer.padding)
    torch.testing.assert_close(layer(x), expected, rtol=1e-12, atol=1e-12)


def test_offsets_are_pixels_first_down_then_right() -> None:
    """Every tap moved by one pixel down and two to the right reads the image shifted by as much."""
    layer = DeformConv2d(2, 3, 3, padding=1, bias=False, dtype=torch.float64)
    with torch.no_grad():
        layer.offset.bias[0:18:2] = 1
        layer.offset.bias[1:18:2] = 2
    x = torch.randn(1, 2, 8, 9).double()
    shifted = torch.zeros_like(x)
    shifted[:, :, :-1, :-2] = x[:, :, 1:, 2:]
    expected = F.conv2d(shifted, layer.weight / 2, padding=1)
    torch.testing.assert_close(layer(x)[..., 1:-1, 1:-1], expected[..., 1:-1, 1:-1], rtol=1e-12, atol=1e-12)


def test_modulation_is_within_0_and_1() -> None:
    layer = made(DeformConv2d, 2, 3, 3)
    nn.init.constant_(layer.offset.bias, 40)
    _, modulation = layer.offsets(torch.randn(1, 2, 5, 5).double())
    torch.testing.assert_close(modulation, torch.ones_like(modulation))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_narrow_types_are_widened_for_the_operator(dtype: torch.dtype) -> None:
    layer, x = made(DeformConv2d, 2, 3, 3), torch.randn(1, 2, 6, 6)
    expected = layer(x.double())
    y = layer.to(dtype)(x.to(dtype))
    assert y.dtype == dtype
    assert error_ratio(y, expected) < 0.1


@pytest.mark.slow
def test_unpickled_where_torchvision_was_not_loaded(tmp_path: Path) -> None:
    """Its cost is known there too."""
    (tmp_path / "layer.pkl").write_bytes(pickle.dumps(DeformConv2d(2, 3, 3)))
    script = (
        "import pickle, sys, acda; assert 'torchvision' not in sys.modules; "
        f"layer = pickle.load(open({str(tmp_path / 'layer.pkl')!r}, 'rb')); "
        "print(acda.analysis.cost(layer, (1, 2, 3, 3)).macs)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert int(done.stdout) == 3 * 2 * 9 + 27 * 2 * 9
