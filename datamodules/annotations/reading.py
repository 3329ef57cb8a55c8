"""Annotations of any format that is known, recognised by what files hold, not by their names."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from datamodules.annotations.arrays import is_numbers, read_matlab, read_numbers, read_numpy
from datamodules.annotations.coco import read_coco, slim
from datamodules.annotations.cvat import read_cvat
from datamodules.annotations.label_studio import is_label_studio, read_label_studio
from datamodules.annotations.labelme import read_labelme
from datamodules.annotations.structure import Annotations, Collector, Unit
from datamodules.annotations.tables import read_table
from datamodules.errors import DataError, abbreviate, check_one_of, refuse
from datamodules.files.listing import IMAGE_SUFFIXES, require_folder
from datamodules.files.progress import show_progress
from datamodules.files.texts import find_encoding, load_json, read_start

_COCO, _LABELME, _LABEL_STUDIO, _CVAT, _CSV = "COCO JSON", "LabelMe JSON", "Label Studio JSON", "CVAT XML", "CSV"
_NUMPY, _NUMBERS, _MATLAB, _EMPTY = "NumPy arrays", "texts of numbers", "MATLAB files", "nothing"
_FOR_EACH_IMAGE = _LABELME, _NUMPY, _NUMBERS, _MATLAB
_WITHOUT_UNIT = _CSV, _NUMPY, _NUMBERS
_KNOWN_JSON = "COCO (images, annotations), LabelMe or AnyLabeling (shapes), or Label Studio (a list of tasks)"


def read_annotations(
    annotations: str | Path | None,
    images_dir: Path,
    *,
    category: str | Sequence[str] | None = None,
    coordinates: Unit | None = None,
) -> Annotations:
    """Read annotations of any format that is known.

    One file for all images: CSV, JSON of COCO or Label Studio, XML of CVAT. Or a folder, searched with its sub-folders,
    with a file for each image: JSON of LabelMe or AnyLabeling, NumPy's ``.npy``, texts of numbers, or MATLAB's files as
    ShanghaiTech and UCF-QNRF have them. Other files in the folder are left out, and named in the description. Shows
    progress where it takes long.

    Args:
        annotations: The file or folder; None for files beside the images.
        images_dir: Folder of the images.
        category: The categories to pick; None for all objects. Default: None.
        coordinates: What the coordinates of CSV, NumPy and texts count, which do not say it: ``pixels``, ``fraction``
            or ``percent`` of the image's size. None for pixels, or what the format says. Default: None.

    Returns:
        The annotations, with positions as in the file.

    Raises:
        ValueError: If ``coordinates`` is another word.
        DataError: If a file cannot be read, is of no format that is known, or holds something wrong; names the file and
            the row or element.
    """
    if coordinates is not None:
        check_one_of(get_args(Unit), coordinates=coordinates)
    path = images_dir if annotations is None else Path(annotations).expanduser()
    if annotations is not None and path.is_file():
        return _read_file(path, category, coordinates)
    argument, remedy = "annotations", "Name a file or folder of annotations."
    if annotations is None:
        argument, remedy = "images_dir", "Name the folder of the images."
    return _read_folder(require_folder(path, argument, remedy), category, coordinates)


def _read_file(path: Path, category: str | Sequence[str] | None, coordinates: Unit | None) -> Annotations:
    kind, content = _recognise(path)
    if kind == _EMPTY:
        raise DataError(f"'{path}' is empty.")
    if kind is None:
        raise DataError(f"'{path}' {content}.")
    unit = _take_unit(kind, path, coordinates)
    collector = Collector(path, kind, unit, category)
    if kind == _CSV:
        return read_table(path, collector)
    if kind == _COCO:
        return read_coco(content, path, collector)
    if kind == _LABEL_STUDIO:
        return read_label_studio(content, path, collector)
    if kind == _CVAT:
        return read_cvat(path, collector)
    _read_one(path, kind, content, path.parent, collector)
    return collector.finish()


def _read_folder(folder: Path, category: str | Sequence[str] | None, coordinates: Unit | None) -> Annotations:
    files = [
        file
        for file in sorted(folder.rglob("*"))
        if file.is_file() and not file.name.startswith(".") and file.suffix.lower() not in IMAGE_SUFFIXES
    ]
    collector, first = None, folder
    empty, others, tables = [], [], []
    for file in show_progress(files, f"Reading '{folder}'", "files"):
        kind, content = _recognise(file)
        if kind == _EMPTY:
            empty.append(file)
        elif kind not in _FOR_EACH_IMAGE:
            others.append(file.relative_to(folder).as_posix())
            tables += [f"'{file}' ({kind})"] if kind else []
        else:
            if collector is None:
                collector, first = Collector(folder, kind, _take_unit(kind, folder, coordinates), category), file
            if collector.title != kind:
                raise DataError(
                    f"'{folder}' must hold annotations of one format, got {collector.title} ('{first}') and {kind} "
                    f"('{file}'). Keep those that are meant."
                )
            _read_one(file, kind, content, folder, collector)
    if collector is None:
        hint = f"; to read a table, name the file: {abbreviate(tables)}" if tables else ""
        raise DataError(
            f"'{folder}' holds no annotations: none of {len(files)} files is one of {', '.join(_FOR_EACH_IMAGE)}{hint}."
        )
    for file in empty:
        if collector.title != _NUMBERS:
            raise DataError(f"'{file}' is empty. Complete or remove it.")
        _read_one(file, _NUMBERS, None, folder, collector)
    if others:
        collector.leave_out(f"other files ({abbreviate(others, shown=3)})", len(others))
    return collector.finish()


def _read_one(path: Path, kind: str, content: Any, root: Path, collector: Collector) -> None:
    """Read a file below a folder of annotations that belongs to one image."""
    folder = path.parent.relative_to(root)
    if kind == _LABELME:
        read_labelme(content, path, folder.as_posix(), collector)
        return
    stem = path.stem
    if kind == _MATLAB:
        points, stem = read_matlab(path)
    else:
        points = read_numpy(path) if kind == _NUMPY else read_numbers(path)
    aliases = () if stem == path.stem else ((folder / path.stem).as_posix(),)
    entry = collector.open((folder / stem).as_posix(), f"'{path}'", aliases=aliases)
    collector.wants("point", count=len(points))
    for x, y in points.tolist():
        entry.put(x, y)


def _take_unit(kind: str, path: Path, coordinates: Unit | None) -> Unit:
    stated: Unit = "percent" if kind == _LABEL_STUDIO else "pixels"
    if coordinates not in (None, stated) and kind not in _WITHOUT_UNIT:
        refuse("coordinates", coordinates, f"left out for '{path}': {kind} has {stated}", DataError)
    return coordinates or stated


def _recognise(path: Path) -> tuple[str | None, Any]:
    """Tell the format of a file.

    Args:
        path: The file.

    Returns:
        The format, and what a JSON file holds; or None and what the file is instead.
    """
    start = read_start(path, 4096)
    if start.startswith(b"\x93NUMPY"):
        return _NUMPY, None
    if start.startswith(b"MATLAB"):
        return _MATLAB, None
    if start.startswith(b"PK\x03\x04"):
        return None, "is an archive or an Excel table. Unpack it, or save it as CSV"
    text = start.decode(find_encoding(start), errors="ignore").lstrip()
    if not text:
        return _EMPTY, None
    if text[0] == "<":
        return _CVAT, None
    if text[0] in "[{":
        content = load_json(path, slim)
        kind = _recognise_json(content)
        keys = sorted(content) if isinstance(content, dict) else None
        is_list = "a list" if keys is None else f"the keys {abbreviate(keys, shown=8) or 'none'}"
        return kind, content if kind else f"must be JSON of {_KNOWN_JSON}, got {is_list}"
    if "\0" in text:
        return None, "is of no format that is known: it is no text"
    first = next((line for line in text.splitlines() if line.strip() and not line.startswith("#")), "#")
    return (_NUMBERS if first == "#" or is_numbers(first) else _CSV), None


def _recognise_json(content: Any) -> str | None:
    if is_label_studio(content):
        return _LABEL_STUDIO
    if not isinstance(content, dict):
        return None
    if isinstance(content.get("shapes"), list):
        return _LABELME
    return _COCO if "images" in content and "annotations" in content else None
