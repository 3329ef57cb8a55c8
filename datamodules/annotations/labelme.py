"""Annotations as LabelMe and AnyLabeling write them, a JSON file for each image."""

import base64
import binascii
import posixpath
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from datamodules.annotations.geometry import (
    Position,
    find_centroid,
    find_mask_centroid,
    read_positions,
    read_size,
    shorten,
)
from datamodules.annotations.structure import Collector, Malformed
from datamodules.errors import DataError

_CORNERS = {"rectangle": (2, 4), "rotation": (4,), "circle": (2,), "point": (1,), "mask": (2,)}
_KINDS = {"rectangle": "box", "rotation": "box"}


def read_labelme(content: dict[str, Any], path: Path, folder: str, collector: Collector) -> None:
    """Read what a file of LabelMe holds: points, and the centres of rectangles, polygons, circles and masks.

    AnyLabeling writes four corners for a rectangle, and ``rotation`` for one that is turned. Shapes of old files that
    say nothing of their type are polygons.

    Args:
        content: What the file holds.
        path: The file.
        folder: Its folder, relative to that of all annotations, with ``/`` between parts; ``""`` for itself.
        collector: Where to put the objects.

    Raises:
        DataError: If it is not as LabelMe has it; names the number of the shape, counted from 1.
    """
    stem = posixpath.join(folder, path.stem)
    image = content.get("imagePath")
    name = posixpath.join(folder, image.replace("\\", "/")) if isinstance(image, str) and image else stem
    size = read_size(content.get("imageHeight"), content.get("imageWidth"))
    entry = collector.open(posixpath.normpath(name), f"'{path}'", size, aliases=(stem,))
    for number, shape in enumerate(content["shapes"], 1):
        try:
            if not isinstance(shape, dict):
                raise Malformed(f"it must be an object, got {shorten(shape)}")
            form = shape.get("shape_type") or "polygon"
            if collector.wants(_KINDS.get(form, form), (str(shape.get("label")),)):
                entry.put(*_locate(form, shape))
        except Malformed as error:
            raise DataError(f"'{path}', shape {number}: {error}.") from error


def _locate(form: str, shape: dict[str, Any]) -> Position:
    if form != "polygon" and form not in _CORNERS:
        known = ", ".join(["polygon", *_CORNERS])
        raise Malformed(f"shape_type must be one of {known}, got {form!r}; leave it out by naming a category to count")
    points = read_positions(shape.get("points"))
    if form == "polygon":
        return find_centroid(points)
    if len(points) not in _CORNERS[form]:
        counts = " or ".join(map(str, _CORNERS[form]))
        raise Malformed(f"a {form} must have {counts} points, got {len(points)}")
    if form in ("point", "circle"):  # a circle is drawn from its centre
        return points[0]
    if form == "mask":
        return find_mask_centroid(_read_mask(shape.get("mask")), *points[0])
    (x1, y1), (x2, y2) = points[0], points[len(points) // 2]
    return (x1 + x2) / 2, (y1 + y2) / 2


def _read_mask(text: Any) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Read a mask, a PNG written as text."""
    try:
        with Image.open(BytesIO(base64.b64decode(text, validate=True))) as file:
            return np.asarray(file.convert("L")) > 0
    except (TypeError, ValueError, binascii.Error, UnidentifiedImageError, OSError) as error:
        raise Malformed(f"mask must be a PNG file in base64, got {shorten(text)}") from error
