# mypy: disallow-untyped-decorators=False
"""Which pixels a program's tile and its halo hold, for :mod:`acda.ops.gpu.triton_kernels`, whose terms these are."""

import triton
import triton.language as tl


@triton.jit
def rows_of_tile(
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
def is_inside(v: tl.tensor, h: tl.tensor, rows: tl.tensor, columns: tl.tensor) -> tl.tensor:
    """Whether a pixel lies in the region."""
    return (v >= 0) & (v < rows) & (h >= 0) & (h < columns)


@triton.jit
def columns_of_halo(
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
    inside = (halo < HALO[0] * HALO[1]) & is_inside(first_v + below, first_h + beside, region_rows, region_columns)
    if WIDE:
        below = below.to(tl.int64)
    return v, h, inside, below, beside


@triton.jit
def first_reached(
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
