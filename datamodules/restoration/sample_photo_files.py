"""Photographs that come with scikit-image and scikit-learn, degraded and written as SIDD and RealSR are published."""

from collections.abc import Callable, Sequence
from functools import partial
from importlib.resources import files
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from scipy.io import savemat

from datamodules.files.conversion import Conversion, convert
from datamodules.files.readers import read_image
from datamodules.restoration.degradations import CameraNoise, reduce_resolution, to_bytes
from datamodules.types import Map, Pixels

TRAIN = (
    "flower.jpg",
    "hubble_deep_field.jpg",
    "ihc.png",
    "motorcycle_left.png",
    "retina.jpg",
    "brick.png",
    "camera.png",
    "coins.png",
    "grass.png",
    "gravel.png",
)
"""Photographs to train on; those from brick.png on are grey."""
VALIDATION = ("astronaut.png", "rocket.jpg")
"""Photographs for validation."""
TEST = ("chelsea.png", "china.jpg", "coffee.png")
"""Photographs for test."""
HELD_OUT = "validation"
"""Sub-folder with the photographs for validation, in the place that those for test have in the folder above it."""

_OF_SCIKIT_LEARN = ("china.jpg", "flower.jpg")
_ALL = TRAIN + VALIDATION + TEST
_LARGE = 1_000_000  # pixels
_DRAWS = (10, 11)  # the published names of the two images of a scene
_BLOCKS = ("ValidationNoisyBlocksSrgb", "ValidationGtBlocksSrgb")
_BLOCK = 256  # height and width, as published
_NOISE = CameraNoise()

_Pair = Callable[[str, int, int], tuple[Pixels, Pixels]]
_Steps = dict[Conversion, Callable[[list[Path]], None]]


def read_photograph(name: str) -> Map:
    """Read a photograph as its package installed it.

    Args:
        name: One of those above.

    Returns:
        RGB, float32 ``[H, W, 3]``, values in [0, 1]; grey ones have three equal channels. One of more than a megapixel
        is halved by averaging, which also removes traces of its compression.

    Raises:
        DataError: If the file is missing.
    """
    package = "sklearn.datasets.images" if name in _OF_SCIKIT_LEARN else "skimage.data"
    pixels = read_image(Path(str(files(package) / name)))
    image = pixels.astype(np.float32) / np.float32(255)
    height, width = image.shape[:2]
    if height * width > _LARGE:
        return cv2.resize(image, (width // 2, height // 2), interpolation=cv2.INTER_AREA).astype(np.float32, copy=False)
    return image


def make_noisy_pair(name: str, seed: int, draw: int) -> tuple[Pixels, Pixels]:
    """Give a photograph noise as of a smartphone, of random strength: PSNR about 25 to 31 dB.

    Args:
        name: Of the photograph.
        seed: What the noise depends on, beside ``name`` and ``draw``.
        draw: Number of the noise.

    Returns:
        The noisy and the clean photograph, RGB, uint8 ``[H, W, 3]``.
    """
    clean = read_photograph(name)
    random = np.random.default_rng((seed, _ALL.index(name), draw))
    return to_bytes(_NOISE(clean, random)), to_bytes(clean)


def make_blurred_pair(name: str, seed: int, scale: int) -> tuple[Pixels, Pixels]:
    """Make of a photograph what a lens of shorter focal length would have made of it.

    Args:
        name: Of the photograph.
        seed: What blur and noise depend on, beside ``name`` and ``scale``.
        scale: How many times shorter.

    Returns:
        The photograph of low resolution, enlarged, and the original one, RGB, uint8 ``[H, W, 3]``.
    """
    clean = read_photograph(name)
    random = np.random.default_rng((seed, _ALL.index(name), scale))
    low = reduce_resolution(clean, scale, sigma=(0.25, 0.6), stretch=2.5, gain=(1e-5, 4e-5), random=random)
    return to_bytes(low), to_bytes(clean)


def write_denoising(folder: Path, seed: int) -> None:
    """Write noisy photographs in the layout of SIDD, but for those that an earlier call has finished.

    Args:
        folder: Gets ``SIDD_Medium_Srgb/Data`` with a scene of two noisy images for each photograph to train on, and
            ``ValidationNoisyBlocksSrgb.mat`` and ``ValidationGtBlocksSrgb.mat`` with blocks of the photographs for
            test; in ``validation/`` such files with those for validation.
        seed: What the noise depends on.

    Raises:
        DataError: If the folder cannot be written to.
    """
    steps: _Steps = {}
    for number, name in enumerate(TRAIN, 1):
        scene = f"SIDD_Medium_Srgb/Data/{number:04d}_{number:03d}_S6_00800_00100_5500_N"
        kinds = [f"{kind}_SRGB_{draw:03d}" for draw in _DRAWS for kind in ("NOISY", "GT")]
        targets = tuple(f"{scene}/{number:04d}_{kind}.PNG" for kind in kinds)
        steps[Conversion((), targets)] = partial(_write_images, make_noisy_pair, name, seed, _DRAWS)
    for part, names in (("", TEST), (f"{HELD_OUT}/", VALIDATION)):
        targets = tuple(f"{part}{variable}.mat" for variable in _BLOCKS)
        steps[Conversion((), targets)] = partial(_write_blocks, names, seed)
    _write_all(steps, folder)


def write_super_resolution(folder: Path, seed: int, scale: int) -> None:
    """Write photographs of low and high resolution in the layout of RealSR, but for those that are finished.

    Args:
        folder: Gets ``Canon/Train/<scale>`` and, for test, ``Canon/Test/<scale>``; photographs for validation are in
            ``validation/Canon/Test/<scale>``.
        seed: What blur and noise depend on.
        scale: Difference in resolution.

    Raises:
        DataError: If the folder cannot be written to.
    """
    steps: _Steps = {}
    for part, names in (("Canon/Train", TRAIN), ("Canon/Test", TEST), (f"{HELD_OUT}/Canon/Test", VALIDATION)):
        for number, name in enumerate(names, 1):
            targets = tuple(f"{part}/{scale}/Canon_{number:03d}_{kind}.png" for kind in (f"LR{scale}", "HR"))
            steps[Conversion((), targets)] = partial(_write_images, make_blurred_pair, name, seed, (scale,))
    _write_all(steps, folder)


def _write_all(steps: _Steps, folder: Path) -> None:
    convert(list(steps), lambda step, paths: steps[step](paths), folder, "data_dir")


def _write_images(pair: _Pair, name: str, seed: int, numbers: Sequence[int], paths: list[Path]) -> None:
    """Write the pairs of some numbers, the degraded image of each before the clean one."""
    images = [image for number in numbers for image in pair(name, seed, number)]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image).save(path, compress_level=1)


def _write_blocks(names: Sequence[str], seed: int, paths: list[Path]) -> None:
    """Write the upper left and the lower right of noisy images and of the clean ones, each into a file."""
    pairs = [make_noisy_pair(name, seed, draw) for name in names for draw in _DRAWS]
    for variable, path, images in zip(_BLOCKS, paths, zip(*pairs, strict=True), strict=True):
        blocks = [(image[:_BLOCK, :_BLOCK], image[-_BLOCK:, -_BLOCK:]) for image in images]
        savemat(path, {variable: np.array(blocks)}, appendmat=False)
