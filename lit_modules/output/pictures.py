"""Pictures made of tensors."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn import functional as F

from datamodules.batches import IMAGENET_MEAN, IMAGENET_STD

# Colours of the viridis map at equal steps from its low to its high end.
_VIRIDIS = (
    *((68, 1, 84), (71, 44, 122), (59, 81, 139), (44, 113, 142), (33, 144, 141)),
    *((39, 173, 129), (92, 200, 99), (170, 220, 50), (253, 231, 37)),
)
_DOT = (255, 40, 40)


def draw_image(image: Tensor, low: float | None = None, high: float | None = None) -> Tensor:
    """Draw an image: its values from ``low`` to ``high`` become black to white.

    Args:
        image: ``[H, W]`` or ``[C, H, W]``, any range; three channels are kept in colour, of others the mean is drawn.
        low: Value shown black; default the smallest.
        high: Value shown white; default the largest.

    Returns:
        RGB picture, uint8 ``[3, H, W]``.
    """
    image = image if image.dim() == 3 else image[None]
    image = image if len(image) == 3 else image.float().mean(dim=0, keepdim=True)
    return (_scale_to_unit(image, low, high) * 255).round().to(torch.uint8).expand(3, -1, -1)


def draw_heat(values: Tensor, low: float | None = None, high: float | None = None) -> Tensor:
    """Draw a map in colours from dark violet (``low``) through green to yellow (``high``).

    Args:
        values: ``[H, W]``, any range.
        low: Value shown darkest; default the smallest.
        high: Value shown lightest; default the largest.

    Returns:
        RGB picture, uint8 ``[3, H, W]``.
    """
    colours = torch.tensor(_VIRIDIS, dtype=torch.float32)
    position = _scale_to_unit(values, low, high) * (len(colours) - 1)
    below = position.long().clamp(max=len(colours) - 2)
    share = (position - below)[..., None]
    mixed = colours[below] * (1 - share) + colours[below + 1] * share
    return mixed.round().to(torch.uint8).permute(2, 0, 1)


def draw_photograph(
    image: Tensor,
    max_height: int,
    mean: Tensor | Sequence[float] = IMAGENET_MEAN,
    std: Tensor | Sequence[float] = IMAGENET_STD,
) -> Tensor:
    """Draw a photograph that was normalised: in its own colours, or, of other than three channels, in grey.

    Args:
        image: Normalised, ``[C, H, W]``; of other than three channels the mean is drawn, from its smallest value to the
            largest.
        max_height: Higher photographs are reduced to this many pixels.
        mean: What was subtracted from each channel, ``[C]``. Default: ImageNet's.
        std: What it was then divided by, ``[C]``. Default: ImageNet's.

    Returns:
        RGB picture, uint8 ``[3, min(H, max_height), W']``.
    """
    offset, factor = (torch.as_tensor(values).cpu()[:, None, None] for values in (mean, std))
    values = image.detach().float().cpu() * factor + offset
    height, width = image.shape[1:]
    if height > max_height:
        size = (max_height, max(1, round(width * max_height / height)))
        values = F.interpolate(values[None], size=size, mode="bilinear", antialias=True)[0]
    return draw_image(values, 0, 1) if len(values) == 3 else draw_image(values)


def cut_middle(image: Tensor, side: int) -> Tensor:
    """Cut out the middle of an image.

    Args:
        image: ``[..., H, W]``.
        side: At most this many pixels are left, high and wide.

    Returns:
        ``[..., min(H, side), min(W, side)]``.
    """
    top, left = (max(0, length - side) // 2 for length in image.shape[-2:])
    return image[..., top : top + side, left : left + side]


def find_change(before: Tensor, after: Tensor, side: int) -> tuple[slice, slice]:
    """Find the part of an image that changed most.

    Of large images some pixels stand for all: the part is looked for on a grid of an eighth of its side.

    Args:
        before: ``[C, H, W]``.
        after: Likewise.
        side: Of the part, in pixels.

    Returns:
        Its rows and columns, as many as ``side`` or all.
    """
    height, width = before.shape[1:]
    step = max(1, side // 8)
    every = max(1, step // 8)
    change = (after[:, ::every, ::every].float() - before[:, ::every, ::every].float()).abs().mean(dim=0)[None, None]
    cells = F.avg_pool2d(change, max(1, step // every), ceil_mode=True)
    window = [max(1, min(8, length)) for length in cells.shape[2:]]
    sums = F.avg_pool2d(cells, window, stride=1)[0, 0]
    down, across = divmod(int(sums.argmax()), sums.shape[1])
    top, left = (max(0, min(p * step, n - side)) for p, n in ((down, height), (across, width)))
    return slice(top, min(height, top + side)), slice(left, min(width, left + side))


def spread_cells(cells: Tensor, cell_size: int, image_size: Sequence[int], picture: Tensor) -> Tensor:
    """Bring a coarse map of an image to the size of a picture of it.

    Args:
        cells: Values of square cells from the image's top left on; the last ones may reach beyond it. ``[h, w]``.
        cell_size: Side of a cell, in pixels of the image.
        image_size: Height and width of the image.
        picture: The image, perhaps reduced, ``[3, H, W]``.

    Returns:
        Values between those of the cells, ``[H, W]``.
    """
    height, width = picture.shape[1:]
    covered = [
        max(shown, round(number * cell_size * shown / side))
        for number, side, shown in zip(cells.shape, image_size, (height, width), strict=True)
    ]
    values = cells.detach().float().cpu()[None, None]
    return F.interpolate(values, size=covered, mode="bilinear", antialias=True)[0, 0, :height, :width]


def overlay(picture: Tensor, values: Tensor) -> Tensor:
    """Lay the square root of a map over a picture in the colours of :func:`draw_heat`; where it is 0 the picture shows.

    Args:
        picture: RGB, uint8 ``[3, H, W]``.
        values: ``[H, W]``, not negative; the largest cover most.

    Returns:
        RGB picture, uint8 ``[3, H, W]``.
    """
    shares = _scale_to_unit(values, 0, None).sqrt()
    opacity = 0.9 * shares
    return (picture * (1 - opacity) + draw_heat(shares, 0, 1) * opacity).round().to(torch.uint8)


def draw_dots(picture: Tensor, points: Tensor, radius: int = 1) -> Tensor:
    """Mark points in a picture with red dots.

    Args:
        picture: RGB, uint8 ``[3, H, W]``.
        points: (x, y) in pixels of the picture, ``[n, 2]``.
        radius: Of a dot, in pixels.

    Returns:
        RGB picture, uint8 ``[3, H, W]``.
    """
    canvas = Image.fromarray(picture.permute(1, 2, 0).cpu().numpy())
    draw = ImageDraw.Draw(canvas)
    for x, y in points.tolist():
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=_DOT)
    return torch.from_numpy(np.array(canvas)).permute(2, 0, 1)


def _scale_to_unit(values: Tensor, low: float | None, high: float | None) -> Tensor:
    """Bring values from ``low`` to ``high``, by default the smallest and the largest, to [0, 1]; NaN becomes 0."""
    values = values.detach().float().cpu()
    bottom = float(values.min()) if low is None else low
    top = float(values.max()) if high is None else high
    return ((values - bottom) / max(top - bottom, 1e-12)).clamp(0, 1).nan_to_num(0.0)
