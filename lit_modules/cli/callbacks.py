"""The callbacks that every run has: configuration and checkpoints."""

import os
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import SaveConfigCallback


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
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self.text)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Makes the checkpoint sufficient for itself."""
        checkpoint["config"] = self.text


class RunCheckpoint(ModelCheckpoint):
    """Lightning's checkpoints, with a ``last.ckpt`` that is the last one, in a run folder that may be moved.

    Lightning (2.6) writes ``last.ckpt`` only in epochs in which the monitored metric got better, so resuming from it
    would lose the epochs since then. And it forgets the best checkpoints when their folder was moved.
    """

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Saves ``last.ckpt`` where Lightning did not."""
        super().on_train_epoch_end(trainer, pl_module)
        every = self._every_n_epochs
        if every >= 1 and (trainer.current_epoch + 1) % every == 0 and not self._should_skip_saving_checkpoint(trainer):
            self._save_last_checkpoint(trainer, self._monitor_candidates(trainer))

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
