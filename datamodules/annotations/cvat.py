"""Annotations in the XML that CVAT calls "CVAT for images 1.1"."""

from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from datamodules.annotations.geometry import (
    Position,
    find_centroid,
    find_corners_centre,
    find_mask_centroid,
    parse_number,
    read_size,
    shorten,
)
from datamodules.annotations.structure import Annotations, Collector, Malformed, read_split
from datamodules.errors import DataError
from datamodules.files.progress import show_progress

_NO_OBJECTS = "tag", "attribute"
_KINDS = {"points": "point", "box": "box", "polygon": "polygon", "ellipse": "ellipse", "mask": "mask"}


def read_cvat(path: Path, collector: Collector) -> Annotations:
    """Read what CVAT exports for images: points, and the centres of boxes, polygons, ellipses and masks.

    Of ``points`` each is an object. The subset of an image, where CVAT writes one, is its split.

    Args:
        path: The file; read image by image.
        collector: Where to put the objects.

    Returns:
        The annotations. Images without objects are among them.

    Raises:
        DataError: If it is no XML or of another tool, or not as CVAT has it; names the image and the number of the
            object in it, counted from 1.
    """
    try:
        events = ElementTree.iterparse(path, ("start", "end"))
        _, root = next(events)
        for event, element in show_progress(events, f"Reading '{path}'", "elements"):
            if event == "start" and element.tag == "track":
                raise DataError(f"'{path}' is CVAT's XML for video. Export the task again as 'CVAT for images 1.1'.")
            if event == "end" and element.tag == "image":
                _read_image(element, path, collector)
                root.clear()  # what was read before is not kept
    except ElementTree.ParseError as error:
        line, column = error.position
        what = str(error).partition(":")[0]
        raise DataError(f"'{path}', line {line}, column {column + 1}: no valid XML ({what}).") from error
    except (LookupError, ValueError) as error:  # of an encoding that is not known
        raise DataError(f"'{path}' is no usable XML ({error}).") from error
    except OSError as error:
        raise DataError(f"'{path}' cannot be read: {error.strerror}.") from error
    if root.tag != "annotations":
        raise DataError(f"'{path}' must be XML of CVAT for images, whose root is annotations, got the root {root.tag}.")
    return collector.finish()


def _read_image(image: ElementTree.Element, path: Path, collector: Collector) -> None:
    name = image.get("name")
    place = f"'{path}', image {image.get('id', '')}".rstrip()
    if not name:
        raise DataError(f"{place}: name must be there, got {shorten(dict(image.attrib))}.")
    size = read_size(image.get("height"), image.get("width"))
    entry = collector.open(name, place, size, read_split(image.get("subset", "")))
    for number, element in enumerate((child for child in image if child.tag not in _NO_OBJECTS), 1):
        try:
            text = element.get("points", "")
            count = text.count(";") + 1 if element.tag == "points" else 1
            if collector.wants(_KINDS.get(element.tag, element.tag), (element.get("label", ""),), count):
                for position in _locate(element.tag, element.attrib):
                    entry.put(*position)
        except Malformed as error:
            raise DataError(f"{place} ('{name}'), {element.tag} at position {number}: {error}.") from error


def _locate(form: str, values: Mapping[str, str]) -> list[Position]:
    def number(name: str) -> float:
        return parse_number(values.get(name), name)

    if form == "points":
        return _read_points(values.get("points", ""))
    if form == "box":  # turned boxes are turned around their centre
        return [find_corners_centre(number("xtl"), number("ytl"), number("xbr"), number("ybr"))]
    if form == "polygon":
        return [find_centroid(_read_points(values.get("points", "")))]
    if form == "ellipse":
        return [(number("cx"), number("cy"))]
    if form == "mask":
        mask = _read_mask(values.get("rle", ""), int(number("height")), int(number("width")))
        return [find_mask_centroid(mask, number("left"), number("top"))]
    raise Malformed(f"an object must be one of {', '.join(_KINDS)}, got {form}; leave it out by naming a category")


def _read_points(text: str) -> list[Position]:
    pairs = [pair.split(",") for pair in text.split(";")]
    if any(len(pair) != 2 for pair in pairs):
        raise Malformed(f"points must be x,y;x,y and so on, got {shorten(text)}")
    return [(parse_number(x, "x"), parse_number(y, "y")) for x, y in pairs]


def _read_mask(text: str, height: int, width: int) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Read a mask from the lengths of its runs, row by row, the first outside of the object."""
    try:
        runs = [int(length) for length in text.split(",")]
    except ValueError:
        runs = []
    if sum(runs) != height * width or min(runs, default=-1) < 0:
        raise Malformed(f"rle must have runs that make {height} by {width} pixels, got {shorten(text)}")
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width)
