"""Passes of the CPU backend for images of few channels, whose own gradient is seldom asked for."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from acda import adaptive_conv2d
from acda.ops.cpu import few_channels
from tests.support import oracle
from tests.support.oracle import Geometry, error_ratio
from tests.support.problems import Arguments, random_problem

GEOMETRY = Geometry(stride=(2, 1), padding=(2, 3), dilation=(1, 2))


def problem(
    channels: int = 3, dtype: torch.dtype = torch.float32, num_bases: int = 12, size: tuple[int, int] = (11, 9)
) -> Arguments:
    return random_problem(
        images=2, in_channels=channels, out_channels=10, num_atoms=5, num_bases=num_bases, kernel_size=5, size=size,
        geometry=GEOMETRY, dtype=dtype,
    )  # fmt: skip


def gradients(y: Tensor, tensors: list[Tensor]) -> list[Tensor]:
    grad = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).to(y.dtype)
    return list(torch.autograd.grad(y, tensors, grad))


@pytest.mark.parametrize("asked", [(1,), (3,), (1, 3), (0, 3), (1, 2, 3, 4), (0, 1, 2, 3, 4)], ids=str)
@pytest.mark.parametrize(("channels", "num_bases"), [(1, 12), (3, 12), (3, 7), (8, 17)])
def test_whatever_is_asked_for(asked: tuple[int, ...], channels: int, num_bases: int, poisoned_memory: None) -> None:
    """Gradients of x, coefficients, bases, weight and bias, some of them."""
    arguments = problem(channels, torch.float32, num_bases)
    tensors = [t.requires_grad_(i in asked) for i, t in enumerate(arguments.tensors)]
    wanted = [tensors[i] for i in asked]
    truth = oracle.adaptive_conv2d(*tensors, arguments.geometry)
    y = adaptive_conv2d(*arguments, backend="cpu")
    assert error_ratio(y, truth) < 1e-5
    for got, want in zip(gradients(y, wanted), gradients(truth, wanted), strict=True):
        assert error_ratio(got, want) < 1e-5


def test_these_passes_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    run = few_channels._run
    monkeypatch.setattr(few_channels, "_run", lambda *others: (calls.append(others), run(*others))[1])
    for channels, number in ((8, 2), (9, 0)):
        arguments = problem(channels)
        arguments.weight.requires_grad_()
        adaptive_conv2d(*arguments, backend="cpu").sum().backward()
        assert len(calls) == number
        calls.clear()


@pytest.fixture
def several_threads() -> Iterator[None]:
    yield
    torch.set_num_threads(1)


def test_the_same_bits_twice_and_with_any_number_of_threads(several_threads: None) -> None:
    arguments = problem(size=(51, 49))
    wanted = [t.requires_grad_() for t in (arguments.coefficients, arguments.weight)]
    outcomes = []
    for threads in (1, 1, 2, 3):
        torch.set_num_threads(threads)
        y = adaptive_conv2d(*arguments, backend="cpu")
        outcomes.append([y, *gradients(y, wanted)])
    for outcome in outcomes[1:]:
        assert all(torch.equal(a, b) for a, b in zip(outcome, outcomes[0], strict=True))


@pytest.mark.parametrize("layout", ["contiguous", "expanded"])
def test_coefficients_of_any_layout(layout: str) -> None:
    arguments = problem(dtype=torch.float64)
    given = arguments.coefficients.contiguous()
    given = given if layout == "contiguous" else given[:1, :, :, :1, :1].expand_as(given)
    tensors = [
        t.detach().requires_grad_(i in (1, 3)) for i, t in enumerate(arguments._replace(coefficients=given).tensors)
    ]
    wanted = [tensors[1], tensors[3]]
    truth = oracle.adaptive_conv2d(*tensors, arguments.geometry)
    y = adaptive_conv2d(*tensors, *arguments[5:], backend="cpu")
    torch.testing.assert_close(y, truth, rtol=1e-11, atol=1e-11)
    for got, want in zip(gradients(y, wanted), gradients(truth, wanted), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-11, atol=1e-11)
