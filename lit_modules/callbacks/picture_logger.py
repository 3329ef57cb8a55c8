"""Logs the pictures that a task finds worth a look."""

from itertools import islice
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from lit_modules.callbacks.contracts import DrawsPictures, ask
from lit_modules.output import is_due, log_picture


class PictureLogger(Callback):
    """Log up to ``num_pictures`` pictures of each evaluation to TensorBoard, and as PNG files while testing.

    Which pictures is the choice of the task's ``pictures``: input, target and prediction of a pattern, or misclassified
    images.

    Args:
        num_pictures: At most this many in one epoch; 0 for none.
        every_n_epochs: While training, in every n-th epoch only.

    Raises:
        ValueError: If ``num_pictures`` is negative or ``every_n_epochs`` below 1.
    """

    def __init__(self, num_pictures: int = 16, every_n_epochs: int = 1) -> None:
        if num_pictures < 0:
            raise ValueError(f"num_pictures must be at least 0, got {num_pictures}")
        if every_n_epochs < 1:
            raise ValueError(f"every_n_epochs must be at least 1, got {every_n_epochs}")
        self.num_pictures = num_pictures
        self.every_n_epochs = every_n_epochs
        self._left = 0

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Allow pictures in this epoch, or none."""
        self._left = self.num_pictures if is_due(trainer, self.every_n_epochs) and trainer.is_global_zero else 0

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Allow pictures."""
        self._left = self.num_pictures if trainer.is_global_zero else 0

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """Log pictures of this batch while some are left."""
        self._log(trainer, pl_module, outputs, batch, "val")

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """Log pictures of this batch while some are left."""
        self._log(trainer, pl_module, outputs, batch, "test")

    def _log(self, trainer: Trainer, task: LightningModule, outputs: Any, batch: Any, stage: str) -> None:
        if self._left == 0:
            return
        pictures = ask(self, task, DrawsPictures).pictures(batch, outputs)
        for name, picture in islice(pictures, self._left):
            number = self.num_pictures - self._left
            log_picture(trainer, f"{stage}_pictures/{number:02d}_{name.replace('/', '_')}", picture)
            self._left -= 1
