"""Progress in lines, for output that goes to a file."""

import time
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar


class ProgressLines(ProgressBar):
    """Print a line with the metrics after each epoch, and one every now and then in between.

    A bar redraws itself, which leaves nothing readable in the log file of a cluster job.

    Args:
        seconds: Time between two lines within an epoch.
    """

    def __init__(self, seconds: float = 60.0) -> None:
        super().__init__()
        self.seconds = seconds
        self._enabled = True
        self._epoch_start = self._last_line = time.monotonic()

    def enable(self) -> None:
        """Show lines again."""
        self._enabled = True

    def disable(self) -> None:
        """Show no lines (on other ranks than 0, and while a learning rate is searched)."""
        self._enabled = False

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._epoch_start = self._last_line = time.monotonic()

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Print a line if it is time."""
        if time.monotonic() - self._last_line > self.seconds:
            stage = str(trainer.state.stage and trainer.state.stage.value)
            self._print(f"{stage}: batch {batch_idx + 1} of {_batches(trainer, stage)}")

    on_validation_batch_end = on_test_batch_end = on_predict_batch_end = on_train_batch_end

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the metrics."""
        metrics = ", ".join(f"{key} {float(value):.4g}" for key, value in sorted(trainer.callback_metrics.items()))
        seconds = time.monotonic() - self._epoch_start
        total = f" of {trainer.max_epochs}" if (trainer.max_epochs or -1) > 0 else ""
        self._print(f"epoch {trainer.current_epoch}{total}: {metrics} ({seconds:.1f} s)")

    def _print(self, text: str) -> None:
        self._last_line = time.monotonic()
        if self._enabled:
            print(text, flush=True)


def _batches(trainer: Trainer, stage: str) -> float:
    """Count the batches in an epoch of a stage."""
    name = {"train": "training", "validate": "val", "sanity_check": "sanity_val"}.get(stage, stage)
    batches: float | list[float] = getattr(trainer, f"num_{name}_batches")
    return sum(batches) if isinstance(batches, list) else batches
