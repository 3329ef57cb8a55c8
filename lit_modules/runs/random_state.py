"""A resumed training draws the random numbers that the uninterrupted one would have drawn."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from lit_modules.random_state import GeneratorStates, capture_random_state, restore_random_state

KEY = "random_state"


class RandomState(Callback):
    """Keep the state of the random number generators in checkpoints: order of samples, augmentation, dropout.

    The state is that of rank 0 for all ranks: they are seeded alike and draw alike.

    Args:
        restore: Whether to take the state over from a checkpoint: not if the user changed the seed.
    """

    def __init__(self, restore: bool = True) -> None:
        self.restore = restore
        self._loaded: GeneratorStates | None = None

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add the state, in types that load without pickled objects."""
        checkpoint[KEY] = capture_random_state(trainer.strategy.root_device)

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
        if self._loaded is not None:
            restore_random_state(self._loaded, trainer.strategy.root_device)
