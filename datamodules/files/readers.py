"""Image files to arrays."""

import os
import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple, TypeVar

import cv2
import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from datamodules.errors import DataError
from datamodules.files.limits import OPENCV_MAX_PIXELS, check_pixels, open_image
from datamodules.files.tiff_pages import TiffPage, read_only_page, read_pages
from datamodules.files.tiff_pixels import decode_visible
from datamodules.types import Pixels

Exif = Literal["stored", "shown"]
"""An image as its pixels are stored, or as it is shown: turned as a camera noted (EXIF)."""

AnyValue = TypeVar("AnyValue", bound=np.generic)

PNG = b"\x89PNG\r\n\x1a\n"
"""What a PNG file begins with."""

_JPEG = b"\xff\xd8\xff"
_PNG_PIXELS = b"\0\0\0\0IDAT5\xaf\x06\x1e"  # none
_PNG_NOTES = (b"eXIf", b"tEXt", b"zTXt", b"iTXt")
_XMP_ORIENTATION = b"tiff:Orientation"
_FRAMES, _NO_FRAMES = range(0xC0, 0xD0), (0xC4, 0xC8, 0xCC)  # markers of JPEG
BAD_IMAGE = (OSError, SyntaxError, ValueError, EOFError, struct.error)
"""What Pillow raises for a damaged file, depending on its format and on where the damage is."""


class ImageHeader(NamedTuple):
    """What the header of an image file says.

    Attributes:
        height: Height of the image as stored, in pixels.
        width: Its width.
        orientation: How a camera noted that it is to be turned, 1 to 8 as in EXIF; 1: not at all.
    """

    height: int
    width: int
    orientation: int

    def size(self, exif: Exif) -> tuple[int, int]:
        """Return height and width of the image, as stored or as shown."""
        sideways = exif == "shown" and self.orientation >= 5
        return (self.width, self.height) if sideways else (self.height, self.width)


def read_image(path: str | Path, grey: bool = False, exif: Exif = "shown") -> Pixels:
    """Read an image file of any common kind, whatever its suffix.

    The orientation a camera noted (EXIF) is applied, unless ``exif`` says otherwise. Of 16-bit channels the high byte
    is kept, so 65535 becomes 255. Transparent images are laid onto white, palettes are resolved, CMYK is converted
    without a colour profile, L*a*b* to sRGB. Of an animation, or of pages of different sizes, the first is read.

    Args:
        path: The file.
        grey: Read as one channel, the luma 0.299 R + 0.587 G + 0.114 B, instead of RGB.
        exif: ``shown``, or ``stored`` to leave the image as it is stored, whatever a camera noted.

    Returns:
        The image, uint8 ``[H, W, 3]``, or ``[H, W, 1]`` with ``grey``.

    Raises:
        DataError: If the file is missing, damaged, of an unknown kind or too large, is a TIFF of several pages of one
            size, or holds floating point or 32-bit numbers, whose range is not known; names the file.
    """
    return decode_image(read_content(path), path, grey, exif)


def read_content(path: str | Path) -> bytes:
    """Read what an image file holds.

    Raises:
        DataError: If the file is missing or cannot be read; names it.
    """
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise unreadable(path, error) from error


def decode_image(content: bytes, name: str | Path, grey: bool = False, exif: Exif = "shown") -> Pixels:
    """Read an image from the content of a file, see :func:`read_image`.

    Args:
        content: What the file holds.
        name: What to call it in messages.
        grey: As in :func:`read_image`.
        exif: As there.

    Returns:
        As there.

    Raises:
        DataError: As there.
    """
    if content.startswith(_JPEG) and not grey:
        pixels = _decode_jpeg(content, name, exif)
        if pixels is not None:
            return pixels
    mode = "L" if grey else "RGB"
    try:
        page = read_only_page(BytesIO(content), name)
        if page is not None and page.known:
            visible = decode_visible(content, page, name)
            eight_bit = (visible >> 8 * (visible.itemsize - 1)).astype(np.uint8)
            image = Image.fromarray(eight_bit[..., 0] if page.grey else eight_bit)
            pixels = turn(np.array(image.convert(mode)), page.orientation if exif == "shown" else 1)
        else:
            image, turned = _decode_with_pillow(content, name, page, exif)
            pixels = turn_back(np.array(image.convert(mode)), turned)
    except BAD_IMAGE as error:
        raise unreadable(name, error, empty=not content) from error
    return pixels[..., None] if grey else pixels


def read_stored_size(path: str | Path) -> tuple[int, int]:
    """Read height and width of an image as it is stored, in pixels, see :func:`read_header`."""
    return read_header(path).size("stored")


def read_header(path: str | Path, several_pages: bool = False) -> ImageHeader:
    """Read the size of an image as it is stored, and how it is to be turned, without its pixels.

    Args:
        path: The file.
        several_pages: Let a TIFF have several pages of one size. Default: false.

    Returns:
        Size and orientation.

    Raises:
        DataError: If the file is missing or too large, its beginning is damaged or of an unknown kind, or it is a TIFF
            of several pages of one size; names the file.
    """
    try:
        with Path(path).open("rb") as stream:
            return find_header(stream, path, several_pages)
    except BAD_IMAGE as error:
        raise unreadable(path, error) from error


def find_header(stream: BinaryIO, name: str | Path, several_pages: bool = False) -> ImageHeader:
    """Find the size of an image as it is stored, and how it is to be turned, see :func:`read_header`.

    Args:
        stream: The file.
        name: What to call it in messages.
        several_pages: As there.

    Returns:
        As there.

    Raises:
        DataError: As there, unless it is damaged or of an unknown kind.
        Exception: Then, one of ``BAD_IMAGE``.
    """
    page = next(iter(read_pages(stream, name)), None) if several_pages else read_only_page(stream, name)
    if page is not None and page.known:
        check_pixels(name, page.height, page.width)
        return ImageHeader(*page[:3])
    with open_image(_leave_out_pixels(stream), name) as file:
        file.seek(page.position if page is not None else 0)
        shown = file.height, file.width
        orientation = find_orientation(file)
        # Pillow gives the size of a TIFF as shown, of all else as stored.
        sideways = page is not None and orientation >= 5
        return ImageHeader(*(shown[::-1] if sideways else shown), orientation)


def find_orientation(file: Image.Image) -> int:
    """Find how an open image is to be turned by what a camera noted, 1 to 8 as in EXIF; pixels are not decoded."""
    try:
        noted = Image.Image.getexif(file).get(ExifTags.Base.Orientation, 1)  # a PNG's own would decode it
    except Exception:  # a damaged note may raise any; such an image is not turned
        return 1
    return noted if noted in range(1, 9) else 1


def turn(pixels: npt.NDArray[AnyValue], orientation: int) -> npt.NDArray[AnyValue]:
    """Turn an image from as it is stored to as it is shown.

    Args:
        pixels: ``[H, W]`` or ``[H, W, C]``.
        orientation: 1 to 8 as in EXIF.

    Returns:
        The same pixels, in another order.
    """
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def turn_back(pixels: npt.NDArray[AnyValue], orientation: int) -> npt.NDArray[AnyValue]:
    """Turn an image from as it is shown to as it is stored; as :func:`turn` otherwise."""
    return turn(pixels, {6: 8, 8: 6}.get(orientation, orientation))


def _leave_out_pixels(stream: BinaryIO) -> BinaryIO:
    """Leave out the pixels of a PNG, after which notes may come; other files are returned as they are."""
    content = stream.read(len(PNG))
    if content != PNG:
        stream.seek(0)
        return stream
    after_pixels = False
    while len(start := stream.read(8)) == 8:
        length, kind = struct.unpack(">I4s", start)
        if kind == b"IDAT":
            after_pixels = True
            stream.seek(length + 4, os.SEEK_CUR)
        elif not after_pixels:
            content += start + stream.read(length + 4)
        elif kind in _PNG_NOTES:
            note = stream.read(length)
            content += start + note + struct.pack(">I", zlib.crc32(kind + note))  # not checked by decoders there
            stream.seek(4, os.SEEK_CUR)
        else:
            stream.seek(length + 4, os.SEEK_CUR)
    return BytesIO(content + _PNG_PIXELS)


def _decode_with_pillow(content: bytes, name: str | Path, page: TiffPage | None, exif: Exif) -> tuple[Image.Image, int]:
    """Decode an image of any kind to 8 bits without transparency; the second is how it is to be turned back."""
    with open_image(BytesIO(content), name) as file:
        file.seek(page.position if page is not None else 0)
        turned = find_orientation(file) if exif == "stored" and page is not None else 1  # Pillow always turns a TIFF
        image = _eight_bit(ImageOps.exif_transpose(file) if exif == "shown" else file)
        if image.has_transparency_data:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        if image.mode == "LAB":
            image = image.convert("RGB")  # from which alone Pillow makes grey
        image.load()
    return image, turned


def _decode_jpeg(content: bytes, name: str | Path, exif: Exif) -> Pixels | None:
    """Decode a JPEG file to RGB, the same as Pillow's in two thirds of its time; None where Pillow must decide."""
    height, width, channels = _read_frame(content)
    check_pixels(name, height, width)
    if channels not in (1, 3) or height * width > OPENCV_MAX_PIXELS:
        return None  # CMYK, which OpenCV rounds otherwise
    if exif == "shown" and _XMP_ORIENTATION in content:
        return None  # a note in XMP, of which OpenCV does not know
    flags = cv2.IMREAD_COLOR_RGB | (cv2.IMREAD_IGNORE_ORIENTATION if exif == "stored" else 0)
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    return None if pixels is None else pixels.astype(np.uint8, copy=False)


def _read_frame(content: bytes) -> tuple[int, int, int]:
    """Read height, width and number of channels in a JPEG file's frame header, 0 if there is none."""
    position = 2
    while position + 9 < len(content):
        marker = content[position + 1]
        if marker in _FRAMES and marker not in _NO_FRAMES:
            return struct.unpack(">HHB", content[position + 5 : position + 10])
        position += 2 + int.from_bytes(content[position + 2 : position + 4], "big")
    return 0, 0, 0


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
