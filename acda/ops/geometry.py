"""Where the windows of a convolution lie: kernel, stride, padding and dilation, checked once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

IntOrPair = int | Sequence[int]
PaddingMode = Literal["zeros", "reflect", "replicate", "circular"]


def pair(value: IntOrPair, name: str, minimum: int) -> tuple[int, int]:
    """Turn an int or a pair of ints into ``(vertical, horizontal)``.

    Raises:
        ValueError: If ``value`` is neither, or smaller than ``minimum``; the message names the argument.
    """
    values = value if isinstance(value, Sequence) else (value, value)
    if len(values) != 2 or not all(isinstance(v, int | np.integer) and v >= minimum for v in values):
        raise ValueError(f"{name} must be an int or a pair of ints, each at least {minimum}, got {value!r}")
    return int(values[0]), int(values[1])


def check_count(name: str, count: int) -> None:
    """Refuse a number of something that is no integer, Python's or NumPy's, or below 1.

    Raises:
        ValueError: The message names the argument.
    """
    if not isinstance(count, int | np.integer):
        raise ValueError(f"{name} must be an int, got {count!r}")
    if count < 1:
        raise ValueError(f"{name} must be at least 1, got {count}")


def odd_square(kernel_size: IntOrPair) -> int:
    """Side of a kernel that must be square and odd.

    Raises:
        ValueError: If it is even or its sides differ.
    """
    height, width = pair(kernel_size, "kernel_size", 1)
    if height != width or height % 2 == 0:
        raise ValueError(f"kernel_size must be odd and square, got {kernel_size!r}")
    return height


@dataclass(frozen=True)
class Geometry:
    """Kernel side, stride, zero padding and dilation, the last three as ``(vertical, horizontal)``."""

    kernel_size: int
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]

    @classmethod
    def of(
        cls, kernel_size: int, stride: IntOrPair = 1, padding: IntOrPair | str = 0, dilation: IntOrPair = 1
    ) -> "Geometry":
        """Check the arguments of a convolution as :class:`torch.nn.Conv2d` takes them.

        Raises:
            ValueError: Naming the argument that is off, what was given and what is allowed.
        """
        strides = pair(stride, "stride", 1)
        dilations = pair(dilation, "dilation", 1)
        if isinstance(padding, str):
            if padding not in ("same", "valid"):
                raise ValueError(f"padding must be 'same', 'valid', an int or a pair of ints, got {padding!r}")
            if padding == "same" and strides != (1, 1):
                raise ValueError(f"padding='same' needs stride 1, got stride={stride!r}")
            reach = kernel_size // 2 if padding == "same" else 0
            paddings = (dilations[0] * reach, dilations[1] * reach)
        else:
            paddings = pair(padding, "padding", 0)
        return cls(kernel_size, strides, paddings, dilations)

    @property
    def span(self) -> tuple[int, int]:
        """Height and width in pixels that one window covers."""
        return self.dilation[0] * (self.kernel_size - 1) + 1, self.dilation[1] * (self.kernel_size - 1) + 1

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width in pixels of the output for an input of this size.

        Raises:
            ValueError: If the input with its padding is smaller than a window.
        """
        size = (height, width)
        least = [span - 2 * p for span, p in zip(self.span, self.padding, strict=True)]
        if height < least[0] or width < least[1]:
            raise ValueError(
                f"x must be at least {max(1, least[0])}×{max(1, least[1])} pixels for kernel_size={self.kernel_size}, "
                f"padding={self.padding}, dilation={self.dilation}, got {height}×{width}"
            )
        rows, columns = ((n - m) // s + 1 for n, m, s in zip(size, least, self.stride, strict=True))
        return rows, columns
