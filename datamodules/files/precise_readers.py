"""Image files to arrays with all bits that they hold, to be written again as they were."""

from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageOps

from datamodules.files.limits import open_image
from datamodules.files.readers import (
    BAD_IMAGE,
    PNG,
    decode_image,
    find_header,
    read_content,
    read_deep_values,
    turn,
    unreadable,
)
from datamodules.files.tiff_pages import read_only_page
from datamodules.files.tiff_pixels import decode_visible, lay_on_white
from datamodules.types import AnyDepth

_PNG_DEPTH, _PNG_COLOUR = 24, 25  # where a PNG file says how many bits a channel has, and which channels there are
_PNG_GREY = (0, 4)  # without and with transparency
_ICC_SPACE = slice(16, 20)  # where a profile says of which colours it is


class PreciseImage(NamedTuple):
    """An image with all bits of its file.

    Attributes:
        pixels: RGB, uint8 or uint16 ``[H, W, 3]``; a grey image has three equal channels.
        grey: Whether the file's image is grey.
        profile: ICC profile of the pixels, empty if the file has none; that of a file in CMYK or L*a*b* is left out, as
            its pixels are converted.
    """

    pixels: AnyDepth
    grey: bool
    profile: bytes


def read_precise(path: str | Path) -> PreciseImage:
    """Read an image file of any common kind, whatever its suffix, with 8 or 16 bits a channel.

    All else is as with :func:`datamodules.files.readers.read_image`: the orientation a camera noted (EXIF) is applied,
    transparent images are laid onto white, palettes are resolved, CMYK and L*a*b* are converted (to 8 bits). Grey are
    images of one channel, be it of one bit or with transparency beside it, not colour images or palettes that happen to
    be grey.

    Args:
        path: The file.

    Returns:
        The image.

    Raises:
        DataError: If the file is missing, damaged, of an unknown kind or too large, is a TIFF of several pages of one
            size, or holds floating point or 32-bit numbers, whose range is not known; names the file.
    """
    content = read_content(path)
    try:
        page = read_only_page(BytesIO(content), path)
        if page is not None and page.known:
            pixels = turn(decode_visible(content, page, path), page.orientation)
            return PreciseImage(_as_rgb(pixels), page.grey, _choose_profile(page.profile, page.grey))
        with open_image(BytesIO(content), path) as file:
            file.seek(page.position if page is not None else 0)
            grey = _is_grey(file, content)
            converted = file.mode in ("CMYK", "LAB")
            profile = b"" if converted else _choose_profile(file.info.get("icc_profile"), grey)
            if file.mode.startswith("I"):
                values = read_deep_values(ImageOps.exif_transpose(file))
                return PreciseImage(_as_rgb(values[..., None]), grey, profile)
        if not (content.startswith(PNG) and content[_PNG_DEPTH] == 16):
            return PreciseImage(decode_image(content, path), grey, profile)
        orientation = find_header(BytesIO(content), path).orientation
        return PreciseImage(turn(_decode_deep(content, path), orientation), grey, profile)
    except BAD_IMAGE as error:
        raise unreadable(path, error, empty=not content) from error


def _is_grey(file: Image.Image, content: bytes) -> bool:
    if content.startswith(PNG):
        return content[_PNG_COLOUR] in _PNG_GREY
    return file.mode in ("1", "L", "LA") or file.mode.startswith("I")


def _choose_profile(profile: bytes | None, grey: bool) -> bytes:
    """Return a file's ICC profile if it is of the pixels as they are read."""
    return profile if profile and profile[_ICC_SPACE] == (b"GRAY" if grey else b"RGB ") else b""


def _as_rgb(pixels: AnyDepth) -> AnyDepth:
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels


def _decode_deep(content: bytes, path: str | Path) -> AnyDepth:
    pixels: Any = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16 or pixels.ndim != 3:
        raise unreadable(path, ValueError("it is damaged, or of a kind that is not known"))
    rgb: AnyDepth = pixels[..., 2::-1].astype(np.uint16)
    return lay_on_white(rgb, pixels[..., 3:]) if pixels.shape[2] == 4 else rgb
