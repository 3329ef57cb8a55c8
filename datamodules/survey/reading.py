"""One sample at a time, read and measured: what is left of it is small."""

from collections.abc import Collection
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from torch.utils.data import Dataset

from datamodules.errors import DataError
from datamodules.prediction import is_of_the_machine
from datamodules.samples import SampleSet, StoredSample, describe_batch
from datamodules.survey.thumbnails import Thumbnail, draw_thumbnail

_ROWS = 256  # of an image that are converted to float64 at a time
_DIGEST = 16  # bytes


class Moments(NamedTuple):
    """Sums over pixels, whose values are parts of 1.

    Attributes:
        pixels: Number of pixels.
        sums: For each channel the sum of their values, float64 ``[C]``.
        squares: And of their squares.
    """

    pixels: int
    sums: npt.NDArray[np.float64]
    squares: npt.NDArray[np.float64]


class Reading(NamedTuple):
    """What was found of a sample.

    Attributes:
        names: As of :class:`~datamodules.samples.StoredSample`.
        fault: Why it cannot be used; all that follows is empty then.
        size: Height and width of its image, in pixels.
        channels: Of the image.
        depth: Its bits, such as ``8`` or, of floating point, ``float``.
        digests: For each name a fingerprint of the pixels; none where they are not as stored.
        label: Class index, if any.
        objects: Number of points, if any are to be counted.
        moved: How many of them were moved to the image's border.
        psnr: Of the degraded image of a pair, in dB.
        moments: Of the image's pixels, where they are asked for.
        thumbnail: What it looks like, where that is asked for.
    """

    names: tuple[str, ...]
    fault: str = ""
    size: tuple[int, int] = (0, 0)
    channels: int = 0
    depth: str = ""
    digests: tuple[bytes, ...] = ()
    label: int | None = None
    objects: int | None = None
    moved: int = 0
    psnr: float | None = None
    moments: Moments | None = None
    thumbnail: Thumbnail | None = None


class Readings(Dataset[Reading]):
    """What is found of each sample of a split, by its index; it is read then.

    Args:
        samples: The samples.
        drawn: Indices of those of which thumbnails are wanted.
        moments: Whether moments of the pixels are wanted.
    """

    def __init__(self, samples: SampleSet[Any], drawn: Collection[int], moments: bool) -> None:
        self._samples = samples
        self._drawn = frozenset(drawn)
        self._moments = moments

    def __len__(self) -> int:
        """Count the samples."""
        return len(self._samples)

    def __getitem__(self, index: int) -> Reading:
        """Read a sample, and measure it."""
        names: tuple[str, ...] = (f"sample {index}",)
        try:
            sample = describe(self._samples, index)
            names = sample.names
            return measure(sample, self._moments, index in self._drawn)
        except DataError as error:
            if is_of_the_machine(error):
                raise
            return Reading(names, fault=str(error))
        except MemoryError as error:
            return Reading(names, fault=f"'{names[0]}' is too large for the memory that is free: {error}".rstrip(": "))


def describe(samples: Any, index: int) -> StoredSample:
    """Describe a sample by its own ``stored``, or where it has none, by what is handed out."""
    return samples.stored(index) if isinstance(samples, SampleSet) else describe_batch(samples[index])


def measure(sample: StoredSample, moments: bool, draw: bool) -> Reading:
    """Read a sample, and measure it.

    Args:
        sample: The sample.
        moments: Whether moments of its pixels are wanted.
        draw: Whether a thumbnail is.

    Returns:
        What was found.

    Raises:
        DataError: If it cannot be read.
    """
    images = sample.read()
    image = images[0]
    whites = [find_white(sample, pixels) for pixels in images]
    stored = () if sample.handed_out else images[-len(sample.names) :]
    return Reading(
        names=sample.names,
        size=(image.shape[0], image.shape[1]),
        channels=image.shape[2],
        depth=str(8 * images[-1].itemsize) if images[-1].dtype.kind == "u" else "float",
        digests=tuple(map(take_fingerprint, stored)),
        label=sample.label,
        objects=None if sample.points is None else len(sample.points),
        moved=sample.moved,
        psnr=measure_psnr(images, whites) if len(images) == 2 and not sample.handed_out else None,
        moments=take_moments(image, whites[0]) if moments else None,
        thumbnail=draw_thumbnail(images, whites, sample) if draw else None,
    )


def find_white(sample: StoredSample, pixels: npt.NDArray[Any]) -> float:
    """Find the value that stands for 1 in one of a sample's images."""
    if sample.white is not None:
        return sample.white
    return 1.0 if pixels.dtype.kind == "f" else float(np.iinfo(pixels.dtype).max)


def take_fingerprint(pixels: npt.NDArray[Any]) -> bytes:
    """Take a fingerprint of an image, which another one has if its pixels, size and depth are the same."""
    digest = blake2b(f"{pixels.dtype.str} {pixels.shape}".encode(), digest_size=_DIGEST)
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.digest()


def take_moments(pixels: npt.NDArray[Any], white: float) -> Moments:
    """Sum up the pixels of an image ``[H, W, C]``, as parts of ``white``."""
    sums, squares = (np.zeros(pixels.shape[2]) for _ in range(2))
    for start in range(0, len(pixels), _ROWS):
        values = pixels[start : start + _ROWS].astype(np.float64) / white
        sums += values.sum((0, 1))
        squares += np.square(values).sum((0, 1))
    return Moments(pixels.shape[0] * pixels.shape[1], sums, squares)


def measure_psnr(images: tuple[npt.NDArray[Any], ...], whites: list[float]) -> float:
    """Measure the PSNR of two images ``[H, W, C]`` over all their values, in dB; infinite where they are the same."""
    total = 0.0
    for start in range(0, len(images[0]), _ROWS):
        one, other = (
            pixels[start : start + _ROWS].astype(np.float64) / white
            for pixels, white in zip(images, whites, strict=True)
        )
        total += float(np.square(one - other).sum())
    return float("inf") if total == 0 else float(-10 * np.log10(total / images[0].size))
