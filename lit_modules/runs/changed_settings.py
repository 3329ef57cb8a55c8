"""Resuming with other settings: what the user writes wins over what the checkpoint remembers."""

from collections.abc import Iterator, Mapping
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from lit_modules.errors import UsageError


class ChangedSettings(Callback):
    """Apply changed settings of optimizer and schedule after Lightning restored the old ones with their state.

    Momenta and the position in the schedule are kept; a new learning rate scales what the schedule made of the old.

    Args:
        old: Configuration of the model that the checkpoint was made with.
        new: The user's configuration of the model.

    Raises:
        UsageError: If the class of an optimizer or schedule changed: its state would mean nothing to another one.
    """

    def __init__(self, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
        self.changes = dict(_differences(old.get("init_args") or {}, new.get("init_args") or {}))
        for path, (before, after) in self.changes.items():
            if path[-1] == "class_path" and _is_optimisation(path):
                raise UsageError(
                    f"cannot resume with {after}: the checkpoint holds the state of {before}"
                    "\nKeep to that one, or start a new training"
                )

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Apply the changes."""
        schedulers = [config.scheduler for config in trainer.lr_scheduler_configs]
        groups = [group for optimizer in trainer.optimizers for group in optimizer.param_groups]
        for path, (before, after) in self.changes.items():
            name = path[-1]
            if name == "lr" and before and after:
                _scale_rates(groups, schedulers, after / before)
            elif "lr_scheduler" in path and all(hasattr(scheduler, name) for scheduler in schedulers):
                for scheduler in schedulers:
                    setattr(scheduler, name, after)
            elif "optimizer" in path and all(name in group for group in groups):
                for group in groups:
                    group[name] = after
            elif _is_optimisation(path):
                rank_zero_warn(f"Resuming keeps {'.'.join(path)} = {before} of the checkpoint")
                continue
            else:
                continue
            rank_zero_info(f"Resuming with {'.'.join(path)} = {after}, was {before}")


def _scale_rates(groups: list[dict[str, Any]], schedulers: list[Any], factor: float) -> None:
    for group in groups:
        for key in {"lr", "initial_lr"} & group.keys():
            group[key] *= factor
    for scheduler in schedulers:
        if hasattr(scheduler, "base_lrs"):
            scheduler.base_lrs = [rate * factor for rate in scheduler.base_lrs]


def _is_optimisation(path: tuple[str, ...]) -> bool:
    return "optimizer" in path or "lr_scheduler" in path


def _differences(
    old: Mapping[str, Any], new: Mapping[str, Any], path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], tuple[Any, Any]]]:
    """Find the values that differ; keys that only one of them has belong to different code and are left alone."""
    for key in old.keys() & new.keys():
        before, after = old[key], new[key]
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            yield from _differences(before, after, (*path, key))
        elif before != after:
            yield (*path, key), (before, after)
