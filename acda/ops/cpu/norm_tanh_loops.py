"""Loops over all elements of images that lie channels last, in chunks which do not hang on the number of threads."""

import math
from functools import cache
from typing import NamedTuple

from numba.extending import register_jitable

from acda.ops.cpu.compiling import WORK, address, places, registers
from acda.ops.cpu.norm_tanh_code import ADD, DEVIATE, DIVIDE, float_of_bits, read, sweep, write
from acda.ops.cpu.vector_code import next_ticket

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


@register_jitable(error_model="numpy")
def _next_chunk(p, at):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Take the next chunk: its number, its first element, its whole rows, and the elements after these.

    Beyond the last chunk, the first element is beyond all.
    """
    row, most = p[at.row], p[at.rows] * p[at.row]
    ticket = next_ticket(p, WORK)
    first = ticket * most
    count = min(most, p[at.elements] - first)
    return ticket, first, count // row, count % row


@cache
def sweep_loop(body: int) -> int:
    """Compile the loop that does one of :mod:`acda.ops.cpu.norm_tanh_code`'s things to each chunk.

    Args:
        body: Which of them.

    Returns:
        Its address.
    """
    lanes, size = lanes_of_sweep(), _SIZE
    at, _ = places(Sweep)

    def loop(p):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        row, vectors = p[at.row], p[at.row] // lanes
        while True:
            ticket, first, whole, rest = _next_chunk(p, at)
            if first >= p[at.elements]:
                break
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
    lanes, size = lanes_of_sweep(), _SIZE
    at, _ = places(Sweep)

    def loop(p):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        row, vectors = p[at.row], p[at.row] // lanes
        while True:
            ticket, first, whole, rest = _next_chunk(p, at)
            if first >= p[at.elements]:
                break
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


class Merge(NamedTuple):
    """What chunks found is put together for each channel, in float64 and in order, for the pass that follows."""

    elements: int
    row: int
    rows: int
    channels: int
    chunks: int
    own: int  # [chunks, numbers, row]: what was found
    shared: int  # [numbers, row]: what the next pass takes
    weight: int  # [C] as the following, or 0
    bias: int  # or 0
    mean: int
    var: int
    grad_weight: int
    grad_bias: int
    eps: int  # bits of a number in float64


@cache
def merge_statistics_loop() -> int:
    """Compile the loop that makes mean and variance, and scale and shift of the next pass, of sums of deviations."""
    size = _SIZE
    at, _ = places(Merge)

    def loop(p):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        elements, row, rows, channels = p[at.elements], p[at.row], p[at.rows], p[at.channels]
        of_number, pixels = row * size, elements // channels
        eps = float_of_bits(p[at.eps])
        for channel in range(channels):
            # All deviations are told from the first chunk's mean, which is as good as any of the images'.
            reference = read(p[at.own] + channel * size)
            sums, squares = 0.0, 0.0
            for chunk in range(p[at.chunks]):
                count = min(rows * row, elements - chunk * rows * row)
                whole, rest = count // row, count % row
                for place in range(channel, row, channels):
                    number = whole + 1 if place < rest else whole
                    if number > 0:
                        found = p[at.own] + 3 * chunk * of_number + place * size
                        near, deviations = read(found) - reference, read(found + of_number)
                        sums += deviations + number * near
                        squares += read(found + 2 * of_number) + near * (2 * deviations + number * near)
            mean = sums / pixels
            var = squares / pixels - mean * mean
            if var < 0:
                var = 0.0
            mean += reference
            scale = 1 / math.sqrt(var + eps)
            if p[at.weight] != 0:
                scale *= read(p[at.weight] + channel * size)
            shift = -mean * scale
            if p[at.bias] != 0:
                shift += read(p[at.bias] + channel * size)
            write(p[at.mean] + channel * size, mean)
            write(p[at.var] + channel * size, var)
            for place in range(channel, row, channels):
                write(p[at.shared] + place * size, scale)
                write(p[at.shared] + of_number + place * size, shift)

    return address(loop)


@cache
def merge_gradients_loop() -> int:
    """Compile the loop that makes gradients of weight and bias, and numbers of the next pass, of sums of products."""
    size = _SIZE
    at, _ = places(Merge)

    def loop(p):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        row, channels = p[at.row], p[at.channels]
        of_number, pixels = row * size, p[at.elements] // channels
        eps = float_of_bits(p[at.eps])
        for channel in range(channels):
            sums, products = 0.0, 0.0
            for chunk in range(p[at.chunks]):
                for place in range(channel, row, channels):
                    found = p[at.own] + 2 * chunk * of_number + place * size
                    sums += read(found)
                    products += read(found + of_number)
            rstd = 1 / math.sqrt(read(p[at.var] + channel * size) + eps)
            products *= rstd
            scale = rstd
            if p[at.weight] != 0:
                scale *= read(p[at.weight] + channel * size)
            write(p[at.grad_weight] + channel * size, products)
            write(p[at.grad_bias] + channel * size, sums)
            for place in range(channel, row, channels):
                to = p[at.shared] + place * size
                write(to, scale)
                write(to + of_number, -scale * rstd * products / pixels)
                write(to + 2 * of_number, -scale * sums / pixels)

    return address(loop)
