"""How large an image may be that is read: one limit for all readers, in place of those of Pillow and OpenCV."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from typing import BinaryIO

from PIL import Image

from datamodules.errors import DataError

MAX_PIXELS = 2**30
"""Pixels of the largest image that is read unless :func:`set_max_pixels` says otherwise; RGB takes 3 GiB then."""

OPENCV_MAX_PIXELS = 2**30
"""Pixels of the largest image that OpenCV reads, unless its environment variable says otherwise."""

_VARIABLE = "ACDA_MAX_PIXELS"  # of the environment, which processes that read images inherit
_opening = RLock()


def set_max_pixels(max_pixels: int) -> None:
    """Set how large an image may be that this process, and those that it starts, read.

    Args:
        max_pixels: Most pixels, height × width.
    """
    os.environ[_VARIABLE] = str(max_pixels)


@contextmanager
def open_image(stream: BinaryIO, name: str | Path) -> Iterator[Image.Image]:
    """Open an image with Pillow, by this limit alone; also while it is decoded, as long as this lasts.

    Args:
        stream: The file.
        name: What to call it in messages.

    Yields:
        The image.

    Raises:
        DataError: If it has more.
    """
    with _opening:  # Pillow's own limit is for the whole process, and of a TIFF it is looked at when it is decoded, too
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            with Image.open(stream) as file:
                check_pixels(name, file.height, file.width)
                yield file
        finally:
            Image.MAX_IMAGE_PIXELS = before


def check_pixels(name: str | Path, height: int, width: int) -> None:
    """Refuse an image that is too large.

    Args:
        name: What to call it in messages.
        height: Its height, in pixels.
        width: Its width.

    Raises:
        DataError: If it has more; names it, its size, the limit, and the argument that raises it.
    """
    max_pixels = int(os.environ.get(_VARIABLE, MAX_PIXELS))
    if height * width > max_pixels:
        raise DataError(
            f"'{name}' has {height} × {width} pixels, more than max_pixels={max_pixels}. Let it be read with "
            f"--data.init_args.max_pixels={height * width}, or shrink it."
        )
