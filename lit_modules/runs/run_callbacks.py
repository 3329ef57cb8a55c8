"""Which callbacks a run has: the user's and those that every run has, without those that have nothing to do."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback
from lightning.pytorch.callbacks import (
    Checkpoint,
    EarlyStopping,
    LearningRateMonitor,
    ModelCheckpoint,
    ProgressBar,
    WeightAveraging,
)
from lightning.pytorch.utilities import rank_zero_info

from lit_modules.callbacks import WarmStart
from lit_modules.runs.callbacks import RunCheckpoint, SaveConfig
from lit_modules.runs.interruption import Interruption
from lit_modules.runs.progress import ProgressLines

ONLY_FIT = (Checkpoint, EarlyStopping, LearningRateMonitor, WarmStart, WeightAveraging)


def run_callbacks(
    config: Mapping[str, Any],
    fit: bool,
    run: Path,
    *,
    begins: bool,
    resuming: list[Callback],
    checkpoint: RunCheckpoint,
    lr_monitor: LearningRateMonitor,
    save_config: SaveConfig | None,
) -> list[Callback]:
    """Collects the callbacks of a run.

    Args:
        config: Arguments of the trainer, its callbacks instantiated.
        fit: Whether it trains.
        run: Its folder.
        begins: Whether it starts without a checkpoint, so that a ``WarmStart`` has something to do.
        resuming: What a resumed training needs.
        checkpoint: Keeps checkpoints of a training.
        lr_monitor: Logs its learning rates.
        save_config: Writes the configuration; None if nothing is to be written.

    Returns:
        The callbacks in their order.
    """
    given = config["callbacks"] or []
    callbacks: list[Callback] = list(given) if isinstance(given, list) else [given]
    if not fit:
        callbacks = [callback for callback in callbacks if not isinstance(callback, ONLY_FIT)]
    starts = [callback for callback in callbacks if isinstance(callback, WarmStart)]
    callbacks = [callback for callback in callbacks if callback not in starts]
    if begins:
        callbacks = starts + callbacks  # before any that copies the network
    callbacks += resuming
    if config["barebones"]:
        return callbacks
    saves = fit and save_config is not None and config["enable_checkpointing"] is not False
    interruption = Interruption(saves)
    callbacks.append(interruption)
    if saves:
        checkpoint.interruption = interruption
        callbacks.append(checkpoint)
    if fit and config["logger"] and not any(isinstance(x, LearningRateMonitor) for x in callbacks):
        callbacks.append(lr_monitor)
    bar = config["enable_progress_bar"] is not False and not any(isinstance(x, ProgressBar) for x in callbacks)
    if bar and not sys.stdout.isatty():
        callbacks.append(ProgressLines())
    if save_config is not None:
        callbacks.append(save_config)
    for callback in callbacks:
        if isinstance(callback, ModelCheckpoint) and callback.dirpath is None:
            callback.dirpath = str(Path(run, "checkpoints").absolute())
        if isinstance(callback, WeightAveraging):
            rank_zero_info("Validation and checkpoints use moving averages of the weights")
    return callbacks
