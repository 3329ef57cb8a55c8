"""The callbacks that every run has: configuration and checkpoints."""

import os
import time
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from lit_modules.output.whole_file import whole_file
from lit_modules.runs.interruption import Interruption, Wish, agree


class SaveConfig(SaveConfigCallback):
    """Writes the whole configuration to ``config_<subcommand>.yaml`` in the run folder, and into every checkpoint.

    An existing file with another content stays: the new one gets a number.

    Args:
        args: See :class:`lightning.pytorch.cli.SaveConfigCallback`.
        kwargs: Likewise.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.text = self.parser.dump(self.config, skip_none=False)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Writes the file before anything can fail."""
        folder = trainer.log_dir  # every rank must ask
        if folder is not None and trainer.is_global_zero:
            name = Path(folder, self.config_filename)
            path, number = name, 0
            while path.exists() and path.read_text() != self.text:
                number += 1
                path = name.with_stem(f"{name.stem}_{number}")
            with whole_file(path) as unfinished:
                unfinished.write_text(self.text)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Makes the checkpoint sufficient for itself."""
        checkpoint["config"] = self.text


class RunCheckpoint(ModelCheckpoint):
    """Lightning's checkpoints, with a ``last.ckpt`` from which a training goes on as if it had never stopped.

    Lightning (2.6) writes ``last.ckpt`` only where the monitored metric got better, so resuming from it would lose the
    epochs since then. Here it is written at the end of each epoch, before each validation, every few minutes within an
    epoch, and when a signal ends the training: a run that is killed loses minutes. A run folder may be moved: the best
    checkpoints are remembered by their names.

    Args:
        args: See :class:`lightning.pytorch.callbacks.ModelCheckpoint`.
        last_every_minutes: Time in minutes after which ``last.ckpt`` is written at the end of a step; 0: after each
            step, None: not within epochs.
        kwargs: See :class:`lightning.pytorch.callbacks.ModelCheckpoint`.

    Raises:
        ValueError: If ``last_every_minutes`` is negative.
    """

    def __init__(self, *args: Any, last_every_minutes: float | None = 10.0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if last_every_minutes is not None and not last_every_minutes >= 0:
            raise ValueError(f"last_every_minutes must be at least 0, got {last_every_minutes}")
        self.last_every_minutes = last_every_minutes
        self.interruption: Interruption | None = None
        self._last_written = time.monotonic()
        self._steps_before = 0
        self._stopping = self._before_validation = False

    def write_last(self, trainer: Trainer) -> None:
        """Writes ``last.ckpt``. All ranks must ask for it together, where no step is half done."""
        if trainer.fast_dev_run or trainer.sanity_checking:  # type: ignore[attr-defined]
            return
        before = self._last_global_step_saved  # by which Lightning knows whether the best ones are saved already
        super()._save_last_checkpoint(trainer, self._monitor_candidates(trainer))
        self._last_global_step_saved = before
        self._last_written = time.monotonic()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Notes the step. Ends the training if the one before was to be the last, whose metrics are logged by now."""
        self._stop_if_agreed(trainer)
        self._steps_before = trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Saves ``last.ckpt`` where it is due, or the last time because a signal asks for the end.

        Not while gradients accumulate, which no checkpoint holds, and not after the last step of an epoch: Lightning
        would take its epoch for finished, and what follows the step saves anyway. Comes after all other callbacks.
        """
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        if trainer.global_step == self._steps_before or trainer.is_last_batch:
            return
        minutes = (time.monotonic() - self._last_written) / 60
        due = self.last_every_minutes is not None and minutes >= self.last_every_minutes
        wish = agree(trainer, Wish.STOP if self._signalled else Wish.SAVE if due else Wish.GO_ON)
        if wish != Wish.GO_ON:
            self.write_last(trainer)
        self._stopping = wish == Wish.STOP

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Saves what was trained, in case validation fails or is stopped."""
        if trainer.state.fn != TrainerFn.FITTING or trainer.sanity_checking:
            return
        trainer.fit_loop.epoch_loop.val_loop.batch_progress.total.reset_on_restart()
        self._before_validation = True
        self.write_last(trainer)
        self._before_validation = False
        self._stop_if_agreed(trainer)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Lets a checkpoint from before a validation tell so: Lightning then begins with that validation.

        It would skip it otherwise. What it looks for is a validation batch that was begun and not finished.
        """
        if self._before_validation and "loops" in checkpoint:
            progress = checkpoint["loops"]["fit_loop"]["epoch_loop.val_loop.batch_progress"]["total"]
            progress["ready"] += 1
            progress["started"] += 1

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Saves ``last.ckpt`` after the best ones."""
        super().on_train_epoch_end(trainer, pl_module)
        every = self._every_n_epochs
        self._stopping = agree(trainer, Wish.STOP if self._signalled else Wish.GO_ON) == Wish.STOP
        if self._stopping or (every >= 1 and (trainer.current_epoch + 1) % every == 0):
            self.write_last(trainer)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Ends the training if the epoch before was to be the last, whose metrics are logged by now."""
        self._stop_if_agreed(trainer)

    def _stop_if_agreed(self, trainer: Trainer) -> None:
        if self._stopping and self.interruption is not None:
            self.interruption.stop(trainer, self.last_model_path)

    @property
    def _signalled(self) -> bool:
        return self.interruption is not None and self.interruption.received is not None

    def _save_last_checkpoint(self, trainer: Trainer, monitor_candidates: dict[str, Tensor]) -> None:
        """Does nothing on Lightning's own occasions."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over the paths of checkpoints by their names, if they are here."""

        def here(path: str) -> str:
            return os.path.join(self.dirpath or "", os.path.basename(path)) if path else path

        if os.path.exists(here(state_dict["best_model_path"])):
            state_dict = {**state_dict, "dirpath": self.dirpath}
            for key in ("best_model_path", "kth_best_model_path", "last_model_path"):
                state_dict[key] = here(state_dict[key])
            state_dict["best_k_models"] = {here(path): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict(state_dict)
