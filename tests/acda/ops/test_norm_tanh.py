"""``acda::norm_tanh``: batch norm and tanh in one, against the two in float64, and as the modules are used."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.library import opcheck
from torch.nn import functional as F

from acda.ops import norm_tanh
from acda.ops.cpu import norm_tanh as cpu
from acda.ops.cpu import norm_tanh_code, norm_tanh_loops
from acda.ops.norm_tanh import NormTanh
from tests.support.oracle import error_ratio

EPS = 1e-5
SHAPES = [(2, 3, 5, 7), (1, 64, 1, 3), (3, 72, 40, 41), (2, 5, 90, 61), (9, 108, 9, 9), (2, 1, 9, 8), (2, 1021, 3, 3)]
FORWARD, BACKWARD = torch.ops.acda.norm_tanh.default, torch.ops.acda.norm_tanh_backward.default


@pytest.fixture(autouse=True)
def however_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(norm_tanh, "_LEAST_ELEMENTS", 0)


def operands(shape: tuple[int, ...], mean: float = 0, affine: bool = True) -> list[Tensor | None]:
    x = (torch.randn(shape) + mean).contiguous(memory_format=torch.channels_last)
    return [x, *(torch.randn(shape[1]) if affine else None for _ in range(2))]


def plain(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    return torch.tanh(F.batch_norm(x, None, None, weight, bias, training=True, eps=EPS))


def leaves(tensors: list[Tensor | None], dtype: torch.dtype = torch.float32) -> list[Tensor | None]:
    return [None if t is None else t.detach().to(dtype).requires_grad_() for t in tensors]


def given(tensors: list[Tensor | None]) -> list[Tensor]:
    return [t for t in tensors if t is not None]


def results(tensors: list[Tensor | None], grad: Tensor) -> list[Tensor]:
    """Output, and gradients of x, weight and bias."""
    ours = leaves(tensors)
    y = NormTanh.apply(*ours, EPS)[0]
    return [y.detach(), *torch.autograd.grad(y, given(ours), grad)]


@pytest.mark.parametrize(("mean", "tolerance"), [(0, 5e-6), (1000, 5e-4)])  # 1000 itself is rounded to 3e-5
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_against_float64(
    shape: tuple[int, ...], affine: bool, mean: float, tolerance: float, poisoned_memory: None
) -> None:
    tensors, grad = operands(shape, mean, affine), torch.randn(shape)
    exact = leaves(tensors, torch.float64)
    y = plain(*exact)
    truth = [y, *torch.autograd.grad(y, given(exact), grad.double())]
    for got, want in zip(results(tensors, grad), truth, strict=True):
        assert error_ratio(got, want) < tolerance
    _, mean_, var = FORWARD(*tensors, EPS)
    of_batch = torch.var_mean(tensors[0].double(), (0, 2, 3), correction=0)
    torch.testing.assert_close(var, of_batch[0].float(), rtol=1e-6, atol=0)
    torch.testing.assert_close(mean_, of_batch[1].float(), rtol=1e-7, atol=1e-7)


def tanh(values: Tensor) -> Tensor:
    x = values.view(1, 1, 1, -1)
    y = torch.full_like(x, 7)
    rows = cpu._Rows.of(x)
    numbers = torch.tensor([1.0, 0.0])[:, None].repeat(1, rows.row)  # scale and shift
    rows.sweep(norm_tanh_loops.sweep_loop(norm_tanh_code.APPLY), [x, y], rows.numbers(numbers))
    return y.flatten()


def test_tanh_within_two_units_in_the_last_place() -> None:
    bits = torch.randint(0, 0x41200000, (200_000,), dtype=torch.int32)  # up to 10
    x = torch.cat([bits.view(torch.float32), torch.linspace(0.5, 0.8, 10_000), torch.linspace(8, 12, 1001)])
    for sign in (1, -1):
        exact = np.tanh(sign * x.numpy().astype(np.float64))
        ulps = np.abs(tanh(sign * x).numpy() - exact) / np.spacing(np.abs(exact).astype(np.float32))
        assert ulps.max() < 2


def test_tanh_of_what_is_not_finite() -> None:
    nan = torch.tensor([0x7FC00000, 0x7F800001, 0x7FC12345], dtype=torch.int32).view(torch.float32)
    assert tanh(torch.cat([nan, -nan])).isnan().all()
    assert tanh(torch.tensor([torch.inf, -torch.inf, 3e38, -3e38])).tolist() == [1, -1, 1, -1]


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_nan_fills_its_channel_and_no_other(value: float) -> None:
    tensors = operands((2, 5, 9, 8))
    tensors[0][1, 3, 2, 2] = value
    for got in results(tensors, torch.randn(2, 5, 9, 8)):
        by_channel = got.movedim(1, 0) if got.dim() == 4 else got
        assert by_channel[3].isnan().all()
        assert not by_channel[[0, 1, 2, 4]].isnan().any()


@pytest.fixture
def several_threads() -> Iterator[None]:
    yield
    torch.set_num_threads(1)


def test_the_same_bits_twice_and_with_any_number_of_threads(several_threads: None) -> None:
    tensors, grad = operands((2, 36, 101, 97)), torch.randn(2, 36, 101, 97)  # several chunks
    first = results(tensors, grad)
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        assert all(torch.equal(a, b) for a, b in zip(results(tensors, grad), first, strict=True))


@pytest.mark.parametrize("layout", ["channels_last", "contiguous", "expanded"])
def test_gradients_of_any_layout(layout: str) -> None:
    tensors = operands((2, 6, 7, 8))
    grad = torch.randn(2, 6, 7, 8)
    grad = {
        "channels_last": grad.contiguous(memory_format=torch.channels_last),
        "contiguous": grad,
        "expanded": grad[:1, :, :1, :1].expand(2, 6, 7, 8),
    }[layout]
    expected = leaves(tensors)
    truth = torch.autograd.grad(plain(*expected), expected, grad)
    for got, want in zip(results(tensors, grad)[1:], truth, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)


def test_only_what_is_asked_for() -> None:
    x, weight, bias = operands((2, 3, 4, 5))
    y = NormTanh.apply(x, weight, bias.requires_grad_(), EPS)[0]
    y.sum().backward()
    torch.testing.assert_close(bias.grad, (1 - y * y).sum((0, 2, 3)).detach())
    assert x.grad is None and weight.grad is None


def test_saves_input_output_and_what_is_small() -> None:
    tensors = leaves(operands((2, 16, 9, 9)))
    saved: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: (saved.append(t), t)[1], lambda t: t):
        y = NormTanh.apply(*tensors, EPS)[0]
    large = {t.untyped_storage().data_ptr() for t in saved if t.numel() > 100}
    assert large == {tensors[0].untyped_storage().data_ptr(), y.untyped_storage().data_ptr()}


@pytest.mark.parametrize("affine", [True, False])
def test_gradients_by_the_formula(affine: bool) -> None:
    """What is differentiated again is what was computed."""
    tensors = leaves(operands((2, 3, 4, 5), affine=affine), torch.float64)
    grad = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    truth = torch.autograd.grad(plain(*tensors), given(tensors), grad)
    got = norm_tanh._gradients(grad, *tensors, EPS)
    for mine, want in zip(got, truth, strict=False):
        torch.testing.assert_close(mine, want, rtol=1e-10, atol=1e-12)


def test_second_derivatives() -> None:
    tensors = operands((2, 3, 4, 5))
    grads = []
    for function in (lambda *t: NormTanh.apply(*t, EPS)[0], plain):
        own = leaves(tensors)
        first = torch.autograd.grad(function(*own).square().sum(), own, create_graph=True)
        grads.append(torch.autograd.grad(sum(g.square().sum() for g in first), own))
    for got, want in zip(*grads, strict=True):
        assert error_ratio(got, want) < 1e-4


def test_several_gradients_at_once() -> None:
    tensors, several = leaves(operands((2, 3, 4, 5))), torch.randn(4, 2, 3, 4, 5)
    y = NormTanh.apply(*tensors, EPS)[0]
    got = torch.autograd.grad(y, tensors, several, is_grads_batched=True, retain_graph=True)
    for i, grad in enumerate(several):
        for mine, want in zip(got, torch.autograd.grad(y, tensors, grad, retain_graph=True), strict=True):
            torch.testing.assert_close(mine[i], want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format], ids=str)
def test_opcheck(affine: bool, layout: Any) -> None:
    x, weight, bias = operands((2, 3, 4, 5), affine=affine)
    x = x.contiguous(memory_format=layout)
    y, mean, var = FORWARD(x, weight, bias, EPS)
    checks = ("test_schema", "test_faketensor")
    opcheck(FORWARD, (x, weight, bias, EPS), test_utils=checks)
    opcheck(BACKWARD, (torch.randn_like(y), x, y, weight, mean, var, EPS), test_utils=checks)
