"""What data modules hand to tasks: the one place where the two sides meet."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor

# Of ImageNet's training images, as values in [0, 1]: by these photographs are normalised.
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Failure(NamedTuple):
    """An input that could not be predicted.

    Attributes:
        id: Its name, as in a batch.
        reason: Why, in one line.
        traceback: Of an error that the data alone does not explain; else empty.
    """

    id: str
    reason: str
    traceback: str = ""


class ImageBatch(NamedTuple):
    """Images without targets, as ``predict`` gets them.

    Attributes:
        image: Normalised images, float32 ``[N, C, H, W]``.
        id: One name for each image, unique within the data set (a path relative to its folder).
    """

    image: Tensor
    id: list[str]


class LabelledBatch(NamedTuple):
    """Images with class labels.

    Attributes:
        image: Normalised images, float32 ``[N, C, H, W]``.
        label: Class indices, int64 ``[N]``.
        id: One name for each image, unique within the split.
    """

    image: Tensor
    label: Tensor
    id: list[str]


class CrowdBatch(NamedTuple):
    """Photographs of crowds with where the heads are, or of anything with where the objects are that are counted.

    Attributes:
        image: Normalised images, float32 ``[N, C, H, W]``; C is 3 (RGB), but for one's own images of other channels.
        density: Heads per pixel, float32 ``[N, 1, H, W]``; the sum over an image is ``num_heads``.
        num_heads: Heads annotated in each image, int64 ``[N]``; of a part of an image, those in it.
        points: For each image the heads' positions (x, y) in its pixels, float32 ``[num_heads, 2]``.
        id: One name for each image, unique within the split.
        mean: What was subtracted from each channel, of values in [0, 1], float32 ``[N, C]``.
        std: What it was then divided by, float32 ``[N, C]``.
    """

    image: Tensor
    density: Tensor
    num_heads: Tensor
    points: list[Tensor]
    id: list[str]
    mean: Tensor
    std: Tensor


class PhotographBatch(NamedTuple):
    """Photographs without targets, as ``predict`` gets them, perhaps resized.

    Attributes:
        image: Normalised images, float32 ``[N, C, H, W]``.
        original_size: Height and width of the files' images before any resizing, as shown, int64 ``[N, 2]``.
        id: One name for each image, unique within the data set (a path relative to its folder).
        exif: For each, the image in which positions are to be told: as ``stored`` in the file or as ``shown``.
        orientation: How the stored images were turned to show them, 1 to 8 as in EXIF (1: not), int64 ``[N]``.
        mean: What was subtracted from each channel, of values in [0, 1], float32 ``[N, C]``.
        std: What it was then divided by, float32 ``[N, C]``.
        category: For each, what is counted in it: ``heads``, ``objects``, or what a user calls them.
    """

    image: Tensor
    original_size: Tensor
    id: list[str]
    exif: list[str]
    orientation: Tensor
    mean: Tensor
    std: Tensor
    category: list[str]


class RestorationBatch(NamedTuple):
    """Degraded images with what they should be.

    Attributes:
        image: Degraded images, float32 ``[N, C, H, W]``, values nominally in [0, 1]; C is 3 (RGB), but for one's own
            images of other channels.
        target: Clean images of the same shape and range.
        id: One name for each image, unique within the split.
    """

    image: Tensor
    target: Tensor
    id: list[str]


class DegradedBatch(NamedTuple):
    """Images to be restored, as ``predict`` gets them.

    Attributes:
        image: float32 ``[N, C, H, W]``, values in [0, 1]; C is 3 (RGB, of which a grey image has three equal channels),
            but for one's own images of other channels.
        bits: Bits of each channel in the file, 8 or 16, int64 ``[N]``.
        grey: Whether the file's image is grey, bool ``[N]``.
        id: One name for each image, unique within the data set (a path relative to its folder).
        profile: ICC profile of each image's pixels, empty bytes where the file has none. Default: none at all.
    """

    image: Tensor
    bits: Tensor
    grey: Tensor
    id: list[str]
    profile: Sequence[bytes] = ()

    def to(self, *args: Any, **kwargs: Any) -> "DegradedBatch":
        """Move to a device; Lightning calls this, which would else look for tensors in each byte of a profile.

        Args:
            *args: Those of :meth:`torch.Tensor.to`.
            **kwargs: As well.

        Returns:
            A batch whose tensors are there.
        """
        image, bits, grey = (tensor.to(*args, **kwargs) for tensor in self[:3])
        return self._replace(image=image, bits=bits, grey=grey)


class PatternBatch(NamedTuple):
    """Noisy maps with patterns, each as it is and translated (paper section 3.3).

    Attributes:
        image: Noisy maps, float32 ``[N, 1, H, W]``.
        target: 1 at the centre of each pattern, 0 elsewhere, float32 ``[N, 1, H, W]``.
        shifted_image: The same patterns moved to the lower right by ``shift`` pixels, ``[N, 1, H, W]``.
        shifted_target: Their centres, ``[N, 1, H, W]``.
        shift: Pixels moved down and to the right, int64 ``[N]``; one value in a batch.
        id: One name for each map.
    """

    image: Tensor
    target: Tensor
    shifted_image: Tensor
    shifted_target: Tensor
    shift: Tensor
    id: list[str]
