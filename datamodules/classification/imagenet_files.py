"""ImageNet's development kit (ILSVRC2012, tasks 1 and 2) and the validation images as published, without folders."""

import re
import tarfile
from collections import Counter
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.io import loadmat

from datamodules.classification.class_folders import ClassFiles
from datamodules.classification.labelled_files import Paths
from datamodules.errors import DataError, abbreviate
from datamodules.files.listing import list_image_names

DEVKIT = "ILSVRC2012_devkit_t12"
PLACES = ("ILSVRC*/Data/CLS-LOC", "Data/CLS-LOC", "CLS-LOC")
"""Where ``train`` and ``val`` are in the folders of some archives."""

_META, _TRUTH = "data/meta.mat", "data/ILSVRC2012_validation_ground_truth.txt"
_WNID = re.compile(r"n\d{8}")
_NUMBER = re.compile(r"ILSVRC2012_val_(\d{8})\.jpe?g", re.IGNORECASE)


class Devkit(NamedTuple):
    """What the development kit says.

    Attributes:
        wnids: WordNet ID of each class by its ILSVRC2012_ID; these do not follow the order of the WordNet IDs.
        words: Synonyms that name a class, by WordNet ID.
        truth: WordNet ID of each validation image, in the order of their numbers.
        source: Where the ground truth was read, for messages.
    """

    wnids: dict[int, str]
    words: dict[str, str]
    truth: list[str]
    source: str


def is_imagenet(folder: Path) -> bool:
    """Tell whether a folder holds ``train`` or ``val`` with what is published of ImageNet."""
    parts = [folder / split for split in ("train", "val") if (folder / split).is_dir()]
    names = (path.name for part in parts for path in part.iterdir())
    return any(_WNID.fullmatch(name) or _NUMBER.fullmatch(name) for name in names)


def read_devkit(root: Path) -> Devkit | None:
    """Read the development kit, extracted or as the published archive.

    Args:
        root: Folder that holds ``ILSVRC2012_devkit_t12/`` or ``ILSVRC2012_devkit_t12.tar.gz``.

    Returns:
        What it says, or None if it is not there.

    Raises:
        DataError: If it is damaged or incomplete; names the file.
    """
    folder, archive = root / DEVKIT, root / f"{DEVKIT}.tar.gz"
    place = folder if folder.is_dir() else archive
    if not place.exists():
        return None
    meta, truth = _files(place)
    wnids, words = _classes(meta, f"{place}/{_META}")
    source = f"{place}/{_TRUTH}"
    return Devkit(wnids, words, _read_ground_truth(truth, wnids, source), source)


def list_numbered_files(root: Path, classes: Sequence[str], devkit: Devkit | None) -> ClassFiles:
    """Find the validation images as published, ``<root>/val/ILSVRC2012_val_00000001.JPEG`` and so on.

    Args:
        root: The data set's folder.
        classes: WordNet IDs by class index.
        devkit: What the development kit says, None without one.

    Returns:
        The images, by number.

    Raises:
        DataError: If there are none, the development kit is missing, its ground truth is for other images, or there
            are images of a class that is not one of ``classes``.
    """
    folder = root / "val"
    names = find_numbered(folder)
    if not names:
        raise DataError(
            f"'{folder}' holds neither class folders nor ILSVRC2012_val_00000001.JPEG and so on. Put the validation "
            "images there, in one folder for each class or as published."
        )
    if devkit is None:
        raise no_devkit(root)
    expected = range(1, len(devkit.truth) + 1)
    if names.keys() != set(expected):
        missing = [str(number) for number in expected if number not in names]
        odd = f"; images are missing, such as number {abbreviate(missing, 3)}" if missing else ""
        raise DataError(
            f"'{devkit.source}' has {len(devkit.truth)} lines for the {len(names)} images in '{folder}'{odd}. Extract "
            "both again: there must be one line for each image."
        )
    index = {wnid: number for number, wnid in enumerate(classes)}
    others = Counter(wnid for wnid in devkit.truth if wnid not in index)
    if others:
        raise DataError(
            f"'{folder}' holds images of classes that '{root / 'train'}' lacks: {abbreviate(sorted(others))}. Extract "
            "their training images, or sort the validation images of the classes you want into class folders."
        )
    labels = np.array([index[wnid] for wnid in devkit.truth], np.int64)
    return ClassFiles(Paths(f"val/{names[number]}" for number in expected), labels)


def find_numbered(folder: Path) -> dict[int, str]:
    """Find the validation images as published, by their number; none if the folder does not exist."""
    names = list_image_names(folder) if folder.is_dir() else []
    return {int(match[1]): name for name in names if (match := _NUMBER.fullmatch(name))}


def no_devkit(root: Path) -> DataError:
    """Make the error for validation images as published without the development kit, with what to do about it."""
    return DataError(
        f"'{root / 'val'}' holds images without class folders, but the ground truth is missing: neither "
        f"{DEVKIT}.tar.gz nor {DEVKIT}/ is in '{root}'. Put the development kit (tasks 1 and 2) of ILSVRC2012 there, "
        "from https://image-net.org/download-images.php, or sort the images into class folders."
    )


def _files(place: Path) -> tuple[bytes, bytes]:
    """Read the two files, from the extracted folder or the archive."""
    try:
        if place.is_dir():
            return (place / _META).read_bytes(), (place / _TRUTH).read_bytes()
        with tarfile.open(place) as tar:
            found = [tar.extractfile(f"{DEVKIT}/{name}") for name in (_META, _TRUTH)]
            meta, truth = (file.read() for file in found if file is not None)
            return meta, truth
    except (OSError, KeyError, EOFError, ValueError, tarfile.TarError) as error:
        raise _damaged(str(place), f"it cannot be read ({error})") from error


def _classes(content: bytes, source: str) -> tuple[dict[int, str], dict[str, str]]:
    """Read WordNet IDs by ILSVRC2012_ID, and words by WordNet ID, of the classes with no further ones below them."""
    try:
        table = loadmat(BytesIO(content), squeeze_me=True)  # type: ignore[arg-type]  # any file will do
        synsets: Any = np.atleast_1d(table["synsets"])
        leaves = synsets[synsets["num_children"].astype(int) == 0]
        wnids = {int(row["ILSVRC2012_ID"]): str(row["WNID"]).strip() for row in leaves}
        words = {str(row["WNID"]).strip(): str(row["words"]).strip() for row in leaves}
    except Exception as error:  # a damaged file may raise any of them
        raise _damaged(source, f"it does not hold the table of classes ({error})") from error
    if not wnids:
        raise _damaged(source, "it holds no classes")
    return wnids, words


def _read_ground_truth(content: bytes, wnids: dict[int, str], source: str) -> list[str]:
    """Read the WordNet ID of each validation image."""
    lines = content.split()
    for number, line in enumerate(lines, 1):
        if not line.isdigit() or int(line) not in wnids:
            raise _damaged(source, f"line {number} is not the ILSVRC2012_ID of a class: {line.decode('latin1')!r}")
    return [wnids[int(line)] for line in lines]


def _damaged(source: str, what: str) -> DataError:
    return DataError(
        f"'{source}' is damaged: {what}. Replace it with the published one, "
        "https://image-net.org/download-images.php, or remove it if val/ has class folders."
    )
