"""The configuration in a checkpoint is from whoever made the checkpoint: it may name classes, and run nothing else."""

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Any, get_type_hints

from jsonargparse import Namespace
from lightning.fabric.plugins import CheckpointIO, ClusterEnvironment, Precision
from lightning.pytorch import Callback, LightningDataModule
from lightning.pytorch.accelerators import Accelerator
from lightning.pytorch.loggers import Logger
from lightning.pytorch.plugins import LayerSync
from lightning.pytorch.profilers import Profiler
from lightning.pytorch.strategies import Strategy
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lit_modules.errors import UsageError

KINDS: tuple[type, ...] = (
    *(nn.Module, Optimizer, LRScheduler, LightningDataModule, Callback, Logger, Profiler),
    *(Strategy, Accelerator, Precision, ClusterEnvironment, CheckpointIO, LayerSync),
)
_OWN = ("acda.", "datamodules.", "lit_modules.")


def parse_stored(parse: Callable[[dict[str, Any]], Namespace], config: dict[str, Any], source: object) -> Namespace:
    """Parse a configuration that the user did not write.

    jsonargparse calls any function that stands under ``class_path`` where a callable is expected. Here what is named
    must be a network, an optimizer, a callback or another kind of class that a configuration is made of, or belong to
    this project. It is looked at before, and again after, for texts in it may hold YAML.

    Args:
        parse: Parses it; it may import what is named, but not call it.
        config: The configuration.
        source: Where it is from, for messages.

    Returns:
        The parsed configuration.

    Raises:
        UsageError: If it names anything else, or does not fit the arguments.
    """
    try:
        _check(config)
        parsed = parse(config)
        _check(parsed.as_dict())
    except UsageError as error:
        raise UsageError(f"the configuration stored in {source}: {error}") from error
    return parsed


def _check(config: dict[str, Any]) -> None:
    for named in _find_named(config):
        if not _is_allowed(named):
            name = named if isinstance(named, str) else f"{named.__module__}.{getattr(named, '__qualname__', '')}"
            raise UsageError(
                f"{name} is nothing that a configuration is made of, such as a network or a callback; it was not called"
                "\nIf you want it nevertheless, write a configuration of your own and name it with --config"
            )


def _find_named(value: object) -> Iterator[Any]:
    """Yield what stands anywhere under ``class_path``, and classes and functions that were found already."""
    if isinstance(value, Mapping):
        if isinstance(value.get("class_path"), str):
            yield value["class_path"]
        for part in value.values():
            yield from _find_named(part)
    elif isinstance(value, list | tuple | set):
        for part in value:
            yield from _find_named(part)
    elif callable(value):
        yield value


def _is_allowed(named: Any) -> bool:
    if isinstance(named, str):
        if "." not in named:
            return True  # jsonargparse finds it among the classes of the kind that its place asks for, or not at all
        if named.partition(".")[0] in sys.stdlib_module_names:
            return False  # not even to be imported
        try:
            named = _resolve(named)
        except (ImportError, AttributeError):
            return True  # jsonargparse says it better
    if inspect.isclass(named) and issubclass(named, KINDS):
        return True
    return (inspect.isclass(named) or inspect.isfunction(named)) and f"{named.__module__}.".startswith(_OWN)


def find_class(path: str) -> type | None:
    """Find the class that a dotted path names, or that the function which it names makes an object of.

    Args:
        path: What stands under ``class_path``.

    Returns:
        The class; None if there is none.
    """
    try:
        named = _resolve(path)
        cls = named if inspect.isclass(named) else get_type_hints(named).get("return")
    except (ImportError, AttributeError, ValueError, TypeError, NameError):
        return None
    return cls if inspect.isclass(cls) else None


def _resolve(path: str) -> Any:
    module, _, name = path.rpartition(".")
    try:
        return getattr(import_module(module), name)
    except ModuleNotFoundError:
        module, _, outer = module.rpartition(".")
        if not module:
            raise
        return getattr(getattr(import_module(module), outer), name)
