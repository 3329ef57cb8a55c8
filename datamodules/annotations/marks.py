"""Objects marked in images, whatever tool marked them: which image each file means, and where in it they are."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from datamodules.errors import DataError, abbreviate
from datamodules.types import Points

Unit = Literal["pixels", "fraction", "percent"]
"""What a coordinate of 1 is: a pixel, the image's whole side, or a hundredth of it."""

Positions = npt.NDArray[np.float64]
"""Positions (x, y) as annotated, float64 ``[N, 2]``; (0, 0) is the image's upper left corner."""


class Marks(NamedTuple):
    """What a file says of one image.

    Attributes:
        image: The image's name in the file, with ``/`` between parts, perhaps without its suffix.
        positions: Where the objects are.
        place: The file, and where in it, for messages.
        size: Height and width in pixels of the image that was annotated; None where the file does not say.
        split: ``train``, ``val``, ``test`` or empty.
    """

    image: str
    positions: Positions
    place: str
    size: tuple[int, int] | None = None
    split: str = ""


class Annotations(NamedTuple):
    """What is annotated in a file, or in a folder of files.

    Attributes:
        kind: Which tool's file it is, and what was found in it.
        marks: For each image what is marked in it; no image comes twice.
        unit: Of the positions; None where the file does not say.
    """

    kind: str
    marks: list[Marks]
    unit: Unit | None


class Picker:
    """Picks the objects of one category, and counts all.

    Args:
        category: Its name; None picks all.
    """

    def __init__(self, category: str | None) -> None:
        self._category = category
        self.counts: Counter[str] = Counter()

    def __call__(self, label: str) -> bool:
        """Count an object, and tell whether it is picked."""
        self.counts[label] += 1
        return self._category is None or label == self._category

    def describe(self, place: object) -> str:
        """Describe what there is.

        Args:
            place: Where it is from, for messages.

        Raises:
            DataError: If there is nothing of the category.
        """
        there = ", ".join(f"{label or 'no label'} ({count})" for label, count in self.counts.most_common())
        if self._category is not None and not self.counts[self._category]:
            raise DataError(
                f"category must be one that '{place}' has, got {self._category!r}. It has: {there or 'no objects'}."
            )
        return there or "no objects"


def check_once(marks: Sequence[Marks]) -> list[Marks]:
    """Refuse two annotations of one image.

    Raises:
        DataError: Naming both places.
    """
    first: dict[str, Marks] = {}
    for mark in marks:
        if mark.image in first:
            raise DataError(
                f"{mark.place}: '{mark.image}' is annotated there and before, {first[mark.image].place}. Keep one."
            )
        first[mark.image] = mark
    return list(first.values())


def find_centre(corners: Positions) -> Positions:
    """Find the centroid of a polygon's area, or, where it has none, the mean of its corners.

    Args:
        corners: ``[n, 2]``, n at least 1.

    Returns:
        ``[2]``.
    """
    following = np.roll(corners, -1, axis=0)
    cross = corners[:, 0] * following[:, 1] - following[:, 0] * corners[:, 1]
    area = cross.sum() / 2
    if abs(area) < 1e-9 * max(1.0, float(np.square(corners).max())):
        return np.asarray(corners.mean(0))
    return np.asarray(((corners + following) * cross[:, None]).sum(0) / (6 * area))


def as_positions(values: object, place: str) -> Positions:
    """Take numbers for positions.

    Args:
        values: Pairs of numbers; none at all gives no positions.
        place: Where they are from, for messages.

    Returns:
        float64 ``[N, 2]``.

    Raises:
        DataError: If they are no pairs of finite numbers.
    """
    try:
        positions = np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{place}: coordinates must be numbers, got {_shorten(values)}.") from error
    if positions.size == 0:
        return np.zeros((0, 2))
    if positions.ndim != 2 or positions.shape[1] != 2:
        raise DataError(f"{place}: coordinates must be pairs x, y, got an array of shape {positions.shape}.")
    if not np.isfinite(positions).all():
        raise DataError(f"{place}: coordinates must be finite, got {_shorten(values)}.")
    return positions


def match_images(
    annotations: Annotations, names: Sequence[str], folder: Path, unlisted: Literal["error", "empty"]
) -> dict[str, Marks]:
    """Find the image of each annotation.

    A name means the image of that path relative to the folder, with or without its suffix; or else the only image whose
    path ends so, or with whose path the name ends.

    Args:
        annotations: What is annotated.
        names: Paths of the images relative to ``folder``, with ``/`` between parts.
        folder: Their folder, for messages.
        unlisted: What an image is that no annotation names: an ``error``, or ``empty``, without objects.

    Returns:
        What is marked in each image, by its path, sorted.

    Raises:
        DataError: If an annotation's image is missing or is not clear, two annotations mean one image, or images are
            not annotated and may not be.
    """
    meant: dict[str, list[str]] = {}
    for name in names:
        parts = name.split("/")
        endings = ["/".join(parts[i:]) for i in range(len(parts))]
        for ending in {*endings, *(ending.rpartition(".")[0] for ending in endings)}:
            meant.setdefault(ending, []).append(name)
    exact = set(names)
    found: dict[str, Marks] = {}
    for marks in annotations.marks:
        candidates = [marks.image] if marks.image in exact else _candidates(marks.image, meant)
        if len(candidates) != 1:
            what = f"may be any of {abbreviate(sorted(candidates))}" if candidates else f"is not in '{folder}'"
            raise DataError(f"{marks.place}: image '{marks.image}' {what}. Correct its name, or add the image.")
        (name,) = candidates
        if name in found:
            raise DataError(f"{marks.place}: '{name}' is annotated there and before, {found[name].place}. Keep one.")
        found[name] = marks
    missing = sorted(exact - found.keys())
    if missing and unlisted == "error":
        raise DataError(
            f"{annotations.kind}: {len(missing)} images in '{folder}' are not named: {abbreviate(missing)}. "
            "Annotate them, remove them, or, if there is nothing in them, set --data.init_args.unlisted=empty."
        )
    nothing = np.zeros((0, 2))
    return {name: found.get(name) or Marks(name, nothing, annotations.kind) for name in sorted(exact)}


def to_pixels(marks: Marks, unit: Unit, size: tuple[int, int]) -> Points:
    """Turn positions into pixels of an image.

    Args:
        marks: What is marked in it.
        unit: Of the positions.
        size: Height and width of the image.

    Returns:
        float32 ``[N, 2]``.

    Raises:
        DataError: If fractions or percents are beyond what they can be, or pixels are fractions, as it seems.
    """
    positions, most = marks.positions, {"pixels": np.inf, "fraction": 1.0, "percent": 100.0}[unit]
    largest = float(np.abs(positions).max(initial=0))
    if largest > 1.5 * most:
        raise DataError(
            f"{marks.place}: coordinates of '{marks.image}' reach {largest:g}, more than coordinates={unit} can. "
            "Set --data.init_args.coordinates=pixels."
        )
    if unit == "pixels" and len(positions) >= 3 and largest <= 1 and min(size) > 8:
        raise DataError(
            f"{marks.place}: all coordinates of '{marks.image}' are at most 1. If they are parts of its sides, set "
            "--data.init_args.coordinates=fraction."
        )
    scale = 1.0 if unit == "pixels" else np.array(size[::-1]) / most
    return np.asarray(positions * scale, np.float32)


def _candidates(name: str, meant: dict[str, list[str]]) -> list[str]:
    """Find what a name means that is none of the images' whole paths: the whole name, or its end."""
    parts = name.split("/")
    for ending in ("/".join(parts[i:]) for i in range(len(parts))):
        if ending in meant:
            return meant[ending]
    return []


def _shorten(values: object) -> str:
    text = repr(values)
    return text if len(text) < 60 else f"{text[:57]}…"
