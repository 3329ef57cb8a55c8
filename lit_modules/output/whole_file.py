"""Files that appear whole or not at all."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

_LONG = 100


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Write a file under a name of its own, which becomes the final one when all is written.

    What fails or is interrupted leaves the file as it was before, if there was one; only a killed process leaves a
    ``.part`` file beside it.

    Args:
        path: The file; its folder is made.

    Yields:
        Where to write.

    Raises:
        OSError: If it cannot be written, or something is there that is no file, such as a device; names it.
    """
    with name_in_errors(path):
        if path.exists() and not path.is_file():
            raise FileExistsError(errno.EEXIST, "Exists and is no regular file", str(path))
        path.parent.mkdir(parents=True, exist_ok=True)
        # a name that is just short enough would be too long with more after it
        long = len(os.fsencode(path.name)) > _LONG
        unfinished = path.with_name(f"{sha256(os.fsencode(path.name)).hexdigest() if long else path.name}.part")
        try:
            yield unfinished
            os.replace(unfinished, path)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise


@contextmanager
def name_in_errors(path: Path) -> Iterator[None]:
    """Let an error in writing name its file, which Python's does not once the file is open.

    Args:
        path: The file.

    Raises:
        OSError: What was raised, with the file's name if it had none.
    """
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise
