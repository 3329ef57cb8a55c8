"""Photographs of crowds brought to sizes that networks can be trained on, and the heads in them."""

from pathlib import Path
from typing import Literal, get_args

import numpy as np
from PIL import Image

from datamodules.crowd.samples import CrowdFiles
from datamodules.errors import check_one_of
from datamodules.files.conversion import Conversion, convert
from datamodules.files.readers import read_image
from datamodules.transforms.crops import resize_bilinear
from datamodules.types import Points

ResizeRule = Literal["short_512_2048", "fit_1024", "long_1536", "none"]


def compute_resized_size(height: int, width: int, rule: ResizeRule) -> tuple[int, int]:
    """Compute the size of an image after resizing; its aspect is kept, to the nearest pixel.

    Args:
        height: Height of the image, in pixels.
        width: Its width.
        rule: ``short_512_2048``: the shorter side is brought to 512 pixels if it is shorter, to 2048 if it is longer.
            ``fit_1024`` and ``long_1536``: the longer side is brought to 1024 or 1536 pixels if it is longer. ``none``.

    Returns:
        Height and width, in pixels.

    Raises:
        ValueError: If there is no such rule.
    """
    short, long = sorted((height, width))
    factors = {
        "short_512_2048": min(max(short, 512), 2048) / short,
        "fit_1024": min(1024 / long, 1),
        "long_1536": min(1536 / long, 1),
        "none": 1,
    }
    check_one_of(get_args(ResizeRule), resize=rule)
    return max(1, round(height * factors[rule])), max(1, round(width * factors[rule]))


def resize_files(files: CrowdFiles, rule: ResizeRule, folder: Path) -> CrowdFiles:
    """Resize the images of a split that have another size by the rule, if that is not done yet; shows progress.

    They are kept as JPEG of quality 95 without subsampled colours.

    Args:
        files: The images as published.
        rule: See :func:`compute_resized_size`.
        folder: Where resized images are kept; of this split, rule and ``files.exif`` alone.

    Returns:
        The images after resizing, with the heads moved along; those that keep their size are where they were.

    Raises:
        DataError: If an image that is to be resized is damaged, or ``folder`` cannot be written to.
    """
    result = CrowdFiles([], [], [], files.ids, files.exif, files.moved)
    steps, sizes = [], {}
    for path, before, points in zip(files.paths, files.sizes, files.points, strict=True):
        after = compute_resized_size(*before, rule)
        result.sizes.append(after)
        if after == before:
            result.paths.append(path)
            result.points.append(points)
            continue
        step = Conversion((path,), (f"{path.stem}.jpg",))
        steps.append(step)
        sizes[step] = after
        result.paths.append(folder / step.targets[0])
        result.points.append(_scale_points(points, before, after))

    def write(step: Conversion, targets: list[Path]) -> None:
        image = resize_bilinear(read_image(step.sources[0], exif=files.exif), *sizes[step])
        Image.fromarray(image).save(targets[0], quality=95, subsampling=0)

    convert(steps, write, folder, "cache_dir")
    return result


def _scale_points(points: Points, before: tuple[int, int], after: tuple[int, int]) -> Points:
    """Scale positions with an image whose size changes, where a pixel's position is that of its centre."""
    factors = np.divide(after[::-1], before[::-1], dtype=np.float32)
    return ((points + 0.5) * factors - 0.5).clip(0, np.array(after[::-1], np.float32) - 1)
