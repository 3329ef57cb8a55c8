"""Searches before a training: what Lightning's finders find becomes a value of the configuration."""

import logging
from collections.abc import Callable
from typing import Any

import torch
from jsonargparse import Namespace
from lightning.pytorch import LightningModule
from lightning.pytorch.callbacks import BatchSizeFinder, LearningRateFinder
from lightning.pytorch.utilities import rank_zero_info
from lightning.pytorch.utilities.memory import garbage_collection_cuda
from torch import Tensor

from lit_modules.callbacks import WarmStart
from lit_modules.cli.trust import find_class
from lit_modules.errors import TrainingError, UsageError
from lit_modules.lightning_private import only_search
from lit_modules.runs import Checkpoint, RunTrainer

_RATE = "optimizer.init_args.lr"
FINDERS = (LearningRateFinder, BatchSizeFinder)
_SEARCHING = {
    **dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False),
    **dict.fromkeys(("max_epochs", "max_steps"), -1),
    **dict.fromkeys(("min_epochs", "min_steps", "max_time", "val_check_interval"), None),
    "num_sanity_val_steps": 0,
    "check_val_every_n_epoch": 2**31,
}
"""Settings of the trainer that runs no more than a search needs."""


def find_values(config: Namespace, build: Callable[[Namespace], Namespace], start: Checkpoint | None) -> bool:
    """Put what the finders among the callbacks find into the configuration, in their place.

    The search has a model, data and trainer of its own, so that the training begins as if the values had been written
    by the user.

    Args:
        config: The configuration of ``fit``; changed.
        build: Instantiates the classes of one.
        start: The checkpoint that is resumed from, whose values are taken; None for a new training.

    Returns:
        Whether there are finders.

    Raises:
        UsageError: If there is nothing to put the value into, or nothing is found.
    """
    given = config.trainer.callbacks
    callbacks: list[Namespace] = given if isinstance(given, list) else [] if given is None else [given]
    finders = [callback for callback in callbacks if issubclass(_class_of(callback), FINDERS)]
    for finder in finders:
        name = _class_of(finder).__name__
        key = _find_key(config, finder)
        if start is not None:
            found = _find_stored(start.stored_config("fit"), key, config[key])
        elif config.trainer.fast_dev_run or config.trainer.barebones:
            rank_zero_info(f"{name} does not search in a run that is no real training")
            continue
        else:
            trial = config.clone()
            trial.trainer.callbacks = [x for x in callbacks if x is finder or issubclass(_class_of(x), WarmStart)]
            rank_zero_info(f"{name} searches {key}")
            found = _search(build(trial))
        changes = start is not None or finder.init_args.get("update_attr", True)
        was = "" if found == config[key] else f", was {config[key]}"
        rank_zero_info(f"{name} found {key}={found}{was if changes else ', which is not taken (update_attr=false)'}")
        if changes:
            config[key] = found
    if finders:
        config.trainer.callbacks = [callback for callback in callbacks if callback not in finders] or None
    return bool(finders)


def _class_of(callback: Namespace) -> type:
    return find_class(callback.class_path) or object


def _find_stored(stored: Any, key: str, default: Any) -> Any:
    for part in key.split("."):
        if not isinstance(stored, dict) or part not in stored:
            return default
        stored = stored[part]
    return stored


def _find_key(config: Namespace, finder: Namespace) -> str:
    """Find the value that a search is for."""
    if issubclass(_class_of(finder), LearningRateFinder):
        name = finder.init_args.attr_name
        keys = [f"model.init_args.{key}" for key in ([name] if name else ["lr", "learning_rate", _RATE])]
    else:
        name = finder.init_args.batch_arg_name
        keys = [f"data.init_args.{name}", "data.init_args.total_batch_size", f"model.init_args.{name}"]
    for key in keys:
        if config.get(key) is not None:
            return key
    raise UsageError(f"{_class_of(finder).__name__} has nothing to search: there is none of {', '.join(keys)}")


def _search(built: Namespace) -> Any:
    """Let a finder search, with classes that are for nothing else."""
    finder = built.trainer.callbacks[-1]
    only_search(finder)
    vars(built.model)["configure_callbacks"] = lambda: []  # reports of the training
    trainer = RunTrainer(**{**built.trainer, **_SEARCHING})
    _end_where_loss_is_not_finite(built.model, trainer)
    lightning = logging.getLogger("lightning.pytorch")
    level = lightning.level
    lightning.setLevel(logging.CRITICAL)  # what it says of each trial reads as if the training were over
    try:
        trainer.fit(built.model, datamodule=built.data)
        rate = getattr(finder, "optimal_lr", None) and finder.optimal_lr.suggestion()
    finally:
        lightning.setLevel(level)
    garbage_collection_cuda()
    if isinstance(finder, BatchSizeFinder):
        return finder.optimal_batch_size
    if rate is None:
        raise UsageError(
            "LearningRateFinder found no learning rate: it ended after too few, where the loss had risen. Take more "
            "(num_training_steps), a smaller range (min_lr, max_lr), or a higher early_stop_threshold"
        )
    return rate


def _end_where_loss_is_not_finite(model: LightningModule, trainer: RunTrainer) -> None:
    step = model.training_step
    vars(model)["asks_at_once"] = True

    def training_step(*args: Any, **kwargs: Any) -> Tensor | Any:
        try:
            return step(*args, **kwargs)
        except TrainingError:  # a rate was too high
            trainer.should_stop = True
            return torch.full((), torch.nan, device=model.device, requires_grad=True)

    vars(model)["training_step"] = training_step
