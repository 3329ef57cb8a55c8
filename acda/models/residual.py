"""Residual blocks, named as in torchvision's ResNet so that its weights fit.

Reference:
    He, Zhang, Ren, Sun, *Deep Residual Learning for Image Recognition*, CVPR 2016; with the stride of a bottleneck on
    its 3×3 convolution, as torchvision has it. The dynamic bottleneck: paper section 4.1.
"""

from typing import ClassVar

from torch import Tensor, nn

from acda.layers import ConvFactory, NormFactory
from acda.ops.subsampled import mend


def _shortcut(in_channels: int, out_channels: int, stride: int, norm: NormFactory) -> nn.Module | None:
    """Make what brings the input to the output's shape: nothing, or a strided 1×1 convolution with norm."""
    if stride == 1 and in_channels == out_channels:
        return None
    conv = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
    mend(conv)
    return nn.Sequential(conv, norm(out_channels))


class ResidualBlock(nn.Module):
    """``ReLU(branch(x) + shortcut(x))``; a subclass writes the branch.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        stride: By which the output is smaller.
        norm: Makes the norm after a convolution.
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: int = 1, norm: NormFactory = nn.BatchNorm2d
    ) -> None:
        super().__init__()
        self.downsample = _shortcut(in_channels, out_channels, stride, norm)
        self.relu = nn.ReLU(inplace=True)

    def branch(self, x: Tensor) -> Tensor:
        """Compute what is learnt on top of the shortcut."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[N, in, H, W]`` to ``[N, out, ⌈H / stride⌉, ⌈W / stride⌉]``."""
        shortcut = x if self.downsample is None else self.downsample(x)
        output: Tensor = self.relu(self.branch(x) + shortcut)
        return output


class BasicBlock(ResidualBlock):
    """Two 3×3 convolutions.

    Args:
        in_channels: Channels of the input.
        width: Channels of both convolutions.
        stride: Of the first.
        norm: Makes the norm after each convolution.
    """

    expansion: ClassVar[int] = 1

    def __init__(self, in_channels: int, width: int, stride: int = 1, norm: NormFactory = nn.BatchNorm2d) -> None:
        super().__init__(in_channels, width, stride, norm)
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride, 1, bias=False)
        self.bn1 = norm(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = norm(width)

    def branch(self, x: Tensor) -> Tensor:
        """Convolution, norm, ReLU, convolution, norm."""
        output: Tensor = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return output


class Bottleneck(ResidualBlock):
    """A 1×1 convolution to a smaller width, a 3×3 convolution, a 1×1 convolution to four times that width.

    Args:
        in_channels: Channels of the input.
        width: Channels of the 3×3 convolution.
        stride: Of the 3×3 convolution.
        norm: Makes the norm after each convolution.
    """

    expansion: ClassVar[int] = 4

    def __init__(self, in_channels: int, width: int, stride: int = 1, norm: NormFactory = nn.BatchNorm2d) -> None:
        out_channels = self.expansion * width
        super().__init__(in_channels, out_channels, stride, norm)
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = norm(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = norm(width)
        self.conv3 = nn.Conv2d(width, out_channels, 1, bias=False)
        self.bn3 = norm(out_channels)

    def branch(self, x: Tensor) -> Tensor:
        """Three convolutions, each with its norm, and ReLU between them."""
        hidden = self.relu(self.bn1(self.conv1(x)))
        hidden = self.relu(self.bn2(self.conv2(hidden)))
        output: Tensor = self.bn3(self.conv3(hidden))
        return output


class DynamicBottleneck(ResidualBlock):
    """A bottleneck whose middle convolution is of any kind and size, at the resolution of the output.

    Args:
        in_channels: Channels of the input.
        width: Channels of the middle convolution, in and out.
        out_channels: Channels of the output.
        kernel_size: Side of the middle convolution's filter, odd.
        stride: Of the first 1×1 convolution.
        conv: Makes the middle convolution.
        norm: Makes the norm after each convolution.

    Reference:
        Paper section 4.1. Its appendix, which has the details, is not public; the stride's place is that of the only
        published re-implementation.
    """

    def __init__(
        self,
        in_channels: int,
        width: int,
        out_channels: int,
        kernel_size: int,
        stride: int,
        conv: ConvFactory,
        norm: NormFactory = nn.BatchNorm2d,
    ) -> None:
        super().__init__(in_channels, out_channels, stride, norm)
        self.conv1 = nn.Conv2d(in_channels, width, 1, stride, bias=False)
        mend(self.conv1)
        self.bn1 = norm(width)
        self.conv2 = conv(width, width, kernel_size, padding=kernel_size // 2, bias=False)
        self.bn2 = norm(width)
        self.conv3 = nn.Conv2d(width, out_channels, 1, bias=False)
        self.bn3 = norm(out_channels)

    def branch(self, x: Tensor) -> Tensor:
        """Three convolutions, each with its norm, and ReLU between them."""
        hidden = self.relu(self.bn1(self.conv1(x)))
        hidden = self.relu(self.bn2(self.conv2(hidden)))
        output: Tensor = self.bn3(self.conv3(hidden))
        return output
