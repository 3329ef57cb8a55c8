"""Pairs of image files, degraded and clean, converted once so that parts of them are read without decoding the whole.

For a patch of a photograph of 16 megapixels most of a second would go into decoding; from an uncompressed file that is
mapped into memory it takes a fraction of a millisecond.
"""

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from datamodules.errors import DataError, abbreviate
from datamodules.files.channels import read_any_header
from datamodules.files.conversion import Conversion, convert, save_array
from datamodules.files.readers import ImageHeader, read_image
from datamodules.types import AnyDepth, Pixels

_CHANNELS = 3
CACHE_ARGUMENT = "cache_dir"


class ImagePair(NamedTuple):
    """Files of a degraded image and of what it should be.

    Attributes:
        id: Path of the degraded image relative to the data set's folder, with ``/`` between parts.
        scene: What they show; all images of a scene belong to one split.
        degraded: File of the degraded image.
        clean: File of the clean image.
        height: Of the clean image, in pixels.
        width: Of the clean image, in pixels.
    """

    id: str
    scene: str
    degraded: Path
    clean: Path
    height: int
    width: int


OpenPair = Callable[[ImagePair], tuple[AnyDepth, AnyDepth]]
"""From a pair to its images, degraded and clean, both uint8 (or, of one's own images, uint16) ``[H, W, C]``."""


def match_pairs(degraded: Mapping[str, Path], clean: Mapping[str, Path], folder: Path) -> list[tuple[str, Path, Path]]:
    """Bring together what has one name.

    Args:
        degraded: Files of degraded images by the name of the pair.
        clean: Files of clean images by the name of the pair.
        folder: Where they are, for messages.

    Returns:
        Name, degraded and clean file of each pair, by name; perhaps none.

    Raises:
        DataError: If images lack their partner; names them.
    """
    names = sorted(degraded.keys() ^ clean.keys())
    single = [files[name].name for name in names for files in (degraded, clean) if name in files]
    if single:
        raise DataError(
            f"'{folder}' lacks the partners of {len(single)} images: {abbreviate(single)}. Add them, or remove these "
            "images."
        )
    return [(name, degraded[name], clean[name]) for name in sorted(degraded)]


def check_sizes(pairs: Sequence[ImagePair], argument: str, side: int) -> None:
    """Refuse images smaller than the parts that are to be cut from them.

    Args:
        pairs: The images.
        argument: Name of the data module's argument that says how large these are.
        side: Their height and width, in pixels.

    Raises:
        DataError: If an image is smaller; names it, the argument, and what is possible.
    """
    smallest = min(pairs, key=lambda pair: min(pair.height, pair.width))
    possible = min(smallest.height, smallest.width)
    if possible < side:
        raise DataError(
            f"'{smallest.id}' has {smallest.height} × {smallest.width} pixels, too few for {argument}={side}. Choose "
            f"--data.init_args.{argument}={possible} or less, or remove this pair."
        )


def read_pair(pair: ImagePair) -> tuple[Pixels, Pixels]:
    """Decode both images of a pair, which have one size.

    Raises:
        DataError: If one is damaged, or they do not fit together, see :func:`check_pair`.
    """
    check_pair(pair.degraded, pair.clean)
    return read_image(pair.degraded), read_image(pair.clean)


def check_pair(
    degraded: Path, clean: Path, scales: Sequence[int] = (1,), argument: str | None = None
) -> tuple[int, int]:
    """Make sure by their headers that two images fit together, when they are found and again when they are read.

    Args:
        degraded: File of the degraded image.
        clean: File of the clean image.
        scales: How many times larger this may be. Default: as large.
        argument: Name of the data module's argument by which the user chooses the scale. Default: none.

    Returns:
        Height and width in pixels of the clean image as shown.

    Raises:
        DataError: If one is damaged, they are turned differently, or their sizes do not fit; names both.
    """
    return check_fit(degraded, read_any_header(degraded), clean, read_any_header(clean), scales, argument)


def check_fit(
    degraded: Path,
    small: ImageHeader,
    clean: Path,
    large: ImageHeader,
    scales: Sequence[int] = (1,),
    argument: str | None = None,
) -> tuple[int, int]:
    """Make sure that two images fit together by what is known of them.

    If cameras or programs noted (EXIF) that they are to be turned differently, their sizes may fit nevertheless, and
    then they would be trained on where they do not show the same.

    Args:
        degraded: As of :func:`check_pair`.
        small: Size and orientation of the degraded image.
        clean: As there.
        large: Size and orientation of the clean image.
        scales: As there.
        argument: As there.

    Returns:
        As there.

    Raises:
        DataError: As there, unless one is damaged.
    """
    if small.orientation != large.orientation:
        raise DataError(
            f"'{degraded}' has the EXIF orientation {small.orientation}, but '{clean}' {large.orientation}: turned so, "
            "they do not lie over each other. Give both the same, or remove the two files."
        )
    (height, width), size = small.size("shown"), large.size("shown")
    if size in [(scale * height, scale * width) for scale in scales]:
        return size
    told = f"'{degraded}' has {height} × {width} pixels, but '{clean}' {size[0]} × {size[1]}"
    remedy = "Replace or remove the two files."
    if argument is not None:
        told += f", which is not {argument}={scales[0]} times as many along each side"
        factor = size[0] // height
        if factor > 1 and size == (factor * height, factor * width):
            remedy = f"If all are so, it is --data.init_args.{argument}={factor}."
    raise DataError(f"{told}. {remedy}")


def convert_pairs(
    pairs: Sequence[ImagePair], read: OpenPair, folder: Path, channels: int = _CHANNELS
) -> list[ImagePair]:
    """Write images as uncompressed ``.npy`` files, ``[H, W, C]``, but for those that were before.

    Where one file stands for both images of a pair it is written once. One pair is in memory at a time. See
    :func:`datamodules.files.conversion.convert` for what happens if it is interrupted.

    Args:
        pairs: The images.
        read: Decodes a pair.
        folder: Where to write; the data module's ``cache_dir``.
        channels: Of the images. Default: 3.

    Returns:
        The same pairs, of the converted files.

    Raises:
        DataError: If there is too little space, the folder cannot be written to, or an image is damaged.
    """
    steps = {_plan(pair): pair for pair in pairs}
    missing = [pair for step, pair in steps.items() if not all((folder / name).exists() for name in step.targets)]
    _check_space(folder, sum(len(_plan(pair).targets) * channels * pair.height * pair.width for pair in missing))

    def write(step: Conversion, paths: list[Path]) -> None:
        pair = steps[step]
        images = read(pair)
        if images[-1].shape[:2] != (pair.height, pair.width):
            raise DataError(f"'{pair.clean}' has changed its size since it was found. Start again.")
        for path, pixels in zip(paths, images[-len(paths) :], strict=True):
            save_array(path, pixels)

    convert(list(steps), write, folder, CACHE_ARGUMENT)
    return [
        pair._replace(degraded=folder / step.targets[0], clean=folder / step.targets[-1])
        for step, pair in steps.items()
    ]


def _plan(pair: ImagePair) -> Conversion:
    # No two ids have one name: what stands for "/" is escaped where it stands for itself.
    name = pair.id.rpartition(".")[0].replace("%", "%25").replace("-", "%2D").replace("/", "-")
    if pair.degraded == pair.clean:
        return Conversion((pair.clean,), (f"{name}.clean.npy",))
    return Conversion((pair.degraded, pair.clean), (f"{name}.degraded.npy", f"{name}.clean.npy"))


def _check_space(folder: Path, needed: int) -> None:
    place = next(parent for parent in (folder, *folder.resolve().parents) if parent.is_dir())
    free = shutil.disk_usage(place).free
    if needed > free:
        raise DataError(
            f"Converting the images into '{folder}' needs {needed / 1e9:.1f} GB, but {free / 1e9:.1f} GB are free. "
            f"Make room, or name a folder on another disk: --data.init_args.{CACHE_ARGUMENT}=FOLDER."
        )


class MemoryMaps:
    """Arrays in ``.npy`` files, mapped into memory: of a file only what is looked at is read.

    Each file is mapped when it is first asked for and stays so; that keeps no file open. In another process it is
    mapped anew, never copied there. What is asked for again is still there in full: to look at a part of a map whose
    file was cut off would end the process without a word.
    """

    def __init__(self) -> None:
        self._maps: dict[Path, tuple[int, AnyDepth]] = {}

    def __reduce__(self) -> tuple[type["MemoryMaps"], tuple[()]]:
        return MemoryMaps, ()

    def __call__(self, path: Path) -> AnyDepth:
        """Map the array in a file, uint8 or uint16 of any shape; not to be written to, and to be looked at at once.

        Raises:
            DataError: If the file is missing or damaged, or has changed since it was mapped; names it.
        """
        try:
            size = os.stat(path).st_size
            if path not in self._maps:
                self._maps[path] = size, _map_file(path, size)
        except (OSError, ValueError, EOFError) as error:
            raise _lost(path, getattr(error, "strerror", None) or f"it is damaged ({error})") from error
        before, pixels = self._maps[path]
        if size != before:
            raise _lost(path, f"it had {before} bytes before, and now has {size}")
        return pixels

    def pair(self, pair: ImagePair) -> tuple[AnyDepth, AnyDepth]:
        """Map the images of a converted pair.

        Raises:
            DataError: As above, or if they do not fit together, or have another size than the pair; names the file.
        """
        degraded, clean = self(pair.degraded), self(pair.clean)
        small, large = (ImageHeader(pixels.shape[0], pixels.shape[1], 1) for pixels in (degraded, clean))
        if check_fit(pair.degraded, small, pair.clean, large) != (pair.height, pair.width):
            raise _lost(pair.clean, f"it holds an image of another size than {pair.height} × {pair.width} pixels")
        return degraded, clean


def _map_file(path: Path, size: int) -> AnyDepth:
    described = np.load(path, mmap_mode="r")
    if described.offset + described.nbytes != size:
        raise ValueError(f"its size is {size} bytes")
    # Numpy's own map keeps its file open, and a process may have only so many open.
    content = torch.from_file(str(path), shared=False, size=size, dtype=torch.uint8)
    pixels: AnyDepth = content[described.offset :].numpy().view(described.dtype).reshape(described.shape)
    return pixels


def _lost(path: Path, what: str) -> DataError:
    return DataError(f"'{path}' cannot be read: {what}. Start again: converted files that have changed are made anew.")
