from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageOps

from datamodules import DataError
from datamodules.files.readers import read_image
from tests.support.image_files import ImageFiles


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


JPEG_KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "usual": ("RGB", {"quality": 95}),
    "coarse": ("RGB", {"quality": 20, "optimize": True}),
    "full_colour": ("RGB", {"subsampling": 0}),
    "progressive": ("RGB", {"progressive": True}),
    "rgb_inside": ("RGB", {"keep_rgb": True}),
    "grey": ("L", {}),
    "cmyk": ("CMYK", {}),
}


@pytest.mark.parametrize("orientation", [None, *range(1, 9)])
@pytest.mark.parametrize("kind", JPEG_KINDS)
def test_jpeg_reads_as_with_pillow(tmp_path: Path, kind: str, orientation: int | None) -> None:
    mode, options = JPEG_KINDS[kind]
    noise = Image.fromarray(np.random.RandomState(0).randint(0, 256, (6, 8, 3), np.uint8))
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    noise.resize((37, 23)).convert(mode).save(tmp_path / "image.jpg", exif=exif, **options)
    with Image.open(tmp_path / "image.jpg") as file:
        reference = np.array(ImageOps.exif_transpose(file).convert("RGB"))
    read = read_image(tmp_path / "image.jpg")
    assert read.flags.c_contiguous and read.flags.writeable
    assert np.array_equal(read, reference)


def test_jpeg_is_read_without_pillow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (5, 4), "white").save(tmp_path / "image.png", "JPEG")
    monkeypatch.setattr(Image, "open", None)
    assert read_image(tmp_path / "image.png").min() == 255


@pytest.mark.parametrize("kept", [2, 3, 20, 200, 2000, -1000, -2])
def test_truncated_jpeg_is_named(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "image.JPEG"
    Image.fromarray(np.random.RandomState(0).randint(0, 256, (64, 64, 3), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match=r"image\.JPEG' cannot be read as an image: .* Replace or remove the file"):
        read_image(path)


def test_missing_file_and_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.png' cannot be read as an image: No such file or directory\. Rep"):
        read_image(tmp_path / "absent.png")
    with pytest.raises(DataError, match=r"' cannot be read as an image: Is a directory\."):
        read_image(tmp_path)


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
