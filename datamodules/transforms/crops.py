"""Photographs brought to one size as ImageNet's networks are trained and measured.

All resizing here is bilinear with antialiasing, as ``torchvision.transforms`` and Pillow have it, computed on 8-bit
pixels, or such of single precision: each value of the result is a mean of the area it stands for, weighted by a
triangle. OpenCV's, and so that of albumentations, has no antialiasing.
"""

import math

import numpy.typing as npt
import torch
from torch.nn.functional import interpolate

from datamodules.errors import check_at_least, refuse
from datamodules.files.readers import AnyValue
from datamodules.types import Pixels


def resize_bilinear(image: npt.NDArray[AnyValue], height: int, width: int) -> npt.NDArray[AnyValue]:
    """Resize an image, bilinear with antialiasing.

    Args:
        image: uint8 or float32 ``[H, W, C]``, or a part of one.
        height: Height of the result, in pixels.
        width: Its width.

    Returns:
        As many channels of the same type, ``[height, width, C]``; uint8 differs from Pillow's by at most one level.
    """
    # The fast kernel needs channels last without gaps; torch copies a part of an image faster than numpy.
    channels_last = torch.from_numpy(image)[None].permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
    resized = interpolate(channels_last, size=(height, width), mode="bilinear", antialias=True)
    pixels: npt.NDArray[AnyValue] = resized[0].permute(1, 2, 0).numpy()
    return pixels


class RandomResizedCrop:
    """A random part of an image, resized to a square: the usual augmentation for ImageNet.

    The part's share of the area is uniform, the logarithm of its aspect ratio too. If ten draws do not fit into the
    image, it is the largest central part whose aspect ratio is in range. Numbers are drawn from torch's generator.

    Args:
        side: Height and width of the result, in pixels.
        scale: Smallest and largest share of the image's area.
        ratio: Smallest and largest aspect ratio, width over height.

    Raises:
        ValueError: If ``side`` is below 1, or a range is not ascending and positive, that of ``scale`` up to 1.

    Reference:
        C. Szegedy et al., Going Deeper with Convolutions, CVPR 2015, section 6.
    """

    def __init__(
        self, side: int, scale: tuple[float, float] = (0.08, 1), ratio: tuple[float, float] = (3 / 4, 4 / 3)
    ) -> None:
        check_at_least(1, side=side)
        if not 0 < scale[0] <= scale[1] <= 1:
            refuse("scale", scale, "two ascending numbers above 0 and up to 1")
        if not 0 < ratio[0] <= ratio[1]:
            refuse("ratio", ratio, "two ascending numbers above 0")
        self._side = side
        self._scale = scale
        self._ratio = ratio

    def __call__(self, image: Pixels) -> Pixels:
        """Cut a part out and resize it.

        Args:
            image: uint8 ``[H, W, C]``.

        Returns:
            uint8 ``[side, side, C]``.
        """
        top, left, height, width = self.draw_part(image.shape[0], image.shape[1])
        return resize_bilinear(image[top : top + height, left : left + width], self._side, self._side)

    def draw_part(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Draw a part of an image.

        Args:
            height: Of the image, in pixels.
            width: Its width.

        Returns:
            Top, left, height and width of the part, in pixels.
        """
        narrow, wide = map(math.log, self._ratio)
        for _ in range(10):
            share, stretch, down, right = torch.rand(4).tolist()
            area = height * width * (self._scale[0] + share * (self._scale[1] - self._scale[0]))
            ratio = math.exp(narrow + stretch * (wide - narrow))
            rows, columns = round(math.sqrt(area / ratio)), round(math.sqrt(area * ratio))
            if 0 < rows <= height and 0 < columns <= width:
                return int(down * (height - rows + 1)), int(right * (width - columns + 1)), rows, columns
        rows = min(height, max(1, round(width / self._ratio[0])))
        columns = min(width, max(1, round(height * self._ratio[1])))
        return (height - rows) // 2, (width - columns) // 2, rows, columns


class ResizedCentreCrop:
    """The centre of an image whose shorter side is resized: how ImageNet's networks are measured.

    Args:
        resize_size: Length of the shorter side after resizing, in pixels; the aspect ratio is kept.
        crop_size: Height and width of the part that is cut from the centre.

    Raises:
        ValueError: If ``crop_size`` is below 1 or above ``resize_size``.
    """

    def __init__(self, resize_size: int, crop_size: int) -> None:
        check_at_least(1, crop_size=crop_size)
        if resize_size < crop_size:
            refuse("resize_size", resize_size, f"at least crop_size = {crop_size}")
        self._resize_size = resize_size
        self._crop_size = crop_size

    def __call__(self, image: Pixels) -> Pixels:
        """Resize an image and cut its centre out.

        Args:
            image: uint8 ``[H, W, C]``.

        Returns:
            uint8 ``[crop_size, crop_size, C]``.
        """
        height, width = image.shape[:2]
        shorter, crop = min(height, width), self._crop_size
        rows, columns = self._resize_size * height // shorter, self._resize_size * width // shorter
        top, left = (
            round((rows - crop) / 2),
            round((columns - crop) / 2),
        )  # halves to even, as the field's crops have it
        return resize_bilinear(image, rows, columns)[top : top + crop, left : left + crop]
