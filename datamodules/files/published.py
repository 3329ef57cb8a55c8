"""Folders of published data sets, wherever their archives were unpacked."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from datamodules.errors import DataError, abbreviate
from datamodules.files.listing import is_hidden, require_folder

_log = logging.getLogger(__name__)


def require_published(
    data_dir: str, is_it: Callable[[Path], bool], usual: Sequence[str], wanted: str, remedy: str
) -> Path:
    """Find the folder of a data set as :func:`find_published` does.

    Args:
        data_dir: As there.
        is_it: As there.
        usual: As there.
        wanted: What was looked for, for messages.
        remedy: What to do if it is not found, for messages.

    Returns:
        The folder.

    Raises:
        DataError: If ``data_dir`` is missing or a file, or holds none, or several.
    """
    require_folder(data_dir, "data_dir", remedy)
    found = find_published(data_dir, is_it, usual, remedy)
    if found is None:
        raise DataError(f"data_dir='{data_dir}' holds no {wanted}, nor does a folder in it. {remedy}")
    return found


def find_published(data_dir: str, is_it: Callable[[Path], bool], usual: Sequence[str], remedy: str) -> Path | None:
    """Find the folder of a data set: the one that was named, one in it under a usual name, or one level deeper.

    Where it lies deeper that is logged. Hidden folders, and those of systems, are left out.

    Args:
        data_dir: The folder that the user named.
        is_it: Whether a folder is that of the data set.
        usual: Where it may lie in the one named, or in a folder in that, as patterns of :meth:`pathlib.Path.glob`.
        remedy: What to do if there are several, for messages.

    Returns:
        The folder, None if there is none.

    Raises:
        DataError: If there are several of equal rank; names them.
    """
    root = Path(data_dir).expanduser()
    if not root.is_dir():
        return None
    if is_it(root):
        return root
    inner = sorted(path for path in root.iterdir() if not is_hidden(path.name) and path.is_dir())
    within = [[path for pattern in usual for path in sorted(folder.glob(pattern))] for folder in (root, *inner)]
    deeper = [path for folder, inside in zip(inner, within[1:], strict=True) for path in (folder, *inside)]
    for level in (within[0], deeper):
        named = {path.resolve(): path for path in reversed(level) if path.is_dir() and is_it(path)}
        found = sorted(named.values())
        if len(found) > 1:
            names = abbreviate([f"'{path.relative_to(root)}'" for path in found])
            raise DataError(f"data_dir='{data_dir}' holds several: {names}. {remedy}")
        if found and level is deeper:
            _log.info("data_dir='%s': found in '%s'", data_dir, found[0])
        if found:
            return found[0]
    return None
