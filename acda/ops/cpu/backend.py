"""The CPU backend: loops that numba compiles, by passes for narrow layers and for wide ones."""

from functools import cache

import torch
from torch import Tensor

from acda.ops import matrix_products
from acda.ops.after_import import constant_to_compilers
from acda.ops.cpu import fused
from acda.ops.cpu.pointers import HALVES, KERNELS
from acda.ops.problem import Gradients, Needs, Problem


@cache
def _import_numba() -> str | None:
    try:
        import numba  # noqa: F401
    except ImportError as error:
        return f"numba cannot be imported ({error})"
    return None


@constant_to_compilers
def _no_numba() -> str | None:
    return _import_numba()


def cannot_run(x: Tensor) -> str | None:
    """Why the compiled loops cannot take this input, or None if they can."""
    if x.device.type != "cpu":
        return f"it is for the CPU, x is on {x.device}"
    if x.dtype not in (torch.float32, torch.float64, *HALVES):
        return f"it computes in float32 and float64, x is {x.dtype}"
    return _no_numba()


def forward(problem: Problem) -> Tensor:
    """Compute the output, ``[N, O, H_out, W_out]``, channels last in memory."""
    return fused.forward(problem) if fused.can_run(problem) else matrix_products.forward(KERNELS, problem)


def backward(grad: Tensor, problem: Problem, needs: Needs) -> Gradients:
    """Compute the gradients of :func:`forward` from that of its output, ``[N, O, H_out, W_out]``."""
    if fused.can_run(problem):
        return fused.backward(grad, problem, needs)
    return matrix_products.backward(KERNELS, grad, problem, needs)
