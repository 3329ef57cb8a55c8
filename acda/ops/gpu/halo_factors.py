# mypy: disallow-untyped-decorators=False
"""What a product takes of the halo: taps where rows and columns meet, for :mod:`acda.ops.gpu.triton_kernels`."""

import triton
import triton.language as tl

from acda.ops.gpu.tile_pixels import columns_of_halo

FAR = tl.constexpr(2**30)  # no tap has the number of a row or column from there


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
def factors_of_halo(
    column: tl.tensor,
    first_v: tl.tensor,
    first_h: tl.tensor,
    reached: tl.tensor,
    atoms: tl.tensor,
    row_atoms: tl.tensor,
    row: tl.tensor,
    channels: tl.tensor,
    num_atoms: tl.tensor,
    source_columns: tl.tensor,
    region_rows: tl.tensor,
    region_columns: tl.tensor,
    TAPS: tl.constexpr,
    PITCH: tl.constexpr,
    STRIDE: tl.constexpr,
    DILATION: tl.constexpr,
    TRANSPOSED: tl.constexpr,
    HALO: tl.constexpr,
    HALO_STEP: tl.constexpr,
    WIDE: tl.constexpr,
) -> tuple[tl.tensor, ...]:
    """Give what a product takes of some pixels of the halo: taps, where channels are, and whether there are any.

    Args:
        column: Numbers of the pixels.
        first_v: Where the halo is in the region, vertical.
        first_h: Horizontal.
        reached: Whether it meets the tile at all.
        atoms: First tap of the tile's corner, or if TRANSPOSED of the halo's first pixel.
        row_atoms: For each row, how far its atom is from there, and if TRANSPOSED its number.
        row: Number of each row.
        channels: This and the others: see :func:`acda.ops.gpu.triton_kernels.convolve`.
        num_atoms: See there.
        source_columns: See there.
        region_rows: See there.
        region_columns: See there.
        TAPS: See there.
        PITCH: See there.
        STRIDE: See there.
        DILATION: See there.
        TRANSPOSED: See there.
        HALO: See there.
        HALO_STEP: See there.
        WIDE: See there.
    """
    at_v, at_h, inside, below, beside = columns_of_halo(
        column, first_v, first_h, region_rows, region_columns, HALO, HALO_STEP, WIDE
    )
    inside = inside & reached
    if TRANSPOSED:
        APART_V: tl.constexpr = STRIDE[0] * HALO_STEP[0] // DILATION[0] * PITCH
        APART_H: tl.constexpr = STRIDE[1] * HALO_STEP[1] // DILATION[1]
        meets = at_v * APART_V + at_h * APART_H
        pixel = (below * region_columns + beside) * (num_atoms * TAPS) - meets
        taps = _taps_of_columns(atoms + pixel, row_atoms, row, tl.where(inside, meets, -FAR), TAPS)
    else:
        taps = _taps_of_rows(atoms + row_atoms, row, column, TAPS)
    return taps, (below * source_columns + beside) * channels, inside
