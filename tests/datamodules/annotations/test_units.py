from pathlib import Path

import numpy as np
import pytest

from datamodules import DataError
from datamodules.annotations.structure import ImageAnnotation, Unit
from datamodules.annotations.units import check_unit, to_pixels

SIZES = [(480, 640), (600, 800)]


def images(points: list[list[float]], unit: Unit) -> list[ImageAnnotation]:
    empty = ImageAnnotation("b", np.empty((0, 2)), unit, None, None, "")
    return [ImageAnnotation("a", np.array(points, np.float64).reshape(-1, 2), unit, None, None, ""), empty]


def test_conversion() -> None:
    points = np.array([[0.25, 0.5], [1, 0]])
    np.testing.assert_array_equal(to_pixels(points, "fraction", 480, 640), [[160, 240], [640, 0]])
    np.testing.assert_array_equal(to_pixels(100 * points, "percent", 480, 640), [[160, 240], [640, 0]])
    np.testing.assert_array_equal(to_pixels(points, "pixels", 480, 640), points)
    with pytest.raises(ValueError, match=r"^unit must be one of pixels, fraction, percent, got 'mm'$"):
        to_pixels(points, "mm", 480, 640)  # type: ignore[arg-type]


FRACTIONS = [[0.1, 0.9], [1, 0.5], [0.3, 0]]
PERCENT = [[10, 90], [100, 50], [30, 0.0]]
PIXELS = [[64, 432], [640, 240], [192, 101.0]]


@pytest.mark.parametrize(
    ("points", "unit", "likely"),
    [
        (FRACTIONS, "pixels", "fraction"),
        (FRACTIONS, "percent", "fraction"),
        (PERCENT, "fraction", "percent"),
        (PIXELS, "fraction", "pixels"),
        (PIXELS, "percent", "pixels"),
    ],
)
def test_another_unit_is_told(points: list[list[float]], unit: Unit, likely: str) -> None:
    with pytest.raises(
        DataError, match=rf"^coordinates must be '{likely}', it seems, for 'a\.csv', where .*, got '{unit}'$"
    ):
        check_unit(images(points, unit), SIZES, Path("a.csv"))


@pytest.mark.parametrize(
    ("points", "unit"),
    [
        (FRACTIONS, "fraction"),
        (PERCENT, "percent"),
        (PIXELS, "pixels"),
        (PERCENT, "pixels"),
        (FRACTIONS[:2], "pixels"),
        ([[-0.5, 0.1], *FRACTIONS], "pixels"),
        ([[1.2, 0.9], *FRACTIONS], "fraction"),
        ([], "pixels"),
    ],
)
def test_what_may_be_so_is_left(points: list[list[float]], unit: Unit) -> None:
    check_unit(images(points, unit), SIZES, Path("a.csv"))


def test_positions_in_images_of_a_few_pixels() -> None:
    check_unit(images(FRACTIONS, "pixels"), [(8, 640), (600, 800)], Path("a.csv"))


@pytest.mark.parametrize(
    ("times", "sizes", "told"), [(7, SIZES, True), (6, SIZES, False), (7, [(150, 180)] * 2, False)]
)
def test_pixels_that_may_be_percent_are_warned_of(
    times: int, sizes: list[tuple[int, int]], told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """From 20 positions on, in images of which a side has 200 pixels."""
    check_unit(images(times * PERCENT, "pixels"), sizes, Path("a.csv"))
    assert bool(caplog.records) is told
    if told:
        assert "set --data.init_args.coordinates=percent" in caplog.records[0].getMessage()
