"""Positions annotated in images, checked against the images' sizes as stored and as shown."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from datamodules.errors import POSITIONS, DataError, abbreviate, noted, present_findings, remark
from datamodules.files.readers import Exif, ImageHeader
from datamodules.types import Points

_MANY, _MOST = 0.02, 0.2  # shares of the points outside their image: of which to warn, which to refuse
_BETTER = 0.2  # what another explanation of points outside may leave of them
_log = logging.getLogger(__name__)


class AnnotatedImage(NamedTuple):
    """An image with positions in it.

    Attributes:
        path: The image's file.
        header: Its size and orientation.
        points: Positions (x, y) as annotated, in pixels, float32 ``[N, 2]``.
        place_of: Tells where one of them is written, for messages. Default: in the annotations.
    """

    path: Path
    header: ImageHeader
    points: Points
    place_of: Callable[[int], str] = lambda position: "the annotations"


def place_points(
    images: Sequence[AnnotatedImage], exif: Exif, coord_offset: float, place: Path, counted: str = "heads"
) -> list[Points]:
    """Move all points into their images; how many had to be moved to the border is logged.

    What that tells of the annotations is checked:

    - Where a camera noted that images are to be turned, points outside of them by the one reading of the note and
      inside by the other are refused. Where points are inside by both, ``stored`` is assumed with a warning.
    - Where more than 2 % of all points are moved that is a warning, and where more than 20 % lie outside by more than a
      pixel they are refused.

    Args:
        images: All images of a split.
        exif: What points refer to: the images as ``stored`` or as ``shown``.
        coord_offset: What is subtracted from the points' coordinates, in pixels.
        place: Where they are from, for messages.
        counted: What they are positions of, likewise.

    Returns:
        For each image the points inside of it, float32 ``[N, 2]``, each from 0 to its width or height − 1.

    Raises:
        DataError: If the points belong to the other reading, or to other images; says what to set.
    """
    images = [image._replace(points=image.points - np.float32(coord_offset)) for image in images]
    with noted(POSITIONS):
        _check_reading(images, exif)
    with noted(POSITIONS):
        _refuse_if_most_are_outside(images, exif, coord_offset, place)
    placed = [image.points.clip(0, _corner(image, exif)) for image in images]
    moved = count_moved(images, placed)
    count = _count_points(images)
    _note_misplaced(images, exif, coord_offset, many=moved.sum() > _MANY * count)
    told = f"'{place}': {len(images)} images, {count} {counted}, {moved.sum()} of them moved to their image's border"
    if moved.sum() > _MANY * count:
        share = moved.sum() / count
        _log.warning(f"{told}: {share:.1%}, in {(moved > 0).sum()} images, {_name_worst(images, moved)}")
    else:
        _log.info(told)
    return placed


def count_moved(
    images: Sequence[AnnotatedImage], placed: Sequence[Points], coord_offset: float = 0
) -> npt.NDArray[np.int64]:
    """Count the points that were moved to their image's border.

    Args:
        images: The images with the points as annotated.
        placed: What :func:`place_points` made of them.
        coord_offset: What it subtracted from their coordinates, in pixels.

    Returns:
        For each image a number, int64 ``[len(images)]``.
    """
    # By half a pixel those are moved that lie in the outer half of a pixel at the border.
    counts = [
        (np.abs(image.points - np.float32(coord_offset) - points) > 0.5).any(1).sum()
        for image, points in zip(images, placed, strict=True)
    ]
    return np.array(counts, np.int64)


def _note_misplaced(images: Sequence[AnnotatedImage], exif: Exif, coord_offset: float, many: bool) -> None:
    """Tell where points lie outside their image: a fault where they are many of its or of all points, else a remark."""
    found = present_findings()
    if found is None:
        return
    for image, outside in zip(images, _count_outside(images, exif), strict=True):
        if not outside:
            continue
        height, width = image.header.size(exif)
        first = int(((image.points < -1) | (image.points > _corner(image, exif) + 1)).any(1).argmax())
        x, y = image.points[first] + np.float32(coord_offset)
        cause = _find_cause([image], exif, coord_offset)
        text = (
            f"{image.place_of(first)}: {outside} of {len(image.points)} points lie outside '{image.path}' ({width} × "
            f"{height}), the first at {x:g}, {y:g}" + (f". {cause}" if cause else "")
        )
        if many or outside > _MOST * len(image.points):
            found.note(POSITIONS, text)
        else:
            remark(text, "Moved to the border")


def _check_reading(images: Sequence[AnnotatedImage], exif: Exif) -> None:
    """Refuse points that fit the other reading of the images' notes; warn where nobody can tell."""
    other: Exif = "shown" if exif == "stored" else "stored"
    turned = [image for image in images if image.header.orientation != 1 and len(image.points)]
    straight = [image for image in images if image.header.orientation == 1]
    if not turned or _count_outside(straight, exif).sum() > _MOST * _count_points(straight):
        return  # no note is to blame
    # Points beside the border are of careless annotations, not of another reading.
    by_this, by_other = (_count_outside(turned, reading, margin=0.02) for reading in (exif, other))
    against, in_favour = np.maximum(by_this - by_other, 0), np.maximum(by_other - by_this, 0)
    counts = np.array([len(image.points) for image in turned])
    if against.sum() > in_favour.sum() and by_other.sum() <= _BETTER * by_this.sum():
        wrong = against > 0
        remedy = f"Set --data.init_args.exif={other}."
    else:
        wrong = (by_this > _MOST * counts) & (by_other == 0)
        remedy = f"The other images fit exif='{exif}': annotate these again, or remove their EXIF orientation."
    if wrong.any():
        names = [image.path.name for image, is_wrong in zip(turned, wrong, strict=True) if is_wrong]
        raise DataError(
            f"'{turned[int(wrong.argmax())].path.parent}': of {counts[wrong].sum()} points in {len(names)} images that "
            f"EXIF turns ({abbreviate(names, 3)}), {by_this[wrong].sum()} lie outside the image as {exif}, "
            f"{by_other[wrong].sum()} outside it as {other}. {remedy}"
        )
    unclear = [image for image, difference in zip(turned, by_this - by_other, strict=True) if not difference]
    if unclear and exif == "stored":
        _log.warning(
            f"'{unclear[0].path.parent}': EXIF turns {len(unclear)} of {len(images)} images "
            f"({abbreviate([image.path.name for image in unclear], 3)}) whose points fit them as stored and as shown: "
            "exif='stored' is assumed. If they were annotated as shown, set --data.init_args.exif=shown"
        )


def _refuse_if_most_are_outside(images: Sequence[AnnotatedImage], exif: Exif, coord_offset: float, place: Path) -> None:
    outside, points = _count_outside(images, exif), _count_points(images)
    if outside.sum() <= _MOST * points:
        return
    cause = _find_cause(images, exif, coord_offset)
    cause = cause or "They seem to be of other images, or of these in another size: replace the annotations"
    raise DataError(
        f"'{place}': {outside.sum()} of {points} points ({outside.sum() / points:.1%}) lie outside their image, "
        f"{_name_worst(images, outside)}. {cause}."
    )


def _find_cause(images: Sequence[AnnotatedImage], exif: Exif, coord_offset: float) -> str:
    """Find what explains points outside, and say what to do; empty if nothing does."""
    outside = _count_outside(images, exif).sum()

    def fit(others: Sequence[Points], reading: Exif = exif) -> bool:
        changed = [image._replace(points=points) for image, points in zip(images, others, strict=True)]
        return bool(_count_outside(changed, reading).sum() <= _BETTER * outside)

    other: Exif = "shown" if exif == "stored" else "stored"
    if any(image.header.orientation != 1 for image in images) and fit([image.points for image in images], other):
        return f"They fit the image as {other}: set --data.init_args.exif={other}"
    if fit([image.points[:, ::-1] for image in images]):
        return "They fit with x and y swapped: write x first"
    if coord_offset and fit([image.points + np.float32(coord_offset) for image in images]):
        return f"They fit without coord_offset={coord_offset:g}: set --data.init_args.coord_offset=0"
    return ""


def _corner(image: AnnotatedImage, exif: Exif) -> Points:
    """Tell the position (x, y) of an image's last pixel."""
    return np.array(image.header.size(exif)[::-1], np.float32) - 1


def _count_outside(images: Sequence[AnnotatedImage], exif: Exif, margin: float = 0) -> npt.NDArray[np.int64]:
    """Count each image's points that lie outside by more than a pixel, and by a share of its longer side."""
    counts = []
    for image in images:
        corner = _corner(image, exif)
        allowed = max(1, margin * (corner.max() + 1))
        counts.append(((image.points < -allowed) | (image.points > corner + allowed)).any(1).sum())
    return np.array(counts, np.int64)


def _count_points(images: Sequence[AnnotatedImage]) -> int:
    return sum(len(image.points) for image in images)


def _name_worst(images: Sequence[AnnotatedImage], counts: npt.NDArray[np.int64]) -> str:
    worst = int(counts.argmax())
    return f"most in '{images[worst].path.name}' ({counts[worst]} of {len(images[worst].points)})"
