"""Annotations of whatever kind, told by what is in the files."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from datamodules.annotations.cvat import read_cvat
from datamodules.annotations.json_files import load, read_json, read_labelme
from datamodules.annotations.marks import Annotations, Marks, as_positions
from datamodules.annotations.matlab_points import read_ann_points, read_image_info
from datamodules.annotations.points_table import read_points_table
from datamodules.errors import DataError
from datamodules.files.listing import is_hidden
from datamodules.types import Points

_ARRAYS = (".npy", ".txt", ".mat")


def read_annotations(path: Path, category: str | None = None) -> Annotations:
    """Read annotations: one file for all images, or a folder with one for each.

    Args:
        path: A table (CSV), JSON of COCO or Label Studio, XML of CVAT; or a folder, searched with its sub-folders, with
            files of LabelMe or AnyLabeling, or ``.npy``, ``.txt`` or ``.mat`` files of positions, each named as its
            image (in MATLAB's files ``GT_`` before the name or ``_ann`` after it is left out).
        category: The objects to pick; None: all.

    Returns:
        What is annotated, positions as in the files.

    Raises:
        DataError: If it is missing, of no known kind, or something in it is wrong; names file and row.
    """
    if path.is_dir():
        return _read_folder(path, category)
    try:
        with path.open("rb") as file:
            begin = file.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    except OSError as error:
        raise DataError(
            f"annotations='{path}' cannot be read: {error.strerror}. Name the file or folder of your annotations."
        ) from error
    if not begin:
        raise DataError(f"annotations='{path}' is empty. Name the file or folder of your annotations.")
    if begin in b"{[":
        return read_json(path, category)
    return read_cvat(path, category) if begin == b"<" else read_points_table(path, category)


def _read_folder(folder: Path, category: str | None) -> Annotations:
    files = sorted(
        (path, path.relative_to(folder).as_posix())
        for path in folder.rglob("*")
        if path.suffix.lower() in (".json", *_ARRAYS) and not any(map(is_hidden, path.relative_to(folder).parts))
    )
    by_suffix = {suffix: [f for f in files if f[0].suffix.lower() == suffix] for suffix in (".json", *_ARRAYS)}
    present = [suffix for suffix, found in by_suffix.items() if found]
    if not present:
        raise DataError(
            f"annotations='{folder}' holds no annotations: files of LabelMe (.json), or {', '.join(_ARRAYS)} files."
        )
    if present == [".json"]:
        labelme = [file for file in files if not isinstance(load(file[0]), list)]
        return read_labelme(labelme, category) if len(files) > 1 or labelme else read_json(files[0][0], category)
    if len(present) > 1:
        raise DataError(
            f"annotations='{folder}' holds annotations of several kinds: {', '.join(present)}. Keep those of one."
        )
    if category is not None:
        raise DataError(f"category must be left out, got {category!r}: {present[0]} files hold positions alone.")
    read = _READERS[present[0]]
    marks = [Marks(_image_of(name), as_positions(read(path), f"'{path}'"), f"'{path}'") for path, name in files]
    count = sum(len(mark.positions) for mark in marks)
    return Annotations(f"{len(marks)} {present[0]} files in '{folder}': {count} positions", marks, None)


def _image_of(name: str) -> str:
    folder, slash, stem = name.rpartition(".")[0].rpartition("/")
    return folder + slash + stem.removeprefix("GT_").removesuffix("_ann")


def _read_npy(path: Path) -> Points:
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"'{path}' cannot be read as an array: {error}.") from error
    return np.asarray(array)


def _read_txt(path: Path) -> Points:
    try:
        text = path.read_text(encoding="utf-8").replace(",", " ").replace(";", " ")
        rows = [line.split() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
        return np.asarray([[float(number) for number in row] for row in rows])
    except (OSError, ValueError) as error:
        raise DataError(f"'{path}' cannot be read as rows of x and y: {error}.") from error


def _read_mat(path: Path) -> Points:
    try:
        return read_image_info(path)
    except DataError as error:
        if "holds no variable" not in str(error):
            raise
    return read_ann_points(path)


_READERS: dict[str, Callable[[Path], Points]] = {".npy": _read_npy, ".txt": _read_txt, ".mat": _read_mat}
