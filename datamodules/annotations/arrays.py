"""Positions as arrays, a file for each image: NumPy's, numbers in a text, and MATLAB's as crowd data sets have them."""

import re
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from datamodules.annotations.geometry import check_points
from datamodules.annotations.structure import FilePoints, Malformed
from datamodules.errors import DataError
from datamodules.files.matlab import list_variables, read_variable, unusable
from datamodules.files.texts import open_text

_PUBLISHED: dict[str, tuple[Callable[[Any], Any], str, str]] = {
    "image_info": (lambda variable: variable[0, 0][0, 0][0], "GT_", ""),
    "annPoints": (lambda variable: variable, "", "_ann"),
}
"""For each variable where in it the points are, and what names of its files have before and after the image's."""


def read_numpy(path: Path) -> FilePoints:
    """Read positions from a ``.npy`` file.

    Args:
        path: The file.

    Returns:
        The positions (x, y), ``[N, 2]``.

    Raises:
        DataError: If it is damaged or holds something else.
    """
    try:
        return check_points(np.load(BytesIO(path.read_bytes()), allow_pickle=False), "array")
    except Malformed as error:
        raise DataError(f"'{path}' cannot be used: {error}.") from error
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"'{path}' cannot be read as an array of NumPy: {error}.") from error


def is_numbers(line: str) -> bool:
    """Tell whether a line of text holds numbers and nothing else."""
    try:
        return bool([float(part) for part in _split(line)])
    except ValueError:
        return False


def read_numbers(path: Path) -> FilePoints:
    """Read positions from a text with x and y in each line, with blanks, commas, semicolons or tabs between them.

    Empty lines and those that begin with ``#`` are left out.

    Args:
        path: The text; an empty one has no positions.

    Returns:
        The positions (x, y), ``[N, 2]``.

    Raises:
        DataError: If it holds something else; names the line.
    """
    rows = []
    with open_text(path) as file:
        for number, line in enumerate(file, 1):
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            if not is_numbers(line):
                raise DataError(f"'{path}', line {number}: x and y must be numbers, got {line.strip()!r}.")
            rows.append([float(part) for part in _split(line)])
            if len(rows[-1]) != 2 or not np.isfinite(rows[-1]).all():
                raise DataError(f"'{path}', line {number}: it must be a finite x and y, got {line.strip()!r}.")
    return np.array(rows, np.float64).reshape(-1, 2)


def read_matlab(path: Path) -> tuple[FilePoints, str]:
    """Read positions from a MATLAB file as ShanghaiTech or UCF-QNRF has them, whichever it is.

    Args:
        path: The file.

    Returns:
        The positions (x, y), ``[N, 2]``, and the stem of the image's name.

    Raises:
        DataError: If it cannot be read, or holds something else.
    """
    variables = list_variables(path)
    variable = next((name for name in _PUBLISHED if name in variables), None)
    if variable is None:
        raise DataError(f"'{path}' must have the variable {' or '.join(_PUBLISHED)}, got {', '.join(variables)}.")
    _, prefix, suffix = _PUBLISHED[variable]
    return read_published(path, variable), path.stem.removeprefix(prefix).removesuffix(suffix)


def read_published(path: Path, variable: str) -> FilePoints:
    """Read positions from a variable of a MATLAB file.

    Args:
        path: The file.
        variable: ``image_info`` or ``annPoints``.

    Returns:
        The positions (x, y), ``[N, 2]``.

    Raises:
        DataError: If the file cannot be read, or does not hold that as published.
    """
    content = read_variable(path, variable)
    try:
        points = np.asarray(_PUBLISHED[variable][0](content))
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise unusable(path, f"its {variable} is not built as published. Replace it") from error
    try:
        return check_points(points, variable)
    except Malformed as error:
        raise unusable(path, f"{error}. Replace it") from error


def _split(line: str) -> list[str]:
    return re.split(r"\s*[,;]\s*|\s+", line.strip())
