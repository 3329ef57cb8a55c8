"""The folders of RealSR as published."""

import logging
import re
from collections.abc import Sequence
from itertools import product
from pathlib import Path

from datamodules.errors import PAIRS, DataError, abbreviate, noted, remark
from datamodules.files.listing import list_image_names, require_folder
from datamodules.files.published import require_published
from datamodules.restoration.image_pairs import ImagePair, check_pair, match_pairs

CAMERAS = ("Canon", "Nikon")
_SPLITS = ("Train", "Test")
_NAME = re.compile(r"(?P<name>.+)_(?P<kind>HR|LR\d)\.png", re.IGNORECASE)
_REMEDY = (
    "Name the folder of one version of RealSR, which holds Canon/ and Nikon/ or Train/ and Test/: "
    "--data.init_args.data_dir=FOLDER."
)
_log = logging.getLogger(__name__)


def find_version(data_dir: str) -> Path:
    """Find the folder of a version.

    Args:
        data_dir: That folder, or one that holds a single version's, see
            :func:`datamodules.files.published.find_published`.

    Returns:
        The folder that holds ``Canon`` and ``Nikon``, or ``Train`` and ``Test``.

    Raises:
        DataError: If there is none, or several.
    """
    root = require_folder(data_dir, "data_dir", _REMEDY)
    if any((root / name).is_dir() for name in CAMERAS + _SPLITS):
        return root
    wanted = "Canon/Train or Train/Canon (or of Nikon, or Test)"
    return require_published(data_dir, _is_version, ("[Rr]eal[Ss][Rr]*",), wanted, _REMEDY)


def list_pairs(root: Path, split: str, scale: int, cameras: Sequence[str]) -> list[ImagePair]:
    """Find the images of a split and check that they fit together; how many there are is logged.

    Args:
        root: Folder of a version.
        split: ``Train`` or ``Test``.
        scale: Difference in resolution.
        cameras: ``Canon``, ``Nikon`` or both.

    Returns:
        The pairs by camera and name. A scene is the number in the names, for both cameras together: whether their
        photographs of one number show the same is not published.

    Raises:
        DataError: If folders are missing or empty, images lack their partner, or sizes do not fit together.
    """
    pairs: list[ImagePair] = []
    for camera in cameras:
        folder = _find_camera_folder(root, split, camera) / str(scale)
        if not folder.is_dir():
            raise DataError(f"'{folder}' does not exist, where the images of scale={scale} should be. {_REMEDY}")
        files: dict[str, dict[str, Path]] = {"HR": {}, f"LR{scale}": {}}
        others = []
        for name in list_image_names(folder):
            match = _NAME.fullmatch(name)
            if match is not None and match["kind"].upper() in files:
                twin = files[match["kind"].upper()].setdefault(match["name"], folder / name)
                if twin.name != name:
                    raise DataError(f"'{folder}' holds '{twin.name}' and '{name}', which mean the same. Keep one.")
            else:
                others.append(name)
        if others:
            _log.warning("'%s': images of other names are left out: %s", folder, abbreviate(others))
            remark(f"'{folder}': {len(others)} images of other names: {abbreviate(others)}")
        found = match_pairs(files[f"LR{scale}"], files["HR"], folder)
        if not found:
            raise DataError(f"'{folder}' holds no pairs {camera}_001_HR.png, {camera}_001_LR{scale}.png. {_REMEDY}")
        _log.info("'%s': %d pairs", folder, len(found))
        for name, *two in found:
            with noted(PAIRS):
                pairs.append(_pair(root, name.removeprefix(f"{camera}_"), scale, *two))
    return pairs


def _is_version(folder: Path) -> bool:
    ways = (CAMERAS, _SPLITS), (_SPLITS, CAMERAS)
    return any((folder / outer / inner).is_dir() for way in ways for outer, inner in product(*way))


def _find_camera_folder(root: Path, split: str, camera: str) -> Path:
    folders = root / camera / split, root / split / camera
    for folder in folders:
        if folder.is_dir():
            return folder
    raise DataError(
        f"'{root}' has neither of the folders {camera}/{split} and {split}/{camera}. {_REMEDY} With the images of one "
        "camera only, name it: --data.init_args.cameras=CAMERA."
    )


def _pair(root: Path, scene: str, scale: int, degraded: Path, clean: Path) -> ImagePair:
    size = check_pair(degraded, clean, (1, scale))
    return ImagePair(degraded.relative_to(root).as_posix(), scene, degraded, clean, *size)
