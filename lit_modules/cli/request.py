"""What a user asks for, read from the command line before it is parsed in earnest."""

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lit_modules.cli.log_lines import LEVELS
from lit_modules.errors import UsageError
from lit_modules.runs.yaml_text import load_yaml


@dataclass
class Request:
    """The few settings that decide which configuration is the base of all others.

    Attributes:
        subcommand: ``fit``, ``test`` and so on, None if there is none.
        ckpt_path: ``--ckpt_path``, from the command line or a configuration file.
        root: ``--trainer.default_root_dir``, likewise.
        trusted: Whether ``--weights_only=false`` is given: the checkpoint may hold pickled objects.
        has_model: Whether the user says which model, by ``--model`` or in a configuration file.
        log_level: ``--log_level``, from the command line or a configuration file.
        help: Whether help is asked for, of the subcommand or, without one, of the program.
    """

    subcommand: str | None
    ckpt_path: str | None
    root: str | None
    trusted: bool
    has_model: bool
    log_level: str = "info"
    help: bool = False


def read_request(args: Sequence[str], subcommands: Iterable[str]) -> Request:
    """Read a request from command line arguments.

    Whatever is wrong with them is left for the real parser to say.

    Args:
        args: The arguments.
        subcommands: Names of the subcommands.

    Returns:
        The request.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("-c", "--config", action="append", default=[])
    parser.add_argument("--model", "--model.class_path", dest="model")
    parser.add_argument("--ckpt_path")
    parser.add_argument("--weights_only")
    parser.add_argument("--log_level")
    parser.add_argument("-h", "--help", action="store_true")
    parser.add_argument("--trainer.default_root_dir", dest="root")
    subcommand = next((arg for arg in args if arg in set(subcommands)), None)
    try:
        given, _ = parser.parse_known_args(args)
    except argparse.ArgumentError:
        return Request(subcommand, None, None, trusted=False, has_model=True)
    merged: dict[str, Any] = {}
    for config in given.config:
        content = _load(config)
        merged |= content | _as_mapping(content.get(subcommand))
    ckpt_path = given.ckpt_path or merged.get("ckpt_path")
    level = str(given.log_level or merged.get("log_level"))
    root = given.root or _as_mapping(merged.get("trainer")).get("default_root_dir")
    return Request(
        subcommand=subcommand,
        ckpt_path=ckpt_path and str(ckpt_path),
        root=root and str(root),
        trusted=given.weights_only == "false" or merged.get("weights_only") is False,
        has_model=given.model is not None or "model" in merged,
        log_level=level if level in LEVELS else "info",
        help=given.help,
    )


def _load(config: str) -> dict[Any, Any]:
    try:
        return _as_mapping(load_yaml(Path(config).read_text(encoding="utf-8")))
    except (OSError, ValueError, UsageError):
        return {}


def _as_mapping(value: object) -> dict[Any, Any]:
    return value if isinstance(value, dict) else {}
