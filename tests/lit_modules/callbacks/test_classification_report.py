from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer

from lit_modules import ClassificationTask
from tests.lit_modules.conftest import GivenLogits, Logits
from tests.support.crowds import rows_of

NAMES = [f"class {letter}" for letter in "abcdefg"]


@pytest.fixture
def data() -> GivenLogits:
    """Eleven samples of seven classes: an odd number of batches, the last one smaller; class g does not occur."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(11, 1, 1, 7, generator=generator)
    return GivenLogits(logits, torch.randint(0, 6, (11,), generator=generator), NAMES)


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
