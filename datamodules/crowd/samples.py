"""Photographs of crowds with the positions of heads, and photographs to predict."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch

from datamodules.batches import CrowdBatch, PhotographBatch
from datamodules.crowd.channels import ImageChannels
from datamodules.crowd.density import make_density_map
from datamodules.crowd.positions import AnnotatedImage, count_moved, place_points
from datamodules.errors import IMAGES, DataError, noted
from datamodules.files.channels import read_any_header
from datamodules.files.progress import show_progress
from datamodules.files.readers import Exif, read_header
from datamodules.samples import ImageFolder, InputFiles, SampleSet, StoredSample, batch_of_one
from datamodules.types import AnyDepth, Indices, Photograph, Points


class CrowdFiles(NamedTuple):
    """Photographs of crowds with their annotations.

    Attributes:
        paths: The images' files.
        sizes: Their heights and widths, in pixels.
        points: Positions (x, y) of the heads in each image's pixels, float32 ``[count, 2]``, none outside of it.
        ids: One name for each image, unique within the split.
        exif: Whether sizes and points are of the images as ``stored`` or as ``shown``; they are read likewise.
        moved: How many points of each image were moved to its border.
    """

    paths: list[Path]
    sizes: list[tuple[int, int]]
    points: list[Points]
    ids: list[str]
    exif: Exif
    moved: list[int]


def read_crowd(
    pairs: Sequence[tuple[Path, Path]],
    read: Callable[[Path], Points],
    coord_offset: float,
    exif: Exif,
    folder: Path,
) -> CrowdFiles:
    """Read all annotations of a split, and check them against the images' headers. Shows progress.

    Args:
        pairs: Images and their annotations.
        read: Reads an annotation, see ``annotations``.
        coord_offset: What is subtracted from the annotated coordinates, in pixels.
        exif: Whether annotations refer to the images as ``stored`` or as ``shown``.
        folder: What ids are relative to.

    Returns:
        The images with their annotations; heads outside their image are moved to its border, see
        :func:`~datamodules.crowd.positions.place_points`.

    Raises:
        DataError: If an annotation or the beginning of an image is missing or damaged, or annotations do not fit the
            images; names the file.
    """
    place = pairs[0][0].parent
    images = []
    for image, annotation in show_progress(pairs, f"Reading the annotations of '{place}'", "images"):
        with noted(IMAGES):
            images.append(AnnotatedImage(image, read_header(image), read(annotation), partial(_name, annotation)))
    placed = place_points(images, exif, coord_offset, place)
    return CrowdFiles(
        paths=[image.path for image in images],
        sizes=[image.header.size(exif) for image in images],
        points=placed,
        ids=[image.path.relative_to(folder).as_posix() for image in images],
        exif=exif,
        moved=count_moved(images, placed, coord_offset).tolist(),
    )


def _name(annotation: Path, position: int) -> str:
    return f"'{annotation}'"


class CrowdSamples(SampleSet[CrowdBatch]):
    """Photographs of crowds, or a part of them, with density maps made from the heads' positions.

    Args:
        files: All photographs.
        indices: Those that belong to this part, in its order.
        sigma: Standard deviation of the Gaussian at each head, in pixels.
        kernel_size: Height and width of its kernel, in pixels; odd.
        augmentation: What is done to an image, as it is read, and the points in it. Default: nothing.
        channels: Of the photographs. Default: RGB, normalised as for ImageNet.
    """

    def __init__(
        self,
        files: CrowdFiles,
        indices: Indices,
        sigma: float,
        kernel_size: int,
        augmentation: Callable[[Photograph, Points], tuple[Photograph, Points]] | None = None,
        channels: ImageChannels | None = None,
    ) -> None:
        self._files = files
        self._indices = indices
        self._sigma = sigma
        self._kernel_size = kernel_size
        self._augmentation = augmentation
        self._channels = ImageChannels() if channels is None else channels

    def __len__(self) -> int:
        """Count the photographs in this part."""
        return len(self._indices)

    def __getitem__(self, index: int) -> CrowdBatch:
        """Return the photograph at a position of this part, or a crop of it, as a batch of one.

        Raises:
            DataError: If it cannot be read, or has another size than before; names the file.
        """
        source = self._indices[index]
        pixels, points = self._channels.in_range(self._read(source)), self._files.points[source]
        if self._augmentation is not None:
            pixels, points = self._augmentation(pixels, points)
        density = make_density_map(points, pixels.shape[0], pixels.shape[1], self._sigma, self._kernel_size)
        mean, std = self._channels.told()
        return CrowdBatch(
            image=batch_of_one(self._channels.normalise(pixels)),
            density=torch.from_numpy(density)[None, None],
            num_heads=torch.tensor([len(points)]),
            points=[torch.tensor(points)],  # a copy: these stay as they are whatever is done with a batch
            id=[self._files.ids[source]],
            mean=mean,
            std=std,
        )

    def stored(self, index: int) -> StoredSample:
        """Return the photograph at a position of this part as it is stored."""
        source = self._indices[index]
        return StoredSample(
            names=(str(self._files.paths[source]),),
            read=lambda: (self._read(source),),
            points=self._files.points[source],
            moved=self._files.moved[source],
        )

    def _read(self, source: int) -> AnyDepth:
        path = self._files.paths[source]
        pixels = self._channels.decode(path, self._files.exif)
        if pixels.shape[:2] != self._files.sizes[source]:
            raise DataError(f"'{path}' has changed its size since its annotation was read. Start again.")
        return pixels


class Photographs(InputFiles[PhotographBatch]):
    """Photographs to predict, of any size.

    Args:
        folder: The images' folder.
        channels: Of the images.
        prepare: What is done to an image, as it is read.
        exif: Whether positions are to be told in the images as ``stored`` or as ``shown``.
        category: What is counted.
    """

    def __init__(
        self,
        folder: ImageFolder,
        channels: ImageChannels,
        prepare: Callable[[Photograph], Photograph],
        exif: Exif,
        category: str,
    ) -> None:
        self.ids = folder.ids
        self._paths = folder.paths
        self._channels = channels
        self._prepare = prepare
        self._exif = exif
        self._category = category

    def __getitem__(self, index: int) -> PhotographBatch:
        """Return one photograph, as a batch of one."""
        path = self._paths[index]
        image = self._channels.read(path, "shown")
        mean, std = self._channels.told()
        return PhotographBatch(
            image=batch_of_one(self._channels.normalise(self._prepare(image))),
            original_size=torch.tensor([image.shape[:2]]),
            id=[self.ids[index]],
            exif=[self._exif],
            orientation=torch.tensor([read_any_header(path).orientation]),
            mean=mean,
            std=std,
            category=[self._category],
        )
