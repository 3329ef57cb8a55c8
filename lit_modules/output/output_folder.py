"""Where callbacks put their files."""

from pathlib import Path

from lightning.pytorch import Trainer


def output_folder(trainer: Trainer) -> Path:
    """Find the folder of this run's results, the same on all processes, which must ask for it together."""
    return Path(trainer.log_dir or trainer.default_root_dir)
