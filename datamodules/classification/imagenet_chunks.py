"""ImageNet written as litdata's chunks, to be read from object storage by ``StreamingImageNetDataModule``.

``python -m datamodules.classification.imagenet_chunks data/imagenet data/imagenet_chunks`` converts once; copy the
result to where it is to be read. It needs the extra package litdata, ``pip install litdata``.
"""

import argparse
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from datamodules.classification.imagenet import ImageNetDataModule
from datamodules.errors import DataError, check_at_least
from datamodules.files.optional import import_package

_CACHES = ("DATA_OPTIMIZER_CACHE_FOLDER", "DATA_OPTIMIZER_DATA_CACHE_FOLDER")


def convert(data_dir: str, output_dir: str, *, num_workers: int = 1, chunk_bytes: str = "64MB") -> None:
    """Write an ImageNet as litdata's chunks: ``train/``, ``val/`` and the names of the classes, ``classes/``.

    Image files are stored as they are, neither decoded nor checked; in ids bytes that are not UTF-8 are escaped.

    Args:
        data_dir: As for ``ImageNetDataModule``.
        output_dir: Folder to write to; must not exist.
        num_workers: Processes that write. Default: 1.
        chunk_bytes: Size of a chunk. Default: ``"64MB"``.

    Raises:
        ValueError: If ``num_workers`` is below 1.
        DataError: If litdata is missing, ``output_dir`` exists, or the data is not as documented.

    Note:
        Call it from a script guarded by ``if __name__ == "__main__"`` where processes are not forked.
    """
    check_at_least(1, num_workers=num_workers)
    litdata = import_package("litdata", "Streaming")
    output = Path(output_dir).expanduser()
    if output.exists():
        raise DataError(f"output_dir='{output_dir}' exists. Name a new folder, or remove it.")
    data = ImageNetDataModule(data_dir)
    # litdata sets the start method for the whole process; this leaves it as it is.
    options = {"chunk_bytes": chunk_bytes, "start_method": multiprocessing.get_start_method(), "verbose": False}
    parts = {"train": data.train_files, "val": data.val_files}
    with _own_caches(output.parent):
        for split, (paths, labels) in parts.items():
            inputs = list(zip(paths, labels.tolist(), strict=True))
            write = partial(_read_stored, str(data.root))
            litdata.optimize(write, inputs, str(output / split), num_workers=num_workers, **options)
        litdata.optimize(_keep, [data.class_names], str(output / "classes"), num_workers=1, **options)


@contextmanager
def _own_caches(folder: Path) -> Iterator[None]:
    """Give litdata caches of its own: it empties ``data`` and ``chunks`` in the system's folder for temporary files."""
    before = {name: os.environ.get(name) for name in _CACHES}
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".converting-", dir=folder) as caches:
        os.environ |= {name: str(Path(caches, name)) for name in _CACHES}
        try:
            yield
        finally:
            for name, value in before.items():
                os.environ.pop(name)
                if value is not None:
                    os.environ[name] = value


def _read_stored(root: str, described: tuple[str, int]) -> dict[str, Any]:
    """Read what is stored of an image."""
    path, label = described
    name = os.fsencode(path).decode("utf-8", "backslashreplace")  # what is not UTF-8 cannot be stored as text
    return {"image": (Path(root) / path).read_bytes(), "label": label, "id": name}


def _keep(value: Any) -> Any:
    return value


def main(arguments: Sequence[str] | None = None) -> None:
    """Convert as the command line says.

    Args:
        arguments: Those after the program's name. Default: the process's own.

    Raises:
        SystemExit: With 2 if an argument is wrong, with 1 and a message if the data is.
    """
    parser = argparse.ArgumentParser(description="Write an ImageNet as litdata's chunks.")
    parser.add_argument("data_dir", help="folder that holds train/ and val/")
    parser.add_argument("output_dir", help="folder to write to; must not exist")
    parser.add_argument("--num_workers", type=int, default=1, help="processes that write, 1 unless given")
    parser.add_argument("--chunk_bytes", default="64MB", help="size of a chunk, 64MB unless given")
    options = parser.parse_args(arguments)
    try:
        convert(**vars(options))
    except ValueError as error:
        parser.error(str(error))
    except DataError as error:
        parser.exit(1, f"{parser.prog}: error: {error}\n")


if __name__ == "__main__":
    main()
