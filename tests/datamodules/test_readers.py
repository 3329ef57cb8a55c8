from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from datamodules import DataError
from datamodules.readers import read_image
from tests.generators import ImageFiles


def test_every_kind_reads_as_rgb(odd_images: ImageFiles) -> None:
    folder, expected = odd_images
    assert len(expected) == 19
    for name, pixels in expected.items():
        read = read_image(folder / name)
        assert (read.dtype, read.shape) == (np.uint8, pixels.shape), name
        tolerance = 3 if name.endswith(("jpg", "jpeg")) else 0
        np.testing.assert_allclose(read, pixels.astype(int), atol=tolerance, err_msg=name)


def test_every_kind_reads_as_grey(odd_images: ImageFiles) -> None:
    folder, expected = odd_images
    for name, pixels in expected.items():
        read = read_image(folder / name, grey=True)
        assert (read.dtype, read.shape) == (np.uint8, (*pixels.shape[:2], 1)), name
        tolerance = 3 if name.endswith(("jpg", "jpeg")) else 1
        np.testing.assert_allclose(read[..., 0], pixels @ [0.299, 0.587, 0.114], atol=tolerance, err_msg=name)


def test_the_whole_16_bit_range_is_used(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 255, 256, 65535]], np.uint16)).save(tmp_path / "image.png")
    assert read_image(tmp_path / "image.png", grey=True).ravel().tolist() == [0, 0, 1, 255]


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif", "webp"])
def test_truncated_image_is_named(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"image.{suffix}"
    Image.fromarray(np.random.RandomState(0).randint(0, 256, (64, 64, 3), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(DataError, match=rf"image\.{suffix}' cannot be read as an image: .* Replace or remove the file"):
        read_image(path)


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n" + b"\0" * 40])
def test_no_image_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "image.png").write_bytes(content)
    with pytest.raises(DataError, match=r"image\.png' cannot be read as an image"):
        read_image(tmp_path / "image.png")


@pytest.mark.parametrize(
    ("pixels", "reason"),
    [(np.ones((2, 2), np.float32), "floating point"), (np.full((2, 2), 70000, np.int32), "32-bit numbers")],
)
def test_numbers_of_unknown_range_are_refused(tmp_path: Path, pixels: npt.NDArray[Any], reason: str) -> None:
    cv2.imwrite(str(tmp_path / "image.tif"), pixels)
    with pytest.raises(DataError, match=rf"image\.tif' cannot be read as an image: it holds {reason}"):
        read_image(tmp_path / "image.tif")
