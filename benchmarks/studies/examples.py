"""Writes small folders as people have them, to try the pages on one's own data before there are any of one's own.

``python -m benchmarks.studies.examples cells my_cells``

- ``cells``: photographs as of a microscope in ``images/``, and what was clicked on in ``points.csv``.
- ``photographs``: three photographs that come with scikit-image and scikit-learn, with a camera's noise.
- ``pairs``: parts of photographs that come with them, with a camera's noise in ``noisy/``, and as they
  are in ``clean/``.

All are the same each time.
"""

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from benchmarks import records
from datamodules.files.progress import show_progress
from datamodules.restoration.sample_photo_files import TEST, TRAIN, VALIDATION, make_noisy_pair
from datamodules.types import Map, Pixels

_SIDE = 256  # of a photograph, in pixels
_FEWEST, _MOST = 15, 90  # cells
_PART = 320  # largest side of a pair's part of a photograph, in pixels


def draw_cells(seed: int) -> tuple[Pixels, Map]:
    """Draw cells as a microscope shows them: round to oval, with dark rim and nucleus, some touching, on uneven light.

    Between them lie specks and fibres.

    Args:
        seed: What all depends on.

    Returns:
        RGB pixels, uint8 ``[256, 256, 3]``, and the cells' centres x, y in pixels, float32 ``[N, 2]``, of 15 to 90.
    """
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:_SIDE, :_SIDE].astype(np.float32) + 0.5
    direction, phase = random.uniform(0, 2 * np.pi, 2)
    light = 0.75 + 0.1 * np.sin((columns * np.cos(direction) + rows * np.sin(direction)) / 90 + phase)
    image = np.repeat(light[..., None], 3, 2) * np.array([0.97, 0.93, 0.9])
    for _ in range(random.integers(2, 6)):
        start, end = random.uniform(0, _SIDE, (2, 2)).round().astype(int).tolist()
        fibre: Map = np.zeros((_SIDE, _SIDE), np.float32)
        cv2.line(fibre, start, end, 1.0, 1, cv2.LINE_AA)
        image *= 1 - 0.25 * fibre[..., None]
    centres = _place(random, int(random.integers(_FEWEST, _MOST + 1)))
    for x, y in centres:
        radius, angle, flat = random.uniform(6.5, 9.5), random.uniform(0, np.pi), random.uniform(0.75, 1)
        near, right, down = _around(x, y)
        along = right * np.cos(angle) + down * np.sin(angle)
        across = (down * np.cos(angle) - right * np.sin(angle)) / flat
        distance = np.hypot(along, across)[..., None]
        inside = 1 / (1 + np.exp(distance - radius))
        rim, nucleus = np.exp(-((distance - radius) ** 2) / 2), np.exp(-((distance / (0.35 * radius)) ** 2))
        stain = random.uniform(0.7, 1) * np.array([0.25, 0.55, 0.2])
        image[near] = image[near] * (1 - inside * 0.35 * stain) - rim * 0.3 * stain - nucleus * 0.5 * stain
    for x, y in random.uniform(0, _SIDE, (random.integers(5, 25), 2)):
        near, right, down = _around(x, y)
        image[near] -= 0.3 * np.exp(-(right**2 + down**2) / random.uniform(1, 5))[..., None]
    image = cv2.GaussianBlur(image.astype(np.float32), (0, 0), 0.7) + random.normal(0, 0.02, image.shape)
    return (image.clip(0, 1) * 255).round().astype(np.uint8), centres.astype(np.float32)


def _around(x: float, y: float) -> tuple[tuple[slice, slice], Map, Map]:
    """Cut out what lies about a place: rows and columns, and the distances to the right and down."""
    rows, columns = (slice(max(0, int(middle) - 18), min(_SIDE, int(middle) + 18)) for middle in (y, x))
    down, right = np.mgrid[rows, columns].astype(np.float32) + np.float32(0.5)
    return (rows, columns), right - np.float32(x), down - np.float32(y)


def _place(random: np.random.Generator, count: int) -> Map:
    """Draw places of cells, which may touch and hardly overlap; fewer than wanted where there is no room."""
    places: list[Map] = []
    for place in random.uniform(4, _SIDE - 4, (20 * count, 2)):
        if len(places) < count and all(np.hypot(*(place - other)) > 13 for other in places):
            places.append(place)
    return np.array(places)


def write_cells(folder: Path, count: int = 40) -> None:
    """Write photographs to ``images/``, and a table of positions ``image,x,y`` to ``points.csv``.

    Args:
        folder: Made if need be.
        count: Photographs.
    """
    (folder / "images").mkdir(parents=True, exist_ok=True)
    with (folder / "points.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["image", "x", "y"])
        for number in show_progress(range(count), f"Writing '{folder}'", "images"):
            pixels, centres = draw_cells(number)
            name = f"cells_{number:02}.png"
            cv2.imwrite(str(folder / "images" / name), pixels[..., ::-1])
            table.writerows([name, *(f"{value:.1f}" for value in centre)] for centre in centres)


def write_pairs(folder: Path, count: int = 20) -> None:
    """Write noisy and clean parts of photographs to ``noisy/`` and ``clean/``.

    Args:
        folder: Made if need be.
        count: Pairs; from 16 on there are several of a photograph.
    """
    for name in ("noisy", "clean"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    photographs = (*TRAIN, *VALIDATION, *TEST)
    for number in show_progress(range(count), f"Writing '{folder}'", "pairs"):
        photograph, part = photographs[number % len(photographs)], number // len(photographs)
        pair = make_noisy_pair(photograph, 0, part)
        for kind, pixels in zip(("noisy", "clean"), pair, strict=True):
            height, width = (min(_PART, side // 2) for side in pixels.shape[:2])
            top, left = (part * side for side in (height, width))
            cut = pixels[top : top + height, left : left + width]
            cv2.imwrite(str(folder / kind / f"{Path(photograph).stem}_{part}.png"), cut[..., ::-1])


def write_photographs(folder: Path) -> None:
    """Write three whole photographs with noise.

    Args:
        folder: Made if need be.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for photograph in show_progress(TEST, f"Writing '{folder}'", "photographs"):
        noisy, _ = make_noisy_pair(photograph, 0, 0)
        cv2.imwrite(str(folder / f"{Path(photograph).stem}.png"), noisy[..., ::-1])


EXAMPLES: dict[str, Callable[[Path], object]] = {
    "cells": write_cells,
    "pairs": write_pairs,
    "photographs": write_photographs,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Write an example.

    Args:
        arguments: Command line, by default the process's.
    """
    parser = records.plain_parser("studies.examples", __doc__)
    parser.add_argument("example", choices=tuple(EXAMPLES))
    parser.add_argument("folder", type=Path, help="where it is written")
    options = parser.parse_args(arguments)
    EXAMPLES[options.example](options.folder)


if __name__ == "__main__":
    main()
