"""Configurations that were written for an earlier layout of this project: what they name is found where it is now.

They stand in files of users, in checkpoints and in run folders, and go on working. A class that moves to another
module, or an argument that gets another name, adds a line to a table here.
"""

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from lightning.pytorch.utilities import rank_zero_info

MOVED = {
    **{f"datamodules.{module}": "datamodules" for module in (
        *("cifar", "digits", "imagenet", "realsr", "sample_photos", "shanghaitech", "sidd", "synthetic_crowd"),
        *("textures", "ucf_qnrf"),
    )},
    **{f"lit_modules.{module}": "lit_modules" for module in (
        "classification", "counting", "pattern", "restoration", "variational",
    )},
    "datamodules.imagenet_streaming": "datamodules.classification.imagenet_streaming",
    "lit_modules.cli.checkpoint_file": "lit_modules.runs.checkpoint_file",
    "lit_modules.cli.loggers": "lit_modules.runs.loggers",
    "lit_modules.cli.progress": "lit_modules.runs.progress",
}  # fmt: skip
"""Modules of earlier layouts whose classes a configuration can name, and where these are now."""
RENAMED = {"CountingTask": {"test_time_flip": "self_ensemble"}}
"""Earlier names of arguments by the class, and those they have now."""
_PATH = re.compile(rf"({'|'.join(map(re.escape, MOVED))})(\.[A-Z]\w*)")


def migrate(config: Any) -> Any:
    """Give a configuration in today's names, and say which ones are not today's.

    Args:
        config: The configuration, or any part of it; it stays as it is.

    Returns:
        A copy.
    """
    if isinstance(config, list):
        return [migrate(value) for value in config]
    if isinstance(config, str) and (moved := _PATH.fullmatch(config)):
        present = MOVED[moved[1]] + moved[2]
        _tell(config, present)
        return present
    if not isinstance(config, dict):
        return config
    config = {key: migrate(value) for key, value in config.items()}
    if isinstance(config.get("init_args"), dict):
        config["init_args"] = _rename(config.get("class_path"), config["init_args"])
    return config


def present_name(key: str) -> str:
    """Give the name that an argument has now, of any class; the key itself where it was never renamed."""
    above, dot, name = key.rpartition(".")
    return above + dot + next((pairs[name] for pairs in RENAMED.values() if name in pairs), name)


def _rename(class_path: object, arguments: dict[Any, Any]) -> dict[Any, Any]:
    """Rename arguments of a class; of any where a file leaves it to another one to say which."""
    name = str(class_path).rpartition(".")[2]
    renamed = dict(arguments)
    for pairs in (pairs for cls, pairs in RENAMED.items() if class_path is None or cls == name):
        for old, new in pairs.items():
            if old in renamed and new not in renamed:
                _tell(old, new)
                renamed[new] = renamed.pop(old)
    return renamed


@cache  # a file is read more than once
def _tell(old: str, new: str) -> None:
    rank_zero_info(f"{old} in a configuration is now {new}")


def add_clip_bounds(config: dict[str, Any], checkpoint: Mapping[str, Any]) -> None:
    """Add ``ClipBounds`` to a training's configuration if it had them without a word about them there.

    They once were a part of the task for variational denoising. Going on without them would be another training.

    Args:
        config: The stored configuration, which is changed.
        checkpoint: The checkpoint; its ``callbacks`` hold the bounds.
    """
    states = checkpoint.get("callbacks")
    given = config["trainer"].get("callbacks") or []
    callbacks = given if isinstance(given, list) else [given]
    named = (str(callback.get("class_path") if isinstance(callback, dict) else callback) for callback in callbacks)
    had_bounds = isinstance(states, Mapping) and any(str(key).startswith("ClipBounds") for key in states)
    if had_bounds and not any(name.rpartition(".")[2] == "ClipBounds" for name in named):
        config["trainer"]["callbacks"] = [*callbacks, {"class_path": "lit_modules.callbacks.ClipBounds"}]
