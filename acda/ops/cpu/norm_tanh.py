"""Batch norm and tanh of images on the CPU, in float32, with each tensor read and written as seldom as can be.

The statistics are taken in one pass, the second applies them and tanh; so it is backward. Sums are taken chunk by
chunk, of chunks that fit into a core's cache, and added up in float64 and in order: they are right however far the mean
is from zero, and the same for any number of threads.
"""

from math import ceil, lcm
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from acda.ops.cpu.threads import num_threads, run

_CHUNK_BYTES = 2**19
_LEAST_ROWS = 16  # in a chunk: its own sums are small beside it
_LEAST_ELEMENTS = 256  # in a row: sums kept in memory are ready again when the next row wants them
_Numbers = NDArray[np.float64]


class _Rows(NamedTuple):
    """How images are cut into rows and chunks."""

    elements: int
    row: int
    rows: int
    channels: int

    @classmethod
    def of(cls, x: Tensor) -> "_Rows":
        from acda.ops.cpu.norm_tanh_loops import lanes_of_sweep

        channels = x.shape[1]
        row = lcm(channels, lanes_of_sweep())
        row *= ceil(_LEAST_ELEMENTS / row)
        return cls(x.numel(), row, max(_LEAST_ROWS, _CHUNK_BYTES // (row * x.element_size())), channels)

    @property
    def chunks(self) -> int:
        return ceil(self.elements / (self.rows * self.row))

    @property
    def pixels(self) -> int:
        return self.elements // self.channels

    def counts(self) -> _Numbers:
        """How many pixels each place of a row stands for in each chunk, ``[chunks, row]``."""
        whole, rest = divmod(self.elements - (self.chunks - 1) * self.rows * self.row, self.row)
        counts = np.full((self.chunks, self.row), self.rows, dtype=np.float64)
        counts[-1] = whole
        counts[-1, :rest] += 1
        return counts

    def by_channel(self, numbers: _Numbers) -> _Numbers:
        """Sum numbers ``[chunks, row]`` for each channel."""
        total: _Numbers = numbers.sum(axis=0).reshape(-1, self.channels).sum(axis=0)
        return total

    def repeated(self, *of_channel: _Numbers) -> Tensor:
        """Numbers of each channel, for a row, ``[numbers, row]``."""
        numbers = np.stack(of_channel).astype(np.float32)
        return torch.from_numpy(np.tile(numbers, self.row // self.channels))

    def run(self, loop: int, streams: list[Tensor], shared: Tensor | None, own: Tensor | None = None) -> None:
        """Run a loop of :class:`acda.ops.cpu.norm_tanh_loops.Sweep`.

        Args:
            loop: Its address.
            streams: Images.
            shared: Numbers that all chunks share, ``[numbers, row]``.
            own: Numbers of each chunk, ``[chunks, numbers, row]``.
        """
        of_number = self.row * streams[0].element_size()
        places = [] if shared is None else [(shared.data_ptr() + i * of_number, 0) for i in range(len(shared))]
        if own is not None:
            of_chunk = own.shape[1] * of_number
            places += [(own.data_ptr() + i * of_number, of_chunk) for i in range(own.shape[1])]
        places += [(0, 0)] * (4 - len(places))
        addresses = [stream.data_ptr() for stream in streams] + [0] * (4 - len(streams))
        first, steps = zip(*places, strict=True)
        numbers = (self.elements, self.row, self.rows, *addresses, *first, *steps[:-1])
        run(loop, numbers, threads=min(num_threads(), self.chunks))


def forward(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """Compute ``tanh(batch_norm(x))``; see :func:`acda.ops.norm_tanh.norm_tanh`."""
    from acda.ops.cpu import norm_tanh_code, norm_tanh_loops

    x = x.contiguous(memory_format=torch.channels_last)
    rows = _Rows.of(x)
    own = x.new_zeros(rows.chunks, 3, rows.row)
    rows.run(norm_tanh_loops.statistics_loop(), [x], None, own)
    mean, var = _merged(rows, own)
    scale = _or(weight, 1) / np.sqrt(var + eps)
    y = torch.empty_like(x)
    shared = rows.repeated(scale, _or(bias, 0) - mean * scale)
    rows.run(norm_tanh_loops.sweep_loop(norm_tanh_code.APPLY), [x, y], shared)
    return y, _tensor(mean), _tensor(var)


def _merged(rows: _Rows, own: Tensor) -> tuple[_Numbers, _Numbers]:
    """Mean and variance of each channel, of what :func:`acda.ops.cpu.norm_tanh_loops.statistics_loop` found."""
    near, sums, squares = own.numpy().astype(np.float64).transpose(1, 0, 2)
    # All deviations are told from the first chunk's mean, which is as good as any of the images'.
    reference = near[0, : rows.channels].copy()
    near -= np.tile(reference, rows.row // rows.channels)
    from_reference = rows.counts() * near + sums
    squares += near * (sums + from_reference)
    mean = rows.by_channel(from_reference) / rows.pixels
    return reference + mean, np.maximum(rows.by_channel(squares) / rows.pixels - mean * mean, 0)


def backward(
    grad: Tensor, x: Tensor, y: Tensor, weight: Tensor | None, mean: Tensor, var: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute the gradients of x, weight and bias from that of y and from what :func:`forward` took and gave."""
    from acda.ops.cpu import norm_tanh_code, norm_tanh_loops

    streams = [t.contiguous(memory_format=torch.channels_last) for t in (x, y, grad)]
    rows = _Rows.of(x)
    centre, rstd = mean.numpy().astype(np.float64), 1 / np.sqrt(var.numpy().astype(np.float64) + eps)
    own = x.new_zeros(rows.chunks, 2, rows.row)
    rows.run(norm_tanh_loops.sweep_loop(norm_tanh_code.CORRELATE), streams, rows.repeated(centre), own)
    sums, products = (rows.by_channel(part) for part in own.numpy().astype(np.float64).transpose(1, 0, 2))
    products *= rstd
    scale = _or(weight, 1) * rstd
    shared = rows.repeated(centre, scale, -scale * rstd * products / rows.pixels, -scale * sums / rows.pixels)
    grad_x = torch.empty_like(streams[0])
    rows.run(norm_tanh_loops.sweep_loop(norm_tanh_code.DIFFERENTIATE), [*streams, grad_x], shared)
    return grad_x, _tensor(products), _tensor(sums)


def _or(parameter: Tensor | None, default: float) -> _Numbers:
    return np.array([default]) if parameter is None else parameter.detach().numpy().astype(np.float64)


def _tensor(numbers: _Numbers) -> Tensor:
    return torch.from_numpy(numbers.astype(np.float32))
