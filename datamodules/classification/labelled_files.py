"""Labelled images that are read from their files when they are asked for."""

import logging
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import overload

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from datamodules.batches import LabelledBatch
from datamodules.errors import DataError
from datamodules.files.readers import read_image
from datamodules.samples import SampleSet, StoredSample, batch_of_one
from datamodules.types import Pixels

_log = logging.getLogger(__name__)


class Paths(Sequence[str]):
    """Many paths, as one array of bytes.

    As a list, each would be an object of its own, whose reference count every worker changes when it looks at it, so
    that in the end each worker holds a copy of all of them.

    Args:
        paths: The paths.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        encoded = [os.fsencode(path) for path in paths]
        self._text = np.frombuffer(b"".join(encoded), np.uint8)
        self._ends = np.cumsum([len(path) for path in encoded], dtype=np.int64)

    def __len__(self) -> int:
        """Count the paths."""
        return len(self._ends)

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> list[str]: ...

    def __getitem__(self, index: int | slice) -> str | list[str]:
        """Return one path, or several."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        position = range(len(self))[index]
        start = self._ends[position - 1] if position else 0
        return os.fsdecode(self._text[start : self._ends[position]].tobytes())


class LabelledFiles(SampleSet[LabelledBatch]):
    """Labelled image files, or a part of them; ids are their paths relative to their folder.

    With ``max_corrupt`` images that cannot be read are skipped: in the place of one comes the next of this part that
    can be read. Each is named once in a warning, with their number so far; a further one is an error. They are counted
    over all workers of a loader and all epochs, on each device.

    Args:
        folder: What the paths are relative to.
        paths: All files.
        labels: Their class indices, int64 ``[M]``.
        indices: The files that belong to this part, in its order.
        transform: From one image, uint8 ``[H, W, 3]``, to a tensor ``[3, H', W']``.
        max_corrupt: How many different files may be skipped. With 0 the error says how to allow some, with None, for
            evaluation, it does not. Default: None.
    """

    def __init__(
        self,
        folder: Path,
        paths: Sequence[str],
        labels: npt.NDArray[np.int64],
        indices: npt.NDArray[np.int64],
        transform: Callable[[Pixels], Tensor],
        max_corrupt: int | None = None,
    ) -> None:
        self._folder = folder
        self._paths = paths
        self._labels = torch.from_numpy(labels)
        self._indices = indices
        self._transform = transform
        self._max_corrupt = max_corrupt
        self._skipped = torch.zeros(len(paths) if max_corrupt else 0, dtype=torch.bool)
        self._skipped.share_memory_()  # type: ignore[no-untyped-call]  # one for all workers

    def __len__(self) -> int:
        """Count the images in this part."""
        return len(self._indices)

    def __getitem__(self, index: int) -> LabelledBatch:
        """Return the image at a position of this part, or the next one that can be read, as a batch of one.

        Raises:
            DataError: If it cannot be read and may not be skipped; names the file.
        """
        if not 0 <= index < len(self):
            raise IndexError(index)
        for step in range(len(self)):
            source = int(self._indices[(index + step) % len(self)])
            path = self._paths[source]
            try:
                pixels = read_image(self._folder / path)
            except DataError as error:
                self._skip(source, error)
                continue
            return LabelledBatch(batch_of_one(self._transform(pixels)), self._labels[source : source + 1], [path])
        raise DataError(f"None of the {len(self)} images to train on in '{self._folder}' can be read.")

    def stored(self, index: int) -> StoredSample:
        """Return the image at a position of this part as it is stored; none takes its place."""
        source = int(self._indices[index])
        path = self._folder / self._paths[source]
        return StoredSample((str(path),), lambda: (read_image(path),), label=int(self._labels[source]))

    def _skip(self, source: int, error: DataError) -> None:
        """Note that a file cannot be read, or raise that it may not be skipped."""
        allowed = self._max_corrupt
        if allowed is None:
            raise error
        if allowed == 0:
            remedy = "Or let training skip up to N such files: --data.init_args.max_corrupt=N."
            raise DataError(f"{error} {remedy}") from error
        if self._skipped[source]:
            return
        # No lock is needed: each worker sets its own flag before it counts, so none of them counts too few.
        self._skipped[source] = True
        count = int(self._skipped.sum())
        if count > allowed:
            raise DataError(
                f"{error} Training may skip {allowed} such files and this is number {count}: allow more with "
                "--data.init_args.max_corrupt=N."
            ) from error
        _log.warning("%s Skipped: number %d of at most %d.", error, count, allowed, extra={"every_rank": True})
