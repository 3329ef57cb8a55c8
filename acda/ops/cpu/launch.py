"""The CPU backend: loops that numba compiles, by passes for narrow layers and for wide ones."""

from functools import cache

import torch
from torch import Tensor

from acda.ops import blocked
from acda.ops.cpu import whole
from acda.ops.cpu.kernels import HALVES, Kernels
from acda.ops.geometry import Geometry

_KERNELS = Kernels()


@cache
def _import_numba() -> str | None:
    try:
        import numba  # noqa: F401
    except ImportError as error:
        return f"numba cannot be imported ({error})"
    return None


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _no_numba() -> str | None:
    return _import_numba()


def cannot_run(x: Tensor) -> str | None:
    """Why the compiled loops cannot take this input, or None if they can."""
    if x.device.type != "cpu":
        return f"it is for the CPU, x is on {x.device}"
    if x.dtype not in (torch.float32, torch.float64, *HALVES):
        return f"it computes in float32 and float64, x is {x.dtype}"
    reason: str | None = _no_numba()
    return reason


def forward(
    x: Tensor,
    coefficients: Tensor,
    bases: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    geometry: Geometry,
    groups: int,
) -> Tensor:
    """Adaptive convolution; arguments and result as in :func:`acda.ops.reference.forward`."""
    passes = whole.forward if whole.can_run(x, weight, groups) else blocked.forward
    return passes(_KERNELS, x, coefficients, bases, weight, bias, geometry, groups)


def backward(
    grad: Tensor,
    x: Tensor,
    coefficients: Tensor,
    bases: Tensor,
    weight: Tensor,
    geometry: Geometry,
    groups: int,
    needs: list[bool],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of :func:`forward`; arguments and result as in :func:`acda.ops.reference.backward`."""
    passes = whole.backward if whole.can_run(x, weight, groups) else blocked.backward
    return passes(_KERNELS, grad, x, coefficients, bases, weight, geometry, groups, needs)
