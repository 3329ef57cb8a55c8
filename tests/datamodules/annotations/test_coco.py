from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from datamodules import DataError
from datamodules.annotations.reading import read_annotations
from datamodules.annotations.structure import Annotations
from tests.support.annotation_files import coco, make_samples, write_json


def read(folder: Path, change: Callable[[dict[str, Any]], Any]) -> Annotations:
    content = coco(make_samples())
    change(content)
    return read_annotations(write_json(folder / "coco.json", content), folder)


def test_keypoints_that_are_not_labelled_are_left_out(tmp_path: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        content["annotations"] = content["annotations"][:3]
        content["annotations"][0]["keypoints"] = [5, 6, 1, 0, 0, 0, 7.5, 8, 2]
        content["annotations"][1]["keypoints"] = [0, 0, 0]
        content["annotations"][2] |= {"keypoints": [], "bbox": [1, 2, 3, 4]}

    annotations = read(tmp_path, change)
    x, y, width, height = coco(make_samples())["annotations"][1]["bbox"]
    assert annotations.images[0].points.tolist() == [[5, 6], [7.5, 8], [x + width / 2, y + height / 2], [2.5, 4]]
    assert ", 4 objects" in annotations.description


def test_regions_of_crowds_are_told(tmp_path: Path) -> None:
    annotations = read(
        tmp_path, lambda content: content["annotations"][0].update(iscrowd=1, segmentation={"counts": []})
    )
    assert annotations.description.endswith("; left out: 1 regions of crowds")
    assert len(annotations.images[0].points) == len(make_samples()[0].points) - 1


def test_images_of_any_ids_without_sizes_and_categories(tmp_path: Path) -> None:
    content = {
        "images": [{"id": "x", "file_name": "a.jpg"}, {"id": 0, "file_name": "b.jpg", "height": 0, "width": None}],
        "annotations": [{"image_id": 0, "bbox": [1, 2, 3, 4]}, {"image_id": "x", "bbox": [0, 0, 0, 0]}],
    }
    images = read_annotations(write_json(tmp_path / "a.json", content), tmp_path).images
    assert [(image.name, image.points.tolist(), image.size) for image in images] == [
        ("a.jpg", [[0, 0]], None),
        ("b.jpg", [[2.5, 4]], None),
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda c: c["annotations"][1].update(bbox=["1", 2, 3, 4]),
            r", annotation 2: x must be a finite number, got '1'\.$",
        ),
        (
            lambda c: c["annotations"][0].update(bbox=[1, 2, float("nan"), 4]),
            r", annotation 1: width must be a finite .* nan",
        ),
        (lambda c: c["annotations"][0].update(bbox=[1, 2, True, 4]), r", annotation 1: width must be a finite .* True"),
        (
            lambda c: c["annotations"][0].update(bbox=[1, 2, 3]),
            r", annotation 1: bbox must be \[x, y, width, height\], got",
        ),
        (lambda c: c["annotations"][0].pop("bbox"), r", annotation 1: bbox must be \[x, y, width, height\], got None"),
        (
            lambda c: c["annotations"][0].update(bbox=[1, 2, -3, 4]),
            r"annotation 1: a box must not have a negative size",
        ),
        (
            lambda c: c["annotations"][0].update(keypoints=[1, 2]),
            r"keypoints must be x, y, visibility in turn, got \[1, 2\]",
        ),
        (
            lambda c: c["annotations"][0].update(image_id=7),
            r"annotation 1: image_id must be the id of an image, got 7\.$",
        ),
        (lambda c: c["annotations"][0].update(image_id=[7]), r"annotation 1: image_id must be there"),
        (lambda c: c["annotations"][0].update(category_id=9), r"category_id must be the id of a category, got 9\.$"),
        (lambda c: c["annotations"].insert(0, 5), r", annotation 1: image_id must be there, got 5\.$"),
        (lambda c: c["images"][1].pop("file_name"), r", image 2: file_name must be there, got \{"),
        (lambda c: c["images"][1].update(id=100), r", image 2: id must be that of one image, got 100 again\.$"),
        (
            lambda c: c["images"][1].update(file_name="a.jpg"),
            r"', image 2: 'a\.jpg' must be annotated once, got another annotation of it in '.*', image 1\.$",
        ),
        (lambda c: c["categories"][0].pop("name"), r", category 1: name must be there, got \{"),
        (lambda c: c.update(annotations={}), r"the annotation records must be a list, got \{\}\.$"),
    ],
)
def test_wrong_records_are_named(tmp_path: Path, change: Callable[[dict[str, Any]], Any], message: str) -> None:
    with pytest.raises(DataError, match=message) as error:
        read(tmp_path, change)
    assert str(error.value).startswith(f"'{tmp_path}/coco.json'")
    assert "\n" not in str(error.value)
