"""Small pictures of samples, with positions marked."""

from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from datamodules.samples import StoredSample
from datamodules.types import Pixels, Points

SIDES = {"points": 300, "pair": 200, "image": 150}
"""Height and width in pixels that a picture fits into, by what it shows."""
MARK = (255, 0, 60)
"""Colour of a position."""
_RING = (255, 255, 255)
_RADII = ((60, 4), (300, 3), (1200, 2))  # up to how many positions their marks have which radius, in pixels
_GAP = 4  # pixels between the images of a pair
_MOST_ENLARGED = 16


class Thumbnail(NamedTuple):
    """What a sample looks like.

    Attributes:
        picture: RGB, uint8 ``[H, W, 3]``; of a pair both images beside each other.
        kind: What it shows, a key of ``SIDES``.
    """

    picture: Pixels
    kind: str


def draw_thumbnail(images: tuple[npt.NDArray[Any], ...], whites: list[float], sample: StoredSample) -> Thumbnail:
    """Draw a sample small, or enlarge it by a whole factor.

    Args:
        images: One image ``[H, W, C]``, or a degraded and a clean one.
        whites: Value of each that is shown white; where the sample is not as stored, its own range is shown.
        sample: The sample.

    Returns:
        The picture; positions are marked in it.
    """
    kind = "pair" if len(images) == 2 else "image" if sample.points is None else "points"
    lows = [0.0] * len(images)
    if sample.handed_out:
        lows = [min(float(pixels.min()) for pixels in images)] * len(images)
        whites = [max(float(pixels.max()) for pixels in images)] * len(images)
    pictures = [
        shrink(pixels, SIDES[kind], low, white) for pixels, low, white in zip(images, lows, whites, strict=True)
    ]
    if sample.points is not None:
        pictures[0] = mark_points(pictures[0], sample.points, images[0].shape[0], images[0].shape[1])
    if len(pictures) == 1:
        return Thumbnail(pictures[0], kind)
    gap = np.full((pictures[0].shape[0], _GAP, 3), 255, np.uint8)
    return Thumbnail(np.hstack([pictures[0], gap, pictures[1]]), kind)


def shrink(pixels: npt.NDArray[Any], side: int, low: float = 0, white: float = 255) -> Pixels:
    """Fit an image into a square.

    Args:
        pixels: ``[H, W, C]``; of other channels than one or three the mean is shown.
        side: Height and width of the square, in pixels.
        low: Value that is shown black.
        white: Value that is shown white.

    Returns:
        RGB, uint8 ``[h, w, 3]``: shrunk, or enlarged by a whole factor without smoothing.
    """
    height, width, channels = pixels.shape
    if channels not in (1, 3):
        pixels = pixels.mean(2, dtype=np.float32, keepdims=True)
    factor = side / max(height, width)
    if factor >= 1:
        whole = min(int(factor), _MOST_ENLARGED)
        small = np.repeat(np.repeat(pixels, whole, 0), whole, 1)
    else:
        size = max(1, round(width * factor)), max(1, round(height * factor))
        small = cv2.resize(np.ascontiguousarray(pixels), size, interpolation=cv2.INTER_AREA)
        small = small.reshape(size[1], size[0], -1)
    scaled = (small.astype(np.float32) - low) * (255 / max(white - low, 1e-12))
    levels = scaled.clip(0, 255).round().astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(levels, (*levels.shape[:2], 3)))


def mark_points(picture: Pixels, points: Points, height: int, width: int) -> Pixels:
    """Mark positions in a picture of an image by dots, smaller ones where there are many.

    Args:
        picture: RGB, uint8 ``[h, w, 3]``.
        points: Positions (x, y) in the image's pixels, ``[N, 2]``; (0, 0) is the centre of its upper left one.
        height: Of the image, in pixels.
        width: Its width.

    Returns:
        RGB, uint8 ``[h, w, 3]``.
    """
    marked = picture.copy()
    factors = np.array([picture.shape[1] / width, picture.shape[0] / height])
    places = np.floor((points.astype(np.float64) + 0.5) * factors).astype(int)
    radius = next((size for most, size in _RADII if len(points) <= most), 1)
    if radius > 2:
        for x, y in places.tolist():
            cv2.circle(marked, (x, y), radius + 1, _RING, -1)
    for x, y in places.tolist():
        cv2.circle(marked, (x, y), radius, MARK, -1)
    return marked
