import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageFile, ImageOps

from datamodules import DataError
from datamodules.files.readers import read_header, read_image, read_stored_size
from tests.support.crowd_files import turn_photograph
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


FORMATS: dict[str, dict[str, Any]] = {
    "png": {},
    "jpg": {"quality": 95},
    "tif": {"compression": None},
    "tiff": {"compression": "tiff_lzw"},
    "webp": {"lossless": True},
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", FORMATS)
def test_as_stored_and_as_shown(tmp_path: Path, suffix: str, orientation: int) -> None:
    """The shown image is smooth, so that JPEG, too, keeps it."""
    rows, columns = np.mgrid[:24, :40]
    shown = np.stack([rows * 9, columns * 6, rows + columns], -1).astype(np.uint8)
    Image.fromarray(shown).save(tmp_path / "image.png")
    turn_photograph(tmp_path / "image.png", orientation, f".{suffix}", **FORMATS[suffix])
    path = tmp_path / f"image.{suffix}"
    sideways = orientation in (5, 6, 7, 8)
    back = {2: shown[:, ::-1], 3: shown[::-1, ::-1], 4: shown[::-1], 5: shown.transpose(1, 0, 2)}
    back |= {6: np.rot90(shown), 7: shown[::-1, ::-1].transpose(1, 0, 2), 8: np.rot90(shown, -1)}
    stored = back.get(orientation, shown)
    assert stored.shape == ((40, 24, 3) if sideways else (24, 40, 3))
    for exif, expected in (("stored", stored), ("shown", shown)):
        read = read_image(path, exif=exif)
        np.testing.assert_allclose(read.astype(int), expected, atol=12 if suffix == "jpg" else 0)
        assert read_header(path).size(exif) == read.shape[:2]
        assert read_image(path, grey=True, exif=exif).shape == (*expected.shape[:2], 1)
    assert read_header(path).orientation == orientation
    assert read_stored_size(path) == stored.shape[:2]


def add_chunk(path: Path, kind: bytes, content: bytes) -> None:
    """Add a chunk to a PNG, between its pixels and its end."""
    chunk = struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
    whole = path.read_bytes()
    path.write_bytes(whole[:-12] + chunk + whole[-12:])


@pytest.mark.parametrize("kind", [b"eXIf", b"tEXt"])
def test_a_note_after_the_pixels_of_a_png_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: bytes) -> None:
    path = tmp_path / "image.png"
    Image.fromarray(np.random.RandomState(0).randint(0, 256, (300, 500, 3), np.uint8)).save(path)
    exif = Image.Exif()
    exif[0x0112] = 8
    note = exif.tobytes().removeprefix(b"Exif\0\0")
    add_chunk(path, b"tIME", b"\7\xd0" + bytes(5))
    add_chunk(path, kind, note if kind == b"eXIf" else b"Raw profile type exif\0\nexif\n0\n" + note.hex().encode())
    assert read_image(path).shape == (500, 300, 3)
    assert read_image(path, exif="stored").shape == (300, 500, 3)
    monkeypatch.setattr(ImageFile.ImageFile, "load", None)  # no pixel is decoded
    assert read_header(path) == (300, 500, 8)


def test_a_note_in_xmp_counts_in_jpeg_as_elsewhere(tmp_path: Path) -> None:
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    for suffix in ("jpg", "webp"):
        Image.new("RGB", (40, 20)).save(tmp_path / f"image.{suffix}", xmp=xmp)
        for exif in ("stored", "shown"):
            shape = read_image(tmp_path / f"image.{suffix}", exif=exif).shape[:2]
            assert (
                shape == read_header(tmp_path / f"image.{suffix}").size(exif) == ((20, 40), (40, 20))[exif == "shown"]
            )


@pytest.mark.parametrize("note", [b"Exif\0\0no note", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0", 0, 9])
@pytest.mark.parametrize("suffix", ["jpg", "webp"])
def test_a_damaged_note_turns_nothing(tmp_path: Path, suffix: str, note: bytes | int) -> None:
    exif = Image.Exif()
    exif[0x0112] = note
    content = note if isinstance(note, bytes) else exif
    Image.new("RGB", (40, 20)).save(tmp_path / f"image.{suffix}", exif=content)
    assert read_header(tmp_path / f"image.{suffix}") == (20, 40, 1)
    assert read_image(tmp_path / f"image.{suffix}", exif="stored").shape == (20, 40, 3)


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
