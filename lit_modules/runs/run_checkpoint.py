"""The checkpoints of a run, among them one to go on from."""

import os
import time
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from lit_modules.lightning_private import OpenCheckpoint, begin_with_validation, validation_has_begun
from lit_modules.runs.interruption import Interruption, Wish, agree


class RunCheckpoint(OpenCheckpoint):
    """Keep Lightning's checkpoints, and a ``last.ckpt`` from which a training goes on as if it had never stopped.

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
        """Write ``last.ckpt``. All ranks must ask for it together, where no step is half done."""
        self.save_last_now(trainer)
        self._last_written = time.monotonic()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Note the step. End the training if the one before was to be the last, whose metrics are logged by now."""
        self._stop_if_agreed(trainer)
        self._steps_before = trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save ``last.ckpt`` where it is due, or the last time because a signal asks for the end.

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
        """Save what was trained, in case validation fails or is stopped."""
        if trainer.state.fn != TrainerFn.FITTING or trainer.sanity_checking:
            return
        validation_has_begun(trainer)
        self._before_validation = True
        self.write_last(trainer)
        self._before_validation = False
        self._stop_if_agreed(trainer)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Let a checkpoint from before a validation tell so."""
        if self._before_validation:
            begin_with_validation(checkpoint)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save ``last.ckpt`` after the best ones."""
        super().on_train_epoch_end(trainer, pl_module)
        every = self.every_n_epochs or 0
        self._stopping = agree(trainer, Wish.STOP if self._signalled else Wish.GO_ON) == Wish.STOP
        if self._stopping or (every >= 1 and (trainer.current_epoch + 1) % every == 0):
            self.write_last(trainer)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End the training if the epoch before was to be the last, whose metrics are logged by now."""
        self._stop_if_agreed(trainer)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the paths of checkpoints by their names, if they are here."""

        def here(path: str) -> str:
            return os.path.join(self.dirpath or "", os.path.basename(path)) if path else path

        if os.path.exists(here(state_dict["best_model_path"] or state_dict["last_model_path"])):
            state_dict = {**state_dict, "dirpath": self.dirpath}
            for key in ("best_model_path", "kth_best_model_path", "last_model_path"):
                state_dict[key] = here(state_dict[key])
            state_dict["best_k_models"] = {here(path): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict(state_dict)

    def _stop_if_agreed(self, trainer: Trainer) -> None:
        if self._stopping and self.interruption is not None:
            self.interruption.stop(trainer, self.last_model_path)

    @property
    def _signalled(self) -> bool:
        return self.interruption is not None and self.interruption.received is not None
