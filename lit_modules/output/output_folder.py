"""Where callbacks put their files, and what all processes have to say."""

from pathlib import Path
from typing import TypeVar

from lightning.pytorch import Trainer
from torch import distributed

Thing = TypeVar("Thing")


def output_folder(trainer: Trainer) -> Path:
    """Find the folder of this run's results, the same on all processes, which must ask for it together."""
    return Path(trainer.log_dir or trainer.default_root_dir)


def gather(trainer: Trainer, thing: Thing) -> list[Thing]:
    """Give what each process has, to all of them, which must ask for it together.

    Args:
        trainer: The running trainer.
        thing: What this process has; can be pickled.

    Returns:
        One for each process.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return [thing]
    things = [thing] * trainer.world_size
    distributed.all_gather_object(things, thing)
    return things
