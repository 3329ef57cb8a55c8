"""MATLAB's files."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

from scipy.io import loadmat, whosmat

from datamodules.errors import DataError


def read_variable(path: Path, variable: str) -> Any:
    """Read one variable of a MATLAB file.

    Args:
        path: The file; of a version before 7.3, which is MATLAB's default.
        variable: Its name.

    Returns:
        Its value, an array of whatever type and shape.

    Raises:
        DataError: If the file cannot be read, is damaged, of version 7.3, or holds no such variable; names it.
    """
    content = _open(path, lambda file: loadmat(file, variable_names=[variable]))
    if variable not in content:
        raise unusable(path, f"it holds no variable {variable}. Replace it")
    return content[variable]


def list_variables(path: Path) -> list[str]:
    """List the names of the variables in a MATLAB file.

    Args:
        path: The file; of a version before 7.3.

    Returns:
        The names.

    Raises:
        DataError: If the file cannot be read, is damaged or of version 7.3; names it.
    """
    return [name for name, *_ in _open(path, whosmat)]


def _open(path: Path, read: Callable[[Any], Any]) -> Any:
    """Read something in a MATLAB file."""
    try:
        file = BytesIO(path.read_bytes())
    except OSError as error:
        raise unusable(path, f"{error.strerror}. Replace it") from error
    try:
        return read(file)
    except NotImplementedError as error:
        raise unusable(path, "it is of MATLAB's version 7.3 (HDF5). Save it with '-v7', or replace it") from error
    except Exception as error:  # a damaged file may raise any of them
        raise unusable(path, f"it is damaged ({error}). Replace it") from error


def unusable(path: Path, what: str) -> DataError:
    """Make the error for a file that is not as published.

    Args:
        path: The file.
        what: What is wrong with it, and then what to do, ``Replace it`` or the like.

    Returns:
        The error, to be raised.
    """
    return DataError(f"'{path}' cannot be used: {what} by the published file.")
