import pytest
from lightning.pytorch import Trainer

from acda.models import LeNet
from lit_modules import ClassificationTask
from tests.lit_modules.conftest import small_digits


def test_cost_of_the_network_is_printed_once(trainer: Trainer, capsys: pytest.CaptureFixture[str]) -> None:
    trainer.limit_train_batches = trainer.limit_val_batches = 1
    trainer.fit(ClassificationTask(LeNet(10, 1, 8, kernel_size=3, padding=1, channels=(6, 16)), 10), small_digits())
    output = capsys.readouterr().out
    convolutions = 6 * 9 * 64 + 16 * 6 * 9 * 16
    linear = 16 * 4 * 120 + 120 * 84 + 84 * 10
    assert output.count("LeNet on 1×1×8×8") == 1
    assert f"{convolutions + linear:,}" in output
