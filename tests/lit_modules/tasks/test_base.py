import copy
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.cli import ReduceLROnPlateau
from torch import nn

from acda.models import LeNet, SingleLayer
from datamodules import DigitsDataModule, PatternsDataModule
from lit_modules import ClassificationTask, PatternTask
from lit_modules.callbacks import CoefficientMaps


def test_compilation_leaves_the_state_dict_as_it_is() -> None:
    plain = PatternTask(SingleLayer())
    compiled = PatternTask(SingleLayer(), compile_network=True)
    assert list(compiled.state_dict()) == list(plain.state_dict())
    assert compiled.network._compiled_call_impl is not None


def test_task_built_in_python_gives_checkpoints_that_load_safely(trainer: Trainer, tmp_path: Path) -> None:
    task = PatternTask(SingleLayer())
    data = PatternsDataModule(size=48, num_patterns=4, shift=9, steps_per_epoch=2)
    trainer.fit(task, data)
    trainer.save_checkpoint(tmp_path / "task.ckpt")
    checkpoint = torch.load(tmp_path / "task.ckpt", weights_only=True)
    other = PatternTask(SingleLayer())
    other.load_state_dict(checkpoint["state_dict"])
    assert torch.equal(other.network.conv.weight, task.network.conv.weight)


def test_schedule_by_plateau_gets_its_monitor() -> None:
    task = PatternTask(SingleLayer(), lr_scheduler=lambda optimizer: ReduceLROnPlateau(optimizer, monitor="val/mse"))
    config = task.configure_optimizers()
    assert config["lr_scheduler"]["monitor"] == "val/mse"
    assert config["lr_scheduler"]["interval"] == "epoch"


def test_rate_is_scheduled_by_step_if_asked(trainer: Trainer) -> None:
    task = PatternTask(
        SingleLayer(),
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=1.0),
        lr_scheduler=lambda optimizer: torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5),
        lr_scheduler_interval="step",
    )
    trainer.fit(task, PatternsDataModule(size=48, num_patterns=4, shift=9, steps_per_epoch=3))
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.5**3)


def test_users_callback_takes_the_place_of_the_default(tmp_path: Path) -> None:
    mine = CoefficientMaps(num_images=0)
    trainer = Trainer(max_epochs=1, callbacks=[mine], logger=False, enable_checkpointing=False, accelerator="cpu")
    trainer.fit(PatternTask(SingleLayer()), PatternsDataModule(size=48, num_patterns=4, shift=9, steps_per_epoch=1))
    assert [c for c in trainer.callbacks if isinstance(c, CoefficientMaps)] == [mine]


def test_training_learns(trainer: Trainer) -> None:
    """Three epochs on the digits beat chance (90 % error) by far."""
    task = ClassificationTask(
        LeNet(in_channels=1, image_size=8, kernel_size=3, padding=1),
        num_classes=10,
        optimizer=lambda parameters: torch.optim.Adam(parameters, lr=0.005),
    )
    before = copy.deepcopy(task.state_dict())
    trainer.fit_loop.max_epochs = 3
    trainer.fit(task, DigitsDataModule())
    assert any(not torch.equal(before[name], value) for name, value in task.state_dict().items())
    assert trainer.callback_metrics["val/top1_error"] < 50
    assert isinstance(task.network.features[0], nn.Conv2d)
