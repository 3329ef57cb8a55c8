"""Panels with titles, put together to one picture that can be read in TensorBoard's cards and at its full size."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

Panel = tuple[str, Tensor]
"""Title and RGB picture, uint8 ``[3, H, W]``."""

CARD_WIDTH = 350
"""Pixels that TensorBoard shows a picture in beside others, however wide it is."""
_LARGEST = 4 * CARD_WIDTH
_LOWEST_ON_CARD = 80  # pixels: two panels that would be lower beside each other go below each other
_MARGIN = 1 / 90  # of the width, between panels


def text_size(width: int) -> float:
    """Choose the size of all text in a picture: what is left of it on a card still has digits 10 pixels high.

    Args:
        width: Of the picture, in pixels.

    Returns:
        Size of the letters, in pixels.
    """
    return max(width, CARD_WIDTH) / 24


def arrange_panels(*groups: Sequence[Panel], max_width: int = _LARGEST, max_height: int = _LARGEST) -> Tensor:
    """Put panels into one picture, two beside each other, or one where they are much wider than high.

    Small panels are enlarged by a whole factor, without smoothing, to fill a card; large ones are reduced. Titles stand
    above them, in as many lines as they need.

    Args:
        groups: Panels; each group begins with a new row.
        max_width: Of the picture; it is at least as wide as a card all the same.
        max_height: Of each panel.

    Returns:
        RGB picture, uint8 ``[3, H, W]``.
    """
    panels = [panel for group in groups for panel in group]
    columns = min(2, max(map(len, groups)))
    if columns == 2 and any(p.shape[1] * CARD_WIDTH < 2 * _LOWEST_ON_CARD * p.shape[2] for _, p in panels):
        columns = 1
    room = (round(max_width * (1 - _MARGIN * (columns - 1)) / columns), max_height)
    images = iter([_resize(picture, CARD_WIDTH / columns, room) for _, picture in panels])
    titled = [[(title, next(images)) for title, _ in group] for group in groups]

    cell = max(image.width for group in titled for _, image in group)
    margin = max(4, round(cell * columns * _MARGIN))
    width = max(CARD_WIDTH, columns * cell + (columns - 1) * margin)
    cell = (width - (columns - 1) * margin) // columns
    font = ImageFont.load_default(text_size(width))
    line = round(1.25 * text_size(width))

    placed: list[tuple[int, int, list[str], int, Image.Image]] = []  # left, top, title, where the image begins, image
    y = 0
    for group in titled:
        for row in (group[start : start + columns] for start in range(0, len(group), columns)):
            lines = [_wrap(title, cell, font) for title, _ in row]
            below = y + line * max(map(len, lines)) + margin // 2
            for column, (words, (_, image)) in enumerate(zip(lines, row, strict=True)):
                placed.append((column * (cell + margin), y, words, below, image))
            y = below + max(image.height for _, image in row) + margin
        y += margin
    canvas = Image.new("RGB", (width, y - 2 * margin), "white")
    draw = ImageDraw.Draw(canvas)
    for left, top, words, below, image in placed:
        for number, text in enumerate(words):
            draw.text((left, top + number * line), text, fill="black", font=font)
        canvas.paste(image, (left, below))
    return torch.from_numpy(np.array(canvas)).permute(2, 0, 1)


def _resize(picture: Tensor, wanted: float, room: tuple[int, int]) -> Image.Image:
    """Enlarge a picture to about a width by a whole factor, or reduce it to the width and height that there are."""
    image = Image.fromarray(picture.permute(1, 2, 0).contiguous().cpu().numpy())
    factor = min(round(wanted / image.width), room[1] // image.height)
    if factor > 1:
        return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    if image.width > room[0] or image.height > room[1]:
        image.thumbnail(room, Image.Resampling.LANCZOS)
    return image


def _wrap(title: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> list[str]:
    """Break a title into lines that are not wider than a panel, between words, or within those that are wider."""
    lines: list[str] = []
    for word in title.split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
            continue
        while font.getlength(word) > width:
            fits = max(1, sum(font.getlength(word[: n + 1]) <= width for n in range(len(word))))
            lines.append(word[:fits])
            word = word[fits:]
        if word:
            lines.append(word)
    return lines
