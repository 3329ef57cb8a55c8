"""Networks made of a stored configuration, and of the weights that come with this project."""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from torch import nn

from acda.models.weight_files import find_pretrained, read_weight_file
from acda.models.weights import find_differences

_OWN, _TORCH = "acda.", "torch.nn."
_SHOWN = 10


def pretrained(name: str) -> nn.Module:
    """Make a network with the weights that come with this project under a name.

    Networks that restore take RGB images ``[N, 3, H, W]`` in [0, 1], those for grey ones ``[N, 1, H, W]``, and give
    restored ones, which may leave [0, 1] a little; see ``weights/README.md`` for each. The files are looked for in
    ``weights/`` of the repository, or in the folder that the environment variable ``ACDA_WEIGHTS`` names.

    Args:
        name: Such as ``"denoise_real"``.

    Returns:
        The network, in evaluation mode, on the CPU.

    Raises:
        ValueError: If there are no such weights (lists those there are), or the file is damaged or does not fit.
    """
    path = find_pretrained(name)
    file = read_weight_file(path)
    try:
        network = build_network(file.network_config)
    except ValueError as error:
        raise ValueError(f"the network in weights '{path}' cannot be made: {error}") from error
    differences = find_differences(network, file.tensors)
    lines = [
        f"  {kind}: {', '.join(sorted(keys)[:_SHOWN])}{' …' if len(keys) > _SHOWN else ''}"
        for kind, keys in differences.items()
        if keys
    ]
    if lines:
        raise ValueError("\n".join([f"weights '{path}' do not fit {type(network).__name__}", *lines]))
    network.load_state_dict(file.tensors, strict=False)  # what is filled in may be missing
    return network.eval()


def build_network(config: Any) -> nn.Module:
    """Make a network of a configuration that others may have written.

    Only networks and layers of ``acda`` and ``torch.nn`` are made; nothing else is imported or called.

    Args:
        config: ``class_path`` and perhaps ``init_args``, or the ``class_path`` alone. Arguments that are networks or
            layers, or make such, have the same form.

    Returns:
        The network.

    Raises:
        ValueError: If it names anything else, or its arguments are refused.
    """
    make, arguments = _parse(config)
    try:
        made = make(**arguments)
    except TypeError as error:
        raise ValueError(str(error)) from error
    if not isinstance(made, nn.Module):
        raise ValueError(f"{config!r} is no network")
    return made


def _parse(config: Any) -> tuple[Callable[..., Any], dict[str, Any]]:
    """Find what is to be called, and its arguments."""
    path = config.get("class_path") if isinstance(config, Mapping) else config
    given = (config.get("init_args") or {}) if isinstance(config, Mapping) else {}
    if not isinstance(path, str) or not isinstance(given, Mapping):
        raise ValueError(f"expected class_path and init_args, got {config!r}")
    make = _find(path)
    hints = _hints(make)
    return make, {name: _build_argument(value, hints.get(name)) for name, value in given.items()}


def _build_argument(value: Any, hint: Any) -> Any:
    """Make what an argument stands for: a module where one is wanted, else what makes one, else the value itself."""
    named = isinstance(value, Mapping) and "class_path" in value
    makes = isinstance(value, str) and value.startswith((_OWN, _TORCH))
    if not named and not makes:
        return value
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)  # of a callable it is not the result
    if any(inspect.isclass(kind) and issubclass(kind, nn.Module) for kind in kinds):
        return build_network(value)
    make, arguments = _parse(value)
    return partial(make, **arguments) if arguments else make


def _find(path: str) -> Callable[..., Any]:
    module, _, name = path.rpartition(".")
    if not path.startswith((_OWN, _TORCH)):
        raise ValueError(f"{path} is no network or layer of acda or torch.nn; it was not imported")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"there is no {path}") from error
    home = f"{getattr(found, '__module__', '')}."
    is_layer = inspect.isclass(found) and issubclass(found, nn.Module) and home.startswith((_OWN, _TORCH))
    makes_network = inspect.isfunction(found) and home.startswith("acda.models.") and _gives_module(found)
    if not is_layer and not makes_network:
        raise ValueError(f"{path} is no network or layer of acda or torch.nn; it was not called")
    made: Callable[..., Any] = found
    return made


def _gives_module(function: Callable[..., Any]) -> bool:
    if function.__module__ == __name__:  # which would read files
        return False
    given = get_type_hints(function).get("return")
    return inspect.isclass(given) and issubclass(given, nn.Module)


def _hints(make: Callable[..., Any]) -> dict[str, Any]:
    """Give the types of arguments, those that are handed to base classes among them."""
    makers = [vars(base).get("__init__") for base in reversed(make.__mro__)] if inspect.isclass(make) else [make]
    hints: dict[str, Any] = {}
    for maker in makers:
        try:
            hints |= get_type_hints(maker)
        except (NameError, TypeError):
            continue
    return hints
