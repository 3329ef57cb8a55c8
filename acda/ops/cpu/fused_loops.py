"""Loops that take a few pixels at a time through all steps of a pass, so that all between stays in a core's cache."""

from functools import cache
from typing import NamedTuple

from numba.extending import register_jitable

from acda.ops.cpu.compiling import GROUP, THREAD, WORK, address, places, registers
from acda.ops.cpu.loops import Combine
from acda.ops.cpu.vector_code import combine, copy, correlate, fill_zero, next_ticket

RUN = 4 * GROUP  # pixels that a thread takes at once


class Fused(NamedTuple):
    """All steps of a pass for a few pixels at a time; the tables are of x and the atoms.

    Forward: ``y = bias + weight · z``, with z and the atoms as :mod:`acda.ops.matrix_products` has them. Backward, to
    the gradient of the coefficients: ``y`` is the gradient of the output, ``weight`` and ``bases`` are transposed.
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


@register_jitable  # type: ignore[untyped-decorator]
def find_pixel(number: int, rows: int, columns: int) -> tuple[int, int, int]:
    """Image, row and column of a pixel."""
    return number // (rows * columns), number // columns % rows, number % columns


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
    """Compile the loop of :class:`Fused` for the forward pass; arguments as in ``combine_loop``."""
    lanes, vectors, _ = registers(double)
    is_double, size = int(double), 8 if double else 4
    at, tables = places(Fused)

    def loop(p):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        pixels, rows, columns, channels = p[at.pixels], p[at.rows], p[at.columns], p[at.channels]
        out_channels, num_bases, taps, side = p[at.out_channels], p[at.num_bases], p[at.taps], p[at.side]
        x, x_n, x_r, x_s = p[at.x], p[at.x_of_image], p[at.x_of_row], p[at.x_of_column]
        alpha, alpha_n, alpha_i = p[at.alpha], p[at.alpha_of_image], p[at.alpha_of_row]
        alpha_j, alpha_b, alpha_k = p[at.alpha_of_column], p[at.alpha_of_atom], p[at.alpha_of_base]
        bases, weight, bias, y = p[at.bases], p[at.weight], p[at.bias], p[at.y]
        atoms = p[at.scratch] + next_ticket(p, THREAD) * p[at.scratch_of_thread]
        z, z_of_pixel = atoms + num_atoms * taps * size, num_atoms * channels * size
        while True:
            first = next_ticket(p, WORK) * RUN
            if first >= pixels:
                break
            n, i, j = find_pixel(first, rows, columns)
            for start in range(first, min(first + RUN, pixels), GROUP):
                count = min(GROUP, pixels - start)
                for k in range(count):
                    row, column = tables + 3 * i, tables + 3 * (rows + j)
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
    """Compile the loop of :class:`Fused` for the gradient of the coefficients; otherwise alike."""
    lanes, vectors, correlated = registers(double)
    is_double, size = int(double), 8 if double else 4
    at, tables = places(Fused)

    def loop(p):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        pixels, rows, columns, channels = p[at.pixels], p[at.rows], p[at.columns], p[at.channels]
        out_channels, num_bases, taps, side = p[at.out_channels], p[at.num_bases], p[at.taps], p[at.side]
        x, x_n, x_r, x_s = p[at.x], p[at.x_of_image], p[at.x_of_row], p[at.x_of_column]
        alpha, alpha_n, alpha_i = p[at.alpha], p[at.alpha_of_image], p[at.alpha_of_row]
        alpha_j, alpha_b = p[at.alpha_of_column], p[at.alpha_of_atom]
        bases, weight, y = p[at.bases], p[at.weight], p[at.y]
        atoms = p[at.scratch] + next_ticket(p, THREAD) * p[at.scratch_of_thread]
        z, z_of_pixel = atoms + num_atoms * taps * size, num_atoms * channels * size
        while True:
            first = next_ticket(p, WORK) * RUN
            if first >= pixels:
                break
            n, i, j = find_pixel(first, rows, columns)
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
                    row, column = tables + 3 * i, tables + 3 * (rows + j)
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


@cache
def channels_loop(double: bool, num_atoms: int) -> int:
    """Compile the loop of :class:`Channels`; arguments and result as in :func:`forward_loop`."""
    lanes, vectors, _ = registers(double)
    is_double, size = int(double), 8 if double else 4
    of_w, at, tables = places(Combine, Channels)

    def loop(p):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        images, rows, columns, channels = p[of_w.images], p[of_w.rows], p[of_w.columns], p[of_w.channels]
        source, source_n = p[of_w.source], p[of_w.source_of_image]
        source_r, source_s = p[of_w.source_of_row], p[of_w.source_of_column]
        factor, factor_n, factor_r = p[of_w.factor], p[of_w.factor_of_image], p[of_w.factor_of_row]
        factor_s, factor_b = p[of_w.factor_of_column], p[of_w.factor_of_atom]
        in_channels, x, grad_x, x_n, x_i = p[at.in_channels], p[at.x], p[at.grad_x], p[at.of_image], p[at.of_row]
        weight, sums, slots = p[at.weight], p[at.sums], p[at.slots]
        w_length = num_atoms * channels
        w_of_pixel, x_of_pixel = w_length * size, in_channels * size
        w = p[at.scratch] + next_ticket(p, THREAD) * p[at.scratch_of_thread]
        x_run, grad_run = w + RUN * w_of_pixel, w + RUN * (w_of_pixel + x_of_pixel)
        pixels = images * rows * columns
        while True:
            slot = next_ticket(p, WORK)
            if slot >= slots:
                break
            last = pixels * (slot + 1) // slots
            for start in range(pixels * slot // slots, last, RUN):
                count = min(RUN, last - start)
                first_n, first_i, first_j = find_pixel(start, rows, columns)
                n, i, j = first_n, first_i, first_j
                for k in range(count):
                    row, column = tables + 3 * i, tables + 3 * (rows + j)
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
