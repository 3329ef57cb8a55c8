"""What a TIFF says of its pages; tags and their values are those of TIFF 6.0 (Adobe, 1992), and of BigTIFF."""

import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from enum import IntEnum
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from datamodules.errors import DataError
from datamodules.files.limits import OPENCV_MAX_PIXELS

Values = Sequence[int] | bytes
"""Of a tag: numbers, or a text."""


class Tag(IntEnum):
    """Tags that are of use here."""

    SUBFILE_TYPE = 254
    WIDTH = 256
    HEIGHT = 257
    BITS = 258
    COMPRESSION = 259
    PHOTOMETRIC = 262
    FILL_ORDER = 266
    DESCRIPTION = 270
    STRIP_OFFSETS = 273
    ORIENTATION = 274
    SAMPLES = 277
    STRIP_ROWS = 278
    STRIP_SIZES = 279
    PLANAR = 284
    PREDICTOR = 317
    TILE_WIDTH = 322
    TILE_HEIGHT = 323
    TILE_OFFSETS = 324
    TILE_SIZES = 325
    EXTRA_SAMPLES = 338
    SAMPLE_FORMAT = 339
    JPEG_TABLES = 347
    XMP = 700
    ICC_PROFILE = 34675


TYPES = {1: "B", 2: "s", 3: "H", 4: "I", 7: "s", 16: "Q"}
"""Types of these tags' values as :mod:`struct` names them; ``s`` is a text."""

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB = 0, 1, 2

_OLD_JPEG, _JPEG = 6, 7
_UNSIGNED = (1, 4)  # 4: not stated
_REDUCED, _MASK = 1, 4
_TAGS = frozenset(Tag)
_XMP_ORIENTATION = re.compile(rb'tiff:Orientation(?:="|>)([1-8])')
_IMAGEJ_COUNT = re.compile(rb"^ImageJ=.*^images=(\d+)", re.DOTALL | re.MULTILINE)


class TiffPage(NamedTuple):
    """What a TIFF says of a page.

    Attributes:
        height: Of the image as stored, in pixels.
        width: Of the image as stored, in pixels.
        orientation: How it is to be turned, 1 to 8 as in EXIF; 1: not at all.
        order: ``<`` or ``>``: which byte of a number comes first, as :mod:`struct` has it.
        tags: Their values, by number.
        position: Number of the page in the file, from 0.
    """

    height: int
    width: int
    orientation: int
    order: str
    tags: Mapping[int, Values]
    position: int

    @property
    def samples(self) -> int:
        """Channels of all kinds."""
        return self.number(Tag.SAMPLES, 1)

    @property
    def bits(self) -> int:
        """Bits of each channel; 0 if they differ."""
        bits = set(self.tags.get(Tag.BITS, (1,)))
        return bits.pop() if len(bits) == 1 else 0

    @property
    def grey(self) -> bool:
        """Whether the first channel is grey, not red."""
        return self.number(Tag.PHOTOMETRIC, RGB) in (WHITE_IS_ZERO, BLACK_IS_ZERO)

    @property
    def planar(self) -> bool:
        """Whether each channel is stored by itself."""
        return self.samples > 1 and self.number(Tag.PLANAR, 1) == 2

    @property
    def interleaved(self) -> int:
        """How many channels lie side by side."""
        return 1 if self.planar else self.samples

    @property
    def profile(self) -> bytes:
        """ICC profile, empty if there is none."""
        return bytes(self.tags.get(Tag.ICC_PROFILE, b""))

    @property
    def known(self) -> bool:
        """Whether :func:`datamodules.files.tiff_pixels.decode_page` reads it: grey or RGB of 8 or 16 bits.

        Others are Pillow's: palettes, CMYK, L*a*b*, one bit, JPEG in colour, and what is too large for OpenCV.
        """
        compression = self.number(Tag.COMPRESSION, 1)
        return (
            (self.bits == 16 or (self.bits == 8 and self.height * self.width <= OPENCV_MAX_PIXELS))
            and all(form in _UNSIGNED for form in self.tags.get(Tag.SAMPLE_FORMAT, (1,)))
            and (self.grey or self.number(Tag.PHOTOMETRIC, -1) == RGB)
            and self.samples >= (1 if self.grey else 3)
            and compression != _OLD_JPEG
            and (self.interleaved == 1 or compression != _JPEG)
            and (self.interleaved in (1, 3, 4) or self.number(Tag.PREDICTOR, 1) == 1)
        )

    def number(self, tag: Tag, default: int) -> int:
        """Return the first value of a tag, or ``default`` where there is none."""
        values = self.tags.get(tag)
        return int(values[0]) if values else default


def read_pages(stream: BinaryIO, name: str | Path) -> list[TiffPage]:
    """Read what a TIFF says of its pages, but for reduced images and masks; pixels are not decoded.

    Args:
        stream: The file, at its beginning, where it is left.
        name: What to call it in messages.

    Returns:
        The pages; none if it is no TIFF.

    Raises:
        DataError: If it has one page for many images, as ImageJ writes them; names it.
        ValueError: If it is damaged.
        struct.error: If it ends too early.
    """
    start = stream.read(16)
    stream.seek(0)
    order = {b"II": "<", b"MM": ">"}.get(start[:2])
    if order is None or start[2:4] not in (struct.pack(f"{order}H", version) for version in (42, 43)):
        return []
    pages = [_make_page(order, *found) for found in enumerate(_read_directories(stream, start, order))]
    stream.seek(0)
    counted = _IMAGEJ_COUNT.search(bytes(pages[0].tags.get(Tag.DESCRIPTION, b"")))
    if counted is not None and len(pages) == 1 < int(counted[1]):
        raise DataError(
            f"'{name}' holds {int(counted[1])} images in one page, as ImageJ writes large stacks. Save each as a page, "
            "or as a file of its own."
        )
    return [page for page in pages if not page.number(Tag.SUBFILE_TYPE, 0) & (_REDUCED | _MASK)] or pages[:1]


def read_only_page(stream: BinaryIO, name: str | Path) -> TiffPage | None:
    """Read what a TIFF says of its image; of pages of different sizes, such as previews, that is the first.

    Args:
        stream: As of :func:`read_pages`.
        name: As there.

    Returns:
        The page; None if it is no TIFF.

    Raises:
        DataError: As there, or if several pages have one size: which of them is meant is not known.
        ValueError: As there.
        struct.error: As there.
    """
    pages = read_pages(stream, name)
    count = sum(page[:2] == pages[0][:2] for page in pages)
    if count > 1:
        raise DataError(
            f"'{name}' holds {count} pages of {pages[0].height} × {pages[0].width} pixels, of which it is not known "
            "which is meant. Save that one as a file of its own."
        )
    return pages[0] if pages else None


def _make_page(order: str, position: int, tags: Mapping[int, Values]) -> TiffPage:
    if not tags.get(Tag.WIDTH) or not tags.get(Tag.HEIGHT):
        raise ValueError("a page of it has no size")
    page = TiffPage(int(tags[Tag.HEIGHT][0]), int(tags[Tag.WIDTH][0]), 1, order, tags, position)
    noted = page.number(Tag.ORIENTATION, 0)
    if Tag.ORIENTATION not in tags and (found := _XMP_ORIENTATION.search(bytes(tags.get(Tag.XMP, b"")))):
        noted = int(found[1])
    return page._replace(orientation=noted if noted in range(1, 9) else 1)


def _read_directories(stream: BinaryIO, start: bytes, order: str) -> Iterator[dict[int, Values]]:
    """Read the tags of each page."""
    big = start[2:4] == struct.pack(f"{order}H", 43)
    count_format, entry_format, offset_format = ("Q", "HHQ8s", "Q") if big else ("H", "HHI4s", "I")
    (position,) = struct.unpack_from(order + offset_format, start, 8 if big else 4)
    seen: set[int] = set()
    while position and position not in seen:
        seen.add(position)
        stream.seek(position)
        (count,) = _unpack(stream, order + count_format)
        entries = [_unpack(stream, order + entry_format) for _ in range(count)]
        (position,) = _unpack(stream, order + offset_format)
        yield {
            tag: _read_values(stream, order, TYPES[kind], number, value)
            for tag, kind, number, value in entries
            if tag in _TAGS and kind in TYPES
        }
    if position or not seen:
        raise ValueError("its list of pages is damaged")


def _unpack(stream: BinaryIO, layout: str) -> tuple[Any, ...]:
    return struct.unpack(layout, stream.read(struct.calcsize(layout)))


def _read_values(stream: BinaryIO, order: str, kind: str, count: int, value: bytes) -> Values:
    """Read the values of a tag, which lie elsewhere unless they are few."""
    length = struct.calcsize(f"{order}{kind}") * count
    if length > len(value):
        stream.seek(*struct.unpack(f"{order}{'Q' if len(value) == 8 else 'I'}", value))
        value = stream.read(length)
    values = struct.unpack(f"{order}{count}{kind}", value[:length])
    return bytes(values[0]) if kind == "s" else values
