"""What is done to Lightning's checkpoints: when they are written, what is read, and where a training goes on."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from lit_modules.lightning_private import (
    OpenCheckpoint,
    OpenTrainer,
    begin_next_epoch,
    begin_with_validation,
    is_resumed_between_epochs,
    take_for_todays,
    validation_has_begun,
)
from lit_modules.runs.checkpoint_file import WholeCheckpoints
from tests.lit_modules.lightning_private.conftest import STEPS, Tiny, checkpoint_after, relying_on, trainer


class Before(OpenTrainer):
    """Notes how things stand when a stage begins."""

    def before_stage(self) -> None:
        self.stood = (self.global_step, list(self.lightning_module.seen), is_resumed_between_epochs(self))


class SaveWithin(Callback):
    """Saves a checkpoint within an epoch."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        if trainer.global_step == self.step:
            trainer.save_checkpoint(Path(trainer.default_root_dir, "within.ckpt"))


def test_a_stage_begins_when_all_is_restored_and_nothing_done(tmp_path: Path) -> None:
    """And a training knows then whether it goes on between two epochs."""
    checkpoint_after(2 * STEPS, tmp_path, SaveWithin(STEPS + 1))
    for steps in (STEPS + 1, 2 * STEPS):
        path = tmp_path / ("saved.ckpt" if steps == 2 * STEPS else "within.ckpt")
        resumed = trainer(tmp_path, Before, max_epochs=3)
        with relying_on(OpenTrainer._run_stage):
            resumed.fit(Tiny(), ckpt_path=path, weights_only=True)
            assert resumed.stood[:2] == (steps, [])
        with relying_on(is_resumed_between_epochs):
            assert resumed.stood[2] == (steps == 2 * STEPS)


class NextEpoch(OpenTrainer):
    def before_stage(self) -> None:
        if is_resumed_between_epochs(self):
            begin_next_epoch(self)


def test_a_training_by_steps_begins_the_next_epoch(tmp_path: Path) -> None:
    path = checkpoint_after(STEPS, tmp_path)
    resumed, model = trainer(tmp_path, NextEpoch, max_steps=2 * STEPS, num_sanity_val_steps=0), Tiny()
    with relying_on(begin_next_epoch):
        resumed.fit(model, ckpt_path=path, weights_only=True)
        assert model.seen == ["step", "step", "validation"]
        assert resumed.current_epoch == 2


class SaveBeforeValidation(Callback):
    def __init__(self, path: Path) -> None:
        self.path = path

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        validation_has_begun(trainer)
        trainer.save_checkpoint(self.path)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        begin_with_validation(checkpoint)


def test_a_training_begins_with_the_validation_it_was_to_do(tmp_path: Path) -> None:
    """More than once in a row: numbers of batches that were begun do not add up."""
    path = tmp_path / "before.ckpt"
    checkpoint_after(STEPS, tmp_path, SaveBeforeValidation(path))
    for number in range(2):
        model = Tiny()
        resumed = trainer(tmp_path, max_epochs=2 + number, callbacks=[SaveBeforeValidation(path)])
        with relying_on(begin_with_validation):
            resumed.fit(model, ckpt_path=path, weights_only=True)
            assert model.seen == ["validation", "step", "step", "validation"]
        progress = torch.load(path, weights_only=True)["loops"]["fit_loop"]["epoch_loop.val_loop.batch_progress"]
        with relying_on(validation_has_begun):
            assert progress["total"]["ready"] == progress["total"]["completed"] + 1


def test_weights_alone_stay_as_they_are() -> None:
    checkpoint: dict[str, Any] = {"state_dict": {}}
    begin_with_validation(checkpoint)
    assert checkpoint == {"state_dict": {}}


def test_weights_that_do_not_say_who_saved_them_are_read(tmp_path: Path) -> None:
    path = checkpoint_after(STEPS, tmp_path)
    content = torch.load(path, weights_only=True)
    with relying_on(take_for_todays):
        assert take_for_todays(content) == content  # what it says stays
        assert take_for_todays({"state_dict": {}}).keys() <= content.keys()
        torch.save({"state_dict": content["state_dict"]}, path)
        model = Tiny()
        trainer(tmp_path, plugins=[WholeCheckpoints()]).validate(model, ckpt_path=path, weights_only=True)
        assert torch.equal(model.layer.weight, content["state_dict"]["layer.weight"])


class SaveAtStep(OpenCheckpoint):
    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        super().on_train_batch_end(trainer, *args)
        if trainer.global_step == STEPS:
            self.save_last_now(trainer)


@pytest.mark.parametrize("cls", [OpenCheckpoint, SaveAtStep])
def test_the_last_checkpoint_is_written_when_asked_for(tmp_path: Path, cls: type[OpenCheckpoint]) -> None:
    """And the best one of the same step is written all the same."""
    keeps = cls(tmp_path / "kept", filename="best", monitor="score", save_last=True)
    with relying_on(OpenCheckpoint):
        trainer(tmp_path, max_epochs=1, enable_checkpointing=True, callbacks=[keeps]).fit(Tiny())
        assert {path.name for path in (tmp_path / "kept").iterdir()} == {"best.ckpt"} | (
            {"last.ckpt"} if cls is SaveAtStep else set()
        )
