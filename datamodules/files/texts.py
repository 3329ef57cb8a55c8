"""Text files, and JSON in them."""

import codecs
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from datamodules.errors import DataError

_UTF16 = codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE


def find_encoding(start: bytes) -> str:
    """Name the encoding of a text by its first bytes: UTF-16 where they say so, else UTF-8, with or without a mark."""
    return "utf-16" if start.startswith(_UTF16) else "utf-8-sig"


@contextmanager
def open_text(path: Path) -> Iterator[TextIO]:
    """Open a text file, UTF-8 or UTF-16, with its ends of lines as they are.

    Args:
        path: The file.

    Yields:
        The open file.

    Raises:
        DataError: If it cannot be read, or what is read in the context is no such text; names the file and line.
    """
    encoding = find_encoding(read_start(path, 4))
    with path.open(encoding=encoding, newline="") as file:
        try:
            yield file
        except UnicodeDecodeError as error:
            with path.open(encoding=encoding, errors="surrogateescape", newline="") as lines:
                number = next((n for n, line in enumerate(lines, 1) if not _is_clean(line)), 1)
            raise DataError(
                f"'{path}', line {number}: it must be UTF-8 text, got the byte 0x{error.object[error.start]:02x}. Save "
                "it as UTF-8 (in Excel: 'CSV UTF-8')."
            ) from error


def read_start(path: Path, length: int) -> bytes:
    """Read a file's first bytes.

    Args:
        path: The file.
        length: How many.

    Returns:
        So many, or all there are.

    Raises:
        DataError: If the file is missing or cannot be read; names it.
    """
    try:
        with path.open("rb") as file:
            return file.read(length)
    except OSError as error:
        raise DataError(f"'{path}' cannot be read: {error.strerror}.") from error


def load_json(path: Path, object_hook: Callable[[dict[str, Any]], Any] | None = None) -> Any:
    """Read a JSON file.

    Args:
        path: The file, UTF-8 or UTF-16.
        object_hook: What to put in the place of each object, called as soon as it is read. Default: itself.

    Returns:
        What it holds.

    Raises:
        DataError: If it cannot be read or is no JSON; names the file, line and column.
    """
    with open_text(path) as file:
        text = file.read()
    try:
        return json.loads(text, object_hook=object_hook)
    except json.JSONDecodeError as error:
        raise DataError(f"'{path}', line {error.lineno}, column {error.colno}: no valid JSON ({error.msg}).") from error
    except (ValueError, RecursionError) as error:  # numbers of thousands of digits, or brackets in brackets
        raise DataError(f"'{path}' is no usable JSON ({error}).") from error


def _is_clean(line: str) -> bool:
    return line.isascii() or not any("\udc80" <= letter <= "\udcff" for letter in line)
