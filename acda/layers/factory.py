"""How a network asks for its convolutions and norms, so that which it gets is an argument."""

from collections.abc import Callable
from typing import Protocol

from torch import nn

NormFactory = Callable[[int], nn.Module]
"""Makes a norm from its channels: ``nn.BatchNorm2d`` or any other module ``[N, C, H, W]`` to the same shape."""


class ConvFactory(Protocol):
    """Makes a convolution: ``nn.Conv2d``, :class:`acda.ACDAConv2d`, or any other of this interface.

    Networks decide what stands here; everything else about a convolution (``num_atoms``, …) is for whoever builds the
    network. In YAML a factory is a ``class_path`` with ``init_args``.
    """

    def __call__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        padding: int = 0,
        bias: bool = True,
    ) -> nn.Module:
        """Make a convolution from ``[N, in, H, W]`` to ``[N, out, H_out, W_out]``."""
        ...
