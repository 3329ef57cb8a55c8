"""YAML that others may have written: read only where it cannot do harm."""

from typing import Any

import yaml

from lit_modules.errors import UsageError

_MOST_VALUES = 10_000  # a whole configuration with all defaults has some hundreds
_DEEPEST = 64


def load_yaml(text: str) -> Any:
    """Reads YAML of plain values: no tag makes an object, no key stands twice, no alias grows without bounds.

    Args:
        text: The YAML.

    Returns:
        What it holds.

    Raises:
        UsageError: If it is none, or no such; it says where.
    """
    try:
        document = yaml.compose(text, yaml.SafeLoader)
        if document is not None:
            _count_values(document, {}, depth=1)
        return yaml.safe_load(text)
    except RecursionError as error:
        raise UsageError(f"nested more than {_DEEPEST} deep") from error
    except (yaml.YAMLError, ValueError) as error:  # ValueError: 2020-13-40 is taken for a date
        raise UsageError(_say(error)) from error


def _count_values(node: yaml.Node, known: dict[int, int], depth: int) -> int:
    """Counts what a node holds with its aliases written out, without doing that.

    Args:
        node: The node.
        known: Numbers of those that were counted, 0 of those that are being.
        depth: Nodes that it lies in, with itself.

    Returns:
        The number, itself included.

    Raises:
        UsageError: If it is too much, or not to be read in one way alone.
    """
    if depth > _DEEPEST:
        raise UsageError(f"nested more than {_DEEPEST} deep{_place(node)}")
    number = known.get(id(node))
    if number is None:
        known[id(node)] = 0
        number = 1 + sum(_count_values(child, known, depth + 1) for child in _children(node))
        known[id(node)] = number
    elif number == 0:
        raise UsageError(f"an alias of what it stands in{_place(node)}")
    if number > _MOST_VALUES:
        raise UsageError(f"more than {_MOST_VALUES} values, with aliases written out{_place(node)}")
    return number


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.SequenceNode):
        return list(node.value)
    if not isinstance(node, yaml.MappingNode):
        return []
    keys: set[tuple[str, str]] = set()
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
            if (key.tag, key.value) in keys:
                raise UsageError(f"key {key.value!r} twice{_place(key)}")
            keys.add((key.tag, key.value))
    return [child for pair in node.value for child in pair]


def _place(node: yaml.Node) -> str:
    return f" (line {node.start_mark.line + 1}, column {node.start_mark.column + 1})"


def _say(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    what = getattr(error, "problem", None) or str(error).splitlines()[0]
    return f"no YAML of plain values: {what}" + (f" (line {mark.line + 1}, column {mark.column + 1})" if mark else "")
