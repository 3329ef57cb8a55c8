"""Folders that hold a folder of images for each class."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from datamodules.classification.labelled_files import Paths
from datamodules.errors import CLASSES, DataError, abbreviate, noted
from datamodules.files.listing import IMAGE_SUFFIXES, FoundImages, find_images, is_hidden, show_name
from datamodules.files.progress import show_progress
from datamodules.types import Indices


class ClassFiles(NamedTuple):
    """Image files with their classes.

    Attributes:
        paths: Relative to the data set's folder, with ``/`` between parts.
        labels: Class indices, int64 ``[M]``.
    """

    paths: Paths
    labels: Indices


def list_class_folders(folder: Path) -> list[str]:
    """List the folders in a folder by name, sorted; none if it does not exist.

    Hidden ones and those of a system are left out, and links to the folder itself or to one around it.
    """
    if not folder.is_dir():
        return []
    place = folder.resolve()
    around = {place, *place.parents}
    with os.scandir(folder) as entries:
        return sorted(
            entry.name
            for entry in entries
            if not is_hidden(entry.name) and entry.is_dir()
            if not (entry.is_symlink() and Path(entry.path).resolve() in around)
        )


def list_classes(root: Path, split: str, classes: Sequence[str]) -> ClassFiles:
    """Find the images of a split, ``<root>/<split>/<class>/<image>``; shows progress if it takes more than a while.

    Class folders are searched with their sub-folders, see :func:`~datamodules.files.listing.find_images`. How many
    images there are, and what was left out, is logged.

    Args:
        root: The data set's folder.
        split: Name of the split's folder, empty where the class folders lie in ``root`` itself.
        classes: Names of the classes by index; not all of them need to occur.

    Returns:
        The images, by class and then by name.

    Raises:
        DataError: If there is no such folder, it holds no folder of a class, or one that is empty or of another class.
    """
    folder = root / split
    found = list_class_folders(folder)
    if not found:
        raise no_class_folders(root, split)
    others = sorted(set(found) - set(classes))
    if others:
        raise DataError(
            f"'{folder}' holds classes that '{root / 'train'}' lacks: {abbreviate(others)}. Add their training images "
            "there, or remove these folders."
        )
    index = {name: number for number, name in enumerate(classes)}
    counts: list[int] = []
    beside = find_images(folder, deep=False)
    total = FoundImages([], beside.other_files, beside.other_folders)
    if beside.names:
        total.other_files["images in no class folder"] = len(beside.names)
    for name in show_progress(found, f"Listing '{folder}'", "classes"):
        del total.other_folders[show_name(name)]
        of_class = find_images(folder / name)
        with noted(CLASSES):
            if not of_class.names:
                raise DataError(
                    f"'{folder / name}' holds no images ({' '.join(IMAGE_SUFFIXES)}). Put the images of that class "
                    "into it, or remove the folder."
                )
        total.names.extend((Path(split) / name / image).as_posix() for image in of_class.names)
        total.other_files.update(of_class.other_files)
        total.other_folders.update(of_class.other_folders)
        counts.append(len(of_class.names))
    total.tell(f"'{folder}'")
    return ClassFiles(Paths(total.names), np.repeat([index[name] for name in found], counts).astype(np.int64))


def no_class_folders(root: Path, split: str) -> DataError:
    """Make the error for a split whose folder is missing or holds no class folders, with what to do about it."""
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
