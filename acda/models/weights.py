"""Starts a network from the weights of another: checkpoints of ours, or a state dict as it is."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from acda.models.weight_files import PREFIX, SUFFIX, find_pretrained, read_tensors

_SHOWN = 10


@dataclass(frozen=True)
class LoadReport:
    """What became of each key.

    Attributes:
        source: Where the weights are from.
        loaded: The network's keys that were loaded.
        kept: The network's keys that the weights do not have; they stay as they were.
        mismatched: The network's keys, with both shapes, that the weights have in another shape; they stay too.
        unused: Keys of the weights that the network does not have.
    """

    source: str
    loaded: tuple[str, ...]
    kept: tuple[str, ...]
    mismatched: tuple[str, ...]
    unused: tuple[str, ...]

    def __str__(self) -> str:
        total = len(self.loaded) + len(self.kept) + len(self.mismatched)
        lines = [f"{self.source}: loaded {len(self.loaded)} of the network's {total} tensors"]
        rest = {"kept as they were": self.kept, "kept, other shape": self.mismatched, "not used": self.unused}
        for title, keys in rest.items():
            if keys:
                more = f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
                lines.append(f"  {title}: {', '.join(keys[:_SHOWN])}{more}")
        return "\n".join(lines)


def load_weights(network: nn.Module, path: str | Path) -> LoadReport:
    """Load what fits of a file's weights into a network, or into a part of it.

    Prefixes such as ``network.`` (a task's checkpoint), ``module.`` or the name of a backbone are found by trying: of
    all ways to leave out the beginning of the file's names and to set a part's name before them, that by which most
    tensors agree in name and shape is taken. A feature extractor so takes a classifier's checkpoint, a counter with a
    ``backbone`` too.

    Args:
        network: Takes the weights, in place.
        path: A checkpoint with a ``state_dict``, a state dict, a safetensors file, or ``pretrained:NAME`` for weights
            that come with this project, see :func:`acda.models.pretrained`. Nothing in it is executed.

    Returns:
        What was loaded and what was not.

    Raises:
        ValueError: If the file is missing, is not a state dict, or nothing in it fits.
    """
    ours = network.state_dict()
    theirs = _read(path)
    place = _best_place(ours, theirs)  # our name → theirs
    fits = {key: name for key, name in place.items() if ours[key].shape == theirs[name].shape}
    if not any(ours[key].numel() > 1 for key in fits):  # counters of batches fit everywhere
        raise ValueError(
            f"weights '{path}' fit nothing in {type(network).__name__}: they hold {_few(theirs)}, it has {_few(ours)}"
        )
    network.load_state_dict({key: theirs[name] for key, name in fits.items()}, strict=False)
    return LoadReport(
        str(path),
        loaded=tuple(fits),
        kept=tuple(key for key in ours if key not in place and not is_filled_in(network, key)),
        mismatched=tuple(
            f"{key} {list(theirs[name].shape)} for {list(ours[key].shape)}"
            for key, name in place.items()
            if key not in fits
        ),
        unused=tuple(name for name in theirs if name not in place.values()),
    )


def is_filled_in(network: nn.Module, key: str) -> bool:
    """Tell whether a network computes one of its tensors where a state dict that it loads lacks it.

    Args:
        network: The network.
        key: Name of the tensor in its state dict.

    Returns:
        Whether its layer says so, see :attr:`acda.layers.adaptive_convolution.AdaptiveConvolution.filled_in`.
    """
    owner, _, name = key.rpartition(".")
    return name in getattr(network.get_submodule(owner), "filled_in", ())


def _best_place(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> dict[str, str]:
    """Which of their names each of ours stands for, by the choice of prefixes that fits most tensors."""
    best: dict[str, str] = {}
    most = 0
    for left_out in _prefixes(theirs):
        names = {name.removeprefix(left_out): name for name in theirs if name.startswith(left_out)}
        for part in _prefixes(ours):
            place = {part + end: name for end, name in names.items() if part + end in ours}
            fitting = sum(ours[key].shape == theirs[name].shape for key, name in place.items())
            if fitting > most:
                best, most = place, fitting
    return best


def find_differences(network: nn.Module, weights: Mapping[str, object]) -> dict[str, list[str]]:
    """Find what a network and a state dict do not have in common.

    Args:
        network: The network.
        weights: The state dict.

    Returns:
        Names of tensors by the kind of difference: missing in the weights, not in the model, of another shape. What
        the network computes itself is not missing.
    """
    ours = {key: list(getattr(value, "shape", [])) for key, value in network.state_dict().items()}
    theirs = {key: list(getattr(value, "shape", [])) for key, value in weights.items()}
    return {
        "missing in it": [key for key in ours if key not in theirs and not is_filled_in(network, key)],
        "not in the model": [key for key in theirs if key not in ours],
        "other shape": [
            f"{key} {theirs[key]} instead of {ours[key]}"
            for key in ours.keys() & theirs.keys()
            if ours[key] != theirs[key]
        ],
    }


def _read(source: str | Path) -> Mapping[str, Tensor]:
    path = find_pretrained(str(source)) if str(source).startswith(PREFIX) else Path(source)
    if path.suffix == SUFFIX:
        return read_tensors(path)
    if not path.is_file():
        raise ValueError(f"weights '{path}': no such file")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file may raise anything
        raise ValueError(f"weights '{path}' cannot be read: damaged, or no file of weights") from error
    if isinstance(content, Mapping):
        content = content.get("state_dict", content.get("model", content))
    entries = content.items() if isinstance(content, Mapping) else ()
    tensors = {key: value for key, value in entries if isinstance(key, str) and isinstance(value, Tensor)}
    if not tensors:
        raise ValueError(f"weights '{path}' hold no state dict")
    return tensors


def _prefixes(state: Mapping[str, Tensor]) -> list[str]:
    """Beginnings of names, none of them first: one or two parts, each with its dot."""
    found = {"": None}
    for key in state:
        parts = key.split(".")
        for length in (1, 2):
            if len(parts) > length:
                found[".".join(parts[:length]) + "."] = None
    return list(found)


def _few(state: Mapping[str, Tensor]) -> str:
    keys = list(state)
    return ", ".join(keys[:3]) + (", …" if len(keys) > 3 else "")
