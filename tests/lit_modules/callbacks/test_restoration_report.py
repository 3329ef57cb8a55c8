from pathlib import Path

import numpy as np
import pytest
from lightning.pytorch import Trainer
from PIL import Image

from lit_modules.callbacks import RestorationReport
from lit_modules.metrics import EvaluationProtocol
from lit_modules.metrics.protocols import Tiles
from lit_modules.tasks.restoration import RestorationTask
from tests.lit_modules.conftest import fake_process
from tests.support.restorations import Photographs, Scaled, pair, rows_of

SCORES = ["psnr_y", "ssim_y", "psnr_y_input", "ssim_y_input"]


def test_each_image_has_a_row_with_its_scores(trainer: Trainer, tmp_path: Path) -> None:
    batches = [pair(24, 31, "b/2.png", 0.02), pair(16, 40, "a.png", 0.1), pair(24, 24, "b/10.png", 0.2)]
    task = RestorationTask(Scaled(0.9))
    (metrics,) = trainer.test(task, Photographs(batches), verbose=False)
    rows = rows_of(tmp_path / "run" / "scores.csv")
    assert list(rows) == ["a.png", "b/10.png", "b/2.png"]
    for batch in batches:
        ((restored,), (came,)) = (task.protocol.score(f * batch.image, batch.target)[0] for f in (0.9, 1))
        row = rows[batch.id[0]]
        assert [float(row[name]) for name in SCORES] == pytest.approx([*restored, *came], abs=2e-6)
        assert row["samples"] == "1"
    text = (tmp_path / "run" / "scores.txt").read_text()
    assert f"test/psnr_y {metrics['test/psnr_y']:.4f}" in text
    assert task.protocol.describe() in text
    assert not list((tmp_path / "run").glob("*.part"))
    assert not (tmp_path / "run" / "restored").exists()


def test_the_row_of_an_image_in_tiles_has_their_mean(trainer: Trainer, tmp_path: Path) -> None:
    """The mean over all samples, which is logged, follows from the rows."""
    task = RestorationTask(Scaled(0.9))
    task.protocol = EvaluationProtocol("y", tiles=Tiles(16, 12))
    batches = [pair(30, 17, "large.png"), pair(16, 17, "small.png")]
    (metrics,) = trainer.test(task, Photographs(batches), verbose=False)
    rows = rows_of(tmp_path / "run" / "scores.csv")
    assert {name: row["samples"] for name, row in rows.items()} == {"large.png": "6", "small.png": "1"}
    for name in SCORES:
        total = sum(float(row[name]) * int(row["samples"]) for row in rows.values())
        assert metrics[f"test/{name}"] == pytest.approx(total / 7, abs=1e-5)


def test_two_processes_write_each_image_once(tmp_path: Path) -> None:
    """Both have the first image, as when a sampler pads."""
    task, trainers = RestorationTask(Scaled(0.9)), [fake_process(rank, 2) for rank in (0, 1)]
    reports = []
    for trainer in trainers:
        trainer.log_dir = str(tmp_path)
        reports.append(RestorationReport())
        reports[-1].on_test_epoch_start(trainer, task)
    first, second, third = (pair(16, 16, f"{i}.png") for i in range(3))
    for rank, batch in ((0, first), (1, second), (0, third), (1, first)):
        output = task.step(batch, "test")
        reports[rank].on_test_batch_end(trainers[rank], task, output, batch)
    for rank in (1, 0):
        reports[rank].on_test_epoch_end(trainers[rank], task)
    assert list(rows_of(tmp_path / "scores.csv")) == ["0.png", "1.png", "2.png"]


def test_restored_images_of_a_test_are_written_if_asked(trainer: Trainer, tmp_path: Path) -> None:
    trainer.callbacks.append(RestorationReport(save_images=True))
    batch = pair(24, 31, "street/1.jpg")
    trainer.test(RestorationTask(Scaled(0.5)), Photographs([batch]), verbose=False)
    with Image.open(tmp_path / "run" / "restored" / "street" / "1.jpg.png") as image:
        pixels = np.asarray(image)
    expected = np.round(255 * 0.5 * batch.image[0].permute(1, 2, 0).numpy())
    np.testing.assert_array_equal(pixels, expected)
