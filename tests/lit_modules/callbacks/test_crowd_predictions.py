import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from PIL import Image
from torch import Tensor, nn

from datamodules import PointsDataModule, ShanghaiTechDataModule
from datamodules.batches import IMAGENET_MEAN, IMAGENET_STD
from datamodules.crowd.samples import CrowdSamples
from lit_modules import CountingTask
from lit_modules.callbacks import CrowdPredictions
from tests.support.crowd_files import turn_photograph, write_image_info, write_shanghaitech
from tests.support.crowds import SCALE, Crowds, Seen, crowd, density_of, rows_of

HEADS = [(12.0, 14.0), (50.0, 20.0), (30.0, 41.0)]


def test_predict_writes_counts_pictures_and_heads(trainer: Trainer, tmp_path: Path) -> None:
    """Of photographs reduced to a half: heads are given in pixels of the originals."""
    batches = [crowd(HEADS, 60, 72, "street/1.jpg"), crowd([], 60, 72, "empty.png")]
    trainer.predict(CountingTask(Seen()), Crowds(batches, original_size=(120, 144)), return_predictions=False)
    run = tmp_path / "run"
    counts = {row["id"]: float(row["predicted"]) for row in rows_of(run / "counts.csv")}
    assert counts == {"street/1.jpg": pytest.approx(3, rel=1e-5), "empty.png": 0}

    found = {
        (float(r["x"]), float(r["y"])): float(r["score"]) for r in rows_of(run / "predictions/street/1.jpg.heads.csv")
    }
    assert len(found) == 3
    for x, y in HEADS:
        assert min(np.hypot(2 * x + 0.5 - a, 2 * y + 0.5 - b) for a, b in found) < 2
    assert all(0.7 < score < 1.3 for score in found.values())
    written = json.loads((run / "predictions/street/1.jpg.heads.json").read_text())
    assert {(head["x"], head["y"]): head["score"] for head in written["heads"]} == found
    assert (written["id"], written["height"], written["width"]) == ("street/1.jpg", 120, 144)
    assert written["count"] == pytest.approx(3, rel=1e-5)

    assert rows_of(run / "predictions/empty.png.heads.csv") == []
    assert json.loads((run / "predictions/empty.png.heads.json").read_text())["heads"] == []
    pictures = {path.relative_to(run / "predictions").as_posix() for path in (run / "predictions").rglob("*.png")}
    assert pictures == {"street/1.jpg.png", "empty.png.png"}
    assert not list(run.rglob("*.part"))


def test_picture_is_warm_where_the_heads_are(trainer: Trainer, tmp_path: Path) -> None:
    trainer.predict(
        CountingTask(Seen()), Crowds([crowd([(100.0, 110.0)], 400, 440, "1.jpg")]), return_predictions=False
    )
    with Image.open(tmp_path / "run" / "predictions" / "1.jpg.png") as image:
        pixels = np.asarray(image)[-400:].astype(int)  # below the title
    assert pixels.shape == (400, 440, 3)
    row, column = np.unravel_index(pixels[..., 1].argmax(), pixels.shape[:2])
    assert np.hypot(row - 110, column - 100) < 4
    assert np.ptp(pixels[:, :50], axis=(0, 1)).max() <= 2  # far from it the photograph, one grey


@pytest.mark.parametrize("orientation", [1, 3, 5, 6])
@pytest.mark.parametrize("exif", ["stored", "shown"])
def test_heads_of_turned_photographs_are_in_the_image_that_is_named(
    trainer: Trainer, tmp_path: Path, exif: str, orientation: int
) -> None:
    """Of photographs shown in 60 × 72 pixels, three times as large in their files."""
    batches = [crowd(HEADS, 60, 72, "1.jpg"), crowd([], 60, 72, "2.jpg")]
    given = Crowds(batches, original_size=(180, 216), exif=exif, orientation=orientation)
    trainer.predict(CountingTask(Seen()), given, return_predictions=False)
    folder = tmp_path / "run" / "predictions"
    written = json.loads((folder / "1.jpg.heads.json").read_text())
    shown = [(3 * x + 1, 3 * y + 1) for x, y in HEADS]
    stored = {1: shown, 3: [(215 - x, 179 - y) for x, y in shown], 5: [(y, x) for x, y in shown]}
    stored[6] = [(y, 215 - x) for x, y in shown]  # what is shown at the right is stored at the top
    expected = stored[orientation] if exif == "stored" else shown
    sideways = exif == "stored" and orientation > 4
    assert (written["exif"], written["height"], written["width"]) == (exif, *((216, 180) if sideways else (180, 216)))
    assert len(written["heads"]) == len(expected)
    for x, y in expected:
        assert min(np.hypot(x - head["x"], y - head["y"]) for head in written["heads"]) < 4
    rows = [(float(row["x"]), float(row["y"])) for row in rows_of(folder / "1.jpg.heads.csv")]
    assert rows == [(head["x"], head["y"]) for head in written["heads"]]
    nothing = json.loads((folder / "2.jpg.heads.json").read_text())
    assert (nothing["exif"], nothing["heads"]) == (exif, [])


class Bright(nn.Module):
    """Takes brightness for density."""

    output_stride = total_stride = 1

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones(()))

    def forward(self, image: Tensor) -> Tensor:
        return self.factor * (image[:, :1] * IMAGENET_STD[0] + IMAGENET_MEAN[0]).clip(0) * 0.01 * SCALE


@pytest.mark.parametrize("exif", ["stored", "shown"])
def test_heads_found_serve_as_annotations(trainer: Trainer, tmp_path: Path, exif: str) -> None:
    """Photographs whose brightness is their density, turned in several ways: predicted, then read with what was found.

    Positions are found where they were drawn, and the density maps made of them are the photographs.
    """
    data_dir = tmp_path / "data"
    write_shanghaitech(data_dir, train=8, test=8)
    images = data_dir / "part_A" / "test_data" / "images"
    for number, orientation in enumerate((1, 2, 3, 4, 5, 6, 7, 8), 1):
        heads = [(15.0 + 6 * number, 20.0), (20.0, 44.0), (60.0, 40.0), (75.0, 15.0)]
        pixels = (density_of(heads, 64, 96) / 0.01 * 255).clip(0, 255).round().astype(np.uint8)
        (images / f"IMG_{number}.jpg").unlink()
        Image.fromarray(pixels).save(images / f"IMG_{number}.png")
        turn_photograph(images / f"IMG_{number}.png", orientation)
    arguments = {"data_dir": str(data_dir), "num_workers": 0, "exif": exif}
    trainer.predict(
        CountingTask(Bright()), ShanghaiTechDataModule(**arguments, predict_dir=str(images)), return_predictions=False
    )
    for path in (tmp_path / "run" / "predictions").glob("*.json"):
        found = json.loads(path.read_text())
        points = np.array([(head["x"], head["y"]) for head in found["heads"]])
        assert points.shape == (4, 2)
        annotation = images.parent / "ground-truth" / f"GT_{path.name.partition('.')[0]}.mat"
        write_image_info(annotation, points)
    samples = ShanghaiTechDataModule(**arguments).test_samples()
    assert len(samples) == 8
    for batch in samples:
        assert batch.num_heads.tolist() == [4]
        seen = (batch.image[0, 0] * IMAGENET_STD[0] + IMAGENET_MEAN[0]) * 0.01
        assert (seen - batch.density[0, 0]).abs().max() < 0.002  # of 0.01 at a head


def draw_brightness(path: Path, places: list[tuple[float, float]], orientation: int = 1) -> None:
    """Write a photograph of 64 × 96 pixels whose brightness is the density of what is at these places."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = (density_of(places, 64, 96) / 0.01 * 255).clip(0, 255).round().astype(np.uint8)
    Image.fromarray(pixels).save(path)
    turn_photograph(path, orientation)


@pytest.mark.parametrize("category", [None, "white cell/1"])
def test_files_for_annotation_tools_give_back_what_was_found(
    trainer: Trainer, tmp_path: Path, category: str | None
) -> None:
    """Of photographs in folders, turned in several ways, one without objects: read again, they are where they were."""
    images = tmp_path / "images"
    drawn = {f"{'day 1/' * (i % 2)}b{i}.png": [(15.0 + 6 * i, 20.0), (20.0, 44.0), (80.0, 50.0)] for i in range(1, 9)}
    drawn |= {"day 1/c.png": [], "c.png": [(50.0, 30.0)], "day 1/deep/c.png": [(10.0, 53.0)]}
    for number, (name, places) in enumerate(drawn.items()):
        draw_brightness(images / name, places, number % 8 + 1)
    arguments: dict[str, Any] = {"category": category, "num_workers": 0, "predict_dir": str(images)}
    trainer.predict(CountingTask(Bright()), PointsDataModule(str(images), **arguments), return_predictions=False)
    run = tmp_path / "run"
    found = {}
    for name in drawn:
        described = json.loads((run / "predictions" / f"{name}.objects.json").read_text())
        assert (described["category"], described["exif"]) == (category or "objects", "shown")
        found[name] = [(each["x"], each["y"]) for each in described["objects"]]
        rows = rows_of(run / "predictions" / f"{name}.objects.csv")
        assert [(float(row["x"]), float(row["y"])) for row in rows] == found[name]
        assert len(found[name]) == len(drawn[name])
    assert not list(run.rglob("*heads*"))
    beside = tmp_path / "beside"
    shutil.copytree(images, beside)
    shutil.copytree(run / "labelme", beside, dirs_exist_ok=True)
    for annotations, folder in ((run / "coco.json", images), (run / "labelme", images), (None, beside)):
        place = None if annotations is None else str(annotations)
        data = PointsDataModule(str(folder), annotations=place, category=category, num_workers=0, test_fraction=0.5)
        samples = [CrowdSamples(part, np.arange(len(part.ids)), 4, 15) for part in (data.train_files, data.test_files)]
        assert {name for part in samples for batch in part for name in batch.id} == drawn.keys()
        for batch in (batch for part in samples for batch in part):
            expected = np.array(found[batch.id[0]]).reshape(-1, 2)
            np.testing.assert_allclose(batch.points[0], expected, atol=1e-5)
            seen = (batch.image[0, 0] * IMAGENET_STD[0] + IMAGENET_MEAN[0]) * 0.01
            assert (seen - batch.density[0, 0]).abs().max() < 0.0025  # of 0.01 and more where an object is


def test_large_photographs_give_small_pictures(trainer: Trainer, tmp_path: Path) -> None:
    trainer.callbacks.append(CrowdPredictions(max_height=300))
    trainer.predict(CountingTask(Seen()), Crowds([crowd(HEADS, 600, 400, "1.jpg")]), return_predictions=False)
    with Image.open(tmp_path / "run" / "predictions" / "1.jpg.png") as image:
        pixels = np.asarray(image)
    photograph = (pixels < 250).any(2)[-300:]
    assert photograph[:, :200].all()
    assert not photograph[:, 200:].any()
    assert 300 < len(pixels) < 330


def test_width_and_threshold_of_heads_are_choices(trainer: Trainer, tmp_path: Path) -> None:
    """A head of σ = 8 scores about a quarter to one who expects σ = 4."""
    batch = crowd([(60.0, 60.0)], 120, 120, "1.jpg", predicted=density_of([(60.0, 60.0)], 120, 120, sigma=8, side=65))
    found = {}
    for name, callback in (
        ("narrow", CrowdPredictions(threshold=0.5)),
        ("low", CrowdPredictions(threshold=0.1)),
        ("wide", CrowdPredictions(head_sigma=8, threshold=0.5)),
    ):
        trainer.callbacks = [callback]
        trainer.predict(CountingTask(Seen()), Crowds([batch]), return_predictions=False)
        rows = rows_of(tmp_path / "run" / "predictions" / "1.jpg.heads.csv")
        found[name] = [float(row["score"]) for row in rows]
    assert found["narrow"] == []
    assert found["low"] == [pytest.approx(0.3, abs=0.05)]
    assert found["wide"] == [pytest.approx(1, abs=0.05)]


@pytest.mark.parametrize("arguments", [{"head_sigma": 0.0}, {"threshold": -1.0}, {"max_height": 0}])
def test_bad_arguments_are_named(arguments: dict) -> None:
    (name,) = arguments
    with pytest.raises(ValueError, match=f"{name} must be positive, got {arguments[name]}"):
        CrowdPredictions(**arguments)
