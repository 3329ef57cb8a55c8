"""Rival forms and the truth against the pixel-by-pixel oracle of the operator's own tests."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.speed import forms
from benchmarks.speed.forms import (
    Form,
    Shape,
    basis_first,
    dense,
    published,
    random_problem,
    truth,
    verdict,
    worst_error,
)
from tests.support import oracle
from tests.support import problems as oracle_problems

SHAPE = Shape(2, 3, 6, 7, 5)


def with_gradients(y: Tensor, problem: oracle_problems.Arguments) -> list[Tensor]:
    grad = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view(y.shape)
    x, coefficients, _, weight, bias = problem.tensors
    return [y, *torch.autograd.grad(y, [x, coefficients, weight, bias], grad)]


@pytest.mark.parametrize("kernel_size", [3, 7])
@pytest.mark.parametrize("form", [published, basis_first])
def test_forms_are_the_operator(form: Form, kernel_size: int) -> None:
    problem = oracle_problems.random_problem(kernel_size=kernel_size, num_bases=4).requiring_grad()
    expected = oracle.adaptive_conv2d(*problem.tensors, problem.geometry)
    y = form(*problem.tensors, kernel_size // 2)
    for value, true in zip(with_gradients(y, problem), with_gradients(expected, problem), strict=True):
        torch.testing.assert_close(value, true)


def test_published_form_with_stride() -> None:
    problem = oracle_problems.random_problem(geometry=oracle.Geometry(stride=2, padding=1))
    expected = oracle.adaptive_conv2d(*problem.tensors, problem.geometry)
    torch.testing.assert_close(published(*problem.tensors, 1, stride=2), expected)


@pytest.mark.parametrize("strip", [1, 2 * 3 * 7 * 25, 10**6])
def test_truth_is_the_oracle(strip: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forms, "_STRIP_ELEMENTS", strip)
    problem = random_problem(SHAPE, torch.float32, torch.device("cpu"))
    exact = problem.x, problem.coefficients, problem.bases, problem.weight, problem.bias
    y = oracle.adaptive_conv2d(*exact, oracle.Geometry(padding=2))
    gradients = torch.autograd.grad(y, list(problem.leaves.values()), problem.grad.double())
    found = truth(published, problem)
    assert list(found) == ["y", *problem.leaves]
    for value, true in zip(found.values(), [y.detach(), *gradients], strict=True):
        torch.testing.assert_close(value.float(), true.float(), rtol=1e-5, atol=1e-6)
        assert value.dtype == torch.float64


def test_truth_of_the_plain_convolution() -> None:
    problem = random_problem(SHAPE, torch.float64, torch.device("cpu"), dense=True)
    y = F.conv2d(problem.x, problem.weight, problem.bias, padding=2)
    gradients = torch.autograd.grad(y, [problem.x, problem.weight, problem.bias], problem.grad)
    found = truth(dense, problem)
    assert list(found) == ["y", "x", "weight", "bias"]
    for value, true in zip(found.values(), [y.detach(), *gradients], strict=True):
        torch.testing.assert_close(value, true)


def test_layout_does_not_change_the_numbers() -> None:
    one, other = (
        random_problem(SHAPE, torch.float32, torch.device("cpu"), channels_last=channels_last)
        for channels_last in (True, False)
    )
    assert one.x.is_contiguous(memory_format=torch.channels_last) and other.x.is_contiguous()
    for a, b in zip((*one.leaves.values(), one.grad), (*other.leaves.values(), other.grad), strict=True):
        assert torch.equal(a, b)
    y = one.forward(published)
    assert 0.1 < float(y.std()) < 10


def test_worst_error_names_the_quantity() -> None:
    true = {"y": torch.ones(4, dtype=torch.float64), "x": torch.ones(4, dtype=torch.float64)}
    close, far = torch.full((4,), 1.000001), torch.full((4,), 1.1)
    assert verdict({"y": close, "x": close}, true, torch.float32) == "ok"
    assert verdict({"y": close, "x": far}, true, torch.float32) == "wrong: gradient of x is off by 0.1, allowed 1e-05"
    assert worst_error({"y": torch.full((4,), math.nan), "x": far}, true) == (math.inf, "y")


def test_shapes() -> None:
    shape = Shape.parse("32x256x100x80x7")
    assert shape == (32, 256, 100, 80, 7) and str(shape) == "32x256x100x80x7"
    assert shape.patch_elements == 32 * 256 * 100 * 80 * 49
    for text in ("1x2x3", "1x2x3x4x6", "1x0x3x4x5"):
        with pytest.raises(ValueError, match="a shape is NxCxHxWxl"):
            Shape.parse(text)


@pytest.mark.parametrize("shape", [Shape(1, 64, 1024, 1024, 7), Shape(32, 256, 100, 100, 7), Shape(1, 8, 9, 9, 3)])
def test_size_of_the_check_is_bounded(shape: Shape) -> None:
    checked = shape.to_check(torch.device("cpu"))
    assert checked.patch_elements <= 2**26
    assert (checked.channels, checked.kernel_size) == (shape.channels, shape.kernel_size)
    assert checked == shape or 4 * checked.patch_elements > 2**26
