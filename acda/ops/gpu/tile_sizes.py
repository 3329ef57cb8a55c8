"""How large a piece of work one program of a kernel takes, by GPU, kernel and dtype.

The choice is fixed here, not made by timing when a program runs: tiles decide the order of sums, so that the replicas
of a model would otherwise not compute the same, and results would not repeat.
"""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Tile:
    """What a program multiplies at a time, and with what.

    Attributes:
        rows: Pixels times atoms, a power of two like the next two.
        halo: Pixels of the halo, at most.
        channels: Channels, at most.
        warps: Warps of 32 threads.
        stages: Factors that are in flight, the one in use among them.
    """

    rows: int
    halo: int
    channels: int
    warps: int
    stages: int


# The halo of the paper's kernels, up to 7×7, is one factor, and two programs fit a multiprocessor of 64 K registers.
_HALVES = {
    "convolve": Tile(rows=128, halo=128, channels=128, warps=8, stages=2),
    "correlate": Tile(rows=128, halo=128, channels=64, warps=8, stages=3),
}
# Without tensor cores a zero costs what any number costs: in smaller tiles there are fewer.
_SINGLE = {
    "convolve": Tile(rows=64, halo=32, channels=64, warps=4, stages=2),
    "correlate": Tile(rows=64, halo=32, channels=32, warps=4, stages=3),
}
# From each compute capability on.
_TILES: dict[tuple[int, int], dict[torch.dtype, dict[str, Tile]]] = {
    (8, 0): {torch.float32: _SINGLE, torch.bfloat16: _HALVES, torch.float16: _HALVES},
}
LEAST_CAPABILITY = min(_TILES)


def choose(kernel: str, dtype: torch.dtype, capability: tuple[int, int]) -> Tile:
    """Choose the tile for a kernel.

    Args:
        kernel: ``"convolve"`` or ``"correlate"``.
        dtype: Of its operands: float32, bfloat16 or float16.
        capability: Compute capability of the GPU, at least :data:`LEAST_CAPABILITY`.
    """
    return _TILES[max(least for least in _TILES if least <= capability)][dtype][kernel]
