"""Images with any number of channels, written by Pillow, OpenCV, numpy and tifffile."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from PIL import Image

from datamodules import DataError
from datamodules.files.channels import read_any_header, read_channels

DEPTHS = [np.uint8, np.uint16]


def draw(channels: int, depth: Any = np.uint8) -> npt.NDArray[Any]:
    return np.random.default_rng(channels).integers(0, np.iinfo(depth).max + 1, (13, 17, channels)).astype(depth)


def assert_read(path: Path, expected: npt.NDArray[Any], grey: bool) -> None:
    image = read_channels(path, expected.shape[2])
    assert image.pixels.dtype == expected.dtype
    np.testing.assert_array_equal(image.pixels, expected)
    assert image.grey == grey
    assert read_any_header(path).size("shown") == (13, 17)


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7])
def test_arrays_are_read_as_they_are(tmp_path: Path, channels: int, depth: Any) -> None:
    np.save(tmp_path / "a.npy", draw(channels, depth))
    assert_read(tmp_path / "a.npy", draw(channels, depth), grey=channels == 1)


def test_an_array_of_two_dimensions_has_one_channel(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", draw(1)[..., 0])
    assert_read(tmp_path / "a.npy", draw(1), grey=True)


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("channels", [2, 3, 4, 7])
def test_pages_of_a_tiff_are_channels(tmp_path: Path, channels: int, depth: Any) -> None:
    values = draw(channels, depth)
    pages = values.transpose(2, 0, 1)
    tifffile.imwrite(tmp_path / "stack.tif", pages, photometric="minisblack")
    tifffile.imwrite(tmp_path / "imagej.tif", pages[None, None], imagej=True, metadata={"axes": "TZCYX"})
    first, *others = [Image.fromarray(np.ascontiguousarray(page)) for page in pages]
    first.save(tmp_path / "pillow.tiff", save_all=True, append_images=others, compression="tiff_lzw")
    for name in ("stack.tif", "imagej.tif", "pillow.tiff"):
        assert_read(tmp_path / name, values, grey=False)


@pytest.mark.parametrize("depth", DEPTHS)
def test_grey_images_have_one_channel_also_where_colour_holds_them(tmp_path: Path, depth: Any) -> None:
    grey = draw(1, depth)
    for name in ("a.png", "a.tif"):
        cv2.imwrite(str(tmp_path / name), grey)
        assert_read(tmp_path / name, grey, grey=True)
        cv2.imwrite(str(tmp_path / name), np.repeat(grey, 3, 2))
        assert_read(tmp_path / name, grey, grey=True)


@pytest.mark.parametrize("depth", DEPTHS)
def test_three_channels_are_rgb(tmp_path: Path, depth: Any) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), draw(3, depth)[..., ::-1])
    assert_read(tmp_path / "a.png", draw(3, depth), grey=False)
    cv2.imwrite(str(tmp_path / "a.png"), draw(1, depth))
    assert_read(tmp_path / "a.png", np.repeat(draw(1, depth), 3, 2), grey=True)


@pytest.mark.parametrize("depth", DEPTHS)
def test_transparency_is_a_fourth_channel(tmp_path: Path, depth: Any) -> None:
    values = draw(4, depth)
    cv2.imwrite(str(tmp_path / "a.png"), values[..., [2, 1, 0, 3]])
    assert_read(tmp_path / "a.png", values, grey=False)


def test_other_channels_than_wanted_are_told_with_what_to_do(tmp_path: Path) -> None:
    np.save(tmp_path / "two.npy", draw(2))
    tifffile.imwrite(tmp_path / "five.tif", draw(5).transpose(2, 0, 1), photometric="minisblack")
    cv2.imwrite(str(tmp_path / "colour.png"), draw(3))
    cv2.imwrite(str(tmp_path / "grey.png"), draw(1))
    for name, has, number in (("two.npy", "has 2 channels", 2), ("five.tif", "holds 5 pages of one channel", 5)):
        for channels in (1, 3, 4):
            with pytest.raises(
                DataError,
                match=rf"/{name}' {has}, not channels={channels}\. Replace it, or read all images with "
                rf"--data\.init_args\.channels={number}\.$",
            ):
                read_channels(tmp_path / name, channels)
    with pytest.raises(
        DataError, match=r"/colour\.png' is in colour, not grey as channels=1 wants it\. Convert it, or"
    ):
        read_channels(tmp_path / "colour.png", 1)
    for name in ("colour.png", "grey.png"):
        with pytest.raises(DataError, match=rf"/{name}' has not channels=2\. Store these as pages of a TIFF, one chan"):
            read_channels(tmp_path / name, 2)
    with pytest.raises(DataError, match=r"/colour\.png' has 3 channels, not channels=4\."):
        read_channels(tmp_path / "colour.png", 4)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_the_one_limit_of_size_holds(tmp_path: Path, channels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """And Pillow's own does not."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    paths = [tmp_path / "a.npy", tmp_path / "a.tif", tmp_path / "a.png"][: 3 if channels != 2 else 2]
    np.save(paths[0], draw(channels))
    tifffile.imwrite(paths[1], draw(channels).transpose(2, 0, 1), photometric="minisblack")
    if channels != 2:
        cv2.imwrite(str(paths[-1]), draw(channels))
    for path in paths:
        monkeypatch.setenv("ACDA_MAX_PIXELS", str(13 * 17))
        assert read_channels(path, channels).pixels.shape == (13, 17, channels)
        monkeypatch.setenv("ACDA_MAX_PIXELS", str(13 * 17 - 1))
        for read in (lambda path: read_channels(path, channels), read_any_header):
            with pytest.raises(DataError, match=r"has 13 × 17 pixels, more than max_pixels=220\."):
                read(path)


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    np.save(tmp_path / "float.npy", np.zeros((4, 4), np.float32))
    np.save(tmp_path / "cube.npy", np.zeros((4, 4, 2, 2), np.uint8))
    np.save(tmp_path / "objects.npy", np.array([None, {}]), allow_pickle=True)
    (tmp_path / "text.npy").write_text("not an array")
    (tmp_path / "empty.npy").write_bytes(b"")
    tifffile.imwrite(tmp_path / "sizes.tif", draw(1)[..., 0], photometric="minisblack")
    tifffile.imwrite(tmp_path / "sizes.tif", draw(1)[:5, :, 0], photometric="minisblack", append=True)
    for name in ("float.npy", "cube.npy", "objects.npy", "text.npy", "empty.npy", "absent.npy"):
        for read in (lambda path: read_channels(path, 1), read_any_header):
            with pytest.raises(DataError, match=rf"/{name}' cannot be read as an image: .*\. Replace or remove"):
                read(tmp_path / name)
    for name in ("sizes.tif", "absent.png"):
        with pytest.raises(DataError, match=rf"/{name}' cannot be read as an image: "):
            read_channels(tmp_path / name, 2)
