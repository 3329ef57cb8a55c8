from pathlib import Path

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
