"""PNG files with notes (EXIF) in any place."""

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy.typing as npt
from PIL import Image

PNG_NOTES = ("eXIf", "tEXt", "zTXt", "iTXt")
"""Chunks that may note an orientation: as EXIF, twice as ImageMagick writes it, and as XMP."""

_COLOUR = {1: 0, 2: 4, 3: 2, 4: 6}  # by the number of channels


def write_png(path: Path, values: npt.NDArray[Any], orientation: int | None = None, note: str = "eXIf, before") -> None:
    """Write a PNG of 8 or 16 bits a channel as its specification has it.

    Args:
        path: Where to write.
        values: uint8 or uint16 ``[H, W, C]``, 1 to 4 channels, the last of 2 or 4 is alpha.
        orientation: To note. Default: none.
        note: The chunk in which, one of ``PNG_NOTES``, and whether before or after the pixels.
    """

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    height, width, channels = values.shape
    bits = 8 * values.itemsize
    header = struct.pack(">IIBBBBB", width, height, bits, _COLOUR[channels], 0, 0, 0)
    exif = Image.Exif()
    exif[0x0112] = orientation or 1
    content = exif.tobytes()
    profile = b"\nexif\n%8d\n%s\n" % (len(content), content.hex().encode())
    xmp = b'<rdf:Description tiff:Orientation="%d"/>' % (orientation or 1)
    kind, place = note.split(", ")
    contents = {
        "eXIf": content.removeprefix(b"Exif\0\0"),
        "tEXt": b"Raw profile type exif\0" + profile,
        "zTXt": b"Raw profile type exif\0\0" + zlib.compress(profile),
        "iTXt": b"XML:com.adobe.xmp\0\0\0\0\0" + xmp,
    }
    noted = chunk(kind.encode(), contents[kind]) if orientation else b""
    rows = b"".join(b"\0" + row.astype(f">u{values.itemsize}").tobytes() for row in values)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + (noted if place == "before" else b"")
        + chunk(b"IDAT", zlib.compress(rows))
        + (noted if place == "after" else b"")
        + chunk(b"IEND", b"")
    )
