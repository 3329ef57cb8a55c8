"""Checkpoint files that are whole or not there, whatever interrupts their writing."""

import io
import os
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO

from acda.models.weight_files import SUFFIX
from lit_modules.errors import TrainingError
from lit_modules.lightning_private import take_for_todays
from lit_modules.output.whole_file import whole_file
from lit_modules.runs.weight_checkpoints import read_weights_as_checkpoint


class WholeCheckpoints(TorchCheckpointIO):
    """Write a checkpoint beside the file it replaces, and let it take that one's place when all of it is on disk.

    Lightning's own goes through the folder for temporary files, from which a file cannot be moved to another disk at
    once, and does not read what does not say which Lightning saved it.
    """

    def load_checkpoint(self, path: str | Path, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Read a checkpoint, or weights: that another program saved, or of a file that has their configuration.

        Args:
            path: The file.
            args: See :class:`lightning.fabric.plugins.TorchCheckpointIO`.
            kwargs: Likewise.

        Returns:
            What it holds.
        """
        if Path(path).suffix == SUFFIX:
            return take_for_todays(read_weights_as_checkpoint(Path(path)))
        checkpoint: dict[str, Any] = super().load_checkpoint(path, *args, **kwargs)
        return take_for_todays(checkpoint)

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Write a checkpoint.

        Args:
            checkpoint: What it holds.
            path: The file; its folder is made.
            storage_options: Not used.

        Raises:
            TrainingError: If it cannot be written, such as on a full disk. An earlier file of that name stays as it
                was.
        """
        content = io.BytesIO()  # torch.save itself may abort the process when it cannot write to a file
        torch.save(checkpoint, content)
        try:
            with whole_file(Path(path)) as unfinished, unfinished.open("wb") as file:
                file.write(content.getbuffer())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise TrainingError(
                f"the checkpoint {path} cannot be written: {error.strerror}; the checkpoints written before are whole. "
                "Make room or name another folder (--trainer.default_root_dir), then go on with --ckpt_path"
            ) from error
