"""TIFFs as Pillow and OpenCV misread them, against the numbers that tifffile wrote."""

from itertools import product
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

Values = npt.NDArray[Any]
DEPTHS = [np.uint8, np.uint16]
STORED: list[dict[str, Any]] = [
    {},
    {"compression": "zlib", "rowsperstrip": 5},
    {"byteorder": ">"},
    {"bigtiff": True, "compression": "zlib"},
    {"tile": (48, 32)},
    {"byteorder": ">", "tile": (16, 32), "compression": "zlib", "bigtiff": True},
]


def draw(channels: int, depth: Any, height: int = 21, width: int = 38) -> Values:
    random = np.random.default_rng(channels)
    return random.integers(0, np.iinfo(depth).max + 1, (height, width, channels)).astype(depth)


def write(path: Path, values: Values, **stored: Any) -> Path:
    """Write channels that come last, side by side or each by itself."""
    separate = stored.get("planarconfig") == "separate"
    ordered = np.moveaxis(values, 2, 0) if separate else values.squeeze(2) if values.shape[2] == 1 else values
    tifffile.imwrite(path, np.ascontiguousarray(ordered), **stored)
    return path


def assert_reads_as(path: Path, expected: Values, grey: bool) -> None:
    """By all readers; ``expected`` has one channel or three."""
    precise = read_precise(path)
    assert (precise.pixels.dtype, precise.grey) == (expected.dtype, grey)
    np.testing.assert_array_equal(precise.pixels, np.broadcast_to(expected, precise.pixels.shape))
    channels = expected.shape[2]
    np.testing.assert_array_equal(read_channels(path, channels).pixels, expected)
    high = (expected >> 8 * (expected.itemsize - 1)).astype(np.uint8)
    shown = read_image(path)
    np.testing.assert_array_equal(shown, np.broadcast_to(high, shown.shape))
    luma = high if grey else np.asarray(Image.fromarray(high).convert("L"))[..., None]
    np.testing.assert_array_equal(read_image(path, grey=True), luma)
    assert read_header(path).size("shown") == read_any_header(path).size("shown") == expected.shape[:2]


def on_white(values: Values, alpha: Values) -> Values:
    opacity, white = alpha / np.iinfo(values.dtype).max, np.iinfo(values.dtype).max
    return np.rint(values * opacity + white * (1 - opacity)).astype(values.dtype)


@pytest.mark.parametrize("stored", STORED, ids=str)
@pytest.mark.parametrize("depth", DEPTHS)
def test_white_may_be_zero(tmp_path: Path, depth: Any, stored: dict[str, Any]) -> None:
    grey = draw(1, depth)
    path = write(tmp_path / "a.tif", np.iinfo(depth).max - grey, photometric="miniswhite", **stored)
    assert_reads_as(path, grey, grey=True)


@pytest.mark.parametrize("stored", STORED, ids=str)
@pytest.mark.parametrize("depth", DEPTHS)
def test_channels_may_be_stored_one_after_the_other(tmp_path: Path, depth: Any, stored: dict[str, Any]) -> None:
    rgb = draw(3, depth)
    path = write(tmp_path / "a.tif", rgb, photometric="rgb", planarconfig="separate", **stored)
    assert_reads_as(path, rgb, grey=False)


@pytest.mark.parametrize("stored", [{}, {"compression": "zlib", "rowsperstrip": 5}, {"tile": (32, 32)}], ids=str)
@pytest.mark.parametrize("planarconfig", ["contig", "separate"])
@pytest.mark.parametrize("kind", ["assocalpha", "unassalpha"])
@pytest.mark.parametrize("colours", [1, 3])
def test_16_bit_transparency_is_laid_onto_white(
    tmp_path: Path, colours: int, kind: str, planarconfig: str, stored: dict[str, Any]
) -> None:
    values = draw(colours, np.uint16)
    alpha = draw(7, np.uint16)[..., :1]
    alpha[0, :9], alpha[1, :9] = 0, 65535
    expected = on_white(values, alpha)
    if kind == "assocalpha":
        values = np.rint(values * (alpha / 65535)).astype(np.uint16)
        expected = (values + (65535 - alpha)).astype(np.uint16)  # values ≤ alpha
    photometric = "rgb" if colours == 3 else "minisblack"
    path = write(
        tmp_path / "a.tif",
        np.concatenate([values, alpha], 2),
        photometric=photometric,
        planarconfig=planarconfig,
        extrasamples=[kind],
        **stored,
    )
    assert (expected[0, :9] == 65535).all() and (expected[1, :9] == values[1, :9]).all()
    assert_reads_as(path, expected, grey=colours == 1)


@pytest.mark.parametrize("depth", DEPTHS)
def test_channels_beside_rgb_that_are_not_transparency_are_left_out(tmp_path: Path, depth: Any) -> None:
    values = draw(4, depth)
    for planarconfig in ("contig", "separate"):
        path = write(
            tmp_path / "a.tif", values, photometric="rgb", planarconfig=planarconfig, extrasamples=["unspecified"]
        )
        assert_reads_as(path, values[..., :3], grey=False)
        np.testing.assert_array_equal(read_channels(path, 4).pixels, values)


@pytest.mark.parametrize("orientation", [None, *range(1, 9)])
@pytest.mark.parametrize("kind", ["planar", "white_is_zero", "transparent", "deep"])
def test_they_are_turned_as_noted(tmp_path: Path, kind: str, orientation: int | None) -> None:
    values = draw(1 if kind == "white_is_zero" else 3, np.uint16)
    stored: dict[str, Any] = {"photometric": "rgb"}
    written = values
    if kind == "planar":
        stored["planarconfig"] = "separate"
    elif kind == "white_is_zero":
        stored["photometric"], written = "miniswhite", 65535 - values
    elif kind == "transparent":
        stored["extrasamples"] = ["assocalpha"]
        written = np.concatenate([values, np.full_like(values[..., :1], 65535)], 2)
    tags = [(274, "H", 1, orientation, True)] if orientation else []
    path = write(tmp_path / "a.tif", written, extratags=tags, **stored)
    numbers = Image.fromarray(np.arange(21 * 38, dtype=np.int32).reshape(21, 38))
    numbers.getexif()[0x0112] = orientation or 1
    upright = values.reshape(-1, values.shape[2])[np.asarray(ImageOps.exif_transpose(numbers))]
    assert_reads_as(path, upright, grey=kind == "white_is_zero")
    assert read_header(path) == (21, 38, orientation or 1)
    np.testing.assert_array_equal(read_image(path, exif="stored")[..., 0], values[..., 0] >> 8)


def test_an_orientation_in_xmp_counts_as_in_other_formats(tmp_path: Path) -> None:
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    for depth, noted in product(DEPTHS, (False, True)):
        tags = [(700, "B", len(xmp), xmp, True), *([(274, "H", 1, 3, True)] if noted else [])]
        path = write(tmp_path / "a.tif", draw(3, depth), photometric="rgb", extratags=tags)
        turned = np.rot90(draw(3, depth), 2 if noted else -1)
        assert_reads_as(path, turned, grey=False)


@pytest.mark.parametrize("photometric", ["rgb", "minisblack", "miniswhite"])
def test_all_pages_of_one_size_are_told(tmp_path: Path, photometric: str) -> None:
    channels = 3 if photometric == "rgb" else 1
    pages = np.stack([draw(channels, np.uint8)] * 4).squeeze()
    tifffile.imwrite(tmp_path / "stack.tif", pages, photometric=photometric)
    for read in (read_image, read_precise, read_header):
        with pytest.raises(
            DataError,
            match=r"/stack\.tif' holds 4 pages of 21 × 38 pixels, of which it is not known which is meant\. Save that "
            r"one as a file of its own\.$",
        ):
            read(tmp_path / "stack.tif")


@pytest.mark.parametrize("kind", [0, 1, 4], ids=["other_size", "preview", "mask"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("depth", [*DEPTHS, bool])
def test_previews_and_masks_are_no_pages(tmp_path: Path, depth: Any, channels: int, kind: int) -> None:
    if depth is bool:  # which Pillow reads
        values = np.repeat(draw(1, np.uint8) > 127, channels, 2)
        image, expected = values[..., 0], np.where(values, 255, 0).astype(np.uint8)[..., :1]
    else:
        values = expected = draw(channels, depth)
        image = values.squeeze()
    stored: dict[str, Any] = {"photometric": "rgb" if image.ndim == 3 else "minisblack", "metadata": None}
    other = image[::2, ::2] if kind == 0 else image[::-1]
    for order in ("before", "after")[kind == 0 :]:
        with tifffile.TiffWriter(tmp_path / "a.tif") as file:
            for page in (image, other)[:: 1 if order == "after" else -1]:
                file.write(page, subfiletype=0 if page is image else kind & 1, **stored)
        if kind == 4:
            mark(tmp_path / "a.tif", page=0 if order == "before" else 1, subfile_type=4)
        assert_reads_as(tmp_path / "a.tif", expected, grey=expected.shape[2] == 1)


def mark(path: Path, page: int, subfile_type: int) -> None:
    """Give a page a type that tifffile does not write."""
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages[page].tags[254].overwrite(subfile_type)


@pytest.mark.parametrize("stored", STORED, ids=str)
@pytest.mark.parametrize("depth", DEPTHS)
def test_channels_of_a_page_are_read_as_they_are(tmp_path: Path, depth: Any, stored: dict[str, Any]) -> None:
    for channels, planarconfig in product((2, 4, 5), ("contig", "separate")):
        values = draw(channels, depth)
        path = write(tmp_path / "a.tif", values, photometric="minisblack", planarconfig=planarconfig, **stored)
        np.testing.assert_array_equal(read_channels(path, channels).pixels, values)
        assert read_any_header(path) == (21, 38, 1)
        for read in (read_image, read_precise):
            with pytest.raises(DataError, match=rf"it has {channels} channels, neither grey nor RGB .*={channels}\)"):
                read(path)


@pytest.mark.parametrize("compression", [None, "zlib", "jpeg"])
@pytest.mark.parametrize("white_is_zero", [False, True])
def test_pages_may_be_of_any_kind_of_grey(tmp_path: Path, white_is_zero: bool, compression: str | None) -> None:
    pages = [np.ascontiguousarray(cv2.resize(draw(1, np.uint8), (38, 21))) for _ in range(2)]
    if compression == "jpeg":
        first, second = (Image.fromarray(page) for page in pages)
        first.save(tmp_path / "a.tif", save_all=True, append_images=[second], compression="jpeg", quality=95)
        white_is_zero = False
    else:
        written = np.stack(pages) if not white_is_zero else 255 - np.stack(pages)
        kind = "miniswhite" if white_is_zero else "minisblack"
        tifffile.imwrite(tmp_path / "a.tif", written, photometric=kind, compression=compression)
    read = read_channels(tmp_path / "a.tif", 2).pixels
    assert np.abs(read - np.stack(pages, 2).astype(int)).max() <= (12 if compression == "jpeg" else 0)


def test_a_stack_in_one_page_is_told(tmp_path: Path) -> None:
    """ImageJ writes stacks above 4 GiB so."""
    note = b"ImageJ=1.54f\nimages=7\nslices=7\nhyperstack=true\n"
    tifffile.imwrite(tmp_path / "a.tif", draw(1, np.uint16)[..., 0], description=note, metadata=None)
    for read in (read_image, read_precise, read_header, read_any_header, lambda path: read_channels(path, 7)):
        with pytest.raises(DataError, match=r"/a\.tif' holds 7 images in one page, as ImageJ writes large stacks\. S"):
            read(tmp_path / "a.tif")


def test_profiles_are_kept(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    path = write(tmp_path / "a.tif", draw(3, np.uint16), photometric="rgb", iccprofile=profile, planarconfig="separate")
    assert read_precise(path).profile == profile
    path = write(tmp_path / "a.tif", draw(1, np.uint16), photometric="miniswhite", iccprofile=profile)
    assert read_precise(path).profile == b""  # of RGB, beside grey pixels


def test_what_is_damaged_or_unknown_is_named(tmp_path: Path) -> None:
    whole = write(tmp_path / "a.tif", draw(3, np.uint16), photometric="rgb", planarconfig="separate").read_bytes()
    circle = bytearray(whole)
    first = int.from_bytes(whole[4:8], "little")
    after = first + 2 + 12 * int.from_bytes(whole[first : first + 2], "little")
    circle[after : after + 4] = whole[4:8]
    predicted = {"compression": "zlib", "predictor": True, "photometric": "minisblack", "planarconfig": "contig"}
    write(tmp_path / "predicted.tif", draw(2, np.uint16), **predicted)
    for name, content in (("cut.tif", whole[:-1]), ("start.tif", whole[:60]), ("circle.tif", bytes(circle))):
        (tmp_path / name).write_bytes(content)
    for name in ("cut.tif", "start.tif", "circle.tif", "predicted.tif"):
        for read in (read_image, read_precise):
            with pytest.raises(DataError, match=rf"/{name}' cannot be read as an image: .*\. Replace or remove"):
                read(tmp_path / name)


def test_the_limit_of_size_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.tif", draw(3, np.uint16), photometric="rgb", planarconfig="separate")
    monkeypatch.setenv("ACDA_MAX_PIXELS", str(21 * 38 - 1))
    for read in (read_image, read_precise, read_header, read_any_header):
        with pytest.raises(DataError, match=r"has 21 × 38 pixels, more than max_pixels=797\."):
            read(path)
