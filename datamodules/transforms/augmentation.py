"""Images changed at random; the one place that knows albumentations."""

import os
import random
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image
from torchvision.transforms.v2 import InterpolationMode, TrivialAugmentWide  # type: ignore[import-untyped]

from datamodules.types import Photograph, Pixels, Points

# Loaders run in parallel by processes: threads of OpenCV would compete with them, and may hang in a forked process.
cv2.setNumThreads(0)


def _albumentations() -> Any:
    """Import albumentations when something is augmented with it: that takes as long as all else of this package."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # or the import asks the network for a newer release
    import albumentations  # type: ignore[import-untyped]

    return albumentations


class Augmentation:
    """Random changes to an image, decided by torch's generator alone.

    Albumentations' own generators are seeded from the system's entropy, or, with its ``seed``, alike for all
    transforms, which would then not be independent. Here all of them share generators that are seeded anew at each
    call with a number drawn from torch's, so ``seed_everything`` decides what is drawn, in workers as well.

    Args:
        transforms: Transforms of albumentations, applied in this order.
        points: Whether :meth:`change_with_points` will be called; one of the transforms must then move what it changes.
    """

    def __init__(self, transforms: Sequence[Any], points: bool = False) -> None:
        library = _albumentations()
        # All points stay, so that those up to half a pixel beyond the centres of the outermost pixels are not lost.
        keypoints = library.KeypointParams("xy", remove_invisible=False) if points else None
        self._compose = library.Compose(list(transforms), keypoint_params=keypoints)
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

    def change_with_points(self, image: Photograph, points: Points) -> tuple[Photograph, Points]:
        """Change an image and move points in it along.

        Args:
            image: uint8 ``[H, W, C]``, or float32 in [0, 1].
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
    """Augment small images as is usual: black padding, a random crop, a left-right flip (p = 0.5).

    Args:
        side: Height and width of the crop, in pixels.
        padding: Pixels added on each side before the crop.

    Returns:
        The augmentation.
    """
    library = _albumentations()
    return Augmentation(
        [
            library.Pad(padding=padding, border_mode=cv2.BORDER_CONSTANT, fill=0),
            library.RandomCrop(side, side),
            library.HorizontalFlip(p=0.5),
        ]
    )


def flip_and_recolour(channels: int = 3) -> Augmentation:
    """Augment photographs of crowds: a left-right flip (p = 0.5), grey (p = 0.1), gamma 0.5 to 1.5 (p = 0.3).

    Args:
        channels: Of the images; only three, which are RGB, are made grey. Default: 3.

    Returns:
        The augmentation, of images alone or with points in them.
    """
    library = _albumentations()
    grey = [library.ToGray(p=0.1)] if channels == 3 else []
    changes = [library.HorizontalFlip(p=0.5), *grey, library.RandomGamma((50, 150), p=0.3)]
    return Augmentation(changes, points=True)


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
