"""Photographs of crowds with the positions of heads, and photographs to predict."""

import logging
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import ExifTags, Image
from torch import Tensor

from datamodules.batches import IMAGENET_MEAN, IMAGENET_STD, CrowdBatch, PhotographBatch
from datamodules.crowd.density import make_density_map
from datamodules.files.progress import show_progress
from datamodules.files.readers import decode_image, read_content, read_stored_size
from datamodules.samples import ImageFolder, InputFiles, SampleSet, batch_of_one
from datamodules.transforms.pixels import Normalise
from datamodules.types import Indices, Pixels, Points

_log = logging.getLogger(__name__)


class CrowdFiles(NamedTuple):
    """Photographs of crowds with their annotations.

    Attributes:
        paths: The images' files.
        sizes: Their heights and widths, in pixels.
        points: Positions (x, y) of the heads in each image's pixels, float32 ``[count, 2]``, none outside of it.
        ids: One name for each image, unique within the split.
    """

    paths: list[Path]
    sizes: list[tuple[int, int]]
    points: list[Points]
    ids: list[str]


def read_crowd(
    pairs: Sequence[tuple[Path, Path]], read: Callable[[Path], Points], coord_offset: float, folder: Path
) -> CrowdFiles:
    """Read all annotations of a split; how many heads were moved into their image is logged. Shows progress.

    Args:
        pairs: Images and their annotations.
        read: Reads an annotation, see ``annotations``.
        coord_offset: What is subtracted from the annotated coordinates, in pixels.
        folder: What ids are relative to.

    Returns:
        The images with their annotations; heads outside their image are moved to its border.

    Raises:
        DataError: If an annotation or the beginning of an image is missing or damaged; names the file.
    """
    files = CrowdFiles([], [], [], [])
    moved = 0
    place = pairs[0][0].parent
    for image, annotation in show_progress(pairs, f"Reading the annotations of '{place}'", "images"):
        height, width = read_stored_size(image)
        points = read(annotation) - np.float32(coord_offset)
        inside = points.clip(0, np.array((width - 1, height - 1), np.float32))
        moved += int((inside != points).any(1).sum())
        files.paths.append(image)
        files.sizes.append((height, width))
        files.points.append(inside)
        files.ids.append(image.relative_to(folder).as_posix())
    heads = sum(map(len, files.points))
    _log.info("'%s': %d images, %d heads, %d of them moved to their image's border", place, len(pairs), heads, moved)
    return files


def read_stored(path: Path) -> Pixels:
    """Read an image as it is stored, which annotations refer to, even if the camera noted that it is to be turned.

    Args:
        path: The file.

    Returns:
        RGB, uint8 ``[H, W, 3]``.

    Raises:
        DataError: If it cannot be read.
    """
    content = read_content(path)
    pixels = decode_image(content, path)
    with Image.open(BytesIO(content)) as file:
        try:
            turned = file.getexif().get(ExifTags.Base.Orientation, 1) != 1
        except Exception:  # a damaged note may raise any; such an image is not turned
            turned = False
        return np.array(file.convert("RGB")) if turned else pixels


class CrowdSamples(SampleSet[CrowdBatch]):
    """Photographs of crowds, or a part of them, with density maps made from the heads' positions.

    Args:
        files: All photographs.
        indices: Those that belong to this part, in its order.
        sigma: Standard deviation of the Gaussian at each head, in pixels.
        kernel_size: Height and width of its kernel, in pixels; odd.
        augmentation: What is done to an image, uint8 ``[H, W, 3]``, and the points in it. Default: nothing.
    """

    def __init__(
        self,
        files: CrowdFiles,
        indices: Indices,
        sigma: float,
        kernel_size: int,
        augmentation: Callable[[Pixels, Points], tuple[Pixels, Points]] | None = None,
    ) -> None:
        self._files = files
        self._indices = indices
        self._sigma = sigma
        self._kernel_size = kernel_size
        self._augmentation = augmentation
        self._normalise = Normalise(IMAGENET_MEAN, IMAGENET_STD)

    def __len__(self) -> int:
        """Count the photographs in this part."""
        return len(self._indices)

    def __getitem__(self, index: int) -> CrowdBatch:
        """Return the photograph at a position of this part, or a crop of it, as a batch of one.

        Raises:
            DataError: If it cannot be read; names the file.
        """
        source = self._indices[index]
        pixels, points = read_stored(self._files.paths[source]), self._files.points[source]
        if self._augmentation is not None:
            pixels, points = self._augmentation(pixels, points)
        density = make_density_map(points, pixels.shape[0], pixels.shape[1], self._sigma, self._kernel_size)
        return CrowdBatch(
            image=batch_of_one(self._normalise(pixels)),
            density=torch.from_numpy(density)[None, None],
            num_heads=torch.tensor([len(points)]),
            points=[torch.tensor(points)],  # a copy: these stay as they are whatever is done with a batch
            id=[self._files.ids[source]],
        )


class Photographs(InputFiles[PhotographBatch]):
    """Photographs to predict, of any size.

    Args:
        images: The images, 8-bit pixels.
        transform: From one image, uint8 ``[H, W, 3]``, to a float32 tensor ``[3, H', W']``.
    """

    def __init__(self, images: ImageFolder, transform: Callable[[Pixels], Tensor]) -> None:
        self.ids = images.ids
        self._images = images
        self._transform = transform

    def __getitem__(self, index: int) -> PhotographBatch:
        """Return one photograph, as a batch of one."""
        image, name = self._images[index]
        size = torch.tensor([image.shape[2:]])
        return PhotographBatch(batch_of_one(self._transform(image[0].permute(1, 2, 0).numpy())), size, name)
