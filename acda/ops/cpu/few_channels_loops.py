"""Loops for images of few channels: the bases are applied to the image, and only then combined to atoms.

``Y[c, k, p] = Σ_u ψ[k, u] · x[c, p + u]`` costs C · K · l² multiply-adds a pixel, where atoms cost m · K · l². With it
``z = α Y`` and ``dα = dz Y``: neither atoms nor their gradients are needed.
"""

from functools import cache, wraps
from typing import Any, NamedTuple

from numba.extending import overload, register_jitable

from acda.ops.cpu.compiling import GROUP, THREAD, WORK, address, places, registers
from acda.ops.cpu.fused_loops import find_pixel, next_pixel
from acda.ops.cpu.vector_code import combine, copy, correlate, next_ticket

RUN = 4 * GROUP  # pixels that a thread takes at once
_ACCUMULATORS = 12  # what the registers of a tile hold


class FewChannels(NamedTuple):
    """All steps of a pass for a few pixels at a time; the tables are of x and the bases.

    Pixels are split evenly over slots, whatever the number of threads, so that the order of sums is always the same.
    """

    pixels: int
    rows: int
    columns: int
    out_channels: int
    slots: int
    x: int
    x_of_image: int
    x_of_row: int  # stride from one row of taps to the next
    x_of_column: int
    alpha: int  # [pixels, m, K]
    bases: int  # [l, l, K'], zero after the first K
    bases_of_row: int
    weight: int  # forward [m · C, O], backward [O, m · C]
    bias: int  # forward [O], or 0
    y: int  # [pixels, O], backward its gradient
    grad_alpha: int  # [pixels, m, K], or 0 if it is not wanted
    sums: int  # [slots, m · C, O], of gradients of the weight, or 0 if they are not wanted
    scratch: int
    scratch_of_thread: int


def whole_vectors(num_bases: int, double: bool) -> int:
    """``K'``: as many as the bases K, or somewhat more; a vector of which a part is stored costs AVX2 many cycles."""
    lanes = registers(double).lanes
    return -(-num_bases // lanes) * lanes


def scratch_elements(num_atoms: int, channels: int, padded: int) -> int:
    """Elements of scratch memory that a thread needs."""
    return (channels + num_atoms) * padded + (RUN + GROUP) * num_atoms * channels


_AT, _TABLES = places(FewChannels)


@register_jitable  # type: ignore[untyped-decorator]
def _take_slot(p: Any) -> tuple[int, int, int]:
    """Take the next slot: its number, its first pixel, and the one after its last."""
    slot, pixels, slots = next_ticket(p, WORK), p[_AT.pixels], p[_AT.slots]
    return slot, pixels * slot // slots, pixels * (slot + 1) // slots


def _respond(
    is_double: int,
    lanes: int,
    wide: int,
    channels: int,
    padded: int,
    p: Any,
    n: int,
    i: int,
    j: int,
    responses: int,
) -> None:
    """Apply the bases to the image around a pixel: ``[C, K']``. The first five are constants."""
    size = 8 if is_double else 4
    row, column = _TABLES + 3 * i, _TABLES + 3 * (p[_AT.rows] + j)
    combine(
        is_double, lanes, wide, GROUP, channels, responses, padded * size, 0, 0,
        p[_AT.x] + n * p[_AT.x_of_image] + p[row + 1] + p[column + 1], size,
        p[_AT.x_of_row], p[_AT.x_of_column],
        p[_AT.bases] + p[row + 2] + p[column + 2], p[_AT.bases_of_row], padded * size,
        p[row], p[column], padded,
    )  # fmt: skip


@overload(_respond, prefer_literal=True)  # type: ignore[untyped-decorator]
@wraps(_respond)  # numba wants the same names of arguments
def _compile_respond(*_: Any) -> Any:
    return _respond


@cache
def forward_loop(double: bool, num_atoms: int, channels: int, num_bases: int) -> int:
    """Compile the loop of :class:`FewChannels` for the forward pass.

    Args:
        double: For float64, else for float32.
        num_atoms: Atoms m.
        channels: Channels C.
        num_bases: Bases K.

    Returns:
        Its address.
    """
    lanes, vectors, correlated = registers(double)
    is_double, size = int(double), 8 if double else 4
    padded = whole_vectors(num_bases, double)
    wide = max(1, min(padded // lanes, _ACCUMULATORS // min(channels, GROUP)))

    def loop(p):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        rows, columns, out_channels = p[_AT.rows], p[_AT.columns], p[_AT.out_channels]
        responses = p[_AT.scratch] + next_ticket(p, THREAD) * p[_AT.scratch_of_thread]
        of_base, of_padded = num_bases * size, padded * size
        of_atom, of_z = channels * size, num_atoms * channels * size
        z, of_alpha, of_y = responses + channels * of_padded, num_atoms * of_base, out_channels * size
        while True:
            slot, first, last = _take_slot(p)
            if slot >= p[_AT.slots]:
                break
            n, i, j = find_pixel(first, rows, columns)
            for start in range(first, last, GROUP):
                count = min(GROUP, last - start)
                for k in range(count):
                    _respond(is_double, lanes, wide, channels, padded, p, n, i, j, responses)
                    correlate(
                        is_double, lanes, correlated, num_atoms, z + k * of_z, of_atom,
                        p[_AT.alpha] + (start + k) * of_alpha, of_base, responses, of_padded, channels, num_bases,
                    )  # fmt: skip
                    n, i, j = next_pixel(n, i, j, rows, columns)
                if count == GROUP:
                    combine(
                        is_double, lanes, vectors, GROUP, GROUP, p[_AT.y] + start * of_y, of_y, p[_AT.bias], 0,
                        z, of_z, 0, size, p[_AT.weight], 0, of_y, 1, num_atoms * channels, out_channels,
                    )  # fmt: skip
                else:
                    for k in range(count):
                        combine(
                            is_double, lanes, vectors, GROUP, 1, p[_AT.y] + (start + k) * of_y, 0, p[_AT.bias], 0,
                            z + k * of_z, 0, 0, size, p[_AT.weight], 0, of_y, 1, num_atoms * channels, out_channels,
                        )  # fmt: skip

    return address(loop)


@cache
def backward_loop(double: bool, num_atoms: int, channels: int, num_bases: int) -> int:
    """Compile the loop of :class:`FewChannels` for the gradients of coefficients and weight; otherwise alike."""
    lanes, vectors, correlated = registers(double)
    is_double, size = int(double), 8 if double else 4
    padded = whole_vectors(num_bases, double)
    wide = max(1, min(padded // lanes, _ACCUMULATORS // min(channels, GROUP)))
    of_alpha_wide = max(1, min(padded // lanes, _ACCUMULATORS // GROUP))
    products = num_atoms * channels

    def loop(p):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        rows, columns, out_channels = p[_AT.rows], p[_AT.columns], p[_AT.out_channels]
        responses = p[_AT.scratch] + next_ticket(p, THREAD) * p[_AT.scratch_of_thread]
        of_base, of_padded = num_bases * size, padded * size
        of_atom, of_z = channels * size, products * size
        z, of_alpha, of_y = responses + channels * of_padded, num_atoms * of_base, out_channels * size
        grad_z, of_slot = z + RUN * of_z, products * of_y
        grad_alpha = grad_z + GROUP * of_z
        while True:
            slot, first, last = _take_slot(p)
            if slot >= p[_AT.slots]:
                break
            n, i, j = find_pixel(first, rows, columns)
            for run in range(first, last, RUN):
                run_end = min(last, run + RUN)
                for start in range(run, run_end, GROUP):
                    count = min(GROUP, run_end - start)
                    if p[_AT.grad_alpha] != 0 and count == GROUP:
                        combine(
                            is_double, lanes, vectors, GROUP, GROUP, grad_z, of_z, 0, 0,
                            p[_AT.y] + start * of_y, of_y, 0, size,
                            p[_AT.weight], 0, of_z, 1, out_channels, products,
                        )  # fmt: skip
                    elif p[_AT.grad_alpha] != 0:
                        for k in range(count):
                            combine(
                                is_double, lanes, vectors, GROUP, 1, grad_z + k * of_z, 0, 0, 0,
                                p[_AT.y] + (start + k) * of_y, 0, 0, size,
                                p[_AT.weight], 0, of_z, 1, out_channels, products,
                            )  # fmt: skip
                    for k in range(count):
                        _respond(is_double, lanes, wide, channels, padded, p, n, i, j, responses)
                        if p[_AT.sums] != 0:
                            correlate(
                                is_double, lanes, correlated, num_atoms, z + (start - run + k) * of_z, of_atom,
                                p[_AT.alpha] + (start + k) * of_alpha, of_base,
                                responses, of_padded, channels, num_bases,
                            )  # fmt: skip
                        if p[_AT.grad_alpha] != 0:
                            combine(
                                is_double, lanes, of_alpha_wide, GROUP, num_atoms,
                                grad_alpha, of_padded, 0, 0,
                                grad_z + k * of_z, of_atom, 0, size, responses, 0, of_padded, 1, channels, padded,
                            )  # fmt: skip
                            for b in range(num_atoms):
                                to = p[_AT.grad_alpha] + (start + k) * of_alpha + b * of_base
                                copy(to, grad_alpha + b * of_padded, of_base)
                        n, i, j = next_pixel(n, i, j, rows, columns)
                if p[_AT.sums] != 0:
                    total = p[_AT.sums] + slot * of_slot
                    combine(
                        is_double, lanes, vectors, GROUP, products, total, of_y, total, of_y,
                        z, size, 0, of_z, p[_AT.y] + run * of_y, 0, of_y, 1, run_end - run, out_channels,
                    )  # fmt: skip

    return address(loop)
