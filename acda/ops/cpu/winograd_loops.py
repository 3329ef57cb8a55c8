"""Loops that take some tiles at a time through transforms and products, all of which stays near to a core."""

from functools import cache
from typing import Any, NamedTuple

from numba.extending import register_jitable

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


_AT, _ = places(Winograd)
_LANES, _VECTORS, _ = registers(False)
_SIZE = 4  # bytes of a number


@register_jitable  # type: ignore[untyped-decorator]
def _split_scratch(p: Any) -> tuple[int, int, int, int]:
    """Addresses in a thread's scratch memory: of zeros, of what is not wanted, and of a run's patches and products."""
    both = (p[_AT.padded_channels] + p[_AT.padded_out]) * _SIZE
    zeros = p[_AT.scratch] + next_ticket(p, THREAD) * p[_AT.scratch_of_thread]
    fill_zero(zeros, both)
    patches = zeros + 2 * both
    return zeros, zeros + both, patches, patches + PATCH * PATCH * RUN * p[_AT.padded_channels] * _SIZE


@register_jitable  # type: ignore[untyped-decorator]
def _find_tile(p: Any, tile: int) -> tuple[int, int, int]:
    """Image, and first row and column of results, of a tile."""
    down, across = p[_AT.tile_rows], p[_AT.tile_columns]
    return tile // (down * across), TILE * (tile // across % down), TILE * (tile % across)


@register_jitable  # type: ignore[untyped-decorator]
def _transform_patch(p: Any, tile: int, zeros: int, waste: int, target: int) -> None:
    """Transform what a tile is made of, to the tile's place in a run."""
    n, i, j = _find_tile(p, tile)
    i, j = i - p[_AT.padding_rows], j - p[_AT.padding_columns]
    of_x, of_point = p[_AT.channels] * _SIZE, RUN * p[_AT.padded_channels] * _SIZE
    transform(
        _LANES, PATCHES, p[_AT.x] + n * p[_AT.x_of_image] + i * p[_AT.x_of_row] + j * of_x,
        p[_AT.x_of_row], of_x, -i, p[_AT.rows] - i, -j, p[_AT.columns] - j, zeros,
        target, PATCH * of_point, of_point, PATCH, PATCH, waste, p[_AT.channels],
    )  # fmt: skip


@cache
def forward_loop() -> int:
    """Compile the loop that convolves; its address."""

    def loop(p):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        channels = p[_AT.channels]
        of_v, of_m, of_y = p[_AT.padded_channels] * _SIZE, p[_AT.padded_out] * _SIZE, p[_AT.out_channels] * _SIZE
        v_of_point, m_of_point = RUN * of_v, RUN * of_m
        zeros, waste, v, m = _split_scratch(p)
        while True:
            first = next_ticket(p, WORK) * RUN
            if first >= p[_AT.tiles]:
                break
            count = min(RUN, p[_AT.tiles] - first)
            for t in range(count):
                _transform_patch(p, first + t, zeros, waste, v + t * of_v)
            for point in range(PATCH * PATCH):
                for t in range(0, count, GROUP):
                    combine(
                        0, _LANES, _VECTORS, GROUP, GROUP, m + point * m_of_point + t * of_m, of_m, 0, 0,
                        v + point * v_of_point + t * of_v, of_v, 0, _SIZE,
                        p[_AT.products] + point * channels * of_m, 0, of_m, 1, channels, p[_AT.padded_out],
                    )  # fmt: skip
            for t in range(count):
                n, i, j = _find_tile(p, first + t)
                transform(
                    _LANES, TO_TILES, m + t * of_m, PATCH * m_of_point, m_of_point, 0, PATCH, 0, PATCH, zeros,
                    p[_AT.y] + n * p[_AT.y_of_image] + i * p[_AT.y_of_row] + j * of_y, p[_AT.y_of_row], of_y,
                    p[_AT.out_rows] - i, p[_AT.out_columns] - j, waste, p[_AT.out_channels],
                )  # fmt: skip

    return address(loop)


@cache
def weight_loop() -> int:
    """Compile the loop that adds up the gradient of transformed filters; its address."""

    def loop(p):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        groups = (p[_AT.channels] + GROUP - 1) // GROUP
        of_v, of_m, of_y = p[_AT.padded_channels] * _SIZE, p[_AT.padded_out] * _SIZE, p[_AT.out_channels] * _SIZE
        v_of_point, m_of_point = RUN * of_v, RUN * of_m
        zeros, waste, v, m = _split_scratch(p)
        while True:
            slot = next_ticket(p, WORK)
            if slot >= p[_AT.slots]:
                break
            last = p[_AT.tiles] * (slot + 1) // p[_AT.slots]
            for first in range(p[_AT.tiles] * slot // p[_AT.slots], last, RUN):
                count = min(RUN, last - first)
                for t in range(count):
                    n, i, j = _find_tile(p, first + t)
                    transform(
                        _LANES, TILES, p[_AT.y] + n * p[_AT.y_of_image] + i * p[_AT.y_of_row] + j * of_y,
                        p[_AT.y_of_row], of_y, 0, p[_AT.out_rows] - i, 0, p[_AT.out_columns] - j, zeros,
                        m + t * of_m, PATCH * m_of_point, m_of_point, PATCH, PATCH, waste, p[_AT.out_channels],
                    )  # fmt: skip
                    _transform_patch(p, first + t, zeros, waste, v + t * of_v)
                for point in range(PATCH * PATCH):
                    for group in range(groups):
                        total = p[_AT.products] + ((slot * PATCH * PATCH + point) * groups + group) * GROUP * of_m
                        combine(
                            0, _LANES, _VECTORS, GROUP, GROUP, total, of_m, total, of_m,
                            v + point * v_of_point + group * GROUP * _SIZE, _SIZE, 0, of_v,
                            m + point * m_of_point, 0, of_m, 1, count, p[_AT.padded_out],
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
    which, side, out_side = (TO_FILTERS, PATCH, TAPS) if gradients else (FILTERS, TAPS, PATCH)
    at, _ = places(Filters)

    def loop(p):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        of_channel = p[at.padded_out] * _SIZE
        of_number = p[at.channels] * of_channel
        while True:
            channel = next_ticket(p, WORK)
            if channel >= p[at.channels]:
                break
            source, target = p[at.source] + channel * of_channel, p[at.target] + channel * of_channel
            transform(
                _LANES, which, source, side * of_number, of_number, 0, side, 0, side, source,
                target, out_side * of_number, of_number, out_side, out_side, target, p[at.padded_out],
            )  # fmt: skip

    return address(loop)
