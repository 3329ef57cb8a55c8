"""How large an image may be, for every reader alike."""

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from datamodules import DataError, DigitsDataModule
from datamodules.files.channels import read_any_header, read_channels
from datamodules.files.limits import MAX_PIXELS, set_max_pixels
from datamodules.files.precise_readers import read_precise
from datamodules.files.readers import read_header, read_image

READERS: dict[str, Callable[[Path], Any]] = {
    "read_image": read_image,
    "grey": lambda path: read_image(path, grey=True),
    "stored": lambda path: read_image(path, exif="stored"),
    "read_header": read_header,
    "read_precise": read_precise,
    "read_channels": lambda path: read_channels(path, 3),
    "read_any_header": read_any_header,
}


@pytest.fixture(autouse=True)
def unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests are not to meet a limit that is set here."""
    monkeypatch.setenv("ACDA_MAX_PIXELS", "1")
    monkeypatch.delenv("ACDA_MAX_PIXELS")


def write(path: Path, height: int, width: int, deep: bool = False) -> Path:
    pixels = np.zeros((height, width, 3), np.uint16 if deep else np.uint8)
    assert cv2.imwrite(str(path), pixels)
    return path


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp", "bmp"])
def test_every_reader_has_one_limit(tmp_path: Path, suffix: str, reader: str) -> None:
    fits, too_large = write(tmp_path / f"a.{suffix}", 10, 12), write(tmp_path / f"b.{suffix}", 11, 11)
    set_max_pixels(120)
    READERS[reader](fits)
    message = rf"b\.{suffix}' has 11 × 11 pixels, more than max_pixels=120\. .*--data\.init_args\.max_pixels=121"
    with pytest.raises(DataError, match=message):
        READERS[reader](too_large)
    set_max_pixels(121)
    READERS[reader](too_large)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_have_it_too(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"deep.{suffix}", 11, 11, deep=True)
    set_max_pixels(120)
    with pytest.raises(DataError, match="more than max_pixels=120"):
        read_precise(path)


def test_photographs_that_pillow_takes_for_bombs_are_read(tmp_path: Path) -> None:
    """Its own limit, at which it raises, is 179 million pixels."""
    path = tmp_path / "panorama.png"
    Image.new("1", (20_000, 10_000)).save(path)
    assert read_header(path)[:2] == (10_000, 20_000)
    assert MAX_PIXELS > 200_000_000
    before = Image.MAX_IMAGE_PIXELS
    read_image(path, grey=True)
    assert before == Image.MAX_IMAGE_PIXELS is not None


def test_a_header_that_promises_too_much_is_refused_before_any_pixel_is_decoded(tmp_path: Path) -> None:
    content = io.BytesIO()
    Image.new("1", (40_000, 30_000)).save(content, "PNG")
    path = tmp_path / "bomb.png"
    path.write_bytes(content.getvalue())
    with pytest.raises(DataError, match=rf"has 30000 × 40000 pixels, more than max_pixels={MAX_PIXELS}"):
        read_image(path)


def test_the_argument_of_data_modules(tmp_path: Path) -> None:
    path = write(tmp_path / "image.png", 11, 11)
    DigitsDataModule(max_pixels=100)
    assert os.environ["ACDA_MAX_PIXELS"] == "100"  # for processes that are started later
    with pytest.raises(DataError, match="max_pixels=100"):
        read_image(path)
    with pytest.raises(ValueError, match="max_pixels must be at least 1, got 0"):
        DigitsDataModule(max_pixels=0)
