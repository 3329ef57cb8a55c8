"""Laplacian pyramids: an image as bands of detail and what remains at the lowest resolution."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

_TAPS = (1, 4, 6, 4, 1)


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
    padded = F.pad(image, (2, 2, 2, 2), mode="replicate")
    return F.conv2d(padded, _filter(image), stride=2, groups=image.shape[1])


def _expand(image: Tensor, like: Tensor) -> Tensor:
    """Twice the resolution, cropped to the size of another image."""
    height, width = like.shape[2:]
    padded = F.pad(image, (1, 1, 1, 1), mode="replicate")
    larger = F.conv_transpose2d(padded, 4 * _filter(image), stride=2, groups=image.shape[1])
    return larger[..., 4 : 4 + height, 4 : 4 + width]  # a pixel of padding and half a filter


def _filter(image: Tensor) -> Tensor:
    taps = torch.tensor(_TAPS, dtype=image.dtype, device=image.device) / sum(_TAPS)
    return torch.outer(taps, taps).expand(image.shape[1], 1, -1, -1)
