"""Pixels of those pages of TIFFs that Pillow and OpenCV read other than they are meant.

They are handed to OpenCV in a file without the notes that mislead it. tifffile reads them right, too, but those with
LZW or JPEG only with one more package, imagecodecs.
"""

import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from datamodules.files.limits import check_pixels
from datamodules.files.tiff_pages import BLACK_IS_ZERO, RGB, TYPES, WHITE_IS_ZERO, Tag, TiffPage, Values
from datamodules.types import AnyDepth

_HEAD = 16  # bytes of a file before the pixels
_DEFLATE = 8
_NATIVE = (1, 3, 4)  # channels side by side of which OpenCV knows
_ASSOCIATED, _UNASSOCIATED = 1, (2, 999)  # kinds of transparency; 999 is of Corel Draw
_SHORT, _UNDEFINED, _LONG8 = 3, 7, 16
_SHORTS = (Tag.BITS, Tag.COMPRESSION, Tag.PHOTOMETRIC, Tag.FILL_ORDER, Tag.SAMPLES, Tag.PLANAR, Tag.EXTRA_SAMPLES)
_KEPT = (Tag.COMPRESSION, Tag.FILL_ORDER, Tag.STRIP_ROWS, Tag.PREDICTOR, Tag.TILE_HEIGHT, Tag.JPEG_TABLES)


def decode_visible(content: bytes, page: TiffPage, name: str | Path) -> AnyDepth:
    """Decode what is to be seen of a page that is known: transparent pixels are laid onto white.

    Args:
        content: As of :func:`decode_page`.
        page: As there.
        name: As there.

    Returns:
        uint8 or uint16, grey ``[H, W, 1]`` or RGB ``[H, W, 3]``, as stored.

    Raises:
        DataError: If it is too large.
        ValueError: If it is damaged, or has channels beside grey of which it is not known what they are.
    """
    colours = 1 if page.grey else 3
    extra = tuple(page.tags.get(Tag.EXTRA_SAMPLES, ()))
    if not extra and page.samples == colours + 1:
        extra = _UNASSOCIATED[:1]  # as other programs take it
    alpha = next((at for at, kind in enumerate(extra) if kind in (_ASSOCIATED, *_UNASSOCIATED)), None)
    if page.grey and page.samples - colours > (alpha is not None):
        raise ValueError(
            f"it has {page.samples} channels, neither grey nor RGB (where channels are an argument it is "
            f"read with channels={page.samples})"
        )
    pixels = decode_page(content, page, name)
    visible = np.ascontiguousarray(pixels[..., :colours])
    if alpha is None:
        return visible
    return lay_on_white(visible, pixels[..., colours + alpha, None], premultiplied=extra[alpha] == _ASSOCIATED)


def decode_page(content: bytes, page: TiffPage, name: str | Path) -> AnyDepth:
    """Decode all channels of a page that is known, see :class:`~datamodules.files.tiff_pages.TiffPage`.

    Args:
        content: What the file holds.
        page: What it says of the page.
        name: What to call it in messages.

    Returns:
        uint8 or uint16 ``[H, W, samples]``, as stored, but for grey, which is 0 where it is black.

    Raises:
        DataError: If it is too large.
        ValueError: If it is damaged.
    """
    check_pixels(name, page.height, page.width)
    planes = range(page.samples) if page.planar else (None,)
    pixels: npt.NDArray[Any] = np.concatenate([_decode(content, page, plane) for plane in planes], axis=2)
    if page.number(Tag.PHOTOMETRIC, BLACK_IS_ZERO) == WHITE_IS_ZERO:
        pixels[..., 0] = ~pixels[..., 0]
    return pixels


def lay_on_white(pixels: AnyDepth, alpha: AnyDepth, premultiplied: bool = False) -> AnyDepth:
    """Lay a transparent image onto white.

    Args:
        pixels: uint8 or uint16 ``[H, W, C]``.
        alpha: How opaque each pixel is, of the same type, ``[H, W, 1]``.
        premultiplied: Whether ``pixels`` are multiplied by that already. Default: false.

    Returns:
        Rounded to the same type, ``[H, W, C]``.
    """
    white = np.uint32(np.iinfo(pixels.dtype).max)
    values, opacity = pixels.astype(np.uint32), alpha.astype(np.uint32)
    if premultiplied:
        return np.minimum(values + (white - opacity), white).astype(pixels.dtype)
    return ((values * opacity + white * (white - opacity) + white // 2) // white).astype(pixels.dtype)


def _decode(content: bytes, page: TiffPage, plane: int | None) -> AnyDepth:
    """Decode the channels that lie side by side, ``[H, W, C]``: those of a plane, or with None all there are.

    What OpenCV makes of a file depends on notes that are of no use here, so it is given the pixels alone.
    """
    channels = page.interleaved
    try:
        read = cv2.imdecode(np.frombuffer(_make_file(content, page, plane), np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise ValueError(str(error.err)) from error
    depth = np.uint8 if page.bits == 8 else np.uint16
    if read is None or read.dtype != depth or read.size != page.height * page.width * channels:
        raise ValueError("it is damaged, or of a kind that is not known")
    pixels: npt.NDArray[Any] = read.reshape(page.height, page.width, channels)
    if channels in (3, 4):
        pixels[..., :3] = pixels[..., 2::-1].copy()  # OpenCV's order is BGR
    return pixels


def _make_file(content: bytes, page: TiffPage, plane: int | None) -> bytes:
    """Make a TIFF of the channels that lie side by side alone; other than 1, 3 or 4 of them become one of wide rows."""
    stretch = 1 if page.interleaved in _NATIVE else page.interleaved
    channels = page.interleaved // stretch
    tiled = Tag.TILE_OFFSETS in page.tags
    places = (Tag.TILE_OFFSETS, Tag.TILE_SIZES) if tiled else (Tag.STRIP_OFFSETS, Tag.STRIP_SIZES)
    offsets, sizes = (list(page.tags.get(tag, ())) for tag in places)
    if not offsets or len(offsets) != len(sizes):
        raise ValueError("it does not say where its pixels are")
    if plane is not None:
        share = len(offsets) // page.samples
        offsets, sizes = (values[plane * share : (plane + 1) * share] for values in (offsets, sizes))
    parts = [content[offset : offset + size] for offset, size in zip(offsets, sizes, strict=True)]
    if [len(part) for part in parts] != sizes:
        raise ValueError("it is cut off")
    tags: dict[int, Values] = {tag: page.tags[tag] for tag in _KEPT if tag in page.tags}
    tags |= {Tag.WIDTH: [page.width * stretch], Tag.HEIGHT: [page.height], Tag.BITS: [page.bits] * channels}
    tags |= {Tag.PHOTOMETRIC: [BLACK_IS_ZERO if channels == 1 else RGB], Tag.SAMPLES: [channels], Tag.PLANAR: [1]}
    if tiled:
        tags[Tag.TILE_WIDTH] = [page.number(Tag.TILE_WIDTH, 0) * stretch]
        if page.number(Tag.COMPRESSION, 1) == 1:  # OpenCV refuses such tiles unless their sizes are multiples of 1024
            parts = [zlib.compress(part, 0) for part in parts]
            sizes = [len(part) for part in parts]
            tags[Tag.COMPRESSION] = [_DEFLATE]
    if channels == 4:
        tags[Tag.EXTRA_SAMPLES] = [0]
    starts = np.cumsum([_HEAD, *sizes[:-1]]).tolist()
    return _write_file(page.order, b"".join(parts), tags | dict(zip(places, (starts, sizes), strict=True)))


def _write_file(order: str, pixels: bytes, tags: Mapping[int, Values]) -> bytes:
    """Write a BigTIFF of one page."""
    pixels += bytes(-len(pixels) % 8)
    entries = beside = b""
    after = _HEAD + len(pixels) + 8 + 20 * len(tags) + 8
    for tag, values in sorted(tags.items()):
        kind = _UNDEFINED if isinstance(values, bytes) else _SHORT if tag in _SHORTS else _LONG8
        packed = values if isinstance(values, bytes) else struct.pack(f"{order}{len(values)}{TYPES[kind]}", *values)
        place = packed.ljust(8, b"\0")
        if len(packed) > 8:
            place = struct.pack(f"{order}Q", after + len(beside))
            beside += packed + bytes(-len(packed) % 8)
        entries += struct.pack(f"{order}HHQ", tag, kind, len(values)) + place
    head = {"<": b"II", ">": b"MM"}[order] + struct.pack(f"{order}HHHQ", 43, 8, 0, _HEAD + len(pixels))
    return head + pixels + struct.pack(f"{order}Q", len(tags)) + entries + bytes(8) + beside
