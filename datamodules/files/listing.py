"""Folders, and the images in them."""

import logging
import os
from pathlib import Path

from datamodules.errors import DataError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
"""Suffixes of the files that are taken for images, in any case."""

_log = logging.getLogger(__name__)


def require_folder(folder: str | Path, argument: str, remedy: str) -> Path:
    """Make sure that a folder which the user named is there.

    Args:
        folder: The folder.
        argument: Name of the argument under which the user gave it, for messages.
        remedy: What to do if it is not, for messages.

    Returns:
        Its path.

    Raises:
        DataError: If it is missing or a file.
    """
    path = Path(folder).expanduser()
    if not path.is_dir():
        what = "is not a folder" if path.exists() else "does not exist"
        raise DataError(f"{argument}='{folder}' {what}. {remedy}")
    return path


def list_image_names(folder: Path) -> list[str]:
    """List the image files in a folder by their suffix, sorted, but for hidden ones; no file is looked at."""
    return sorted(
        name for name in os.listdir(folder) if name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith(".")
    )


def list_images(folder: str | Path, argument: str) -> list[Path]:
    """Find all images below a folder.

    Files whose name begins with a dot are left out, whatever their suffix: some systems put such beside each image.

    Args:
        folder: The folder; searched with its sub-folders.
        argument: Name of the argument under which the user gave it, for messages.

    Returns:
        The images' paths, sorted by their path relative to the folder. How many other files were left out is logged.

    Raises:
        DataError: If the folder is missing, is a file, or holds no image.
    """
    suffixes = " ".join(IMAGE_SUFFIXES)
    root = require_folder(folder, argument, f"Name a folder that holds images ({suffixes}).")
    files = [path for path in root.rglob("*") if path.is_file()]
    images = [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")]
    if not images:
        raise DataError(
            f"{argument}='{folder}' holds no images: none of the {len(files)} files in it and its sub-folders ends in "
            f"{suffixes}."
        )
    if len(images) < len(files):
        others = len(files) - len(images)
        _log.info("%s='%s': %d images, %d other files left out", argument, folder, len(images), others)
    return sorted(images, key=lambda path: path.relative_to(root).as_posix())
