"""Packages that most users need not install."""

from importlib import import_module
from typing import Any

from datamodules.errors import DataError


def import_package(name: str, purpose: str) -> Any:
    """Import a package that few need.

    Args:
        name: Its name, under which pip installs it, too.
        purpose: What it is needed for, to begin a sentence with.

    Returns:
        The package.

    Raises:
        DataError: If it cannot be imported; says how to install it.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise DataError(f"{purpose} needs the package {name} ({error}): pip install {name}") from error
