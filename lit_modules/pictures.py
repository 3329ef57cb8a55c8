"""Pictures made of tensors: panels with a title, in a row."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn import functional as F

# Colours of the viridis map at equal steps from its low to its high end.
_VIRIDIS = (
    *((68, 1, 84), (71, 44, 122), (59, 81, 139), (44, 113, 142), (33, 144, 141)),
    *((39, 173, 129), (92, 200, 99), (170, 220, 50), (253, 231, 37)),
)
_TITLE_HEIGHT = 14
_GAP = 4


def grey(image: Tensor, low: float | None = None, high: float | None = None) -> Tensor:
    """Show an image: its values from ``low`` to ``high`` become black to white.

    Args:
        image: ``[1, H, W]``, ``[3, H, W]`` (kept in colour) or ``[H, W]``, any range.
        low: Value shown black; default the smallest.
        high: Value shown white; default the largest.

    Returns:
        RGB picture, uint8 ``[3, H, W]``.
    """
    image = image if image.dim() == 3 else image[None]
    return (_unit(image, low, high) * 255).round().to(torch.uint8).expand(3, -1, -1)


def heat(values: Tensor, low: float | None = None, high: float | None = None) -> Tensor:
    """Show a map in colours from dark violet (``low``) through green to yellow (``high``).

    Args:
        values: ``[H, W]``, any range.
        low: Value shown darkest; default the smallest.
        high: Value shown lightest; default the largest.

    Returns:
        RGB picture, uint8 ``[3, H, W]``.
    """
    colours = torch.tensor(_VIRIDIS, dtype=torch.float32)
    position = _unit(values, low, high) * (len(colours) - 1)
    below = position.long().clamp(max=len(colours) - 2)
    share = (position - below)[..., None]
    mixed = colours[below] * (1 - share) + colours[below + 1] * share
    return mixed.round().to(torch.uint8).permute(2, 0, 1)


def row(panels: Sequence[tuple[str, Tensor]], min_height: int = 160) -> Tensor:
    """Put pictures side by side, each under its title.

    Args:
        panels: Title and picture, uint8 ``[3, H, W]``, each.
        min_height: Smaller pictures are enlarged by a whole factor, without smoothing, to at least this many pixels.

    Returns:
        RGB picture, uint8 ``[3, H, W]``.
    """
    drawn = []
    for title, picture in panels:
        factor = -(-min_height // picture.shape[1])
        pixels = picture.cpu().repeat_interleave(factor, 1).repeat_interleave(factor, 2)
        width = max(pixels.shape[2], int(ImageDraw.Draw(Image.new("RGB", (1, 1))).textlength(title)) + 2)
        canvas = Image.new("RGB", (width, _TITLE_HEIGHT + pixels.shape[1]), "white")
        ImageDraw.Draw(canvas).text((1, 1), title, fill="black")
        canvas.paste(Image.fromarray(pixels.permute(1, 2, 0).numpy()), (0, _TITLE_HEIGHT))
        drawn.append(torch.from_numpy(np.array(canvas)).permute(2, 0, 1))
    height = max(d.shape[1] for d in drawn)
    padded = [F.pad(d, (0, _GAP, 0, height - d.shape[1]), value=255) for d in drawn]
    return torch.cat(padded, dim=2)[:, :, :-_GAP]


def stack(rows: Sequence[Tensor]) -> Tensor:
    """Put pictures of one kind below each other.

    Args:
        rows: RGB pictures, uint8 ``[3, H, W]``.

    Returns:
        RGB picture, uint8 ``[3, H, W]``.
    """
    width = max(r.shape[2] for r in rows)
    return torch.cat([F.pad(r, (0, width - r.shape[2], 0, _GAP), value=255) for r in rows], dim=1)[:, :-_GAP]


def _unit(values: Tensor, low: float | None, high: float | None) -> Tensor:
    values = values.detach().float().cpu()
    bottom = float(values.min()) if low is None else low
    top = float(values.max()) if high is None else high
    return ((values - bottom) / max(top - bottom, 1e-12)).clamp(0, 1).nan_to_num(0.0)
