"""Winograd's algorithm against convolutions in float64, and where it is not taken."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from acda.ops import winograd
from acda.ops.winograd import Convolution3x3, can_run
from tests.support.oracle import error_ratio

# Images, channels in and out, rows and columns, padding: tiles whole and not, vectors whole and not, runs of tiles.
SHAPES = [
    (1, 16, 16, 1, 1, (1, 1)),
    (2, 17, 36, 5, 9, (1, 1)),
    (1, 64, 72, 13, 8, (0, 2)),
    (3, 20, 30, 4, 70, (3, 0)),
    (2, 6, 1, 102, 101, (1, 1)),
]


def operands(images: int, channels: int, out: int, rows: int, columns: int) -> tuple[Tensor, Tensor]:
    x = torch.randn(images, channels, rows, columns).contiguous(memory_format=torch.channels_last)
    return x.requires_grad_(), torch.randn(out, channels, 3, 3, requires_grad=True)


def plain(x: Tensor, weight: Tensor, padding: tuple[int, int]) -> Tensor:
    return F.conv2d(x, weight, padding=padding)


def results(x: Tensor, weight: Tensor, padding: tuple[int, int] = (1, 1)) -> list[Tensor]:
    y = Convolution3x3.apply(x, weight, padding)
    grad = torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
    return [y.detach(), *torch.autograd.grad(y, (x, weight), grad)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_against_float64(shape: tuple[Any, ...], poisoned_memory: None) -> None:
    *sizes, padding = shape
    x, weight = operands(*sizes)
    exact = [t.detach().double().requires_grad_() for t in (x, weight)]
    truth = plain(*exact, padding)
    grad = torch.randn(truth.shape, generator=torch.Generator().manual_seed(1))
    expected = [truth, *torch.autograd.grad(truth, exact, grad.double())]
    for got, want in zip(results(x, weight, padding), expected, strict=True):
        assert got.shape == want.shape
        assert error_ratio(got, want) < 1e-5


@pytest.fixture
def several_threads() -> Iterator[None]:
    yield
    torch.set_num_threads(1)


def test_the_same_bits_twice_and_with_any_number_of_threads(several_threads: None) -> None:
    x, weight = operands(3, 16, 16, 90, 99)  # sums in several parts
    first = results(x, weight)
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        assert all(torch.equal(a, b) for a, b in zip(results(x, weight), first, strict=True))


def test_nan_reaches_no_more_than_tiles_that_read_it() -> None:
    x, weight = operands(1, 16, 16, 16, 16)
    x.data[0, 3, 8, 3] = torch.nan  # read by rows 7 to 9 and columns 2 to 4; tiles begin at 4, 8 and 0, 4
    expected = torch.zeros(16, 16, dtype=torch.bool)
    expected[7:12, 0:5] = True  # of a tile that reads it at its patch's border, only what does
    assert torch.equal(results(x, weight)[0].isnan(), expected.expand(1, 16, 16, 16))


@pytest.mark.parametrize("layout", ["contiguous", "expanded"])
def test_gradients_of_any_layout(layout: str) -> None:
    x, weight = operands(2, 16, 16, 6, 7)
    grad = torch.randn(2, 16, 6, 7)
    grad = grad if layout == "contiguous" else grad[:1, :, :1, :1].expand(2, 16, 6, 7)
    truth = torch.autograd.grad(plain(x, weight, (1, 1)), (x, weight), grad)
    got = torch.autograd.grad(Convolution3x3.apply(x, weight, (1, 1)), (x, weight), grad)
    for mine, want in zip(got, truth, strict=True):
        assert error_ratio(mine, want) < 1e-5


@pytest.mark.parametrize("asked", [0, 1])
def test_only_what_is_asked_for(asked: int) -> None:
    tensors = operands(2, 16, 16, 6, 7)
    truth = torch.autograd.grad(plain(*tensors, (1, 1)).square().sum(), tensors[asked])[0]
    tensors[1 - asked].requires_grad_(False)
    Convolution3x3.apply(*tensors, (1, 1)).square().sum().backward()
    assert tensors[1 - asked].grad is None
    assert tensors[asked].grad is not None and error_ratio(tensors[asked].grad, truth) < 1e-5


def test_second_derivatives() -> None:
    grads = []
    tensors = operands(2, 16, 16, 5, 4)
    for function in (Convolution3x3.apply, plain):
        first = torch.autograd.grad(function(*tensors, (1, 1)).square().sum(), tensors, create_graph=True)
        grads.append(torch.autograd.grad(sum(g.square().sum() for g in first), tensors))
    for got, want in zip(*grads, strict=True):
        assert error_ratio(got, want) < 1e-4


def test_several_gradients_at_once() -> None:
    tensors, several = operands(2, 16, 16, 4, 5), torch.randn(3, 2, 16, 4, 5)
    y = Convolution3x3.apply(*tensors, (1, 1))
    got = torch.autograd.grad(y, tensors, several, is_grads_batched=True, retain_graph=True)
    for i, grad in enumerate(several):
        for mine, want in zip(got, torch.autograd.grad(y, tensors, grad, retain_graph=True), strict=True):
            assert error_ratio(mine[i], want) < 1e-5


CHANGES: dict[str, Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]] = {
    "float64": lambda x, weight: (x.double(), weight.double()),
    "bfloat16": lambda x, weight: (x.bfloat16(), weight.bfloat16()),
    "contiguous": lambda x, weight: (x.contiguous(), weight),
    "strided": lambda x, weight: (x[..., ::2], weight),
    "no images": lambda x, weight: (x[:0], weight),
    "few channels": lambda x, weight: (x[:, :4].contiguous(memory_format=torch.channels_last), weight[:, :4]),
    "of other channels": lambda x, weight: (x, weight[:, 1:]),
    "small": lambda x, weight: (x[:, :, :4, :4].contiguous(memory_format=torch.channels_last), weight),
    "thin": lambda x, weight: (x.view(1, 64, 1, -1).contiguous(memory_format=torch.channels_last), weight),
    "5×5": lambda x, weight: (x, F.pad(weight, (1, 1, 1, 1))),
    "meta": lambda x, weight: (x.to("meta"), weight.to("meta")),
}


def large() -> tuple[Tensor, Tensor]:
    x, weight = operands(1, 64, 36, 32, 32)
    return x.detach(), weight.detach()


@pytest.mark.parametrize("name", CHANGES)
def test_others_are_left_to_pytorch(name: str) -> None:
    assert can_run(*large(), (1, 1))
    assert not can_run(*CHANGES[name](*large()), (1, 1))


def test_nobody_looks_on() -> None:
    """Autocast computes in another type, a counter of flops counts those of the plain convolution."""
    x, weight = large()
    assert can_run(x, weight, (1, 1))
    for mode in (torch.autocast("cpu", torch.bfloat16), FlopCounterMode(display=False)):
        with mode:
            assert not can_run(x, weight, (1, 1))
    taken: list[bool] = []
    torch.func.vmap(lambda x: (taken.append(can_run(x, weight, (1, 1))), x)[1])(x[None])
    assert taken == [False]


def test_as_small_as_it_is_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    x, weight = large()
    monkeypatch.setattr(winograd, "_LEAST_PRODUCTS", 9 * 64 * 36 * 32 * 32 + 1)
    assert not can_run(x, weight, (1, 1))
