"""Blur and loss of resolution as steps of a degradation."""

from typing import Literal

import numpy as np

from datamodules.errors import check_at_least, check_one_of
from datamodules.restoration.degradations.camera import blur_varyingly, check_range, draw_covariances, resize_bicubic
from datamodules.types import Map

_SCALES = (2, 3, 4)


class VaryingBlur:
    """Blur whose width and direction change smoothly over an image, as of a lens, see :func:`blur_varyingly`.

    Args:
        sigma: Smallest and largest width in pixels, both reached in each image. Default: 0.7 to 2.
        stretch: Largest ratio of the widths along two directions, from 1. Default: 2.5.

    Raises:
        ValueError: If ``sigma`` does not ascend from above 0, or ``stretch`` is below 1.
    """

    def __init__(self, sigma: tuple[float, float] = (0.7, 2.0), *, stretch: float = 2.5) -> None:
        check_range("sigma", sigma)
        check_at_least(1, stretch=stretch)
        self._sigma = sigma
        self._stretch = stretch

    def __call__(self, image: Map, random: np.random.Generator) -> Map:
        """Blur an image, float32 ``[H, W, C]``."""
        height, width = image.shape[:2]
        return blur_varyingly(image, draw_covariances(height, width, self._sigma, self._stretch, random))


class Bicubic:
    """Loss of resolution as super-resolution is compared by: made smaller, bicubic with antialiasing, then enlarged.

    Both changes of size are those of MATLAB's ``imresize``; the second gives the size that the image had.

    Args:
        scale: How many times smaller: 2, 3 or 4. Default: 4.

    Raises:
        ValueError: If ``scale`` is another.
    """

    def __init__(self, scale: Literal[2, 3, 4] = 4) -> None:
        check_one_of(_SCALES, scale=scale)
        self._scale = scale

    def __call__(self, image: Map, random: np.random.Generator) -> Map:
        """Take resolution from an image, float32 ``[H, W, C]``; nothing is drawn."""
        height, width = image.shape[:2]
        small = (max(1, round(side / self._scale)) for side in (height, width))
        return resize_bicubic(resize_bicubic(image, *small), height, width)
