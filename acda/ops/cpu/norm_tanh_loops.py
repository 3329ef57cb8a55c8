"""Loops over all elements of images that lie channels last, in chunks which do not hang on the number of threads."""

import zlib
from functools import cache
from pathlib import Path
from typing import NamedTuple

from acda.ops.cpu import norm_tanh_code
from acda.ops.cpu.compiling import REVISION, WORK, address, places, registers
from acda.ops.cpu.norm_tanh_code import ADD, DEVIATE, DIVIDE, sweep
from acda.ops.cpu.vector_code import next_ticket

_REVISION = REVISION ^ zlib.crc32(Path(norm_tanh_code.__file__).read_bytes())
_SIZE = 4  # bytes of an element
_VECTORS = 2  # of the processor's, side by side, so that one need not wait for the other


def lanes_of_sweep() -> int:
    """Elements that a loop takes at once."""
    return _VECTORS * registers(False).lanes


class Sweep(NamedTuple):
    """What is done to each chunk: some rows, each of several pixels so that it is made of whole vectors.

    A row has numbers, each of them for every element: first those that all chunks share, then a chunk's own.
    """

    elements: int
    row: int  # elements
    rows: int  # in a chunk
    stream0: int
    stream1: int
    stream2: int
    stream3: int
    number0: int
    number1: int
    number2: int
    number3: int
    number0_of_chunk: int  # bytes from one chunk to the next
    number1_of_chunk: int
    number2_of_chunk: int


@cache
def sweep_loop(body: int) -> int:
    """Compile the loop that does one of :mod:`acda.ops.cpu.norm_tanh_code`'s things to each chunk.

    Args:
        body: Which of them.

    Returns:
        Its address.
    """
    lanes, revision, size = lanes_of_sweep(), _REVISION, _SIZE
    at, _ = places(Sweep)

    def loop(p):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        revision  # noqa: B018
        elements, row, rows = p[at.elements], p[at.row], p[at.rows]
        vectors = row // lanes
        while True:
            ticket = next_ticket(p, WORK)
            first = ticket * rows * row
            if first >= elements:
                break
            count = min(rows * row, elements - first)
            whole, rest = count // row, count % row
            a, b = p[at.stream0] + first * size, p[at.stream1] + first * size
            c, d = p[at.stream2] + first * size, p[at.stream3] + first * size
            e, f = p[at.number0] + ticket * p[at.number0_of_chunk], p[at.number1] + ticket * p[at.number1_of_chunk]
            g, h = p[at.number2] + ticket * p[at.number2_of_chunk], p[at.number3]
            sweep(body, lanes, 0, a, b, c, d, e, f, g, h, whole, vectors, row)
            if rest > 0:
                done, rest_vectors = whole * row * size, (rest + lanes - 1) // lanes
                sweep(body, lanes, 1, a + done, b + done, c + done, d + done, e, f, g, h, 1, rest_vectors, rest)

    return address(loop)


@cache
def statistics_loop() -> int:
    """Compile the loop that finds each chunk's mean, then its sums of deviations from it and of their squares.

    These are its numbers, zero at first. The mean need not be exact: it leaves out what is no whole row.
    """
    lanes, revision, size = lanes_of_sweep(), _REVISION, _SIZE
    at, _ = places(Sweep)

    def loop(p):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        revision  # noqa: B018
        elements, row, rows = p[at.elements], p[at.row], p[at.rows]
        vectors = row // lanes
        while True:
            ticket = next_ticket(p, WORK)
            first = ticket * rows * row
            if first >= elements:
                break
            count = min(rows * row, elements - first)
            whole, rest = count // row, count % row
            rest_vectors = (rest + lanes - 1) // lanes
            x = p[at.stream0] + first * size
            last = x + whole * row * size
            mean = p[at.number0] + ticket * p[at.number0_of_chunk]
            sums = p[at.number1] + ticket * p[at.number1_of_chunk]
            squares = p[at.number2] + ticket * p[at.number2_of_chunk]
            if whole > 0:
                sweep(ADD, lanes, 0, x, 0, 0, 0, mean, 0, 0, 0, whole, vectors, row)
                sweep(DIVIDE, lanes, 0, whole, 0, 0, 0, mean, 0, 0, 0, 1, vectors, row)
                sweep(DEVIATE, lanes, 0, x, 0, 0, 0, mean, sums, squares, 0, whole, vectors, row)
            elif rest > 0:
                sweep(ADD, lanes, 1, x, 0, 0, 0, mean, 0, 0, 0, 1, rest_vectors, rest)
            if rest > 0:
                sweep(DEVIATE, lanes, 1, last, 0, 0, 0, mean, sums, squares, 0, 1, rest_vectors, rest)

    return address(loop)
