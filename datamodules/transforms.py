"""Images changed at random and turned into tensors; the one place that knows albumentations."""

import os
import random
from collections.abc import Callable, Sequence
from typing import Any

import cv2  # albumentations brings it
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode, TrivialAugmentWide  # type: ignore[import-untyped]

from datamodules.density import Points
from datamodules.errors import check_at_least, refused
from datamodules.readers import Pixels

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # or the import asks the network for a newer release

import albumentations as A  # type: ignore[import-untyped]

# Loaders run in parallel by processes: threads of OpenCV would compete with them, and may hang in a forked process.
cv2.setNumThreads(0)


class Augmentation:
    """Random changes to an image, decided by torch's generator alone.

    Albumentations' own generators are seeded from the system's entropy, or, with its ``seed``, alike for all
    transforms, which would then not be independent. Here all of them share generators that are seeded anew at each
    call with a number drawn from torch's, so ``seed_everything`` decides what is drawn, in workers as well.

    Args:
        transforms: Transforms of albumentations, applied in this order.
        points: Whether :meth:`with_points` will be called; one of the transforms must then move what it changes.
    """

    def __init__(self, transforms: Sequence[Any], points: bool = False) -> None:
        # All points stay, so that those up to half a pixel beyond the centres of the outermost pixels are not lost.
        keypoints = A.KeypointParams("xy", remove_invisible=False) if points else None
        self._compose = A.Compose(list(transforms), keypoint_params=keypoints)
        self._python = random.Random()
        self._numpy = np.random.PCG64()

    def __call__(self, image: Pixels) -> Pixels:
        """Change an image.

        Args:
            image: uint8 ``[H, W, C]``.

        Returns:
            uint8 ``[H', W', C]``; the size is what the transforms make of it.
        """
        changed: Pixels = self._apply(image=image)["image"]
        return changed

    def with_points(self, image: Pixels, points: Points) -> tuple[Pixels, Points]:
        """Change an image and move points in it along.

        Args:
            image: uint8 ``[H, W, C]``.
            points: Positions (x, y) in its pixels, float32 ``[N, 2]``.

        Returns:
            The image, as from a call, and all points, those that are now outside of it, too.
        """
        changed = self._apply(image=image, keypoints=points)
        return changed["image"], changed["keypoints"]

    def _apply(self, **targets: Any) -> dict[str, Any]:
        """Change what belongs together alike; targets by the names albumentations has for them."""
        seed = int(torch.empty((), dtype=torch.int64).random_())
        # Setting states takes half the time of making new generators from the seed.
        self._python.seed(seed)
        self._numpy.state = {
            "bit_generator": "PCG64",
            "state": {"state": seed, "inc": 1},
            "has_uint32": 0,
            "uinteger": 0,
        }
        self._compose.set_random_state(np.random.Generator(self._numpy), self._python)
        changed: dict[str, Any] = self._compose(**targets)
        return changed


def pad_crop_flip(side: int, padding: int) -> Augmentation:
    """The usual augmentation of small images: black padding, a random crop, a left-right flip (p = 0.5).

    Args:
        side: Height and width of the crop, in pixels.
        padding: Pixels added on each side before the crop.

    Returns:
        The augmentation.
    """
    return Augmentation(
        [
            A.Pad(padding=padding, border_mode=cv2.BORDER_CONSTANT, fill=0),
            A.RandomCrop(side, side),
            A.HorizontalFlip(p=0.5),
        ]
    )


def flip_and_recolour() -> Augmentation:
    """A left-right flip (p = 0.5), grey (p = 0.1) and gamma 0.5 to 1.5 (p = 0.3), as for photographs of crowds.

    Returns:
        The augmentation, of images with three channels, alone or with points in them.
    """
    return Augmentation([A.HorizontalFlip(p=0.5), A.ToGray(p=0.1), A.RandomGamma((50, 150), p=0.3)], points=True)


class RandomFlip:
    """A left-right flip (p = 0.5) by torch's generator; ``Augmentation`` would add 5 % to reading a photograph."""

    def __call__(self, image: Pixels) -> Pixels:
        """Flip an image or leave it.

        Args:
            image: uint8 ``[H, W, C]``; C is 3.

        Returns:
            uint8 ``[H, W, C]``.
        """
        return cv2.flip(image, 1).astype(np.uint8, copy=False) if torch.rand(()).item() < 0.5 else image


class TrivialAugment:
    """One of 14 changes of shape or colour, of random strength, in the ranges called wide; by torch's generator.

    Shapes change by bilinear interpolation; what comes in from outside the image is black. It is torchvision's, on
    Pillow's images, where it takes two thirds of the time that it needs on tensors.

    Reference:
        S. Müller, F. Hutter, TrivialAugment: Tuning-free Yet State-of-the-Art Data Augmentation, ICCV 2021.
    """

    def __init__(self) -> None:
        self._change = TrivialAugmentWide(interpolation=InterpolationMode.BILINEAR)

    def __call__(self, image: Pixels) -> Pixels:
        """Change an image.

        Args:
            image: uint8 ``[H, W, 3]``.

        Returns:
            uint8 ``[H, W, 3]``.
        """
        return np.array(self._change(Image.fromarray(image)))


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
            raise refused("std", std, f"a positive number for each of the {len(mean)} channels of mean")
        if not maximum > 0:
            raise refused("maximum", maximum, "maximum > 0")
        self._scale = 1 / (maximum * torch.tensor(std)[:, None, None])
        self._shift = -(torch.tensor(mean) / torch.tensor(std))[:, None, None]
        self._after = after

    def __call__(self, image: Pixels) -> Tensor:
        """Turn an image into a tensor.

        Args:
            image: uint8 ``[H, W, C]``.

        Returns:
            float32 ``[C, H, W]``.

        Raises:
            ValueError: If the image has not as many channels as ``mean``.
        """
        if self._after is not None:
            image = self._after(image)
        if image.shape[2] != len(self._scale):
            raise refused("channels of the image", image.shape[2], f"{len(self._scale)}, as mean has")
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
