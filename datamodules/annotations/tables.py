"""Annotations in a table of text: CSV, with commas, semicolons or tabs.

Read by the standard library, row by row: a million rows take seconds and little more memory than their numbers, and
unlike a data frame every row keeps its number, which errors name.
"""

import csv
import math
import re
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple, TextIO

from datamodules.annotations.geometry import Position, find_box_centre, find_corners_centre, parse_number
from datamodules.annotations.structure import (
    SPLITS,
    Annotations,
    Collector,
    Entry,
    Malformed,
    Split,
    annotated_twice,
    read_split,
)
from datamodules.errors import DataError, abbreviate
from datamodules.files.progress import show_progress
from datamodules.files.texts import open_text

_IMAGE = "image", "imagename", "imagepath", "imagefile", "imageid", "filename", "filepath", "file", "path", "img"
_LABEL = "label", "category", "class", "labelname", "categoryname", "classname"
_DELIMITERS = ",;\t"
_WANTED = "image, x, y (or image, x1, y1, x2, y2, or image, x, y, w, h)"


def _point(x: float, y: float) -> Position:
    return x, y


class _Layout(NamedTuple):
    """Which columns say where an object stands.

    Attributes:
        kind: Its form.
        columns: Their names; of each the first is meant, the others are other names of it.
        locate: From their numbers to the position.
    """

    kind: str
    columns: tuple[tuple[str, ...], ...]
    locate: Callable[..., Position]


_LAYOUTS = (
    _Layout("box", (("x",), ("y",), ("w", "width"), ("h", "height")), find_box_centre),
    _Layout("box", (("x1", "xmin"), ("y1", "ymin"), ("x2", "xmax"), ("y2", "ymax")), find_corners_centre),
    _Layout("point", (("x",), ("y",)), _point),
)


class _Header(NamedTuple):
    """Positions of the columns in a table of ``width`` columns."""

    width: int
    image: int
    layout: _Layout
    numbers: list[int]
    label: int | None
    split: int | None


def read_table(path: Path, collector: Collector) -> Annotations:
    """Read a table with a row for each object; the first row names the columns.

    Columns: ``image`` (or ``filename``, ``image_path`` and the like), ``x`` and ``y`` of a point, or ``x1``, ``y1``,
    ``x2``, ``y2`` (``xmin`` ...) or ``x``, ``y``, ``w``, ``h`` (``width``, ``height``) of a box; if wanted ``label``
    (``category``, ``class``) and ``split`` (train, val, test). Others are left out. Upper and lower case are the same.
    An image without objects has one row in which the coordinates are empty.

    Args:
        path: The table.
        collector: Where to put the objects.

    Returns:
        The annotations.

    Raises:
        DataError: If the table is not so; names the row, counted from 1 for the names of the columns.
    """
    with open_text(path) as file:
        rows = csv.reader(file, delimiter=_find_delimiter(file, path), strict=True)
        _read_rows(path, enumerate(rows, 1), collector)
    return collector.finish()


def _read_rows(path: Path, rows: Iterator[tuple[int, list[str]]], collector: Collector) -> None:
    entries: dict[str, Entry] = {}
    empty: dict[str, int] = {}
    counts: dict[str, int] = {}  # added up here: a call for each row would take half of the time
    number = 0
    try:
        number, titles = next((number, row) for number, row in rows if any(row))
        header = _understand(titles, f"'{path}', row {number}")
        take, locate = itemgetter(*header.numbers), header.layout.locate
        for number, row in show_progress(rows, f"Reading '{path}'", "rows"):
            if not any(row):
                continue
            if len(row) != header.width and (len(row) < header.width or any(row[header.width :])):
                raise Malformed(f"it must have {header.width} fields like the first row, got {len(row)}")
            name = row[header.image].strip()
            split = None if header.split is None else _take_split(row[header.split])
            entry = entries.get(name)
            if entry is None:
                if not name:
                    raise Malformed("image must be a name, got nothing")
                entry = entries[name] = collector.open(name, f"'{path}', row {number}", split=split)
            elif split != entry.annotation.split:
                raise Malformed(f"split of '{name}' must be {entry.annotation.split} as before, got {split}")
            texts = take(row)
            try:
                x, y = locate(*map(float, texts))
            except ValueError:
                x = y = math.nan
            if not math.isfinite(x + y):
                if any(text.strip() for text in texts):
                    _explain(header, texts)
                if name in empty:
                    raise annotated_twice(name, f"row {empty[name]}", f"'{path}', row {number}")
                if entry.coordinates:
                    raise Malformed(f"x and y must be numbers, as '{name}' has objects in rows before, got nothing")
                empty[name] = number
                continue
            label = "" if header.label is None else row[header.label].strip()
            counts[label] = counts.get(label, 0) + 1
            if header.label is None or collector.picks(label):
                entry.put(x, y)
                entry.rows.append(number)
            if empty and name in empty:
                raise Malformed(f"'{name}' must be without objects, as row {empty[name]} says, got one")
    except Malformed as error:
        raise DataError(f"'{path}', row {number}: {error}.") from error
    except csv.Error as error:
        raise DataError(f"'{path}', row {number + 1}: no valid CSV ({error}).") from error
    for label, count in counts.items():
        collector.wants(header.layout.kind, () if header.label is None else (label,), count)
    if not entries:
        raise DataError(f"'{path}' is an empty table: it has no rows but the names of its columns.")


def _explain(header: _Header, texts: Sequence[str]) -> None:
    """Say what is wrong with the numbers of an object.

    Raises:
        Malformed: Always.
    """
    names = [names[0] for names in header.layout.columns]
    header.layout.locate(*(parse_number(text.strip(), name) for text, name in zip(texts, names, strict=True)))
    raise Malformed(f"coordinates must be finite, got {', '.join(texts)}")


def _take_split(text: str) -> Split:
    split = read_split(text)
    if split is None:
        raise Malformed(f"split must be one of {', '.join(SPLITS)}, got {text!r}")
    return split


def _find_delimiter(file: TextIO, path: Path) -> str:
    """Find what separates the columns: what makes their names understood, else what makes most of them."""
    first = next((line for line in file if line.strip()), "")
    file.seek(0)
    if not first:
        raise DataError(f"'{path}' is empty.")

    def columns(delimiter: str) -> tuple[bool, int]:
        names = next(csv.reader([first], delimiter=delimiter))
        return _find_layout(_plain(names)) is not None, len(names)

    return max(_DELIMITERS, key=columns)


def _plain(names: list[str]) -> list[str]:
    return [re.sub(r"[^a-z0-9]", "", name.lower()) for name in names]


def _find_layout(names: list[str]) -> _Layout | None:
    def has(column: tuple[str, ...]) -> bool:
        return any(name in names for name in column)

    box, corners, point = _LAYOUTS
    sides = [has(column) for column in box.columns[2:]]
    if all(map(has, corners.columns)) and not all(map(has, point.columns)):
        return corners
    if not all(map(has, point.columns)) or sides in ([True, False], [False, True]):
        return None
    return box if all(sides) else point


def _understand(row: list[str], place: str) -> _Header:
    """Find the columns by their names.

    Raises:
        DataError: If one is missing or twice there; names those there are.
    """
    names = _plain(row)
    layout = _find_layout(names)
    image = next((names.index(name) for name in _IMAGE if name in names), None)
    if layout is None or image is None:
        raise DataError(f"{place}: the columns must be {_WANTED}, got {abbreviate(row, shown=12)}.")

    def find(column: tuple[str, ...]) -> int | None:
        places = [number for number, name in enumerate(names) if name in column]
        if len(places) > 1:
            raise DataError(
                f"{place}: {column[0]} must be one column, got {', '.join(row[number] for number in places)}."
            )
        return places[0] if places else None

    numbers = [number for column in layout.columns if (number := find(column)) is not None]
    return _Header(len(row), image, layout, numbers, find(_LABEL), find(("split",)))
