"""Photographs and the points in them changed at random, so that points and pixels move alike."""

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
import torch

from datamodules.batches import IMAGENET_MEAN
from datamodules.errors import check_at_least, check_one_of
from datamodules.transforms.augmentation import flip_and_recolour
from datamodules.transforms.crops import resize_bilinear
from datamodules.types import Photograph, Points

CrowdAugmentationName = Literal["standard", "none"]

# Half of the crops stay as sharp as the images that are counted later: scaling smooths, and a network that has seen
# smoothed crops alone counts a seventh too many heads in whole images of ShanghaiTech A.
_SCALE = (0.8, 1.2)
_SCALED = 0.5


class CrowdAugmentation:
    """How photographs of crowds are made into training crops.

    ``standard``: a random part, scaled by 0.8 to 1.2 (uniform, p = 0.5), a left-right flip (p = 0.5), grey (p = 0.1, of
    RGB alone), gamma 0.5 to 1.5 (p = 0.3). ``none``: a random part, as it is. Random numbers come from torch's
    generator.

    Args:
        crop_size: Height and width of the crops, in pixels.
        augmentation: ``standard`` or ``none``.
        mean: Of each channel, of values in [0, 1], for padding. Default: ImageNet's, of three.

    Raises:
        ValueError: If ``crop_size`` is below 1 or ``augmentation`` is another.
    """

    def __init__(
        self,
        crop_size: int,
        augmentation: CrowdAugmentationName = "standard",
        mean: Sequence[float] = IMAGENET_MEAN,
    ) -> None:
        check_one_of(get_args(CrowdAugmentationName), augmentation=augmentation)
        standard = augmentation == "standard"
        self._crop = ScaledCrop(crop_size, _SCALE, mean, _SCALED if standard else 0.0)
        self._change = flip_and_recolour(len(mean)) if standard else None

    def __call__(self, image: Photograph, points: Points) -> tuple[Photograph, Points]:
        """Make a crop.

        Args:
            image: uint8 ``[H, W, C]``, or float32 in [0, 1]; C as in ``mean``.
            points: Positions (x, y) in its pixels, float32 ``[N, 2]``.

        Returns:
            The crop, ``[crop_size, crop_size, C]`` of the same type, and the points in it, ``[M, 2]``; M may be 0.
        """
        crop, inside = self._crop(image, points)
        if self._change is not None:
            crop, inside = self._change.change_with_points(crop, inside)
        # Half a pixel beyond the outermost centres is still in these pixels.
        return crop, inside.clip(0, crop.shape[0] - 1)


class ScaledCrop:
    """A random part of an image with the points in it, scaled by a random factor, bilinear with antialiasing.

    Albumentations would do the same, were its points not multiplied by another factor than the image, whose sides are
    whole numbers of pixels, and without regard to a pixel's position being that of its centre.

    Where the image is smaller than the part, it is padded at the bottom and right with ``mean``, which is about 0 when
    normalised, as networks pad.

    Args:
        side: Height and width of the result, in pixels.
        scale: Smallest and largest factor.
        mean: Of each channel, of values in [0, 1]. Default: ImageNet's, of three.
        p: Probability of scaling; else the part is left as it was.

    Raises:
        ValueError: If ``side`` is below 1.
    """

    def __init__(
        self, side: int, scale: tuple[float, float], mean: Sequence[float] = IMAGENET_MEAN, p: float = 1.0
    ) -> None:
        check_at_least(1, crop_size=side)
        self._padding = {
            np.dtype(np.uint8): np.array([round(255 * value) for value in mean], np.uint8),
            np.dtype(np.float32): np.array(mean, np.float32),
        }
        self._side = side
        self._scale = scale
        self._p = p

    def __call__(self, image: Photograph, points: Points) -> tuple[Photograph, Points]:
        """Cut a part out and scale it.

        Args:
            image: uint8 ``[H, W, C]``, or float32 in [0, 1]; C as in ``mean``.
            points: Positions (x, y) in its pixels, float32 ``[N, 2]``.

        Returns:
            ``[side, side, C]`` of the image's type, and the points within it, up to half a pixel beyond the outermost
            centres.
        """
        whether, draw, down, right = torch.rand(4).tolist()
        smallest, largest = self._scale if whether < self._p else (1, 1)
        part = max(1, round(self._side / (smallest + draw * (largest - smallest))))
        top, left = (_place(where, length, part) for where, length in zip((down, right), image.shape[:2], strict=True))
        piece = image[top : top + part, left : left + part]
        rows, columns = (max(1, round(length * self._side / part)) for length in piece.shape[:2])
        crop = np.full((self._side, self._side, image.shape[2]), self._padding[image.dtype])
        crop[:rows, :columns] = resize_bilinear(piece, rows, columns)
        factors = np.divide((columns, rows), (piece.shape[1], piece.shape[0]), dtype=np.float32)
        edges = (points - np.array((left, top), np.float32) + 0.5) * factors  # counted from the upper left corner
        return crop, edges[((edges >= 0) & (edges < (columns, rows))).all(1)] - 0.5


def _place(where: float, length: int, part: int) -> int:
    """Where a part begins whose centre is drawn uniformly over a side, moved until the part lies within.

    Drawn among the places within, a pixel at the border would be in one of them, one in the middle in ``part``; so it
    is in half as many, and what crops show on average is close to what images show.
    """
    return max(0, min(round(where * length - part / 2), length - part))
