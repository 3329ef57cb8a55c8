"""Samples and how they become batches: a data set hands out batches of one, a loader joins them."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, Dataset, get_worker_info

from datamodules.batches import ImageBatch, LabelledBatch
from datamodules.errors import DataError
from datamodules.files.listing import IMAGE_SUFFIXES, list_images
from datamodules.files.readers import read_image
from datamodules.types import Pixels, Points

Batch = TypeVar("Batch", bound=NamedTuple)
Batch_co = TypeVar("Batch_co", bound=NamedTuple, covariant=True)


class StoredSample(NamedTuple):
    """A sample as it is stored: before crops, augmentation and normalisation.

    Attributes:
        names: Of each image that is stored, its file, or what else tells it from all others of the data module.
        read: Decodes it: an image ``[H, W, C]``, or a degraded and a clean one of the same size. Where one name stands
            for two images it is that of the clean one, and the other is made of it.
        white: Value of the pixels that stands for 1; None for the largest of their type, 1 for floating point.
        label: Class index, None where there are no classes.
        points: Positions (x, y) of objects in the image's pixels, float32 ``[N, 2]``; None where nothing is counted.
        moved: How many of them were moved to the image's border.
        handed_out: It is not as stored but as training or evaluation gets it: augmented, and in any range.
    """

    names: tuple[str, ...]
    read: Callable[[], tuple[npt.NDArray[Any], ...]]
    white: float | None = None
    label: int | None = None
    points: Points | None = None
    moved: int = 0
    handed_out: bool = False


class SampleSet(Dataset[Batch_co], ABC):
    """A data set of known length whose items are batches of one sample (``N = 1``), of a type in ``batches``."""

    @abstractmethod
    def __len__(self) -> int:
        """Count the samples."""

    @abstractmethod
    def __getitem__(self, index: int) -> Batch_co:
        """Return one sample, as a batch of one."""

    def stored(self, index: int) -> StoredSample:
        """Return one sample as it is stored, for ``python cli.py check``. Default: as it is handed out.

        Nothing is decoded before ``read`` of the result is called, unless by the default.

        Raises:
            DataError: If it cannot be read, or by the default if batches hold no image.
        """
        return describe_batch(self[index])


def describe_batch(batch: Any) -> StoredSample:
    """Take a batch of one for what is stored.

    Args:
        batch: Of a type in ``batches``, or another with ``image``, ``id``, perhaps ``target``, ``label``, ``points``.

    Returns:
        The sample, in the range that the batch has.

    Raises:
        DataError: If it holds no image; says what to add.
    """
    image, ids = getattr(batch, "image", None), getattr(batch, "id", None)
    if not isinstance(image, Tensor) or image.dim() != 4 or not ids:
        raise DataError(
            f"batches must have images [N, C, H, W] and ids, got {type(batch).__name__}. Give the samples a method "
            "stored(index) that returns a datamodules.samples.StoredSample."
        )
    target, label, points = (getattr(batch, name, None) for name in ("target", "label", "points"))
    images = [image, target] if isinstance(target, Tensor) and target.shape == image.shape else [image]
    return StoredSample(
        names=(str(ids[0]),) * len(images),
        read=lambda: tuple(x[0].permute(1, 2, 0).float().numpy() for x in images),
        label=None if label is None else int(label[0]),
        points=None if points is None else points[0].numpy(),
        handed_out=True,
    )


def collate(batches: Sequence[Batch]) -> Batch:
    """Join batches into one: tensors along their first dimension, lists end to end.

    In a loader's worker all tensors are put into shared memory.

    Args:
        batches: At least one batch, all of one type; shapes agree but for the first dimension.

    Returns:
        A batch of the same type.
    """
    # Annotated loosely: a type checker knows the fields of one named tuple, not those of any.
    fields: list[Any] = [
        _share(torch.cat(values)) if isinstance(values[0], Tensor) else [_share(x) for value in values for x in value]
        for values in zip(*cast("Sequence[tuple[Any, ...]]", batches), strict=True)
    ]
    return type(batches[0])._make(fields)


def _share(item: Any) -> Any:
    """Put a tensor where the main process finds it.

    The thread that sends batches would do so too, but where there is no shared memory left it loses the batch, for
    which the main process then waits forever.
    """
    if isinstance(item, Tensor) and get_worker_info() is not None:
        item.share_memory_()  # type: ignore[no-untyped-call]
    return item


def batch_of_one(image: Tensor) -> Tensor:
    """Make a batch of one image, of the layout in memory that the image has.

    Args:
        image: ``[C, H, W]``.

    Returns:
        ``[1, C, H, W]``, of the same memory. Unlike those of ``image[None]`` its strides tell whether channels lie
        last, so :func:`collate` keeps them there.
    """
    return image.permute(1, 2, 0)[None].permute(0, 3, 1, 2)


class JoinedSamples(ConcatDataset[Batch_co], SampleSet[Batch_co]):
    """Samples of several sets, one after the other."""


class InputFiles(SampleSet[Batch_co], ABC):
    """Samples to predict, each read from a file of its own: one that cannot be read says nothing of the others.

    Attributes:
        ids: The samples' ids, by index.
    """

    ids: Sequence[str]

    def __len__(self) -> int:
        """Count the samples."""
        return len(self.ids)


class LabelledArrays(SampleSet[LabelledBatch]):
    """Labelled images held in memory, or a part of them.

    Args:
        images: All images, uint8 ``[M, H, W, C]``.
        labels: Their class indices, int64 ``[M]``.
        indices: The images that belong to this part, in its order.
        transform: From one image, uint8 ``[H, W, C]``, to a float32 tensor ``[C, H', W']``.
        name: Format of an id, filled with the image's index in ``images``, such as ``"digit_{:04d}"``.
        white: Value of the pixels that stands for 1. Default: 255.
    """

    def __init__(
        self,
        images: Pixels,
        labels: npt.NDArray[np.int64],
        indices: npt.NDArray[np.int64],
        transform: Callable[[Pixels], Tensor],
        name: str,
        white: float = 255,
    ) -> None:
        self._images = images
        self._labels = torch.from_numpy(labels)
        self._indices = indices.tolist()
        self._transform = transform
        self._name = name
        self._white = white

    def __len__(self) -> int:
        """Count the images in this part."""
        return len(self._indices)

    def __getitem__(self, index: int) -> LabelledBatch:
        """Return the image at a position of this part, as a batch of one."""
        source = self._indices[index]
        image = self._transform(self._images[source])
        return LabelledBatch(batch_of_one(image), self._labels[source : source + 1], [self._name.format(source)])

    def stored(self, index: int) -> StoredSample:
        """Return the image at a position of this part as it is stored."""
        source = self._indices[index]
        return StoredSample(
            names=(self._name.format(source),),
            read=lambda: (self._images[source],),
            white=self._white,
            label=int(self._labels[source]),
        )


class ImageFolder(InputFiles[ImageBatch]):
    """All images below a folder, of any size; ids are their paths relative to it, with ``/`` between parts.

    Which files are taken: :func:`datamodules.files.listing.find_images`.

    Args:
        folder: The folder; searched with its sub-folders for png, jpg, jpeg, bmp, tif, tiff and webp files.
        transform: From one image, uint8 ``[H, W, C]``, to a float32 tensor ``[C, H', W']``.
        grey: Read one channel instead of RGB.
        argument: Name of the argument under which the user gave the folder, for messages.
        suffixes: Of the files that are taken. Default: those above.

    Attributes:
        paths: The images' paths.
        ids: Their ids.

    Raises:
        DataError: If the folder is missing or holds no image; on access to an image that cannot be read.
    """

    def __init__(
        self,
        folder: str | Path,
        transform: Callable[[Pixels], Tensor],
        grey: bool = False,
        argument: str = "predict_dir",
        suffixes: tuple[str, ...] = IMAGE_SUFFIXES,
    ) -> None:
        self.ids = list_images(folder, argument, suffixes)
        self.paths = [Path(folder).expanduser() / name for name in self.ids]
        self._transform = transform
        self._grey = grey

    def __getitem__(self, index: int) -> ImageBatch:
        """Return one image, as a batch of one."""
        image = self._transform(read_image(self.paths[index], self._grey))
        return ImageBatch(batch_of_one(image), [self.ids[index]])
