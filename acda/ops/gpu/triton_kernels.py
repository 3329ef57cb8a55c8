# mypy: disallow-untyped-decorators=False
"""The Triton kernels: matrix products over a tile of pixels and its halo.

An output pixel p and an input pixel q meet at tap u, on each axis, if ``q + padding = p · stride + u · dilation``. A
program takes a tile of pixels (rows: the tile's pixels, fastest, times some atoms) and the halo of pixels that meet
any of them (columns). Where a row and a column meet, their matrix holds the atom's tap, elsewhere zero, so that the
convolution with all atoms is a matrix product: tensor cores multiply the zeros in less time than units without them
need for the rest.

Pixels of a tile lie so far apart that taps of neighbours in the halo follow each other, dilation or not. With rows of
taps as far apart as the halo is wide (:func:`acda.ops.gpu.launch.tap_layout`), the tap where row r and column c meet
has the number ``f(c) − g(r)``, or ``g(r) − f(c)`` if inputs are the rows: where that runs over from one row of taps to
the next it falls on the zeros between them.

The halo's pixels are of a region, a part of every image of the source; ``origin`` is where the block written lies in
it: ``first output · stride − padding`` if outputs are written, ``first input + padding − region's first output ·
stride`` if inputs are. Offsets are 64-bit, but 32-bit within a tile, which the size of a block bounds, and within a
halo, where that fits.
"""

import triton
import triton.language as tl

from acda.ops.gpu.halo_factors import FAR, factors_of_halo
from acda.ops.gpu.tap_by_tap import add_tap_by_tap
from acda.ops.gpu.tile_pixels import columns_of_halo, first_reached, rows_of_tile

# Specialising on these would compile anew for blocks at other places of an image.
_PLAIN = [
    "num_atoms",
    "source_first",
    "source_rows",
    "source_columns",
    "region_rows",
    "region_columns",
    "block_rows",
    "block_columns",
    "origin_v",
    "origin_h",
]


@triton.jit(do_not_specialize=_PLAIN)
def convolve(
    source: tl.tensor,
    atoms: tl.tensor,
    out: tl.tensor,
    channels: tl.tensor,
    part_channels: tl.tensor,
    num_atoms: tl.tensor,
    source_first: tl.tensor,
    source_rows: tl.tensor,
    source_columns: tl.tensor,
    region_rows: tl.tensor,
    region_columns: tl.tensor,
    block_rows: tl.tensor,
    block_columns: tl.tensor,
    origin_v: tl.tensor,
    origin_h: tl.tensor,
    TAPS: tl.constexpr,
    SIDE: tl.constexpr,
    PITCH: tl.constexpr,
    STRIDE: tl.constexpr,
    DILATION: tl.constexpr,
    INVERSE: tl.constexpr,
    TRANSPOSED: tl.constexpr,
    TILE: tl.constexpr,
    TILE_STEP: tl.constexpr,
    HALO: tl.constexpr,
    HALO_STEP: tl.constexpr,
    BLOCK_HALO: tl.constexpr,
    BLOCK_CHANNELS: tl.constexpr,
    WIDE: tl.constexpr,
    PRECISION: tl.constexpr,
) -> None:
    """Convolve the source with atoms of each output pixel, or with their transposes for each input pixel.

    Args:
        source: ``[N, source_rows, source_columns, channels]``.
        atoms: ``[output pixels, num_atoms, TAPS]``, of the block written, or if TRANSPOSED of the region.
        out: ``[pixels of the block, num_atoms, channels]``.
        channels: Channels of the source.
        part_channels: Channels of a program.
        num_atoms: Atoms of a pixel.
        source_first: Number of the region's first pixel among those of the source.
        source_rows: See there.
        source_columns: See there.
        region_rows: Rows of the source, from the first pixel on, that are read.
        region_columns: Columns.
        block_rows: Rows that are written in each image.
        block_columns: Columns.
        origin_v: Where the block lies in the region, see above; vertical.
        origin_h: Horizontal.
        TAPS: Numbers of an atom.
        SIDE: Side of the kernel.
        PITCH: Numbers from one row of taps to the next, which are zero beyond SIDE.
        STRIDE: Vertical and horizontal.
        DILATION: Vertical and horizontal.
        INVERSE: See :func:`~acda.ops.gpu.tile_pixels.first_reached`.
        TRANSPOSED: Whether input pixels are written and output pixels are read.
        TILE: Rows and columns of pixels and atoms of a program.
        TILE_STEP: Pixels of the tile lie so far apart.
        HALO: Rows and columns of the pixels that meet a tile; of PITCH columns unless TRANSPOSED.
        HALO_STEP: These lie so far apart.
        BLOCK_HALO: Pixels of the halo in one product.
        BLOCK_CHANNELS: Channels in one product.
        WIDE: Whether the distances of a halo's elements need 64 bits.
        PRECISION: Of products of float32, ``"ieee"`` or ``"tf32"``.
    """
    first_channel = tl.program_id(1) * part_channels
    image, top, left, v, h, atom, exists, corner, number = rows_of_tile(
        num_atoms, block_rows, block_columns, TILE, TILE_STEP
    )
    source += (source_first + image.to(tl.int64) * source_rows * source_columns) * channels
    out += corner * channels
    out_row = (number * channels)[:, None]
    if TRANSPOSED:
        atoms += image.to(tl.int64) * region_rows * region_columns * num_atoms * TAPS
        first_v, tap_v, reached_v = first_reached(
            origin_v + top, SIDE, STRIDE[0], DILATION[0], HALO_STEP[0], INVERSE[0]
        )
        first_h, tap_h, reached_h = first_reached(
            origin_h + left, SIDE, STRIDE[1], DILATION[1], HALO_STEP[1], INVERSE[1]
        )
        reached = reached_v & reached_h
        row = tl.where(exists, (tap_v + v) * PITCH + (tap_h + h), FAR)
        row_atoms = atom * TAPS + row
        halo_atoms = atoms + (first_v.to(tl.int64) * region_columns + first_h) * num_atoms * TAPS
    else:
        # Tiles of pixels that lie apart may all be beyond the block: they read atoms that are there.
        atoms += tl.where((top < block_rows) & (left < block_columns), corner, 0) * TAPS
        first_v, first_h = origin_v + top * STRIDE[0], origin_h + left * STRIDE[1]
        reached = True
        ROW_V: tl.constexpr = STRIDE[0] * TILE_STEP[0] // DILATION[0] * PITCH
        ROW_H: tl.constexpr = STRIDE[1] * TILE_STEP[1] // DILATION[1]
        row = v * ROW_V + h * ROW_H
        row_atoms = tl.where(exists, number * TAPS, 0)
        halo_atoms = atoms
    halo_source = source + (first_v.to(tl.int64) * source_columns + first_h) * channels

    ROWS: tl.constexpr = TILE[0] * TILE[1] * TILE[2]
    AT_ONCE: tl.constexpr = HALO[0] * HALO[1] <= BLOCK_HALO  # the whole halo is one factor, made once for all channels
    column = tl.arange(0, BLOCK_HALO)
    if AT_ONCE:
        taps, place, inside = factors_of_halo(
            column,
            first_v,
            first_h,
            reached,
            halo_atoms,
            row_atoms,
            row,
            channels,
            num_atoms,
            source_columns,
            region_rows,
            region_columns,
            TAPS,
            PITCH,
            STRIDE,
            DILATION,
            TRANSPOSED,
            HALO,
            HALO_STEP,
            WIDE,
        )
    sums = tl.zeros((ROWS,), tl.float32)
    for first in range(first_channel, first_channel + part_channels, BLOCK_CHANNELS):
        channel = (first + tl.arange(0, BLOCK_CHANNELS))[None, :]
        within = channel < channels
        if AT_ONCE:
            values = tl.load(halo_source + (place[:, None] + channel), mask=inside[:, None] & within, other=0.0)
            total = tl.dot(taps, values, input_precision=PRECISION)
        else:
            total = tl.zeros((ROWS, BLOCK_CHANNELS), tl.float32)
            for start in range(0, HALO[0] * HALO[1], BLOCK_HALO):
                taps, place, inside = factors_of_halo(
                    start + column,
                    first_v,
                    first_h,
                    reached,
                    halo_atoms,
                    row_atoms,
                    row,
                    channels,
                    num_atoms,
                    source_columns,
                    region_rows,
                    region_columns,
                    TAPS,
                    PITCH,
                    STRIDE,
                    DILATION,
                    TRANSPOSED,
                    HALO,
                    HALO_STEP,
                    WIDE,
                )
                values = tl.load(halo_source + (place[:, None] + channel), mask=inside[:, None] & within, other=0.0)
                total = tl.dot(taps, values, total, input_precision=PRECISION)
        tl.store(out + (out_row + channel), total.to(out.dtype.element_ty), mask=exists[:, None] & within)
        sums += tl.sum(total, axis=1)

    # Zero times NaN or infinity is NaN, so that what is not finite reaches rows that do not meet it. A finite sum of
    # the totals tells that there was none; else add up again without the zeros, tap by tap.
    if tl.sum(sums * 0.0, axis=0) != 0.0:
        tl.debug_barrier()  # other threads may have written what is written again
        PART: tl.constexpr = 32 if BLOCK_CHANNELS > 32 else BLOCK_CHANNELS  # not to need more registers than above
        if TRANSPOSED:
            row_v, row_h = origin_v + top + v * TILE_STEP[0], origin_h + left + h * TILE_STEP[1]
        else:
            row_v = first_v + v * (TILE_STEP[0] * STRIDE[0])
            row_h = first_h + h * (TILE_STEP[1] * STRIDE[1])
        for first in range(first_channel, first_channel + part_channels, PART):
            some = (first + tl.arange(0, PART))[None, :]
            exact = add_tap_by_tap(
                source,
                atoms,
                number,
                atom,
                exists,
                row_v,
                row_h,
                some,
                channels,
                num_atoms,
                source_columns,
                region_rows,
                region_columns,
                TAPS,
                SIDE,
                PITCH,
                STRIDE,
                DILATION,
                TRANSPOSED,
            )
            tl.store(out + (out_row + some), exact.to(out.dtype.element_ty), mask=exists[:, None] & (some < channels))


@triton.jit(do_not_specialize=_PLAIN)
def correlate(
    source: tl.tensor,
    grad: tl.tensor,
    out: tl.tensor,
    channels: tl.tensor,
    num_atoms: tl.tensor,
    source_first: tl.tensor,
    source_rows: tl.tensor,
    source_columns: tl.tensor,
    region_rows: tl.tensor,
    region_columns: tl.tensor,
    block_rows: tl.tensor,
    block_columns: tl.tensor,
    origin_v: tl.tensor,
    origin_h: tl.tensor,
    TAPS: tl.constexpr,
    SIDE: tl.constexpr,
    STRIDE: tl.constexpr,
    DILATION: tl.constexpr,
    TILE: tl.constexpr,
    TILE_STEP: tl.constexpr,
    HALO: tl.constexpr,
    HALO_STEP: tl.constexpr,
    BLOCK_HALO: tl.constexpr,
    BLOCK_CHANNELS: tl.constexpr,
    WIDE: tl.constexpr,
    PRECISION: tl.constexpr,
) -> None:
    """Sum ``grad[p, b] · source[q]`` over channels, for each output pixel p, atom b and pixel q of p's window.

    ``grad`` is ``[pixels of the block, num_atoms, channels]``, ``out`` ``[pixels of the block, num_atoms, TAPS]``, to
    which zero is written beyond SIDE²; the other arguments are those of :func:`convolve`.
    """
    start = tl.program_id(1) * BLOCK_HALO
    image, top, left, v, h, _, exists, corner, number = rows_of_tile(
        num_atoms, block_rows, block_columns, TILE, TILE_STEP
    )
    first_v, first_h = origin_v + top * STRIDE[0], origin_h + left * STRIDE[1]
    column = start + tl.arange(0, BLOCK_HALO)
    at_v, at_h, inside, below, beside = columns_of_halo(
        column, first_v, first_h, region_rows, region_columns, HALO, HALO_STEP, WIDE
    )
    first_pixel = source_first + image.to(tl.int64) * source_rows * source_columns
    source += (first_pixel + first_v.to(tl.int64) * source_columns + first_h) * channels
    place = (below * source_columns + beside) * channels
    grad += corner * channels
    grad_row = (number * channels)[:, None]
    total = tl.zeros((TILE[0] * TILE[1] * TILE[2], BLOCK_HALO), tl.float32)
    for first in range(0, channels, BLOCK_CHANNELS):
        channel = (first + tl.arange(0, BLOCK_CHANNELS))[None, :]
        rows = tl.load(grad + (grad_row + channel), mask=exists[:, None] & (channel < channels), other=0.0)
        columns = tl.load((source + place)[:, None] + channel, mask=inside[:, None] & (channel < channels), other=0.0)
        total = tl.dot(rows, tl.trans(columns), total, input_precision=PRECISION)

    # Each tap of a window is at one place of the halo: what is stored for all of them covers the first SIDE² taps.
    shift_v, shift_h = v * (STRIDE[0] * TILE_STEP[0] // DILATION[0]), h * (STRIDE[1] * TILE_STEP[1] // DILATION[1])
    row_taps = number * TAPS
    row_place = row_taps - (shift_v * SIDE + shift_h)
    meet_v = (at_v[None, :] - shift_v[:, None]).to(tl.uint32) < SIDE
    meet_h = (at_h[None, :] - shift_h[:, None]).to(tl.uint32) < SIDE
    out += corner * TAPS
    place = row_place[:, None] + (at_v * SIDE + at_h)[None, :]
    tl.store(out + place, total.to(out.dtype.element_ty), mask=meet_v & meet_h & exists[:, None])
    if start == 0:
        spare = (SIDE * SIDE + tl.arange(0, 8))[None, :]  # TAPS is SIDE² rounded up to a multiple of 8
        zeros = tl.zeros((TILE[0] * TILE[1] * TILE[2], 8), out.dtype.element_ty)
        tl.store(out + (row_taps[:, None] + spare), zeros, mask=exists[:, None] & (spare < TAPS))
