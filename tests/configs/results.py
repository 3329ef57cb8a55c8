"""What a prediction must have written, by the kind of task."""

import csv
import json
from pathlib import Path

import pytest
from PIL import Image

from lit_modules.output import png_path


def check_maps(results: Path, ids: set[str]) -> None:
    """The patterns are made, no image of the user's is read."""
    assert {p.name for p in (results / "predictions").iterdir()} == {f"patterns_seed0.{s}" for s in ("npy", "png")}


def check_classes(results: Path, ids: set[str]) -> None:
    """Every image has a probability for each class, and the class with the highest."""
    with (results / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["id"] for row in rows} == ids
    for row in rows:
        probabilities = {
            k.removeprefix("probability_"): float(v) for k, v in row.items() if k.startswith("probability_")
        }
        assert sum(probabilities.values()) == pytest.approx(1, abs=1e-3)
        assert probabilities[row["class_name"]] == max(probabilities.values())


def check_counts(results: Path, ids: set[str]) -> None:
    """Every image has a count, a picture, and its heads or objects in two forms, and those of annotation tools."""
    with (results / "counts.csv").open() as file:
        counts = {row["id"]: float(row["predicted"]) for row in csv.DictReader(file)}
    assert counts.keys() == ids
    assert all(count >= 0 for count in counts.values())
    (kind,) = {path.name.split(".")[-2] for path in (results / "predictions").rglob("*.json")}
    own = "PointsDataModule" in (results / "config_predict.yaml").read_text()
    assert kind == ("objects" if own else "heads")
    found = 0
    for name in ids:
        assert (results / "predictions" / f"{name}.png").is_file()
        with (results / "predictions" / f"{name}.{kind}.csv").open() as file:
            objects = [(float(row["x"]), float(row["y"])) for row in csv.DictReader(file)]
        listed = json.loads((results / "predictions" / f"{name}.{kind}.json").read_text())
        assert listed["category"] == kind
        assert [(each["x"], each["y"]) for each in listed[kind]] == pytest.approx(objects, abs=0.01)
        found += len(objects)
    coco = json.loads((results / "coco.json").read_text())
    assert {image["file_name"] for image in coco["images"]} == ids
    assert len(coco["annotations"]) == found
    assert len(list((results / "labelme").rglob("*.json"))) == len(ids)


def check_restored(results: Path, ids: set[str]) -> None:
    """Every image is restored to one of its own size, with as many bits and channels as it has."""
    folder = results / "predictions"
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} == {
        png_path(Path(), name).as_posix() for name in ids
    }
    grey, deep = (Image.open(folder / name) for name in ("grey.png", "grey16.png"))
    assert (grey.mode, grey.size) == ("L", (16, 9))
    assert (deep.mode, deep.size) == ("I;16", (12, 7))
    assert Image.open(folder / "rgb.png").size == (14, 11)


def check_grey(results: Path, ids: set[str]) -> None:
    """Every grey image is restored to a grey one."""
    restored = list((results / "predictions").iterdir())
    assert {path.name for path in restored} == ids
    assert all(Image.open(path).mode == "L" for path in restored)


CHECKS = {
    "PatternTask": check_maps,
    "ClassificationTask": check_classes,
    "CountingTask": check_counts,
    "RestorationTask": check_restored,
    "VariationalTask": check_restored,
}
