import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from torch import nn

from acda.models import LeNet
from datamodules.batches import LabelledBatch
from lit_modules import ClassificationTask
from lit_modules.errors import UsageError
from lit_modules.metrics import ErrorRate
from tests.lit_modules.conftest import GivenLogits, Logits

NAMES = [f"class {letter}" for letter in "abcdefg"]


@pytest.fixture
def data() -> GivenLogits:
    """Eleven samples of seven classes: an odd number of batches, the last one smaller; class g does not occur."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(11, 1, 1, 7, generator=generator)
    return GivenLogits(logits, torch.randint(0, 6, (11,), generator=generator), NAMES)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("top_k", [1, 5])
def test_error_rate_is_the_share_in_percent(top_k: int) -> None:
    logits, labels = torch.randn(50, 8), torch.randint(0, 8, (50,))
    metric = ErrorRate(8, top_k)
    metric.update(logits[:20], labels[:20])
    metric.update(logits[20:], labels[20:])
    order = np.argsort(-logits.numpy(), axis=1)[:, :top_k]
    misses = [label not in guesses for label, guesses in zip(labels.tolist(), order.tolist(), strict=True)]
    assert metric.compute().item() == pytest.approx(100 * np.mean(misses), abs=1e-4)


def test_test_metrics_are_exact_on_an_odd_sized_set(trainer: Trainer, data: GivenLogits) -> None:
    (metrics,) = trainer.test(ClassificationTask(Logits(), 7), data, verbose=False)
    scores = data.logits.flatten(1)
    wrong = (scores.argmax(1) != data.labels).double().mean().item()
    true_scores = scores.gather(1, data.labels[:, None])
    not_in_five = ((scores > true_scores).sum(1) >= 5).double().mean().item()
    assert metrics["test/top1_error"] == pytest.approx(100 * wrong, abs=1e-4)
    assert metrics["test/top5_error"] == pytest.approx(100 * not_in_five, abs=1e-4)
    assert metrics["test/loss"] == pytest.approx(nn.functional.cross_entropy(scores, data.labels).item(), abs=1e-5)


def test_few_classes_have_no_top5_error() -> None:
    assert set(ClassificationTask(Logits(), 5).val_metrics) == {"val/top1_error"}


def test_report_counts_every_sample(trainer: Trainer, data: GivenLogits, tmp_path: Path) -> None:
    trainer.test(ClassificationTask(Logits(), 7), data, verbose=False)
    matrix = np.zeros((7, 7), int)
    np.add.at(matrix, (data.labels.numpy(), data.logits.flatten(1).argmax(1).numpy()), 1)

    confusion = rows_of(tmp_path / "run" / "confusion_matrix.csv")
    assert [[int(row[name]) for name in NAMES] for row in confusion] == matrix.tolist()
    per_class = rows_of(tmp_path / "run" / "per_class.csv")
    assert [row["class_name"] for row in per_class] == NAMES
    assert [int(row["samples"]) for row in per_class] == matrix.sum(1).tolist()
    for i, row in enumerate(per_class):
        if matrix[i].sum() == 0:
            assert row["top1_error"] == ""
        else:
            assert float(row["top1_error"]) == pytest.approx(100 * (1 - matrix[i, i] / matrix[i].sum()), abs=1e-3)


def test_predictions_are_written_for_each_image(trainer: Trainer, data: GivenLogits, tmp_path: Path) -> None:
    trainer.predict(ClassificationTask(Logits(), 7), data, return_predictions=False)
    rows = {row["id"]: row for row in rows_of(tmp_path / "run" / "predictions.csv")}
    expected = data.logits.flatten(1).softmax(1)
    assert set(rows) == {f"image_{i}" for i in range(11)}
    for i in range(11):
        row = rows[f"image_{i}"]
        assert [float(row[f"probability_{name}"]) for name in NAMES] == pytest.approx(expected[i].tolist(), abs=1e-5)
        assert row["class_name"] == NAMES[int(row["class_index"])] == NAMES[int(expected[i].argmax())]
    assert not list((tmp_path / "run").glob("*.part"))


def test_pictures_are_the_misclassified_images() -> None:
    task = ClassificationTask(Logits(), 3)
    Trainer(logger=False, enable_checkpointing=False, accelerator="cpu").strategy.connect(task)
    task.trainer = Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")
    logits = torch.eye(3)
    batch = LabelledBatch(torch.rand(3, 1, 4, 4), torch.tensor([0, 2, 2]), ["right", "wrong", "right too"])
    assert [name for name, _ in task.pictures(batch, logits)] == ["wrong"]


def test_network_of_another_width_is_refused() -> None:
    task = ClassificationTask(LeNet(num_classes=10), num_classes=100)
    batch = LabelledBatch(torch.rand(2, 3, 32, 32), torch.tensor([0, 1]), ["a", "b"])
    with pytest.raises(UsageError, match=r"num_classes=100.*got \[2, 10\]"):
        task.step(batch, "val")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_classes": 1}, "num_classes must be at least 2, got 1"),
        ({"num_classes": 3, "label_smoothing": 1.5}, "label_smoothing must be from 0 to 1, got 1.5"),
    ],
)
def test_bad_arguments_are_named(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ClassificationTask(Logits(), **arguments)
