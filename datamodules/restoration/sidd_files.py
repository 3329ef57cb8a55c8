"""The files of SIDD as published: folders of images, and blocks in MATLAB's format."""

import logging
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from datamodules.errors import PAIRS, DataError, abbreviate, noted, remark
from datamodules.files.conversion import Conversion, convert, save_array
from datamodules.files.listing import is_hidden, list_image_names, require_folder
from datamodules.files.matlab import read_variable, unusable
from datamodules.files.published import require_published
from datamodules.restoration.image_pairs import CACHE_ARGUMENT, ImagePair, check_pair, match_pairs
from datamodules.types import Pixels

_INSTANCE = re.compile(r"\d+_(?P<scene>\d+)_.+")
# 0001_GT_SRGB_010.PNG in SIDD-Medium, GT_SRGB_010.PNG in SIDD-Small
_IMAGE = re.compile(r"((?P<before>\d+)_)?(?P<kind>GT|NOISY)_S?RGB_(?P<after>\d+)\.PNG", re.IGNORECASE)
_SET = "[Ss][Ii][Dd][Dd][_-]*"
_PLACES = (f"{_SET}/Data", _SET, "Data")
_REMEDY = (
    "Name the folder that holds SIDD_Medium_Srgb/Data/ or SIDD_Small_sRGB_Only/Data/, and the published .mat files: "
    "--data.init_args.data_dir=FOLDER."
)
_log = logging.getLogger(__name__)


def list_pairs(data_dir: str) -> list[ImagePair]:
    """Find the training images and check that they fit together; how many there are is logged.

    Args:
        data_dir: Folder that holds ``SIDD_Medium_Srgb/Data``, ``SIDD_Small_sRGB_Only/Data`` or ``Data``, or that
            folder of images itself, see :func:`datamodules.files.published.find_published`.

    Returns:
        The pairs by the name of their folder and their own; the scene is the second number in a folder's name.

    Raises:
        DataError: If folders are missing or empty, images lack their partner, or its size differs.
    """
    wanted = "SIDD_Medium_Srgb/Data, SIDD_Small_sRGB_Only/Data or Data with folders such as 0001_001_S6_00100_…"
    data = require_published(data_dir, _holds_photographs, _PLACES, wanted, _REMEDY)
    folders = sorted(path for path in data.iterdir() if path.is_dir() and not path.name.startswith("."))
    scenes = {folder: match["scene"] for folder in folders if (match := _INSTANCE.fullmatch(folder.name))}
    if others := [folder.name for folder in folders if folder not in scenes]:
        _log.warning("'%s': folders of other names are left out: %s", data, abbreviate(others))
        remark(f"'{data}': {len(others)} folders of other names: {abbreviate(others)}")
    pairs = [pair for folder, scene in scenes.items() for pair in _pairs_in(folder, scene)]
    _log.info("'%s': %d pairs of %d scenes", data, len(pairs), len(set(scenes.values())))
    return pairs


def _holds_photographs(folder: Path) -> bool:
    return any(_INSTANCE.fullmatch(path.name) and path.is_dir() for path in folder.iterdir())


def read_blocks(path: Path) -> Pixels:
    """Read the blocks in a MATLAB file, whose variable has the file's name.

    Args:
        path: The file; its variable is ``[images, blocks, H, W, 3]`` of whole numbers from 0 to 255.

    Returns:
        uint8 ``[images · blocks, H, W, 3]``, image by image.

    Raises:
        DataError: If the file is damaged or holds something else; names it.
    """
    values = np.asarray(read_variable(path, path.stem))
    if values.ndim != 5 or values.shape[-1] != 3 or not values.size:
        raise _not_as_published(path, f"has the shape {values.shape}, not (images, blocks, H, W, 3)")
    if values.dtype.kind not in "uif":
        raise _not_as_published(path, f"holds {values.dtype}, no numbers")
    if values.dtype != np.uint8:
        with np.errstate(invalid="ignore"):  # NaN becomes something, and differs from it
            whole = values.astype(np.uint8)
        if not (whole == values).all():
            raise _not_as_published(path, "holds values that are not whole numbers from 0 to 255, or NaN")
        values = whole
    return np.ascontiguousarray(values.reshape(-1, *values.shape[2:]))


def convert_blocks(data_dir: str, names: Sequence[str], folder: Path) -> list[Path]:
    """Write blocks as ``.npy`` files, uint8 ``[images · blocks, H, W, 3]``, but for those that were before.

    Args:
        data_dir: Folder that holds the MATLAB files, or a folder with them; or the folder of images beside them.
        names: Their names without ``.mat``.
        folder: Where to write; the data module's ``cache_dir``.

    Returns:
        The converted files, in the order of ``names``.

    Raises:
        DataError: If files are missing or damaged, or ``folder`` cannot be written to.
    """
    root = require_folder(data_dir, "data_dir", _REMEDY)
    sources = [_find_blocks(root, f"{name}.mat") for name in names]
    if missing := [path.name for path in sources if not path.is_file()]:
        raise DataError(f"data_dir='{data_dir}' lacks {' and '.join(missing)}. {_REMEDY}")
    steps = [Conversion((path,), (f"{path.stem}.npy",)) for path in sources]
    convert(steps, lambda step, paths: save_array(paths[0], read_blocks(step.sources[0])), folder, CACHE_ARGUMENT)
    return [folder / step.targets[0] for step in steps]


def _find_blocks(root: Path, name: str) -> Path:
    """Find a MATLAB file; if there is none, where it should be."""
    places = [root, *sorted(path for path in root.iterdir() if path.is_dir() and not is_hidden(path.name))]
    above = root.resolve()
    while above.name == "Data" or above.match(_SET):
        above = above.parent
        places.append(above)
    return next((place / name for place in places if (place / name).is_file()), root / name)


def _pairs_in(folder: Path, scene: str) -> list[ImagePair]:
    files: dict[str, dict[str, Path]] = {"NOISY": {}, "GT": {}}
    others = []
    for name in list_image_names(folder):
        match = _IMAGE.fullmatch(name)
        if match is None:
            others.append(name)
        else:
            key = f"{match['before'] or ''}_{match['after']}"
            twin = files[match["kind"].upper()].setdefault(key, folder / name)
            if twin.name != name:
                raise DataError(f"'{folder}' holds '{twin.name}' and '{name}', which mean the same. Keep one.")
    if others:
        _log.warning("'%s': images of other names are left out: %s", folder, abbreviate(others))
        remark(f"'{folder}': {len(others)} images of other names: {abbreviate(others)}")
    found = match_pairs(files["NOISY"], files["GT"], folder)
    if not found:
        raise DataError(
            f"'{folder}' holds no pairs NNNN_NOISY_SRGB_010.PNG, NNNN_GT_SRGB_010.PNG. Put the published images there, "
            "or remove the folder."
        )
    pairs = []
    for _, *two in found:
        with noted(PAIRS):
            pairs.append(_pair(scene, *two))
    return pairs


def _pair(scene: str, degraded: Path, clean: Path) -> ImagePair:
    size = check_pair(degraded, clean)
    return ImagePair(f"{degraded.parent.name}/{degraded.name}", scene, degraded, clean, *size)


def _not_as_published(path: Path, what: str) -> DataError:
    return unusable(path, f"its variable {path.stem} {what}. Replace it")
