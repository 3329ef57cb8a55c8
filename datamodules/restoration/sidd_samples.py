"""Blocks of SIDD's photographs as samples."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from datamodules.batches import DegradedBatch, RestorationBatch
from datamodules.restoration.image_pairs import ImagePair, MemoryMaps
from datamodules.restoration.samples import as_tensor
from datamodules.samples import SampleSet, StoredSample
from datamodules.types import AnyDepth

_GRID = (4, 8)  # blocks along the shorter and the longer side: as many as the published blocks of an image


class HeldOutBlocks(SampleSet[RestorationBatch]):
    """Blocks of images, spread evenly without overlap; up to 4 × 8 of each image, at least one.

    Ids are those of the images without their suffix, and the number of the block, row by row.

    Args:
        pairs: The images, converted, none smaller than a block.
        maps: Maps their files.
        side: Height and width of a block, in pixels.
    """

    def __init__(self, pairs: Sequence[ImagePair], maps: MemoryMaps, side: int) -> None:
        self._blocks = [
            (pair, number, corner)
            for pair in pairs
            for number, corner in enumerate(_place_corners(pair.height, pair.width, side))
        ]
        self._maps = maps
        self._side = side

    def __len__(self) -> int:
        """Count the blocks."""
        return len(self._blocks)

    def __getitem__(self, index: int) -> RestorationBatch:
        """Return a block, as a batch of one."""
        pair, number, (top, left) = self._blocks[index]
        image, target = (
            as_tensor(pixels[top : top + self._side, left : left + self._side]) for pixels in self._maps.pair(pair)
        )
        return RestorationBatch(image, target, [f"{pair.id.rpartition('.')[0]}_{number:02d}"])


class ValidationBlocks(SampleSet[RestorationBatch]):
    """The published noisy blocks with the clean ones; ids are ``0000`` and so on.

    Args:
        maps: Maps the files.
        noisy: Converted file of the noisy blocks, ``[M, H, W, 3]``.
        clean: Converted file of the clean blocks, of the same shape.
    """

    def __init__(self, maps: MemoryMaps, noisy: Path, clean: Path) -> None:
        self._maps = maps
        self._noisy = noisy
        self._clean = clean

    def __len__(self) -> int:
        """Count the blocks."""
        return len(self._maps(self._noisy))

    def __getitem__(self, index: int) -> RestorationBatch:
        """Return a block, as a batch of one."""
        image, target = (as_tensor(pixels) for pixels in self._read(index))
        return RestorationBatch(image, target, [f"{index:04d}"])

    def stored(self, index: int) -> StoredSample:
        """Return a block as it is stored."""
        names = f"{self._noisy}[{index}]", f"{self._clean}[{index}]"
        return StoredSample(names, lambda: self._read(index))

    def _read(self, index: int) -> tuple[AnyDepth, AnyDepth]:
        return self._maps(self._noisy)[index], self._maps(self._clean)[index]


class BenchmarkBlocks(SampleSet[DegradedBatch]):
    """The published noisy blocks of the benchmark; ids are ``0000`` and so on.

    Args:
        maps: Maps the file.
        noisy: Converted file of the blocks, ``[M, H, W, 3]``.
    """

    def __init__(self, maps: MemoryMaps, noisy: Path) -> None:
        self._maps = maps
        self._noisy = noisy

    def __len__(self) -> int:
        """Count the blocks."""
        return len(self._maps(self._noisy))

    def __getitem__(self, index: int) -> DegradedBatch:
        """Return a block, as a batch of one."""
        image = as_tensor(self._maps(self._noisy)[index])
        return DegradedBatch(image, torch.tensor([8]), torch.tensor([False]), [f"{index:04d}"])


def _place_corners(height: int, width: int, side: int) -> list[tuple[int, int]]:
    """Place the top and left of each block, row by row."""
    rows, columns = _GRID if height <= width else _GRID[::-1]
    return [(top, left) for top in _place_starts(height, side, rows) for left in _place_starts(width, side, columns)]


def _place_starts(length: int, side: int, most: int) -> list[int]:
    """Spread up to ``most`` pieces over a side, evenly from one end to the other; one lies in the middle."""
    count = min(most, length // side)
    if count == 1:
        return [(length - side) // 2]
    return [int(start) for start in np.linspace(0, length - side, count).round()]
