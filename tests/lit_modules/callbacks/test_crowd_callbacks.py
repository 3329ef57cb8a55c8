import json
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from PIL import Image

from lit_modules import CountingTask
from lit_modules.callbacks import CrowdPredictions
from lit_modules.output import whole_file
from tests.support.crowds import Crowds, Seen, crowd, density_of, rows_of

HEADS = [(12.0, 14.0), (50.0, 20.0), (30.0, 41.0)]


def counted(annotated: int, predicted: float, name: str) -> object:
    """An image of which only the numbers are of interest."""
    batch = crowd([], 8, 8, name, predicted=np.full((8, 8), predicted / 64))
    return batch._replace(num_heads=torch.tensor([annotated]))


def test_each_image_has_a_row_with_its_counts(trainer: Trainer, tmp_path: Path) -> None:
    batches = [counted(3, 4.5, "b/2.jpg"), counted(0, 0.25, "a.jpg"), counted(1200, 1000, "b/10.jpg")]
    trainer.test(CountingTask(Seen()), Crowds(batches), verbose=False)
    rows = {row["id"]: row for row in rows_of(tmp_path / "run" / "counts.csv")}
    assert set(rows) == {"a.jpg", "b/2.jpg", "b/10.jpg"}
    expected = {"a.jpg": (0, 0.25, 0.25), "b/2.jpg": (3, 4.5, 1.5), "b/10.jpg": (1200, 1000, -200)}
    for name, (annotated, predicted, error) in expected.items():
        assert rows[name]["annotated"] == str(annotated)
        assert float(rows[name]["predicted"]) == pytest.approx(predicted, rel=1e-6)
        assert float(rows[name]["error"]) == pytest.approx(error, rel=1e-4)
    assert not list((tmp_path / "run").glob("*.part"))


def test_levels_are_told_apart_at_their_bounds(trainer: Trainer, tmp_path: Path) -> None:
    """Each level's images are off by heads of their own, so that one in the wrong level changes two rows."""
    off = {0: 1, 50: 3, 51: 10, 200: 20, 201: 100, 1000: 300, 1001: 1000, 9000: 3000}
    batches = [counted(heads, heads + by, f"{heads}.jpg") for heads, by in off.items()]
    (metrics,) = trainer.test(CountingTask(Seen()), Crowds(batches), verbose=False)
    expected = {"0_50": [0, 50], "50_200": [51, 200], "200_1000": [201, 1000], "over_1000": [1001, 9000]}
    rows = {row["level"]: row for row in rows_of(tmp_path / "run" / "levels.csv")}
    assert list(rows) == list(expected)
    for level, heads in expected.items():
        errors = np.array([off[number] for number in heads])
        assert rows[level]["images"] == "2"
        assert float(rows[level]["mae"]) == pytest.approx(errors.mean(), rel=1e-4)
        assert float(rows[level]["rmse"]) == pytest.approx(np.sqrt((errors**2).mean()), rel=1e-4)
        relative = [off[number] / number for number in heads if number]
        assert float(rows[level]["nae"]) == pytest.approx(np.mean(relative), rel=1e-4)
        assert metrics[f"test/mae_{level}"] == pytest.approx(errors.mean(), rel=1e-4)


def test_levels_that_do_not_occur_have_no_figures(trainer: Trainer, tmp_path: Path) -> None:
    (metrics,) = trainer.test(CountingTask(Seen()), Crowds([counted(0, 2, "empty.jpg")]), verbose=False)
    assert {name for name in metrics if "mae_" in name} == {"test/mae_0_50"}
    lowest, *others = rows_of(tmp_path / "run" / "levels.csv")
    assert (lowest["images"], float(lowest["mae"]), lowest["nae"]) == ("1", 2, "")
    assert [list(row.values())[1:] for row in others] == [["0", "", "", ""]] * 3


def test_a_second_test_counts_anew(trainer: Trainer, tmp_path: Path) -> None:
    task, data = CountingTask(Seen()), Crowds([counted(3, 4, "a.jpg")])
    first, second = (trainer.test(task, data, verbose=False) for _ in range(2))
    assert first == second
    assert rows_of(tmp_path / "run" / "levels.csv")[0]["images"] == "1"


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
        CountingTask(Seen()), Crowds([crowd([(100.0, 110.0)], 200, 220, "1.jpg")]), return_predictions=False
    )
    with Image.open(tmp_path / "run" / "predictions" / "1.jpg.png") as image:
        pixels = np.asarray(image)[14:].astype(int)
    assert pixels.shape == (200, 220, 3)
    row, column = np.unravel_index(pixels[..., 1].argmax(), pixels.shape[:2])
    assert np.hypot(row - 110, column - 100) < 4
    assert np.ptp(pixels[:, :50], axis=(0, 1)).max() <= 2  # far from it the photograph, one grey


def test_large_photographs_give_small_pictures(trainer: Trainer, tmp_path: Path) -> None:
    trainer.callbacks.append(CrowdPredictions(max_height=300))
    trainer.predict(CountingTask(Seen()), Crowds([crowd(HEADS, 600, 400, "1.jpg")]), return_predictions=False)
    with Image.open(tmp_path / "run" / "predictions" / "1.jpg.png") as image:
        assert image.size == (200, 300 + 14)


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


def test_interrupted_writing_leaves_the_previous_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.json"
    with whole_file(path) as unfinished:
        unfinished.write_text("first")
        assert not path.exists()
    with pytest.raises(KeyboardInterrupt), whole_file(path) as unfinished:
        unfinished.write_text("seco")
        raise KeyboardInterrupt
    assert path.read_text() == "first"
