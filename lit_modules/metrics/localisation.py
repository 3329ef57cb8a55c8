"""Where the heads are: the peaks of a density map."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter, gaussian_filter1d
from scipy.special import ndtr
from skimage.feature import peak_local_max

Floats = npt.NDArray[np.float64]


def find_heads(
    density: npt.NDArray[np.floating], cell_size: int, head_sigma: float = 4.0, threshold: float = 0.3
) -> Floats:
    """Find heads as the peaks of a density map.

    The map is smoothed by a Gaussian of half a head's width. A cell that is larger than its eight neighbours is a peak;
    its score is its value, relative to that of a lone head whose centre is the cell's, so that a head as in training
    scores about 1 wherever it stands alone. Peaks that score at least ``threshold`` are heads, but never more of them
    than the map counts (its sum, rounded): the strongest. There can be fewer, where heads stand too close to be told
    apart.

    Args:
        density: Heads per cell, ``[h, w]``. Cell i covers pixels ``i · cell_size`` to ``(i + 1) · cell_size − 1``.
        cell_size: Side of a cell in pixels.
        head_sigma: Standard deviation of the Gaussian that a head is in training, in pixels.
        threshold: The least score of a head.

    Returns:
        x, y and score of each head, ``[n, 3]``, the strongest first. Positions are in pixels, 0 at the centre of the
        first one, within the cell of the peak: where the parabola through the logarithms of it and its neighbours has
        its top, which for a Gaussian is its centre.

    Raises:
        ValueError: If the map has values that are not finite.
    """
    if not np.isfinite(density).all():
        raise ValueError("density must be finite, got NaN or infinite values: the network does not work")
    sigma = head_sigma / cell_size
    smooth = gaussian_filter(density.astype(np.float64), sigma / 2, mode="nearest")
    lone = _measure_lone_peak(sigma)
    counted = max(0, round(float(density.sum(dtype=np.float64))))
    peaks = peak_local_max(smooth, 1, threshold * lone, exclude_border=False)  # type: ignore[no-untyped-call]
    rows, columns = peaks[:counted].T
    y, x = (
        (along + _find_top(smooth, rows, columns, axis)) * cell_size + (cell_size - 1) / 2
        for axis, along in enumerate((rows, columns))
    )
    return np.stack([x, y, smooth[rows, columns] / lone], axis=1)


def to_original(points: Floats, image_size: Sequence[int], original_size: Sequence[int]) -> Floats:
    """Carry positions from a resized image over to the original one.

    Args:
        points: (x, y) in pixels of the resized image, 0 at the centre of the first one, ``[n, 2]``.
        image_size: Its height and width.
        original_size: Height and width of the original.

    Returns:
        (x, y) in pixels of the original, within it, ``[n, 2]``.
    """
    resized, original = (np.array(size[::-1], dtype=np.float64) for size in (image_size, original_size))
    return ((points + 0.5) * original / resized - 0.5).clip(0, original - 1)


def to_stored(points: Floats, shown_size: Sequence[int], orientation: int) -> Floats:
    """Carry positions from an image as it is shown over to the one that is stored in the file.

    Args:
        points: (x, y) in pixels of the shown image, 0 at the centre of the first one, ``[n, 2]``.
        shown_size: Its height and width.
        orientation: How the stored image was turned to show it, 1 to 8 as in EXIF.

    Returns:
        (x, y) in pixels of the stored image, ``[n, 2]``; its height is the shown one's width if ``orientation`` is
        above 4.
    """
    x, y = points.T
    if orientation in (2, 3, 6, 7):
        x = shown_size[1] - 1 - x
    if orientation in (3, 4, 7, 8):
        y = shown_size[0] - 1 - y
    return np.stack((y, x) if orientation > 4 else (x, y), axis=1)


def _measure_lone_peak(sigma: float) -> float:
    """Take the value at the peak of a lone head in the middle of a cell, once smoothed; ``sigma`` in cells."""
    reach = math.ceil(4 * sigma) + 1
    along = np.diff(ndtr((np.arange(-reach, reach + 2) - 0.5) / sigma))
    return float(gaussian_filter1d(along, sigma / 2)[reach]) ** 2


def _find_top(values: Floats, rows: npt.NDArray[np.intp], columns: npt.NDArray[np.intp], axis: int) -> Floats:
    """Find the offset of the top from each peak along an axis, −½ to ½ cells; 0 for peaks at the map's edge."""
    padded = np.pad(values, 1, constant_values=np.nan)
    down, right = (1, 0) if axis == 0 else (0, 1)
    below = padded[rows + 1 - down, columns + 1 - right]
    above = padded[rows + 1 + down, columns + 1 + right]
    with np.errstate(divide="ignore", invalid="ignore"):
        low, high = (np.log(np.maximum(side / values[rows, columns], 1e-6)) for side in (below, above))
        offset = (low - high) / (2 * (low + high))
    inside: Floats = np.nan_to_num(offset).clip(-0.5, 0.5)
    return inside
