"""Tables of text with a header: comma-, semicolon- or tab-separated values, as spreadsheets and scripts write them."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from datamodules.errors import DataError

_SEPARATORS = ",;\t"
IMAGE_HEADERS = ("image", "filename", "file", "file_name", "image_path", "path", "image_name", "name", "img")
LABEL_HEADERS = ("label", "class", "category", "class_name")
SPLIT_HEADERS = ("split", "set", "subset")
_SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


def read_table(path: Path, columns: Mapping[str, Sequence[str]]) -> Iterator[tuple[int, dict[str, str]]]:
    """Read the rows of a table, one after another.

    Args:
        path: The file, UTF-8 with or without a mark at its beginning.
        columns: By the name under which a column is wanted, the headers that it may have in the file, in small letters.
            Those of optional columns begin with an empty one.

    Yields:
        Number of the row's line in the file, from 1, and its cells, without blanks around them, by the wanted name; of
        an optional column that is not there the cell is empty. Rows without any text are left out.

    Raises:
        DataError: If the file cannot be read, lacks a column or has it twice, or a row has too many or too few cells;
            names the file, and the row.
    """
    with _open(path, columns) as (rows, places, count):
        for cells in rows:
            if not any(cell.strip() for cell in cells):
                continue
            line = rows.line_num + 1
            if len(cells) != count:
                raise DataError(f"'{path}', row {line}: has {len(cells)} cells, but the header {count}. Correct it.")
            yield line, {name: "" if at is None else cells[at].strip() for name, at in places.items()}


def list_columns(path: Path, columns: Mapping[str, Sequence[str]]) -> set[str]:
    """List which of some columns a table has.

    Args:
        path: The file.
        columns: As of :func:`read_table`.

    Raises:
        DataError: As there.
    """
    with _open(path, columns) as (_, places, _):
        return {name for name, place in places.items() if place is not None}


def read_split(text: str, place: str) -> str:
    """Read the name of a split.

    Args:
        text: A cell of a table; may be empty.
        place: File and row, for messages.

    Returns:
        ``train``, ``val``, ``test`` or an empty text.

    Raises:
        DataError: If it is another.
    """
    if text and text.casefold() not in _SPLITS:
        raise DataError(f"{place}: split must be train, val or test, got '{text}'. Correct it.")
    return _SPLITS.get(text.casefold(), "")


@contextmanager
def _open(path: Path, columns: Mapping[str, Sequence[str]]) -> Iterator[tuple[Any, dict[str, int | None], int]]:
    """Open a table: its rows below the header, where the columns are, and how many there are in all."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            separator = max(_SEPARATORS, key=first.count)
            header = [cell.strip().casefold() for cell in next(csv.reader([first], delimiter=separator), [])]
            yield csv.reader(file, delimiter=separator), _find_columns(path, header, columns), len(header)
    except UnicodeDecodeError as error:
        raise DataError(f"'{path}' is not UTF-8 text (byte {error.start}). Save it as CSV in UTF-8.") from error
    except csv.Error as error:
        raise DataError(f"'{path}' is no table: {error}. Save it as CSV.") from error
    except OSError as error:
        raise DataError(f"'{path}' cannot be read: {error.strerror}.") from error


def _find_columns(path: Path, header: Sequence[str], columns: Mapping[str, Sequence[str]]) -> dict[str, int | None]:
    """Find at which place in the header each column is, None for one that is optional and not there."""
    places: dict[str, int | None] = {}
    for name, spellings in columns.items():
        found = [place for place, title in enumerate(header) if title and title in spellings]
        if len(found) > 1:
            raise DataError(f"'{path}' has several columns for {name}: {', '.join(header[place] for place in found)}.")
        if not found and "" not in spellings:
            there = ", ".join(title for title in header if title) or "none"
            raise DataError(
                f"'{path}' lacks a column {name} (or {', '.join(spellings[1:])}); its columns are: {there}."
            )
        places[name] = found[0] if found else None
    return places
