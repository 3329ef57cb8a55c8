"""The hyper-parameters of a run in TensorBoard, few enough to compare runs by."""

import inspect
from collections.abc import Iterator, Mapping
from pkgutil import resolve_name
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from lit_modules.runs.loggers import EventFile

_ALWAYS = ("lr", "batch_size", "total_batch_size")
_MACHINE = ("_dir", "_workers", "backend", "compile_network")  # ends of names: they change no result
_TRAINER: dict[str, Any] = {"max_epochs": None, "max_steps": -1, "precision": "32-true", "accumulate_grad_batches": 1}
_TRAINER |= {"gradient_clip_val": None, "overfit_batches": 0.0, "limit_train_batches": None}
"""Arguments of the trainer that decide what comes out of a training, and their defaults."""


class HyperParameters(Callback):
    """Show hyper-parameters in TensorBoard's tab HPARAMS, and log the best value so far of what checkpoints monitor.

    The latter is ``best/<metric>``, at the step of the weights, after each epoch in which there is a better one.

    Args:
        values: Hyper-parameters by name.
    """

    def __init__(self, values: Mapping[str, bool | float | str]) -> None:
        self.values = dict(values)
        self._best: float | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write the hyper-parameters."""
        for logger in trainer.loggers:
            if isinstance(logger, EventFile) and stage != "predict":
                logger.begin_session(self.values)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the best value up to the last epoch."""
        self._log_best(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the best value."""
        self._log_best(trainer)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write that the run has come to its end."""
        for logger in trainer.loggers:
            if isinstance(logger, EventFile) and stage != "predict":
                logger.end_session()

    def _log_best(self, trainer: Trainer) -> None:
        score = getattr(trainer.checkpoint_callback, "best_model_score", None)
        best = float(score) if isinstance(score, Tensor) else None
        if best is not None and best != self._best:
            self._best = best
            monitor = getattr(trainer.checkpoint_callback, "monitor", None)
            for logger in trainer.loggers:
                logger.log_metrics({f"best/{monitor}": best}, trainer.global_step)


def select_hyper_parameters(config: Mapping[str, Any]) -> dict[str, bool | float | str]:
    """Select what distinguishes a run from others of its kind.

    Of task, network, optimizer, schedule and data set the classes, and those of their arguments that are not left at
    their defaults; the learning rate and the batch size; seed, length and precision of the training.

    Args:
        config: The whole configuration of a run.

    Returns:
        Values by name, such as ``network`` and ``network.conv``.
    """
    found = dict(_flatten("task", config.get("model")))
    found = {key.removeprefix("task."): value for key, value in found.items()}
    found |= _flatten("data", config.get("data"))
    trainer = config.get("trainer") or {}
    found |= {key: trainer[key] for key, usual in _TRAINER.items() if trainer.get(key) not in (None, usual)}
    found["seed"] = config.get("seed_everything")
    return {key: value if isinstance(value, bool | int | float) else str(value) for key, value in found.items()}


def _flatten(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """List a class by its name, and its arguments by dotted ones."""
    if not isinstance(value, Mapping) or "class_path" not in value:
        return
    yield name, value["class_path"].rpartition(".")[2]
    defaults = defaults_of(value["class_path"])
    for key, argument in (value.get("init_args") or {}).items():
        if isinstance(argument, Mapping):
            yield from _flatten(f"{name}.{key}", argument)
        elif key in _ALWAYS or (argument not in (defaults.get(key), None) and not key.endswith(_MACHINE)):
            yield f"{name}.{key}", argument


def defaults_of(class_path: str) -> dict[str, Any]:
    """Give the defaults of a class's or function's arguments, those that it hands to its bases among them.

    Args:
        class_path: Names it.

    Returns:
        Defaults by name, as a configuration has them.
    """
    made = resolve_name(class_path)
    makers = (
        [vars(base)["__init__"] for base in reversed(made.__mro__) if "__init__" in vars(base)]
        if inspect.isclass(made)
        else [made]
    )
    parameters = [p for maker in makers for p in inspect.signature(maker).parameters.values()]
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in defaults.items()}
