from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer

from lit_modules import CountingTask
from tests.support.crowds import Crowds, Seen, crowd, rows_of


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
