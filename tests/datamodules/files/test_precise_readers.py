from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from PIL import Image, ImageCms, ImageOps

from datamodules import DataError
from datamodules.files.channels import read_any_header, read_channels
from datamodules.files.precise_readers import read_precise
from datamodules.files.readers import read_header, read_image
from tests.support.image_files import ImageFiles
from tests.support.png_files import PNG_NOTES, write_png

DEEP = {"grey16.png", "grey16.tif", "grey32.tif", "rgb16.png"}
GREY = {"grey.png", "black_white.png", "grey16.png", "grey16.tif", "grey32.tif", "grey_alpha.png", "grey.jpeg"}

Deep = npt.NDArray[Any]


def deep_image(channels: int, height: int = 10, width: int = 14) -> Deep:
    return np.random.RandomState(channels).randint(0, 65536, (height, width, channels)).astype(np.uint16)


def upright(values: Deep, orientation: int) -> Deep:
    """What Pillow makes of an orientation, by turning the pixels' numbers."""
    height, width, channels = values.shape
    numbers = Image.fromarray(np.arange(height * width, dtype=np.int32).reshape(height, width))
    numbers.getexif()[0x0112] = orientation
    return values.reshape(-1, channels)[np.asarray(ImageOps.exif_transpose(numbers))]


def test_every_kind_keeps_its_bits(odd_images: ImageFiles) -> None:
    folder, expected = odd_images
    assert expected.keys() >= DEEP | GREY
    for name, pixels in expected.items():
        image = read_precise(folder / name)
        assert (image.pixels.dtype, image.pixels.shape) == (np.uint16 if name in DEEP else np.uint8, pixels.shape), name
        assert image.grey == (name in GREY), name
        values = image.pixels >> 8 if name in DEEP else image.pixels
        tolerance = 3 if name.endswith(("jpg", "jpeg")) else 0
        np.testing.assert_allclose(values.astype(int), pixels.astype(int), atol=tolerance, err_msg=name)


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("orientation", [None, *range(1, 9)])
@pytest.mark.parametrize("channels", [1, 3])
def test_all_16_bits_are_kept_and_turned(tmp_path: Path, suffix: str, orientation: int | None, channels: int) -> None:
    values, path = deep_image(channels), tmp_path / f"image.{suffix}"
    if suffix == "png":
        write_png(path, values, orientation)
    else:
        tags = [(274, "H", 1, orientation, True)] if orientation else []
        kind = "rgb" if channels == 3 else "minisblack"
        tifffile.imwrite(path, values.squeeze(), photometric=kind, extratags=tags, compression="zlib")
    image = read_precise(path)
    assert image.grey == (channels == 1)
    assert image.pixels.dtype == np.uint16
    np.testing.assert_array_equal(image.pixels, np.broadcast_to(upright(values, orientation or 1), image.pixels.shape))


@pytest.mark.parametrize("note", [f"{kind}, {place}" for kind in PNG_NOTES for place in ("before", "after")])
@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_png_is_turned_wherever_it_says_so(tmp_path: Path, channels: int, depth: Any, note: str) -> None:
    values = deep_image(channels)
    if channels in (2, 4):
        values[..., -1] = 65535
    values = values if depth == np.uint16 else (values >> 8).astype(np.uint8)
    write_png(tmp_path / "image.png", values, 8, note)
    expected = upright(values, 8)
    assert expected.shape == (14, 10, channels)
    colours = expected[..., : 3 if channels > 2 else 1]
    precise, shown = read_precise(tmp_path / "image.png"), read_image(tmp_path / "image.png")
    assert precise.pixels.dtype == depth
    np.testing.assert_array_equal(precise.pixels, np.broadcast_to(colours, (14, 10, 3)))
    np.testing.assert_array_equal(shown, np.broadcast_to(colours >> (8 if depth == np.uint16 else 0), (14, 10, 3)))
    assert read_header(tmp_path / "image.png") == read_any_header(tmp_path / "image.png") == (10, 14, 8)
    if channels != 2:
        np.testing.assert_array_equal(read_channels(tmp_path / "image.png", channels).pixels, expected)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_four_channels_of_a_png_are_turned_too(tmp_path: Path, depth: Any, orientation: int) -> None:
    values = deep_image(4).astype(depth)
    write_png(tmp_path / "image.png", values, orientation)
    np.testing.assert_array_equal(read_channels(tmp_path / "image.png", 4).pixels, upright(values, orientation))


@pytest.mark.parametrize("orientation", [None, 6])
@pytest.mark.parametrize("channels", [2, 4])
def test_16_bit_transparency_is_laid_onto_white(tmp_path: Path, channels: int, orientation: int | None) -> None:
    values = deep_image(channels)
    values[0, :2, -1] = 0, 65535
    write_png(tmp_path / "image.png", values, orientation)
    image = read_precise(tmp_path / "image.png")
    opacity = values[..., -1:] / 65535
    expected = np.rint(values[..., :-1] * opacity + 65535 * (1 - opacity)).astype(np.uint16)
    assert (expected[0, 0] == 65535).all()
    assert (expected[0, 1] == values[0, 1, :-1]).all()
    assert image.grey == (channels == 2)
    np.testing.assert_array_equal(
        image.pixels, np.broadcast_to(upright(expected, orientation or 1), image.pixels.shape)
    )


@pytest.mark.parametrize("kind", ["rgb16.png", "rgb16.tif", "grey16.png", "rgb.png"])
def test_truncated_image_is_named(tmp_path: Path, kind: str) -> None:
    path = tmp_path / kind
    values = deep_image(1 if kind.startswith("grey") else 3, 60, 80).squeeze()
    cv2.imwrite(str(path), values if "16" in kind else (values >> 8).astype(np.uint8))
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(DataError, match=rf"{kind}' cannot be read as an image: .* Replace or remove the file"):
        read_precise(path)


def test_what_is_no_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("no image")
    tifffile.imwrite(tmp_path / "floats.tif", np.zeros((4, 5), np.float32))
    tifffile.imwrite(tmp_path / "large.tif", np.full((4, 5), 65536, np.int32))
    reasons = {
        "empty.png": "it is empty",
        "text.png": "its format is none that is known",
        "floats.tif": "it holds floating point numbers, whose range is not known",
        "large.tif": "it holds 32-bit numbers, whose range is not known",
        "absent.png": "No such file or directory",
    }
    for name, reason in reasons.items():
        with pytest.raises(DataError, match=rf"/{name}' cannot be read as an image: {reason}\. Replace or remove"):
            read_precise(tmp_path / name)


def srgb() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp"])
def test_a_profile_comes_with_the_pixels_it_is_of(tmp_path: Path, suffix: str) -> None:
    image = Image.fromarray(np.random.RandomState(0).randint(0, 256, (6, 7, 3), np.uint8))
    image.save(tmp_path / f"colour.{suffix}", icc_profile=srgb())
    assert read_precise(tmp_path / f"colour.{suffix}").profile == srgb()
    image.save(tmp_path / f"none.{suffix}")
    assert read_precise(tmp_path / f"none.{suffix}").profile == b""


def test_a_profile_of_other_colours_is_left_out(tmp_path: Path) -> None:
    """A profile of CMYK says nothing of the RGB that such an image is read as; nor does one of RGB of grey pixels."""
    cmyk = srgb()[:16] + b"CMYK" + srgb()[20:]
    Image.new("CMYK", (6, 7)).save(tmp_path / "cmyk.jpg", icc_profile=cmyk)
    Image.new("L", (6, 7)).save(tmp_path / "grey.png", icc_profile=srgb())
    Image.new("LAB", (6, 7)).save(tmp_path / "lab.tif", icc_profile=srgb())
    assert [read_precise(tmp_path / name).profile for name in ("cmyk.jpg", "grey.png", "lab.tif")] == [b""] * 3


def to_lab(rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """CIE L*a*b* of sRGB, adapted to the white of D50 by Bradford's matrix, as profiles want it; all by definition."""
    values = rgb / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    to_xyz = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    to_d50 = [
        [1.0478112, 0.0228866, -0.0501270],
        [0.0295424, 0.9904844, -0.0170491],
        [-0.0092345, 0.0150436, 0.7521316],
    ]
    xyz = linear @ np.transpose(to_xyz) @ np.transpose(to_d50) / (0.96422, 1, 0.82521)
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = np.moveaxis(f, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


def test_lab_is_read_in_its_colours(tmp_path: Path) -> None:
    rgb = np.random.RandomState(0).randint(0, 256, (9, 8, 3), np.uint8)
    lightness, a, b = np.moveaxis(to_lab(rgb), -1, 0)
    stored = np.stack([lightness * 2.55, a % 256, b % 256], -1).round() % 256
    Image.fromarray(stored.astype(np.uint8), "LAB").save(tmp_path / "lab.tif")
    for read in (read_image(tmp_path / "lab.tif"), read_precise(tmp_path / "lab.tif").pixels):
        assert read.shape == (9, 8, 3)
        assert np.abs(read.astype(float) - rgb).mean() < 2  # of rounding to 8 bits on the way
    grey = read_image(tmp_path / "lab.tif", grey=True)[..., 0]
    assert np.abs(grey - rgb @ (0.299, 0.587, 0.114)).mean() < 2
