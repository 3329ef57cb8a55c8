"""Density maps: a Gaussian at each head, whose sum over an image is the number of heads."""

import cv2
import numpy as np
import numpy.typing as npt

from datamodules.errors import check_at_least, refuse
from datamodules.types import Points


def check_kernel(sigma: float, kernel_size: int) -> None:
    """Refuse a Gaussian that :func:`make_density_map` cannot draw.

    Args:
        sigma: Its standard deviation, in pixels.
        kernel_size: Height and width of its kernel, in pixels.

    Raises:
        ValueError: If ``sigma`` is not positive, or ``kernel_size`` not odd and positive.
    """
    if not 0 < sigma < np.inf:
        refuse("sigma", sigma, "above 0 and finite")
    check_at_least(1, kernel_size=kernel_size)
    if kernel_size % 2 == 0:
        refuse("kernel_size", kernel_size, "odd, so that a kernel has a pixel at its centre")


def make_density_map(
    points: Points, height: int, width: int, sigma: float = 4.0, kernel_size: int = 15
) -> npt.NDArray[np.float32]:
    """Draw a Gaussian of fixed size at each head.

    Each is drawn at the pixel nearest to its head and divided by what of it lies within the image, so that it sums to
    1 at the border, too. Heads on one pixel add up.

    Args:
        points: Positions of the heads (x, y) in pixels, float32 ``[N, 2]``; those outside are moved to the border.
        height: Height of the image, in pixels.
        width: Its width.
        sigma: Standard deviation of the Gaussian, in pixels.
        kernel_size: Height and width of the square that it is cut off at, in pixels; odd.

    Returns:
        Heads per pixel, float32 ``[height, width]``. The sum is the number of heads, but for rounding in float32.

    Raises:
        ValueError: If ``sigma``, ``kernel_size``, ``height`` or ``width`` is out of range.
    """
    check_kernel(sigma, kernel_size)
    check_at_least(1, height=height, width=width)
    column, row = np.rint(np.clip(points, 0, (width - 1, height - 1))).astype(np.intp).T
    kernel = cv2.getGaussianKernel(kernel_size, sigma).ravel().astype(np.float64, copy=False)
    # A head weighs more the less of its Gaussian is within the image; then one separable filter draws all of them.
    weights = 1 / (_measure_mass_within(row, height, kernel) * _measure_mass_within(column, width, kernel))
    heads = np.zeros((height, width), np.float32)
    np.add.at(heads, (row, column), weights.astype(np.float32))
    density = cv2.sepFilter2D(heads, cv2.CV_32F, kernel, kernel, borderType=cv2.BORDER_CONSTANT)
    return density.astype(np.float32, copy=False)


def _measure_mass_within(
    position: npt.NDArray[np.intp], length: int, kernel: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Measure what of a kernel that is centred at each position lies from 0 to ``length − 1``."""
    reach = len(kernel) // 2
    up_to = np.concatenate([np.zeros(1), np.cumsum(kernel)])
    mass: npt.NDArray[np.float64] = (
        up_to[np.minimum(len(kernel), length - position + reach)] - up_to[np.maximum(0, reach - position)]
    )
    return mass
