"""Names of one's own images: which belong together by a pattern."""

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

from datamodules.errors import DataError, abbreviate, refuse


def check_pattern(place: str, **patterns: str | None) -> None:
    """Refuse patterns that do not say where in a name something stands.

    Args:
        place: What stands there, such as ``{name}``.
        **patterns: Patterns by the names of their arguments; None is let pass.

    Raises:
        ValueError: If one does not hold ``place`` exactly once.
    """
    for argument, pattern in patterns.items():
        if pattern is not None and pattern.count(place) != 1:
            refuse(argument, pattern, f"a pattern with {place} in it once, such as '{place}_*'")


def name_files(files: Iterable[str], pattern: str, argument: str) -> dict[str, str]:
    """Find names in the paths of files by a pattern; files that do not fit it are left out.

    Args:
        files: Paths relative to a folder, with ``/`` between parts.
        pattern: What such a path is without its suffix, with ``{name}`` for the name and ``*`` for anything.
        argument: Name of the argument that the pattern is of, for messages.

    Returns:
        Paths by name.

    Raises:
        DataError: If two files have one name; names them.
    """
    fits = _compile(pattern, "{name}")
    named: dict[str, str] = {}
    for file in files:
        match = fits.fullmatch(str(PurePosixPath(file).with_suffix("")))
        if match is None:
            continue
        other = named.setdefault(match[1], file)
        if other != file:
            raise DataError(
                f"{argument}='{pattern}' gives '{other}' and '{file}' one name, '{match[1]}'. Remove one of them, or "
                "choose another pattern."
            )
    return named


def find_scenes(names: Iterable[str], pattern: str | None) -> list[str]:
    """Find what images show in their names.

    Args:
        names: The images' names.
        pattern: What a name is, with ``{scene}`` for the scene, as short as can be, and ``*`` for anything; None: each
            image is a scene of its own.

    Returns:
        The scene of each image.

    Raises:
        DataError: If names do not fit the pattern; names them.
    """
    names = list(names)
    if pattern is None:
        return names
    matches = [_compile(pattern, "{scene}").fullmatch(name) for name in names]
    others = [name for name, match in zip(names, matches, strict=True) if match is None]
    if others:
        raise DataError(f"scene='{pattern}' does not fit {len(others)} of {len(names)} names: {abbreviate(others)}")
    return [match[1] for match in matches if match is not None]


def _compile(pattern: str, place: str) -> re.Pattern[str]:
    escaped = {re.escape(place): "(.+?)", re.escape("*"): ".*"}
    text = re.escape(pattern)
    for part, expression in escaped.items():
        text = text.replace(part, expression)
    return re.compile(text, re.DOTALL)
