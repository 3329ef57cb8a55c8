"""Seeded writers of small crowds in exactly the layouts of ShanghaiTech and UCF-QNRF."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.io import savemat

_TURNED_BACK = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}

Annotations = dict[str, npt.NDArray[np.float64]]
"""Positions (x, y) as annotated, ``[N, 2]``, by the image's path relative to the folder that ids are relative to."""


def write_shanghaitech(
    root: Path,
    part: str = "A",
    seed: int = 0,
    train: int = 12,
    test: int = 4,
    part_name: str = "part_{}",
    annotations_name: str = "ground-truth",
) -> Annotations:
    """Write a part of ShanghaiTech.

    Of four images one each has many heads, of which one is annotated at x = width and one at y = height + 3, is grey,
    has no heads, and has two heads at one place.

    Args:
        root: Where to write ``part_A``.
        part: ``A`` or ``B``.
        seed: What images and positions depend on.
        train: Number of training images.
        test: Number of test images.
        part_name: Name of the part's folder, with ``{}`` for the part.
        annotations_name: Name of the annotations' folder.

    Returns:
        The positions, by path relative to the part's folder.
    """
    random = np.random.RandomState(seed)
    written: Annotations = {}
    folder = root / part_name.format(part)
    for split, count in (("train_data", train), ("test_data", test)):
        (folder / split / "images").mkdir(parents=True)
        (folder / split / annotations_name).mkdir()
        for number in range(1, count + 1):
            name = f"{split}/images/IMG_{number}.jpg"
            written[name] = write_photograph(folder / name, number, random)
            write_image_info(folder / split / annotations_name / f"GT_IMG_{number}.mat", written[name])
    return written


def write_ucf_qnrf(root: Path, seed: int = 0, train: int = 6, test: int = 4) -> Annotations:
    """Write UCF-QNRF; images as in :func:`write_shanghaitech`.

    Args:
        root: Where to write ``Train`` and ``Test``.
        seed: What images and positions depend on.
        train: Number of training images.
        test: Number of test images.

    Returns:
        The positions, by path relative to ``root``.
    """
    random = np.random.RandomState(seed)
    written: Annotations = {}
    for split, count in (("Train", train), ("Test", test)):
        (root / split).mkdir(parents=True)
        for number in range(1, count + 1):
            name = f"{split}/img_{number:04d}.jpg"
            written[name] = write_photograph(root / name, number, random)
            savemat(root / split / f"img_{number:04d}_ann.mat", {"annPoints": written[name]})
    return written


def write_image_info(path: Path, points: npt.NDArray[np.float64]) -> None:
    """Write an annotation as ShanghaiTech has it: a cell that holds a structure."""
    structure = np.empty((1, 1), [("location", object), ("number", object)])
    structure[0, 0] = (points, np.array([[float(len(points))]]))
    cell = np.empty((1, 1), object)
    cell[0, 0] = structure
    savemat(path, {"image_info": cell})


def write_photograph(path: Path, number: int, random: np.random.RandomState) -> npt.NDArray[np.float64]:
    """Write dark spots on a light ground, one at each head, as JPEG of 40 to 100 pixels; returns the positions."""
    height, width = random.randint(40, 101, 2)
    kind = number % 4
    heads = random.randint(3, 15) + (150 if kind == 1 else 0)
    points = random.uniform(0, (width - 1, height - 1), (heads, 2)).round(3)
    if kind == 1:
        points[0, 0], points[1, 1] = width, height + 3
    elif kind == 3:
        points = points[:0]
    elif kind == 0:
        points[1] = points[0]
    rows, columns = np.mgrid[:height, :width]
    spots = sum((np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 8) for x, y in points), np.zeros((height, width)))
    ground = random.randint(150, 250, 3) + random.randint(-9, 10, (height, width, 1))
    pixels = (ground / (1 + 4 * spots[..., None])).clip(0, 255).astype(np.uint8)
    Image.fromarray(pixels).convert("L" if kind == 2 else "RGB").save(path, quality=95)
    return points


def turn_photograph(path: Path, orientation: int, suffix: str | None = None, **options: Any) -> None:
    """Store a photograph turned, with the note (EXIF) by which it is shown as it was.

    Args:
        path: Its file, which is replaced.
        orientation: 1 to 8 as in EXIF.
        suffix: Of the new file. Default: as it was.
        **options: Pillow's, of how to store it.
    """
    with Image.open(path) as file:
        shown = file.copy()
    path.unlink()
    stored = shown.transpose(_TURNED_BACK[orientation]) if orientation > 1 else shown
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(path.with_suffix(suffix or path.suffix), exif=exif, **options)
