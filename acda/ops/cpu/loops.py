"""The loops over pixels, compiled by numba for this processor and kept on disk.

A loop is a function of one pointer to 64-bit integers: two counters, from which threads draw their work and their
number, then the fields of the loop's tuple in their order, then two tables. Addresses, offsets and strides are in
bytes. Any number of threads may run a loop on the same numbers at once; together they do what one does alone.

A pixel's taps are a rectangle; how large it is and where it starts hangs on the pixel's row and column alone. The
tables hold, for each row and then for each column, three numbers: how many taps, and two offsets of the first one.
"""

import logging
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from llvmlite.binding import get_host_cpu_features
from numba import cfunc, types

from acda.ops.cpu import tiles
from acda.ops.cpu.tiles import combine, correlate, fill_zero, next_ticket

_log = logging.getLogger(__name__)
_SIGNATURE = types.void(types.CPointer(types.int64))
# Part of what compiled code is filed under, so that it is compiled anew when the tiles change.
_REVISION = zlib.crc32(Path(tiles.__file__).read_bytes())
_compiled: list[Any] = []  # keeps alive what addresses point into


class Combine(NamedTuple):
    """``out[p, b, c] = Σ_{r, s} factor[p, b, r, s] · source[p, r, s, c]``; the tables are of source and factor."""

    images: int
    rows: int
    columns: int
    channels: int
    source: int
    source_of_image: int
    source_of_row: int  # stride from one row of taps to the next, and so the next four for rows, columns and atoms
    source_of_column: int
    factor: int
    factor_of_image: int
    factor_of_row: int
    factor_of_column: int
    factor_of_atom: int
    out: int  # [images, rows, columns, atoms, channels]


class Correlate(NamedTuple):
    """``out[p, b, r, s] = Σ_c left[p, b, c] · right[p, r, s, c]``, zero elsewhere; the tables are of right and out."""

    images: int
    rows: int
    columns: int
    channels: int
    right: int
    right_of_image: int
    right_of_row: int
    right_of_column: int
    left: int  # [images, rows, columns, atoms, channels]
    out: int  # [images, rows, columns, atoms, taps]
    out_of_row: int
    out_of_atom: int


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


_COUNTERS = 2
_COMBINE_TABLES = _COUNTERS + len(Combine._fields)
_CORRELATE_TABLES = _COUNTERS + len(Correlate._fields)
_WHOLE_TABLES = _COUNTERS + len(Whole._fields)
GROUP = 6  # pixels whose coefficient convolution is one tile
_RUN = 4 * GROUP  # pixels that a thread draws at once


class Registers(NamedTuple):
    """Sizes of the tiles that fill a processor's vector registers without spilling."""

    lanes: int
    vectors: int  # of channels, in a tile of combine beside GROUP atoms or pixels
    correlated: int  # atoms in a tile of correlate, beside four taps


@cache
def registers(double: bool) -> Registers:
    """Sizes of tiles for this processor."""
    features = get_host_cpu_features()
    if features.get("avx512f"):
        return Registers(8 if double else 16, 4, 6)
    if features.get("avx2"):
        return Registers(4 if double else 8, 2, 3)
    if features.get("neon"):
        return Registers(4, 2 if double else 4, 3 if double else 6)
    return Registers(4, 1 if double else 2, 3)


def _compile(loop: Callable[[Any], None]) -> int:
    try:
        compiled = cfunc(_SIGNATURE, cache=True)(loop)
    except RuntimeError as error:
        if "cannot cache" not in str(error):
            raise
        _log.info("compiled loops are not kept on disk: %s", error)
        compiled = cfunc(_SIGNATURE)(loop)
    _compiled.append(compiled)
    address: int = compiled.address
    return address


@cache
def combine_loop(double: bool, num_atoms: int) -> int:
    """Compile the loop of :class:`Combine`.

    Args:
        double: For float64, else for float32.
        num_atoms: Atoms b.

    Returns:
        Its address.
    """
    lanes, vectors, _ = registers(double)
    is_double, size, revision = int(double), 8 if double else 4, _REVISION

    def loop(p):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        revision  # noqa: B018
        images, rows, columns, channels = p[2], p[3], p[4], p[5]
        source, source_n, source_r, source_s = p[6], p[7], p[8], p[9]
        factor, factor_n, factor_r, factor_s, factor_b, out = p[10], p[11], p[12], p[13], p[14], p[15]
        out_b = channels * size
        while True:
            ticket = next_ticket(p, 0)
            if ticket >= images * rows:
                break
            n, row = ticket // rows, _COMBINE_TABLES + 3 * (ticket % rows)
            for j in range(columns):
                column = _COMBINE_TABLES + 3 * (rows + j)
                combine(
                    is_double, lanes, vectors, GROUP, num_atoms, 0,
                    out + (ticket * columns + j) * num_atoms * out_b, out_b, 0,
                    factor + n * factor_n + p[row + 2] + p[column + 2], factor_b, factor_r, factor_s,
                    source + n * source_n + p[row + 1] + p[column + 1], source_r, source_s,
                    p[row], p[column], channels,
                )  # fmt: skip

    return _compile(loop)


@cache
def correlate_loop(double: bool, num_atoms: int) -> int:
    """Compile the loop of :class:`Correlate`; arguments and result as in :func:`combine_loop`."""
    lanes, _, correlated = registers(double)
    is_double, size, revision = int(double), 8 if double else 4, _REVISION

    def loop(p):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        revision  # noqa: B018
        images, rows, columns, channels = p[2], p[3], p[4], p[5]
        right, right_n, right_r, right_s = p[6], p[7], p[8], p[9]
        left, out, out_r, out_b = p[10], p[11], p[12], p[13]
        left_b = channels * size
        while True:
            ticket = next_ticket(p, 0)
            if ticket >= images * rows:
                break
            n, row = ticket // rows, _CORRELATE_TABLES + 3 * (ticket % rows)
            for j in range(columns):
                column = _CORRELATE_TABLES + 3 * (rows + j)
                at_out = out + (ticket * columns + j) * num_atoms * out_b
                fill_zero(at_out, num_atoms * out_b)
                for r in range(p[row]):
                    correlate(
                        is_double, lanes, correlated, num_atoms,
                        at_out + p[row + 2] + p[column + 2] + r * out_r, out_b,
                        left + (ticket * columns + j) * num_atoms * left_b, left_b,
                        right + n * right_n + p[row + 1] + p[column + 1] + r * right_r, right_s, p[column], channels,
                    )  # fmt: skip

    return _compile(loop)


@cache
def forward_loop(double: bool, num_atoms: int) -> int:
    """Compile the loop of :class:`Whole` for the forward pass; arguments and result as in :func:`combine_loop`."""
    lanes, vectors, _ = registers(double)
    is_double, size, revision = int(double), 8 if double else 4, _REVISION

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
            first = next_ticket(p, 0) * _RUN
            if first >= pixels:
                break
            n = first // (rows * columns)
            i, j = first // columns % rows, first % columns
            for start in range(first, min(first + _RUN, pixels), GROUP):
                count = min(GROUP, pixels - start)
                for k in range(count):
                    row, column = _WHOLE_TABLES + 3 * i, _WHOLE_TABLES + 3 * (rows + j)
                    combine(
                        is_double, lanes, vectors, GROUP, num_atoms, 0, atoms, taps * size, 0,
                        alpha + n * alpha_n + i * alpha_i + j * alpha_j, alpha_b, 0, alpha_k,
                        bases, 0, taps * size, 1, num_bases, taps,
                    )  # fmt: skip
                    combine(
                        is_double, lanes, vectors, GROUP, num_atoms, 0, z + k * z_of_pixel, channels * size, 0,
                        atoms + p[row + 2] + p[column + 2], taps * size, side * size, size,
                        x + n * x_n + p[row + 1] + p[column + 1], x_r, x_s, p[row], p[column], channels,
                    )  # fmt: skip
                    j += 1
                    if j == columns:
                        j = 0
                        i += 1
                        if i == rows:
                            i = 0
                            n += 1
                if count == GROUP:
                    combine(
                        is_double, lanes, vectors, GROUP, GROUP, 1,
                        y + start * out_channels * size, out_channels * size, bias, z, z_of_pixel, 0, size,
                        weight, 0, out_channels * size, 1, num_atoms * channels, out_channels,
                    )  # fmt: skip
                else:
                    for k in range(count):
                        combine(
                            is_double, lanes, vectors, GROUP, 1, 1,
                            y + (start + k) * out_channels * size, 0, bias, z + k * z_of_pixel, 0, 0, size,
                            weight, 0, out_channels * size, 1, num_atoms * channels, out_channels,
                        )  # fmt: skip

    return _compile(loop)


@cache
def alpha_loop(double: bool, num_atoms: int) -> int:
    """Compile the loop of :class:`Whole` for the gradient of the coefficients; otherwise as :func:`combine_loop`."""
    lanes, vectors, correlated = registers(double)
    is_double, size, revision = int(double), 8 if double else 4, _REVISION

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
            first = next_ticket(p, 0) * _RUN
            if first >= pixels:
                break
            n = first // (rows * columns)
            i, j = first // columns % rows, first % columns
            for start in range(first, min(first + _RUN, pixels), GROUP):
                count = min(GROUP, pixels - start)
                if count == GROUP:
                    combine(
                        is_double, lanes, vectors, GROUP, GROUP, 0, z, z_of_pixel, 0,
                        y + start * out_channels * size, out_channels * size, 0, size,
                        weight, 0, z_of_pixel, 1, out_channels, num_atoms * channels,
                    )  # fmt: skip
                else:
                    for k in range(count):
                        combine(
                            is_double, lanes, vectors, GROUP, 1, 0, z + k * z_of_pixel, 0, 0,
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
                        is_double, lanes, vectors, GROUP, num_atoms, 0,
                        alpha + n * alpha_n + i * alpha_i + j * alpha_j, alpha_b, 0,
                        atoms, taps * size, 0, size, bases, 0, num_bases * size, 1, taps, num_bases,
                    )  # fmt: skip
                    j += 1
                    if j == columns:
                        j = 0
                        i += 1
                        if i == rows:
                            i = 0
                            n += 1

    return _compile(loop)
