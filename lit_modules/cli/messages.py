"""jsonargparse's messages, of up to forty lines, made short: which key, what is wrong, what may have been meant."""

import re
import sys
from collections.abc import Iterable
from difflib import get_close_matches

from lit_modules.cli.trust import KINDS

_NOISE = re.compile(
    r"$|Does not validate against|Subtypes:|Errors:|Given value|Subclass types expect|a class path \(str\)|a dict with"
    r"|Expected a <class 'NoneType'>|Expected a path but"
)
_CALLABLE = re.compile(r"Type \S.* expects a function or a callable class: ")
_LEVEL = re.compile(r"Parser key \"(?P<key>.+?)\"(?: element \d+)?:\s*|Problem with given class_path '(?P<cls>.+?)':$")
_BUILT = re.compile(r"\. Got value: Namespace\(class_path='(.*?)'.*")
_UNKNOWN = re.compile(r"Option '(.+?)' is not accepted")
_UNKNOWN_CLASS = re.compile(r"has no attribute '(\w+)'|No module named '(.+)'|Expected a dot import path string: (\S+)")
_DENIED = re.compile(r"Importing '(.+?)' is not allowed, denied by .*", re.DOTALL)
_EXPECTED = re.compile(r"Expected an? (.+?)(?:\. Got value: (.*))?$")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Say which known names are nearest to a mistyped one.

    Args:
        name: What was written.
        known: What could have been.

    Returns:
        ``"; did you mean a, b?"``, or nothing where no name is near.
    """
    near = get_close_matches(name, sorted(set(known)), n=3, cutoff=0.6)
    return f"; did you mean {', '.join(near)}?" if near else ""


def shorten(message: str) -> str:
    """Reduce a message of jsonargparse to the one line that matters.

    Args:
        message: The message: lines indented by nesting, one branch for each member of a union.

    Returns:
        ``key: what is wrong``, for the most deeply nested complaint.
    """
    if message.startswith("Unexpected config"):
        return "no configuration, which has keys with values"
    lines = message.splitlines()
    path: list[tuple[int, str, str]] = []  # indentation, key, class
    deepest: list[tuple[int, str, str]] = []
    complaint, place = "", 0
    for number, line in enumerate(lines):
        indent = len(line) - len(line.lstrip())
        text = line.lstrip(" -")
        if _NOISE.match(text):
            continue
        while path and path[-1][0] >= indent:
            path.pop()
        text = _CALLABLE.sub("", text)
        if level := _LEVEL.match(text):
            path.append((indent, level["key"] or "", level["cls"] or ""))
            text = text[level.end() :]
        if text and len(path) > len(deepest):
            deepest, complaint, place = list(path), text.strip(), number
    if not deepest:  # not nested: a YAML error, required arguments
        return re.sub(r"\s+", " ", message.replace('in "<unicode string>", ', "in "))[:600].strip()
    keys = [key for _, key, _ in deepest if key]
    return _say(keys, deepest[-1][2], complaint, lines[:place], lines[place:])[:600]


def _say(keys: list[str], class_path: str, text: str, before: list[str], after: list[str]) -> str:
    """Write a complaint with the key it is about; lines before and after it tell of the union it is a member of."""
    if built := _BUILT.search(text):
        class_path, text = class_path or built[1], text[: built.start()]
    where = ".init_args.".join(keys)
    union = next((x for x in reversed(before) if x.lstrip().startswith("Subtypes:")), "")
    given = next((x.split(": ", 1)[1] for x in after if x.lstrip().startswith("Given value: ")), "")
    text = _DENIED.sub(r"\1 is not allowed in a configuration: it may start programs or change files", text)
    if "'NoneType' object has no attribute 'keys'" in text:  # of init_args
        text = "init_args: expected keys with values, got nothing"
    elif unknown := _UNKNOWN.match(text):
        where = ".init_args.".join([*keys, unknown[1]])
        text = f"no such key{f' of {class_path}' if class_path else ''}{text[unknown.end() :]}"
    elif unknown := _UNKNOWN_CLASS.search(text):
        name = class_path or next(filter(None, unknown.groups()))
        text = f"{name} is no {_shorten_types(union)}" if name in _list_class_names() else text + _suggest_classes(name)
    elif expected := _EXPECTED.match(text):
        types, value = expected.groups()  # without a value it is a member of the union, all of which stands above
        text = f"expected {_shorten_types(types if value is not None else union or types)}; got {value or given!r}"
    elif text.startswith("Import path does not"):
        text = f"{given}{text.removeprefix('Import path')}"
    elif class_path:
        where += f" ({class_path})"
    return f"{where}: {text}" if where else text


def _shorten_types(text: str) -> str:
    """Shorten ``Subtypes: [<class 'int'>, <class 'NoneType'>]`` to ``int, null``."""
    text = re.sub(r"^\s*Subtypes: \[(.*)\]$", r"\1", text)
    text = re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", text)
    return re.sub(r"(?:\b\w+\.)+(?=\w)", "", text).replace("NoneType", "null")


def _suggest_classes(class_path: str) -> str:
    """Suggest importable classes for a class name that does not exist."""
    module, _, name = class_path.rpartition(".")
    known = {x for x in vars(sys.modules[module]) if x[0].isupper()} if module in sys.modules else set()
    return did_you_mean(name, known) or did_you_mean(name, _list_class_names())


def _list_class_names() -> set[str]:
    """List names of all imported classes that can stand in a configuration: those work without their module."""
    return {cls.__name__ for kind in KINDS for cls in _descend(kind) if not cls.__name__.startswith("_")}


def _descend(cls: type) -> set[type]:
    return {cls}.union(*map(_descend, cls.__subclasses__()))
