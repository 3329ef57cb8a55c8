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

_FAR = tl.constexpr(2**30)  # no tap has the number of a row or column from there


@triton.jit
def _rows(
    num_atoms: tl.tensor,
    block_rows: tl.tensor,
    block_columns: tl.tensor,
    TILE: tl.constexpr,
    TILE_STEP: tl.constexpr,
) -> tuple[tl.tensor, ...]:
    """Where a program's tile is: image, row and column of its corner, all in the block; and what its rows are.

    Of each row: its pixel's row and column in the tile, its atom, whether they exist, and its number in
    ``[pixels of the block, num_atoms]`` as that of the corner's first atom and the distance from it. The distance has
    32 bits, so that a thread with many rows needs few registers.
    """
    SPAN_V: tl.constexpr = TILE[0] * TILE_STEP[0]
    SPAN_H: tl.constexpr = TILE[1] * TILE_STEP[1]
    tiles_v, tiles_h = tl.cdiv(block_rows, SPAN_V) * TILE_STEP[0], tl.cdiv(block_columns, SPAN_H) * TILE_STEP[1]
    tile = tl.program_id(0)
    across = tile // tiles_h
    image = across // tiles_v
    tile_v, tile_h = across - image * tiles_v, tile - across * tiles_h  # cheaper than remainders
    top = tile_v // TILE_STEP[0] * SPAN_V + tile_v % TILE_STEP[0]
    left = tile_h // TILE_STEP[1] * SPAN_H + tile_h % TILE_STEP[1]
    row = tl.arange(0, TILE[0] * TILE[1] * TILE[2])
    v, h, atom = row // TILE[1] % TILE[0], row % TILE[1], tl.program_id(2) * TILE[2] + row // (TILE[0] * TILE[1])
    below, beside = v * TILE_STEP[0], h * TILE_STEP[1]
    exists = (top + below < block_rows) & (left + beside < block_columns) & (atom < num_atoms)
    corner = ((image.to(tl.int64) * block_rows + top) * block_columns + left) * num_atoms
    return image, top, left, v, h, atom, exists, corner, (below * block_columns + beside) * num_atoms + atom


@triton.jit
def _inside(v: tl.tensor, h: tl.tensor, rows: tl.tensor, columns: tl.tensor) -> tl.tensor:
    """Whether a pixel lies in the region."""
    return (v >= 0) & (v < rows) & (h >= 0) & (h < columns)


@triton.jit
def _columns(
    halo: tl.tensor,
    first_v: tl.tensor,
    first_h: tl.tensor,
    region_rows: tl.tensor,
    region_columns: tl.tensor,
    HALO: tl.constexpr,
    HALO_STEP: tl.constexpr,
    WIDE: tl.constexpr,
) -> tuple[tl.tensor, ...]:
    """Of each column: its pixel's row and column in the halo, and whether the pixel is of the halo and in the region.

    Also how far it is from the halo's first pixel, in rows and columns of the region, of 64 bits if WIDE.
    """
    v, h = halo // HALO[1], halo % HALO[1]
    below, beside = v * HALO_STEP[0], h * HALO_STEP[1]
    inside = (halo < HALO[0] * HALO[1]) & _inside(first_v + below, first_h + beside, region_rows, region_columns)
    if WIDE:
        below = below.to(tl.int64)
    return v, h, inside, below, beside


@triton.jit
def _first_reached(
    at: tl.tensor,
    SIDE: tl.constexpr,
    STRIDE: tl.constexpr,
    DILATION: tl.constexpr,
    HALO_STEP: tl.constexpr,
    INVERSE: tl.constexpr,
) -> tuple[tl.tensor, ...]:
    """First output position, be it negative, whose window has a tap on or after the tile's first input position.

    Args:
        at: That input position, more than −STRIDE.
        SIDE: Of the kernel.
        STRIDE: Of the convolution.
        DILATION: Of the convolution.
        HALO_STEP: Outputs that are reached, if any, lie so far apart.
        INVERSE: Of their stride without dilation, modulo HALO_STEP.

    Returns:
        The output position, its tap that is on that input position, which may be beyond the last one, and whether
        outputs are reached at all.
    """
    COMMON: tl.constexpr = DILATION // HALO_STEP
    REDUCED: tl.constexpr = STRIDE // COMMON
    SHIFT: tl.constexpr = (SIDE + REDUCED - 1) // REDUCED  # division truncates: no dividend may be negative
    shifted = at + STRIDE * HALO_STEP
    start = shifted // COMMON % HALO_STEP * INVERSE % HALO_STEP
    tap = (shifted - start * STRIDE) // DILATION - REDUCED
    first = (tap - (SIDE - 1) + REDUCED - 1 + SHIFT * REDUCED) // REDUCED - SHIFT
    return start + first * HALO_STEP, tap - first * REDUCED, shifted % COMMON == 0


@triton.jit
def _taps_of_rows(atoms: tl.tensor, row: tl.tensor, column: tl.tensor, TAPS: tl.constexpr) -> tl.tensor:
    """Taps where rows and columns meet, of the rows' atoms.

    Args:
        atoms: The first tap of each row's atom, or where there is no atom of any.
        row: Number of the column that meets the row's first tap.
        column: Numbers of columns.
        TAPS: Numbers of an atom, of which the last is zero: where they do not meet, it is what they take.
    """
    tap = (column[None, :] - row[:, None]).to(tl.uint32)
    return tl.load(atoms[:, None] + tl.minimum(tap, TAPS - 1))


@triton.jit
def _taps_of_columns(
    atoms: tl.tensor, row_atoms: tl.tensor, row: tl.tensor, column: tl.tensor, TAPS: tl.constexpr
) -> tl.tensor:
    """Taps where rows and columns meet, of the columns' atoms.

    Args:
        atoms: Where, for each column, the atoms are, less its number.
        row_atoms: For each row, how far its atom is from there, and its number.
        row: Number of each row.
        column: Number of each column: the tap is that of the row less it.
        TAPS: Numbers of an atom.
    """
    # Neighbouring lanes take rows, not columns: the taps of one output pixel lie together.
    tap = row[None, :] - column[:, None]
    return tl.trans(tl.load(atoms[:, None] + row_atoms[None, :], mask=tap.to(tl.uint32) < TAPS, other=0.0))


@triton.jit
def _add_up(
    source: tl.tensor,
    atoms: tl.tensor,
    number: tl.tensor,
    atom: tl.tensor,
    exists: tl.tensor,
    row_v: tl.tensor,
    row_h: tl.tensor,
    channel: tl.tensor,
    channels: tl.tensor,
    num_atoms: tl.tensor,
    source_columns: tl.tensor,
    region_rows: tl.tensor,
    region_columns: tl.tensor,
    TAPS: tl.constexpr,
    SIDE: tl.constexpr,
    PITCH: tl.constexpr,
    STRIDE: tl.constexpr,
    DILATION: tl.constexpr,
    TRANSPOSED: tl.constexpr,
) -> tl.tensor:
    """Convolve tap by tap, in float32: no row is reached by what its window does not hold.

    Args:
        source: First element of the region of the tile's image.
        atoms: First tap of the tile's corner, or if TRANSPOSED of the region of its image.
        number: Of each row, its atom as :func:`_rows` counts.
        atom: Of each row, its atom.
        exists: Whether the row does.
        row_v: Vertical position of its pixel in the region.
        row_h: Horizontal position.
        channel: ``[1, channels to compute]``.
        channels: This and the others: see :func:`convolve`.
        num_atoms: See there.
        source_columns: See there.
        region_rows: See there.
        region_columns: See there.
        TAPS: See there.
        SIDE: See there.
        PITCH: See there.
        STRIDE: See there.
        DILATION: See there.
        TRANSPOSED: See there.
    """
    sums = tl.zeros((number.shape[0], channel.shape[1]), tl.float32)
    for tap in range(0, SIDE * SIDE):
        tap_v, tap_h = tap // SIDE, tap % SIDE
        at_v, at_h = row_v + tap_v * DILATION[0], row_h + tap_h * DILATION[1]
        meet = exists
        if TRANSPOSED:
            from_v, from_h = row_v - tap_v * DILATION[0], row_h - tap_h * DILATION[1]
            at_v, at_h = from_v // STRIDE[0], from_h // STRIDE[1]
            meet = exists & (at_v * STRIDE[0] == from_v) & (at_h * STRIDE[1] == from_h)
        meet = meet & _inside(at_v, at_h, region_rows, region_columns)
        row = (at_v.to(tl.int64) * region_columns + at_h) * num_atoms + atom if TRANSPOSED else number
        taps = tl.load(atoms + (row * TAPS + (tap_v * PITCH + tap_h)), mask=meet, other=0.0)
        place = (at_v.to(tl.int64) * source_columns + at_h) * channels
        mask = meet[:, None] & (channel < channels)
        values = tl.load((source + place)[:, None] + channel, mask=mask, other=0.0)
        sums += taps.to(tl.float32)[:, None] * values.to(tl.float32)
    return sums


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
        INVERSE: See :func:`_first_reached`.
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
    image, top, left, v, h, atom, exists, corner, number = _rows(num_atoms, block_rows, block_columns, TILE, TILE_STEP)
    source += (source_first + image.to(tl.int64) * source_rows * source_columns) * channels
    out += corner * channels
    out_row = (number * channels)[:, None]
    if TRANSPOSED:
        atoms += image.to(tl.int64) * region_rows * region_columns * num_atoms * TAPS
        first_v, tap_v, reached_v = _first_reached(
            origin_v + top, SIDE, STRIDE[0], DILATION[0], HALO_STEP[0], INVERSE[0]
        )
        first_h, tap_h, reached_h = _first_reached(
            origin_h + left, SIDE, STRIDE[1], DILATION[1], HALO_STEP[1], INVERSE[1]
        )
        reached = reached_v & reached_h
        APART_V: tl.constexpr = STRIDE[0] * HALO_STEP[0] // DILATION[0] * PITCH
        APART_H: tl.constexpr = STRIDE[1] * HALO_STEP[1] // DILATION[1]
        row = tl.where(exists, (tap_v + v) * PITCH + (tap_h + h), _FAR)
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
        at_v, at_h, inside, below, beside = _columns(
            column, first_v, first_h, region_rows, region_columns, HALO, HALO_STEP, WIDE
        )
        inside = inside & reached
        place = (below * source_columns + beside) * channels
        if TRANSPOSED:
            meets = at_v * APART_V + at_h * APART_H
            pixel = (below * region_columns + beside) * (num_atoms * TAPS) - meets
            taps = _taps_of_columns(halo_atoms + pixel, row_atoms, row, tl.where(inside, meets, -_FAR), TAPS)
        else:
            taps = _taps_of_rows(halo_atoms + row_atoms, row, column, TAPS)
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
                at_v, at_h, inside, below, beside = _columns(
                    start + column, first_v, first_h, region_rows, region_columns, HALO, HALO_STEP, WIDE
                )
                inside = inside & reached
                place = (below * source_columns + beside) * channels
                if TRANSPOSED:
                    meets = at_v * APART_V + at_h * APART_H
                    pixel = (below * region_columns + beside) * (num_atoms * TAPS) - meets
                    taps = _taps_of_columns(halo_atoms + pixel, row_atoms, row, tl.where(inside, meets, -_FAR), TAPS)
                else:
                    taps = _taps_of_rows(halo_atoms + row_atoms, row, start + column, TAPS)
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
            exact = _add_up(
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
    image, top, left, v, h, _, exists, corner, number = _rows(num_atoms, block_rows, block_columns, TILE, TILE_STEP)
    first_v, first_h = origin_v + top * STRIDE[0], origin_h + left * STRIDE[1]
    column = start + tl.arange(0, BLOCK_HALO)
    at_v, at_h, inside, below, beside = _columns(
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
