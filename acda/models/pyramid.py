"""Laplacian pyramids: an image as bands of detail and what remains at the lowest resolution."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def laplacian_pyramid(image: Tensor, levels: int = 3) -> list[Tensor]:
    """Take an image apart into bands, each at half the resolution of the one before, rounded up.

    The filter is [1, 4, 6, 4, 1] / 16 along either axis. Beyond its border the image continues by its last rows and
    columns, so that an image of one colour has no detail.

    Args:
        image: ``[N, C, H, W]``, H and W at least 1.
        levels: Bands, what remains included; at least 1.

    Returns:
        Band i, the finest first, ``[N, C, ⌈H / 2ⁱ⌉, ⌈W / 2ⁱ⌉]``; :func:`collapse_pyramid` makes the image of them.

    Raises:
        ValueError: If ``levels`` is below 1.

    Reference:
        Burt, Adelson, *The Laplacian Pyramid as a Compact Image Code*, IEEE Transactions on Communications, 1983.
    """
    if levels < 1:
        raise ValueError(f"levels must be at least 1, got {levels}")
    bands = []
    for _ in range(levels - 1):
        smaller = _reduce(image)
        bands.append(image - _expand(smaller, image))
        image = smaller
    return [*bands, image]


def collapse_pyramid(pyramid: Sequence[Tensor]) -> Tensor:
    """Put an image together from its bands.

    Args:
        pyramid: As from :func:`laplacian_pyramid`.

    Returns:
        ``[N, C, H, W]``.
    """
    image = pyramid[-1]
    for band in reversed(pyramid[:-1]):
        image = band + _expand(image, band)
    return image


def _reduce(image: Tensor) -> Tensor:
    return _halve(_halve(image).mT).mT


def _expand(image: Tensor, like: Tensor) -> Tensor:
    """Twice the resolution, cropped to the size of another image."""
    return _double(_double(image).mT).mT[..., : like.shape[2], : like.shape[3]]


# Sums, not convolutions: autocast would round those, and their sums with them, to half precision.


def _halve(x: Tensor) -> Tensor:
    """Filter rows and keep every other pixel, the first one included."""
    padded = F.pad(x, (2, 2, 0, 0), mode="replicate")
    a, b, c, d, e = (padded[..., start : start + x.shape[-1] : 2] for start in range(5))
    return (a + 4 * b + 6 * c + 4 * d + e) / 16


def _double(x: Tensor) -> Tensor:
    """Put a zero after every pixel of the rows, filter, and double: what a pixel gets depends on whether it was one."""
    padded = F.pad(x, (1, 1, 0, 0), mode="replicate")
    before, here, after = padded[..., :-2], padded[..., 1:-1], padded[..., 2:]
    return torch.stack([(before + 6 * here + after) / 8, (here + after) / 2], dim=-1).flatten(-2)
