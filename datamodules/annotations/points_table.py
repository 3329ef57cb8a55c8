"""Tables with a row for each object: its image, and its position or box."""

from array import array
from collections.abc import Callable
from math import isfinite
from pathlib import Path

import numpy as np

from datamodules.annotations.marks import Annotations, Marks, Picker
from datamodules.errors import DataError
from datamodules.files.progress import show_progress
from datamodules.files.tables import IMAGE_HEADERS, LABEL_HEADERS, SPLIT_HEADERS, list_columns, read_split, read_table

_COLUMNS = {
    "image": IMAGE_HEADERS,
    "label": ("", *LABEL_HEADERS),
    "split": ("", *SPLIT_HEADERS),
    "x": ("", "x", "x_center", "center_x", "cx"),
    "y": ("", "y", "y_center", "center_y", "cy"),
    "x1": ("", "x1", "xmin", "x_min", "left"),
    "y1": ("", "y1", "ymin", "y_min", "top"),
    "x2": ("", "x2", "xmax", "x_max", "right"),
    "y2": ("", "y2", "ymax", "y_max", "bottom"),
    "w": ("", "w", "width", "box_width", "bbox_width"),
    "h": ("", "h", "height", "box_height", "bbox_height"),
}
Numbers = tuple[float, ...]
# By the columns that a table has, the most telling first: an object's position, and its width and height.
_FORMS: dict[tuple[str, ...], Callable[[Numbers], Numbers]] = {
    ("x1", "y1", "x2", "y2"): lambda box: (
        *((box[0] + box[2]) / 2, (box[1] + box[3]) / 2),
        *(box[2] - box[0], box[3] - box[1]),
    ),
    ("x", "y", "w", "h"): lambda box: (box[0] + box[2] / 2, box[1] + box[3] / 2, box[2], box[3]),
    ("x", "y"): lambda point: (*point, 0.0, 0.0),
}


def read_points_table(path: Path, category: str | None) -> Annotations:
    """Read a table with a row for each object, see :class:`~datamodules.crowd.points.PointsDataModule`.

    A row is kept as two numbers, whatever else it holds, so that a table of millions of rows fits into memory.

    Args:
        path: The file.
        category: The objects to pick by the column ``label``; None: all.

    Returns:
        What is annotated, in the order of the images' first rows.

    Raises:
        DataError: Naming the file and the row that is wrong.
    """
    columns = list_columns(path, _COLUMNS)
    form = next((form for form in _FORMS if columns.issuperset(form)), None)
    if form is None:
        raise DataError(
            f"'{path}' has no columns x, y, nor x1, y1, x2, y2, nor x, y, w, h; those it has that are known: "
            f"{', '.join(sorted(columns))}."
        )
    locate, pick = _FORMS[form], Picker(category)
    objects: dict[str, array[float]] = {}
    splits: dict[str, tuple[str, int]] = {}
    for line, cells in show_progress(read_table(path, _COLUMNS), f"Reading '{path}'", "rows"):
        image = cells["image"].replace("\\", "/").removeprefix("./")
        if not image:
            raise DataError(f"'{path}', row {line}: names no image. Give one, or remove the row.")
        positions = objects.setdefault(image, array("d"))
        split = read_split(cells["split"], f"'{path}', row {line}")
        before, first = splits.setdefault(image, (split, line))
        if split != before:
            raise DataError(
                f"'{path}', row {line}: '{image}' is of split '{split}', in row {first} of '{before}'. Let them agree."
            )
        texts = [cells[column] for column in form]
        if not any(texts):
            continue  # an image without objects
        numbers = _parse(texts, form, f"'{path}', row {line}")
        x, y, width, height = locate(numbers)
        if width < 0 or height < 0:
            shown = ", ".join(texts)
            raise DataError(f"'{path}', row {line}: the box {shown} has a negative size. Correct it.")
        if pick(cells["label"]):
            positions.extend((x, y))
    if not objects:
        raise DataError(f"'{path}' has no rows. Give each object a row, and an image without objects one, too.")
    there = pick.describe(path)
    marks = [
        Marks(image, np.array(numbers).reshape(-1, 2), f"'{path}', row {splits[image][1]}", split=splits[image][0])
        for image, numbers in objects.items()
    ]
    return Annotations(f"table '{path}' of {'boxes' if len(form) == 4 else 'points'}: {there}", marks, None)


def _parse(texts: list[str], form: tuple[str, ...], place: str) -> Numbers:
    numbers = []
    for column, text in zip(form, texts, strict=True):
        try:
            number = float(text)
        except ValueError as error:
            hint = " (write 0.5, not 0,5)" if "," in text else ""
            raise DataError(f"{place}: {column} must be a number{hint}, got '{text}'.") from error
        if not isfinite(number):
            raise DataError(f"{place}: {column} must be finite, got '{text}'.")
        numbers.append(number)
    return tuple(numbers)
