"""What the data modules of crowd counting share, wherever their photographs come from."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np

from datamodules.base import ImageDataModule
from datamodules.crowd.channels import ImageChannels
from datamodules.crowd.density import check_kernel
from datamodules.crowd.samples import CrowdFiles, CrowdSamples, Photographs
from datamodules.crowd.transforms import CrowdAugmentation, CrowdAugmentationName
from datamodules.errors import check_at_least, check_fractions, check_one_of, refuse
from datamodules.files.channels import SUFFIXES
from datamodules.files.listing import IMAGE_SUFFIXES
from datamodules.files.readers import Exif
from datamodules.splits import ValidateOn, split_indices
from datamodules.transforms.pixels import EightBit
from datamodules.types import Indices, Photograph

Split = Literal["train", "test"]

_log = logging.getLogger(__name__)


class CrowdDataModule(ImageDataModule, ABC):
    """Base of the data modules of crowd counting: a subclass reads the published training and test images.

    Training batches are ``CrowdBatch`` with crops ``[N, C, crop_size, crop_size]``; validation and test take whole
    images, one by one, and prediction, whose batches are ``PhotographBatch``, too. ``num_heads`` is the number of heads
    in the crop or image, which is what ``density`` sums to: a Gaussian of fixed size at each head, drawn after all
    changes to the image. Images of 8 and of 16 bits keep all of them.

    A camera may note in a photograph (EXIF) that it is to be turned. ``exif`` says which image annotations refer to,
    the one as ``stored``, as in MATLAB and in published code, or the one as ``shown`` by today's tools. Training and
    evaluation take that image. Prediction takes photographs as shown, and tells positions in the one of ``exif``, so
    that they can serve as annotations. Annotations that fit the other image only are refused; see
    :func:`~datamodules.crowd.positions.place_points`.

    Augmentation ``standard``: a random part, scaled by 0.8 to 1.2 (p = 0.5), a left-right flip (p = 0.5), grey
    (p = 0.1), gamma 0.5 to 1.5 (p = 0.3). ``none``: a random part as it is. Images smaller than it are padded at the
    bottom and right with ``mean``. Crops without heads occur.

    Crops should show on average what images show. So large images give more of them than small ones, in which heads are
    often closer to each other.

    Args:
        crop_size: Height and width of the training crops, in pixels.
        augmentation: ``standard`` or ``none``. Default: ``standard``.
        crops_per_image: Crops of each image in an epoch. Default: as many as it has room for, its area over the crop's,
            rounded, and at least one.
        val_fraction: Share of the published training images held out for validation. Default: 0.1.
        split_seed: What that split depends on. Default: 0.
        validate_on: ``held_out``; or ``test`` to train on all training images and validate on the test images, which
            makes the test errors of what is selected that way too small. Default: ``held_out``.
        sigma: Standard deviation of the Gaussian that stands for a head, in pixels after any resizing. Default: 4.
        kernel_size: Height and width of its kernel, in pixels, odd. Default: 15.
        coord_offset: What is subtracted from the annotated coordinates, in pixels before any resizing. Default: 0.
        exif: Whether positions are of the images as ``stored`` or as ``shown``. Default: ``stored``.
        mean: What is subtracted from each channel of the images, whose values are from 0 to 1. Default: ImageNet's.
        std: What each channel is then divided by. Default: ImageNet's.
        batch_size: Crops in a training batch, on each device. Default: 16.
        num_workers: Processes that read images, for each loader. Default: 2.
        **kwargs: Those of :class:`~datamodules.base.ImageDataModule`.

    Raises:
        ValueError: If an argument is out of range.

    Attributes:
        channels: Of the images: 3.
        counted: What is counted: ``heads``.
    """

    channels = 3
    counted = "heads"

    def __init__(
        self,
        *,
        crop_size: int,
        augmentation: CrowdAugmentationName = "standard",
        crops_per_image: int | None = None,
        val_fraction: float = 0.1,
        split_seed: int = 0,
        validate_on: ValidateOn = "held_out",
        sigma: float = 4.0,
        kernel_size: int = 15,
        coord_offset: float = 0.0,
        exif: Exif = "stored",
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        batch_size: int = 16,
        num_workers: int = 2,
        **kwargs: Any,
    ) -> None:
        super().__init__(batch_size=batch_size, num_workers=num_workers, **kwargs)
        check_fractions(val_fraction=val_fraction)
        check_at_least(0, split_seed=split_seed)
        if crops_per_image is not None:
            check_at_least(1, crops_per_image=crops_per_image)
        check_kernel(sigma, kernel_size)
        check_one_of(get_args(ValidateOn), validate_on=validate_on)
        if not np.isfinite(coord_offset):
            refuse("coord_offset", coord_offset, "a finite number of pixels, such as 0 or 1")
        check_one_of(get_args(Exif), exif=exif)
        self.validate_on = validate_on
        self.coord_offset = coord_offset
        self.exif = exif
        self._kernel = sigma, kernel_size
        self._channels = ImageChannels(self.channels, mean, std)
        self._crop_area = crop_size**2
        self._crops_per_image = crops_per_image
        self._augmentation = CrowdAugmentation(crop_size, augmentation, self._channels.mean)
        self._fractions = {"val": val_fraction}
        self._split_seed = split_seed

    @abstractmethod
    def read_split(self, split: Split) -> CrowdFiles:
        """Find the published training or test images and read their annotations.

        Args:
            split: ``train`` or ``test``.

        Returns:
            At least one image.

        Raises:
            DataError: If files are missing or damaged.
        """

    def resize_split(self, files: CrowdFiles, split: Split) -> CrowdFiles:
        """Resize published images once, with the heads in them; they stay as they are, but for what a subclass does.

        Args:
            files: What :meth:`read_split` gave.
            split: ``train`` or ``test``.

        Returns:
            The images to train on or to test with.
        """
        return files

    def prepare(self, image: Photograph) -> Photograph:
        """Prepare an image to predict as the data set's own; as it is, but for what a subclass does."""
        return image

    def train_samples(self) -> CrowdSamples:
        """Return random crops of the published training images but for those held out."""
        files = self.train_files
        indices = np.arange(len(files.paths)) if self.validate_on == "test" else self._held_out["train"]
        if self._crops_per_image is None:
            areas = np.prod([files.sizes[index] for index in indices], axis=1)
            crops = np.maximum(1, np.rint(areas / self._crop_area)).astype(int)
        else:
            crops = np.full(len(indices), self._crops_per_image)
        return self._samples_of(files, np.repeat(indices, crops), self._augmentation)

    def val_samples(self) -> CrowdSamples:
        """Return published training images that are held out, or with ``validate_on: test`` the test images; whole."""
        if self.validate_on == "test":
            _log.warning(
                "validate_on='test': validation takes the test images, so what is selected by it is selected on the "
                "test images, and test errors come out too small"
            )
            return self.test_samples()
        return self._samples_of(self.train_files, self._held_out["val"])

    def test_samples(self) -> CrowdSamples:
        """Return published test images, whole."""
        return self._samples_of(self.test_files, np.arange(len(self.test_files.paths)))

    def predict_samples(self) -> Photographs:
        """Return images below ``predict_dir``, whole."""
        folder = self.predict_folder(EightBit(), suffixes=IMAGE_SUFFIXES if self.channels == 3 else SUFFIXES)
        return Photographs(folder, self._channels, self.prepare, self.exif, self.counted)

    def _samples_of(
        self, files: CrowdFiles, indices: Indices, augmentation: CrowdAugmentation | None = None
    ) -> CrowdSamples:
        return CrowdSamples(files, indices, *self._kernel, augmentation, self._channels)

    def stored_samples(self, split: str) -> CrowdSamples:
        """Return the photographs of a split as published, whole."""
        of_test = split == "test" or (split == "val" and self.validate_on == "test")
        files = self._published_test if of_test else self._published_train
        everything = of_test or self.validate_on == "test"
        indices = np.arange(len(files.paths)) if everything else self._held_out[split]
        return self._samples_of(files, indices)

    @property
    def evaluation_batch_size(self) -> int:
        """One: sizes of images differ."""
        return 1

    @cached_property
    def train_files(self) -> CrowdFiles:
        """All published training images with their annotations."""
        return self.resize_split(self._published_train, "train")

    @cached_property
    def test_files(self) -> CrowdFiles:
        """All published test images with their annotations."""
        return self.resize_split(self._published_test, "test")

    @cached_property
    def _published_train(self) -> CrowdFiles:
        return self.read_split("train")

    @cached_property
    def _published_test(self) -> CrowdFiles:
        return self.read_split("test")

    @cached_property
    def _held_out(self) -> dict[str, Indices]:
        return split_indices(len(self._published_train.paths), self._fractions, self._split_seed)
