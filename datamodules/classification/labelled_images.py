"""One's own photographs in classes: a folder for each class, or a table of images and labels."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from datamodules.classification.class_folders import ClassFiles, list_class_folders, list_classes
from datamodules.classification.imagenet_batches import ImageNetBatches
from datamodules.classification.labelled_files import LabelledFiles, Paths
from datamodules.errors import DataError, abbreviate, check_at_least, check_fractions
from datamodules.files.listing import find_images, require_folder
from datamodules.files.tables import IMAGE_HEADERS, LABEL_HEADERS, SPLIT_HEADERS, read_split, read_table
from datamodules.splits import split_indices
from datamodules.types import Indices

_COLUMNS = {"image": IMAGE_HEADERS, "label": LABEL_HEADERS, "split": ("", *SPLIT_HEADERS)}


class LabelledImagesDataModule(ImageNetBatches):
    """One's own photographs in classes, from one folder.

    Without ``annotations`` each folder directly in ``images_dir`` is a class, its images those in it and its
    sub-folders. With them ``images_dir`` holds images anywhere below it, and a table (CSV, with a header) has a row for
    each: ``image``, its path relative to ``images_dir``, with or without suffix, and ``label``, the class's name; an
    optional column ``split`` says ``train``, ``val`` or ``test``. Images that the table does not name are left out, and
    their number is told. Classes are sorted by name.

    Splits: without a column ``split``, ``val_fraction`` and ``test_fraction`` of each class are set aside at random,
    the rest is trained on. Ids are paths relative to ``images_dir``. Images, augmentation, batches and prediction are
    as in :class:`~datamodules.classification.imagenet.ImageNetDataModule`; ``batch_size`` counts images on each device.

    Args:
        images_dir: Folder of the images. Default: ``"data/images"``.
        annotations: The table. Default: none, folders are classes.
        val_fraction: Share of each class for validation, where the table does not say. Default: 0.15.
        test_fraction: Share of each class for test, likewise. Default: 0.15.
        split_seed: What that split depends on. Default: 0.
        batch_size: Images in a batch, on each device. Default: 16.
        max_corrupt: How many unreadable images training may skip, see ``ImageNetDataModule``. Default: 0.
        **kwargs: Those of :class:`~datamodules.classification.imagenet_batches.ImageNetBatches`, but for
            ``total_batch_size``.

    Raises:
        ValueError: If an argument is out of range.
        DataError: From ``setup``, if folders, images or rows are missing or do not fit together; from loaders, if an
            image cannot be read.
    """

    def __init__(
        self,
        images_dir: str = "data/images",
        *,
        annotations: str | None = None,
        val_fraction: float = 0.15,
        test_fraction: float = 0.15,
        split_seed: int = 0,
        batch_size: int = 16,
        max_corrupt: int = 0,
        **kwargs: Any,
    ) -> None:
        check_at_least(1, batch_size=batch_size)
        super().__init__(total_batch_size=batch_size, **kwargs)
        check_at_least(0, split_seed=split_seed, max_corrupt=max_corrupt)
        check_fractions(val_fraction=val_fraction, test_fraction=test_fraction)
        self.images_dir = images_dir
        self.annotations = annotations
        self.max_corrupt = max_corrupt
        self._fractions = {"val": val_fraction, "test": test_fraction}
        self._split_seed = split_seed

    @property
    def device_batch_size(self) -> int:
        """Images in a batch on each device."""
        return self.batch_size

    @cached_property
    def class_names(self) -> list[str]:
        """Names of the classes by index, sorted.

        Raises:
            DataError: If the data is missing or damaged.
        """
        if self.annotations is not None:
            return sorted({row.label for row in self._rows.values()})
        names = list_class_folders(self._root)
        if len(names) < 2:
            raise DataError(
                f"images_dir='{self.images_dir}' holds {len(names)} folders: put one folder of images for each class "
                "there, two at least, or name a table of images and labels: --data.init_args.annotations=FILE."
            )
        return names

    def train_samples(self) -> LabelledFiles:
        """Return images to train on, augmented."""
        return LabelledFiles(self._root, *self.files, self._split["train"], self.trained, self.max_corrupt)

    def val_samples(self) -> LabelledFiles:
        """Return images held out for validation."""
        return LabelledFiles(self._root, *self.files, self._split["val"], self.evaluated)

    def test_samples(self) -> LabelledFiles:
        """Return images held out for test."""
        return LabelledFiles(self._root, *self.files, self._split["test"], self.evaluated)

    @cached_property
    def files(self) -> ClassFiles:
        """All images with their classes.

        Raises:
            DataError: If folders, images or rows are missing or do not fit together.
        """
        if self.annotations is None:
            return list_classes(self._root, "", self.class_names)
        index = {name: number for number, name in enumerate(self.class_names)}
        labels = [index[row.label] for row in self._rows.values()]
        return ClassFiles(Paths(self._rows), np.array(labels, np.int64))

    @cached_property
    def _rows(self) -> dict[str, "_Row"]:
        assert self.annotations is not None
        return _read_rows(Path(self.annotations).expanduser(), self._root)

    @cached_property
    def _split(self) -> dict[str, Indices]:
        given = [row.split for row in self._rows.values()] if self.annotations is not None else [""]
        if any(given):
            return _parts(Path(str(self.annotations)), given)
        return split_indices(len(self.files.labels), self._fractions, self._split_seed, self.files.labels)

    @property
    def _root(self) -> Path:
        return require_folder(self.images_dir, "images_dir", "Name the folder of your images.")


class _Row(NamedTuple):
    """What a table says of an image: its class, and its split or nothing."""

    label: str
    split: str


def _read_rows(table: Path, root: Path) -> dict[str, _Row]:
    """Read what a table says of each image, by the image's path relative to ``root``, sorted."""
    found = find_images(root)
    names = _name_with_and_without_suffix(found.names)
    rows: dict[str, _Row] = {}
    for line, cells in read_table(table, _COLUMNS):
        place = f"'{table}', row {line}"
        meant = names.get(cells["image"].replace("\\", "/").removeprefix("./"), [])
        if len(meant) != 1:
            what = f"is not in '{root}'" if not meant else f"may be any of {abbreviate(meant)}"
            raise DataError(f"{place}: image '{cells['image']}' {what}. Correct its path, relative to images_dir.")
        if meant[0] in rows:
            raise DataError(f"{place}: image '{meant[0]}' has a row before this. Keep one of them.")
        if not cells["label"]:
            raise DataError(f"{place}: image '{meant[0]}' has no label. Give it one, or remove the row.")
        rows[meant[0]] = _Row(cells["label"], read_split(cells["split"], place))
    if len({row.label for row in rows.values()}) < 2:
        raise DataError(f"'{table}' names {len(rows)} images of fewer than two classes. Give images of two at least.")
    if len(rows) < len(found.names):
        found.other_files["images without a row"] = len(found.names) - len(rows)
    found._replace(names=list(rows)).tell(f"'{table}'")
    return dict(sorted(rows.items()))


def _name_with_and_without_suffix(paths: Sequence[str]) -> dict[str, list[str]]:
    """Collect the images that a name in a table may mean; one in full means no other."""
    meant: dict[str, list[str]] = {}
    for path in paths:
        meant.setdefault(path.rpartition(".")[0], []).append(path)
    return meant | {path: [path] for path in paths}


def _parts(table: Path, splits: Sequence[str]) -> dict[str, Indices]:
    """Part images by what the table says."""
    if not all(splits):
        raise DataError(f"'{table}' says the split of some images and not of {splits.count('')} others. Say it of all.")
    parts = {name: np.flatnonzero(np.array(splits) == name) for name in ("train", "val", "test")}
    empty = [name for name, indices in parts.items() if not len(indices)]
    if empty:
        raise DataError(f"'{table}' has no images with split {' and '.join(empty)}. Give some to each of the three.")
    return parts
