# mypy: disallow-untyped-decorators=False
"""The Triton kernels: matrix products over a tile of pixels and its halo.

An output pixel p and an input pixel q meet at tap u, on each axis, if ``q + padding = p · stride + u · dilation``. A
program takes a tile of pixels (rows: the tile's pixels, fastest, times some atoms) and the halo of pixels that meet
any of them (columns). Where a row and a column meet, their matrix holds the atom's tap, elsewhere zero, so that the
convolution with all atoms is a matrix product: tensor cores multiply the zeros in less time than units without them
need for the rest.

The halo's pixels are of a region, a part of every image of the source; ``origin`` is where the block written lies in
it: ``first output · stride − padding`` if outputs are written, ``first input + padding − region's first output ·
stride`` if inputs are. Offsets are 64-bit, but 32-bit within a tile and within a pixel, both of which the size of a
block bounds.
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


@triton.jit
def _rows(
    tile: tl.tensor,
    first_atom: tl.tensor,
    num_atoms: tl.tensor,
    block_rows: tl.tensor,
    block_columns: tl.tensor,
    TILE: tl.constexpr,
) -> tuple[tl.tensor, ...]:
    """Where a tile is: image, row and column of its corner, all in the block; and what its rows are.

    Of each row: its pixel's row and column in the tile, its atom, whether they exist, and its number in
    ``[pixels of the block, num_atoms]`` as that of the corner's first atom and the distance from it. The distance has
    32 bits, so that a thread with many rows needs few registers.
    """
    tiles_v, tiles_h = tl.cdiv(block_rows, TILE[0]), tl.cdiv(block_columns, TILE[1])
    image, top, left = tile // (tiles_v * tiles_h), tile // tiles_h % tiles_v * TILE[0], tile % tiles_h * TILE[1]
    row = tl.arange(0, TILE[0] * TILE[1] * TILE[2])
    v, h, atom = row // TILE[1] % TILE[0], row % TILE[1], first_atom + row // (TILE[0] * TILE[1])
    exists = (top + v < block_rows) & (left + h < block_columns) & (atom < num_atoms)
    corner = ((image.to(tl.int64) * block_rows + top) * block_columns + left) * num_atoms
    return image, top, left, v, h, atom, exists, corner, (v * block_columns + h) * num_atoms + atom


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
) -> tuple[tl.tensor, ...]:
    """Of each column: its pixel's row and column in the region, and whether the pixel is of the halo and lies there."""
    v, h = first_v + halo // HALO[1], first_h + halo % HALO[1]
    return v, h, (halo < HALO[0] * HALO[1]) & _inside(v, h, region_rows, region_columns)


@triton.jit
def _tap(v: tl.tensor, h: tl.tensor, SIDE: tl.constexpr, DILATION: tl.constexpr) -> tuple[tl.tensor, ...]:
    """Find the number of the tap at distance ``q + padding − p · stride``, and whether there is one."""
    tap_v, tap_h = v // DILATION[0], h // DILATION[1]
    exact = (tap_v * DILATION[0] == v) & (tap_h * DILATION[1] == h)
    return tap_v * SIDE + tap_h, exact & _inside(v, h, SIDE * DILATION[0], SIDE * DILATION[1])


@triton.jit
def _first_reached(at: tl.tensor, SIDE: tl.constexpr, STRIDE: tl.constexpr, DILATION: tl.constexpr) -> tl.tensor:
    """First output position, be it negative, whose window's last tap is at or after input position ``at``."""
    REACH: tl.constexpr = (SIDE - 1) * DILATION
    SHIFT: tl.constexpr = (REACH + STRIDE - 1) // STRIDE  # division truncates: the dividend must not be negative
    return (at + SHIFT * STRIDE - REACH + STRIDE - 1) // STRIDE - SHIFT


@triton.jit(do_not_specialize=_PLAIN)
def convolve(
    source: tl.tensor,
    atoms: tl.tensor,
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
    TRANSPOSED: tl.constexpr,
    TILE: tl.constexpr,
    HALO: tl.constexpr,
    BLOCK_HALO: tl.constexpr,
    BLOCK_CHANNELS: tl.constexpr,
    PRECISION: tl.constexpr,
) -> None:
    """Convolve the source with atoms of each output pixel, or with their transposes for each input pixel.

    Args:
        source: ``[N, source_rows, source_columns, channels]``.
        atoms: ``[output pixels, num_atoms, TAPS]``, of the block written, or if TRANSPOSED of the region.
        out: ``[pixels of the block, num_atoms, channels]``.
        channels: Channels of the source.
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
        TAPS: Taps of an atom, of which the first SIDE² are used.
        SIDE: Side of the kernel.
        STRIDE: Vertical and horizontal.
        DILATION: Vertical and horizontal.
        TRANSPOSED: Whether input pixels are written and output pixels are read.
        TILE: Rows and columns of pixels and atoms of a program.
        HALO: Rows and columns of the pixels that meet a tile.
        BLOCK_HALO: Pixels of the halo in one product.
        BLOCK_CHANNELS: Channels of a program.
        PRECISION: Of products of float32, ``"ieee"`` or ``"tf32"``.
    """
    channel_blocks, atom_blocks = tl.cdiv(channels, BLOCK_CHANNELS), tl.cdiv(num_atoms, TILE[2])
    program = tl.program_id(0)
    channel = program % channel_blocks * BLOCK_CHANNELS + tl.arange(0, BLOCK_CHANNELS)
    within = (channel < channels)[None, :]
    first_atom = program // channel_blocks % atom_blocks * TILE[2]
    image, top, left, v, h, atom, exists, corner, number = _rows(
        program // channel_blocks // atom_blocks, first_atom, num_atoms, block_rows, block_columns, TILE
    )
    source += (source_first + image.to(tl.int64) * source_rows * source_columns) * channels
    if TRANSPOSED:
        atoms += image.to(tl.int64) * region_rows * region_columns * num_atoms * TAPS
        row_v, row_h = origin_v + top + v, origin_h + left + h
        first_v = _first_reached(origin_v + top, SIDE, STRIDE[0], DILATION[0])
        first_h = _first_reached(origin_h + left, SIDE, STRIDE[1], DILATION[1])
    else:
        atoms += corner * TAPS
        row_v, row_h = origin_v + (top + v) * STRIDE[0], origin_h + (left + h) * STRIDE[1]
        first_v, first_h = origin_v + top * STRIDE[0], origin_h + left * STRIDE[1]

    total = tl.zeros((TILE[0] * TILE[1] * TILE[2], BLOCK_CHANNELS), tl.float32)
    for start in range(0, HALO[0] * HALO[1], BLOCK_HALO):
        at_v, at_h, inside = _columns(
            start + tl.arange(0, BLOCK_HALO), first_v, first_h, region_rows, region_columns, HALO
        )
        place = (at_v.to(tl.int64) * source_columns + at_h) * channels
        values = tl.load((source + place)[:, None] + channel[None, :], mask=inside[:, None] & within, other=0.0)
        if TRANSPOSED:  # neighbouring lanes take rows, not columns: the taps of one output pixel lie together
            distance_v = row_v[None, :] - (at_v * STRIDE[0])[:, None]
            distance_h = row_h[None, :] - (at_h * STRIDE[1])[:, None]
            tap, meet = _tap(distance_v, distance_h, SIDE, DILATION)
            pixel = (at_v.to(tl.int64) * region_columns + at_h) * num_atoms * TAPS
            mask = meet & exists[None, :] & inside[:, None]
            taps = tl.trans(tl.load((atoms + pixel)[:, None] + ((atom * TAPS)[None, :] + tap), mask=mask, other=0.0))
        else:
            tap, meet = _tap(at_v[None, :] - row_v[:, None], at_h[None, :] - row_h[:, None], SIDE, DILATION)
            taps = tl.load(atoms + ((number * TAPS)[:, None] + tap), mask=meet & exists[:, None], other=0.0)
        total = tl.dot(taps, values, total, input_precision=PRECISION)

    out += corner * channels
    out_row = (number.to(tl.int64) * channels)[:, None]
    # Zero times NaN or infinity is NaN, so that what is not finite reaches rows that do not meet it. A total that is
    # finite throughout tells that there was none; else add up again without the zeros, tap by tap.
    if tl.sum(tl.sum(total * 0.0, axis=1), axis=0) == 0.0:
        tl.store(out + (out_row + channel[None, :]), total.to(out.dtype.element_ty), mask=exists[:, None] & within)
    else:
        PART: tl.constexpr = 32 if BLOCK_CHANNELS > 32 else BLOCK_CHANNELS  # not to need more registers than above
        for part in range(0, BLOCK_CHANNELS, PART):
            some = (program % channel_blocks * BLOCK_CHANNELS + part + tl.arange(0, PART))[None, :]
            sums = tl.zeros((TILE[0] * TILE[1] * TILE[2], PART), tl.float32)
            for tap in range(0, SIDE * SIDE):
                tap_v, tap_h = tap // SIDE * DILATION[0], tap % SIDE * DILATION[1]
                if TRANSPOSED:
                    at_v, at_h = (row_v - tap_v) // STRIDE[0], (row_h - tap_h) // STRIDE[1]
                    exact = (at_v * STRIDE[0] == row_v - tap_v) & (at_h * STRIDE[1] == row_h - tap_h)
                    meet = exact & exists & _inside(at_v, at_h, region_rows, region_columns)
                    pixel = (at_v.to(tl.int64) * region_columns + at_h) * num_atoms
                    taps = tl.load(atoms + (pixel + atom) * TAPS + tap, mask=meet, other=0.0)
                else:
                    at_v, at_h = row_v + tap_v, row_h + tap_h
                    meet = exists & _inside(at_v, at_h, region_rows, region_columns)
                    taps = tl.load(atoms + (number * TAPS + tap), mask=exists, other=0.0)
                place = (at_v.to(tl.int64) * source_columns + at_h) * channels
                mask = meet[:, None] & (some < channels)
                values = tl.load((source + place)[:, None] + some, mask=mask, other=0.0)
                sums += taps.to(tl.float32)[:, None] * values.to(tl.float32)
            mask = exists[:, None] & (some < channels)
            tl.store(out + (out_row + some), sums.to(out.dtype.element_ty), mask=mask)


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
    HALO: tl.constexpr,
    BLOCK_HALO: tl.constexpr,
    BLOCK_CHANNELS: tl.constexpr,
    PRECISION: tl.constexpr,
) -> None:
    """Sum ``grad[p, b] · source[q]`` over channels, for each output pixel p, atom b and pixel q of p's window.

    ``grad`` is ``[pixels of the block, num_atoms, channels]``, ``out`` ``[pixels of the block, num_atoms, TAPS]``, to
    which zero is written beyond SIDE²; the other arguments are those of :func:`convolve`.
    """
    halo_blocks, atom_blocks = tl.cdiv(HALO[0] * HALO[1], BLOCK_HALO), tl.cdiv(num_atoms, TILE[2])
    program = tl.program_id(0)
    start = program % halo_blocks * BLOCK_HALO
    first_atom = program // halo_blocks % atom_blocks * TILE[2]
    image, top, left, v, h, _, exists, corner, number = _rows(
        program // halo_blocks // atom_blocks, first_atom, num_atoms, block_rows, block_columns, TILE
    )
    first_v, first_h = origin_v + top * STRIDE[0], origin_h + left * STRIDE[1]
    at_v, at_h, inside = _columns(start + tl.arange(0, BLOCK_HALO), first_v, first_h, region_rows, region_columns, HALO)
    source += (source_first + image.to(tl.int64) * source_rows * source_columns) * channels
    place = (at_v.to(tl.int64) * source_columns + at_h) * channels
    grad += corner * channels
    total = tl.zeros((TILE[0] * TILE[1] * TILE[2], BLOCK_HALO), tl.float32)
    for first in range(0, channels, BLOCK_CHANNELS):
        channel = (first + tl.arange(0, BLOCK_CHANNELS))[None, :]
        grad_address = grad + (number.to(tl.int64) * channels)[:, None] + channel
        rows = tl.load(grad_address, mask=exists[:, None] & (channel < channels), other=0.0)
        columns = tl.load((source + place)[:, None] + channel, mask=inside[:, None] & (channel < channels), other=0.0)
        total = tl.dot(rows, tl.trans(columns), total, input_precision=PRECISION)

    # Each tap of a window is at one place of the halo: what is stored for all of them covers the first SIDE² taps.
    distance_v = (at_v - first_v)[None, :] - (v * STRIDE[0])[:, None]
    distance_h = (at_h - first_h)[None, :] - (h * STRIDE[1])[:, None]
    tap, meet = _tap(distance_v, distance_h, SIDE, DILATION)
    out += corner * TAPS
    row_taps = (number * TAPS)[:, None]
    tl.store(out + (row_taps + tap), total.to(out.dtype.element_ty), mask=meet & exists[:, None])
    if start == 0:
        spare = (SIDE * SIDE + tl.arange(0, 8))[None, :]  # TAPS is SIDE² rounded up to a multiple of 8
        zeros = tl.zeros((TILE[0] * TILE[1] * TILE[2], 8), out.dtype.element_ty)
        tl.store(out + (row_taps + spare), zeros, mask=exists[:, None] & (spare < TAPS))
