"""Files that appear whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Write a file under a name of its own, which becomes the final one when all is written.

    What is interrupted leaves a ``.part`` file behind, and the file as it was before, if there was one.

    Args:
        path: The file; its folder is made.

    Yields:
        Where to write.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.part")
    yield unfinished
    os.replace(unfinished, path)
