"""Positions of heads as crowd data sets publish them: a MATLAB file beside each image."""

import re
from pathlib import Path

import numpy as np

from datamodules.annotations.arrays import read_published
from datamodules.errors import DataError, abbreviate
from datamodules.files.listing import list_image_names
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
    return read_published(path, "image_info").astype(np.float32)


def read_ann_points(path: Path) -> Points:
    """Read the heads' positions in a file of UCF-QNRF, ``annPoints``.

    Args:
        path: The MATLAB file.

    Returns:
        As :func:`read_image_info`.

    Raises:
        DataError: As there.
    """
    return read_published(path, "annPoints").astype(np.float32)


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
