"""Settings that Lightning, PyTorch or a class of the configuration refused: which one, and what is wrong with it."""

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from traceback import walk_tb
from types import FrameType
from typing import Any, NamedTuple

import torch
from lightning.fabric.plugins import Precision
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.accelerators import Accelerator
from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.profilers import Profiler
from lightning.pytorch.strategies import Strategy
from torch import Tensor, nn

from lit_modules.cli.trust import find_class
from lit_modules.runs import RunCheckpoint

_REFUSING = (ValueError, TypeError, MisconfigurationException)
_FAILING = (*_REFUSING, RuntimeError, ArithmeticError, AssertionError, ImportError)  # of a library, given odd values
_ANY = (*_FAILING, AttributeError, LookupError)
_LIBRARIES = ("lightning", "lightning_utilities", "torch", "torchmetrics", "jsonargparse")
_AROUND = ("cli", "lit_modules.cli", "lit_modules.runs", "lit_modules.lightning_private")  # the libraries' callers
_DEVICE = re.compile(r"cuda|cudnn|cublas|nccl|mps|hip|triton", re.IGNORECASE)  # what it says of a fault of its own
_COMPILER = ("torch._dynamo", "torch._inductor")
_MADE = {Strategy: "strategy", Accelerator: "accelerator", Precision: "precision", Profiler: "profiler"}
_LONGEST = 320
_SEE = " (ACDA_DEBUG=1 shows where it was raised)"


class Named(NamedTuple):
    """A class that a configuration names.

    Attributes:
        key: Where, such as ``trainer.callbacks[0]``.
        cls: The class.
        arguments: Those that the configuration gives it.
        nested: What stands between the key and that of an argument.
    """

    key: str
    cls: type
    arguments: Mapping[str, Any]
    nested: str = ".init_args."


def explain_refusal(error: BaseException, config: Mapping[str, Any], building: bool) -> str | None:
    """Say which setting an error is about, if it is about one.

    It is where a class raised it that the configuration names, or Lightning's trainer, or where the network cannot take
    the images of the data. What comes from the midst of other code, of this project or the user's, is a fault there.

    Args:
        error: What was raised, perhaps wrapped by jsonargparse in a long ``ValueError``.
        config: The whole configuration, as plain values.
        building: Whether the classes of the configuration were being instantiated.

    Returns:
        One line: key, value, and what is wrong with it; None for all other errors.
    """
    error = unwrap(error)
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    if not frames or not isinstance(error, _ANY) or not _is_library(type(error).__module__):
        return None
    if "Traceback" in str(error):  # from another process
        return None
    named = list(find_named(config))
    last_own = max((i for i, frame in enumerate(frames) if _is_own(frame)), default=-1)
    by_library = _is_library(_module(frames[-1]))
    if isinstance(error, _FAILING) and (text := _explain_network(error, frames, named)):
        return text
    libraries = [one for one in named if one.cls is RunCheckpoint or _is_library(one.cls.__module__)]
    if by_library and (culprit := _find_object(frames[last_own + 1 :], libraries)):
        return _say(culprit, error, by_library)
    constructors = [frame for frame in frames if frame.f_code.co_name == "__init__" and "self" in frame.f_locals]
    if isinstance(error, _FAILING if by_library else _REFUSING) and constructors and last_own >= 0:
        culprit = _find_object(constructors, named)
        if culprit is None and building:  # a part of a class, which the configuration does not name
            culprit = Named("", type(constructors[-1].f_locals["self"]), {})
        return None if culprit is None else _say(culprit, error, by_library)
    around = max((i for i, frame in enumerate(frames) if _is_within(_module(frame), _AROUND)), default=-1)
    below = frames[around + 1 :]
    if last_own < 0 and below and _is_within(_module(below[0]), _LIBRARIES) and isinstance(error, _FAILING):
        trainer = Named("trainer", Trainer, config.get("trainer") or {}, ".")
        words = re.findall(r"[\w-]+", str(error))
        mentioned = [one for one in libraries if one.cls.__name__ in words]
        culprit = min(mentioned, key=lambda one: words.index(one.cls.__name__), default=trainer)
        return _say(culprit, error, by_library, below)
    return None


def find_named(config: Mapping[str, Any]) -> Iterator[Named]:
    """List the classes that a configuration names, outer ones first."""
    yield from _find_nested("", config)
    yield Named("checkpoint", RunCheckpoint, config.get("checkpoint") or {}, ".")
    yield Named("lr_monitor", LearningRateMonitor, config.get("lr_monitor") or {}, ".")


def _find_nested(key: str, value: object) -> Iterator[Named]:
    if isinstance(value, Mapping):
        if isinstance(path := value.get("class_path"), str) and (cls := find_class(path)):
            yield Named(key, cls, value.get("init_args") or {})
        for name, part in value.items():
            yield from _find_nested(f"{key}.{name}" if key else str(name), part)
    elif isinstance(value, list):
        for number, part in enumerate(value):
            yield from _find_nested(f"{key}[{number}]", part)


def unwrap(error: BaseException) -> BaseException:
    """Give what a constructor raised: jsonargparse tries each member of a union, and wraps the error.

    Args:
        error: What was raised.

    Returns:
        The same, or what it was wrapped around.
    """
    while isinstance(error.__cause__, Exception) and _raised_in(error).startswith("jsonargparse."):
        error = error.__cause__
    return error


def _raised_in(error: BaseException) -> str:
    return next((_module(frame) for frame, _ in reversed(list(walk_tb(error.__traceback__)))), "")


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))


def _is_library(module: str) -> bool:
    """Tell whether a module is neither of this project nor of the user's."""
    if module.partition(".")[0] in sys.stdlib_module_names:
        return True
    installed = "-packages" in (getattr(sys.modules.get(module), "__file__", None) or "")
    return installed and not _is_within(module, ("acda",))


def _is_within(module: str, packages: Sequence[str]) -> bool:
    return any(f"{module}.".startswith(f"{package}.") for package in packages)


def _is_own(frame: FrameType) -> bool:
    return not _is_library(_module(frame)) and not _is_within(_module(frame), _AROUND)


def _find_object(frames: Sequence[FrameType], named: Sequence[Named]) -> Named | None:
    """Find the innermost object among those that run, whose class the configuration names."""
    for frame in reversed(frames):
        cls = type(frame.f_locals.get("self"))
        if found := next((one for one in named if one.cls is cls), None):
            return found
    return None


def _explain_network(error: BaseException, frames: Sequence[FrameType], named: Sequence[Named]) -> str | None:
    """Say that the network cannot take what it was given, if the error was raised by one at work."""
    calls = [frame for frame in frames if isinstance(frame.f_locals.get("self"), nn.Module)]
    if any(frame.f_code.co_name in ("__init__", "configure_optimizers") for frame in calls):
        return None
    modules = [frame.f_locals["self"] for frame in calls]
    inputs = [frame.f_locals.get("args") or frame.f_locals.values() for frame in calls]
    taken: list[tuple[Named, nn.Module, list[int]]] = []
    for number, network in enumerate(modules):
        found = next((x for x in named if x.cls is type(network) and not issubclass(x.cls, LightningModule)), None)
        if found is not None and found.key.startswith("model."):
            given = (value for values in inputs[number:] for value in values if isinstance(value, Tensor))
            taken.append((found, network, list(next(given, torch.empty(0)).shape)))
    if not taken or _DEVICE.match(str(error)):
        return None
    found, network, shape = taken[0]
    wrong = [
        (x, size[1]) for x, _, size in taken if len(size) == 4 and x.arguments.get("in_channels", size[1]) != size[1]
    ]
    if wrong:  # of the network, or its backbone
        remedy = f"set --{wrong[0][0].key}.init_args.in_channels={wrong[0][1]}"
    elif type(error).__module__.startswith(_COMPILER):
        return f"model.init_args.compile_network=true: {_shorten(error)}{_SEE}"
    else:
        sizes = ", ".join(f"{x}={y}" for x, y in found.arguments.items() if "channels" in x or "size" in x)
        remedy = "let its arguments fit the data" + (f" ({sizes})" if sizes else "")
    names = {id(part): name for name, part in network.named_modules()}
    inner = next((x for x in reversed(modules) if names.get(id(x))), None)
    where = f"{names[id(inner)]} ({type(inner).__name__}): " if inner is not None else ""
    return (
        f"{found.key} ({found.cls.__name__}) cannot take an input of shape {shape}: {remedy}; {where}{_shorten(error)}"
        f"{_SEE}"
    )


def _say(named: Named, error: BaseException, by_library: bool, frames: Sequence[FrameType] = ()) -> str:
    text = _shorten(error)
    if "supported gpu backend" in text:
        return (
            "trainer.accelerator: there is no GPU that PyTorch can use: --trainer.accelerator=cpu "
            "--trainer.precision=32-true (for several processes see the head of configs/trainer/ddp.yaml)"
        )
    name = named.cls.__name__ if named.cls is not Trainer else ""
    if not by_library:  # it begins with the argument's name
        return f"{named.key} ({name}): {text}" if named.key else f"{name}: {text}"
    argument, where = _find_argument(text, named, frames), named.key
    if argument is not None:
        where += f"{named.nested}{argument}"
        value = named.arguments[argument]
        if isinstance(value, int | float) or (isinstance(value, str) and value and "serialize" not in value):
            where += f"={value}"
    class_name = f" ({name})" if where and named.nested != "." else "" if where else name
    return f"{where}{class_name}: {text}{_SEE}"


def _find_argument(text: str, named: Named, frames: Sequence[FrameType]) -> str | None:
    """Find the argument that a message is about: it has its name, or its value, or is of what was made from it."""
    places = {name: match.start() for name in named.arguments if (match := re.search(rf"(?<!\w){name}(?!\w)", text))}
    if places:
        return min(places, key=lambda name: places[name])
    plain = {x: y for x, y in named.arguments.items() if isinstance(y, str | int | float) and not isinstance(y, bool)}
    if "by zero" in text:
        shown = [x for x, y in plain.items() if isinstance(y, int) and y == 0]
    else:  # a small number may stand for anything
        telling = {x: y for x, y in plain.items() if y and (isinstance(y, str) or y not in range(10))}
        shown = [x for x, y in telling.items() if re.search(rf"(?<![\w.]){re.escape(str(y))}(?![\w.]*\w)", text)]
    if len(shown) == 1:
        return shown[0]
    made = [frame.f_locals.get("self") for frame in reversed(frames) if named.cls is Trainer]
    return next((name for one in made for kind, name in _MADE.items() if isinstance(one, kind)), None)


def _shorten(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …"
