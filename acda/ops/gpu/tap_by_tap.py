# mypy: disallow-untyped-decorators=False
"""Sums of the pixels that a window holds and of no others, for tiles that meet values which are not finite."""

import triton
import triton.language as tl

from acda.ops.gpu.tile_pixels import is_inside


@triton.jit
def add_tap_by_tap(
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
        number: Of each row, its atom as :func:`~acda.ops.gpu.tile_pixels.rows_of_tile` counts.
        atom: Of each row, its atom.
        exists: Whether the row does.
        row_v: Vertical position of its pixel in the region.
        row_h: Horizontal position.
        channel: ``[1, channels to compute]``.
        channels: This and the others: see :func:`acda.ops.gpu.triton_kernels.convolve`.
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
        meet = meet & is_inside(at_v, at_h, region_rows, region_columns)
        row = (at_v.to(tl.int64) * region_columns + at_h) * num_atoms + atom if TRANSPOSED else number
        taps = tl.load(atoms + (row * TAPS + (tap_v * PITCH + tap_h)), mask=meet, other=0.0)
        place = (at_v.to(tl.int64) * source_columns + at_h) * channels
        mask = meet[:, None] & (channel < channels)
        values = tl.load((source + place)[:, None] + channel, mask=mask, other=0.0)
        sums += taps.to(tl.float32)[:, None] * values.to(tl.float32)
    return sums
