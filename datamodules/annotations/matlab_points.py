"""Positions of heads as crowd data sets publish them, in MATLAB's files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from datamodules.files.matlab import read_variable, unusable
from datamodules.types import Points


def read_image_info(path: Path) -> Points:
    """Read the heads' positions in a file of ShanghaiTech, ``image_info{1}.location``.

    Args:
        path: The MATLAB file.

    Returns:
        Positions (x, y) as annotated, in pixels, float32 ``[N, 2]``; N may be 0.

    Raises:
        DataError: If the file is missing, damaged, or holds something else; names it.
    """
    return _read(path, "image_info", lambda variable: variable[0, 0][0, 0][0])


def read_ann_points(path: Path) -> Points:
    """Read the heads' positions in a file of UCF-QNRF, ``annPoints``.

    Args:
        path: The MATLAB file.

    Returns:
        As :func:`read_image_info`.

    Raises:
        DataError: As there.
    """
    return _read(path, "annPoints", lambda variable: variable)


def _read(path: Path, variable: str, locate: Callable[[Any], Any]) -> Points:
    """Read positions in a variable of a MATLAB file."""
    content = read_variable(path, variable)
    try:
        points = np.asarray(locate(content))
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise unusable(path, f"its {variable} is not built as published. Replace it") from error
    if points.dtype.kind not in "fiu":
        raise unusable(path, f"its {variable} holds no numbers. Replace it")
    if points.size == 0:  # no heads, in whatever shape
        return np.zeros((0, 2), np.float32)
    if points.ndim != 2 or points.shape[1] != 2:
        raise unusable(path, f"its points have the shape {points.shape}, not (N, 2). Replace it")
    if not np.isfinite(points).all():
        raise unusable(path, "it holds coordinates that are not finite. Correct or replace it")
    return points.astype(np.float32)
