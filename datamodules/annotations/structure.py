"""What all readers of annotation files hand over, and how they collect it."""

from array import array
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from datamodules.errors import DataError, refuse

Unit = Literal["pixels", "fraction", "percent"]
"""What coordinates count: pixels, or shares of the image's width and height."""

Split = Literal["train", "val", "test"]
"""Which part of the data an image belongs to."""

FilePoints = npt.NDArray[np.float64]
"""Positions as a file has them: float64 ``[N, 2]``, each (x, y), from the upper left corner of the image."""

_SPLITS: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
_PLURALS = {"box": "boxes", "mask": "masks"}


class Malformed(ValueError):
    """What is wrong with one object of a file, without saying where it stands."""


class ImageAnnotation(NamedTuple):
    """Objects annotated in one image.

    Attributes:
        name: The image as the file names it, with or without folders and suffix.
        points: Positions of the objects in ``unit``; (0, 0) is the upper left corner of the image, not the centre of
            its first pixel.
        unit: What they count.
        size: Height and width that the file declares for the image, in pixels, or None.
        split: The part of the data that the file assigns the image to, or None.
        place: Where it stands, for messages: the file, and the row or element in it.
        aliases: Other names that the image may have on disk, to be tried in turn where there is none of ``name``.
        rows: Of a table, the row of each object; else none.
    """

    name: str
    points: FilePoints
    unit: Unit
    size: tuple[int, int] | None
    split: Split | None
    place: str
    aliases: tuple[str, ...] = ()
    rows: Sequence[int] = ()

    def place_of(self, position: int) -> str:
        """Tell where an object stands, for messages: the file, and its row or the image's element.

        Args:
            position: Of the object in ``points``.
        """
        return f"{self.place.rpartition(', row ')[0]}, row {self.rows[position]}" if self.rows else self.place


class Annotations(NamedTuple):
    """What a file or folder of annotations holds.

    Attributes:
        source: The file or folder.
        description: What was found, in one line, for the user.
        images: Each image that is named, in the order of the source; also those without objects.
        categories: The categories that occur, with the numbers of their objects before any were picked.
    """

    source: Path
    description: str
    images: list[ImageAnnotation]
    categories: dict[str, int]


class Entry:
    """An image of which objects are being collected.

    Args:
        annotation: What is known of it from the start.
    """

    __slots__ = ("annotation", "coordinates", "rows")

    def __init__(self, annotation: ImageAnnotation) -> None:
        self.annotation = annotation
        self.coordinates = array("d")
        self.rows = array("q")

    def put(self, x: float, y: float) -> None:
        """Add the position of an object."""
        self.coordinates.append(x)
        self.coordinates.append(y)


class Collector:
    """Collects the objects of a file or folder, image by image.

    Args:
        source: The file or folder.
        title: Name of the format.
        unit: What coordinates count.
        category: The categories to pick; None for all objects.
    """

    def __init__(self, source: Path, title: str, unit: Unit, category: str | Sequence[str] | None = None) -> None:
        self.source = source
        self.title = title
        self._unit = unit
        self._wanted = {category} if isinstance(category, str) else set(category or ())
        self._entries: dict[str, Entry] = {}
        self._categories: Counter[str] = Counter()
        self._kinds: Counter[str] = Counter()
        self._left_out: Counter[str] = Counter()

    def open(
        self,
        name: str,
        place: str,
        size: tuple[int, int] | None = None,
        split: Split | None = None,
        aliases: tuple[str, ...] = (),
    ) -> Entry:
        """Begin with an image; see :class:`ImageAnnotation`.

        Raises:
            DataError: If it was begun before.
        """
        if name in self._entries:
            raise annotated_twice(name, self._entries[name].annotation.place, place)
        nothing = np.empty((0, 2))
        entry = Entry(ImageAnnotation(name, nothing, self._unit, size, split, place, aliases))
        self._entries[name] = entry
        return entry

    def wants(self, kind: str, categories: Sequence[str] = (), count: int = 1) -> bool:
        """Count objects, and tell whether they are picked.

        Args:
            kind: Their form, such as ``point``.
            categories: The categories of each; none where the format has none.
            count: How many there are.

        Returns:
            Whether to put them into their image.
        """
        for category in categories:
            self._categories[category] += count
        picked = self.picks(*categories)
        if picked:
            self._kinds[kind] += count
        return picked

    def picks(self, *categories: str) -> bool:
        """Tell whether objects of these categories are picked, without counting them."""
        return not self._wanted or not self._wanted.isdisjoint(categories)

    def leave_out(self, what: str, count: int = 1) -> None:
        """Count what is no object, to be told in the description.

        Args:
            what: What it is, in the plural.
            count: How many there are.
        """
        self._left_out[what] += count

    def finish(self) -> Annotations:
        """Hand over what was collected.

        Raises:
            DataError: If there is no image, or a category to pick does not occur.
        """
        if not self._entries:
            raise DataError(f"'{self.source}' ({self.title}) names no image.")
        absent = sorted(self._wanted - self._categories.keys())
        if absent:
            known = ", ".join(f"'{name}' ({count:,})" for name, count in self._categories.most_common())
            refuse("category", absent[0], f"one that occurs in '{self.source}': {known or 'there is none'}", DataError)
        images = [
            entry.annotation._replace(points=np.frombuffer(entry.coordinates).reshape(-1, 2).copy(), rows=entry.rows)
            for entry in self._entries.values()
        ]
        return Annotations(self.source, self._describe(images), images, dict(self._categories))

    def _describe(self, images: list[ImageAnnotation]) -> str:
        total = self._kinds.total()
        empty = sum(not len(image.points) for image in images)
        kind = next(iter(self._kinds)) if len(self._kinds) == 1 else "object"
        counted = [name for name in self._categories if name in self._wanted or not self._wanted]
        several = ", ".join(f"'{name}' ({self._categories[name]:,})" for name in counted)
        of = f" of '{counted[0]}'" if len(counted) == 1 else f": {several}" if several else ""
        others = self._categories.total() - sum(self._categories[name] for name in counted)
        left_out = ([f"{others:,} of other categories"] if others else []) + [
            f"{count:,} {what}" for what, count in self._left_out.items()
        ]
        return (
            f"{self.title}: {count_things(len(images), 'image')}"
            + (f" ({empty:,} without objects)" if empty else "")
            + f", {count_things(total, kind)}{of}"
            + (f"; left out: {', '.join(left_out)}" if left_out else "")
        )


def count_things(count: int, kind: str) -> str:
    """Write a number of things, such as ``1 box`` or ``1,234 boxes``."""
    return f"{count:,} {kind if count == 1 else _PLURALS.get(kind, f'{kind}s')}"


def annotated_twice(name: str, first: str, second: str) -> DataError:
    """Make the error for an image with two annotations, from its name and their places."""
    return DataError(f"{second}: '{name}' must be annotated once, got another annotation of it in {first}.")


def read_split(text: str) -> Split | None:
    """Understand the name of a part of the data, such as ``Training``; None for others."""
    return _SPLITS.get(text.strip().lower())


SPLITS = get_args(Split)
"""Names of the parts of the data."""
