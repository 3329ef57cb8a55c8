"""Which checkpoint is meant, what it holds, and whether it fits a model."""

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.utilities.model_helpers import is_overridden

from acda.models.weight_files import PREFIX, SUFFIX, find_pretrained
from acda.models.weights import find_differences
from lit_modules.errors import UsageError
from lit_modules.runs import folders
from lit_modules.runs.changed_settings import ChangedSettings
from lit_modules.runs.migration import add_clip_bounds, migrate
from lit_modules.runs.random_state import RandomState
from lit_modules.runs.weight_checkpoints import read_weights_as_checkpoint
from lit_modules.runs.yaml_text import load_yaml

# settings of the machine that trained, which need not be the one that evaluates
_MACHINE = ("accelerator", "devices", "num_nodes", "strategy", "plugins")


class Checkpoint:
    """The checkpoint that a run starts from.

    Args:
        path: The file.
        trusted: Whether pickled objects in it may run code (``--weights_only=false``).

    Raises:
        UsageError: If the file is damaged or not a checkpoint.

    Attributes:
        step: After which its weights are; None if it does not say.
        epoch: That they are from, counted from 0; likewise.
    """

    def __init__(self, path: Path, trusted: bool = False) -> None:
        self.path = path
        self._content = read_checkpoint(path, trusted)
        self.step, self.epoch = (_read_count(self._content.get(key)) for key in ("global_step", "epoch"))

    def close(self) -> None:
        """Let go of the file."""
        self._content = {}

    def stored_config(self, subcommand: str) -> dict[str, Any]:
        """Give the configuration of the training that made it, without what concerns only that training.

        Weights saved alone hold no configuration, but there is one in the run folder.

        Args:
            subcommand: What it is for.

        Returns:
            The configuration as a dictionary.

        Raises:
            UsageError: If there is none.
        """
        run = folders.find_run_of(self.path)
        try:
            config = _read_config(self._content.get("config"))
            if not config and run is not None:
                config = _read_config((run / folders.CONFIG).read_text())
        except UsageError as error:
            raise UsageError(f"the configuration stored in {self.path}: {error}") from error
        if not config:
            raise UsageError(f"{self.path} holds no configuration and there is none beside it: name one with --config")
        add_clip_bounds(config, self._content)
        for key in ("ckpt_path", "weights_only", "log_level"):
            config.pop(key, None)
        for key in ("default_root_dir", *(_MACHINE if subcommand != "fit" else ())):
            config["trainer"].pop(key, None)
        return config

    def describe_weights(self) -> str:
        """Say which weights it holds: ``weights after step 8``, or moving averages of them."""
        kind = "moving averages of the weights" if "averaging_state" in self._content else "weights"
        return kind if self.step is None else f"{kind} after step {self.step}"

    def check_fit(self, model: LightningModule, config: Mapping[str, Any]) -> None:
        """Make sure that the weights are those of a model, before data are read.

        A model that is built later, or changes what it loads, is left to Lightning to check.

        Args:
            model: The model.
            config: The model's configuration.

        Raises:
            UsageError: If keys or shapes differ; it names them, ten of a kind.
        """
        if is_overridden("configure_model", model) or is_overridden("on_load_checkpoint", model):
            return
        differences = _compare(model, self._content["state_dict"])
        lines = [
            f"  {kind}: {', '.join(sorted(keys)[:10])}{' …' if len(keys) > 10 else ''}"
            for kind, keys in differences.items()
            if keys
        ]
        if lines:
            made = self._own_config()
            saved = _describe(made["model"]) if made else "an unknown model"
            head = f"the weights in {self.path}, of {saved}, do not fit {_describe(config)}"
            raise UsageError("\n".join([head, *lines]))

    def resuming_callbacks(self, config: Mapping[str, Any]) -> list[Callback]:
        """Make what a training needs that goes on from it.

        Args:
            config: The configuration it goes on with, which may be another one.

        Raises:
            UsageError: If it cannot go on with that one.
        """
        if "optimizer_states" not in self._content:
            raise UsageError(
                f"{self.path} holds weights alone, from which no training can go on; to begin one with them: "
                f"--trainer.callbacks+=WarmStart --trainer.callbacks.weights={self.path}"
            )
        old = self._own_config()
        if not old:
            return [RandomState()]
        same_seed = old["seed_everything"] == config["seed_everything"]
        return [RandomState(same_seed), ChangedSettings(old["model"], config["model"])]

    def _own_config(self) -> dict[str, Any]:
        """Give the configuration that stands in it; empty if there is none."""
        try:
            return _read_config(self._content.get("config"))
        except UsageError:
            return {}


def find_checkpoint(name: str, root: Path, subcommand: str) -> Path:
    """Find the file that ``--ckpt_path`` means.

    Args:
        name: ``last`` or ``best`` (of the newest run in ``root`` that has checkpoints), a file, a run folder
            (its last checkpoint for ``fit``, else its best), or ``pretrained:NAME`` for weights of the project's.
        root: The experiment's folder, ``trainer.default_root_dir``.
        subcommand: The subcommand.

    Returns:
        An existing file.

    Raises:
        UsageError: If there is none.
    """
    if name in ("last", "best"):
        run = folders.find_newest_run(root)
        if run is None:
            raise UsageError(f"--ckpt_path {name}: no checkpoint found in {root} nor in a run folder in it")
        return find_best_checkpoint(run) if name == "best" else folders.list_checkpoints(run)[0]
    if name.startswith(PREFIX):
        try:
            return find_pretrained(name)
        except ValueError as error:
            raise UsageError(f"--ckpt_path {error}") from error
    path = Path(name)
    if path.is_dir():
        run = folders.find_newest_run(path)
        if run is None:
            raise UsageError(f"--ckpt_path {name}: no checkpoint found in this folder")
        return folders.list_checkpoints(run)[0] if subcommand == "fit" else find_best_checkpoint(run)
    if not path.is_file():
        raise UsageError(
            f"--ckpt_path {name}: no such file (name best, last, a file, a run folder, or pretrained:NAME)"
        )
    return path


def find_best_checkpoint(run: Path) -> Path:
    """Find the best checkpoint of a run, as its ``ModelCheckpoint`` remembers it; by name, so the run may be moved.

    Args:
        run: A run folder that has checkpoints.

    Returns:
        An existing file.

    Raises:
        UsageError: If no best one was kept.
    """
    newest = folders.list_checkpoints(run)[0]
    states = read_checkpoint(newest).get("callbacks", {})
    # a user's further ModelCheckpoint comes second
    paths = {name: state["best_model_path"] for name, state in states.items() if "best_model_path" in state}
    best = paths[min(paths, key=lambda name: not name.startswith("RunCheckpoint"))] if paths else ""
    path = run / "checkpoints" / Path(best).name
    if not best or not path.is_file():
        missing = Path(best).name or "none was kept"
        raise UsageError(f"{run} holds no best checkpoint ({missing}); name another one, such as --ckpt_path {newest}")
    return path


def read_checkpoint(path: Path, trusted: bool = False) -> dict[str, Any]:
    """Read a checkpoint; its tensors stay on disk until they are used.

    Args:
        path: The file.
        trusted: Whether pickled objects in it may run code.

    Returns:
        What Lightning saved, with at least ``state_dict``.

    Raises:
        UsageError: If the file is damaged or not a checkpoint.
    """
    if path.suffix == SUFFIX:
        return read_weights_as_checkpoint(path)
    try:
        checkpoint = torch.load(path, map_location="cpu", mmap=zipfile.is_zipfile(path), weights_only=not trusted)
    except Exception as error:  # a damaged file may raise anything
        if isinstance(error, pickle.UnpicklingError) and "Unsupported global" in str(error):
            message = "holds pickled objects; if you trust who made it, add --weights_only=false"
        else:
            message = "cannot be read: it is cut off, damaged, or no checkpoint"
        raise UsageError(f"{path} {message}") from error
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get("state_dict"), Mapping):
        raise UsageError(f"{path} is not a checkpoint of a training: it has no 'state_dict'")
    return checkpoint


def _read_config(text: object) -> dict[str, Any]:
    """Read a stored configuration; empty if it is none, for other programs keep something else in its place."""
    config = load_yaml(text) if isinstance(text, str) else None
    if not isinstance(config, dict) or "seed_everything" not in config:
        return {}
    valid = all(isinstance(config.get(key), dict) for key in ("model", "trainer"))
    return migrate(config) if valid else {}


def _read_count(value: object) -> int | None:
    """Read a number of steps or epochs; None if it is none, for other programs keep something else in its place."""
    return value if isinstance(value, int) and value >= 0 else None


def _compare(model: LightningModule, weights: Mapping[str, Any]) -> dict[str, list[str]]:
    """Find the weights that a model and a checkpoint do not have in common, by the kind of difference."""
    found = find_differences(model, weights)
    return found if model.strict_loading else {"other shape": found["other shape"]}


def _describe(config: Mapping[str, Any]) -> str:
    """Name a configured class and those it is built from: ``ClassificationTask(net=LeNet)``."""
    name = str(config.get("class_path")).rpartition(".")[2]
    args = config.get("init_args") or {}
    parts = [f"{key}={_describe(x)}" for key, x in args.items() if isinstance(x, Mapping) and "class_path" in x]
    return f"{name}({', '.join(parts)})" if parts else name
