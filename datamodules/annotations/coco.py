"""Annotations in one JSON file as COCO has them.

Read by the standard library: pycocotools would be a compiled package more, holds all outlines in memory and says
nothing of where a fault is.
"""

from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, NamedTuple

from datamodules.annotations.geometry import (
    Position,
    find_box_centre,
    read_number,
    read_size,
    shorten,
)
from datamodules.annotations.structure import Annotations, Collector, Entry, Malformed
from datamodules.errors import DataError
from datamodules.files.progress import show_progress


class CocoObject(NamedTuple):
    """What counts of an annotation; the rest of it, such as outlines, is dropped as soon as it is read."""

    image_id: Any
    category_id: Any
    kind: str
    positions: tuple[Position, ...]


def slim(record: dict[str, Any]) -> Any:
    """Put a small object in the place of a sound annotation of COCO, as the file is read; others stay as they are."""
    if "image_id" not in record or not ("bbox" in record or "keypoints" in record):
        return record
    try:
        return _read_object(record)
    except Malformed:
        return record  # to be told when its place in the file is known


def read_coco(content: dict[str, Any], path: Path, collector: Collector) -> Annotations:
    """Read what COCO's JSON holds: keypoints that are labelled, else the centres of boxes.

    Boxes of crowds (``iscrowd``) stand for an unknown number of objects; they are left out, and counted in the
    description.

    Args:
        content: What the file holds, read with :func:`slim`.
        path: The file, for messages.
        collector: Where to put the objects.

    Returns:
        The annotations. Images without objects are among them.

    Raises:
        DataError: If it is not as COCO has it; names the number of the image or annotation, counted from 1.
    """
    categories: dict[Any, str] = {}
    entries: dict[Any, Entry] = {}

    def take_category(record: Any, place: str) -> None:
        categories[_take(record, "id")] = str(_take(record, "name"))

    def take_image(record: Any, place: str) -> None:
        key, name = _take(record, "id"), _take(record, "file_name")
        if key in entries:
            raise Malformed(f"id must be that of one image, got {key!r} again")
        entries[key] = collector.open(str(name), place, read_size(record.get("height"), record.get("width")))

    def take_object(record: Any, place: str) -> None:
        found = record if isinstance(record, CocoObject) else _read_object(record)
        if found.image_id not in entries:
            raise Malformed(f"image_id must be the id of an image, got {found.image_id!r}")
        if found.category_id not in categories and (categories or found.category_id is not None):
            raise Malformed(f"category_id must be the id of a category, got {found.category_id!r}")
        if not found.positions:
            collector.leave_out("regions of crowds")
            return
        labels = () if found.category_id is None else (categories[found.category_id],)
        if collector.wants(found.kind, labels, len(found.positions)):
            for position in found.positions:
                entries[found.image_id].put(*position)

    _go_through(content.get("categories", []), "category", path, take_category)
    _go_through(content["images"], "image", path, take_image)
    _go_through(content["annotations"], "annotation", path, take_object)
    return collector.finish()


def _go_through(records: Any, name: str, path: Path, take: Callable[[Any, str], None]) -> None:
    """Take all records of a list, with the place of each for messages."""
    if not isinstance(records, list):
        raise DataError(f"'{path}': the {name} records must be a list, got {shorten(records)}.")
    for number, record in enumerate(show_progress(records, f"Reading '{path}'", "records"), 1):
        place = f"'{path}', {name} {number}"
        try:
            take(record, place)
        except Malformed as error:
            raise DataError(f"{place}: {error}.") from error


def _read_object(record: Any) -> CocoObject:
    image_id, category_id = _take(record, "image_id"), record.get("category_id")
    if not isinstance(category_id, Hashable):
        raise Malformed(f"category_id must be a number, got {shorten(category_id)}")
    if record.get("iscrowd"):
        return CocoObject(image_id, category_id, "box", ())
    if record.get("keypoints"):
        positions = _read_keypoints(record["keypoints"])
        if positions:
            return CocoObject(image_id, category_id, "keypoint", tuple(positions))
    box = record.get("bbox")
    if not isinstance(box, list) or len(box) != 4:
        raise Malformed(f"bbox must be [x, y, width, height], got {shorten(box)}")
    x, y = read_number(box[0], "x"), read_number(box[1], "y")
    centre = find_box_centre(x, y, read_number(box[2], "width"), read_number(box[3], "height"))
    return CocoObject(image_id, category_id, "box", (centre,))


def _read_keypoints(values: Any) -> list[Position]:
    """Read keypoints but for those that are not labelled, whose visibility is 0."""
    if not isinstance(values, list) or len(values) % 3:
        raise Malformed(f"keypoints must be x, y, visibility in turn, got {shorten(values)}")
    triples = zip(values[::3], values[1::3], values[2::3], strict=True)
    return [(read_number(x, "x"), read_number(y, "y")) for x, y, seen in triples if read_number(seen, "visibility") > 0]


def _take(record: Any, key: str) -> Any:
    value = record.get(key) if isinstance(record, dict) else None
    if value is None or not isinstance(value, Hashable):
        raise Malformed(f"{key} must be there, got {shorten(record)}")
    return value
