"""What a degradation is: anything that makes an image worse, called with the image and what to draw from."""

from collections.abc import Callable, Sequence

import numpy as np

from datamodules.errors import DataError
from datamodules.types import Map

Degradation = Callable[[Map, np.random.Generator], Map]
"""From an image, float32 ``[H, W, C]``, nominally in [0, 1], and what to draw from, to the degraded one, its like."""

_TRIED = 64  # pixels along each side


class Chain:
    """Degradations one after the other.

    Args:
        steps: The degradations, in the order in which they are applied.
    """

    def __init__(self, steps: Sequence[Degradation]) -> None:
        self._steps = list(steps)

    def __call__(self, image: Map, random: np.random.Generator) -> Map:
        """Degrade an image, float32 ``[H, W, C]``."""
        for step in self._steps:
            image = step(image, random)
        return image


def try_degradation(degradation: Degradation, channels: int) -> None:
    """Make sure that a degradation can be used before it is: it is called once, on a small image.

    Args:
        degradation: The degradation.
        channels: Of the images.

    Raises:
        DataError: If it gives anything but a float32 image of the same shape.
    """
    image = np.full((_TRIED, _TRIED, channels), 0.5, np.float32)
    degraded = degradation(image.copy(), np.random.default_rng(0))
    if not isinstance(degraded, np.ndarray) or (degraded.shape, degraded.dtype) != (image.shape, image.dtype):
        given = f"{degraded.dtype} {list(degraded.shape)}" if isinstance(degraded, np.ndarray) else repr(degraded)
        raise DataError(f"degradation must give what it is given, float32 {list(image.shape)}, got {given}")
