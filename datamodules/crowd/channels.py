"""Images to count in, of any number of channels: how they are read, and by what they are normalised."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from datamodules.batches import IMAGENET_MEAN, IMAGENET_STD
from datamodules.errors import check_at_least, refuse
from datamodules.files.channels import read_any_header, read_channels
from datamodules.files.readers import Exif, turn_back
from datamodules.transforms.pixels import Normalise
from datamodules.types import AnyDepth, Photograph


class ImageChannels:
    """Channels of all images of a data set.

    Args:
        count: How many there are: 3 (RGB), 1 (grey), or another number, see
            :func:`datamodules.files.channels.read_channels`. Default: 3.
        mean: What is subtracted from each channel, of values in [0, 1]. Default: ImageNet's for 3 channels, else 0.5.
        std: What each channel is then divided by. Default: ImageNet's for 3 channels, else 0.5.

    Raises:
        ValueError: If an argument is out of range, or ``mean`` or ``std`` has not a number for each channel.
    """

    def __init__(self, count: int = 3, mean: Sequence[float] | None = None, std: Sequence[float] | None = None) -> None:
        check_at_least(1, channels=count)
        usual = (IMAGENET_MEAN, IMAGENET_STD) if count == 3 else ((0.5,) * count, (0.5,) * count)
        self.count = count
        self.mean, self.std = (
            tuple(default if given is None else given) for given, default in zip((mean, std), usual, strict=True)
        )
        if len(self.mean) != count or not all(0 <= value <= 1 for value in self.mean):
            refuse("mean", list(self.mean), f"a number from 0 to 1 for each of {count} channels")
        if len(self.std) != count or not all(0 < value < np.inf for value in self.std):
            refuse("std", list(self.std), f"a number above 0 for each of {count} channels")
        self._normalise = {
            np.dtype(np.uint8): Normalise(self.mean, self.std),
            np.dtype(np.float32): Normalise(self.mean, self.std, maximum=1),
        }

    def decode(self, path: Path, exif: Exif) -> AnyDepth:
        """Read an image with all bits that it holds.

        Args:
            path: Its file.
            exif: Whether to give it as ``stored`` or as ``shown``.

        Returns:
            uint8 or uint16 ``[H, W, count]``.

        Raises:
            DataError: If it cannot be read, or has other channels; names the file.
        """
        pixels = read_channels(path, self.count).pixels
        return turn_back(pixels, read_any_header(path).orientation) if exif == "stored" else pixels

    def read(self, path: Path, exif: Exif) -> Photograph:
        """Read an image as it is changed and normalised.

        Args:
            path: Its file.
            exif: Whether to give it as ``stored`` or as ``shown``.

        Returns:
            uint8 ``[H, W, count]``; of 16 bits float32 in [0, 1], which holds them all.

        Raises:
            DataError: If it cannot be read, or has other channels; names the file.
        """
        return self.in_range(self.decode(path, exif))

    @staticmethod
    def in_range(pixels: AnyDepth) -> Photograph:
        """Give an image as it is changed and normalised.

        Args:
            pixels: uint8 or uint16 ``[H, W, C]``.

        Returns:
            uint8 ``[H, W, C]``; of 16 bits float32 in [0, 1], which holds them all.
        """
        if pixels.dtype == np.uint8:
            return pixels.astype(np.uint8, copy=False)
        return np.divide(pixels, np.iinfo(pixels.dtype).max, dtype=np.float32)

    def normalise(self, image: Photograph) -> Tensor:
        """Turn an image into a tensor: ``(value − mean) / std`` of values in [0, 1].

        Args:
            image: As from :meth:`read`, perhaps changed.

        Returns:
            float32 ``[count, H, W]``.
        """
        return self._normalise[image.dtype](image)

    def told(self) -> tuple[Tensor, Tensor]:
        """Give mean and standard deviation as a batch has them, float32 ``[1, count]`` each."""
        return torch.tensor([self.mean]), torch.tensor([self.std])
