"""Folders of images; among them one of one's own, to apply a network to."""

import logging
import os
from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from datamodules.batches import ImageBatch
from datamodules.errors import DataError
from datamodules.readers import Pixels, read_image
from datamodules.samples import SampleSet, alone

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
"""Suffixes of the files that are taken for images, in any case."""

_log = logging.getLogger(__name__)


def existing_folder(folder: str | Path, argument: str, remedy: str) -> Path:
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


def images_in(folder: Path) -> list[str]:
    """Names of the image files in a folder by their suffix, sorted, but for hidden ones; no file is looked at."""
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
    root = existing_folder(folder, argument, f"Name a folder that holds images ({suffixes}).")
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


class ImageFolder(SampleSet[ImageBatch]):
    """All images below a folder, of any size; ids are their paths relative to it, with ``/`` between parts.

    Args:
        folder: The folder; searched with its sub-folders for png, jpg, jpeg, bmp, tif, tiff and webp files.
        transform: From one image, uint8 ``[H, W, C]``, to a float32 tensor ``[C, H', W']``.
        grey: Read one channel instead of RGB.
        argument: Name of the argument under which the user gave the folder, for messages.

    Attributes:
        paths: The images' paths.
        ids: Their ids.

    Raises:
        DataError: If the folder is missing or holds no image; on access to an image that cannot be read.
    """

    def __init__(
        self,
        folder: str | Path,
        transform: Callable[[Pixels], Tensor],
        grey: bool = False,
        argument: str = "predict_dir",
    ) -> None:
        self.paths = list_images(folder, argument)
        self.ids = [path.relative_to(Path(folder).expanduser()).as_posix() for path in self.paths]
        self._transform = transform
        self._grey = grey

    def __len__(self) -> int:
        """Number of images."""
        return len(self.paths)

    def __getitem__(self, index: int) -> ImageBatch:
        """One image, as a batch of one."""
        image = self._transform(read_image(self.paths[index], self._grey))
        return ImageBatch(alone(image), [self.ids[index]])
