"""A small task and its trainer, for tests that each use of what Lightning does not promise still does what it is for.

A test that fails in this folder after an update of Lightning says where in Lightning to look.
"""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader

from lit_modules.lightning_private import is_configured

STEPS = 2
"""Steps in an epoch."""


@contextmanager
def relying_on(use: Any) -> Iterator[None]:
    """Says of a failure which use of Lightning it is about, and where to look."""
    try:
        yield
    except Exception as error:
        raise AssertionError(f"Lightning changed. {use.__qualname__}: {inspect.getdoc(use)}\n{error}") from error


class Tiny(LightningModule):
    """Notes what it goes through."""

    def __init__(self, width: int = 1) -> None:
        super().__init__()
        self.layer = nn.Linear(1, width)
        self.configured = is_configured()
        self.seen: list[str] = []

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        self.seen.append("step")
        return self.layer(batch).square().mean()

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.seen.append("validation")
        self.log("score", float(len(self.seen)))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(torch.ones(STEPS, 1))  # type: ignore[arg-type]

    def val_dataloader(self) -> DataLoader[Any]:
        return DataLoader(torch.ones(1, 1))  # type: ignore[arg-type]


def trainer(folder: Path, cls: type[Trainer] = Trainer, **settings: Any) -> Any:
    quiet = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    return cls(default_root_dir=folder, **{"enable_checkpointing": False, **quiet, **settings})


def checkpoint_after(steps: int, folder: Path, *callbacks: Callback) -> Path:
    fitted = trainer(folder, max_steps=steps, num_sanity_val_steps=0, callbacks=list(callbacks))
    fitted.fit(Tiny())
    fitted.save_checkpoint(folder / "saved.ckpt")
    return folder / "saved.ckpt"
