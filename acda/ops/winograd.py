"""Convolutions of 3×3 taps by Winograd's algorithm on the CPU, where that is faster than oneDNN's."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch._C._functorch import is_legacy_batchedtensor
from torch.utils._python_dispatch import _get_current_dispatch_mode

from acda.ops.cpu import backend, winograd
from acda.ops.tracing import is_transformed, runs_plainly

_LEAST_CHANNELS = 16
_LEAST_PRODUCTS = 20_000_000  # multiply-adds of the plain convolution; below some 10 million a call costs too much


def can_run(x: Tensor, weight: Tensor, padding: Sequence[int]) -> bool:
    """Tell whether the algorithm takes these, and is faster than PyTorch's convolution.

    It is not for compilers, forward mode, :mod:`torch.func`'s transforms or modes that look at what is called.

    Args:
        x: ``[N, C, H, W]``.
        weight: ``[O, C, 3, 3]``.
        padding: Zeros above and below, left and right.
    """
    if not runs_plainly(x, weight) or _get_current_dispatch_mode() is not None:
        return False  # before anything is asked of sizes, which may stand for any
    if x.dim() != 4 or weight.shape[2:] != (3, 3) or x.shape[1] != weight.shape[1]:
        return False
    rows, columns = (size + 2 * p - 2 for size, p in zip(x.shape[2:], padding, strict=True))
    if min(rows, columns, *weight.shape[:2]) < 1:
        return False
    tiles = len(x) * winograd.tiles(rows) * winograd.tiles(columns)
    return (
        min(weight.shape[:2]) >= _LEAST_CHANNELS
        and 9 * weight.shape[0] * weight.shape[1] * len(x) * rows * columns >= _LEAST_PRODUCTS
        and len(x) * rows * columns >= 9 * tiles  # of 16 results that a tile has
        and x.dtype == weight.dtype == torch.float32
        and x.device == weight.device
        and not torch.is_autocast_enabled("cpu")
        and x.is_contiguous(memory_format=torch.channels_last)
        and backend.cannot_run(x) is None
    )


class Convolution3x3(torch.autograd.Function):
    """``F.conv2d(x, weight, padding=padding)``, of float32 ``[N, C, H, W]``, channels last, and ``[O, C, 3, 3]``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, padding: tuple[int, int]) -> Tensor:
        """Compute the output."""
        ctx.save_for_backward(x, weight)
        ctx.set_materialize_grads(False)
        ctx.padding = padding
        return winograd.convolve(x, weight, padding)

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None) -> tuple[Tensor | None, ...]:
        """Compute the gradients; those that are to be differentiated again, or are several at once, by PyTorch."""
        needs_x, needs_weight, _ = ctx.needs_input_grad
        if grad is None:
            return None, None, None
        x, weight = ctx.saved_tensors
        if torch.is_grad_enabled() or is_transformed() or is_legacy_batchedtensor(grad):
            geometry = ([1, 1], ctx.padding, [1, 1], False, [0, 0], 1)
            needs = [needs_x, needs_weight, False]
            grads = torch.ops.aten.convolution_backward(grad, x, weight, None, *geometry, needs)
            return grads[0], grads[1], None
        grad = grad.contiguous(memory_format=torch.channels_last)
        around = (2 - ctx.padding[0], 2 - ctx.padding[1])
        grad_x = winograd.convolve(grad, weight.flip(2, 3).transpose(0, 1), around) if needs_x else None
        return grad_x, winograd.grad_weight(grad, x, ctx.padding) if needs_weight else None, None
