"""Seeded writers of small data in exactly the layouts of RealSR and SIDD."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.io import savemat

Pixels = npt.NDArray[np.uint8]


def write_realsr(
    root: Path,
    seed: int = 0,
    scales: Sequence[int] = (2, 3, 4),
    cameras: Sequence[str] = ("Canon", "Nikon"),
    train: int = 5,
    test: int = 2,
    size: tuple[int, int] = (60, 84),
    layout: str = "{camera}/{split}",
    smaller: bool = False,
) -> Path:
    """Write a version of RealSR; returns ``root``.

    Args:
        root: Folder of the version.
        seed: What the images depend on.
        scales: Which of 2, 3, 4 to write.
        cameras: Which cameras to write.
        train: Training pairs of each camera and scale.
        test: Test pairs of each camera and scale.
        size: Height and width of the HR images of the first scene, multiples of 12; each further one is 12 higher.
        layout: Order of the folders; ``{split}/{camera}`` is the other.
        smaller: LR images are as many times smaller as the scale says, as in version 3.
    """
    random = np.random.RandomState(seed)
    for camera in cameras:
        for split, count in (("Train", train), ("Test", test)):
            for scale in scales:
                folder = root / layout.format(camera=camera, split=split) / str(scale)
                folder.mkdir(parents=True)
                for number in range(1, count + 1):
                    clean = draw_photograph(size[0] + 12 * (number - 1), size[1], random)
                    small = cv2.resize(clean, None, fx=1 / scale, fy=1 / scale, interpolation=cv2.INTER_AREA)
                    if not smaller:
                        small = cv2.resize(small, clean.shape[1::-1], interpolation=cv2.INTER_CUBIC)
                    Image.fromarray(clean).save(folder / f"{camera}_{number:03d}_HR.png")
                    Image.fromarray(small).save(folder / f"{camera}_{number:03d}_LR{scale}.png")
    return root


def write_sidd(
    root: Path, seed: int = 0, scenes: int = 4, size: tuple[int, int] = (64, 96), blocks: tuple[int, int] = (2, 3)
) -> Path:
    """Write SIDD-Medium, its validation blocks and its benchmark; returns ``root``.

    Args:
        root: Where to write ``SIDD_Medium_Srgb`` and the ``.mat`` files.
        seed: What the images depend on.
        scenes: Number of scenes; the first has two photographs' folders, the others one. Each holds two pairs.
        size: Height and width of the photographs; those of every other scene are upright.
        blocks: Photographs in each ``.mat`` file, and blocks of each of them; these have 32 × 32 pixels.
    """
    random = np.random.RandomState(seed)
    for instance, scene in enumerate((1, *range(1, scenes + 1)), 1):
        folder = root / "SIDD_Medium_Srgb" / "Data" / f"{instance:04d}_{scene:03d}_S6_00100_00060_3200_L"
        folder.mkdir(parents=True)
        for shot in ("010", "011"):
            clean = draw_photograph(*size, random) if scene % 2 else draw_photograph(*size[::-1], random)
            Image.fromarray(clean).save(folder / f"{instance:04d}_GT_SRGB_{shot}.PNG")
            Image.fromarray(add_noise(clean, random)).save(folder / f"{instance:04d}_NOISY_SRGB_{shot}.PNG")
    for part in ("Validation", "Benchmark"):
        clean = np.stack([draw_photograph(32, 32, random) for _ in range(blocks[0] * blocks[1])])
        clean = clean.reshape(*blocks, 32, 32, 3)
        kinds = {"Noisy": add_noise(clean, random)} | ({"Gt": clean} if part == "Validation" else {})
        for kind, values in kinds.items():
            name = f"{part}{kind}BlocksSrgb"
            savemat(root / f"{name}.mat", {name: values}, do_compression=True)
    return root


def write_pairs(
    root: Path,
    seed: int = 0,
    count: int = 6,
    size: tuple[int, int] = (48, 60),
    degraded: str = "degraded/{name}.png",
    clean: str = "clean/{name}.png",
    scale: int = 1,
    channels: int = 3,
    bits: int = 8,
) -> Path:
    """Write pairs of noisy and clean images as a user might have them, named ``photo_0`` and so on; returns ``root``.

    Args:
        root: Where to write.
        seed: What the images depend on.
        count: Number of pairs; each is 12 pixels higher than the one before.
        size: Height and width of the first clean image.
        degraded: Path of a degraded image below ``root``.
        clean: Path of a clean image below ``root``.
        scale: How many times smaller the degraded images are.
        channels: 3 or 1; another number is written as ``.npy``, whatever ``degraded`` and ``clean`` say.
        bits: 8 or 16.
    """
    random = np.random.RandomState(seed)
    for number in range(count):
        image = np.repeat(draw_photograph(size[0] + 12 * number, size[1], random), -(-channels // 3), 2)[..., :channels]
        small = cv2.resize(image, None, fx=1 / scale, fy=1 / scale, interpolation=cv2.INTER_AREA)
        noisy = add_noise(small.reshape(*small.shape[:2], channels), random)
        for pattern, pixels in ((degraded, noisy), (clean, image)):
            path = root / pattern.format(name=f"photo_{number}")
            path.parent.mkdir(parents=True, exist_ok=True)
            write_pixels(path, pixels if bits == 8 else add_low_bits(pixels, random))
    return root


def add_low_bits(pixels: Pixels, random: np.random.RandomState) -> npt.NDArray[np.uint16]:
    """Make an image of 16 bits whose upper eight are those given."""
    return pixels * np.uint16(256) + random.randint(0, 256, pixels.shape).astype(np.uint16)


def write_pixels(path: Path, pixels: npt.NDArray[Any]) -> None:
    """Write an image, RGB or grey, uint8 or uint16 ``[H, W, C]``; of other channels as ``.npy``."""
    if pixels.shape[2] not in (1, 3):
        np.save(path.with_suffix(".npy"), pixels)
    else:
        assert cv2.imwrite(str(path), pixels[..., ::-1])


def draw_photograph(height: int, width: int, random: np.random.RandomState) -> Pixels:
    """Draw something smooth in colour, uint8 ``[height, width, 3]``."""
    knots = random.randint(0, 256, (4, 6, 3), np.uint8)
    return np.asarray(cv2.resize(knots, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def add_noise(clean: Pixels, random: np.random.RandomState) -> Pixels:
    """Add noise to an image of any shape."""
    return np.clip(clean + 12 * random.randn(*clean.shape), 0, 255).astype(np.uint8)
