from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest

from datamodules import DataError
from datamodules.annotations.matching import match_images
from datamodules.annotations.reading import read_annotations
from datamodules.annotations.units import to_pixels
from tests.support.annotation_files import (
    label_studio,
    label_studio_min,
    label_studio_regions,
    make_samples,
    write_json,
)

SAMPLES = make_samples(names=("a b (1)ü.jpg",))
SAMPLE = SAMPLES[0]


@pytest.mark.parametrize("make", [label_studio, label_studio_min])
@pytest.mark.parametrize("angle", [0.0, 30.0, 90.0, 215.5, -10.0])
def test_turned_rectangles_stand_at_their_centre(tmp_path: Path, make: Callable[..., Any], angle: float) -> None:
    tasks = make(SAMPLES, "rectangle")
    for region, turned in zip(
        tasks[0]["annotations"][0]["result"] if "annotations" in tasks[0] else tasks[0]["label"],
        label_studio_regions(SAMPLE, "rectangle", angle),
        strict=True,
    ):
        region.update({**region, "value": turned["value"]} if "value" in region else turned["value"])
    (image,) = read_annotations(write_json(tmp_path / "a.json", tasks), tmp_path).images
    pixels = to_pixels(image.points, image.unit, SAMPLE.height, SAMPLE.width)
    np.testing.assert_allclose(pixels, SAMPLE.points, rtol=0, atol=1e-9)
    assert image.size == (SAMPLE.height, SAMPLE.width)


@pytest.mark.parametrize(
    ("reference", "on_disk"),
    [
        ("/data/upload/3/12ab34cd-a_b_1ü.jpg", "a b (1)ü.jpg"),
        (f"/data/upload/3/12ab34cd-{quote('a_b_1ü.jpg')}", "a b (1)ü.jpg"),
        ("/data/upload/3/12ab34cd-a_b_1ü.jpg", "deep/12ab34cd-a_b_1ü.jpg"),
        ("/data/upload/3/a_b.jpg", "plate 1/a b.jpg"),
        ("/data/local-files/?d=plates%2Fplate+1/a%20b.jpg", "plate 1/a b.jpg"),
        ("/data/local-files/?d=plate 1\\a b.jpg", "plate 1/a b.jpg"),
        ("https://host:8080/x/plate%201/a%20b.jpg?token=1#c", "plate 1/a b.jpg"),
        ("s3://bucket/plate 1/a b.jpg", "plate 1/a b.jpg"),
        ("plate 1/a b.jpg", "plate 1/a b.jpg"),
    ],
)
@pytest.mark.parametrize("make", [label_studio, label_studio_min])
def test_references_to_images(tmp_path: Path, make: Callable[..., Any], reference: str, on_disk: str) -> None:
    tasks = make(SAMPLES, reference=reference)
    images = match_images(read_annotations(write_json(tmp_path / "a", tasks), tmp_path), tmp_path, [on_disk])
    assert len(images[on_disk].points) == len(SAMPLE.points)


def test_what_was_not_annotated_is_not_empty(tmp_path: Path) -> None:
    tasks = label_studio(make_samples(names=("a.jpg", "b.jpg", "c.jpg", "d.jpg")))
    tasks[0]["annotations"] = []
    tasks[1]["annotations"][0]["was_cancelled"] = True
    tasks[2]["annotations"][0]["result"] = []
    annotations = read_annotations(write_json(tmp_path / "a", tasks), tmp_path)
    assert [image.name for image in annotations.images] == ["c.jpg", "d.jpg"]
    assert annotations.description.startswith("Label Studio JSON: 2 images (1 without objects), ")
    assert annotations.description.endswith("; left out: 2 tasks not annotated")


def test_a_region_written_as_form_and_as_labels_counts_once(tmp_path: Path) -> None:
    tasks, short = label_studio(SAMPLES, "rectangle"), label_studio_min(SAMPLES, "rectangle")
    results = tasks[0]["annotations"][0]["result"]
    for region in list(results):
        form = {key: value for key, value in region["value"].items() if key != "rectanglelabels"}
        labels = {**form, "labels": region["value"]["rectanglelabels"]}
        results.append({**region, "type": "rectangle", "value": form})
        region |= {"type": "labels", "value": labels}
        results.append({**region, "type": "textarea", "value": {**form, "text": ["seen"]}})
    results.append({"type": "choices", "value": {"choices": ["good"]}, "id": "c"})
    results.append({"type": "relation", "from_id": "r0", "to_id": "r1", "direction": "right"})
    regions = short[0].pop("label")
    short[0]["form"] = [{key: value for key, value in region.items() if key != "rectanglelabels"} for region in regions]
    short[0]["label"] = [
        {**form, "labels": region["rectanglelabels"]} for form, region in zip(short[0]["form"], regions, strict=True)
    ]
    short[0]["comment"] = [{**form, "text": ["seen"]} for form in short[0]["form"]]
    for content in (tasks, short):
        annotations = read_annotations(write_json(tmp_path / "a", content), tmp_path)
        pixels = to_pixels(annotations.images[0].points, "percent", SAMPLE.height, SAMPLE.width)
        np.testing.assert_array_equal(pixels, SAMPLE.points)
        assert annotations.categories == {label: SAMPLE.labels.count(label) for label in SAMPLE.labels}


def first(tasks: list[Any]) -> Any:
    return tasks[0]["annotations"][0]["result"][0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: first(t)["value"].update(x="5"), r"task 41: x must be a finite number, got '5'\.$"),
        (lambda t: first(t)["value"].pop("y"), r"task 41: y must be a finite number, got None\.$"),
        (
            lambda t: first(t).update(image_rotation=90),
            r"task 41: image_rotation must be 0, got 90: turn the image back",
        ),
        (
            lambda t: first(t).update(type="brushlabels"),
            r"must be one of keypoint, .*, got brush; leave it out by naming",
        ),
        (lambda t: first(t)["value"].update(keypointlabels="cell"), r"keypointlabels must be a list, got 'cell'\.$"),
        (
            lambda t: first(t).update(type="rectanglelabels", value={"x": 1, "y": 2, "width": -3, "height": 4}),
            r"task 41: a box must not have a negative size",
        ),
        (
            lambda t: (
                first(t).pop("original_width"),
                first(t).update(type="rectangle", value={"x": 1, "y": 2, "width": 3, "height": 4, "rotation": 5}),
            ),
            r"task 41: a turned rectangle must have original_width and original_height, got none\.$",
        ),
        (
            lambda t: t[0]["annotations"].append({**t[0]["annotations"][0], "id": 7}),
            r"task 41: its image must be annotated once, got the annotations 1, 7\.$",
        ),
        (
            lambda t: t[0]["annotations"][0].update(result=None),
            r"task 41: result must be a list of objects, got None\.$",
        ),
        (lambda t: t[0].update(annotations=5), r"task 41: annotations must be a list of objects, got 5\.$"),
        (lambda t: t[0]["data"].update(other="b.jpg"), r"task 41: its data must name one image, got \{"),
        (lambda t: t[0].update(data={"text": "abc"}), r"task 41: its data must name one image, got \{'text': 'abc'\}"),
        (lambda t: t.append(5), r"it must be an object, got 5\.$"),
        (lambda t: t.append({**t[0], "id": 9}), r"task 9: 'a b.*' must be annotated once, .* in '.*', task 41\.$"),
    ],
)
def test_wrong_tasks_are_named(tmp_path: Path, change: Callable[[list[Any]], Any], message: str) -> None:
    tasks = label_studio(SAMPLES)
    change(tasks)
    with pytest.raises(DataError, match=message) as error:
        read_annotations(write_json(tmp_path / "export.json", tasks), tmp_path)
    assert str(error.value).startswith(f"'{tmp_path}/export.json', task ")
    assert "\n" not in str(error.value)
