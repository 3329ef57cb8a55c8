"""Images resized, and turned into tensors."""

import os
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from datamodules.errors import check_at_least, refuse
from datamodules.types import Pixels

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # or the import asks the network for a newer release


# Loaders run in parallel by processes: threads of OpenCV would compete with them, and may hang in a forked process.
cv2.setNumThreads(0)


class Resize:
    """Resize images to one size, averaging areas; the aspect ratio is not kept.

    Args:
        height: Height of the result, in pixels.
        width: Its width.

    Raises:
        ValueError: If the height or width is below 1.
    """

    def __init__(self, height: int, width: int) -> None:
        check_at_least(1, height=height, width=width)
        self._size = (width, height)

    def __call__(self, image: Pixels) -> Pixels:
        """Resize an image.

        Args:
            image: uint8 ``[H, W, C]``.

        Returns:
            uint8 ``[height, width, C]``.
        """
        resized = cv2.resize(image, self._size, interpolation=cv2.INTER_AREA)
        return resized.reshape(self._size[1], self._size[0], image.shape[2]).astype(np.uint8, copy=False)


class EightBit:
    """Turn images into tensors of their 8-bit pixels; ``Normalise.batch`` does the rest on the device.

    A batch is then a quarter of the size while it goes from a worker to the main process and on to the device.

    Args:
        steps: What is done to an image before, in this order.
    """

    def __init__(self, *steps: Callable[[Pixels], Pixels]) -> None:
        self._steps = steps

    def __call__(self, image: Pixels) -> Tensor:
        """Turn an image into a tensor.

        Args:
            image: uint8 ``[H, W, C]``.

        Returns:
            uint8 ``[C, H', W']``, channels last in memory.
        """
        for step in self._steps:
            image = step(image)
        return torch.from_numpy(image).contiguous().permute(2, 0, 1)


class Normalise:
    """Turn an image into a tensor: ``(pixel / maximum − mean) / std`` for each channel.

    Args:
        mean: Mean of each channel, of values in [0, 1].
        std: Standard deviation of each channel.
        maximum: Pixel value that stands for 1.
        after: What is done to the image before, such as an augmentation. Default: nothing.

    Raises:
        ValueError: If ``mean`` and ``std`` differ in length, or a standard deviation or ``maximum`` is not positive.
    """

    def __init__(
        self,
        mean: Sequence[float],
        std: Sequence[float],
        maximum: float = 255,
        after: Callable[[Pixels], Pixels] | None = None,
    ) -> None:
        if len(std) != len(mean) or not all(value > 0 for value in std):
            refuse("std", std, f"a positive number for each of the {len(mean)} channels of mean")
        if not maximum > 0:
            refuse("maximum", maximum, "above 0")
        self._scale = 1 / (maximum * torch.tensor(std)[:, None, None])
        self._shift = -(torch.tensor(mean) / torch.tensor(std))[:, None, None]
        self._after = after

    def __call__(self, image: npt.NDArray[Any]) -> Tensor:
        """Turn an image into a tensor.

        Args:
            image: uint8 ``[H, W, C]``, or float32 with a ``maximum`` of 1.

        Returns:
            float32 ``[C, H, W]``.

        Raises:
            ValueError: If the image has not as many channels as ``mean``.
        """
        if self._after is not None:
            image = self._after(image)
        if image.shape[2] != len(self._scale):
            refuse("channels of the image", image.shape[2], f"{len(self._scale)}, as mean has")
        chw = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
        return chw * self._scale + self._shift

    def batch(self, images: Tensor) -> Tensor:
        """Normalise images that are tensors already.

        Args:
            images: uint8 ``[N, C, H, W]``, on any device; C as in ``mean``.

        Returns:
            float32 ``[N, C, H, W]``, on that device and in the same layout in memory.
        """
        if self._scale.device != images.device:  # once: copying at every call would wait for the device
            self._scale, self._shift = self._scale.to(images.device), self._shift.to(images.device)
        return images.to(torch.float32, copy=True).mul_(self._scale).add_(self._shift)
