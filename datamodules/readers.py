"""Image files to arrays."""

import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from datamodules.errors import DataError

Pixels = npt.NDArray[np.uint8]
"""An image: uint8 ``[H, W, C]``, 0 to 255; C is 3 (RGB) or 1 (grey)."""

_BAD_IMAGE = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)
"""What Pillow raises for a damaged file, depending on its format and on where the damage is."""


def read_image(path: str | Path, grey: bool = False) -> Pixels:
    """Read an image file of any common kind.

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
    try:
        with Image.open(path) as file:
            image = _eight_bit(ImageOps.exif_transpose(file))
            if image.has_transparency_data:
                image = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
            pixels = np.array(image.convert("L" if grey else "RGB"))
    except _BAD_IMAGE as error:
        raise DataError(f"'{path}' cannot be read as an image: {error}. Replace or remove the file.") from error
    return pixels[..., None] if grey else pixels


def _eight_bit(image: Image.Image) -> Image.Image:
    """Bring single channels of more than 8 bits, which Pillow would clip, to 8 bits."""
    if image.mode == "F":
        raise ValueError("it holds floating point numbers, whose range is not known")
    if not image.mode.startswith("I"):
        return image
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError("it holds 32-bit numbers, whose range is not known")
    return Image.fromarray((values // 256).astype(np.uint8))
