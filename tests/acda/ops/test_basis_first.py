"""The form that convolves with the bases first: the same numbers, a few images at a time."""

import pytest
import torch

from acda import adaptive_conv2d
from acda.ops import basis_first
from tests.support import oracle
from tests.support.oracle import Geometry
from tests.support.problems import random_problem

PROBLEMS = {
    "plain": {"kernel_size": 5, "images": 3},
    "strided": {"geometry": Geometry((2, 1), (1, 2), (1, 2)), "size": (5, 7), "images": 3},
    "grouped": {"groups": 2, "in_channels": 4, "images": 2},
    "one pixel": {"images": 1, "size": (1, 1), "kernel_size": 5},
}


@pytest.mark.parametrize("elements", [1, basis_first._ELEMENTS], ids=["image by image", "at once"])
@pytest.mark.parametrize("problem", PROBLEMS)
def test_output_and_gradients_are_those_by_definition(
    problem: str, elements: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(basis_first, "_ELEMENTS", elements)
    p = random_problem(**PROBLEMS[problem]).requiring_grad()
    truth = oracle.adaptive_conv2d(*p.tensors, p.geometry)
    grad = torch.randn(truth.shape, generator=torch.Generator().manual_seed(1)).to(truth)
    y = adaptive_conv2d(*p, backend="basis_first")
    torch.testing.assert_close(y, truth)
    got, want = (torch.autograd.grad(result, p.tensors, grad) for result in (y, truth))
    for one, other in zip(got, want, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("position", range(4))
def test_gradients_of_one_operand_alone(position: int) -> None:
    p = random_problem()
    tensors = [t.requires_grad_(i == position) for i, t in enumerate(p.tensors)]
    truth = oracle.adaptive_conv2d(*tensors, p.geometry)
    y = adaptive_conv2d(*tensors, *p[5:], backend="basis_first")
    got, want = (torch.autograd.grad(result.square().sum(), tensors[position]) for result in (y, truth))
    torch.testing.assert_close(got, want)


def test_no_images() -> None:
    p = random_problem(images=0).requiring_grad()
    y = adaptive_conv2d(*p, backend="basis_first")
    assert y.shape == (0, 4, 5, 6)
    grads = torch.autograd.grad(y.sum(), p.tensors)
    assert [grad.shape for grad in grads] == [tensor.shape for tensor in p.tensors]
    assert not any(grad.any() for grad in grads)


@pytest.mark.slow
def test_operator_keeps_its_promises_to_compilers() -> None:
    p = random_problem(dtype=torch.float32).requiring_grad()
    arguments = (*p.tensors, [p.stride] * 2, [p.padding] * 2, [p.dilation] * 2, p.groups)
    torch.library.opcheck(torch.ops.acda.basis_first.default, arguments)
