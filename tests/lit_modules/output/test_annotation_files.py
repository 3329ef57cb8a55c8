"""What a prediction finds, as annotation tools read it."""

import json
import posixpath
from pathlib import Path
from types import SimpleNamespace

import pytest

from lit_modules.output import AnnotationFiles, FoundObjects
from lit_modules.output.annotation_files import choose_bases, make_coco, make_labelme

FOUND = [
    FoundObjects("a.jpg", 40, 60, "cell", [(10.25, 20.5, 0.9), (0.5, 39.5, 0.4)]),
    FoundObjects("sub/b.tif", 80, 30, "cell", []),
    FoundObjects("sub/c.png", 80, 30, "cell", [(29.37, 3.21, 0.5)]),
]


def trainer_in(folder: Path) -> SimpleNamespace:
    return SimpleNamespace(log_dir=str(folder), default_root_dir=str(folder), world_size=1, is_global_zero=True)


def test_coco_has_keypoints_and_boxes_about_the_same_place() -> None:
    content = make_coco(FOUND, side=16)
    assert [(image["file_name"], image["height"], image["width"]) for image in content["images"]] == [
        ("a.jpg", 40, 60),
        ("sub/b.tif", 80, 30),
        ("sub/c.png", 80, 30),
    ]
    (category,) = content["categories"]
    assert (category["name"], len(category["keypoints"]), category["skeleton"]) == ("cell", 1, [])
    images = {image["id"]: image for image in content["images"]}
    found = [(image.id, *place) for image in FOUND for place in image.objects]
    assert len({record["id"] for record in content["annotations"]}) == len(found)
    for (name, x, y, score), record in zip(found, content["annotations"], strict=True):
        image = images[record["image_id"]]
        assert image["file_name"] == name
        assert record["category_id"] == category["id"]
        assert (record["keypoints"], record["num_keypoints"]) == ([x, y, 2], 1)
        assert (record["iscrowd"], record["score"]) == (0, score)
        left, top, width, height = record["bbox"]
        assert (left + width / 2, top + height / 2) == pytest.approx((x, y), abs=1e-9)
        assert min(left, top) >= 0
        assert left + width <= image["width"]
        assert top + height <= image["height"]
        assert record["area"] == pytest.approx(width * height)
    assert content["annotations"][0]["bbox"] == [2.25, 12.5, 16, 16]
    assert content["annotations"][1]["bbox"] == [0, 39, 1, 1]  # of a pixel in the corner that pixel is left


def test_labelme_has_what_its_reader_asks_for() -> None:
    """Without one of these keys LabelMe refuses a file."""
    content = make_labelme(FOUND[0], ".")
    assert content.keys() == {
        *("version", "flags", "shapes", "imagePath", "imageData", "imageHeight", "imageWidth"),
    }
    assert (content["imagePath"], content["imageData"], content["flags"]) == ("a.jpg", None, {})
    assert (content["imageHeight"], content["imageWidth"]) == (40, 60)
    assert [shape["points"] for shape in content["shapes"]] == [[[10.25, 20.5]], [[0.5, 39.5]]]
    for shape in content["shapes"]:
        assert (shape["label"], shape["shape_type"], shape["flags"], shape["group_id"]) == ("cell", "point", {}, None)
    assert make_labelme(FOUND[2], "sub")["imagePath"] == "c.png"


def test_files_lie_as_the_images_do(tmp_path: Path) -> None:
    files = AnnotationFiles(trainer_in(tmp_path), side=16)
    for found in reversed(FOUND):
        files.add(found)
    assert not list(tmp_path.iterdir())
    files.finish()
    assert {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.json")} == {
        *("coco.json", "labelme/a.json", "labelme/sub/b.json", "labelme/sub/c.json"),
    }
    assert json.loads((tmp_path / "coco.json").read_text()) == make_coco(FOUND, side=16)
    for found in FOUND:
        path = tmp_path / "labelme" / f"{posixpath.splitext(found.id)[0]}.json"
        content = json.loads(path.read_text())
        assert posixpath.join(path.parent.relative_to(tmp_path / "labelme").as_posix(), content["imagePath"]) in (
            found.id,
            f"./{found.id}",
        )


def test_a_file_with_a_name_of_its_own_says_where_the_image_is(tmp_path: Path) -> None:
    name = f"sub/{'n' * 251}.png"  # with .json one byte too long
    files = AnnotationFiles(trainer_in(tmp_path), side=16)
    files.add(FoundObjects(name, 4, 4, "cell", []))
    files.finish()
    (path,) = (tmp_path / "labelme").rglob("*.json")
    assert path.parent == tmp_path / "labelme"
    assert json.loads(path.read_text())["imagePath"] == name
    assert name in (tmp_path / "renamed_labelme.csv").read_text()


@pytest.mark.parametrize(
    ("names", "bases"),
    [
        (["a.jpg", "b/a.jpg"], ["a", "b/a"]),
        (["a.jpg", "a.png"], ["a.jpg", "a.png"]),
        (["a.jpg", "A.png"], ["a.jpg", "A.png"]),
        (["a.b.jpg", "a.c.jpg"], ["a.b", "a.c"]),
        (["b.x/a", "b.x/c.tif"], ["b.x/a", "b.x/c"]),
    ],
)
def test_names_without_suffix_where_that_is_one_image(names: list[str], bases: list[str]) -> None:
    assert choose_bases(names) == dict(zip(names, bases, strict=True))


def test_no_two_images_share_a_name() -> None:
    names = ["a.jpg", "a.png", "a.jpg.tif", "a.png.tif", "a.jpg.tif.bmp", "A.JPG"]
    chosen = choose_bases(names)
    assert chosen.keys() == set(names)
    assert len({base.casefold() for base in chosen.values()}) == len(names)
