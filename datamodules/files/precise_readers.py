"""Image files to arrays with all bits that they hold, to be written again as they were."""

from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageOps
from PIL.TiffImagePlugin import BITSPERSAMPLE, TiffImageFile

from datamodules.files.limits import open_image
from datamodules.files.readers import (
    BAD_IMAGE,
    PNG,
    decode_image,
    find_orientation,
    read_content,
    read_deep_values,
    turn,
    unreadable,
)
from datamodules.types import AnyDepth, DeepPixels

_PNG_DEPTH, _PNG_COLOUR = 24, 25  # where a PNG file says how many bits a channel has, and which channels there are
_PNG_GREY = (0, 4)  # without and with transparency
_ICC_SPACE = slice(16, 20)  # where a profile says of which colours it is
_WHITE = np.uint32(65535)


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
        DataError: If the file is missing, damaged, of an unknown kind or too large, or holds floating point or 32-bit
            numbers, whose range is not known; names the file.
    """
    content = read_content(path)
    try:
        with open_image(BytesIO(content), path) as file:
            grey = _is_grey(file, content)
            profile = _find_profile(file, grey)
            if file.mode.startswith("I"):
                values = read_deep_values(ImageOps.exif_transpose(file))
                return PreciseImage(np.stack([values] * 3, -1), grey, profile)
            deep = _is_deep(file, content)
            # OpenCV applies what a TIFF notes itself; Pillow would decode a PNG to look for it.
            orientation = find_orientation(file) if deep and file.format == "PNG" else 1
    except BAD_IMAGE as error:
        raise unreadable(path, error, empty=not content) from error
    if not deep:
        return PreciseImage(decode_image(content, path), grey, profile)
    return PreciseImage(turn(_decode_deep(content, path), orientation), grey, profile)


def _is_grey(file: Image.Image, content: bytes) -> bool:
    if content.startswith(PNG):
        return content[_PNG_COLOUR] in _PNG_GREY
    return file.mode in ("1", "L", "LA") or file.mode.startswith("I")


def _find_profile(file: Image.Image, grey: bool) -> bytes:
    """Find the ICC profile that is of the pixels as they are read."""
    profile = file.info.get("icc_profile") or b""
    fits = profile[_ICC_SPACE] == (b"GRAY" if grey else b"RGB ") and file.mode not in ("CMYK", "LAB")
    return profile if fits else b""


def _is_deep(file: Image.Image, content: bytes) -> bool:
    """Tell whether an image of several channels has 16 bits in each, of which Pillow would drop 8."""
    if isinstance(file, TiffImageFile):
        return file.mode != "CMYK" and file.tag_v2.get(BITSPERSAMPLE, (1,))[0] == 16
    return content.startswith(PNG) and content[_PNG_DEPTH] == 16


def _decode_deep(content: bytes, path: str | Path) -> DeepPixels:
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16 or pixels.ndim != 3:
        raise unreadable(path, ValueError("it is damaged, or of a kind that is not known"))
    rgb: DeepPixels = pixels[..., 2::-1].astype(np.uint16)
    if pixels.shape[2] == 4:
        alpha = pixels[..., 3:].astype(np.uint32)
        rgb = ((rgb * alpha + _WHITE * (_WHITE - alpha) + _WHITE // 2) // _WHITE).astype(np.uint16)
    return rgb
