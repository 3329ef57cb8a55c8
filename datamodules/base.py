"""The shared piece of all data modules: their arguments, and loaders built once for all."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from lightning import LightningDataModule
from lightning.pytorch.overrides.distributed import UnrepeatedDistributedSampler
from torch import Tensor
from torch.utils.data import DataLoader

from datamodules.errors import DataError, check_at_least, collect_findings, refuse
from datamodules.files.limits import set_max_pixels
from datamodules.files.listing import IMAGE_SUFFIXES
from datamodules.prediction import make_prediction_loader
from datamodules.samples import ImageFolder, InputFiles, SampleSet, collate
from datamodules.seeding import make_shuffled_loader
from datamodules.survey import Survey, take_survey
from datamodules.types import Pixels
from datamodules.workers import leave_signals_to_the_main_process

_SPLITS_OF_STAGE = {"fit": ("train", "val"), "validate": ("val",), "test": ("test",), "predict": ("predict",)}


class ImageDataModule(LightningDataModule, ABC):
    """Base of the data modules: a subclass says what the samples of each split are, this class makes batches of them.

    Splits are made when a stage first needs them, so missing data is reported before anything runs, and data of no
    use to a stage is not read.

    - Training samples are shuffled. If the last batch of an epoch would hold a single sample it is left out, since
      BatchNorm takes the variance over the batch: of one image it is a poor estimate, and where the feature map has
      shrunk to one pixel there is none and torch raises an error. Which sample that is changes with each epoch.
    - Evaluation on several devices shares the samples out without repeating any, so that metrics are exact; each device
      must get at least one.
    - Training on several devices gives each equally many samples: where their number is no multiple of the devices',
      some come twice in an epoch.
    - An epoch's order and augmentations follow from the seed and its number, for any number of workers. A run that is
      resumed in the middle of an epoch goes on with the batches that the uninterrupted one would have had.

    Args:
        batch_size: Samples in a batch, on each device. Default: 32.
        num_workers: Processes that read samples, for each loader, kept alive from epoch to epoch. Default: 0, the
            main process reads them.
        predict_dir: Folder of the images to predict, searched with its sub-folders, through links too, but for hidden
            ones and those of systems, see :func:`~datamodules.files.listing.find_images`. Default: none.
        max_pixels: Most pixels, height × width, of an image that is read, in all of the program. Default: 2³⁰, of which
            the colours take 3 GiB.

    Raises:
        ValueError: If ``batch_size`` is below 1 or ``num_workers`` below 0.
    """

    def __init__(
        self,
        batch_size: int = 32,
        num_workers: int = 0,
        predict_dir: str | None = None,
        *,
        max_pixels: int | None = None,
    ) -> None:
        super().__init__()
        if max_pixels is not None:
            check_at_least(1, max_pixels=max_pixels)
            set_max_pixels(max_pixels)
        check_at_least(1, batch_size=batch_size)
        check_at_least(0, num_workers=num_workers)
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.predict_dir = predict_dir
        self._made: dict[str, SampleSet[Any]] = {}

    @abstractmethod
    def train_samples(self) -> SampleSet[Any]:
        """Return samples to train on; the only ones that are augmented."""

    @abstractmethod
    def val_samples(self) -> SampleSet[Any]:
        """Return samples that decide between models; none of them is trained on."""

    @abstractmethod
    def test_samples(self) -> SampleSet[Any]:
        """Return samples that decide nothing."""

    @abstractmethod
    def predict_samples(self) -> SampleSet[Any]:
        """Return samples to predict; ``predict_folder`` serves images in a folder."""

    def predict_folder(
        self,
        transform: Callable[[Pixels], Tensor],
        grey: bool = False,
        suffixes: tuple[str, ...] = IMAGE_SUFFIXES,
    ) -> ImageFolder:
        """Return the images below ``predict_dir``, for ``predict_samples``.

        Args:
            transform: From one image, uint8 ``[H, W, C]``, to a float32 tensor ``[C, H', W']``.
            grey: Read one channel instead of RGB.
            suffixes: Of the files that are taken. Default: ``IMAGE_SUFFIXES``.

        Returns:
            The data set; hands out ``ImageBatch``.

        Raises:
            DataError: If ``predict_dir`` is not given, is missing or holds no image.
        """
        if self.predict_dir is None:
            raise DataError(
                "predict_dir is not given, so there is nothing to predict. Name a folder of images: "
                "--data.init_args.predict_dir=FOLDER."
            )
        return ImageFolder(self.predict_dir, transform, grey, suffixes=suffixes)

    def setup(self, stage: str) -> None:
        """Make the splits that a stage needs. Called by the trainer.

        Args:
            stage: ``fit``, ``validate``, ``test`` or ``predict``.

        Raises:
            DataError: If their data is missing or damaged.
        """
        for split in _SPLITS_OF_STAGE[stage]:
            self._samples(split)

    def stored_samples(self, split: str) -> SampleSet[Any]:
        """Return what is stored of a split, for ``python cli.py check``, which calls ``stored`` of each sample.

        Args:
            split: ``train``, ``val`` or ``test``.

        Returns:
            The samples; those of the split, unless a subclass makes others of what it stores.

        Raises:
            DataError: If data is missing or damaged; what :func:`~datamodules.errors.noted` allows is noted instead.
        """
        return self._samples(split)

    def prepare_stored(self) -> None:
        """Make what is to be stored before it can be checked; ``prepare_data``, unless a subclass needs less."""
        self.prepare_data()

    def survey(self) -> Survey:
        """Read all that is stored of the three splits once, and tell what it is, what is wrong with it, how it looks.

        By ``num_workers`` processes; shows progress.

        Returns:
            The findings, in text and as a picture.

        Raises:
            DataError: If data is missing or damaged so that no split can be made.
        """
        with collect_findings() as found:
            self.prepare_stored()
            names = getattr(self, "class_names", ())
            return take_survey(self.stored_samples, names, self.num_workers, found)

    def train_dataloader(self) -> DataLoader[Any]:
        """Return shuffled, augmented batches of the training split."""
        samples = self._samples("train")
        on_each_device = math.ceil(len(samples) / self._world_size)
        in_batch = self.device_batch_size
        single_left = in_batch > 1 and on_each_device > 1 and on_each_device % in_batch == 1
        rank = 0 if self.trainer is None else self.trainer.global_rank
        return make_shuffled_loader(
            samples, devices=self._world_size, rank=rank, drop_last=single_left, **self._loading
        )

    def val_dataloader(self) -> DataLoader[Any]:
        """Return batches of the validation split, in order."""
        return self._in_order("val")

    def test_dataloader(self) -> DataLoader[Any]:
        """Return batches of the test split, in order."""
        return self._in_order("test")

    def predict_dataloader(self) -> DataLoader[Any]:
        """Return batches to predict, in order.

        A file that cannot be read raises an error when its batch is asked for, unless somebody takes note of such
        files, as ``lit_modules.callbacks.FailedInputs`` does: then its batch comes without it.
        """
        return self._in_order("predict")

    @property
    def device_batch_size(self) -> int:
        """Samples in a training batch on each device."""
        return self.batch_size

    @property
    def evaluation_batch_size(self) -> int:
        """Samples in a batch on each device in validation, test and prediction; 1 where their sizes differ."""
        return self.device_batch_size

    def _in_order(self, split: str) -> DataLoader[Any]:
        samples = self._samples(split)
        sampler = None
        if self.trainer is not None and self._world_size > 1:
            if len(samples) < self._world_size:
                wanted = f"at most {len(samples)}, the samples of the {split} split"
                refuse("devices", self._world_size, wanted, DataError)
            # Lightning's own choice repeats samples until all devices have equally many.
            sampler = UnrepeatedDistributedSampler(
                samples, num_replicas=self._world_size, rank=self.trainer.global_rank, shuffle=False
            )
        loading = self._loading | {"batch_size": self.evaluation_batch_size}
        if split == "predict" and isinstance(samples, InputFiles):
            return make_prediction_loader(samples, sampler=sampler, **loading)
        return DataLoader(samples, sampler=sampler, **loading)

    def _samples(self, split: str) -> SampleSet[Any]:
        makers = {
            "train": self.train_samples,
            "val": self.val_samples,
            "test": self.test_samples,
            "predict": self.predict_samples,
        }
        if split not in self._made:
            self._made[split] = makers[split]()
        return self._made[split]

    @property
    def _world_size(self) -> int:
        return 1 if self.trainer is None else self.trainer.world_size

    @property
    def _loading(self) -> dict[str, Any]:
        return {
            "batch_size": self.device_batch_size,
            "num_workers": self.num_workers,
            "persistent_workers": self.num_workers > 0,
            "pin_memory": torch.cuda.is_available(),
            "collate_fn": collate,
            "worker_init_fn": leave_signals_to_the_main_process,
            "generator": torch.Generator(),  # not the default one: starting workers must not change what it draws
        }
