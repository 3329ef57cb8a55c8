"""The public operator: checks its arguments, chooses a backend, runs it."""

import logging
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from acda.ops import basis_first, reference
from acda.ops.cpu import backend as cpu
from acda.ops.geometry import Geometry, IntOrPair, odd_square
from acda.ops.gpu import backend as gpu
from acda.ops.gpu import requirements
from acda.ops.layout import any_channels_last, lay_out
from acda.ops.problem import Problem
from acda.ops.registration import Forward, register
from acda.ops.tracing import untraced

_log = logging.getLogger(__name__)


class _Backend(NamedTuple):
    operator: Forward
    cannot_run: Callable[[Tensor], str | None]
    slower: Callable[[Problem], str | None] = lambda problem: None


# Fastest first: "auto" takes the first that can run and is not slower than those that follow.
_BACKENDS = {
    "cpu": _Backend(register("cpu", cpu.forward, cpu.backward), cpu.cannot_run),
    "triton": _Backend(register("triton", gpu.forward, gpu.backward), requirements.cannot_run),
    "basis_first": _Backend(
        register("basis_first", basis_first.forward, basis_first.backward), basis_first.cannot_run, basis_first.slower
    ),
    "reference": _Backend(register("reference", reference.forward, reference.backward), reference.cannot_run),
}
_logged: set[str] = set()


def check_backend(backend: str) -> None:
    """Refuse the name of a backend that there is not.

    Raises:
        ValueError: With the names that there are.
    """
    if backend != "auto" and backend not in _BACKENDS:
        raise ValueError(f"backend must be 'auto' or one of {sorted(_BACKENDS)}, got {backend!r}")


def _choose(backend: str, problem: Problem) -> Forward:
    check_backend(backend)
    if backend == "auto":
        for name, candidate in _BACKENDS.items():
            reason = candidate.cannot_run(problem.x) or candidate.slower(problem)
            if name not in _logged and not torch.compiler.is_compiling():
                _logged.add(name)
                _log.debug(
                    "adaptive_conv2d: backend %s %s", name, "runs" if reason is None else f"does not run: {reason}"
                )
            if reason is None:
                return candidate.operator
    reason = _BACKENDS[backend].cannot_run(problem.x)
    if reason is not None:
        raise RuntimeError(f"backend={backend!r} cannot run: {reason}")
    return _BACKENDS[backend].operator


def _check(
    x: Tensor,
    coefficients: Tensor,
    bases: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    windows: tuple[IntOrPair, IntOrPair | str, IntOrPair],
    groups: int,
) -> Problem:
    ranks = {"x": (x, 4), "coefficients": (coefficients, 5), "bases": (bases, 3), "weight": (weight, 3)}
    for name, (tensor, rank) in ranks.items():
        if tensor.dim() != rank:
            raise ValueError(f"{name} must have {rank} dimensions, got shape {tuple(tensor.shape)}")
        if tensor.dtype != x.dtype or not tensor.is_floating_point():
            raise TypeError(f"{name} must be floating and of x's dtype {x.dtype}, got {tensor.dtype}")
        if tensor.device != x.device:
            raise ValueError(f"{name} must be on x's device {x.device}, got {tensor.device}")
    channels, out_channels = x.shape[1], weight.shape[0]
    if groups < 1 or channels % groups or out_channels % groups:
        raise ValueError(f"groups must divide the {channels} channels in and the {out_channels} out, got {groups}")
    if weight.shape[1] * groups != channels:
        raise ValueError(
            f"x must have {weight.shape[1] * groups} channels (weight.shape[1] × groups), got shape {tuple(x.shape)}"
        )
    if bias is not None and (bias.shape != (out_channels,) or bias.dtype != x.dtype or bias.device != x.device):
        raise ValueError(
            f"bias must have shape ({out_channels},), dtype {x.dtype} and device {x.device}, "
            f"got {tuple(bias.shape)}, {bias.dtype} and {bias.device}"
        )
    geometry = Geometry.of(odd_square(bases.shape[1:]), *windows)
    expected = (x.shape[0], weight.shape[2], bases.shape[0], *geometry.output_size(x.shape[2], x.shape[3]))
    if coefficients.shape != expected:
        raise ValueError(f"coefficients must have shape {expected}, got {tuple(coefficients.shape)}")
    return Problem(x, coefficients, bases, weight, bias, geometry, int(groups))


def adaptive_conv2d(
    x: Tensor,
    coefficients: Tensor,
    bases: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: IntOrPair = 1,
    padding: IntOrPair | str = 0,
    dilation: IntOrPair = 1,
    groups: int = 1,
    *,
    backend: str = "auto",
) -> Tensor:
    """Convolve with a filter of its own at every pixel, composed of few atoms over prefixed bases.

    At output pixel p the atoms are ``D[b] = Σ_k coefficients[b, k, p] · bases[k]`` and the filter is
    ``K[o, c] = Σ_b weight[o, c, b] · D[b]``; the filter is never formed (paper equations 5 and 6). Like
    :func:`torch.nn.functional.conv2d` this is a cross-correlation with zero padding. Under autocast it computes in
    the active dtype. It can be differentiated any number of times, in reverse and in forward mode, and under
    :mod:`torch.func`'s transforms; where it is compiled, once and in reverse mode, and these run uncompiled. Gradients
    repeat bit for bit.

    Args:
        x: Input ``[N, C, H, W]``.
        coefficients: Basis coefficients α at each output pixel, ``[N, m, K, H_out, W_out]``.
        bases: Bases ψ, ``[K, l, l]``, l odd.
        weight: Compositional coefficients A, ``[O, C / groups, m]``.
        bias: ``[O]``, or None.
        stride: Pixels between windows.
        padding: Zeros on each side, ``"same"`` (stride 1) or ``"valid"``.
        dilation: Pixels between taps.
        groups: Groups of channels; the atoms are shared by all of them.
        backend: ``"auto"`` for the fastest that can run, or a name: ``"cpu"`` (loops compiled by numba), ``"triton"``
            (an NVIDIA GPU), ``"reference"`` or ``"basis_first"`` (both plain PyTorch, anywhere).

    Returns:
        Output ``[N, O, H_out, W_out]`` with ``H_out = ⌊(H + 2·padding − dilation·(l−1) − 1) / stride⌋ + 1``, in memory
        channels last where ``x`` is, else contiguous.

    Raises:
        ValueError: If shapes or devices do not fit together; the message names the argument.
        TypeError: If dtypes differ.
        RuntimeError: If a backend was named that cannot run.

    Reference:
        Paper section 3.2.
    """
    device = x.device.type
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device) and x.dtype != torch.float64:
        dtype = torch.get_autocast_dtype(device)
        x, coefficients, bases, weight = (t.to(dtype) for t in (x, coefficients, bases, weight))
        bias = None if bias is None else bias.to(dtype)
    problem = untraced(_check, x, coefficients, bases, weight, bias, (stride, padding, dilation), groups)
    return lay_out(_choose(backend, problem)(problem), any_channels_last(x))
