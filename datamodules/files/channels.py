"""Image files with any number of channels, and all bits that they hold."""

from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from datamodules.errors import DataError
from datamodules.files.limits import check_pixels
from datamodules.files.listing import IMAGE_SUFFIXES
from datamodules.files.precise_readers import PreciseImage, read_precise
from datamodules.files.readers import (
    BAD_IMAGE,
    PNG,
    ImageHeader,
    find_header,
    read_content,
    read_header,
    turn,
    unreadable,
)
from datamodules.files.tiff_pages import TiffPage, read_pages
from datamodules.files.tiff_pixels import decode_page
from datamodules.types import AnyDepth

ARRAY_SUFFIX = ".npy"
SUFFIXES = (*IMAGE_SUFFIXES, ARRAY_SUFFIX)
"""Suffixes of the files that are read here, in small letters."""

_DEPTHS = (np.uint8, np.uint16)


def read_channels(path: Path, channels: int) -> PreciseImage:
    """Read an image that has a number of channels.

    - 3: RGB, as :func:`datamodules.files.precise_readers.read_precise` reads it; a grey image has three equal channels.
    - 1: a grey image, also one that is stored in colour but with three equal channels.
    - 4: a PNG in colour with transparency, which is then a channel as the others.
    - Any: a TIFF with that many pages of one channel, as microscopes write them, or with a page of that many channels;
      or an array ``[H, W, C]`` or ``[H, W]``, uint8 or uint16, in a ``.npy`` file.

    But for arrays, images are turned as a camera noted (EXIF).

    Args:
        path: The file.
        channels: That the image must have.

    Returns:
        The image, uint8 or uint16 ``[H, W, channels]``; grey says whether it is of one channel.

    Raises:
        DataError: If the file is missing, damaged, of an unknown kind or too large, or its image has other channels;
            names it.
    """
    if path.suffix.lower() == ARRAY_SUFFIX:
        return PreciseImage(np.array(_check_channels(path, _map_array(path), channels)), channels == 1, b"")
    content = read_content(path)
    stored = _read_stored(content, path, channels)
    if stored is not None:
        return PreciseImage(stored, channels == 1, b"")
    if channels not in (1, 3):
        raise DataError(
            f"'{path}' has not channels={channels}. Store these as pages of a TIFF, one channel each, or as an array "
            "[H, W, C] in a .npy file."
        )
    image = read_precise(path)
    if channels == 3:
        return image
    pixels = image.pixels
    if not image.grey and (pixels != pixels[..., :1]).any():
        raise DataError(f"'{path}' is in colour, not grey as channels=1 wants it. Convert it, or read all: channels=3.")
    return PreciseImage(np.ascontiguousarray(pixels[..., :1]), True, image.profile if image.grey else b"")


def read_any_header(path: Path) -> ImageHeader:
    """Read the size of an image of any kind that :func:`read_channels` reads, without its pixels.

    Args:
        path: The file.

    Returns:
        Its size, and how it is to be turned; an array is not.

    Raises:
        DataError: If the file is missing, damaged, of an unknown kind or too large; names it.
    """
    if path.suffix.lower() != ARRAY_SUFFIX:
        return read_header(path, several_pages=True)
    height, width = _map_array(path).shape[:2]
    return ImageHeader(height, width, 1)


def _map_array(path: Path) -> AnyDepth:
    try:
        array: npt.NDArray[np.uint8] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise unreadable(path, error) from error
    if array.ndim not in (2, 3) or not array.size or array.dtype not in _DEPTHS:
        shape = f"{array.dtype} {list(array.shape)}"
        raise unreadable(path, ValueError(f"it holds {shape}, not uint8 or uint16 [H, W] or [H, W, C]"))
    check_pixels(path, *array.shape[:2])
    return array[..., None] if array.ndim == 2 else array


def _read_stored(content: bytes, path: Path, channels: int) -> AnyDepth | None:
    """Read pages of one channel, or all channels of one; None where grey, RGB and transparency are told apart."""
    try:
        if content.startswith(PNG):
            return _check_channels(path, _read_png(content, path), channels) if channels == 4 else None
        pages = read_pages(BytesIO(content), path)
        one_size = len({page[:2] for page in pages}) == 1
        if len(pages) > 1 and all(page.samples == 1 for page in pages) and (one_size or channels not in (1, 3)):
            return _read_stack(content, path, pages, channels)
        if len(pages) == 1 and pages[0].known and pages[0].samples == channels and channels not in (1, 3):
            return turn(decode_page(content, pages[0], path), pages[0].orientation)
    except BAD_IMAGE as error:
        raise unreadable(path, error, empty=not content) from error
    return None


def _read_stack(content: bytes, path: Path, pages: list[TiffPage], channels: int) -> AnyDepth:
    if len({page[:2] for page in pages}) > 1:
        raise ValueError("its pages differ in size")
    if len({(page.bits, page.orientation) for page in pages}) > 1 or not all(page.known for page in pages):
        raise ValueError("its pages are not all grey, of 8 or all of 16 bits")
    if len(pages) != channels:
        raise DataError(
            f"'{path}' holds {len(pages)} pages of one channel, not channels={channels}. Replace it, or read all "
            f"images with --data.init_args.channels={len(pages)}."
        )
    return turn(np.concatenate([decode_page(content, page, path) for page in pages], 2), pages[0].orientation)


def _read_png(content: bytes, path: Path) -> AnyDepth:
    """Read the channels of a PNG."""
    orientation = find_header(BytesIO(content), path).orientation
    pixels: Any = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype not in _DEPTHS:
        raise ValueError("it is damaged, or of a kind that is not known")
    pixels = np.atleast_3d(pixels)
    pixels[..., :3] = pixels[..., 2::-1].copy()  # OpenCV's order is BGR
    return turn(pixels, orientation)


def _check_channels(path: Path, pixels: AnyDepth, channels: int) -> AnyDepth:
    if pixels.shape[2] != channels:
        raise DataError(
            f"'{path}' has {pixels.shape[2]} channels, not channels={channels}. Replace it, or read all images with "
            f"--data.init_args.channels={pixels.shape[2]}."
        )
    return pixels
