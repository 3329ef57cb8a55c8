"""What the pictures are drawn on: text, pictures of tensors, and colours that stand for numbers."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from lit_modules.output.whole_file import whole_file

BLACK = (25, 25, 25)
GREY = (110, 110, 110)
# From the lowest to the highest value; white is 0.
_DIVERGING = ((5, 48, 97), (67, 147, 195), (255, 255, 255), (214, 96, 77), (103, 0, 31))
_DENSITY = 2  # pixels of the file for each pixel that a README shows

Colour = tuple[int, int, int]


def signed(values: Tensor, top: float) -> Tensor:
    """Show a map in colours from blue (``-top``) through white (0) to red (``top``).

    Args:
        values: ``[H, W]``, any range.
        top: Value shown darkest.

    Returns:
        RGB picture, uint8 ``[3, H, W]``.
    """
    colours = torch.tensor(_DIVERGING, dtype=torch.float32)
    position = (values.detach().float() / top + 1).clamp(0, 2) * ((len(colours) - 1) / 2)
    below = position.long().clamp(max=len(colours) - 2)
    share = (position - below)[..., None]
    return (colours[below] * (1 - share) + colours[below + 1] * share).round().to(torch.uint8).permute(2, 0, 1)


class Canvas:
    """A white picture to draw on. Lengths are in pixels of a README, of which each is two by two in the file.

    Args:
        width: Of the picture.
        height: Of the picture.
    """

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.image = Image.new("RGB", (width * _DENSITY, height * _DENSITY), "white")
        self._draw = ImageDraw.Draw(self.image)

    def text(
        self, x: float, y: float, words: str, size: float = 13, anchor: str = "la", colour: Colour = BLACK
    ) -> None:
        """Write.

        Args:
            x: Where.
            y: Where.
            words: What; may have several lines.
            size: Of the letters.
            anchor: What of the text lies there, as Pillow names it: ``la`` its upper left, ``ma`` its upper middle.
            colour: Of the letters.
        """
        font = ImageFont.load_default(size * _DENSITY)
        align = {"l": "left", "m": "center", "r": "right"}[anchor[0]]
        self._draw.text((x * _DENSITY, y * _DENSITY), words, colour, font, anchor, align=align)

    def picture(self, x: float, y: float, pixels: Tensor, width: float, frame: Colour | None = None) -> None:
        """Place a picture, with sharp pixels where it is enlarged.

        Args:
            x: Of its upper left corner.
            y: Of its upper left corner.
            pixels: RGB, uint8 ``[3, H, W]``.
            width: That it gets; its height follows.
            frame: Colour of a line around it.
        """
        size = [round(width * _DENSITY), round(width * _DENSITY * pixels.shape[1] / pixels.shape[2])]
        enlarged = size[0] >= pixels.shape[2]
        how = Image.Resampling.NEAREST if enlarged else Image.Resampling.LANCZOS
        shown = Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy()).resize((size[0], size[1]), how)
        left, top = round(x * _DENSITY), round(y * _DENSITY)
        self.image.paste(shown, (left, top))
        if frame is not None:
            self._draw.rectangle((left - 1, top - 1, left + size[0], top + size[1]), outline=frame, width=2)

    def ring(self, x: float, y: float, radius: float, colour: Colour) -> None:
        """Draw a circle around a point."""
        for margin, paint in ((1.5, (255, 255, 255)), (0.0, colour)):
            reach = radius + margin
            box = [(side + sign * reach) * _DENSITY for sign in (-1, 1) for side in (x, y)]
            self._draw.ellipse(box, outline=paint, width=round((2 + margin) * _DENSITY))

    def disc(self, x: float, y: float, radius: float, colour: Colour, words: str) -> None:
        """Draw a filled circle with a white letter or digit in it."""
        box = [(side + sign * radius) * _DENSITY for sign in (-1, 1) for side in (x, y)]
        self._draw.ellipse(box, fill=colour)
        self.text(x, y, words, 1.3 * radius, "mm", (255, 255, 255))

    def arrow(self, x: float, y: float, length: float) -> None:
        """Draw an arrow to the right."""
        points = [(x, y), (x + length, y)]
        self._draw.line([(a * _DENSITY, b * _DENSITY) for a, b in points], GREY, 2 * _DENSITY)
        head = [(x + length + 3, y), (x + length - 4, y - 4.5), (x + length - 4, y + 4.5)]
        self._draw.polygon([(a * _DENSITY, b * _DENSITY) for a, b in head], GREY)

    def scale(
        self, x: float, y: float, width: float, colours: Callable[[Tensor], Tensor], ends: Sequence[float]
    ) -> None:
        """Draw which colour stands for which number, the lowest and the highest written beneath.

        Args:
            x: Of the upper left corner.
            y: Of the upper left corner.
            width: Of the bar.
            colours: Gives a map's picture.
            ends: Lowest and highest value.
        """
        low, high = ends
        self.picture(x, y, colours(torch.linspace(low, high, round(width))[None].expand(8, -1)), width, GREY)
        for place, value, anchor in ((x, low, "la"), (x + width, high, "ra")):
            self.text(place, y + 11, f"{value:.2g}", 11, anchor, GREY)

    def save(self, path: Path) -> None:
        """Write the picture as a PNG of 256 colours; the file appears whole or not at all.

        Args:
            path: The file; its folder is made.
        """
        # Median cut, then some rounds of k-means: in full colour the files have twice the size.
        small = self.image.quantize(256, Image.Quantize.MEDIANCUT, kmeans=3, dither=Image.Dither.NONE)
        with whole_file(path) as unfinished:
            small.save(unfinished, format="PNG", optimize=True)
