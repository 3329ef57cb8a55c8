"""Callbacks that let something go wrong at a chosen moment of a training."""

import os
import resource
import signal
from typing import Any, Literal

from lightning.pytorch import Callback


class SendSignal(Callback):
    """Sends a signal to the training's own process.

    Args:
        name: The signal, such as ``SIGKILL``.
        epoch: When: the epoch.
        batch: And the batch in it.
        during: What the batch is for.
        rank: The process.
    """

    def __init__(
        self, name: str, epoch: int, batch: int, during: Literal["train", "val", "predict"] = "train", rank: int = 0
    ) -> None:
        self.number = signal.Signals[name]
        self.moment = (epoch, batch)
        self.during = during
        self.rank = rank

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if self.during == "train":
            self._send(trainer, batch_idx)

    def on_validation_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if self.during == "val" and not trainer.sanity_checking:
            self._send(trainer, batch_idx)

    def on_predict_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if self.during == "predict":
            self._send(trainer, batch_idx)

    def _send(self, trainer: Any, batch_idx: int) -> None:
        if self.moment == (trainer.current_epoch, batch_idx) and trainer.global_rank == self.rank:
            os.kill(os.getpid(), self.number)


class LimitFiles(Callback):
    """From the end of an epoch on, no file can grow beyond a size: its writing fails, or kills the process.

    Args:
        size: In bytes.
        epoch: The epoch.
        kill: Whether the process is killed in the midst of its writing.
    """

    def __init__(self, size: int, epoch: int, kill: bool = False) -> None:
        self.size = size
        self.epoch = epoch
        self.kill = kill

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if trainer.current_epoch == self.epoch and batch_idx == 1:
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL if self.kill else signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            resource.setrlimit(resource.RLIMIT_FSIZE, (self.size, resource.RLIM_INFINITY))
