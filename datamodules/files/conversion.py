"""Files converted once to others that are read faster, whatever interrupts it."""

import json
import logging
import os
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from filelock import FileLock

from datamodules.errors import DataError
from datamodules.files.progress import show_progress

_RECORD = "conversion.jsonl"
_ENDS = 2**14  # bytes at each end of a source that are looked at: notes of cameras are there
_log = logging.getLogger(__name__)


class Conversion(NamedTuple):
    """One step of a conversion: files that are made together.

    Attributes:
        sources: Existing files that they are made from.
        targets: Their paths below the folder, with ``/`` between parts; those of a step differ from those of all
            others.
    """

    sources: tuple[Path, ...]
    targets: tuple[str, ...]


def convert(
    steps: Sequence[Conversion], write: Callable[[Conversion, list[Path]], None], folder: Path, argument: str
) -> None:
    """Make the files of all steps but for those that an earlier call has finished.

    Files are written under other names first. A step is finished when its files have their names and a record of them
    is in ``conversion.jsonl`` beside them: with the sources' sizes, times of change and a sum of both their ends, so
    that a step whose sources have changed is repeated, also where a copy or a program that turns photographs kept the
    time; and with the sizes of the files. What was interrupted is therefore never taken for whole, and the next call
    goes on where it stopped. Of several processes one converts and the others wait for it. Where all is finished,
    nothing is written. Shows progress.

    Args:
        steps: What is to be made.
        write: Writes the files of a step under the paths it is given, which are in the order of ``targets`` and have
            their suffixes.
        folder: Where to make them; is created.
        argument: Name of the data module's argument by which the user chooses it, for messages.

    Raises:
        DataError: If the folder cannot be written to; names the argument.
    """
    if not _unfinished(steps, folder):
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):
            unfinished = _unfinished(steps, folder)
            if unfinished:
                _log.info("Converting %d of %d into '%s'", len(unfinished), len(steps), folder)
            for step in show_progress(unfinished, f"Converting into '{folder}'", "steps"):
                _make(step, write, folder)
    except OSError as error:
        raise DataError(
            f"'{folder}' cannot be written to ({error}). Name a folder for the converted files that "
            f"can: --data.init_args.{argument}=FOLDER."
        ) from error


def save_array(path: Path, array: npt.NDArray[Any]) -> None:
    """Write an array to a ``.npy`` file.

    Args:
        path: The file, which is replaced.
        array: The array.

    Raises:
        OSError: If the file cannot be written; unlike that of ``np.save`` it says why.
    """
    with path.open("wb") as file:
        writing = SimpleNamespace(write=file.write)  # to a file itself numpy writes past Python
        np.save(writing, array)


def _make(step: Conversion, write: Callable[[Conversion, list[Path]], None], folder: Path) -> None:
    stamps = _stamps(step)  # before the sources are read: if they change meanwhile, the step is repeated
    paths = [folder / target for target in step.targets]
    partial = [path.with_name(f".partial-{path.name}") for path in paths]
    try:
        for path in partial:
            path.parent.mkdir(parents=True, exist_ok=True)
        write(step, partial)
        sizes = [path.stat().st_size for path in partial]
        for written, path in zip(partial, paths, strict=True):
            written.replace(path)
    finally:
        for path in partial:
            path.unlink(missing_ok=True)
    record = json.dumps({"targets": step.targets, "sizes": sizes, "sources": stamps})
    with (folder / _RECORD).open("a", encoding="utf-8") as file:
        file.write(f"\n{record}")  # on a line of its own even after one that was interrupted


def _unfinished(steps: Sequence[Conversion], folder: Path) -> list[Conversion]:
    recorded = {tuple(record["targets"]): record for record in _records(folder / _RECORD)}

    def finished(step: Conversion) -> bool:
        record = recorded.get(step.targets)
        return (
            record is not None
            and record["sources"] == _stamps(step)
            and record["sizes"] == [_size(folder / target) for target in step.targets]
        )

    return [step for step in steps if not finished(step)]


def _records(path: Path) -> Iterable[dict[str, Any]]:
    """Read the file of records, but for lines that were interrupted."""
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []:
        try:
            yield json.loads(line)
        except ValueError:
            continue


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None


def _stamps(step: Conversion) -> list[list[int]]:
    """Look up size, time of change and a sum of the ends of each source.

    Raises:
        DataError: If one is not there any more, or cannot be read.
    """
    try:
        return [_stamp(source) for source in step.sources]
    except FileNotFoundError as error:
        raise DataError(f"'{error.filename}' was there and is missing now. Put it back, or start again.") from error
    except OSError as error:
        raise DataError(f"'{error.filename}' cannot be read: {error.strerror}.") from error


def _stamp(source: Path) -> list[int]:
    with source.open("rb") as file:
        status = os.fstat(file.fileno())
        begin = file.read(_ENDS)
        file.seek(max(len(begin), status.st_size - _ENDS))
        return [status.st_size, status.st_mtime_ns, zlib.crc32(file.read(_ENDS), zlib.crc32(begin))]
