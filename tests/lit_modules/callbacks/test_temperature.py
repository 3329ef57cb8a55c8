"""The temperature of dynamic convolutions falls with the epochs, and is what was saved when nothing trains."""

from pathlib import Path

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import nn

from acda import DynamicConv2d
from acda.models import LeNet
from datamodules import DigitsDataModule
from lit_modules import ClassificationTask
from lit_modules.callbacks import AnnealTemperature


def task() -> ClassificationTask:
    return ClassificationTask(LeNet(10, 1, 8, DynamicConv2d, kernel_size=3, padding=1), 10)


def temperatures(module: nn.Module) -> list[float]:
    return [float(layer.temperature) for layer in module.modules() if isinstance(layer, DynamicConv2d)]


class Temperatures(AnnealTemperature):
    """Notes the temperatures of each epoch."""

    def __init__(self) -> None:
        self.seen: list[list[float]] = []

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_epoch_start(trainer, pl_module)
        self.seen.append(temperatures(pl_module))


def quick(folder: Path, epochs: int, *callbacks: AnnealTemperature) -> Trainer:
    return Trainer(
        default_root_dir=folder,
        max_epochs=epochs,
        limit_train_batches=1,
        limit_val_batches=1,
        limit_test_batches=1,
        accelerator="cpu",
        logger=False,
        callbacks=list(callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )


def test_falls_with_the_epochs_in_every_layer(tmp_path: Path) -> None:
    callback, model = Temperatures(), task()
    quick(tmp_path, 12, callback).fit(model, DigitsDataModule(batch_size=8))
    expected = [30 - 2.9 * min(epoch, 10) for epoch in range(12)]
    assert [seen[0] for seen in callback.seen] == pytest.approx(expected)
    assert [seen[1] for seen in callback.seen] == pytest.approx(expected)


def test_is_saved_and_goes_on_from_the_saved_epoch(tmp_path: Path) -> None:
    first = quick(tmp_path, 4, AnnealTemperature())
    first.fit(task(), DigitsDataModule(batch_size=8))
    first.save_checkpoint(tmp_path / "last.ckpt")
    saved = [pytest.approx(30 - 2.9 * 3)] * 2

    evaluated = task()
    quick(tmp_path, 4, AnnealTemperature()).test(
        evaluated, DigitsDataModule(batch_size=8), ckpt_path=tmp_path / "last.ckpt", verbose=False, weights_only=True
    )
    assert temperatures(evaluated) == saved

    callback = Temperatures()
    resumed = quick(tmp_path, 6, callback)
    resumed.fit(task(), DigitsDataModule(batch_size=8), ckpt_path=tmp_path / "last.ckpt", weights_only=True)
    assert [seen[0] for seen in callback.seen] == pytest.approx([30 - 2.9 * 4, 30 - 2.9 * 5])


def test_networks_without_temperature_are_left_alone(tmp_path: Path) -> None:
    model = ClassificationTask(LeNet(10, 1, 8, kernel_size=3, padding=1), 10)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    AnnealTemperature().on_train_epoch_start(quick(tmp_path, 1), model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
