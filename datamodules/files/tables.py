"""Tables of text with a header: comma-, semicolon- or tab-separated values, as spreadsheets and scripts write them."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from datamodules.errors import DataError

_SEPARATORS = ",;\t"


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
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            separator = max(_SEPARATORS, key=first.count)
            header = [cell.strip().casefold() for cell in next(csv.reader([first], delimiter=separator), [])]
            places = _find_columns(path, header, columns)
            rows = csv.reader(file, delimiter=separator)
            for cells in rows:
                if not any(cell.strip() for cell in cells):
                    continue
                line = rows.line_num + 1
                if len(cells) != len(header):
                    raise DataError(
                        f"'{path}', row {line}: has {len(cells)} cells, but the header {len(header)}. Correct the row."
                    )
                yield line, {name: "" if at is None else cells[at].strip() for name, at in places.items()}
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
