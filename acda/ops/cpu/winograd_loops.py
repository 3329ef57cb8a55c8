"""Loops that take some tiles at a time through transforms and products, all of which stays near to a core."""

from functools import cache
from typing import NamedTuple

from acda.ops.cpu.compiling import GROUP, THREAD, WORK, address, places, registers
from acda.ops.cpu.vector_code import combine, fill_zero, next_ticket
from acda.ops.cpu.winograd_code import FILTERS, PATCH, PATCHES, TAPS, TILE, TILES, TO_FILTERS, TO_TILES, transform

RUN = 4 * GROUP  # tiles that a thread takes at once


class Winograd(NamedTuple):
    """A convolution of 3×3 taps; channels of scratch memory are filled up to whole vectors."""

    tiles: int
    tile_rows: int
    tile_columns: int
    rows: int
    columns: int
    channels: int
    padded_channels: int  # whole vectors, and whole groups of them
    out_rows: int
    out_columns: int
    out_channels: int
    padded_out: int
    padding_rows: int
    padding_columns: int
    x: int  # [images, rows, columns, channels]
    x_of_image: int
    x_of_row: int
    y: int  # [images, out_rows, out_columns, out_channels], or its gradient
    y_of_image: int
    y_of_row: int
    products: int  # forward filters [36, C, padded_out], backward sums [slots, 36, groups of C, padded_out]
    slots: int
    scratch: int
    scratch_of_thread: int


def scratch_elements(padded_channels: int, padded_out: int) -> int:
    """Elements of scratch memory that a thread needs."""
    return (2 + PATCH**2 * RUN) * (padded_channels + padded_out)


@cache
def forward_loop() -> int:
    """Compile the loop that convolves; its address."""
    lanes, vectors, _ = registers(False)
    size = 4
    at, _ = places(Winograd)

    def loop(p):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        down, across, channels = p[at.tile_rows], p[at.tile_columns], p[at.channels]
        of_x, of_v, of_m = channels * size, p[at.padded_channels] * size, p[at.padded_out] * size
        v_of_point, m_of_point, of_y = RUN * of_v, RUN * of_m, p[at.out_channels] * size
        zeros = p[at.scratch] + next_ticket(p, THREAD) * p[at.scratch_of_thread]
        waste = zeros + of_v + of_m
        v = waste + of_v + of_m
        m = v + PATCH * PATCH * v_of_point
        fill_zero(zeros, of_v + of_m)
        while True:
            first = next_ticket(p, WORK) * RUN
            if first >= p[at.tiles]:
                break
            count = min(RUN, p[at.tiles] - first)
            for t in range(count):
                tile = first + t
                n, i, j = tile // (down * across), TILE * (tile // across % down), TILE * (tile % across)
                i, j = i - p[at.padding_rows], j - p[at.padding_columns]
                transform(
                    lanes, PATCHES, p[at.x] + n * p[at.x_of_image] + i * p[at.x_of_row] + j * of_x,
                    p[at.x_of_row], of_x, -i, p[at.rows] - i, -j, p[at.columns] - j, zeros,
                    v + t * of_v, PATCH * v_of_point, v_of_point, PATCH, PATCH, waste, channels,
                )  # fmt: skip
            for point in range(PATCH * PATCH):
                for t in range(0, count, GROUP):
                    combine(
                        0, lanes, vectors, GROUP, GROUP, m + point * m_of_point + t * of_m, of_m, 0, 0,
                        v + point * v_of_point + t * of_v, of_v, 0, size,
                        p[at.products] + point * channels * of_m, 0, of_m, 1, channels, p[at.padded_out],
                    )  # fmt: skip
            for t in range(count):
                tile = first + t
                n, i, j = tile // (down * across), TILE * (tile // across % down), TILE * (tile % across)
                transform(
                    lanes, TO_TILES, m + t * of_m, PATCH * m_of_point, m_of_point, 0, PATCH, 0, PATCH, zeros,
                    p[at.y] + n * p[at.y_of_image] + i * p[at.y_of_row] + j * of_y, p[at.y_of_row], of_y,
                    p[at.out_rows] - i, p[at.out_columns] - j, waste, p[at.out_channels],
                )  # fmt: skip

    return address(loop)


@cache
def weight_loop() -> int:
    """Compile the loop that adds up the gradient of transformed filters; its address."""
    lanes, vectors, _ = registers(False)
    size = 4
    at, _ = places(Winograd)

    def loop(p):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        down, across, channels = p[at.tile_rows], p[at.tile_columns], p[at.channels]
        groups = (channels + GROUP - 1) // GROUP
        of_x, of_v, of_m = channels * size, p[at.padded_channels] * size, p[at.padded_out] * size
        v_of_point, m_of_point, of_y = RUN * of_v, RUN * of_m, p[at.out_channels] * size
        zeros = p[at.scratch] + next_ticket(p, THREAD) * p[at.scratch_of_thread]
        waste = zeros + of_v + of_m
        v = waste + of_v + of_m
        m = v + PATCH * PATCH * v_of_point
        fill_zero(zeros, of_v + of_m)
        while True:
            slot = next_ticket(p, WORK)
            if slot >= p[at.slots]:
                break
            last = p[at.tiles] * (slot + 1) // p[at.slots]
            for first in range(p[at.tiles] * slot // p[at.slots], last, RUN):
                count = min(RUN, last - first)
                for t in range(count):
                    tile = first + t
                    n, i, j = tile // (down * across), TILE * (tile // across % down), TILE * (tile % across)
                    transform(
                        lanes, TILES, p[at.y] + n * p[at.y_of_image] + i * p[at.y_of_row] + j * of_y,
                        p[at.y_of_row], of_y, 0, p[at.out_rows] - i, 0, p[at.out_columns] - j, zeros,
                        m + t * of_m, PATCH * m_of_point, m_of_point, PATCH, PATCH, waste, p[at.out_channels],
                    )  # fmt: skip
                    i, j = i - p[at.padding_rows], j - p[at.padding_columns]
                    transform(
                        lanes, PATCHES, p[at.x] + n * p[at.x_of_image] + i * p[at.x_of_row] + j * of_x,
                        p[at.x_of_row], of_x, -i, p[at.rows] - i, -j, p[at.columns] - j, zeros,
                        v + t * of_v, PATCH * v_of_point, v_of_point, PATCH, PATCH, waste, channels,
                    )  # fmt: skip
                for point in range(PATCH * PATCH):
                    for group in range(groups):
                        total = p[at.products] + ((slot * PATCH * PATCH + point) * groups + group) * GROUP * of_m
                        combine(
                            0, lanes, vectors, GROUP, GROUP, total, of_m, total, of_m,
                            v + point * v_of_point + group * GROUP * size, size, 0, of_v,
                            m + point * m_of_point, 0, of_m, 1, count, p[at.padded_out],
                        )  # fmt: skip

    return address(loop)


class Filters(NamedTuple):
    """Squares of numbers of filters are transformed: ``[numbers, channels, padded_out]``."""

    channels: int
    padded_out: int
    source: int
    target: int


@cache
def filters_loop(gradients: bool) -> int:
    """Compile the loop that makes 36 numbers of a filter's taps, or gradients of taps of those of 36; its address."""
    lanes, size = registers(False).lanes, 4
    which, side, out_side = (TO_FILTERS, PATCH, TAPS) if gradients else (FILTERS, TAPS, PATCH)
    at, _ = places(Filters)

    def loop(p):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        of_channel = p[at.padded_out] * size
        of_number = p[at.channels] * of_channel
        while True:
            channel = next_ticket(p, WORK)
            if channel >= p[at.channels]:
                break
            source, target = p[at.source] + channel * of_channel, p[at.target] + channel * of_channel
            transform(
                lanes, which, source, side * of_number, of_number, 0, side, 0, side, source,
                target, out_side * of_number, of_number, out_side, out_side, target, p[at.padded_out],
            )  # fmt: skip

    return address(loop)
