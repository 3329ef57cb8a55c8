"""Machine code of compiled loops, kept on disk for the processes that come later.

It is filed under what it follows from: the text of the loop's file and of those of this folder that it imports, the
numbers that it is compiled for, the versions of what compiles, and the processor. So it serves every checkout and every
release in which these are the same, and no other.
"""

import hashlib
import logging
import os
import re
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import numba
from llvmlite import binding

_log = logging.getLogger(__name__)

_FOLDER = Path(__file__).parent
_PACKAGE = re.escape(__name__.rpartition(".")[0])
_IMPORT = re.compile(rf"^\s*from {_PACKAGE}(?:\.(?P<file>\w+))? import (?P<names>[\w, ]*)", re.MULTILINE)
_CHECKSUM = hashlib.sha256


def folder() -> Path:
    """Folder of the machine code: below ``NUMBA_CACHE_DIR`` if the environment has that, else in the user's cache.

    Raises:
        RuntimeError: If the user has no home.
    """
    if given := os.environ.get("NUMBA_CACHE_DIR"):
        return Path(given, "acda")
    given = os.environ.get("XDG_CACHE_HOME")
    return Path(given, "acda") if given else Path.home() / ".cache" / "acda"


def file_name(loop: Callable[..., Any]) -> str:
    """Name of the file for a loop's machine code.

    Args:
        loop: The loop; what is around it are numbers and tuples of them alone.
    """
    code = loop.__code__
    around = zip(code.co_freevars, (cell.cell_contents for cell in loop.__closure__ or ()), strict=True)
    versions = (sys.implementation.cache_tag, numba.__version__, llvmlite.__version__)
    found = _CHECKSUM(repr((loop.__qualname__, [*around], versions, _processor())).encode())
    for path in sorted(_sources(Path(code.co_filename))):
        found.update(path.read_bytes())
    return f"{loop.__qualname__.partition('.')[0]}-{found.hexdigest()[:32]}"


def load(name: str) -> bytes | None:
    """Read machine code, None if there is none that is whole."""
    try:
        path = folder() / name
        content = path.read_bytes()
    except (OSError, RuntimeError):  # what is wrong is said when it is to be stored
        return None
    checksum, code = content[: _CHECKSUM().digest_size], content[_CHECKSUM().digest_size :]
    if _CHECKSUM(code).digest() != checksum:
        _log.warning("%s is damaged, the loop is compiled again", path)
        return None
    return code


def store(name: str, code: bytes) -> None:
    """Write machine code, whole or not at all; where it cannot be written, that is logged."""
    try:
        path = folder() / name
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, unfinished = tempfile.mkstemp(dir=path.parent, prefix=".")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(_CHECKSUM(code).digest() + code)
            os.chmod(unfinished, 0o644)
            os.replace(unfinished, path)
        except BaseException:
            os.unlink(unfinished)
            raise
    except (OSError, RuntimeError) as error:
        _say_once(f"compiled loops are not kept on disk, each process compiles them again: {error}")


@cache
def _say_once(text: str) -> None:
    _log.info(text)


@cache
def _processor() -> tuple[str, str, str]:
    features: str = binding.get_host_cpu_features().flatten()
    return binding.get_process_triple(), binding.get_host_cpu_name(), features


@cache
def _sources(path: Path) -> frozenset[Path]:
    """Find what a file of this folder imports, directly or not; the file itself is among it."""
    found, new = {path}, [path]
    while new:
        text = new.pop().read_text(encoding="utf-8")
        for match in _IMPORT.finditer(text):
            names = [match["file"]] if match["file"] else re.findall(r"\w+", match["names"])
            files = {_FOLDER / f"{name}.py" for name in names} - found
            new += [file for file in files if file.is_file()]
            found.update(new)
    return frozenset(found)
