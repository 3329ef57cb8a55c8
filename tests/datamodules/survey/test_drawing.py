"""Thumbnails and the sheet that they are put on."""

import numpy as np
import pytest
from PIL import ImageFont

from datamodules.samples import StoredSample
from datamodules.survey.sheet import Cell, draw_sheet, shorten
from datamodules.survey.thumbnails import MARK, draw_thumbnail, mark_points, shrink


@pytest.mark.parametrize(("height", "width", "side"), [(400, 600, 300), (40, 90, 300), (7, 1000, 150), (8, 8, 150)])
def test_marks_lie_on_what_they_mark(height: int, width: int, side: int) -> None:
    """A white spot in the image is where the mark is, shrunk or enlarged."""
    y, x = 3 * height // 4, width // 3
    pixels = np.zeros((height, width, 3), np.uint8)
    spot = max(1, -(-width // side))
    pixels[y : y + spot, x : x + spot] = 255
    picture = shrink(pixels, side)
    assert max(picture.shape) <= side
    seen = np.argwhere(picture.max(2) == picture.max()).mean(0)
    marked = mark_points(picture, np.array([[x + (spot - 1) / 2, y + (spot - 1) / 2]], np.float32), height, width)
    middle = np.argwhere((marked == MARK).all(2)).mean(0)
    assert np.abs(middle - seen).max() <= 1


def test_crowds_have_smaller_marks() -> None:
    picture = np.zeros((300, 300, 3), np.uint8)
    sizes = []
    for count in (10, 200, 1000, 5000):
        points = np.full((count, 2), 150, np.float32)
        sizes.append(int((mark_points(picture, points, 300, 300) == MARK).all(2).sum()))
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] >= 7 * 7
    assert sizes[-1] >= 3


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_any_depth_and_channels_are_shown_in_their_brightness(channels: int, dtype: type) -> None:
    white = int(np.iinfo(dtype).max)
    pixels = np.full((20, 30, channels), round(white * 0.6), dtype)
    picture = shrink(pixels, 150, white=white)
    assert picture.shape == (100, 150, 3)
    assert np.abs(picture.astype(int) - round(255 * 0.6)).max() <= 1


def test_pairs_lie_side_by_side() -> None:
    degraded, clean = np.full((40, 60, 3), 50, np.uint8), np.full((40, 60, 3), 65535, np.uint16)
    sample = StoredSample(("a", "b"), lambda: (degraded, clean))
    picture = draw_thumbnail((degraded, clean), [255, 65535], sample).picture
    middle = picture.shape[1] // 2
    assert (picture[:, : middle - 2] == 50).all()
    assert (picture[:, middle + 2 :] == 255).all()


def test_a_sheet_has_all_pictures_and_letters_that_can_be_read() -> None:
    colours = [(200, number, 7) for number in range(1, 20)]
    cells = [Cell(["12 objects"], np.full((150, 150, 3), colour, np.uint8)) for colour in colours]
    sheet = draw_sheet([("train", cells), ("val", [])])
    for colour in colours:
        assert (sheet == colour).all(2).sum() == 150 * 150
    top = np.argwhere((sheet == colours[0]).all(2))[0, 0]
    title = sheet[top - 19 : top, :200].min((1, 2)) < 128
    assert title.sum() >= 9


def test_long_names_keep_their_ends() -> None:
    font = ImageFont.load_default(15)
    text = shorten("a/very/long/folder/äöü × 日本.jpg", 120, font)
    assert text.startswith("...")
    assert text.endswith("aou x ??.jpg")
    assert font.getlength(text) <= 120
