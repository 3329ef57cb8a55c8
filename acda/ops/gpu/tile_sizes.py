"""How large a piece of work one program of a kernel takes, by GPU, kernel and dtype.

The choice is fixed here, not made by timing when a program runs: tiles decide the order of sums, so that the replicas
of a model would otherwise not compute the same, and results would not repeat.
"""

from dataclasses import dataclass
from typing import Literal

import torch

Kernel = Literal["forward", "gather", "correlate"]


@dataclass(frozen=True)
class Tile:
    """What a program multiplies at a time, and with what.

    Attributes:
        rows: Pixels times atoms, a power of two like the next two.
        halo: Pixels of the halo, at most.
        channels: Channels, at most.
        warps: Warps of 32 threads.
        stages: Factors that are in flight, the one in use among them.
        registers: Of a thread, at most; None for as many as the compiler wants.
    """

    rows: int
    halo: int
    channels: int
    warps: int
    stages: int
    registers: int | None = None


_Tiles = dict[Kernel, dict[int, Tile]]  # of each kernel, up to which side

_ANY = 2**31


def _halves(registers: int | None) -> _Tiles:
    """Tiles whose halo, for the paper's kernels up to 7×7, is one factor.

    Args:
        registers: How many leave room for a second program in the 64 K of a multiprocessor, where that spills none.
    """
    wide = Tile(rows=128, halo=128, channels=128, warps=8, stages=1, registers=registers)
    return {
        # A halo of 4×6 pixels fills 3/4 of a factor of 32; that of twice the pixels, 6×6, little more than half of 64.
        "forward": {3: Tile(rows=64, halo=32, channels=128, warps=4, stages=1, registers=registers), _ANY: wide},
        "gather": {_ANY: wide},
        "correlate": {_ANY: Tile(rows=128, halo=128, channels=64, warps=8, stages=2, registers=registers)},
    }


# Without tensor cores a zero costs what any number costs: in smaller tiles there are fewer.
_SINGLE: _Tiles = {
    "forward": {_ANY: Tile(rows=64, halo=32, channels=64, warps=4, stages=2)},
    "gather": {_ANY: Tile(rows=64, halo=32, channels=64, warps=4, stages=2)},
    "correlate": {_ANY: Tile(rows=64, halo=32, channels=32, warps=4, stages=3)},
}


def _table(halves: _Tiles) -> dict[torch.dtype, _Tiles]:
    return {torch.float32: _SINGLE, torch.bfloat16: halves, torch.float16: halves}


# From each compute capability on.
_TILES = {
    (8, 0): _table(_halves(registers=None)),
    (9, 0): _table(_halves(registers=128)),
    (10, 0): _table(_halves(registers=128)),
    (12, 0): _table(_halves(registers=None)),
}
LEAST_CAPABILITY = min(_TILES)


def choose(kernel: Kernel, dtype: torch.dtype, capability: tuple[int, int], kernel_size: int) -> Tile:
    """Choose the tile for a kernel.

    Args:
        kernel: What it computes.
        dtype: Of its operands: float32, bfloat16 or float16.
        capability: Compute capability of the GPU, at least :data:`LEAST_CAPABILITY`.
        kernel_size: Side of the convolution's kernel in pixels.
    """
    tiles = _TILES[max(least for least in _TILES if least <= capability)][dtype][kernel]
    return tiles[min(side for side in tiles if kernel_size <= side)]
