"""Annotations as Label Studio exports them, JSON or JSON-MIN."""

import math
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from datamodules.annotations.geometry import (
    Position,
    find_box_centre,
    find_centroid,
    read_number,
    read_positions,
    read_size,
    shorten,
)
from datamodules.annotations.structure import Annotations, Collector, Malformed
from datamodules.errors import DataError
from datamodules.files.listing import IMAGE_SUFFIXES
from datamodules.files.progress import show_progress

_UPLOADED = re.compile(r"[0-9a-f]{8}-")  # put before the name of a file that was uploaded
_KINDS = {"keypoint": "point", "rectangle": "box", "ellipse": "ellipse", "polygon": "polygon"}
_NO_OBJECTS = "choices", "text", "number", "rating", "taxonomy", "datetime", "pairwise", "ranker"
_ABOUT_IMAGE = "original_width", "original_height", "image_rotation"
_ABOUT_TASK = "id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time"


def is_label_studio(content: Any) -> bool:
    """Tell whether what a JSON file holds are tasks of Label Studio, in its long or short form."""
    task = content[0] if isinstance(content, list) and content else None
    if not isinstance(task, dict):
        return False
    return _is_long(task) or any(key in task for key in ("annotator", "annotation_id", "lead_time"))


def read_label_studio(tasks: list[Any], path: Path, collector: Collector) -> Annotations:
    """Read what Label Studio exports: keypoints, and the centres of rectangles, ellipses and polygons, in percent.

    Predictions are left out, and so are annotations that were cancelled. Tasks that nobody has annotated are left out,
    too: their images are no images without objects.

    Args:
        tasks: What the file holds.
        path: The file, for messages.
        collector: Where to put the objects.

    Returns:
        The annotations.

    Raises:
        DataError: If it is not as Label Studio exports it, or a task has several annotations; names the task by its id.
    """
    task_id: Any = None
    try:
        for number, task in enumerate(show_progress(tasks, f"Reading '{path}'", "tasks"), 1):
            if not isinstance(task, dict):
                raise Malformed(f"it must be an object, got {shorten(task)}")
            task_id = task.get("id", number)
            regions = _read_long(task) if _is_long(task) else _read_short(task)
            if regions is None:
                collector.leave_out("tasks not annotated")
                continue
            name = _find_image(task["data"] if _is_long(task) else task)
            aliases = (_UPLOADED.sub("", name),) if _UPLOADED.match(name) else ()
            size = next((size for _, region in regions if (size := _size(region))), None)
            entry = collector.open(name, f"'{path}', task {task_id}", size, aliases=aliases)
            for kind, region in regions:
                labels = _labels(region, kind)
                if collector.wants(_KINDS.get(kind, kind), labels):
                    entry.put(*_locate(kind, region))
    except Malformed as error:
        raise DataError(f"'{path}', task {task_id}: {error}.") from error
    return collector.finish()


def _is_long(task: dict[str, Any]) -> bool:
    return isinstance(task.get("data"), dict) and ("annotations" in task or "completions" in task)


Regions = list[tuple[str, dict[str, Any]]]


def _read_long(task: dict[str, Any]) -> Regions | None:
    """List the regions of a task by their form; None where nobody has annotated it."""
    annotations = task["annotations"] if "annotations" in task else task["completions"]
    if not isinstance(annotations, list) or not all(isinstance(annotation, dict) for annotation in annotations):
        raise Malformed(f"annotations must be a list of objects, got {shorten(annotations)}")
    kept = [annotation for annotation in annotations if not annotation.get("was_cancelled")]
    if len(kept) > 1:
        ids = ", ".join(str(annotation.get("id")) for annotation in kept)
        raise Malformed(f"its image must be annotated once, got the annotations {ids}")
    if not kept:
        return None
    found: dict[Any, tuple[str, dict[str, Any]]] = {}
    results = kept[0].get("result")
    if not isinstance(results, list) or not all(isinstance(result, dict) for result in results):
        raise Malformed(f"result must be a list of objects, got {shorten(results)}")
    for position, result in enumerate(results):
        value = result.get("value")
        kind = str(result.get("type")).removesuffix("labels")
        if isinstance(value, dict) and kind not in ("textarea", *_NO_OBJECTS):
            about = {key: result[key] for key in _ABOUT_IMAGE if key in result}
            _merge(found, result.get("id", position), kind, {**value, **about})
    return list(found.values())


def _read_short(task: dict[str, Any]) -> Regions:
    """List the regions of a task in the short form, where a region's form is told by its labels or numbers alone."""
    found: dict[Any, tuple[str, dict[str, Any]]] = {}
    for values in task.values():
        for region in values if isinstance(values, list) else []:
            if isinstance(region, dict) and not any(key in region for key in _NO_OBJECTS):
                named = next((key.removesuffix("labels") for key in region if key.endswith("labels")), "")
                _merge(found, tuple(str(region.get(key)) for key in _GEOMETRY), named, region)
    return list(found.values())


_GEOMETRY = "x", "y", "width", "height", "rotation", "radiusX", "radiusY", "points", "rle"


def _merge(found: dict[Any, tuple[str, dict[str, Any]]], key: Any, kind: str, region: dict[str, Any]) -> None:
    """Add a region; its form and its labels may come as two, which count as one."""
    if kind in _KINDS:
        form = kind
    elif kind in ("brush", "magicwand", "bitmask") or "rle" in region:
        form = "brush"
    elif "points" in region:
        form = "polygon"
    elif "radiusX" in region:
        form = "ellipse"
    elif "height" in region:
        form = "rectangle"
    else:
        form = "keypoint" if "x" in region else kind
    known, before = found.get(key, (form, {}))
    found[key] = known, {**before, **region}


def _labels(region: dict[str, Any], kind: str) -> list[str]:
    labels = region.get(f"{kind}labels", region.get("labels", []))
    if not isinstance(labels, list):
        raise Malformed(f"{kind}labels must be a list, got {shorten(labels)}")
    return [str(label) for label in labels]


def _locate(kind: str, region: dict[str, Any]) -> Position:
    """Compute where a region stands, in percent of the image."""
    if kind not in _KINDS:
        raise Malformed(f"a region must be one of {', '.join(_KINDS)}, got {kind}; leave it out by naming a category")
    if region.get("image_rotation"):
        raise Malformed(f"image_rotation must be 0, got {region['image_rotation']!r}: turn the image back in the tool")
    if kind == "polygon":
        return find_centroid(read_positions(region.get("points")))
    x, y = read_number(region.get("x"), "x"), read_number(region.get("y"), "y")
    if kind != "rectangle":  # an ellipse has its centre there
        return x, y
    width, height = read_number(region.get("width"), "width"), read_number(region.get("height"), "height")
    centre = find_box_centre(x, y, width, height)
    angle = math.radians(read_number(region.get("rotation") or 0, "rotation"))
    if angle == 0:
        return centre
    size = _size(region)  # percent are of different lengths along x and y
    if size is None:
        raise Malformed("a turned rectangle must have original_width and original_height, got none")
    aspect = size[1] / size[0]
    cos, sin = math.cos(angle), math.sin(angle)
    return x + width / 2 * cos - height / 2 / aspect * sin, y + width / 2 * aspect * sin + height / 2 * cos


def _size(region: dict[str, Any]) -> tuple[int, int] | None:
    return read_size(region.get("original_height"), region.get("original_width"))


def _find_image(data: dict[str, Any]) -> str:
    """Find the image that a task is about, among its fields."""
    texts = {key: value for key, value in data.items() if key not in _ABOUT_TASK and isinstance(value, str)}
    names = {key: _understand(value) for key, value in texts.items()}
    images = {key: name for key, name in names.items() if name.lower().endswith(IMAGE_SUFFIXES)}
    if not images:
        images = {key: name for key, name in names.items() if key in ("image", "img")}
    if len(set(images.values())) != 1:
        raise Malformed(f"its data must name one image, got {shorten(images or texts)}")
    return next(iter(images.values()))


def _understand(reference: str) -> str:
    """Find the path of an image in what refers to it: a path on the server, its query, or an address."""
    parts = urlsplit(reference)
    if "/local-files/" in parts.path:
        return parse_qs(parts.query).get("d", [""])[0]
    if parts.path.startswith("/data/upload/"):  # the server's folders, not the user's
        return unquote(parts.path).rpartition("/")[2]
    return unquote(parts.path) if parts.scheme else reference
