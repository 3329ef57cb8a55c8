"""A contact sheet: thumbnails with titles, in rows, by split."""

import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from datamodules.types import Pixels

_WIDTH = 1280  # pixels
_LEAST_WIDTH = 190  # of a column, so that titles can be read
_MARGIN = 12
_TEXT, _HEAD = 15, 20  # sizes of letters, in pixels; digits are some 0.7 of that high
_LINE = 19


class Cell(NamedTuple):
    """A picture with what is written above it.

    Attributes:
        titles: Lines.
        picture: RGB, uint8 ``[H, W, 3]``.
    """

    titles: Sequence[str]
    picture: Pixels


def draw_sheet(groups: Sequence[tuple[str, Sequence[Cell]]]) -> Pixels:
    """Put pictures onto one sheet.

    Args:
        groups: Headings, each with what stands below it.

    Returns:
        RGB, uint8 ``[H, W, 3]``.
    """
    font, head = ImageFont.load_default(_TEXT), ImageFont.load_default(_HEAD)
    placed: list[tuple[int, int, Cell, int]] = []
    heads: list[tuple[int, str]] = []
    y = _MARGIN
    for heading, cells in groups:
        heads.append((y, heading))
        y += round(1.5 * _HEAD)
        width = max([_LEAST_WIDTH, *(cell.picture.shape[1] for cell in cells)])
        columns = max(1, (_WIDTH - _MARGIN) // (width + _MARGIN))
        for start in range(0, len(cells), columns):
            row = cells[start : start + columns]
            lines = max(len(cell.titles) for cell in row)
            for column, cell in enumerate(row):
                placed.append((_MARGIN + column * (width + _MARGIN), y, cell, width))
            y += lines * _LINE + max(cell.picture.shape[0] for cell in row) + _MARGIN
        y += _MARGIN
    canvas = Image.new("RGB", (_WIDTH, y), "white")
    draw = ImageDraw.Draw(canvas)
    for top, heading in heads:
        draw.text((_MARGIN, top), heading, fill="black", font=head)
    for left, top, (titles, picture), width in placed:
        for number, title in enumerate(titles):
            draw.text((left, top + number * _LINE), shorten(title, width, font), fill="black", font=font)
        canvas.paste(Image.fromarray(picture), (left, top + len(titles) * _LINE))
    return np.array(canvas)


def shorten(text: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """Leave out the beginning of a text that is wider than a number of pixels; names differ in their ends.

    Letters lose their accents, and others than Latin ones become question marks: the font has no more.
    """
    plain = unicodedata.normalize("NFKD", text.replace("×", "x"))
    text = "".join(letter for letter in plain if not unicodedata.combining(letter)).encode("ascii", "replace").decode()
    if font.getlength(text) <= width:
        return text
    start = next((n for n in range(1, len(text)) if font.getlength(f"...{text[n:]}") <= width), len(text))
    return f"...{text[start:]}"
