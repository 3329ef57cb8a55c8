"""The configuration of a run, in its folder and in its checkpoints."""

from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback

from lit_modules.output.whole_file import whole_file


class SaveConfig(SaveConfigCallback):
    """Write the whole configuration to ``config_<subcommand>.yaml`` in the run folder, and into every checkpoint.

    An existing file with another content stays: the new one gets a number.

    Args:
        args: See :class:`lightning.pytorch.cli.SaveConfigCallback`.
        kwargs: Likewise.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.text = self.parser.dump(self.config, skip_none=False, skip_validation=True)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write the file before anything can fail."""
        folder = trainer.log_dir  # every rank must ask
        if folder is not None and trainer.is_global_zero:
            name = Path(folder, self.config_filename)
            path, number = name, 0
            while path.exists() and path.read_text() != self.text:
                number += 1
                path = name.with_stem(f"{name.stem}_{number}")
            with whole_file(path) as unfinished:
                unfinished.write_text(self.text)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Make the checkpoint sufficient for itself."""
        checkpoint["config"] = self.text
