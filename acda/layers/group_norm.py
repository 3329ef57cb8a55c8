"""Group normalisation that is asked for as batch normalisation is: by the number of channels alone."""

import math

import torch
from torch import nn


class GroupNorm(nn.GroupNorm):
    """:class:`torch.nn.GroupNorm` made from a number of channels, so that it can stand where ``nn.BatchNorm2d`` does.

    It takes mean and variance over the channels of a group and all pixels of one image, in training as in evaluation:
    nothing depends on what else is in a batch, and there are no running statistics that might not fit. Parts of an
    image, however, are normalised otherwise than the whole.

    Args:
        channels: Of the images that it is applied to.
        group_size: Channels in a group. Where it does not divide ``channels``, the divisor closest to it in ratio.
        eps: Added to the variance.
        affine: Whether each channel has a learned scale and shift.
        device: Where these lie.
        dtype: Their type.

    Shape:
        ``[N, channels, H, W]``, as is the output.

    Raises:
        ValueError: If ``channels`` or ``group_size`` is below 1.

    Reference:
        Wu, He, *Group Normalization*, ECCV 2018; 16 channels a group as in section 4.1, Table 3.
    """

    def __init__(
        self,
        channels: int,
        group_size: int = 16,
        eps: float = 1e-5,
        affine: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        for name, value in (("channels", channels), ("group_size", group_size)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        divisors = (size for size in range(1, channels + 1) if channels % size == 0)
        size = min(divisors, key=lambda size: abs(math.log(size / group_size)))
        super().__init__(channels // size, channels, eps, affine, device, dtype)
