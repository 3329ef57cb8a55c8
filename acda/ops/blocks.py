"""Blocks of output pixels: an operator works through an image in pieces whose size does not grow with it."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, isqrt

from torch import Tensor


@dataclass(frozen=True)
class Block:
    """Some images, rows and columns of an ``[N, H, W, …]`` tensor; bounds are within it."""

    images: slice
    rows: slice
    columns: slice

    @property
    def shape(self) -> tuple[int, int, int]:
        """Images, rows and columns in the block."""
        images, rows, columns = (s.stop - s.start for s in (self.images, self.rows, self.columns))
        return images, rows, columns

    @property
    def pixels(self) -> int:
        """Pixels in the block, all images together."""
        images, rows, columns = self.shape
        return images * rows * columns

    def of(self, tensor: Tensor) -> Tensor:
        """View the block of a tensor ``[N, H, W, …]``."""
        return tensor[self.images, self.rows, self.columns]


def blocks(images: int, rows: int, columns: int, pixels: int) -> Iterator[Block]:
    """Cut ``images`` × ``rows`` × ``columns`` pixels into blocks of at most ``pixels``.

    Several whole images make a block, else parts of one, not much wider than high so that the windows of a block
    overlap those of others little.
    """
    pixels = max(1, pixels)
    step_columns = _equal_part(columns, min(pixels, 2 * isqrt(pixels)))
    step_rows = _equal_part(rows, pixels // step_columns)
    step_images = max(1, pixels // max(1, rows * columns))
    for n in range(0, images, step_images):
        for i in range(0, rows, step_rows):
            for j in range(0, columns, step_columns):
                yield Block(
                    slice(n, min(n + step_images, images)),
                    slice(i, min(i + step_rows, rows)),
                    slice(j, min(j + step_columns, columns)),
                )


def _equal_part(length: int, at_most: int) -> int:
    """Length of the parts when ``length`` is cut into as few as possible, all but the last equal."""
    return max(1, ceil(length / ceil(length / max(1, at_most)))) if length else 1
