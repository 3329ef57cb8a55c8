"""All comparators as modules: in any precision and layout, compiled, saved, copied, drawn anew, moved."""

import copy
import io
import pickle
from typing import Any

import pytest
import torch
from torch import nn

from tests.support.comparators import every_comparator
from tests.support.noise import noisy
from tests.support.oracle import error_ratio


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
