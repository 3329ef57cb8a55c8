"""Batch norm and tanh of images on the CPU, in float32, with each tensor read and written as seldom as can be.

The statistics are taken in one pass, the second applies them and tanh; so it is backward. Sums are taken chunk by
chunk, of chunks that fit into a core's cache, and put together in float64 and in order: they are right however far the
mean is from zero, and the same for any number of threads.
"""

import struct
from math import ceil, lcm
from typing import NamedTuple

import torch
from torch import Tensor

from acda.ops.cpu.threads import num_threads, run

_CHUNK_BYTES = 2**19
_LEAST_ROWS = 16  # in a chunk: its own sums are small beside it
_LEAST_ELEMENTS = 256  # in a row: sums kept in memory are ready again when the next row wants them
_Numbers = tuple[int, int]  # address, and bytes from one chunk to the next
_NONE: _Numbers = (0, 0)


class _Rows(NamedTuple):
    """How images are cut into rows and chunks."""

    elements: int
    row: int
    rows: int
    channels: int
    chunks: int

    @classmethod
    def of(cls, x: Tensor) -> "_Rows":
        from acda.ops.cpu.norm_tanh_loops import lanes_of_sweep

        elements, channels = x.numel(), x.shape[1]
        row = lcm(channels, lanes_of_sweep())
        row *= ceil(_LEAST_ELEMENTS / row)
        rows = max(_LEAST_ROWS, _CHUNK_BYTES // (row * x.element_size()))
        return cls(elements, row, rows, channels, ceil(elements / (rows * row)))

    def numbers(self, tensor: Tensor) -> list[_Numbers]:
        """Where the numbers of ``[numbers, row]``, which chunks share, or of ``[chunks, numbers, row]`` are."""
        first, size = tensor.data_ptr(), self.row * tensor.element_size()
        of_chunk = tensor.shape[1] * size if tensor.dim() == 3 else 0
        return [(first + i * size, of_chunk) for i in range(tensor.shape[-2])]

    def sweep(self, loop: int, streams: list[Tensor], numbers: list[_Numbers]) -> None:
        """Run a loop of :class:`acda.ops.cpu.norm_tanh_loops.Sweep`."""
        addresses = [stream.data_ptr() for stream in streams] + [0] * (4 - len(streams))
        places, steps = zip(*numbers, *[_NONE] * (4 - len(numbers)), strict=True)
        fields = (self.elements, self.row, self.rows, *addresses, *places, *steps[:-1])
        run(loop, fields, threads=min(num_threads(), self.chunks))

    def merge(self, loop: int, own: Tensor, shared: Tensor, eps: float, *of_channels: Tensor | None) -> None:
        """Run a loop of :class:`acda.ops.cpu.norm_tanh_loops.Merge`, whose tensors of channels come last."""
        (bits,) = struct.unpack("q", struct.pack("d", eps))
        addresses = [0 if tensor is None else tensor.data_ptr() for tensor in (own, shared, *of_channels)]
        run(loop, (*self, *addresses, bits), threads=1)


def shift_tanh(x: Tensor, shift: Tensor | None) -> Tensor:
    """Compute ``tanh(x + shift)`` in place.

    Args:
        x: Float32 ``[N, C, H, W]``, channels last in memory.
        shift: ``[C]``, or None.
    """
    from acda.ops.cpu import norm_tanh_code, norm_tanh_loops

    rows = _Rows.of(x)
    shift = x.new_zeros(rows.channels) if shift is None else shift
    shared = torch.stack([torch.ones_like(shift), shift]).repeat(1, rows.row // rows.channels)
    rows.sweep(norm_tanh_loops.sweep_loop(norm_tanh_code.APPLY), [x, x], rows.numbers(shared))
    return x


def forward(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """Compute :class:`acda.ops.norm_tanh.NormTanh`.

    Args:
        x: Images, float32 ``[N, C, H, W]``; copied where channels are not last in memory.
        weight: Scale of each channel, float32 ``[C]``; None for 1.
        bias: Shift of each channel, float32 ``[C]``; None for 0.
        eps: Added to the variance.

    Returns:
        The output, float32 ``[N, C, H, W]``, channels last in memory; mean and biased variance of each channel,
        float32 ``[C]``.
    """
    from acda.ops.cpu import norm_tanh_code, norm_tanh_loops

    x = x.contiguous(memory_format=torch.channels_last)
    weight, bias = (None if t is None else t.contiguous() for t in (weight, bias))
    rows = _Rows.of(x)
    own, shared = x.new_zeros(rows.chunks, 3, rows.row), x.new_empty(2, rows.row)
    mean, var = x.new_empty(rows.channels), x.new_empty(rows.channels)
    rows.sweep(norm_tanh_loops.statistics_loop(), [x], rows.numbers(own))
    rows.merge(norm_tanh_loops.merge_statistics_loop(), own, shared, eps, weight, bias, mean, var, None, None)
    y = torch.empty_like(x)
    rows.sweep(norm_tanh_loops.sweep_loop(norm_tanh_code.APPLY), [x, y], rows.numbers(shared))
    return y, mean, var


def backward(
    grad: Tensor, x: Tensor, y: Tensor, weight: Tensor | None, mean: Tensor, var: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute the gradients of :func:`forward`.

    Args:
        grad: That of the output, float32 ``[N, C, H, W]``.
        x: As given there.
        y: The output, as ``x``.
        weight: As given there.
        mean: As it gave it, float32 ``[C]``.
        var: Likewise.
        eps: As given there.

    Returns:
        Those of x, ``[N, C, H, W]``, channels last in memory, and of weight and bias, ``[C]`` each, None or not.
    """
    from acda.ops.cpu import norm_tanh_code, norm_tanh_loops

    streams = [t.contiguous(memory_format=torch.channels_last) for t in (x, y, grad)]
    mean, var = mean.contiguous(), var.contiguous()
    weight = None if weight is None else weight.contiguous()
    rows = _Rows.of(x)
    centre = mean.repeat(rows.row // rows.channels)[None]
    own, shared = x.new_zeros(rows.chunks, 2, rows.row), x.new_empty(3, rows.row)
    grad_weight, grad_bias = torch.empty_like(mean), torch.empty_like(mean)
    correlate, differentiate = (
        norm_tanh_loops.sweep_loop(body) for body in (norm_tanh_code.CORRELATE, norm_tanh_code.DIFFERENTIATE)
    )
    rows.sweep(correlate, streams, rows.numbers(centre) + rows.numbers(own))
    merge = norm_tanh_loops.merge_gradients_loop()
    rows.merge(merge, own, shared, eps, weight, None, mean, var, grad_weight, grad_bias)
    grad_x = torch.empty_like(streams[0])
    rows.sweep(differentiate, [*streams, grad_x], rows.numbers(centre) + rows.numbers(shared))
    return grad_x, grad_weight, grad_bias
