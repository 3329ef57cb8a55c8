"""YAML that others may have written: read only where it cannot do harm."""

from typing import Any, NoReturn

import yaml

from lit_modules.errors import UsageError

_MOST_VALUES = 10_000  # a whole configuration with all defaults has some hundreds
_DEEPEST = 64
_MERGE = "tag:yaml.org,2002:merge"


class PlainLoader(yaml.SafeLoader):
    """Reads plain values: no tag makes an object, no key stands twice, no alias grows without bounds."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = self._values = 0  # of what is read so far, its aliases written out
        self._sizes: dict[yaml.Node, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Read one value, and count it; an alias gives one that was read before."""
        before = self._values
        self._depth += 1
        if self._depth > _DEEPEST and parent is not None:
            _refuse(f"nested more than {_DEEPEST} deep", parent)
        node = super().compose_node(parent, index)
        assert node is not None
        if node.end_mark is None:  # it is still being read
            _refuse("an alias of what it stands in", node)
        self._values = before + self._sizes.setdefault(node, self._values - before + 1)
        if self._values > _MOST_VALUES:
            _refuse(f"more than {_MOST_VALUES} values, with aliases written out", node)
        self._depth -= 1
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Read keys and values, no key twice."""
        node = super().compose_mapping_node(anchor)
        keys: set[tuple[str, str]] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != _MERGE:
                if (key.tag, key.value) in keys:
                    _refuse(f"key {key.value!r} twice", key)
                keys.add((key.tag, key.value))
        return node


def load_yaml(text: str) -> Any:
    """Read YAML of plain values, see :class:`PlainLoader`.

    Args:
        text: The YAML.

    Returns:
        What it holds.

    Raises:
        UsageError: If it is none, or no such; it says where.
    """
    try:
        return yaml.load(text, PlainLoader)
    except (yaml.YAMLError, ValueError) as error:  # ValueError: 2020-13-40 is taken for a date
        mark = getattr(error, "problem_mark", None)
        what = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise UsageError(f"no YAML of plain values: {what}{_locate(mark)}") from error


def _refuse(what: str, node: yaml.Node) -> NoReturn:
    raise UsageError(f"{what}{_locate(node.start_mark)}")


def _locate(mark: Any) -> str:
    return f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
