from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, SubElement

import pytest

from datamodules import DataError
from datamodules.annotations.reading import read_annotations
from datamodules.annotations.structure import Annotations
from tests.support.annotation_files import cvat, make_samples, write_cvat

SAMPLES = make_samples()


def read(folder: Path, change: Callable[[Element], Any], category: str | None = None) -> Annotations:
    root = cvat(SAMPLES, "box")
    change(root)
    return read_annotations(write_cvat(folder / "annotations.xml", root), folder, category=category)


def first(root: Element, **values: str) -> Element:
    image = root.findall("image")[0]
    element = image[0]
    element.attrib.update(values)
    return element


def test_subsets_are_splits_and_tags_no_objects(tmp_path: Path) -> None:
    def change(root: Element) -> None:
        for image, subset in zip(root.findall("image"), ("Train", "Validation", "test", "default", ""), strict=True):
            image.set("subset", subset)
            SubElement(image, "tag", {"label": "good", "source": "manual"})

    annotations = read(tmp_path, change)
    assert [image.split for image in annotations.images] == ["train", "val", "test", None, None]
    assert [len(image.points) for image in annotations.images] == [len(sample.points) for sample in SAMPLES]


def test_masks_stand_at_their_centroid(tmp_path: Path) -> None:
    def change(root: Element) -> None:
        image = root.findall("image")[1]
        size = {"left": "10", "top": "20", "width": "4", "height": "3"}
        SubElement(image, "mask", {"label": "cell", "rle": "1, 2, 2, 2, 5", **size})  # columns 11, 12; rows 20, 21

    assert read(tmp_path, change).images[1].points.tolist() == [[12.0, 21.0]]


def test_other_shapes_of_other_categories_do_no_harm(tmp_path: Path) -> None:
    def change(root: Element) -> None:
        SubElement(root.findall("image")[1], "polyline", {"label": "scale bar", "points": "1,2;3,4"})

    count = sum(sample.labels.count("cell") for sample in SAMPLES)
    assert sum(len(image.points) for image in read(tmp_path, change, "cell").images) == count
    with pytest.raises(
        DataError, match=r", image 1 \('empty\.png'\), polyline at position 1: an object must be one of"
    ):
        read(tmp_path, change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda r: first(r, xtl="left"),
            r", image 0 \('a\.jpg'\), box at position 1: xtl must be a finite .* 'left'\.$",
        ),
        (lambda r: first(r, ybr="inf"), r"box at position 1: ybr must be a finite number, got 'inf'\.$"),
        (lambda r: first(r).attrib.pop("ytl"), r"box at position 1: ytl must be a finite number, got None\.$"),
        (lambda r: first(r, xtl="900"), r"box at position 1: a box must not have a negative size, got corners \(900,"),
        (
            lambda r: setattr(first(r, points="1,2;3"), "tag", "points"),
            r"points must be x,y;x,y and so on, got '1,2;3'",
        ),
        (lambda r: setattr(first(r), "tag", "points"), r"points must be x,y;x,y and so on, got ''\.$"),
        (lambda r: setattr(first(r, points="1,2;3,4"), "tag", "polygon"), r"a polygon must have an area"),
        (
            lambda r: setattr(first(r, rle="1,2", left="0", top="0", width="2", height="2"), "tag", "mask"),
            r"mask at position 1: rle must have runs that make 2 by 2 pixels, got '1,2'\.$",
        ),
        (lambda r: r.findall("image")[2].attrib.pop("name"), r", image 2: name must be there, got \{'id': '2'"),
        (
            lambda r: r.findall("image")[2].set("name", "a.jpg"),
            r", image 2: 'a\.jpg' must be annotated once, got another annotation of it in '.*', image 0\.$",
        ),
    ],
)
def test_wrong_elements_are_named(tmp_path: Path, change: Callable[[Element], Any], message: str) -> None:
    with pytest.raises(DataError, match=message) as error:
        read(tmp_path, change)
    assert str(error.value).startswith(f"'{tmp_path}/annotations.xml', ")
    assert "\n" not in str(error.value)
