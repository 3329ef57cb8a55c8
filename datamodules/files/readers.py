"""Image files to arrays."""

import struct
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from datamodules.errors import DataError
from datamodules.types import Pixels

_JPEG = b"\xff\xd8\xff"
_FRAMES, _NO_FRAMES = range(0xC0, 0xD0), (0xC4, 0xC8, 0xCC)  # markers of JPEG
BAD_IMAGE = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)
"""What Pillow raises for a damaged file, depending on its format and on where the damage is."""


def read_image(path: str | Path, grey: bool = False) -> Pixels:
    """Read an image file of any common kind, whatever its suffix.

    The orientation a camera noted (EXIF) is applied. Of 16-bit channels the high byte is kept, so 65535 becomes 255.
    Transparent images are laid onto white, palettes are resolved, and CMYK is converted without a colour profile. Of
    an animation the first frame is read.

    Args:
        path: The file.
        grey: Read as one channel, the luma 0.299 R + 0.587 G + 0.114 B, instead of RGB.

    Returns:
        The image, uint8 ``[H, W, 3]``, or ``[H, W, 1]`` with ``grey``.

    Raises:
        DataError: If the file is missing, damaged or of an unknown kind, or holds floating point or 32-bit numbers,
            whose range is not known; names the file.
    """
    return decode_image(read_content(path), path, grey)


def read_content(path: str | Path) -> bytes:
    """Read what an image file holds.

    Raises:
        DataError: If the file is missing or cannot be read; names it.
    """
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise unreadable(path, error) from error


def decode_image(content: bytes, name: str | Path, grey: bool = False) -> Pixels:
    """Read an image from the content of a file, see :func:`read_image`.

    Args:
        content: What the file holds.
        name: What to call it in messages.
        grey: As in :func:`read_image`.

    Returns:
        As there.

    Raises:
        DataError: As there.
    """
    if content.startswith(_JPEG) and not grey:
        pixels = _decode_jpeg(content)
        if pixels is not None:
            return pixels
    try:
        with Image.open(BytesIO(content)) as file:
            image = _eight_bit(ImageOps.exif_transpose(file))
            if image.has_transparency_data:
                image = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
            pixels = np.array(image.convert("L" if grey else "RGB"))
    except BAD_IMAGE as error:
        raise unreadable(name, error, empty=not content) from error
    return pixels[..., None] if grey else pixels


def read_stored_size(path: str | Path) -> tuple[int, int]:
    """Read height and width of an image as it is stored, in pixels, from the beginning of the file alone.

    Args:
        path: The file.

    Returns:
        Height and width, without regard to an orientation that a camera noted.

    Raises:
        DataError: If the file is missing, or its beginning is damaged or of an unknown kind; names the file.
    """
    try:
        with Image.open(path) as file:
            return file.height, file.width
    except BAD_IMAGE as error:
        raise unreadable(path, error) from error


def _decode_jpeg(content: bytes) -> Pixels | None:
    """Decode a JPEG file to RGB, the same as Pillow's in two thirds of its time; None where Pillow must decide."""
    if _count_components(content) not in (1, 3):
        return None  # CMYK, which OpenCV rounds otherwise
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB)  # applies EXIF
    return None if pixels is None else pixels.astype(np.uint8, copy=False)


def _count_components(content: bytes) -> int:
    """Count the channels in a JPEG file's frame header, 0 if there is none."""
    position = 2
    while position + 9 < len(content):
        marker = content[position + 1]
        if marker in _FRAMES and marker not in _NO_FRAMES:
            return content[position + 9]
        position += 2 + int.from_bytes(content[position + 2 : position + 4], "big")
    return 0


def _eight_bit(image: Image.Image) -> Image.Image:
    """Bring single channels of more than 8 bits, which Pillow would clip, to 8 bits."""
    if image.mode == "F":
        raise ValueError("it holds floating point numbers, whose range is not known")
    if not image.mode.startswith("I"):
        return image
    return Image.fromarray((read_deep_values(image) // 256).astype(np.uint8))


def read_deep_values(image: Image.Image) -> npt.NDArray[np.uint16]:
    """Read an image of one channel of more than 8 bits, one of Pillow's modes whose name begins with I.

    Args:
        image: The image.

    Returns:
        uint16 ``[H, W]``.

    Raises:
        ValueError: If there are values below 0 or above 65535.
    """
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError("it holds 32-bit numbers, whose range is not known")
    return values.astype(np.uint16)


def unreadable(name: str | Path, error: BaseException, empty: bool = False) -> DataError:
    """Make the error for a file that is no image, with what is wrong with it.

    Args:
        name: The file.
        error: What reading it raised.
        empty: Whether it holds nothing.

    Returns:
        The error, to be raised.
    """
    what = str(error)
    if isinstance(error, UnidentifiedImageError):
        what = "it is empty" if empty else "its format is none that is known"
    elif isinstance(error, OSError) and error.strerror:
        what = error.strerror
    return DataError(f"'{name}' cannot be read as an image: {what}. Replace or remove the file.")
