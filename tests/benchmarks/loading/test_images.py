"""``python -m benchmarks.loading.images`` on a few images."""

from pathlib import Path

import pytest
import torch

from benchmarks.loading import images as image_loading
from tests.benchmarks import rows_of

ARGUMENTS = ["--images", "6", "--batch", "4", "--rounds", "2"]
LOADERS = ["torchvision", "8-bit", "normalised"]


@pytest.mark.slow
def test_rows_and_ratios(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "rows.csv"
    threads = torch.get_num_threads()
    image_loading.main([*ARGUMENTS, "--workers", "0", "1", "--csv", str(path)])
    assert torch.get_num_threads() == threads
    rows = rows_of(path)
    assert [(row["split"], row["workers"], row["loader"]) for row in rows] == [
        (split, workers, loader) for split in ("train", "val") for workers in "01" for loader in LOADERS
    ]
    assert "images/s" in capsys.readouterr().out
    for row in rows:
        assert row["status"] == "ok"
        assert row["threads"] == "1"
        assert float(row["images_per_s"]) == pytest.approx(6e3 / float(row["epoch_ms"]), rel=1e-6)
        reference = rows[rows.index(row) // 3 * 3]
        assert float(row["faster"]) == pytest.approx(float(reference["epoch_ms"]) / float(row["epoch_ms"]), rel=1e-6)
        assert 20 < float(row["kilobytes"]) < 200


def test_wrong_images_get_no_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datamodules.classification.imagenet_batches.IMAGENET_MEAN", (0.5, 0.456, 0.406))
    path = tmp_path / "rows.csv"
    image_loading.main([*ARGUMENTS, "--workers", "0", "--csv", str(path)])
    for row in rows_of(path):
        right = row["loader"] == "torchvision"
        assert row["status"] == "ok" if right else row["status"].startswith("wrong: pixels are off by ")
        assert bool(row["epoch_ms"]) == right
