"""Whether a layer and a naive form of it, with the same parameters, agree in value and in every gradient."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from tests.support.noise import noisy
from tests.support.oracle import error_ratio

# Sizes of input and window by which a mistake in alignment shows: odd sides, strides, less and more padding than half.
GEOMETRIES: list[dict[str, Any]] = [
    {"kernel_size": 3, "padding": 1},
    {"kernel_size": 3, "stride": 2, "padding": 1, "bias": False},
    {"kernel_size": 5, "stride": (1, 2), "padding": (1, 3)},
    {"kernel_size": 5, "stride": (3, 2)},
]
SIZE = (9, 8)


def made(layer: type[nn.Module], *arguments: Any, **options: Any) -> Any:
    """Make a layer in float64, with noise on all parameters."""
    return noisy(layer(*arguments, dtype=torch.float64, **options), std=0.3)


def assert_agrees(layer: nn.Module, naive: Callable[[Any, Tensor], Tensor], x: Tensor, within: float = 1e-10) -> None:
    """Compare ``layer(x)`` with ``naive(layer, x)``, and the gradients of x and of every parameter."""
    x = x.clone().requires_grad_()
    names, parameters = zip(*layer.named_parameters(), strict=True)
    y, truth = layer(x), naive(layer, x)
    assert y.shape == truth.shape
    assert error_ratio(y, truth) < within
    cotangent = torch.randn_like(truth)
    got = torch.autograd.grad(y, (x, *parameters), cotangent)
    wanted = torch.autograd.grad(truth, (x, *parameters), cotangent)
    for name, ours, theirs in zip(("x", *names), got, wanted, strict=True):
        assert theirs.abs().sum() > 0, name
        assert error_ratio(ours, theirs) < within, name


def batch_norm(x: Tensor, norm: nn.BatchNorm2d) -> Tensor:
    """BatchNorm in training, by its definition."""
    mean, variance = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), keepdim=True, unbiased=False)
    return (x - mean) / (variance + norm.eps).sqrt() * norm.weight.view(-1, 1, 1) + norm.bias.view(-1, 1, 1)


def pixel(x: Tensor, row: int, column: int) -> Tensor:
    """``x[:, :, row, column]``, zero beyond the image."""
    inside = 0 <= row < x.shape[2] and 0 <= column < x.shape[3]
    return x[:, :, row, column] if inside else torch.zeros_like(x[:, :, 0, 0])


def centres(layer: Any, x: Tensor) -> list[list[tuple[int, int]]]:
    """Row and column of the input in the middle of each output pixel's window, by rows."""
    half = layer.kernel_size[0] // 2
    rows, columns = (
        range(half - p, n + p - half, s) for n, p, s in zip(x.shape[2:], layer.padding, layer.stride, strict=True)
    )
    return [[(row, column) for column in columns] for row in rows]


def by_pixel(layer: Any, x: Tensor, at: Callable[[int, int], Tensor]) -> Tensor:
    """``at(row, column)`` ``[N, …]`` of every window's centre, as ``[N, …, H_out, W_out]``."""
    return torch.stack([torch.stack([at(*c) for c in row], -1) for row in centres(layer, x)], -2)
