"""ImageNet (ILSVRC2012): 1.28 million photographs of 1,000 classes; or other photographs in a folder for each class."""

from collections import Counter
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from datamodules.classification.class_folders import ClassFiles, list_class_folders, list_classes, no_class_folders
from datamodules.classification.imagenet_batches import ImageNetBatches
from datamodules.classification.imagenet_files import (
    PLACES,
    Devkit,
    find_numbered,
    is_imagenet,
    list_numbered_files,
    no_devkit,
    read_devkit,
)
from datamodules.classification.labelled_files import LabelledFiles
from datamodules.errors import check_at_least, check_fractions
from datamodules.files.listing import require_folder
from datamodules.files.published import find_published
from datamodules.splits import split_indices
from datamodules.types import Indices


class ImageNetDataModule(ImageNetBatches):
    """ImageNet's 1,281,167 training and 50,000 validation photographs in 1,000 classes, or one's own of the same form.

    On disk, with images of any common kind whatever their suffix's case (``.JPEG``, ``.png`` …):

    - ``<data_dir>/train/<class>/<image>``; ImageNet's classes are WordNet IDs such as ``n01440764``,
    - ``<data_dir>/val/<class>/<image>``, or as published ``<data_dir>/val/ILSVRC2012_val_00000001.JPEG`` and so on;
      then ``<data_dir>`` also holds the development kit, ``ILSVRC2012_devkit_t12.tar.gz`` or extracted.

    ImageNet itself may also lie in a folder there, such as ``ILSVRC/Data/CLS-LOC``.

    Classes are the folders of ``train``, sorted by name; without ``train``, which only training needs, those of
    ``val``. Folders may have any name, and ``val`` may lack some of them.

    Splits: no labels of ImageNet's test images are public, so errors are reported on the validation images, as is
    usual: they serve as validation *and* as test. Choosing a checkpoint by them then makes the test a little
    optimistic. With ``val_fraction`` that share of each class of ``train`` is held out for validation instead, at
    random, and the published validation images are for test alone. Ids are paths relative to that folder. Tasks get
    ``LabelledBatch`` with images ``[N, 3, crop_size, crop_size]``; loaders themselves hand out 8-bit pixels, which are
    normalised on the device.

    Augmentation ``standard``: a random part of 8 to 100 % of the image and of aspect ratio 3:4 to 4:3, resized to
    ``crop_size``, and a left-right flip (p = 0.5). ``trivial_augment`` adds TrivialAugment in its wide ranges; ``none``
    treats training images like the others. Evaluation resizes the shorter side to ``resize_size`` and crops the centre.
    All resizing is bilinear with antialiasing. The orientation a camera noted (EXIF) is applied, which torchvision's
    reference does not do.

    Prediction treats the images below ``predict_dir`` as evaluation does; batches are ``ImageBatch``. It needs
    ``data_dir`` for the names of the classes alone: their folders may be empty, and ImageNet's development kit will do.

    Source: O. Russakovsky et al., ImageNet Large Scale Visual Recognition Challenge, IJCV 2015,
    https://image-net.org/challenges/LSVRC/2012/.

    Args:
        data_dir: Folder that holds ``train`` and ``val``. Default: ``"data/imagenet"``.
        val_fraction: Share of the training images held out for validation; 0 takes the published validation images.
            Default: 0.
        split_seed: What that split depends on. Default: 0.
        max_corrupt: How many unreadable images training may skip, counted on each device. Each is named in a warning
            and replaced by the next of the list. Evaluation skips none. Default: 0.
        **kwargs: Those of :class:`~datamodules.classification.imagenet_batches.ImageNetBatches`.

    Raises:
        ValueError: If an argument is out of range; from ``setup``, if the devices cannot share ``total_batch_size``.
        DataError: From ``setup``, if folders are missing, empty or do not fit together; from loaders, if an image
            cannot be read.
    """

    def __init__(
        self,
        data_dir: str = "data/imagenet",
        *,
        val_fraction: float = 0.0,
        split_seed: int = 0,
        max_corrupt: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_at_least(0, split_seed=split_seed, max_corrupt=max_corrupt)
        if val_fraction:
            check_fractions(val_fraction=val_fraction)
        self.data_dir = data_dir
        self.max_corrupt = max_corrupt
        self._fractions = {"val": val_fraction} if val_fraction else {}
        self._split_seed = split_seed

    @cached_property
    def class_names(self) -> list[str]:
        """Names of the classes by index: ImageNet's words where the development kit is there, else the folders' names.

        Where classes share their words (two are a "crane") these are followed by the folder's name.

        Raises:
            DataError: If the data is missing, or the development kit is damaged.
        """
        words = self._devkit.words if self._devkit is not None else {}
        names = [words.get(name, name) for name in self._classes]
        occurrences = Counter(names)
        return [
            name if occurrences[name] == 1 else f"{name} ({folder})"
            for name, folder in zip(names, self._classes, strict=True)
        ]

    def train_samples(self) -> LabelledFiles:
        """Return training images but for those held out, augmented."""
        files, indices = self.train_files, self._split["train"]
        return LabelledFiles(self.root, *files, indices, self.trained, self.max_corrupt)

    def val_samples(self) -> LabelledFiles:
        """Return training images that are held out for validation, or else the published validation images."""
        if not self._fractions:
            return self.test_samples()
        return LabelledFiles(self.root, *self.train_files, self._split["val"], self.evaluated)

    def test_samples(self) -> LabelledFiles:
        """Return the published validation images."""
        files = self.val_files
        return LabelledFiles(self.root, *files, np.arange(len(files.labels)), self.evaluated)

    @cached_property
    def train_files(self) -> ClassFiles:
        """All images of ``train``.

        Raises:
            DataError: If folders are missing or empty.
        """
        return list_classes(self.root, "train", self._classes)

    @cached_property
    def val_files(self) -> ClassFiles:
        """All images of ``val``.

        Raises:
            DataError: If folders are missing, empty or do not fit to those of ``train``, or the development kit is
                missing or damaged.
        """
        folder = self.root / "val"
        if list_class_folders(folder) or not folder.is_dir():
            return list_classes(self.root, "val", self._classes)
        return list_numbered_files(self.root, self._classes, self._devkit)

    @cached_property
    def _split(self) -> dict[str, Indices]:
        labels = self.train_files.labels
        if not self._fractions:
            return {"train": np.arange(len(labels))}
        return split_indices(len(labels), self._fractions, self._split_seed, labels)

    @cached_property
    def _classes(self) -> list[str]:
        """Folder names of the classes by index."""
        train, val = self.root / "train", self.root / "val"
        if train.is_dir():
            names = list_class_folders(train)
        else:
            names = list_class_folders(val) or sorted(self._devkit.words if self._devkit is not None else [])
            if not names and find_numbered(val):
                raise no_devkit(self.root)
        if not names:
            raise no_class_folders(self.root, "train")
        return names

    @cached_property
    def _devkit(self) -> Devkit | None:
        top = Path(self.data_dir).expanduser()
        places = [self.root, *(place for place in self.root.parents if top == place or top in place.parents)]
        return next((devkit for place in places if (devkit := read_devkit(place)) is not None), None)

    @cached_property
    def root(self) -> Path:
        """Folder that holds ``train`` and ``val``: ``data_dir`` or one in it.

        Raises:
            DataError: If ``data_dir`` is missing or a file, or holds several such folders.
        """
        remedy = "Name the folder that holds train/ and val/: --data.init_args.data_dir=FOLDER."
        root = require_folder(self.data_dir, "data_dir", remedy)
        if any((root / split).is_dir() for split in ("train", "val")):
            return root
        return find_published(self.data_dir, is_imagenet, PLACES, remedy) or root
