"""Positions in fractions or percent of an image, and in pixels."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from datamodules.annotations.structure import FilePoints, ImageAnnotation, Unit
from datamodules.errors import POSITIONS, DataError, check_one_of, present_findings, refuse

FULL: dict[Unit, float] = {"fraction": 1.0, "percent": 100.0}
"""What the right and lower border of an image are in units that are shares of it."""

_FEW = 3  # so many positions tell a unit
_LARGE = 100  # an image of so many pixels is no image of one
_SOME, _LONG = 20, 200  # so many positions within the first 100 pixels of images of so long a side are suspicious

_log = logging.getLogger(__name__)


def to_pixels(points: FilePoints, unit: Unit, height: int, width: int) -> FilePoints:
    """Convert positions to pixels.

    Args:
        points: Positions (x, y), ``[N, 2]``.
        unit: What they count.
        height: Height of the image, in pixels.
        width: Its width.

    Returns:
        Positions in pixels from the image's upper left corner, ``[N, 2]``.

    Raises:
        ValueError: If there is no such unit.
    """
    check_one_of(("pixels", *FULL), unit=unit)
    return points if unit == "pixels" else points * (width, height) / FULL[unit]


def check_unit(images: Sequence[ImageAnnotation], sizes: Sequence[tuple[int, int]], source: Path) -> None:
    """Refuse positions that speak for another unit than the one they are taken for.

    That is so if all lie in the first pixel or percent of large images, or most lie far outside of all images. It takes
    at least three positions. Pixels that may be percent are warned of; where findings are collected, they are noted.

    Args:
        images: All images of a source.
        sizes: Their heights and widths, in pixels.
        source: The file or folder, for messages.

    Raises:
        DataError: If so; names the unit that is likely.
    """
    some = [(image, size) for image, size in zip(images, sizes, strict=True) if len(image.points)]
    if not some:
        return
    values = np.concatenate([image.points for image, _ in some])
    unit = some[0][0].unit
    if len(values) < _FEW or values.min() < 0:
        return
    if unit != "fraction" and values.max() <= 1 and all(min(size) >= _LARGE for _, size in some):
        _refuse_unit(unit, f"all {len(values):,} positions lie between 0 and {values.max():g}", "fraction", source)
    largest, longest = values.max(), min(max(size) for _, size in some)
    if unit == "pixels" and 1 < largest <= FULL["percent"] and len(values) >= _SOME and longest >= _LONG:
        suspicion = (
            f"'{source}': all {len(values):,} positions lie between 0 and {largest:g} in images with sides of "
            f"{longest} pixels and more. If they are percent, set --data.init_args.coordinates=percent"
        )
        if found := present_findings():
            found.note(POSITIONS, suspicion)
        else:
            _log.warning("%s", suspicion)
    if unit != "pixels" and np.median(values) > FULL[unit]:
        likely: Unit = "percent" if unit == "fraction" and values.max() <= FULL["percent"] else "pixels"
        _refuse_unit(unit, f"most coordinates are above {FULL[unit]:g}, up to {values.max():g}", likely, source)


def _refuse_unit(unit: Unit, reason: str, likely: Unit, source: Path) -> None:
    refuse("coordinates", unit, f"'{likely}', it seems, for '{source}', where {reason}", DataError)
