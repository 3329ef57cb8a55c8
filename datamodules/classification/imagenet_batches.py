"""What ImageNet's data modules share, wherever the images come from: how they are cropped and become batches."""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Literal, TypeVar

from datamodules.base import ImageDataModule
from datamodules.batches import IMAGENET_MEAN, IMAGENET_STD, ImageBatch, LabelledBatch
from datamodules.errors import DataError, check_at_least, check_one_of, refuse
from datamodules.samples import ImageFolder
from datamodules.transforms.augmentation import RandomFlip, TrivialAugment
from datamodules.transforms.crops import RandomResizedCrop, ResizedCentreCrop
from datamodules.transforms.pixels import EightBit, Normalise
from datamodules.types import Pixels

AugmentationName = Literal["standard", "trivial_augment", "none"]
Images = TypeVar("Images", ImageBatch, LabelledBatch)

_MOST_WORKERS = 8


class ImageNetBatches(ImageDataModule, ABC):
    """Base of ImageNet's data modules: crops, augmentation, and a batch size that does not depend on the devices.

    Loaders hand out 8-bit pixels, uint8 ``[N, 3, H, W]``, channels last in memory: a quarter of the bytes between
    processes and to the device. ``on_after_batch_transfer``, which the trainer calls, normalises them there.

    Args:
        total_batch_size: Images in a batch on all devices together, a multiple of their number; gradients accumulated
            over several batches multiply it. Default: 256.
        num_workers: Processes that read images, for each loader and each device. Default: as many as there are
            processors, at most 8.
        prefetch_factor: Batches that each of them keeps ready. Default: 2.
        augmentation: ``standard``, ``trivial_augment`` or ``none``. Default: ``standard``.
        resize_size: Length of the shorter side before the centre is cropped, in pixels. Default: 256.
        crop_size: Height and width of the images in a batch, in pixels. Default: 224.
        **kwargs: Those of :class:`~datamodules.base.ImageDataModule`, but for ``batch_size``.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        *,
        total_batch_size: int = 256,
        num_workers: int | None = None,
        prefetch_factor: int = 2,
        augmentation: AugmentationName = "standard",
        resize_size: int = 256,
        crop_size: int = 224,
        **kwargs: Any,
    ) -> None:
        check_at_least(1, total_batch_size=total_batch_size, prefetch_factor=prefetch_factor)
        workers = _count_workers() if num_workers is None else num_workers
        super().__init__(batch_size=total_batch_size, num_workers=workers, **kwargs)
        self.prefetch_factor = prefetch_factor
        self.evaluated = EightBit(ResizedCentreCrop(resize_size, crop_size))
        steps: dict[str, list[Callable[[Pixels], Pixels]]] = {
            "standard": [RandomResizedCrop(crop_size), RandomFlip()],
            "trivial_augment": [RandomResizedCrop(crop_size), RandomFlip(), TrivialAugment()],
        }
        check_one_of((*steps, "none"), augmentation=augmentation)
        self.trained = EightBit(*steps[augmentation]) if augmentation in steps else self.evaluated
        self._normalise = Normalise(IMAGENET_MEAN, IMAGENET_STD)

    @property
    @abstractmethod
    def class_names(self) -> list[str]:
        """Names of the classes by index."""

    def setup(self, stage: str) -> None:
        """Make the splits that a stage needs. Called by the trainer.

        Args:
            stage: ``fit``, ``validate``, ``test`` or ``predict``.

        Raises:
            DataError: If data is missing or damaged, or ``total_batch_size`` cannot be shared out evenly to the
                devices.
        """
        _ = self.device_batch_size, self.class_names  # what is wrong with them is told before files are listed
        super().setup(stage)

    def on_after_batch_transfer(self, batch: Images, dataloader_idx: int) -> Images:
        """Normalise a batch on its device. Called by the trainer.

        Args:
            batch: Images, uint8 ``[N, 3, H, W]``.
            dataloader_idx: Of no consequence.

        Returns:
            The batch with images in float32, or what the trainer's precision computes in.
        """
        image = self._normalise.batch(batch.image)
        if self.trainer is not None:
            # The trainer has converted the batch before, when there was no floating point in it.
            image = self.trainer.precision_plugin.convert_input(image)
        return batch._replace(image=image)

    def predict_samples(self) -> ImageFolder:
        """Return images below ``predict_dir``, cropped as in evaluation."""
        return self.predict_folder(self.evaluated)

    @property
    def device_batch_size(self) -> int:
        """Images in a batch on each device.

        Raises:
            DataError: If ``total_batch_size`` cannot be shared out evenly.
        """
        if self.batch_size % self._world_size:
            wanted = f"a multiple of the {self._world_size} devices"
            refuse("total_batch_size", self.batch_size, wanted, DataError)
        return self.batch_size // self._world_size

    @property
    def _loading(self) -> dict[str, Any]:
        ahead = {"prefetch_factor": self.prefetch_factor} if self.num_workers else {}
        return super()._loading | ahead


def _count_workers() -> int:
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(_MOST_WORKERS, available)
