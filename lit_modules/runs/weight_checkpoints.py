"""Files of weights with their configuration: taken for checkpoints of a training, and made of such."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from acda.models.weight_files import encode_weights, read_weight_file
from lit_modules.errors import UsageError
from lit_modules.runs.hyper_parameters import defaults_of

_NETWORK = "network."
_OWN = ("acda.", "datamodules.", "lit_modules.")
_OF_THE_MACHINE = ("predict_dir", "cache_dir", "max_pixels")  # arguments of data modules


def read_weights_as_checkpoint(path: Path) -> dict[str, Any]:
    """Read a file of weights, see :class:`acda.models.weight_files.WeightFile`.

    Args:
        path: The file.

    Returns:
        What a checkpoint of a task with these weights in its ``network`` holds, and the configuration as YAML. It has
        no state of an optimizer: no training can go on from it.

    Raises:
        UsageError: If it is missing, damaged, or has no configuration; names it.
    """
    try:
        file = read_weight_file(path)
    except ValueError as error:
        raise UsageError(str(error)) from error
    config = {"seed_everything": 0, "trainer": {}, **file.config}
    return {
        "state_dict": {_NETWORK + name: value for name, value in file.tensors.items()},
        "config": yaml.safe_dump(config, sort_keys=False, allow_unicode=True),
        "global_step": file.facts.get("step"),
        "epoch": file.facts.get("epoch"),
    }


def pack_weights(
    checkpoint: Mapping[str, Any],
    config: Mapping[str, Any],
    facts: Mapping[str, Any],
    *,
    half: bool,
    model: Mapping[str, Any] | None = None,
    data: Mapping[str, Any] | None = None,
) -> bytes:
    """Make the content of a file of weights from a checkpoint.

    Of the configuration task and data are kept. Arguments of other packages' classes that are left at their defaults
    are not, for another version need not know them.

    Args:
        checkpoint: As saved by a training.
        config: Its configuration.
        facts: What else a reader wants to know; step and epoch are added.
        half: See :func:`acda.models.weight_files.encode_weights`.
        model: Arguments of the task to be stored in place of those of the training, such as names of classes.
        data: Arguments of the data module, likewise, such as its folder.

    Returns:
        The content.

    Raises:
        UsageError: If the task has weights beside those of its network, which the file does not hold.
    """
    state = checkpoint["state_dict"]
    others = [name for name in state if not name.startswith(_NETWORK)]
    if others:
        raise UsageError(f"a file of weights holds those of the network alone; the task also has {', '.join(others)}")
    kept = {"seed_everything": config["seed_everything"]}
    for key, changes in (("model", model), ("data", data)):
        part = _trim(config[key])
        arguments = {
            name: value for name, value in (part.get("init_args") or {}).items() if name not in _OF_THE_MACHINE
        }
        kept[key] = {**part, "init_args": {**arguments, **(changes or {})}}
    facts = {**facts, "step": checkpoint.get("global_step"), "epoch": checkpoint.get("epoch")}
    tensors = {name.removeprefix(_NETWORK): value for name, value in state.items()}
    return encode_weights(tensors, kept, facts, half)


def _trim(config: Any) -> Any:
    """Leave out arguments of classes that are not this project's where they have their defaults."""
    if isinstance(config, list):
        return [_trim(value) for value in config]
    if not isinstance(config, Mapping):
        return config
    trimmed = {key: _trim(value) for key, value in config.items()}
    path, arguments = trimmed.get("class_path"), trimmed.get("init_args")
    if isinstance(path, str) and isinstance(arguments, dict) and not path.startswith(_OWN):
        defaults = defaults_of(path)
        kept = {key: value for key, value in arguments.items() if key not in defaults or value != defaults[key]}
        trimmed = {"class_path": path} | ({"init_args": kept} if kept else {})
    return trimmed
