"""Files of weights that suffice for themselves: tensors in safetensors' format, and their configuration."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

SUFFIX = ".safetensors"
PREFIX = "pretrained:"
"""What a name of weights begins with where files can be named too."""
FOLDER_VARIABLE = "ACDA_WEIGHTS"
"""Of the environment: the folder of the files, where it is not ``weights/`` beside the package ``acda``."""
_FORMAT = "acda weights 1"
_FOUND_NOWHERE = (
    f"they come with the repository, not with the installed package: take its folder weights/ and set {FOLDER_VARIABLE}"
)


@dataclass(frozen=True)
class WeightFile:
    """What a file of weights holds.

    Attributes:
        path: The file.
        tensors: The network's state dict, floating-point ones in single precision.
        config: ``model`` and ``data``, each a ``class_path`` with ``init_args``, and ``seed_everything``, as in the
            configuration of the training; the network is ``model.init_args.network``.
        facts: What a reader wants to know: task, data, licence, step, metrics; values that JSON can hold.
    """

    path: Path
    tensors: dict[str, Tensor]
    config: dict[str, Any]
    facts: dict[str, Any]

    @property
    def network_config(self) -> Any:
        """The network's ``class_path`` and ``init_args``."""
        return self.config["model"]["init_args"]["network"]


def weights_folder() -> Path:
    """Name the folder of the files that come with the project; it need not be there."""
    return Path(os.environ.get(FOLDER_VARIABLE) or Path(__file__).parents[2] / "weights")


def list_pretrained() -> list[str]:
    """List the names of the weights that there are, sorted."""
    return sorted(path.stem for path in weights_folder().glob(f"*{SUFFIX}"))


def find_pretrained(name: str) -> Path:
    """Find the file of a name.

    Args:
        name: The name, as ``denoise_real``; ``pretrained:`` may stand before it.

    Returns:
        An existing file.

    Raises:
        ValueError: If there is none; lists the names that there are, or says where files are looked for.
    """
    name = name.removeprefix(PREFIX)
    names = list_pretrained()
    if name in names:
        return weights_folder() / f"{name}{SUFFIX}"
    if names:
        raise ValueError(f"{PREFIX}{name}: no such weights in {weights_folder()}; there are {', '.join(names)}")
    raise ValueError(f"{PREFIX}{name}: no weights in {weights_folder()}; {_FOUND_NOWHERE}")


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of any safetensors file; nothing in it is executed.

    Args:
        path: The file.

    Returns:
        Tensors by name, as they are stored.

    Raises:
        ValueError: If it is missing, damaged, or no such file; names it.
    """
    return _read(path)[0]


def read_weight_file(path: Path) -> WeightFile:
    """Read a file of weights with its configuration; nothing in it is executed.

    Args:
        path: The file, made of what :func:`encode_weights` gives.

    Returns:
        What it holds.

    Raises:
        ValueError: If it is missing, damaged, or has no configuration; names it.
    """
    tensors, metadata = _read(path)
    if metadata.get("format") != _FORMAT:
        raise ValueError(f"weights '{path}' hold no configuration of this project's")
    if metadata.get("sha256") != _digest(tensors):
        raise ValueError(f"weights '{path}' are damaged: they are not those that were written")
    try:
        config, facts = (json.loads(metadata[key]) for key in ("config", "facts"))
        network = config["model"]["init_args"]["network"]
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"weights '{path}' are damaged: their configuration cannot be read") from error
    if not isinstance(network, dict) or not isinstance(config.get("data"), dict) or not isinstance(facts, dict):
        raise ValueError(f"weights '{path}' are damaged: their configuration names no network and data")
    single = {name: value.float() if value.is_floating_point() else value for name, value in tensors.items()}
    return WeightFile(path, single, config, facts)


def encode_weights(
    tensors: Mapping[str, Tensor], config: Mapping[str, Any], facts: Mapping[str, Any], half: bool
) -> bytes:
    """Make the content of a file of weights.

    Args:
        tensors: The network's state dict.
        config: See :class:`WeightFile`.
        facts: Likewise.
        half: Store tensors of several dimensions in half precision. Those of one (norms' statistics, biases) stay as
            they are: they are few, and their range is wide.

    Returns:
        The content.
    """
    stored = {
        name: (value.detach().cpu().half() if half and value.is_floating_point() and value.dim() > 1 else value.cpu())
        .detach()
        .clone(memory_format=torch.contiguous_format)
        for name, value in tensors.items()
    }
    metadata = {"format": _FORMAT, "config": json.dumps(config), "facts": json.dumps(facts), "sha256": _digest(stored)}
    return save(stored, metadata)


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    if not path.is_file():
        raise ValueError(f"weights '{path}': no such file")
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise ValueError(f"weights '{path}' cannot be read: cut off, damaged, or no {SUFFIX[1:]} file") from error


def _digest(tensors: Mapping[str, Tensor]) -> str:
    """Tell tensors from any others: safetensors itself does not notice a changed value."""
    digest = sha256()
    for name in sorted(tensors):
        value = tensors[name]
        digest.update(f"{name} {value.dtype} {list(value.shape)}\n".encode())
        digest.update(value.contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
