"""A task, networks and data small enough to go through the real command line in a second."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from datamodules.errors import DataError

SCORES = (0.5, 0.9, 0.1, 0.2, 0.3, 0.4)
"""What validation measures after each epoch: the best is the one of epoch 1, whatever the weights are."""


class Layer(nn.Linear):
    """A layer that refuses some values."""

    def __init__(self, inputs: int, outputs: int, bases: int = 6) -> None:
        if bases < 1:
            raise ValueError(f"bases must be positive, got {bases}")
        super().__init__(inputs, outputs)


class Net(nn.Module):
    def __init__(self, width: int = 3, layer: Callable[[int, int], nn.Module] = Layer) -> None:
        super().__init__()
        self.first = layer(4, width)
        self.last = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x))


class Deeper(Net):
    def __init__(self, width: int = 3) -> None:
        super().__init__(width)
        self.extra = nn.Linear(width, width)


class Mean(nn.Module):
    """A network with nothing to learn."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(1, keepdim=True)


class Buggy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.missing.append(1)


class ToyTask(LightningModule):
    """Regression that knows in which epoch its weights were saved, and says so in ``test/epochs``."""

    epochs: Tensor

    def __init__(
        self,
        net: nn.Module,
        optimizer: OptimizerCallable = torch.optim.SGD,
        lr_scheduler: LRSchedulerCallable | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = net
        self.optimizer = optimizer
        self.lr_scheduler = lr_scheduler
        self.register_buffer("epochs", torch.zeros(()))

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        x = nn.functional.dropout(batch[0]) + float(np.random.normal()) + random.gauss(0, 1)
        loss = (self.net(x) - batch[1]).square().mean()
        self.log("train/loss", loss)
        return loss

    def on_train_epoch_start(self) -> None:
        self.epochs += 1

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.log("val/score", SCORES[self.current_epoch])

    def test_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.log("test/epochs", self.epochs)
        self.log("test/batches", 1.0, reduce_fx="sum")

    def predict_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return self.net(batch[0])

    def configure_optimizers(self) -> Any:
        optimizer = self.optimizer(self.parameters())
        if self.lr_scheduler is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": self.lr_scheduler(optimizer)}


class ToyData(LightningDataModule):
    """Eight samples, always the same.

    Args:
        batch_size: Samples in a batch.
        workers: Processes that load them.
        folder: A folder that must exist.
    """

    def __init__(self, batch_size: int = 2, workers: int = 0, folder: Path | None = None) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.batch_size = batch_size
        self.workers = workers
        self.folder = folder

    def setup(self, stage: str) -> None:
        if self.folder is not None and not self.folder.is_dir():
            raise DataError(f"folder: no such folder {self.folder}")

    def _loader(self, shuffle: bool = False) -> DataLoader[tuple[Tensor, ...]]:
        x = torch.linspace(-1, 1, 32).reshape(8, 4)
        data = TensorDataset(x, x.sum(1, keepdim=True))
        return DataLoader(data, batch_size=self.batch_size, shuffle=shuffle, num_workers=self.workers)

    def train_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        return self._loader(shuffle=True)

    def val_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        return self._loader()

    test_dataloader = predict_dataloader = val_dataloader


class Note(Callback):
    """A callback to put into lists.

    Args:
        text: Told at the start.
    """

    def __init__(self, text: str) -> None:
        self.text = text

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        print(f"note: {self.text}")


class StopAfter(Callback):
    """Ends training in the middle, as a crash would.

    Args:
        epochs: Complete epochs before.
    """

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if trainer.current_epoch == self.epochs and batch_idx == 1:
            raise RuntimeError("power cut")
