import copy
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.cli import ReduceLROnPlateau
from torch import Tensor, nn

from acda.models import LeNet, SingleLayer
from datamodules import DigitsDataModule, PatternsDataModule
from datamodules.batches import PatternBatch
from lit_modules import ClassificationTask, PatternTask, StepOutput
from lit_modules.callbacks import CoefficientMaps
from lit_modules.errors import UsageError
from lit_modules.tasks.base import Stage
from tests.lit_modules.conftest import tiny_task


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


def test_pytorchs_own_schedule_by_a_metric_follows_the_validation_loss() -> None:
    task = PatternTask(SingleLayer(), lr_scheduler=torch.optim.lr_scheduler.ReduceLROnPlateau)
    assert task.configure_optimizers()["lr_scheduler"]["monitor"] == "val/loss"
    rising = partial(torch.optim.lr_scheduler.ReduceLROnPlateau, mode="max")
    with pytest.raises(UsageError, match=r"mode min, got max.*lightning\.pytorch\.cli\.ReduceLROnPlateau"):
        PatternTask(SingleLayer(), lr_scheduler=rising).configure_optimizers()


def test_a_loss_that_is_no_number_is_refused(trainer: Trainer) -> None:
    class Unreduced(PatternTask):
        def step(self, batch: PatternBatch, stage: Stage) -> StepOutput:
            output = super().step(batch, stage)
            return StepOutput(output.loss.expand(2), output.prediction)

    with pytest.raises(UsageError, match=r"loss must give one number, got \[2\]"):
        trainer.fit(Unreduced(SingleLayer()), datamodule=PatternsDataModule(steps_per_epoch=1))


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


def test_weight_decay_leaves_norms_and_biases_alone() -> None:
    """Gradients are zero where the input is: weight decay alone moves the parameters."""

    def network() -> nn.Module:
        return nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3))

    spared, all_decayed = tiny_task(network(), decay_norms_and_biases=False), tiny_task(network())
    groups = spared.configure_optimizers().param_groups
    decay = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    assert {name: decay[id(p)] for name, p in spared.named_parameters()} == {
        "network.0.weight": 0.5, "network.0.bias": 0.0, "network.1.weight": 0.0, "network.1.bias": 0.0,
        "network.3.weight": 0.5, "network.3.bias": 0.0,
    }  # fmt: skip
    assert {g["weight_decay"] for g in all_decayed.configure_optimizers().param_groups} == {0.5}


@dataclass(frozen=True)
class Weighed(StepOutput):
    """Has more to tell than the prediction."""

    weight: float


class Weighing(PatternTask):
    def step(self, batch: PatternBatch, stage: Stage) -> Weighed:
        output = super().step(batch, stage)
        return Weighed(output.loss, output.prediction, 3.0)

    def pictures(self, batch: PatternBatch, output: Weighed) -> Iterable[tuple[str, Tensor]]:
        return super().pictures(batch, output.prediction)


class Outputs(Callback):
    """Keeps what it gets."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def on_test_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any) -> None:
        self.seen.append(outputs)

    on_validation_batch_end = on_test_batch_end


@pytest.mark.parametrize("task", [PatternTask, Weighing])
def test_callbacks_get_the_prediction_or_all_of_an_output_that_has_more(
    task: type[PatternTask], trainer: Trainer
) -> None:
    outputs, data = Outputs(), PatternsDataModule(size=48, num_patterns=4, shift=9)
    trainer.callbacks.append(outputs)
    module = task(SingleLayer())
    trainer.test(module, data, verbose=False)
    trainer.validate(module, data, verbose=False)
    with torch.no_grad():
        expected = module(next(iter(data.test_dataloader())).image)
    tested, validated = outputs.seen
    if task is Weighing:
        assert (tested.weight, validated.weight) == (3.0, 3.0)
        tested, validated = tested.prediction, validated.prediction
    assert isinstance(tested, Tensor) and isinstance(validated, Tensor)
    torch.testing.assert_close(tested, expected)
