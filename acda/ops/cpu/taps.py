"""Which taps of which pixels lie inside an image: the tables that the loops look up."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from acda.ops.geometry import Geometry

Table = NDArray[np.int64]


class Taps(NamedTuple):
    """Along one axis, for each pixel: which taps meet a pixel of the other side, and where. They are evenly spaced."""

    number: Table
    first: Table  # tap
    position: Table  # of the pixel that the first tap meets

    @classmethod
    def of(cls, positions: Table, valid: NDArray[np.bool_]) -> "Taps":
        """Find them among all.

        Args:
            positions: Where each tap of each pixel is, ``[pixels, l]``.
            valid: Whether there is a pixel, ``[pixels, l]``.
        """
        first = valid.argmax(axis=1)
        number = valid.sum(axis=1)
        met = number > 0
        return cls(number, np.where(met, first, 0), np.where(met, positions[np.arange(len(first)), first], 0))

    def table(self, *offsets: Table) -> Table:
        """``[pixels, 1 + offsets]``: the number and then the offsets."""
        return np.stack([self.number, *offsets], axis=1)


@lru_cache(maxsize=1024)
def met_by_outputs(start: int, stop: int, size: int, axis: int, geometry: Geometry) -> Taps:
    """Taps of outputs ``start`` to ``stop`` that lie within ``size`` input pixels."""
    taps = np.arange(geometry.kernel_size) * geometry.dilation[axis]
    positions = np.arange(start, stop)[:, None] * geometry.stride[axis] - geometry.padding[axis] + taps
    return Taps.of(positions, (positions >= 0) & (positions < size))


@lru_cache(maxsize=1024)
def met_by_inputs(start: int, stop: int, first: int, last: int, axis: int, geometry: Geometry) -> Taps:
    """Taps by which outputs ``first`` to ``last``, exclusive, reach inputs ``start`` to ``stop``."""
    taps = np.arange(geometry.kernel_size) * geometry.dilation[axis]
    shifted = np.arange(start, stop)[:, None] + geometry.padding[axis] - taps
    positions, rest = np.divmod(shifted, geometry.stride[axis])
    return Taps.of(positions, (rest == 0) & (positions >= first) & (positions < last))
