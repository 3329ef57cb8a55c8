"""Folders that hold a folder of images for each class."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from lightning.pytorch.utilities import rank_zero_only
from tqdm import tqdm  # type: ignore[import-untyped]  # lightning brings it

from datamodules.errors import DataError
from datamodules.folder import IMAGE_SUFFIXES
from datamodules.labelled_files import Paths
from datamodules.splits import Indices


class ClassFiles(NamedTuple):
    """Image files with their classes.

    Attributes:
        paths: Relative to the data set's folder, with ``/`` between parts.
        labels: Class indices, int64 ``[M]``.
    """

    paths: Paths
    labels: Indices


def class_folders(folder: Path) -> list[str]:
    """Names of the folders in a folder, sorted, but for hidden ones; none if it does not exist."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir())


def images_in(folder: Path) -> list[str]:
    """Names of the image files in a folder by their suffix, sorted, but for hidden ones; no file is looked at."""
    return sorted(
        name for name in os.listdir(folder) if name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith(".")
    )


def list_classes(root: Path, split: str, classes: Sequence[str]) -> ClassFiles:
    """Find the images of a split, ``<root>/<split>/<class>/<image>``; shows progress if it takes more than a while.

    Args:
        root: The data set's folder.
        split: Name of the split's folder.
        classes: Names of the classes by index; not all of them need to occur.

    Returns:
        The images, by class and then by name.

    Raises:
        DataError: If there is no such folder, it holds no folder of a class, or one that is empty or of another class.
    """
    folder = root / split
    found = class_folders(folder)
    if not found:
        raise no_class_folders(root, split)
    others = sorted(set(found) - set(classes))
    if others:
        raise DataError(
            f"'{folder}' holds classes that '{root / 'train'}' lacks: {abbreviated(others)}. Add their training images "
            "there, or remove these folders."
        )
    index = {name: number for number, name in enumerate(classes)}
    paths: list[str] = []
    counts: list[int] = []
    # None: not where stderr is no terminal either.
    quiet = True if rank_zero_only.rank else None  # type: ignore[attr-defined]
    for name in tqdm(found, f"Listing '{folder}'", unit=" classes", delay=2, leave=False, disable=quiet):
        images = images_in(folder / name)
        if not images:
            raise DataError(
                f"'{folder / name}' holds no images ({' '.join(IMAGE_SUFFIXES)}). Put the images of that class "
                "directly into it, or remove the folder."
            )
        paths += [f"{split}/{name}/{image}" for image in images]
        counts.append(len(images))
    return ClassFiles(Paths(paths), np.repeat([index[name] for name in found], counts).astype(np.int64))


def abbreviated(names: Sequence[str], shown: int = 5) -> str:
    """Names in a message: the first few and the number of the others."""
    others = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {others} more" if others > 0 else "")


def no_class_folders(root: Path, split: str) -> DataError:
    """Error for a split whose folder is missing or holds no class folders, with what to do about it."""
    folder = root / split
    if not folder.is_dir():
        return DataError(f"'{root}' has no folder '{split}'. {_REMEDY.format(split=split)}")
    archives = sum(name.endswith(".tar") for name in os.listdir(folder))
    if archives:
        return DataError(
            f"'{folder}' holds no class folders but {archives} archives. Extract each into a folder of its name: "
            f'in \'{folder}\', for f in *.tar; do mkdir "${{f%.tar}}" && tar xf "$f" -C "${{f%.tar}}"; done'
        )
    return DataError(f"'{folder}' holds no class folders. {_REMEDY.format(split=split)}")


_REMEDY = (
    "Put one folder of images for each class there, {split}/<class>/<image>, or name the folder that holds it: "
    "--data.init_args.data_dir=FOLDER."
)
