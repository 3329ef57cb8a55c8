"""JSON of annotation tools: COCO, LabelMe and AnyLabeling, Label Studio."""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

from datamodules.annotations.marks import Annotations, Marks, Picker, Positions, as_positions, check_once, find_centre
from datamodules.errors import DataError, abbreviate

KNOWN = "COCO, LabelMe, AnyLabeling and Label Studio"


def load(path: Path) -> Any:
    """Load a JSON file.

    Raises:
        DataError: If it cannot be read; names the line that is wrong.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise DataError(f"'{path}', line {error.lineno}, column {error.colno}: is no JSON ({error.msg}).") from error
    except UnicodeDecodeError as error:
        raise DataError(f"'{path}' is not UTF-8 text (byte {error.start}).") from error
    except RecursionError as error:
        raise DataError(f"'{path}' is nested too deep to be annotations.") from error
    except OSError as error:
        raise DataError(f"'{path}' cannot be read: {error.strerror}.") from error


def read_json(path: Path, category: str | None) -> Annotations:
    """Read the annotations of several images in one JSON file.

    Args:
        path: The file.
        category: The objects to pick; None: all.

    Returns:
        What is annotated.

    Raises:
        DataError: If it is of no known tool, or something in it is not as that tool writes it; says where.
    """
    content = load(path)
    try:
        if isinstance(content, dict) and {"images", "annotations"} <= content.keys():
            return _read_coco(content, path, category)
        if isinstance(content, dict) and "shapes" in content:
            return read_labelme([(path, path.name)], category)
        if isinstance(content, list) and content and all(isinstance(task, dict) for task in content):
            return _read_label_studio(content, path, category)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise DataError(f"'{path}' is not as its tool writes it: {type(error).__name__} {error}.") from error
    keys = abbreviate(sorted(map(str, content))) if isinstance(content, dict) else type(content).__name__
    raise DataError(f"'{path}' is JSON of no tool that is known ({KNOWN}): it holds {keys or 'nothing'}.")


def _read_coco(content: Mapping[str, Any], path: Path, category: str | None) -> Annotations:
    """Read COCO's: keypoints that are seen, else centres of boxes, in pixels."""
    labels = {entry["id"]: str(entry["name"]) for entry in content.get("categories", ())}
    pick = Picker(category)
    points: dict[Any, list[Sequence[float]]] = {image["id"]: [] for image in content["images"]}
    for number, entry in enumerate(content["annotations"]):
        place = f"'{path}', annotations[{number}]"
        if entry["image_id"] not in points:
            raise DataError(f"{place}: there is no image with the id {entry['image_id']!r}.")
        if pick(labels.get(entry.get("category_id"), str(entry.get("category_id", "")))):
            points[entry["image_id"]].extend(_coco_points(entry, place))
    there = pick.describe(path)
    marks = [
        Marks(
            str(image["file_name"]).replace("\\", "/"),
            as_positions(points[image["id"]], f"'{path}', image {image['id']}"),
            f"'{path}', images[{number}]",
            (int(image["height"]), int(image["width"])) if image.get("height") and image.get("width") else None,
        )
        for number, image in enumerate(content["images"])
    ]
    return Annotations(f"COCO '{path}': {there}", check_once(marks), "pixels")


def _coco_points(entry: Mapping[str, Any], place: str) -> list[Sequence[float]]:
    keypoints = as_triples(entry.get("keypoints") or (), place)
    seen: list[Sequence[float]] = [(x, y) for x, y, visible in keypoints if visible]
    if seen:
        return seen
    if not entry.get("bbox"):
        raise DataError(f"{place}: has neither keypoints nor a bbox.")
    x, y, width, height = map(float, entry["bbox"])
    if width < 0 or height < 0:
        raise DataError(f"{place}: the bbox {entry['bbox']} has a negative size.")
    return [(x + width / 2, y + height / 2)]


def as_triples(values: Sequence[float], place: str) -> list[tuple[float, float, float]]:
    """Part keypoints into x, y and visibility.

    Raises:
        DataError: If they are not three numbers each.
    """
    if len(values) % 3:
        raise DataError(f"{place}: keypoints must be x, y, visibility each, got {len(values)} numbers.")
    return [(values[i], values[i + 1], values[i + 2]) for i in range(0, len(values), 3)]


def read_labelme(files: Sequence[tuple[Path, str]], category: str | None) -> Annotations:
    """Read files of LabelMe or AnyLabeling, one for each image: points and centres of shapes, in pixels.

    Args:
        files: Each file, and its path relative to the folder of all.
        category: The objects to pick; None: all.

    Returns:
        What is annotated; an image is named as its file.

    Raises:
        DataError: If a file is not as these tools write it.
    """
    pick = Picker(category)
    marks = []
    for path, name in files:
        content = load(path)
        if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
            raise DataError(f"'{path}' is no file of LabelMe: it has no list 'shapes'. Move it out of the folder.")
        try:
            positions = [
                _labelme_centre(shape, f"'{path}', shapes[{number}]")
                for number, shape in enumerate(content["shapes"])
                if pick(str(shape["label"]))
            ]
            size = content.get("imageHeight"), content.get("imageWidth")
            suffix = Path(str(content.get("imagePath") or "").replace("\\", "/")).suffix
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"'{path}' is not as LabelMe writes it: {type(error).__name__} {error}.") from error
        image = name.rpartition(".")[0] + suffix
        known = (int(size[0]), int(size[1])) if size[0] and size[1] else None
        marks.append(Marks(image, as_positions(positions, f"'{path}'"), f"'{path}'", known))
    there = pick.describe(files[0][0].parent)
    return Annotations(f"{len(marks)} files of LabelMe in '{files[0][0].parent}': {there}", marks, "pixels")


def _labelme_centre(shape: Mapping[str, Any], place: str) -> Positions:
    points, kind = as_positions(shape["points"], place), shape.get("shape_type", "polygon")
    if not len(points):
        raise DataError(f"{place}: has no points.")
    if kind in ("point", "circle"):
        return np.asarray(points[0])
    if kind in ("rectangle", "rotation"):
        return np.asarray((points.min(0) + points.max(0)) / 2 if kind == "rectangle" else points.mean(0))
    if kind == "polygon":
        return find_centre(points)
    raise DataError(f"{place}: is a {kind}, which has no one position. Known: point, circle, rectangle, polygon.")


def _read_label_studio(tasks: Sequence[Mapping[str, Any]], path: Path, category: str | None) -> Annotations:
    """Read Label Studio's export, JSON or JSON-MIN: key points and centres of shapes, in percent."""
    pick = Picker(category)
    marks = []
    for number, task in enumerate(tasks):
        place = f"'{path}', task {task.get('id', number)}"
        results = list(_results(task, place))
        chosen = [result for result in results if pick(_studio_label(result))]
        size = next(((r["original_height"], r["original_width"]) for r in results if "original_height" in r), None)
        positions = as_positions([_studio_centre(result, place) for result in chosen], place)
        marks.append(Marks(_studio_image(task, place), positions, place, size and (int(size[0]), int(size[1]))))
    there = pick.describe(path)
    return Annotations(f"Label Studio '{path}': {there}", check_once(marks), "percent")


def _results(task: Mapping[str, Any], place: str) -> Iterator[Mapping[str, Any]]:
    """Yield a task's regions, each with its ``value``."""
    if "annotations" in task or "completions" in task:
        done = [a for a in task.get("annotations", task.get("completions")) if not a.get("was_cancelled")]
        if len(done) > 1:
            raise DataError(f"{place}: has {len(done)} annotations of one image. Keep one.")
        for result in done[0]["result"] if done else ():
            if str(result.get("type", "")).endswith("labels"):
                yield result
        return
    if "image" not in task and "data" not in task:
        raise DataError(f"{place}: is no task of Label Studio: it holds {abbreviate(sorted(map(str, task)))}.")
    for regions in task.values():  # JSON-MIN: lists of values under the names of the labels
        for value in regions if isinstance(regions, list) else ():
            kind = next((key for key in value if key.endswith("labels")), None) if isinstance(value, dict) else None
            if kind is not None:
                yield {"value": value, "type": kind, **value}


def _studio_label(result: Mapping[str, Any]) -> str:
    value = result["value"]
    labels: Sequence[Any] = next((value[key] for key in value if key.endswith("labels")), [])
    return str(labels[0]) if labels else ""


def _studio_centre(result: Mapping[str, Any], place: str) -> Sequence[float]:
    value, kind = result["value"], str(result["type"])
    if kind in ("keypointlabels", "ellipselabels"):
        return value["x"], value["y"]
    if kind == "polygonlabels":
        centre: Sequence[float] = find_centre(as_positions(value["points"], place)).tolist()
        return centre
    if kind == "rectanglelabels":  # turned about the upper left corner, as seen on the screen: in pixels
        width, height = float(result.get("original_width", 1)), float(result.get("original_height", 1))
        angle = math.radians(value.get("rotation", 0))
        half_x, half_y = value["width"] / 200 * width, value["height"] / 200 * height
        right = half_x * math.cos(angle) - half_y * math.sin(angle)
        down = half_x * math.sin(angle) + half_y * math.cos(angle)
        return value["x"] + 100 * right / width, value["y"] + 100 * down / height
    raise DataError(
        f"{place}: has {kind}, which have no one position. Known: keypointlabels, rectanglelabels, ellipselabels, "
        "polygonlabels."
    )


def _studio_image(task: Mapping[str, Any], place: str) -> str:
    """Find the image's name in the address that a task has, without what the server put before it."""
    data = task.get("data", task)
    addresses = [value for key, value in data.items() if isinstance(value, str) and (key == "image" or "/" in value)]
    if not addresses:
        raise DataError(f"{place}: names no image.")
    parts = urlsplit(addresses[0].replace("\\", "/"))
    if parts.path.endswith("/local-files/") or parts.path.endswith("/local-files"):
        return unquote(parse_qs(parts.query).get("d", [""])[0]).lstrip("/")
    name = unquote(parts.path).lstrip("/")
    if "upload/" in name:
        name = re.sub(r"^[0-9a-f]{8}-", "", name.rpartition("/")[2])
    return name
