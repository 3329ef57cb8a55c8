"""Runs: their folders, checkpoints and trainer, and all there is to interrupting and resuming them."""

from lit_modules.runs.checkpoints import Checkpoint, find_best_checkpoint
from lit_modules.runs.run import NAME_ONE, ROOT, Run, open_checkpoint
from lit_modules.runs.run_checkpoint import RunCheckpoint
from lit_modules.runs.save_config import SaveConfig
from lit_modules.runs.trainer import RunTrainer

__all__ = [
    "NAME_ONE",
    "ROOT",
    "Checkpoint",
    "Run",
    "RunCheckpoint",
    "RunTrainer",
    "SaveConfig",
    "find_best_checkpoint",
    "open_checkpoint",
]
