"""The loops of :class:`acda.ops.matrix_products.Kernels`."""

from functools import cache
from typing import NamedTuple

from acda.ops.cpu.compiling import GROUP, WORK, address, places, registers
from acda.ops.cpu.vector_code import combine, correlate, fill_zero, next_ticket


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
    is_double, size = int(double), 8 if double else 4
    at, tables = places(Combine)

    def loop(p):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        images, rows, columns, channels = p[at.images], p[at.rows], p[at.columns], p[at.channels]
        source, source_n = p[at.source], p[at.source_of_image]
        source_r, source_s = p[at.source_of_row], p[at.source_of_column]
        factor, factor_n, factor_r = p[at.factor], p[at.factor_of_image], p[at.factor_of_row]
        factor_s, factor_b, out = p[at.factor_of_column], p[at.factor_of_atom], p[at.out]
        out_b = channels * size
        while True:
            ticket = next_ticket(p, WORK)
            if ticket >= images * rows:
                break
            n, row = ticket // rows, tables + 3 * (ticket % rows)
            for j in range(columns):
                column = tables + 3 * (rows + j)
                combine(
                    is_double, lanes, vectors, GROUP, num_atoms,
                    out + (ticket * columns + j) * num_atoms * out_b, out_b, 0, 0,
                    factor + n * factor_n + p[row + 2] + p[column + 2], factor_b, factor_r, factor_s,
                    source + n * source_n + p[row + 1] + p[column + 1], source_r, source_s,
                    p[row], p[column], channels,
                )  # fmt: skip

    return address(loop)


@cache
def correlate_loop(double: bool, num_atoms: int) -> int:
    """Compile the loop of :class:`Correlate`; arguments and result as in :func:`combine_loop`."""
    lanes, _, correlated = registers(double)
    is_double, size = int(double), 8 if double else 4
    at, tables = places(Correlate)

    def loop(p):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        images, rows, columns, channels = p[at.images], p[at.rows], p[at.columns], p[at.channels]
        right, right_n = p[at.right], p[at.right_of_image]
        right_r, right_s = p[at.right_of_row], p[at.right_of_column]
        left, out, out_r, out_b = p[at.left], p[at.out], p[at.out_of_row], p[at.out_of_atom]
        left_b = channels * size
        while True:
            ticket = next_ticket(p, WORK)
            if ticket >= images * rows:
                break
            n, row = ticket // rows, tables + 3 * (ticket % rows)
            for j in range(columns):
                column = tables + 3 * (rows + j)
                at_out = out + (ticket * columns + j) * num_atoms * out_b
                fill_zero(at_out, num_atoms * out_b)
                for r in range(p[row]):
                    correlate(
                        is_double, lanes, correlated, num_atoms,
                        at_out + p[row + 2] + p[column + 2] + r * out_r, out_b,
                        left + (ticket * columns + j) * num_atoms * left_b, left_b,
                        right + n * right_n + p[row + 1] + p[column + 1] + r * right_r, right_s, p[column], channels,
                    )  # fmt: skip

    return address(loop)
