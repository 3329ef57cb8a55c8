"""Numbers in annotation files, and where the objects stand that are drawn by several of them."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from datamodules.annotations.structure import FilePoints, Malformed

Position = tuple[float, float]
"""One (x, y)."""


def read_number(value: Any, name: str) -> float:
    """Take a number from JSON.

    Args:
        value: What stands there.
        name: What it is called, for messages.

    Returns:
        The number.

    Raises:
        Malformed: If it is another thing, or not finite.
    """
    if type(value) not in (int, float) or not math.isfinite(value):  # not bool, which is an int, too
        raise Malformed(f"{name} must be a finite number, got {value!r}")
    return float(value)


def parse_number(text: str | None, name: str) -> float:
    """Take a number from text; otherwise as :func:`read_number`."""
    try:
        number = float(text or "")
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise Malformed(f"{name} must be a finite number, got {text!r}")
    return number


def read_positions(value: Any) -> list[Position]:
    """Take a list of pairs of numbers from JSON.

    Raises:
        Malformed: If it is another thing.
    """
    if not isinstance(value, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in value):
        raise Malformed(f"points must be pairs of numbers, got {shorten(value)}")
    return [(read_number(x, "x"), read_number(y, "y")) for x, y in value]


def shorten(value: Any) -> str:
    """Write a value for a message, not longer than a line."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def read_size(height: Any, width: Any) -> tuple[int, int] | None:
    """Take an image's size from what a file declares; None where it is none."""
    sides = []
    for side in (height, width):
        try:
            sides.append(int(side))
        except (TypeError, ValueError, OverflowError):
            return None
    return (sides[0], sides[1]) if min(sides) > 0 else None


def find_box_centre(x: float, y: float, width: float, height: float) -> Position:
    """Compute the centre of a box from its upper left corner and size.

    Raises:
        Malformed: If its size is negative.
    """
    if width < 0 or height < 0:
        raise Malformed(f"a box must not have a negative size, got width {width:g} and height {height:g}")
    return x + width / 2, y + height / 2


def find_corners_centre(x1: float, y1: float, x2: float, y2: float) -> Position:
    """Compute the centre of a box from its upper left and lower right corner.

    Raises:
        Malformed: If they stand the other way round.
    """
    if x2 < x1 or y2 < y1:
        raise Malformed(f"a box must not have a negative size, got corners ({x1:g}, {y1:g}) and ({x2:g}, {y2:g})")
    return (x1 + x2) / 2, (y1 + y2) / 2


def find_centroid(corners: Sequence[Position]) -> Position:
    """Compute the centroid of a polygon's area.

    Args:
        corners: Its corners in turn, clockwise or not.

    Returns:
        The centroid.

    Raises:
        Malformed: If it has no area.

    Reference:
        P. Bourke, Calculating the area and centroid of a polygon, 1988.
    """
    origin = np.array(corners[0] if corners else (0.0, 0.0))
    x, y = (np.array(corners or [(0.0, 0.0)], np.float64) - origin).T
    next_x, next_y = np.roll(x, -1), np.roll(y, -1)
    crosses = x * next_y - next_x * y
    doubled_area = crosses.sum()
    if len(corners) < 3 or doubled_area == 0:
        raise Malformed(f"a polygon must have an area, got the points {shorten(list(corners))}")
    shift_x = ((x + next_x) * crosses).sum() / (3 * doubled_area)
    shift_y = ((y + next_y) * crosses).sum() / (3 * doubled_area)
    return float(origin[0] + shift_x), float(origin[1] + shift_y)


def find_mask_centroid(mask: npt.NDArray[np.bool_], left: float, top: float) -> Position:
    """Compute the centroid of a mask's pixels.

    Args:
        mask: Which pixels belong to the object, ``[H, W]``.
        left: Where its first column begins in the image, in pixels.
        top: Where its first row begins.

    Returns:
        The centroid, of pixels whose centres lie at halves.

    Raises:
        Malformed: If it has no pixel.
    """
    rows, columns = np.nonzero(mask)
    if not len(rows):
        raise Malformed("a mask must have pixels, got none")
    return left + float(columns.mean()) + 0.5, top + float(rows.mean()) + 0.5


def check_points(points: npt.NDArray[np.generic], name: str) -> FilePoints:
    """Make sure that an array holds positions.

    Args:
        points: The array.
        name: What to call it in messages.

    Returns:
        The positions; N is 0 where it has no elements, in whatever shape.

    Raises:
        Malformed: If it does not.
    """
    if points.dtype.kind not in "fiu":
        raise Malformed(f"its {name} holds no numbers")
    if points.size == 0:
        return np.zeros((0, 2))
    if points.ndim != 2 or points.shape[1] != 2:
        raise Malformed(f"its points have the shape {points.shape}, not (N, 2)")
    if not np.isfinite(points).all():
        raise Malformed("it holds coordinates that are not finite")
    return points.astype(np.float64)
