import logging
from pathlib import Path

import numpy as np
import pytest

from datamodules import DataError
from datamodules.crowd.positions import AnnotatedImage, place_points
from datamodules.files.readers import Exif, ImageHeader
from datamodules.types import Points

SIDEWAYS = (5, 6, 7, 8)
PLACE = Path("photographs")


def spread(height: int, width: int, count: int, seed: int = 0) -> Points:
    """Draw points all over an image, the first ones in its corners."""
    points = np.random.RandomState(seed).uniform(0, (width - 1, height - 1), (count, 2))
    points[:4] = [(0, 0), (width - 1, 0), (0, height - 1), (width - 1, height - 1)][:count]
    return points.astype(np.float32)


def image(name: str, points: Points, orientation: int = 1, height: int = 90, width: int = 160) -> AnnotatedImage:
    """Make an image of which height and width are as stored."""
    return AnnotatedImage(PLACE / name, ImageHeader(height, width, orientation), points)


def told(caplog: pytest.LogCaptureFixture, level: str) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelname == level]


@pytest.mark.parametrize("orientation", SIDEWAYS)
@pytest.mark.parametrize(("exif", "other"), [("stored", "shown"), ("shown", "stored")])
def test_points_of_the_other_reading_are_refused(orientation: int, exif: Exif, other: Exif) -> None:
    """Among photographs that are not turned, whose points fit."""
    height, width = (90, 160) if other == "stored" else (160, 90)
    wrong = [image(f"{i}.jpg", spread(height, width, 40, i), orientation) for i in range(5)]
    straight = [image(f"straight{i}.jpg", spread(90, 160, 200, i)) for i in range(3)]
    # Points in the image's longer half, but for those beside its middle: beyond 2 % of its longer side.
    lost = sum(int((one.points.max(1) > 89 + 0.02 * 160).sum()) for one in wrong)
    with pytest.raises(DataError) as raised:
        place_points([*straight, *wrong], exif, 0, PLACE)
    assert str(raised.value) == (
        f"'photographs': of 200 points in 5 images that EXIF turns (0.jpg, 1.jpg, 2.jpg and 2 more), {lost} lie "
        f"outside the image as {exif}, 0 outside it as {other}. Set --data.init_args.exif={other}."
    )
    placed = place_points([*straight, *wrong], other, 0, PLACE)
    for points, one in zip(placed, [*straight, *wrong], strict=True):
        assert np.array_equal(points, one.points)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_points_of_this_reading_are_taken_in_silence(orientation: int, caplog: pytest.LogCaptureFixture) -> None:
    """Where the sizes of both readings differ; else nobody can tell."""
    stored = [image("a.jpg", spread(90, 160, 30), orientation)]
    place_points(stored, "stored", 0, PLACE)
    assert bool(told(caplog, "WARNING")) == (orientation in (2, 3, 4))
    caplog.clear()
    sideways = orientation in SIDEWAYS
    shown = [image("a.jpg", spread(160, 90, 30) if sideways else spread(90, 160, 30), orientation)]
    place_points(shown, "shown", 0, PLACE)
    assert not told(caplog, "WARNING")


def test_where_nobody_can_tell_the_assumption_is_told(caplog: pytest.LogCaptureFixture) -> None:
    square = [image(f"{i}.jpg", spread(90, 90, 9), orientation, 90, 90) for i, orientation in enumerate((6, 3, 7, 8))]
    amid = [image("amid.jpg", spread(80, 80, 9), 6)]
    nothing = [image("no_heads.jpg", np.zeros((0, 2), np.float32), 6), image("straight.jpg", spread(90, 160, 9))]
    images = [*square, *amid, *nothing]
    place_points(images, "stored", 0, PLACE)
    assert told(caplog, "WARNING") == [
        "'photographs': EXIF turns 5 of 7 images (0.jpg, 1.jpg, 2.jpg and 2 more) whose points fit them as stored and "
        "as shown: exif='stored' is assumed. If they were annotated as shown, set --data.init_args.exif=shown"
    ]
    caplog.clear()
    place_points(images, "shown", 0, PLACE)
    assert not told(caplog, "WARNING")


def test_single_images_of_the_other_reading_are_named() -> None:
    right = [image(f"right{i}.jpg", spread(90, 160, 50, i), 6) for i in range(3)]
    wrong = image("wrong.jpg", spread(160, 90, 20), 8)
    with pytest.raises(DataError) as raised:
        place_points([*right, wrong], "stored", 0, PLACE)
    assert str(raised.value).startswith("'photographs': of 20 points in 1 images that EXIF turns (wrong.jpg), ")
    assert str(raised.value).endswith(
        ", 0 outside it as shown. The other images fit exif='stored': annotate these again, or remove their EXIF "
        "orientation."
    )


def test_published_carelessness_is_no_other_reading(caplog: pytest.LogCaptureFixture) -> None:
    """Points on the border or a little beyond of a turned image, and one far out of an image that clearly fits."""
    amid = spread(88, 88, 100)
    amid[:3] = [(50, 90), (40, 91), (30, -1)]
    clear = spread(90, 160, 100)
    clear[4] = (80, 130)
    images = [image("amid.jpg", amid, 6), image("clear.jpg", clear, 8), image("more.jpg", spread(90, 160, 300))]
    placed = place_points(images, "stored", 0, PLACE)
    assert placed[0][:3].tolist() == [[50, 89], [40, 89], [30, 0]]
    assert placed[1][4].tolist() == [80, 89]


@pytest.mark.parametrize(
    ("moved", "level"), [(0, "INFO"), (10, "INFO"), (20, "INFO"), (30, "WARNING"), (200, "WARNING")]
)
def test_moved_points_are_told(moved: int, level: str, caplog: pytest.LogCaptureFixture) -> None:
    """Of 1000 points, in two images; of more than 2 % is warned."""
    caplog.set_level(logging.INFO, "datamodules")
    points = spread(90, 160, 400), spread(90, 160, 600, 1)
    points[0][: moved // 5, 0] += 500
    points[1][: moved - moved // 5, 1] -= 500
    images = [image("a.jpg", points[0]), image("b.jpg", points[1], 6), image("c.jpg", np.zeros((0, 2), np.float32))]
    before = f"'photographs': 3 images, 1000 heads, {moved} of them moved to their image's border"
    more = f": {moved / 1000:.1%}, in 2 images, most in 'b.jpg' ({moved * 4 // 5} of 600)"
    placed = place_points(images, "stored", 0, PLACE)
    assert told(caplog, level) == [before + (more if level == "WARNING" else "")]
    assert len(caplog.records) == 1
    for one in placed:
        assert (one >= 0).all() and (one <= (159, 89)).all()


@pytest.mark.parametrize(
    ("points", "coord_offset", "cause"),
    [
        (spread(160, 90, 400), 0, r"They fit with x and y swapped: write x first"),
        (spread(90, 160, 400), 500, r"They fit without coord_offset=500: set --data\.init_args\.coord_offset=0"),
        (spread(270, 480, 400), 0, r"They seem to be of other images, or of these in another size: replace the annot"),
        (spread(90, 160, 400) + 60, 0, r"They seem to be of other images"),
    ],
)
@pytest.mark.parametrize("exif", ["stored", "shown"])
def test_annotations_that_do_not_fit_are_refused(points: Points, coord_offset: float, cause: str, exif: Exif) -> None:
    """Even where one image is turned: no note is to blame where those that are not turned do not fit."""
    images = [image("a.jpg", points), image("b.jpg", points), image("turned.jpg", points[:30], 6)]
    images.append(image("fits.jpg", spread(90, 160, 5)))
    outside = r"\d+ of 835 points \(\d+\.\d%\) lie outside their image, most in 'a\.jpg' \(\d+ of 400\)"
    with pytest.raises(DataError, match=rf"^'photographs': {outside}\. {cause}"):
        place_points(images, exif, coord_offset, PLACE)


def test_thirty_of_a_hundred_are_too_many_and_twenty_are_not() -> None:
    points = spread(90, 160, 100)
    points[:20, 0] += 300
    assert len(place_points([image("a.jpg", points)], "stored", 0, PLACE)[0]) == 100
    points[20:30, 1] += 300
    with pytest.raises(DataError, match=r"^'photographs': 30 of 100 points \(30\.0%\) lie outside their image"):
        place_points([image("a.jpg", points)], "stored", 0, PLACE)


def test_points_of_matlab_are_not_outside(caplog: pytest.LogCaptureFixture) -> None:
    """Its last pixels are W and H: points there are moved by one, however many of the few there are."""
    placed = place_points([image("a.jpg", np.array([[160, 90], [160, 5], [1, 1]], np.float32))], "stored", 0, PLACE)
    assert placed[0].tolist() == [[159, 89], [159, 5], [1, 1]]
    assert len(told(caplog, "WARNING")) == 1


def test_the_offset_is_subtracted() -> None:
    points = spread(90, 160, 50) + np.float32(1)
    placed = place_points([image("a.jpg", points, 6)], "stored", 1, PLACE)
    np.testing.assert_allclose(placed[0], points - 1, atol=1e-6)


def test_images_without_points_are_taken() -> None:
    none = np.zeros((0, 2), np.float32)
    placed = place_points([image("a.jpg", none), image("b.jpg", none, 6)], "stored", 0, PLACE)
    assert [points.shape for points in placed] == [(0, 2), (0, 2)]
