"""Folders, and the images in them."""

import logging
import os
import stat
from collections import Counter
from pathlib import Path, PurePath
from typing import NamedTuple

from datamodules.errors import DataError, abbreviate, remark

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
"""Suffixes of the files that are taken for images, in any case."""

_SYSTEM = (
    *("@eadir", "@tmp", "@recycle", "@recently-snapshot", "#recycle", "#snapshot", "$recycle.bin"),
    *("system volume information", "lost+found", "__macosx", "__pycache__"),
)
"""Names of folders that systems and programs put among a user's files, in small letters."""
_log = logging.getLogger(__name__)


class FoundImages(NamedTuple):
    """What is in a folder.

    Attributes:
        names: Paths of the images relative to the folder, with ``/`` between parts, sorted.
        other_files: How many files were left out, by why: their suffix, ``hidden``, ``no suffix`` or ``no regular
            file``.
        other_folders: How many folders were left out, by their name.
    """

    names: list[str]
    other_files: Counter[str]
    other_folders: Counter[str]

    def tell(self, place: str, *, always: bool = True) -> None:
        """Log in one line how many images there are, and what was left out.

        Args:
            place: What the line begins with.
            always: Say so even if nothing was left out. Default: true.
        """
        parts = []
        if self.other_files:
            kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.other_files.items()))
            parts.append(f"{self.other_files.total()} other files left out ({kinds})")
        if self.other_folders:
            names = [f"{name} ×{count}" if count > 1 else name for name, count in sorted(self.other_folders.items())]
            parts.append(f"{self.other_folders.total()} folders left out ({abbreviate(names, 10)})")
        if parts:
            remark(f"{place}: {', '.join(parts)}".replace(" left out", ""))
        if always or parts:
            _log.info("%s: %s", place, ", ".join([f"{len(self.names)} images", *parts]))


def require_folder(folder: str | Path, argument: str, remedy: str) -> Path:
    """Make sure that a folder which the user named is there.

    Args:
        folder: The folder.
        argument: Name of the argument under which the user gave it, for messages.
        remedy: What to do if it is not, for messages.

    Returns:
        Its path.

    Raises:
        DataError: If it is missing or a file.
    """
    path = Path(folder).expanduser()
    if not path.is_dir():
        what = "is not a folder" if path.exists() else "does not exist"
        raise DataError(f"{argument}='{folder}' {what}. {remedy}")
    return path


def show_name(name: str) -> str:
    """Write a name, or a suffix, so that it can be told among others whatever is in it."""
    return name if name.isprintable() and not name.endswith(" ") else repr(name)


def is_hidden(name: str) -> bool:
    """Tell whether a file or folder is hidden, or is one that systems and programs put among a user's files."""
    return name.startswith(".") or name.casefold() in _SYSTEM


def find_images(folder: Path, deep: bool = True, suffixes: tuple[str, ...] = IMAGE_SUFFIXES) -> FoundImages:
    """Find the image files in a folder by their suffix; none is looked at.

    Hidden files and folders are left out, and those that systems put among a user's files (``@eaDir``, ``__MACOSX``).
    Links are followed. One to a file is an image of its own, one that leads nowhere too, which reading then tells. A
    folder is searched once, under its own name if it lies in ``folder``, else under that of the first link to it; one
    around ``folder`` is not, so links never lead in a circle.

    Args:
        folder: The folder, which exists.
        deep: Search its sub-folders, too. Default: true.
        suffixes: Of the files that are taken for images, in small letters. Default: ``IMAGE_SUFFIXES``.

    Returns:
        The images, and what was left out.

    Raises:
        DataError: If it, or a sub-folder, cannot be read; names it.
    """
    found = FoundImages([], Counter(), Counter())
    root = os.path.realpath(folder)
    above = {str(parent) for parent in Path(root).parents}
    searched: set[str] = set()
    folders: list[tuple[str, str]] = [("", root)]  # as in the result, and without links
    links: list[tuple[str, str]] = []
    while folders or links:
        if not folders:  # only when all that lies in the folder itself was searched
            links.sort(reverse=True)
            folders.append(links.pop())
        place, real = folders.pop()
        if real in searched or real in above:
            why = "around it" if real in above else "searched already"
            found.other_folders[f"{show_name(place[:-1])}: a link to one {why}"] += 1
            continue
        searched.add(real)
        for entry in _scan(folder / place):
            kind = _find_kind(entry)
            if kind == stat.S_IFDIR and deep and not is_hidden(entry.name):
                if entry.is_symlink():
                    links.append((f"{place}{entry.name}/", os.path.realpath(entry.path)))
                else:
                    folders.append((f"{place}{entry.name}/", os.path.join(real, entry.name)))
            elif kind == stat.S_IFDIR:
                found.other_folders[show_name(entry.name)] += 1
            elif is_hidden(entry.name):
                found.other_files["hidden"] += 1
            elif kind != stat.S_IFREG:
                found.other_files["no regular file"] += 1
            elif entry.name.lower().endswith(suffixes):
                found.names.append(place + entry.name)
            else:
                found.other_files[show_name(PurePath(entry.name).suffix.lower()) or "no suffix"] += 1
    found.names.sort()
    return found


def list_image_names(folder: Path, beside: str = "") -> list[str]:
    """List the images directly in a folder, as :func:`find_images` does; logs what was left out.

    Args:
        folder: The folder.
        beside: Suffix of other files that are meant to be there, in small letters. Default: none.

    Returns:
        Their names, sorted.

    Raises:
        DataError: If the folder cannot be read.
    """
    found = find_images(folder, deep=False)
    del found.other_files[beside]
    found.tell(f"'{folder}'", always=False)
    return found.names


def list_images(folder: str | Path, argument: str, suffixes: tuple[str, ...] = IMAGE_SUFFIXES) -> list[str]:
    """List all images below a folder, as :func:`find_images` does; how many there are, and others, is logged.

    Args:
        folder: The folder; searched with its sub-folders.
        argument: Name of the argument under which the user gave it, for messages.
        suffixes: As in :func:`find_images`.

    Returns:
        Their paths relative to the folder, with ``/`` between parts, sorted.

    Raises:
        DataError: If the folder is missing, is a file, cannot be read, or holds no image.
    """
    kinds = " ".join(suffixes)
    root = require_folder(folder, argument, f"Name a folder that holds images ({kinds}).")
    found = find_images(root, suffixes=suffixes)
    if not found.names:
        raise DataError(
            f"{argument}='{folder}' holds no images: none of the {found.other_files.total()} files in it and its "
            f"sub-folders ends in {kinds}, but for hidden ones."
        )
    found.tell(f"{argument}='{folder}'")
    return found.names


def _scan(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise DataError(
            f"'{folder}' cannot be searched for images: {error.strerror}. Let it be read, or move it away."
        ) from error


def _find_kind(entry: os.DirEntry[str]) -> int:
    """Find what an entry of a folder is, or the end of a link: one of the types in :mod:`stat`."""
    if not entry.is_symlink():  # known without asking the file system for each file
        return stat.S_IFDIR if entry.is_dir() else stat.S_IFREG if entry.is_file() else 0
    try:
        return stat.S_IFMT(entry.stat().st_mode)
    except OSError:
        return stat.S_IFREG  # a link that leads nowhere: reading it says so
