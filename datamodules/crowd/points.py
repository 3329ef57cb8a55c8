"""One's own photographs with whatever is to be counted marked in them."""

import logging
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from datamodules.annotations.matching import match_images
from datamodules.annotations.reading import read_annotations
from datamodules.annotations.structure import ImageAnnotation, Unit
from datamodules.annotations.units import check_unit, to_pixels
from datamodules.crowd.base import CrowdDataModule, Split
from datamodules.crowd.positions import AnnotatedImage, count_moved, place_points
from datamodules.crowd.samples import CrowdFiles
from datamodules.errors import IMAGES, POSITIONS, DataError, check_fractions, check_one_of, noted
from datamodules.files.channels import SUFFIXES, read_any_header
from datamodules.files.listing import IMAGE_SUFFIXES, list_images
from datamodules.files.progress import show_progress
from datamodules.files.readers import Exif, ImageHeader
from datamodules.splits import split_indices
from datamodules.types import Indices

_log = logging.getLogger(__name__)


class PointsDataModule(CrowdDataModule):
    """One's own photographs in which objects of any kind are marked, by points or by what has a centre.

    ``images_dir`` holds the images, in it and its sub-folders: photographs, or what microscopes and other instruments
    give, of any number of channels, 8 or 16 bits. ``annotations`` may be any of these, told by what is in
    the file, whatever its name:

    - a table (CSV) with a row for each object: columns ``image``, ``x``, ``y``; or boxes as ``x1``, ``y1``, ``x2``,
      ``y2`` or ``x``, ``y``, ``w``, ``h``; perhaps ``label``, and ``split`` (``train``, ``val``, ``test``). An image
      without objects has a row with empty coordinates;
    - COCO (JSON): keypoints, else boxes;
    - Label Studio's export (JSON or JSON-MIN): key points, rectangles, ellipses, polygons;
    - CVAT for images 1.1 (XML): points, boxes, ellipses, polygons;
    - a folder with a file for each image, named as it is: of LabelMe or AnyLabeling (points, circles, rectangles,
      polygons), or ``.npy``, ``.txt`` and ``.mat`` files of positions x, y. By default these are looked for beside the
      images.

    Of boxes and shapes the centre counts. Names of images are paths relative to ``images_dir``, or their ends, with or
    without suffix.

    Coordinates have their origin at the image's upper left corner, so that the first pixel's centre is at 0.5: this is
    what ``coord_offset`` subtracts. Positions outside their image are moved to its border; too many are refused.

    Splits: as the table says; or ``val_fraction`` and ``test_fraction`` of the images at random, or all images of
    ``test_images_dir`` for test. Ids are paths relative to ``images_dir``. Batches, augmentation and prediction are as
    in :class:`~datamodules.crowd.base.CrowdDataModule`.

    With other than three channels images may also be arrays ``[H, W, C]`` in ``.npy`` files, where the annotations are
    one file; in a folder with a file for each image, ``.npy`` files are positions.

    Args:
        images_dir: Folder of the images. Default: ``"data/images"``.
        annotations: File or folder of what is marked in them. Default: ``images_dir``.
        test_images_dir: Folder of images for test. Default: none, they are of ``images_dir``.
        test_annotations: File or folder of what is marked in these. Default: ``test_images_dir``.
        category: Count objects of this label only; predictions call by it what they find. Default: all, which they call
            ``objects``.
        channels: Of the images: 3 (RGB), 1 (grey), or as many as they have, see
            :func:`datamodules.files.channels.read_channels`. The network's ``in_channels`` must be the same.
            Default: 3.
        mean: What is subtracted from each channel, whose values are from 0 to 1, 1 being the most that 8 or 16 bits
            hold. Images that use a small part of that learn faster with their own. Default: ImageNet's for 3
            channels, else 0.5.
        std: What each channel is then divided by. Default: ImageNet's for 3 channels, else 0.5.
        coordinates: ``pixels``, ``fraction`` or ``percent`` of the image's sides, for files that do not say it.
            Default: pixels there.
        unlisted: What an image is that the annotations do not name: an ``error``, or ``empty``. Default: ``error``.
        outside: Positions outside their image are moved to its ``border``, or an ``error``. Default: ``border``.
        test_fraction: Share of the images for test, where neither a table nor ``test_images_dir`` says. Default: 0.15.
        val_fraction: Share of the other images for validation, where a table does not say. Default: 0.15.
        crop_size: Height and width of the training crops, in pixels. Default: 256.
        exif: Whether positions are of the images as ``stored``, or as ``shown`` by today's tools. Default: ``shown``.
        coord_offset: What is subtracted from coordinates in pixels. Default: 0.5.
        batch_size: Crops in a training batch, on each device. Default: 8.
        **kwargs: Those of :class:`~datamodules.crowd.base.CrowdDataModule`.

    Raises:
        ValueError: If an argument is out of range.
        DataError: From ``setup``, if files are missing or wrong, or do not fit together; names file and row.
    """

    def __init__(
        self,
        images_dir: str = "data/images",
        *,
        annotations: str | None = None,
        test_images_dir: str | None = None,
        test_annotations: str | None = None,
        category: str | None = None,
        channels: int = 3,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        coordinates: Unit | None = None,
        unlisted: Literal["error", "empty"] = "error",
        outside: Literal["border", "error"] = "border",
        test_fraction: float = 0.15,
        val_fraction: float = 0.15,
        crop_size: int = 256,
        exif: Exif = "shown",
        coord_offset: float = 0.5,
        batch_size: int = 8,
        **kwargs: Any,
    ) -> None:
        self.channels = channels
        super().__init__(
            crop_size=crop_size,
            mean=mean,
            std=std,
            val_fraction=val_fraction,
            exif=exif,
            coord_offset=coord_offset,
            batch_size=batch_size,
            **kwargs,
        )
        check_fractions(test_fraction=test_fraction)
        check_one_of((*get_args(Unit), None), coordinates=coordinates)
        check_one_of(("error", "empty"), unlisted=unlisted)
        check_one_of(("border", "error"), outside=outside)
        if test_annotations is not None and test_images_dir is None:
            raise ValueError(f"test_images_dir must be given with test_annotations, got {test_images_dir!r}")
        self.images_dir = images_dir
        self.annotations = annotations
        self.test_images_dir = test_images_dir
        self.test_annotations = test_annotations
        self.category = category
        self.counted = "objects" if category is None else category
        self.coordinates = coordinates
        self.unlisted = unlisted
        self.outside = outside
        self._test_fraction = test_fraction

    def read_split(self, split: Split) -> CrowdFiles:
        """Take the images to train on, those held out among them, or the test images."""
        if split == "test" and self.test_images_dir is not None:
            return self._read(self.test_images_dir, self.test_annotations, "test_images_dir").files
        everything, chosen = self._own.files, self._parts[split]
        return CrowdFiles(
            paths=[everything.paths[i] for i in chosen],
            sizes=[everything.sizes[i] for i in chosen],
            points=[everything.points[i] for i in chosen],
            ids=[everything.ids[i] for i in chosen],
            exif=everything.exif,
            moved=[everything.moved[i] for i in chosen],
        )

    @cached_property
    def _own(self) -> "_Marked":
        return self._read(self.images_dir, self.annotations, "images_dir")

    @cached_property
    def _parts(self) -> dict[str, Indices]:
        """Images of ``images_dir`` to train on, with those held out, and for test."""
        splits = self._own.splits
        if any(splits):
            return {
                "train": np.flatnonzero([split != "test" for split in splits]),
                "test": np.flatnonzero([split == "test" for split in splits]),
            }
        if self.test_images_dir is not None:
            return {"train": np.arange(len(splits))}
        return split_indices(len(splits), {"test": self._test_fraction}, self._split_seed)

    @cached_property
    def _held_out(self) -> dict[str, Indices]:
        splits = [self._own.splits[i] for i in self._parts["train"]]
        if "val" not in splits:
            return split_indices(len(splits), self._fractions, self._split_seed)
        return {name: np.flatnonzero([split == name for split in splits]) for name in ("train", "val")}

    def _read(self, images_dir: str, annotations: str | None, argument: str) -> "_Marked":
        folder = Path(images_dir).expanduser()
        arrays = self.channels != 3 and annotations is not None and not Path(annotations).expanduser().is_dir()
        names = list_images(images_dir, argument, SUFFIXES if arrays else IMAGE_SUFFIXES)
        found = read_annotations(annotations, folder, category=self.category, coordinates=self.coordinates)
        _log.info("%s", found.description)
        place, marks = found.source, match_images(found, folder, names, self.unlisted)
        splits: list[str] = [mark.split or "" for mark in marks.values()]
        if any(splits) and not all(splits):
            raise DataError(
                f"'{place}' says the split of some images and not of {splits.count('')} others. Say it of all."
            )
        if any(splits) and not {"train", "test"} <= {*splits, *(["test"] if self.test_images_dir else [])}:
            raise DataError(f"'{place}' must have images of split train and of test, got {sorted(set(splits))}.")
        headers: dict[str, ImageHeader] = {}
        for name in show_progress(names, f"Reading '{folder}'", "images"):
            with noted(IMAGES):
                headers[name] = read_any_header(folder / name)
        marks = {name: marks[name] for name in headers}
        sizes = [header.size(self.exif) for header in headers.values()]
        with noted(POSITIONS):
            check_unit(list(marks.values()), sizes, place)
        images = []
        for (name, mark), header, (height, width) in zip(marks.items(), headers.values(), sizes, strict=True):
            with noted(POSITIONS):
                self._check_size(mark, header)
            points = to_pixels(mark.points, mark.unit, height, width).astype(np.float32)
            images.append(AnnotatedImage(folder / name, header, points, mark.place_of))
        if self.outside == "error":
            self._refuse_outside(images, list(marks.values()))
        placed = place_points(images, self.exif, self.coord_offset, place, self.counted)
        files = CrowdFiles(
            paths=[image.path for image in images],
            sizes=sizes,
            points=placed,
            ids=list(headers),
            exif=self.exif,
            moved=count_moved(images, placed, self.coord_offset).tolist(),
        )
        return _Marked(files, [mark.split or "" for mark in marks.values()])

    def _check_size(self, marks: ImageAnnotation, header: ImageHeader) -> None:
        """Refuse annotations of an image of another size, which may be that of the other reading of its note."""
        if marks.size is None or marks.size == header.size(self.exif):
            return
        other: Exif = "stored" if self.exif == "shown" else "shown"
        height, width = header.size(self.exif)
        remedy = (
            f"That is the image as {other}: set --data.init_args.exif={other}."
            if marks.size == header.size(other)
            else "Use the image that was annotated."
        )
        raise DataError(
            f"{marks.place}: '{marks.name}' was annotated with {marks.size[0]} × {marks.size[1]} pixels, but has "
            f"{height} × {width} as {self.exif}. {remedy}"
        )

    def _refuse_outside(self, images: Sequence[AnnotatedImage], marks: Sequence[ImageAnnotation]) -> None:
        for image, mark in zip(images, marks, strict=True):
            corner = np.array(image.header.size(self.exif)[::-1]) + self.coord_offset - 0.5
            wrong = ((image.points < self.coord_offset - 0.5) | (image.points > corner)).any(1)
            if not wrong.any():
                continue
            first = int(wrong.argmax())
            x, y = image.points[first]
            with noted(POSITIONS):
                raise DataError(
                    f"{mark.place_of(first)}: {wrong.sum()} positions lie outside '{mark.name}', the first at {x:g}, "
                    f"{y:g}. Correct them, or set --data.init_args.outside=border."
                )


class _Marked(NamedTuple):
    """Images with their positions, and the split of each, or nothing."""

    files: CrowdFiles
    splits: list[str]
