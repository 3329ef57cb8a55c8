"""CIFAR-10 and CIFAR-100: small photographs of 10 or 100 classes."""

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from torchvision.datasets import CIFAR10, CIFAR100  # type: ignore[import-untyped]
from torchvision.datasets.utils import download_and_extract_archive  # type: ignore[import-untyped]

from datamodules.base import ImageDataModule
from datamodules.classification.cifar_files import read_images, read_names
from datamodules.errors import DataError, check_at_least, check_fractions
from datamodules.files.published import find_published
from datamodules.samples import ImageFolder, LabelledArrays
from datamodules.splits import split_indices
from datamodules.transforms.augmentation import pad_crop_flip
from datamodules.transforms.pixels import Normalise, Resize
from datamodules.types import Indices, Pixels

_SIDE = 32


class CIFAR10DataModule(ImageDataModule):
    """CIFAR-10: 60,000 photographs of 32 × 32 pixels in 10 classes.

    On disk, as published for Python: ``<data_dir>/cifar-10-batches-py/`` with ``data_batch_1`` to ``data_batch_5``,
    ``test_batch`` and ``batches.meta``; ``data_dir`` may be that folder, too. The files are checked by their structure,
    not by checksums.

    Splits: of the 50,000 published training images ``val_fraction`` of each class is held out for validation, at
    random; the rest is trained on. The 10,000 published test images are for test alone. Batches are ``LabelledBatch``
    with images ``[N, 3, 32, 32]``; ids are ``train_00000`` to ``train_49999`` and ``test_00000`` to ``test_09999``,
    in the published order.

    Augmentation: 4 black pixels on each side, a random crop of 32 × 32, a left-right flip (p = 0.5).

    Prediction resizes the images below ``predict_dir`` to 32 × 32 (averaging areas, whatever their aspect ratio).
    Batches are ``ImageBatch``.

    Source: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009,
    https://www.cs.toronto.edu/~kriz/cifar.html.

    Args:
        data_dir: Folder that holds the published folder, or into which it is downloaded. Default: ``"data"``.
        download: Download the published archive (170 MB) if a file is missing. Default: false.
        val_fraction: Share of the published training images held out for validation. Default: 0.1.
        split_seed: What the split depends on. Default: 0.
        augment: Augment the training images. Default: true.
        batch_size: Images in a batch, on each device. Default: 128.
        num_workers: Processes that read images, for each loader. Default: 2.
        **kwargs: Those of :class:`~datamodules.base.ImageDataModule`.

    Raises:
        ValueError: If an argument is out of range.
        DataError: From ``setup``, if files are missing or damaged; from ``prepare_data``, if the download fails.
    """

    _source = CIFAR10  # names of folder and files, and where they are published
    _label_key = "labels"
    _num_classes = 10
    _mean = (0.4914, 0.4822, 0.4465)
    _std = (0.2470, 0.2435, 0.2616)

    def __init__(
        self,
        data_dir: str = "data",
        *,
        download: bool = False,
        val_fraction: float = 0.1,
        split_seed: int = 0,
        augment: bool = True,
        batch_size: int = 128,
        num_workers: int = 2,
        **kwargs: Any,
    ) -> None:
        super().__init__(batch_size=batch_size, num_workers=num_workers, **kwargs)
        check_at_least(0, split_seed=split_seed)
        check_fractions(val_fraction=val_fraction)
        self.data_dir = data_dir
        self.download = download
        self.augment = augment
        self._fractions = {"val": val_fraction}
        self._split_seed = split_seed

    @cached_property
    def class_names(self) -> list[str]:
        """Names of the classes by index, as published with the images.

        Raises:
            DataError: If the data is missing or damaged.
        """
        return read_names(self._present(self._source.meta["filename"]), self._source.meta["key"], self._num_classes)

    def prepare_data(self) -> None:
        """Download what is missing, if ``download`` is set. The trainer calls it in one process of each machine.

        Raises:
            DataError: If the download fails.
        """
        if not (self.download and self._missing):
            return
        source, root = self._source, self._folder.parent
        try:
            # Not by making a torchvision data set: that would overlook a missing file of class names.
            download_and_extract_archive(source.url, root, filename=source.filename, md5=source.tgz_md5)
        except (OSError, RuntimeError) as error:
            raise DataError(
                f"data_dir='{self.data_dir}': downloading {source.url} failed ({error}). Try again, or extract that "
                f"archive in '{root}' yourself."
            ) from error

    def train_samples(self) -> LabelledArrays:
        """Return training images but for those held out, augmented if ``augment`` is set."""
        return self._part("train", augmented=self.augment)

    def val_samples(self) -> LabelledArrays:
        """Return training images that are held out for validation."""
        return self._part("val")

    def test_samples(self) -> LabelledArrays:
        """Return test images."""
        images, labels = self._read(self._source.test_list)
        return LabelledArrays(images, labels, np.arange(len(labels)), Normalise(self._mean, self._std), "test_{:05d}")

    def predict_samples(self) -> ImageFolder:
        """Return images below ``predict_dir``, resized to 32 × 32 pixels."""
        return self.predict_folder(Normalise(self._mean, self._std, after=Resize(_SIDE, _SIDE)))

    def _part(self, split: str, augmented: bool = False) -> LabelledArrays:
        images, labels = self._published_train
        transform = Normalise(self._mean, self._std, after=pad_crop_flip(_SIDE, padding=4) if augmented else None)
        return LabelledArrays(images, labels, self._split[split], transform, "train_{:05d}")

    @cached_property
    def _published_train(self) -> tuple[Pixels, Indices]:
        return self._read(self._source.train_list)

    @cached_property
    def _split(self) -> dict[str, Indices]:
        _, labels = self._published_train
        return split_indices(len(labels), self._fractions, self._split_seed, labels)

    def _read(self, files: list[list[str]]) -> tuple[Pixels, Indices]:
        parts = [read_images(self._present(name), self._label_key, len(self.class_names)) for name, _ in files]
        images, labels = zip(*parts, strict=True)
        return np.concatenate(images), np.concatenate(labels)

    def _present(self, name: str) -> Path:
        """Return the path of a published file, once all of them are there."""
        if missing := self._missing:
            raise DataError(
                f"data_dir='{self.data_dir}' lacks files of {self._source.__name__}: no {', '.join(missing)} in "
                f"'{self._folder}'. Download them with --data.init_args.download=true, or name the folder that holds "
                f"{self._source.base_folder}/."
            )
        return self._folder / name

    @property
    def _missing(self) -> list[str]:
        folder = self._folder
        return [name for name in self._file_names if not (folder / name).is_file()]

    @property
    def _file_names(self) -> list[str]:
        names = [name for name, _ in self._source.train_list + self._source.test_list]
        return [*names, self._source.meta["filename"]]

    @property
    def _folder(self) -> Path:
        """The published folder, which has all files, or some; or where it is to be."""
        usual, remedy = str(self._source.base_folder), "Name one of them: --data.init_args.data_dir=FOLDER."
        for enough in (all, any):
            found = find_published(self.data_dir, partial(_holds, self._file_names, enough), (usual,), remedy)
            if found is not None and (enough is all or found.name == usual):
                return found
        return Path(self.data_dir).expanduser() / usual


def _holds(names: Sequence[str], enough: Callable[[Iterable[bool]], bool], folder: Path) -> bool:
    return enough((folder / name).is_file() for name in names)


class CIFAR100DataModule(CIFAR10DataModule):
    """CIFAR-100: 60,000 photographs of 32 × 32 pixels in 100 classes, by their "fine" labels.

    On disk, as published for Python: ``<data_dir>/cifar-100-python/`` with ``train``, ``test`` and ``meta``. All
    else is as for ``CIFAR10DataModule``: arguments, splits, augmentation, batches, ids, source.
    """

    _source = CIFAR100
    _label_key = "fine_labels"
    _num_classes = 100
    _mean = (0.5071, 0.4865, 0.4409)
    _std = (0.2673, 0.2564, 0.2762)
