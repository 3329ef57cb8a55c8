"""Where callbacks put their files."""

from pathlib import Path

from lightning.pytorch import Trainer


def output_folder(trainer: Trainer) -> Path:
    """The folder of this run's results, the same on all processes: the logger's, else the trainer's root folder."""
    return Path(trainer.log_dir or trainer.default_root_dir)
