"""Data and callbacks to compare processes by."""

import os
import signal
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.utils.data import DataLoader, DistributedSampler

from datamodules import DigitsDataModule
from datamodules.samples import collate


class OrderedDigits(DigitsDataModule):
    """Digits in the same order in every epoch: a batch of one process is, together, a smaller one of each of two."""

    def train_dataloader(self) -> DataLoader[Any]:
        assert self.trainer is not None
        samples = self.train_samples()
        sampler = DistributedSampler(samples, self.trainer.world_size, self.trainer.global_rank, shuffle=False)
        return DataLoader(samples, self.batch_size, sampler=sampler, collate_fn=collate)


class SaveWeights(Callback):
    """Saves, at the end of training, what each process has for weights to ``rank<N>.pt``."""

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        torch.save(pl_module.state_dict(), f"rank{trainer.global_rank}.pt")


class EndOfTime(Callback):
    """Sends, in the third step of a job that was not requeued, the signal by which SLURM tells that its end is near."""

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        if trainer.global_step == 2 and "SLURM_RESTART_COUNT" not in os.environ:
            os.kill(os.getpid(), signal.SIGUSR1)
