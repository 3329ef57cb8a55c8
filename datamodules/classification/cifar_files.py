"""The files of CIFAR-10 and CIFAR-100 as published for Python, checked by their structure."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from datamodules.errors import DataError
from datamodules.types import Indices, Pixels

_PIXELS = 3 * 32 * 32
_ARRAY_PARTS = {"_reconstruct", "ndarray", "dtype", "_frombuffer", "scalar"}  # what a pickled array is rebuilt with


class _ArrayUnpickler(pickle.Unpickler):
    """Reads arrays and plain values only: a pickle from elsewhere could otherwise run any program."""

    def find_class(self, module: str, name: str) -> Any:
        """Look up what a pickle refers to."""
        of_arrays = module.split(".")[0] == "numpy" and name in _ARRAY_PARTS
        if of_arrays or (module, name) == ("_codecs", "encode"):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it refers to {module}.{name}")


def read_images(path: Path, label_key: str, num_classes: int) -> tuple[Pixels, Indices]:
    """Read a file of images.

    It is a pickled dictionary with ``data``, uint8 ``[n, 3072]`` (red, green, then blue, each row by row), and a list
    of ``n`` labels.

    Args:
        path: The file.
        label_key: Key of the labels: ``labels`` or ``fine_labels``.
        num_classes: Labels are from 0 to ``num_classes − 1``.

    Returns:
        Images, uint8 ``[n, 32, 32, 3]``, and labels, int64 ``[n]``.

    Raises:
        DataError: If the file is damaged; names the file, what is wrong and the remedy.
    """
    content = _read(path)
    data, labels = (_entry(path, content, key) for key in ("data", label_key))
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != _PIXELS:
        found = f"{data.dtype} {list(data.shape)}" if isinstance(data, np.ndarray) else type(data).__name__
        raise _damaged(path, f"'data' is {found} instead of uint8 [n, {_PIXELS}]")
    if not isinstance(labels, list) or len(labels) != len(data) or not labels:
        found = f"{len(labels)} entries" if isinstance(labels, list) else type(labels).__name__
        raise _damaged(path, f"'{label_key}' is {found} instead of a list of one label for each of {len(data)} images")
    if not all(isinstance(label, int) and 0 <= label < num_classes for label in labels):
        raise _damaged(path, f"'{label_key}' has entries other than the integers 0 to {num_classes - 1}")
    images = data.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), np.array(labels, np.int64)


def read_names(path: Path, names_key: str, num_classes: int) -> list[str]:
    """Read the names of the classes.

    Args:
        path: The file: a pickled dictionary with a list of names.
        names_key: Key of the names: ``label_names`` or ``fine_label_names``.
        num_classes: How many there must be.

    Returns:
        Names by class index.

    Raises:
        DataError: If the file is damaged; names the file, what is wrong and the remedy.
    """
    names = _entry(path, _read(path), names_key)
    if not isinstance(names, list) or len(names) != num_classes:
        raise _damaged(path, f"'{names_key}' is not a list of {num_classes} names")
    return [_text(name) for name in names]


def _read(path: Path) -> dict[str, Any]:
    """Read a dictionary pickled by Python 2 (whose texts are bytes here) or 3."""
    try:
        with path.open("rb") as file:
            content = _ArrayUnpickler(file, encoding="bytes").load()
    except Exception as error:  # a damaged pickle may raise any of them
        raise _damaged(path, f"it cannot be read ({error})") from error
    if not isinstance(content, dict):
        raise _damaged(path, f"it holds {type(content).__name__} instead of a dictionary")
    return {_text(key): value for key, value in content.items()}


def _entry(path: Path, content: dict[str, Any], key: str) -> Any:
    if key not in content:
        raise _damaged(path, f"it has no '{key}'")
    return content[key]


def _text(value: Any) -> str:
    return value.decode("latin1") if isinstance(value, bytes) else str(value)


def _damaged(path: Path, what: str) -> DataError:
    return DataError(
        f"'{path}' is damaged: {what}. Delete the file and download it again: --data.init_args.download=true."
    )
