"""The argument parser: jsonargparse's, with short errors."""

import os
import re
from collections.abc import Collection
from enum import Enum
from pathlib import Path
from typing import Any, NoReturn

import yaml
from jsonargparse import Namespace, get_loader, set_loader, set_parsing_settings
from lightning.pytorch.cli import LightningArgumentParser

from lit_modules.cli.messages import did_you_mean, shorten
from lit_modules.errors import UsageError
from lit_modules.runs.migration import migrate, present_name
from lit_modules.runs.yaml_text import load_yaml

set_parsing_settings(import_path_denylist=[])  # enforces its own list, of what starts programs or writes files
_load = get_loader("yaml")
set_loader("yaml", lambda text: migrate(_load(text)), (yaml.YAMLError,))  # all that stands in any file comes by
# a default such as Timer's interval
yaml.SafeDumper.add_multi_representer(Enum, lambda dumper, member: dumper.represent_data(member.value))
SECTIONS = ("trainer", "model", "data", "checkpoint", "lr_monitor")
_UNKNOWN = re.compile(
    r"(?:Subcommand '\w+' does not accept option|Option) '(?P<key>[\w.+]+)'(?: is not accepted)?$"
    r"|unrecognized arguments: (?:--(?P<option>[\w.+]+))?(?P<rest>.*)",
    re.DOTALL,
)


class Parser(LightningArgumentParser):
    """A parser whose errors are a :class:`UsageError` of a line or two instead of fifty lines of usage.

    Args:
        args: See :class:`lightning.pytorch.cli.LightningArgumentParser`.
        optional: Keys of classes that need not be given, of those that otherwise must.
        kwargs: As ``args``.
    """

    def __init__(self, *args: Any, optional: Collection[str] = (), **kwargs: Any) -> None:
        kwargs.setdefault("allow_abbrev", False)  # otherwise --trainer.max_epoch silently means max_epochs
        super().__init__(*args, **kwargs)
        self.files: list[tuple[str, Path]] = []  # as given, absolute
        self._optional = optional

    def add_lightning_class_args(
        self, lightning_class: Any, nested_key: str, subclass_mode: bool = False, required: bool = True
    ) -> list[str]:
        """Add the arguments of a class; it may be left out if it is optional."""
        required = required and nested_key not in self._optional
        return super().add_lightning_class_args(lightning_class, nested_key, subclass_mode, required)

    def parse_path(self, path: str | os.PathLike[str], *args: Any, **kwargs: Any) -> Namespace:
        """Parse a configuration file; an error names the file."""
        self.files.append((str(path), Path(path).absolute()))
        try:
            content = load_yaml(Path(path).read_text(encoding="utf-8"))  # before jsonargparse, which writes aliases out
            for key in SECTIONS:
                if isinstance(content, dict) and content.get(key, {}) is None:
                    raise UsageError(f"{key}: expected keys with values, got nothing")
            config: Namespace = super().parse_path(path, *args, **kwargs)
        except UnicodeDecodeError as error:
            raise UsageError(f"{path}: no text in UTF-8: {error.reason} at byte {error.start}") from error
        except UsageError as error:
            raise UsageError(f"{path}: {error}") from error
        return config

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise a :class:`UsageError` with a short form of the message.

        The parsers of nested classes (``exit_on_error=False``) come here too: they know which keys are valid, so the
        suggestion is added there, and their message becomes a part of the outermost parser's.
        """
        if message.startswith(
            "--print_shtab"
        ):  # whose scripts would take minutes to write, and not know `python cli.py`
            raise UsageError("print_shtab: no such key; there is no completion for shells")
        unknown = _UNKNOWN.match(message)
        if not self.exit_on_error:
            if unknown and unknown["key"]:
                key, hint = self._find_nearest(unknown["key"])
                message = f"Option '{key}' is not accepted{hint}"
            super().error(message, ex)
        if unknown:
            raise UsageError(self._unknown_key(unknown, ex)) from ex
        raise UsageError(shorten(message)) from ex

    def _unknown_key(self, unknown: re.Match[str], ex: Exception | None) -> str:
        """Name a key that no argument has, the file it stands in, and the nearest valid ones."""
        key = unknown["key"] or unknown["option"]
        if not key:
            return f"unexpected argument: {unknown['rest'].strip()}"
        parser: Parser = getattr(ex, "subcommand_parser", self)
        key, hint = parser._find_nearest(key)
        file = next((f"{name}: " for name, path in reversed(parser.files) if _holds(path, key)), "")
        return f"{file}{key}: no such key{hint}"

    def _find_nearest(self, key: str) -> tuple[str, str]:
        """Give the part of a key up to where it goes wrong, and what may have been meant."""
        dests = [x.dest for x in self._actions if not x.dest.startswith("_") and x.dest.split(".")[-1] != "help"]
        parts = key.split(".")
        for depth in range(1, len(parts) + 1):
            part = ".".join(parts[:depth])
            valid = {".".join(dest.split(".")[:depth]) for dest in dests}
            if part not in valid:
                present = present_name(part)
                renamed = f"; it is {present} now" if present in valid else ""
                return part, renamed or did_you_mean(part, valid) or did_you_mean(part, dests)
        return key, ""


def _holds(path: Path, key: str) -> bool:
    """Tell whether a YAML file has a key, given with dots."""
    node = load_yaml(path.read_text(encoding="utf-8"))
    for part in key.split("."):
        if not isinstance(node, dict) or part not in node:
            return False
        node = node[part]
    return True
