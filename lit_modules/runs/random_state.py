"""A resumed training draws the random numbers that the uninterrupted one would have drawn."""

import random
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

KEY = "random_state"


class RandomState(Callback):
    """Keep the state of the random number generators in checkpoints: order of samples, augmentation, dropout.

    The state is that of rank 0 for all ranks: they are seeded alike and draw alike.

    Args:
        restore: Whether to take the state over from a checkpoint: not if the user changed the seed.
    """

    def __init__(self, restore: bool = True) -> None:
        self.restore = restore
        self._loaded: dict[str, Any] | None = None

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add the state, in types that load without pickled objects."""
        device = trainer.strategy.root_device
        name, key, *rest = np.random.get_state(legacy=True)
        checkpoint[KEY] = {
            "python": random.getstate(),
            "numpy": (name, np.asarray(key).tolist(), *rest),
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
        }

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Remember the state."""
        self._loaded = checkpoint.get(KEY) if self.restore else None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the state over: everything is set up by now, and no sample drawn."""
        self._take_over(trainer)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Go on with what was drawn since."""
        self._loaded = None

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take it over again where the run begins with a validation: loaders may have drawn for a finished epoch."""
        if not trainer.sanity_checking:
            self._take_over(trainer)

    def _take_over(self, trainer: Trainer) -> None:
        if self._loaded is None:
            return
        version, internal, gauss = self._loaded["python"]
        random.setstate((version, tuple(internal), gauss))
        np.random.set_state(self._loaded["numpy"])
        torch.set_rng_state(self._loaded["torch"].cpu())
        device = trainer.strategy.root_device
        if self._loaded["cuda"] is not None and device.type == "cuda":
            torch.cuda.set_rng_state(self._loaded["cuda"].cpu(), device)
