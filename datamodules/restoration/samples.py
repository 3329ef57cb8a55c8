"""Samples for restoration: random patches to train on, whole images to evaluate, one's own images to restore."""

from collections.abc import Sequence
from typing import Any, TypeVar, cast

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from datamodules.batches import DegradedBatch, RestorationBatch
from datamodules.files.channels import read_channels
from datamodules.restoration.image_pairs import ImagePair, OpenPair
from datamodules.samples import ImageFolder, InputFiles, SampleSet, StoredSample
from datamodules.types import AnyDepth, Map

AnyValues = TypeVar("AnyValues", bound=np.generic)

_POSES = 8


class RandomPatches(SampleSet[RestorationBatch]):
    """Random patches of the same place in both images of a pair, in one of eight poses; torch's generator decides.

    Ids are those of the images without their suffix, and the number of the patch.

    Args:
        pairs: The images, none smaller than a patch.
        open_pair: Gives the images of a pair.
        side: Height and width of a patch, in pixels.
        per_image: Patches of each pair.
        augment: Turn patches by 0, 90, 180 or 270° and mirror half of them; each pose is equally likely.
    """

    def __init__(
        self, pairs: Sequence[ImagePair], open_pair: OpenPair, side: int, per_image: int, augment: bool = True
    ) -> None:
        self._pairs = pairs
        self._open = open_pair
        self.side = side
        self._per_image = per_image
        self._poses = _POSES if augment else 1

    def __len__(self) -> int:
        """Count the patches."""
        return len(self._pairs) * self._per_image

    def __getitem__(self, index: int) -> RestorationBatch:
        """Return a patch, as a batch of one; another one each time."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        number, position = divmod(index, len(self._pairs))
        pair = self._pairs[position]
        images = self._open(pair)
        height, width = images[-1].shape[:2]
        down, right, turn = torch.rand(3, dtype=torch.float64).tolist()
        top, left = int(down * (height - self.side + 1)), int(right * (width - self.side + 1))
        pose = int(turn * self._poses)
        image, target = (as_tensor(turn_and_mirror(patch, pose)) for patch in self.cut(images, top, left))
        return RestorationBatch(image, target, [f"{pair.id.rpartition('.')[0]}_{number:04d}"])

    def cut(self, images: tuple[AnyDepth, AnyDepth], top: int, left: int) -> tuple[AnyDepth | Map, AnyDepth | Map]:
        """Cut a patch out of both images of a pair.

        Args:
            images: The degraded and the clean one.
            top: Its first row.
            left: Its first column.

        Returns:
            The two patches, ``[side, side, C]``.
        """
        degraded, clean = (pixels[top : top + self.side, left : left + self.side] for pixels in images)
        return degraded, clean


class WholeImages(SampleSet[RestorationBatch]):
    """Whole images, whose sizes may differ; ids are those of the pairs.

    Args:
        pairs: The images.
        open_pair: Gives the images of a pair.
    """

    def __init__(self, pairs: Sequence[ImagePair], open_pair: OpenPair) -> None:
        self._pairs = pairs
        self._open = open_pair

    def __len__(self) -> int:
        """Count the pairs."""
        return len(self._pairs)

    def __getitem__(self, index: int) -> RestorationBatch:
        """Return a pair, as a batch of one."""
        pair = self._pairs[index]
        degraded, clean = self._open(pair)
        return RestorationBatch(as_tensor(degraded), as_tensor(clean), [pair.id])

    def stored(self, index: int) -> StoredSample:
        """Return a pair as it is stored."""
        return describe_pair(self._pairs[index], self._open)


def describe_pair(pair: ImagePair, open_pair: OpenPair) -> StoredSample:
    """Describe a pair of files.

    Args:
        pair: The files.
        open_pair: Decodes them.

    Returns:
        The sample.
    """
    return StoredSample((str(pair.degraded), str(pair.clean)), lambda: open_pair(pair))


class DegradedImages(InputFiles[DegradedBatch]):
    """Images in a folder with all bits that they hold.

    Args:
        folder: The images' folder.
        upscale: Enlarge them this many times, bicubic.
        channels: That they are read with, see :func:`datamodules.files.channels.read_channels`.
    """

    def __init__(self, folder: ImageFolder, upscale: int = 1, channels: int = 3) -> None:
        self._paths = folder.paths
        self.ids = folder.ids
        self._upscale = upscale
        self._channels = channels

    def __getitem__(self, index: int) -> DegradedBatch:
        """Return an image, as a batch of one."""
        pixels, grey, profile = read_channels(self._paths[index], self._channels)
        image = enlarge(as_tensor(pixels), self._upscale)
        bits = 8 * pixels.dtype.itemsize
        return DegradedBatch(image, torch.tensor([bits]), torch.tensor([grey]), [self.ids[index]], [profile])


def turn_and_mirror(pixels: npt.NDArray[AnyValues], pose: int) -> npt.NDArray[AnyValues]:
    """Turn and mirror an image.

    Args:
        pixels: ``[H, W, C]``.
        pose: 0 to 7: turned left by 90° ``pose`` times, and from 4 on mirrored left to right after that.

    Returns:
        The same pixels, ``[H, W, C]`` or ``[W, H, C]``, in no particular order in memory.
    """
    turned = np.rot90(np.ascontiguousarray(pixels), pose)
    return turned[:, ::-1] if pose >= _POSES // 2 else turned


def as_tensor(pixels: npt.NDArray[Any]) -> Tensor:
    """Make a batch of one image.

    Args:
        pixels: uint8 or uint16 ``[H, W, C]``, or float32 of the same shape, which keeps its values.

    Returns:
        float32 ``[1, C, H, W]``, values in [0, 1].
    """
    white = np.float32(1 if pixels.dtype == np.float32 else np.iinfo(pixels.dtype).max)
    values = np.empty((1, pixels.shape[2], *pixels.shape[:2]), np.float32)
    np.divide(pixels.transpose(2, 0, 1), white, out=values[0])
    return torch.from_numpy(values)


def shrink(pixels: AnyDepth, factor: int) -> AnyDepth:
    """Average squares of pixels.

    Args:
        pixels: uint8 or uint16 ``[H, W, C]``.
        factor: Height and width of a square; rows and columns that fill none are left out. 1 changes nothing.

    Returns:
        The same type, ``[H // factor, W // factor, C]``, means rounded.
    """
    if factor == 1:
        return pixels
    height, width = (length // factor for length in pixels.shape[:2])
    whole = pixels[: height * factor, : width * factor]
    shrunk: Any = cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA)
    return cast("AnyDepth", shrunk.reshape(height, width, -1))


def enlarge(image: Tensor, factor: int) -> Tensor:
    """Enlarge images, bicubic, as Pillow and MATLAB do (Keys' kernel with a = −½).

    Args:
        image: float32 ``[N, C, H, W]``, values in [0, 1].
        factor: How many times; 1 leaves them as they are.

    Returns:
        ``[N, C, factor · H, factor · W]``, values in [0, 1].
    """
    if factor == 1:
        return image
    # With antialiasing, of which there is none in enlarging, torch takes a = −½ instead of −¾.
    return interpolate(image, scale_factor=factor, mode="bicubic", antialias=True).clamp_(0, 1)


def enlarge_pixels(pixels: AnyDepth, factor: int) -> AnyDepth:
    """Enlarge an image, see :func:`enlarge`.

    Args:
        pixels: uint8 or uint16 ``[H, W, C]``.
        factor: How many times.

    Returns:
        Rounded to what ``pixels`` holds, ``[factor · H, factor · W, C]``.
    """
    if factor == 1:
        return pixels
    image = enlarge(as_tensor(pixels), factor)[0].double() * np.iinfo(pixels.dtype).max
    enlarged: AnyDepth = image.round().permute(1, 2, 0).numpy().astype(pixels.dtype)
    return enlarged
