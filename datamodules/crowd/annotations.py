"""Positions of heads as crowd data sets publish them: a MATLAB file beside each image."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from datamodules.errors import DataError, abbreviate
from datamodules.files.listing import list_image_names
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


def pair_files(images: Path, annotations: Path, prefix: str = "", suffix: str = "") -> list[tuple[Path, Path]]:
    """Find each image's annotation, ``<prefix><name of the image><suffix>.mat``.

    Args:
        images: Folder of the images, which have any of the usual suffixes.
        annotations: Folder of their annotations; may be the same.
        prefix: How an annotation's name begins.
        suffix: How it ends.

    Returns:
        Images and their annotations, by the numbers in the images' names: 2 comes before 10.

    Raises:
        DataError: If there are no images, two that differ in their suffix only, or an image or annotation is without
            the other; names the files.
    """
    names = sorted(list_image_names(images, beside=".mat") if images.is_dir() else [], key=_split_numbers)
    if not names:
        raise DataError(f"'{images}' is missing or holds no images. Put the published images there.")
    expected = {f"{prefix}{Path(name).stem}{suffix}.mat": name for name in names}
    twins = sorted(set(names) - set(expected.values()), key=_split_numbers)
    if twins:
        raise DataError(
            f"'{images}' holds images that share their name but for the suffix, and so an annotation, with "
            f"{abbreviate(twins)}. Remove those that are not published."
        )
    found = {path.name for path in annotations.glob(f"{prefix}*{suffix}.mat") if not path.name.startswith(".")}
    without = [f"{name} ({annotation})" for annotation, name in expected.items() if annotation not in found]
    if without:
        raise DataError(
            f"'{annotations}' lacks the annotations of {len(without)} images in '{images}': {abbreviate(without)}. "
            "Add them, or remove these images."
        )
    others = sorted(found - expected.keys(), key=_split_numbers)
    if others:
        raise DataError(
            f"'{images}' lacks the images of {len(others)} annotations in '{annotations}': {abbreviate(others)}. "
            "Add them, or remove these annotations."
        )
    return [(images / name, annotations / annotation) for annotation, name in expected.items()]


def _split_numbers(name: str) -> list[str | int]:
    """Split a name into texts and numbers in turn: sorted by these, numbers in names ascend."""
    return [int(part) if position % 2 else part for position, part in enumerate(re.split(r"([0-9]+)", name))]


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
