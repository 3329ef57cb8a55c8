"""Loops that take a few pixels at a time through all steps of a pass, so that all between stays in a core's cache."""

from functools import cache
from typing import NamedTuple

from numba.extending import register_jitable

from acda.ops.cpu.compiling import COUNTERS, GROUP, REVISION, address, registers
from acda.ops.cpu.loops import Combine
from acda.ops.cpu.tiles import combine, copy, correlate, fill_zero, next_ticket

RUN = 4 * GROUP  # pixels that a thread takes at once


class Whole(NamedTuple):
    """All steps of a pass for a few pixels at a time; the tables are of x and the atoms.

    Forward: ``y = bias + weight · z``, with z and the atoms as :mod:`acda.ops.blocked` has them. Backward, to the
    gradient of the coefficients: ``y`` is the gradient of the output, ``weight`` and ``bases`` are transposed.
    """

    pixels: int
    rows: int
    columns: int
    channels: int
    out_channels: int
    num_bases: int
    taps: int  # length of a row of bases
    side: int  # of the kernel
    x: int
    x_of_image: int
    x_of_row: int  # stride from one row of taps to the next
    x_of_column: int
    alpha: int
    alpha_of_image: int
    alpha_of_row: int
    alpha_of_column: int
    alpha_of_atom: int
    alpha_of_base: int
    bases: int  # forward [K, T], backward [T, K]
    weight: int  # forward [m · C, O], backward [O, m · C]
    bias: int  # forward [O]
    y: int  # [pixels, O]
    scratch: int
    scratch_of_thread: int


_WHOLE_TABLES = COUNTERS + len(Whole._fields)


@register_jitable  # type: ignore[untyped-decorator]
def next_pixel(n: int, i: int, j: int, rows: int, columns: int) -> tuple[int, int, int]:
    """Image, row and column of the pixel after this one."""
    j += 1
    if j == columns:
        j = 0
        i += 1
        if i == rows:
            i = 0
            n += 1
    return n, i, j


@cache
def forward_loop(double: bool, num_atoms: int) -> int:
    """Compile the loop of :class:`Whole` for the forward pass; arguments as in ``combine_loop``."""
    lanes, vectors, _ = registers(double)
    is_double, size, revision = int(double), 8 if double else 4, REVISION

    def loop(p):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        revision  # noqa: B018
        pixels, rows, columns, channels, out_channels, num_bases, taps, side = (
            p[2], p[3], p[4], p[5], p[6], p[7], p[8], p[9],
        )  # fmt: skip
        x, x_n, x_r, x_s = p[10], p[11], p[12], p[13]
        alpha, alpha_n, alpha_i, alpha_j, alpha_b, alpha_k = p[14], p[15], p[16], p[17], p[18], p[19]
        bases, weight, bias, y = p[20], p[21], p[22], p[23]
        atoms = p[24] + next_ticket(p, 1) * p[25]
        z, z_of_pixel = atoms + num_atoms * taps * size, num_atoms * channels * size
        while True:
            first = next_ticket(p, 0) * RUN
            if first >= pixels:
                break
            n = first // (rows * columns)
            i, j = first // columns % rows, first % columns
            for start in range(first, min(first + RUN, pixels), GROUP):
                count = min(GROUP, pixels - start)
                for k in range(count):
                    row, column = _WHOLE_TABLES + 3 * i, _WHOLE_TABLES + 3 * (rows + j)
                    combine(
                        is_double, lanes, vectors, GROUP, num_atoms, atoms, taps * size, 0, 0,
                        alpha + n * alpha_n + i * alpha_i + j * alpha_j, alpha_b, 0, alpha_k,
                        bases, 0, taps * size, 1, num_bases, taps,
                    )  # fmt: skip
                    combine(
                        is_double, lanes, vectors, GROUP, num_atoms, z + k * z_of_pixel, channels * size, 0, 0,
                        atoms + p[row + 2] + p[column + 2], taps * size, side * size, size,
                        x + n * x_n + p[row + 1] + p[column + 1], x_r, x_s, p[row], p[column], channels,
                    )  # fmt: skip
                    n, i, j = next_pixel(n, i, j, rows, columns)
                if count == GROUP:
                    combine(
                        is_double, lanes, vectors, GROUP, GROUP,
                        y + start * out_channels * size, out_channels * size, bias, 0, z, z_of_pixel, 0, size,
                        weight, 0, out_channels * size, 1, num_atoms * channels, out_channels,
                    )  # fmt: skip
                else:
                    for k in range(count):
                        combine(
                            is_double, lanes, vectors, GROUP, 1,
                            y + (start + k) * out_channels * size, 0, bias, 0, z + k * z_of_pixel, 0, 0, size,
                            weight, 0, out_channels * size, 1, num_atoms * channels, out_channels,
                        )  # fmt: skip

    return address(loop)


@cache
def alpha_loop(double: bool, num_atoms: int) -> int:
    """Compile the loop of :class:`Whole` for the gradient of the coefficients; otherwise alike."""
    lanes, vectors, correlated = registers(double)
    is_double, size, revision = int(double), 8 if double else 4, REVISION

    def loop(p):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        revision  # noqa: B018
        pixels, rows, columns, channels, out_channels, num_bases, taps, side = (
            p[2], p[3], p[4], p[5], p[6], p[7], p[8], p[9],
        )  # fmt: skip
        x, x_n, x_r, x_s = p[10], p[11], p[12], p[13]
        alpha, alpha_n, alpha_i, alpha_j, alpha_b = p[14], p[15], p[16], p[17], p[18]
        bases, weight, y = p[20], p[21], p[23]
        atoms = p[24] + next_ticket(p, 1) * p[25]
        z, z_of_pixel = atoms + num_atoms * taps * size, num_atoms * channels * size
        while True:
            first = next_ticket(p, 0) * RUN
            if first >= pixels:
                break
            n = first // (rows * columns)
            i, j = first // columns % rows, first % columns
            for start in range(first, min(first + RUN, pixels), GROUP):
                count = min(GROUP, pixels - start)
                if count == GROUP:
                    combine(
                        is_double, lanes, vectors, GROUP, GROUP, z, z_of_pixel, 0, 0,
                        y + start * out_channels * size, out_channels * size, 0, size,
                        weight, 0, z_of_pixel, 1, out_channels, num_atoms * channels,
                    )  # fmt: skip
                else:
                    for k in range(count):
                        combine(
                            is_double, lanes, vectors, GROUP, 1, z + k * z_of_pixel, 0, 0, 0,
                            y + (start + k) * out_channels * size, 0, 0, size,
                            weight, 0, z_of_pixel, 1, out_channels, num_atoms * channels,
                        )  # fmt: skip
                for k in range(count):
                    row, column = _WHOLE_TABLES + 3 * i, _WHOLE_TABLES + 3 * (rows + j)
                    fill_zero(atoms, num_atoms * taps * size)
                    for r in range(p[row]):
                        correlate(
                            is_double, lanes, correlated, num_atoms,
                            atoms + p[row + 2] + p[column + 2] + r * side * size, taps * size,
                            z + k * z_of_pixel, channels * size,
                            x + n * x_n + p[row + 1] + p[column + 1] + r * x_r, x_s, p[column], channels,
                        )  # fmt: skip
                    combine(
                        is_double, lanes, vectors, GROUP, num_atoms,
                        alpha + n * alpha_n + i * alpha_i + j * alpha_j, alpha_b, 0, 0,
                        atoms, taps * size, 0, size, bases, 0, num_bases * size, 1, taps, num_bases,
                    )  # fmt: skip
                    n, i, j = next_pixel(n, i, j, rows, columns)

    return address(loop)


class Channels(NamedTuple):
    """Gradients of x and of the weight for a block of input pixels; before these stand the fields of ``Combine``.

    Those describe how the gradient of the output is gathered to ``W`` ``[pixels, m, O]``; their ``out`` is not used.
    Pixels are split evenly over slots, each of which adds up its own gradient of the weight, so that the order of sums
    does not hang on which thread comes first.
    """

    in_channels: int
    x: int  # of the block's first pixel
    grad_x: int  # likewise, or 0 if it is not wanted
    of_image: int
    of_row: int
    weight: int  # [m · O, C]
    sums: int  # [slots, C, m · O], or 0 if they are not wanted
    slots: int
    scratch: int
    scratch_of_thread: int


_CHANNELS_TABLES = COUNTERS + len(Combine._fields) + len(Channels._fields)


@cache
def channels_loop(double: bool, num_atoms: int) -> int:
    """Compile the loop of :class:`Channels`; arguments and result as in :func:`forward_loop`."""
    lanes, vectors, _ = registers(double)
    is_double, size, revision = int(double), 8 if double else 4, REVISION

    def loop(p):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        revision  # noqa: B018
        images, rows, columns, channels = p[2], p[3], p[4], p[5]
        source, source_n, source_r, source_s = p[6], p[7], p[8], p[9]
        factor, factor_n, factor_r, factor_s, factor_b = p[10], p[11], p[12], p[13], p[14]
        in_channels, x, grad_x, x_n, x_i, weight = p[16], p[17], p[18], p[19], p[20], p[21]
        sums, slots = p[22], p[23]
        w_length = num_atoms * channels
        w_of_pixel, x_of_pixel = w_length * size, in_channels * size
        w = p[24] + next_ticket(p, 1) * p[25]
        x_run, grad_run = w + RUN * w_of_pixel, w + RUN * (w_of_pixel + x_of_pixel)
        pixels = images * rows * columns
        while True:
            slot = next_ticket(p, 0)
            if slot >= slots:
                break
            last = pixels * (slot + 1) // slots
            for start in range(pixels * slot // slots, last, RUN):
                count = min(RUN, last - start)
                first_n = start // (rows * columns)
                first_i, first_j = start // columns % rows, start % columns
                n, i, j = first_n, first_i, first_j
                for k in range(count):
                    row, column = _CHANNELS_TABLES + 3 * i, _CHANNELS_TABLES + 3 * (rows + j)
                    combine(
                        is_double, lanes, vectors, GROUP, num_atoms, w + k * w_of_pixel, channels * size, 0, 0,
                        factor + n * factor_n + p[row + 2] + p[column + 2], factor_b, factor_r, factor_s,
                        source + n * source_n + p[row + 1] + p[column + 1], source_r, source_s,
                        p[row], p[column], channels,
                    )  # fmt: skip
                    copy(x_run + k * x_of_pixel, x + n * x_n + i * x_i + j * x_of_pixel, x_of_pixel)
                    n, i, j = next_pixel(n, i, j, rows, columns)
                if sums != 0:
                    total = sums + slot * in_channels * w_of_pixel
                    whole = in_channels // GROUP * GROUP
                    for c in range(0, whole, GROUP):
                        combine(
                            is_double, lanes, vectors, GROUP, GROUP, total + c * w_of_pixel, w_of_pixel,
                            total + c * w_of_pixel, w_of_pixel, x_run + c * size, size, 0, x_of_pixel,
                            w, 0, w_of_pixel, 1, count, w_length,
                        )  # fmt: skip
                    for c in range(whole, in_channels):
                        combine(
                            is_double, lanes, vectors, GROUP, 1, total + c * w_of_pixel, 0,
                            total + c * w_of_pixel, 0, x_run + c * size, 0, 0, x_of_pixel,
                            w, 0, w_of_pixel, 1, count, w_length,
                        )  # fmt: skip
                if grad_x != 0:
                    whole = count // GROUP * GROUP
                    for k in range(0, whole, GROUP):
                        combine(
                            is_double, lanes, vectors, GROUP, GROUP, grad_run + k * x_of_pixel, x_of_pixel, 0, 0,
                            w + k * w_of_pixel, w_of_pixel, 0, size, weight, 0, x_of_pixel, 1, w_length, in_channels,
                        )  # fmt: skip
                    for k in range(whole, count):
                        combine(
                            is_double, lanes, vectors, GROUP, 1, grad_run + k * x_of_pixel, 0, 0, 0,
                            w + k * w_of_pixel, 0, 0, size, weight, 0, x_of_pixel, 1, w_length, in_channels,
                        )  # fmt: skip
                    n, i, j = first_n, first_i, first_j
                    for k in range(count):
                        copy(grad_x + n * x_n + i * x_i + j * x_of_pixel, grad_run + k * x_of_pixel, x_of_pixel)
                        n, i, j = next_pixel(n, i, j, rows, columns)

    return address(loop)
