from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datamodules import DataError
from datamodules.annotations.matching import match_images
from datamodules.annotations.reading import read_annotations
from tests.support.annotation_files import labelme, make_samples, png_text, write_json

SAMPLE = make_samples()[0]


@pytest.mark.parametrize(
    "path",
    [
        "a.jpg",
        "..\\images\\a.jpg",
        "../images/a.jpg",
        "C:\\Users\\me\\images\\a.jpg",
        "/home/me/images/a.jpg",
        "renamed_since.jpg",
        "",
        None,
    ],
)
def test_images_are_found_wherever_the_file_says_they_were(tmp_path: Path, path: str | None) -> None:
    write_json(tmp_path / "labels" / "a.json", labelme(SAMPLE) | {"imagePath": path})
    images = match_images(read_annotations(tmp_path / "labels", tmp_path), tmp_path, ["a.jpg"])
    np.testing.assert_array_equal(images["a.jpg"].points, SAMPLE.points)


def test_files_of_one_name_in_several_folders(tmp_path: Path) -> None:
    for number, folder in enumerate(("one", "two")):
        content = labelme(SAMPLE)
        content["shapes"] = content["shapes"][number:]
        write_json(tmp_path / folder / "a.json", content)
    images = match_images(read_annotations(None, tmp_path), tmp_path, ["one/a.jpg", "two/a.jpg"])
    assert [len(image.points) for image in images.values()] == [len(SAMPLE.points), len(SAMPLE.points) - 1]


def test_two_files_of_one_image(tmp_path: Path) -> None:
    for name in ("a.json", "a copy.json"):
        write_json(tmp_path / name, labelme(SAMPLE))
    with pytest.raises(DataError, match=r"a\.json': 'a\.jpg' must be annotated once, .* in '.*a copy\.json'\.$"):
        read_annotations(tmp_path, tmp_path)


def test_masks_stand_at_their_centroid(tmp_path: Path) -> None:
    mask = np.zeros((4, 6), bool)
    mask[1:3, 2:5] = True  # pixels 12 to 14 of columns, 21 and 22 of rows: centred at 13.5 and 22
    content = labelme(SAMPLE)
    shape = {"label": "cell", "shape_type": "mask", "points": [[10.0, 20.0], [15.0, 23.0]], "mask": png_text(mask)}
    content["shapes"] = [shape]
    write_json(tmp_path / "a.json", content)
    assert read_annotations(tmp_path, tmp_path).images[0].points.tolist() == [[13.5, 22.0]]


def test_other_shapes_of_other_categories_do_no_harm(tmp_path: Path) -> None:
    content = labelme(SAMPLE)
    content["shapes"].append({"label": "scale bar", "shape_type": "linestrip", "points": [[1, 2], [3, 4]]})
    write_json(tmp_path / "a.json", content)
    count = SAMPLE.labels.count("cell")
    assert len(read_annotations(tmp_path, tmp_path, category="cell").images[0].points) == count
    with pytest.raises(
        DataError, match=rf"shape {len(SAMPLE.points) + 1}: shape_type must be one of polygon, .* 'linestrip'"
    ):
        read_annotations(tmp_path, tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.update(points=[["1", 2]]), r"shape 2: x must be a finite number, got '1'\.$"),
        (lambda s: s.update(points=[[1, 2, 3]]), r"shape 2: points must be pairs of numbers, got \[\[1, 2, 3\]\]\.$"),
        (lambda s: s.pop("points"), r"shape 2: points must be pairs of numbers, got None\.$"),
        (lambda s: s.update(points=[[1, 2], [3, 4]]), r"shape 2: a point must have 1 points, got 2\.$"),
        (lambda s: s.update(shape_type="rectangle"), r"shape 2: a rectangle must have 2 or 4 points, got 1\.$"),
        (lambda s: s.update(shape_type="polygon"), r"shape 2: a polygon must have an area, got the points \[\("),
        (lambda s: s.update(shape_type=None, points=[[1, 1], [2, 2], [3, 3]]), r"shape 2: a polygon must have an area"),
        (lambda s: s.update(shape_type="mask", points=[[1, 1], [2, 2]], mask="#"), r"shape 2: mask must be a PNG file"),
        (
            lambda s: s.update(shape_type="mask", points=[[1, 1], [2, 2]], mask=png_text(np.zeros((2, 2), bool))),
            r"shape 2: a mask must have pixels, got none\.$",
        ),
    ],
)
def test_wrong_shapes_are_named(tmp_path: Path, change: Callable[[dict[str, Any]], Any], message: str) -> None:
    content = labelme(SAMPLE)
    change(content["shapes"][1])
    write_json(tmp_path / "a.json", content)
    with pytest.raises(DataError, match=message) as error:
        read_annotations(tmp_path, tmp_path)
    assert str(error.value).startswith(f"'{tmp_path}/a.json', ")
    assert "\n" not in str(error.value)
