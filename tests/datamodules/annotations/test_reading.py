"""The same objects come out of every format; what is no annotation is told."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datamodules import DataError
from datamodules.annotations.matching import match_images
from datamodules.annotations.reading import read_annotations
from datamodules.annotations.units import to_pixels
from tests.support.annotation_files import (
    NAMES,
    Sample,
    coco,
    cvat,
    label_studio,
    label_studio_min,
    labelme,
    make_samples,
    write_anylabeling,
    write_arrays,
    write_csv,
    write_cvat,
    write_json,
    write_labelme,
    write_old_labelme,
)

Write = Callable[[Path, list[Sample]], Any]
Case = tuple[Write, str, str, dict[str, Any]]


def csv_case(*header: str, **arguments: Any) -> Write:
    return lambda path, samples: write_csv(path, samples, header, **arguments)


SAMPLES = make_samples()
TOTAL = sum(len(sample.points) for sample in SAMPLES)
BOTH = ", ".join(
    f"'{label}' ({sum(sample.labels.count(label) for sample in SAMPLES)})"
    for label in dict.fromkeys(label for sample in SAMPLES for label in sample.labels)
)
CASES: dict[str, Case] = {
    "points": (csv_case("image", "x", "y", "label"), "CSV", "points", {}),
    "odd names": (csv_case("File Name", "X", "Y", "Class", delimiter=";", encoding="utf-8-sig"), "CSV", "points", {}),
    "corners": (csv_case("filename", "x1", "y1", "x2", "y2", "category"), "CSV", "boxes", {}),
    "corners of VOC": (csv_case("image_path", "xmin", "ymin", "xmax", "ymax", "label"), "CSV", "boxes", {}),
    "sides": (csv_case("image", "x", "y", "w", "h", "label", delimiter="\t", encoding="utf-16"), "CSV", "boxes", {}),
    "long sides": (csv_case("image", "x", "y", "width", "height", "label"), "CSV", "boxes", {}),
    "fraction": (csv_case("image", "x", "y", "label", factor=1), "CSV", "points", {"coordinates": "fraction"}),
    "percent": (csv_case("image", "x", "y", "label", factor=100), "CSV", "points", {"coordinates": "percent"}),
    "coco": (lambda path, samples: write_json(path, coco(samples)), "COCO JSON", "boxes", {}),
    "keypoints": (lambda path, samples: write_json(path, coco(samples, "points")), "COCO JSON", "keypoints", {}),
    "labelme": (write_labelme, "LabelMe JSON", "points", {}),
    "rectangle": (lambda path, samples: write_labelme(path, samples, "rectangle"), "LabelMe JSON", "boxes", {}),
    "polygon": (lambda path, samples: write_labelme(path, samples, "polygon"), "LabelMe JSON", "polygons", {}),
    "circle": (lambda path, samples: write_labelme(path, samples, "circle"), "LabelMe JSON", "circles", {}),
    "old labelme": (write_old_labelme, "LabelMe JSON", "polygons", {}),
    "anylabeling": (write_anylabeling, "LabelMe JSON", "boxes", {}),
    "rotation": (lambda path, samples: write_anylabeling(path, samples, "rotation"), "LabelMe JSON", "boxes", {}),
    "cvat points": (lambda path, samples: write_cvat(path, cvat(samples)), "CVAT XML", "points", {}),
    "cvat box": (lambda path, samples: write_cvat(path, cvat(samples, "box")), "CVAT XML", "boxes", {}),
    "cvat polygon": (lambda path, samples: write_cvat(path, cvat(samples, "polygon")), "CVAT XML", "polygons", {}),
    "cvat ellipse": (lambda path, samples: write_cvat(path, cvat(samples, "ellipse")), "CVAT XML", "ellipses", {}),
    "npy": (lambda path, samples: write_arrays(path, samples, "npy"), "NumPy arrays", "points", {}),
    "txt": (lambda path, samples: write_arrays(path, samples, "txt"), "texts of numbers", "points", {}),
    "ShanghaiTech": (lambda path, samples: write_arrays(path, samples, "image_info"), "MATLAB files", "points", {}),
    "UCF-QNRF": (lambda path, samples: write_arrays(path, samples, "annPoints"), "MATLAB files", "points", {}),
}
for form, kind in {"keypoint": "points", "rectangle": "boxes", "ellipse": "ellipses", "polygon": "polygons"}.items():
    for title, make in (("label studio", label_studio), ("json-min", label_studio_min)):
        CASES[f"{title} {form}"] = (
            lambda path, samples, form=form, make=make: write_json(path, make(samples, form, "s3://bucket/x/{}")),
            "Label Studio JSON",
            kind,
            {},
        )


def read(case: str, folder: Path, **arguments: Any) -> tuple[Any, dict[str, Any]]:
    write, _, _, given = CASES[case]
    write(folder / "labels.of-no-known-kind", SAMPLES)
    annotations = read_annotations(folder / "labels.of-no-known-kind", folder, **given, **arguments)
    return annotations, match_images(annotations, folder, NAMES)


@pytest.mark.parametrize("case", CASES)
def test_all_formats_give_the_same_points_to_the_last_bit(tmp_path: Path, case: str) -> None:
    annotations, images = read(case, tmp_path)
    _, title, kind, _ = CASES[case]
    of = "" if title in ("NumPy arrays", "texts of numbers", "MATLAB files") else f": {BOTH}"
    labels = {label: sum(sample.labels.count(label) for sample in SAMPLES) for label in ("cell", "debris")}
    assert annotations.description.startswith(f"{title}: 5 images (1 without objects), {TOTAL} {kind}{of[:1]}")
    assert annotations.categories == (labels if of else {})
    assert list(images) == list(NAMES)
    for sample in SAMPLES:
        image = images[sample.name]
        assert image.points.dtype == np.float64
        pixels = to_pixels(image.points, image.unit, sample.height, sample.width)
        if "CSV" in title:  # rows of an image are not adjacent there
            assert sorted(pixels.tolist()) == sorted(sample.points.tolist())
        elif case == "cvat points":  # one element for each label
            groups = list(dict.fromkeys(sample.labels))
            order = np.argsort([groups.index(label) for label in sample.labels], kind="stable")
            np.testing.assert_array_equal(pixels, sample.points[order])
        else:
            np.testing.assert_array_equal(pixels, sample.points)
        if title in ("COCO JSON", "CVAT XML", "LabelMe JSON") and case != "old labelme":
            assert image.size == (sample.height, sample.width)


@pytest.mark.parametrize(
    "case", [case for case in CASES if CASES[case][1] not in ("NumPy arrays", "texts of numbers", "MATLAB files")]
)
def test_one_category_is_picked(tmp_path: Path, case: str) -> None:
    annotations, images = read(case, tmp_path, category="debris")
    count = sum(sample.labels.count("debris") for sample in SAMPLES)
    _, title, kind, _ = CASES[case]
    expected = f"{count} {kind} of 'debris'; left out: {TOTAL - count} of other categories"
    assert annotations.description == f"{title}: 5 images (1 without objects), {expected}"
    for sample in SAMPLES:
        picked = sample.points[[label == "debris" for label in sample.labels]]
        pixels = to_pixels(images[sample.name].points, images[sample.name].unit, sample.height, sample.width)
        assert sorted(pixels.tolist()) == sorted(picked.tolist())


@pytest.mark.parametrize("case", ["points", "coco", "labelme", "label studio keypoint", "cvat box"])
def test_a_category_that_does_not_occur(tmp_path: Path, case: str) -> None:
    with pytest.raises(
        DataError, match=r"^category must be one that occurs in '.*': '\w+' \(\d+\), '\w+' \(\d+\), got 'Zelle'$"
    ):
        read(case, tmp_path, category=["cell", "Zelle"])


def test_annotations_lie_beside_the_images(tmp_path: Path) -> None:
    write_labelme(tmp_path, SAMPLES)
    for name in ("README.md", "classes.csv", ".hidden.json"):
        (tmp_path / name).write_text("image,x,y\n")
    (tmp_path / "a.jpg").write_bytes(b"{")
    annotations = read_annotations(None, tmp_path)
    assert "; left out: 2 other files (README.md, classes.csv)" in annotations.description
    assert len(match_images(annotations, tmp_path, NAMES)) == 5


def test_a_single_file_of_one_image(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", labelme(SAMPLES[0]))
    (image,) = read_annotations(tmp_path / "a.json", tmp_path).images
    np.testing.assert_array_equal(image.points, SAMPLES[0].points)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"'.*x' is empty\."),
        (b" \n", r"'.*x' is empty\."),
        (b"PK\x03\x04abc", r"'.*x' is an archive or an Excel table\. Unpack it, or save it as CSV\."),
        (b"\x89HDF\r\n\x1a\n\0\0\0", r"'.*x' is of no format that is known"),
        (b'{"images": [1, 2,]}', r"'.*x', line 1, column 18: no valid JSON \(.+\)\.$"),
        (b'{"images":\n [1', r"'.*x', line 2, column 4: no valid JSON"),
        (b'{"a": ' + b"9" * 5000 + b"}", r"'.*x' is no usable JSON"),
        (
            b'{"regions": {}, "filename": 1}',
            r"must be JSON of COCO .* LabelMe .* Label Studio .*, got the keys filename, regions",
        ),
        (b'[{"image_id": 1, "bbox": [1, 2, 3, 4], "score": 1}]', r"must be JSON of COCO .*, got a list\."),
        (b"[]", r"must be JSON of COCO .*, got a list\."),
        (b"{}", r", got the keys none\."),
        (b"<annotation><object/></annotation>", r"must be XML of CVAT for images, .* got the root annotation\."),
        (b"<annotations><image id='1'></annotations>", r"'.*x', line 1, column 30: no valid XML \(mismatched tag\)\."),
        (b"<?xml version='1.0' encoding='no-such'?><annotations/>", r"'.*x' is no usable XML \(unknown encoding"),
        (b"<annotations><track id='1'/></annotations>", r"is CVAT's XML for video\. Export the task again as"),
        (b"<annotations><version>1.1</version></annotations>", r"'.*x' \(CVAT XML\) names no image\."),
        (b'{"images": [], "annotations": []}', r"'.*x' \(COCO JSON\) names no image\."),
        (
            "image,x,y\nä.jpg,1,2\n".encode("cp1252"),
            r"'.*x', line 2: it must be UTF-8 text, got the byte 0xe4\. Save it",
        ),
        (b'{"shapes": [], "x": "\xff"}', r"'.*x', line 1: it must be UTF-8 text, got the byte 0xff"),
        (b"\x93NUMPY\x01\0", r"'.*x' cannot be read as an array of NumPy: "),
        (b"MATLAB 5.0 MAT-file", r"'.*x' cannot be used: it is damaged"),
    ],
)
def test_other_files_are_told(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(DataError, match=message) as error:
        read_annotations(tmp_path / "x", tmp_path)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 300 + len(str(tmp_path))


def test_a_folder_without_annotations(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    with pytest.raises(DataError, match=r"holds no annotations: none of 0 files is one of LabelMe JSON, NumPy"):
        read_annotations(None, tmp_path)
    write_json(tmp_path / "all.json", coco(SAMPLES))
    with pytest.raises(
        DataError, match=r"none of 1 files .*; to read a table, name the file: '.*all\.json' \(COCO JSON\)\."
    ):
        read_annotations(tmp_path, tmp_path)
    with pytest.raises(DataError, match=r"^annotations='.*absent' does not exist\."):
        read_annotations(tmp_path / "absent", tmp_path)


def test_two_formats_in_one_folder(tmp_path: Path) -> None:
    write_labelme(tmp_path, SAMPLES[:1])
    write_arrays(tmp_path, SAMPLES[2:3], "npy")
    with pytest.raises(
        DataError, match=r"one format, got LabelMe JSON \('.*a\.json'\) and NumPy arrays \('.*b c\.npy'\)"
    ):
        read_annotations(tmp_path, tmp_path)


def test_empty_files(tmp_path: Path) -> None:
    write_arrays(tmp_path, SAMPLES[:1], "txt")
    (tmp_path / "b.txt").touch()
    assert [len(image.points) for image in read_annotations(tmp_path, tmp_path).images] == [len(SAMPLES[0].points), 0]
    (tmp_path / "a.txt").unlink()
    write_labelme(tmp_path, SAMPLES[:1])
    with pytest.raises(DataError, match=r"'.*b\.txt' is empty\. Complete or remove it\."):
        read_annotations(tmp_path, tmp_path)


def test_a_damaged_file_among_others(tmp_path: Path) -> None:
    write_labelme(tmp_path, SAMPLES)
    text = (tmp_path / "a.json").read_text()
    (tmp_path / "a.json").write_text(text[: len(text) // 2])
    with pytest.raises(DataError, match=r"'.*a\.json', line \d+, column \d+: no valid JSON"):
        read_annotations(tmp_path, tmp_path)


@pytest.mark.parametrize("case", ["coco", "labelme", "label studio keypoint", "cvat box", "ShanghaiTech"])
def test_formats_that_state_their_unit_take_no_other(tmp_path: Path, case: str) -> None:
    with pytest.raises(
        DataError, match=r"^coordinates must be left out for '.*': .* has (pixels|percent), got 'fraction'$"
    ):
        read(case, tmp_path, coordinates="fraction")
    with pytest.raises(ValueError, match=r"^coordinates must be one of pixels, fraction, percent, got 'inches'$"):
        read(case, tmp_path, coordinates="inches")


def test_unknown_fields_are_tolerated(tmp_path: Path) -> None:
    content: Any = coco(SAMPLES)
    content["videos"] = [{"id": 1, "image_id": 3, "bbox": None}]
    for record in content["images"] + content["annotations"]:
        record["attributes"] = {"image_id": "x", "bbox": [1]}
    found = read_annotations(write_json(tmp_path / "a", content), tmp_path).images
    tasks = json.loads(json.dumps(label_studio(SAMPLES)))
    for task in tasks:
        task |= {"tags": [{"x": 1}], "comment_authors": []}
        task["data"]["note"] = "taken at noon"
    found_too = read_annotations(write_json(tmp_path / "b", tasks), tmp_path).images
    assert [len(image.points) for image in found] == [len(sample.points) for sample in SAMPLES]
    assert [len(image.points) for image in found_too] == [len(sample.points) for sample in SAMPLES]
