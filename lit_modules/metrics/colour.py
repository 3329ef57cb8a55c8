"""Luma of RGB images, the channel that papers on super-resolution score."""

import torch
from torch import Tensor

_OFFSET = 16.0
_WEIGHTS = (65.481, 128.553, 24.966)


def rgb_to_y(image: Tensor, unit_range: bool = False) -> Tensor:
    """Y of YCbCr: 16 + 65.481 R + 128.553 G + 24.966 B.

    Args:
        image: RGB, floating point ``[..., 3, H, W]``, values in [0, 1].
        unit_range: Divide by 255, so that Y is in the range of the image.

    Returns:
        Y ``[..., 1, H, W]``, not rounded, in the image's dtype: from 16 (black) to 235 (white), or from 16/255 to
        235/255 with ``unit_range``.

    Raises:
        ValueError: If the image does not have three channels.

    Reference:
        Recommendation ITU-R BT.601, with the constants of MATLAB's ``rgb2ycbcr``.

    Example:
        >>> rgb_to_y(torch.ones(3, 1, 1)).item()
        235.0
    """
    if image.dim() < 3 or image.shape[-3] != 3:
        raise ValueError(f"image must be RGB of shape [..., 3, H, W], got {list(image.shape)}")
    red, green, blue = image.unbind(-3)
    y = torch.unsqueeze(_OFFSET + _WEIGHTS[0] * red + _WEIGHTS[1] * green + _WEIGHTS[2] * blue, -3)
    return y / 255 if unit_range else y
