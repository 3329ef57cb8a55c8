"""jsonargparse's messages, of up to forty lines, made short: which key, what is wrong, what may have been meant."""

import re
import sys
from collections.abc import Iterable
from difflib import get_close_matches

from lightning.pytorch import Callback, LightningDataModule, LightningModule
from lightning.pytorch.loggers import Logger
from lightning.pytorch.profilers import Profiler
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

_NOISE = re.compile(
    r"$|Does not validate against|Subtypes:|Errors:|Given value|Subclass types expect|a class path \(str\)|a dict with"
    r"|Expected a <class 'NoneType'>|Expected a path but"
)
_CALLABLE = re.compile(r"Type \S.* expects a function or a callable class: ")
_KEY = re.compile(r'Parser key "(.+?)"(?: element \d+)?:')
_CLASS = re.compile(r"Problem with given class_path '(.+?)':$")
_UNKNOWN = re.compile(r"Option '(.+?)' is not accepted")
_UNKNOWN_CLASS = re.compile(r"has no attribute '(\w+)'|No module named '(.+)'|Expected a dot import path string: (\S+)")
_DENIED = re.compile(r"Importing '(.+?)' is not allowed, denied by .*", re.DOTALL)
_EXPECTED = re.compile(r"Expected an? (.+?)(?:\. Got value: (.*))?$")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Says which known names are nearest to a mistyped one.

    Args:
        name: What was written.
        known: What could have been.

    Returns:
        ``"; did you mean a, b?"``, or nothing where no name is near.
    """
    near = get_close_matches(name, sorted(set(known)), n=3, cutoff=0.6)
    return f"; did you mean {', '.join(near)}?" if near else ""


def shorten(message: str) -> str:
    """Reduces a message of jsonargparse to the one line that matters.

    Args:
        message: The message: lines indented by nesting, one branch for each member of a union.

    Returns:
        ``key: what is wrong``, for the most deeply nested complaint.
    """
    if message.startswith("Unexpected config"):
        return "no configuration, which has keys with values"
    lines = message.splitlines()
    path: list[tuple[int, str, str]] = []  # indentation, key, class
    complaints: list[tuple[int, int, str]] = []  # nesting, line, text
    for number, line in enumerate(lines):
        text = line.lstrip(" -")
        indent = len(line) - len(line.lstrip())
        if _NOISE.match(text):
            continue
        while path and path[-1][0] >= indent:
            path.pop()
        text = _CALLABLE.sub("", text)
        if key := _KEY.match(text):
            path.append((indent, key[1], ""))
            text = text[key.end() :].strip()
        elif found := _CLASS.match(text):
            path.append((indent, "", found[1]))
            text = ""
        if text:
            complaints.append((len(path), number, _say(path, text, lines, number)))
    if not any(depth for depth, _, _ in complaints):  # not nested: a YAML error, required arguments
        return re.sub(r"\s+", " ", message.replace('in "<unicode string>", ', "in "))[:600].strip()
    deepest = max(depth for depth, _, _ in complaints)
    return next(text for depth, _, text in complaints if depth == deepest)[:600]


def _say(path: list[tuple[int, str, str]], text: str, lines: list[str], number: int) -> str:
    """Writes one complaint with the key it is about."""
    keys = [key for _, key, _ in path if key]
    where = ".init_args.".join(keys)
    class_path = path[-1][2] if path else ""
    text, _, built = text.partition(". Got value: Namespace(class_path='")
    class_path = class_path or built.partition("'")[0]
    union = next((x for x in reversed(lines[:number]) if x.lstrip().startswith("Subtypes:")), "")
    given = next((x.split(": ", 1)[1] for x in lines[number:] if x.lstrip().startswith("Given value: ")), "")
    text = _DENIED.sub(r"\1 is not allowed in a configuration: it may start programs or change files", text)
    if "'NoneType' object has no attribute 'keys'" in text:  # of init_args
        text = "init_args: expected keys with values, got nothing"
    elif unknown := _UNKNOWN.match(text):
        of = f" of {class_path}" if class_path else ""
        return f"{'.init_args.'.join([*keys, unknown[1]])}: no such key{of}{text[unknown.end() :]}"
    if unknown := _UNKNOWN_CLASS.search(text):
        name = class_path or next(filter(None, unknown.groups()))
        text = f"{name} is no {_types(union)}" if name in _class_names() else text + _near_classes(name)
    elif expected := _EXPECTED.match(text):
        types, value = expected.groups()
        if value is None:  # a member of a union: the whole union stands in a line above
            types = union or types
        text = f"expected {_types(types)}; got {value or given!r}"
    elif text.startswith("Import path does not"):
        text = f"{given}{text.removeprefix('Import path')}"
    elif class_path:
        where += f" ({class_path})"
    return f"{where}: {text}" if where else text


def _types(text: str) -> str:
    """``Subtypes: [<class 'int'>, <class 'NoneType'>]`` → ``int, null``."""
    text = re.sub(r"^\s*Subtypes: \[(.*)\]$", r"\1", text)
    text = re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", text)
    return re.sub(r"(?:\b\w+\.)+(?=\w)", "", text).replace("NoneType", "null")


def _near_classes(class_path: str) -> str:
    """Suggests importable classes for a class name that does not exist."""
    module, _, name = class_path.rpartition(".")
    known = {x for x in vars(sys.modules[module]) if x[0].isupper()} if module in sys.modules else set()
    return did_you_mean(name, known) or did_you_mean(name, _class_names())


def _class_names() -> set[str]:
    """Names of all imported classes that can stand in a configuration: those work without their module."""
    found: set[type] = set()
    todo: list[type] = [LightningModule, LightningDataModule, Callback, Logger, Profiler, nn.Module]
    todo += [Optimizer, LRScheduler]
    while todo:
        new: set[type] = set(todo.pop().__subclasses__()) - found
        found |= new
        todo.extend(new)
    return {cls.__name__ for cls in found if not cls.__name__.startswith("_")}
