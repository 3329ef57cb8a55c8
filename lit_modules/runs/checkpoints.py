"""Which checkpoint is meant, what it holds, and whether it fits a model."""

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.model_helpers import is_overridden

from lit_modules.errors import UsageError
from lit_modules.runs import folders as runs
from lit_modules.runs.yaml_text import load_yaml


def find_checkpoint(name: str, root: Path, subcommand: str) -> Path:
    """Finds the file that ``--ckpt_path`` means.

    Args:
        name: ``last`` or ``best`` (of the newest run in ``root`` that has checkpoints), a file, or a run folder
            (its last checkpoint for ``fit``, else its best).
        root: The experiment's folder, ``trainer.default_root_dir``.
        subcommand: The subcommand.

    Returns:
        An existing file.

    Raises:
        UsageError: If there is none.
    """
    if name in ("last", "best"):
        run = runs.newest_run(root)
        if run is None:
            raise UsageError(f"--ckpt_path {name}: no checkpoint found in {root} nor in a run folder in it")
        return best_checkpoint(run) if name == "best" else runs.checkpoints_of(run)[0]
    path = Path(name)
    if path.is_dir():
        run = runs.newest_run(path)
        if run is None:
            raise UsageError(f"--ckpt_path {name}: no checkpoint found in this folder")
        return runs.checkpoints_of(run)[0] if subcommand == "fit" else best_checkpoint(run)
    if not path.is_file():
        raise UsageError(f"--ckpt_path {name}: no such file (name best, last, a file, or a run folder)")
    return path


def best_checkpoint(run: Path) -> Path:
    """The best checkpoint of a run, as its ``ModelCheckpoint`` remembers it; by file name, so the run may be moved.

    Args:
        run: A run folder that has checkpoints.

    Returns:
        An existing file.

    Raises:
        UsageError: If no best one was kept.
    """
    newest = runs.checkpoints_of(run)[0]
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
    """Reads a checkpoint; its tensors stay on disk until they are used.

    Args:
        path: The file.
        trusted: Whether pickled objects in it may run code (``--weights_only=false``).

    Returns:
        What Lightning saved, with at least ``state_dict``.

    Raises:
        UsageError: If the file is damaged or not a checkpoint.
    """
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


def stored_config(checkpoint: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The configuration of the training that made a checkpoint.

    Args:
        checkpoint: What the file holds: the configuration stands under ``config``.
        path: The file. Weights saved alone hold no configuration, but there is one in the run folder.

    Returns:
        The configuration as a dictionary.

    Raises:
        UsageError: If there is none.
    """
    run = runs.run_of(path)
    try:
        config = _configuration(checkpoint.get("config"))
        if not config and run is not None:
            config = _configuration((run / runs.CONFIG).read_text())
    except UsageError as error:
        raise UsageError(f"the configuration stored in {path}: {error}") from error
    if not config:
        raise UsageError(f"{path} holds no configuration and there is none beside it: name one with --config")
    return config


def describe_weights(checkpoint: Mapping[str, Any]) -> str:
    """Says which weights those in ``state_dict`` are: ``weights after step 8``, or moving averages of them."""
    kind = "moving averages of the weights" if "averaging_state" in checkpoint else "weights"
    return f"{kind} after step {checkpoint['global_step']}" if "global_step" in checkpoint else kind


def config_in(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration that stands in a checkpoint itself; empty if there is none."""
    try:
        return _configuration(checkpoint.get("config"))
    except UsageError:
        return {}


def _configuration(text: object) -> dict[str, Any]:
    """The configuration that a text holds; empty if it holds none, for other programs keep something else there."""
    config = load_yaml(text) if isinstance(text, str) else None
    if not isinstance(config, dict) or "seed_everything" not in config:
        return {}
    return config if all(isinstance(config.get(key), dict) for key in ("model", "trainer")) else {}


def check_fit(model: LightningModule, config: Mapping[str, Any], checkpoint: Mapping[str, Any], path: Path) -> None:
    """Makes sure that the weights in a checkpoint are those of a model, before data are read.

    A model that is built later, or changes what it loads, is left to Lightning to check.

    Args:
        model: The model.
        config: The model's configuration.
        checkpoint: What the file holds.
        path: The file.

    Raises:
        UsageError: If keys or shapes differ; it names them, ten of a kind.
    """
    if is_overridden("configure_model", model) or is_overridden("on_load_checkpoint", model):
        return
    ours = {key: list(getattr(value, "shape", [])) for key, value in model.state_dict().items()}
    theirs = {key: list(getattr(value, "shape", [])) for key, value in checkpoint["state_dict"].items()}
    shapes = [
        f"{key} {theirs[key]} instead of {ours[key]}" for key in ours.keys() & theirs.keys() if ours[key] != theirs[key]
    ]
    missing, unexpected = ours.keys() - theirs.keys(), theirs.keys() - ours.keys()
    if not model.strict_loading:
        missing, unexpected = set(), set()
    differences = {"missing in it": missing, "not in the model": unexpected, "other shape": shapes}
    lines = [
        f"  {kind}: {', '.join(sorted(keys)[:10])}{' …' if len(keys) > 10 else ''}"
        for kind, keys in differences.items()
        if keys
    ]
    if lines:
        made = config_in(checkpoint)
        saved = describe(made["model"]) if made else "an unknown model"
        head = f"the weights in {path}, of {saved}, do not fit {describe(config)}"
        raise UsageError("\n".join([head, *lines]))


def describe(config: Mapping[str, Any]) -> str:
    """Names a configured class and those it is built from: ``ClassificationTask(net=LeNet)``."""
    name = str(config.get("class_path")).rpartition(".")[2]
    args = config.get("init_args") or {}
    parts = [f"{key}={describe(x)}" for key, x in args.items() if isinstance(x, Mapping) and "class_path" in x]
    return f"{name}({', '.join(parts)})" if parts else name
