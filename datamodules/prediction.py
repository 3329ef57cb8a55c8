"""Batches to predict, in which a file that cannot be read is no end of the others."""

import errno
import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from torch.utils.data import DataLoader

from datamodules.batches import Failure
from datamodules.errors import DataError
from datamodules.samples import Batch, InputFiles, SampleSet

_OF_THE_MACHINE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
_Collate = Callable[[Sequence[Any]], Any]


def raise_failure(failure: Failure) -> None:
    """Raise what kept an input from being read.

    Args:
        failure: What is known of it.

    Raises:
        DataError: If the data explains it.
        RuntimeError: If it does not; with the traceback as text.
    """
    if failure.traceback:
        raise RuntimeError(f"'{failure.id}' cannot be predicted:\n{failure.traceback}")
    raise DataError(failure.reason)


class PredictionLoader(DataLoader[Batch]):
    """Batches without the samples that cannot be read, each of which is handed to ``on_failure``.

    Where all samples of a batch are such, the batch is left out.

    Attributes:
        on_failure: What is done with a failure, in the main process. Default: :func:`raise_failure`.
    """

    on_failure: Callable[[Failure], None] = staticmethod(raise_failure)

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]  # torch promises a class of its own
        """Go through the batches."""
        for batch, failures in super().__iter__():
            for failure in failures:
                self.on_failure(failure)
            if batch is not None:
                yield batch


def make_prediction_loader(samples: InputFiles[Batch], collate_fn: _Collate, **loading: Any) -> PredictionLoader[Batch]:
    """Make a loader of files to predict.

    Args:
        samples: The samples.
        collate_fn: Joins samples into a batch.
        **loading: Further arguments of ``DataLoader``.

    Returns:
        The loader.
    """
    return PredictionLoader(_Attempts(samples), collate_fn=partial(_part, collate_fn), **loading)


def is_of_the_machine(error: DataError) -> bool:
    """Tell whether an error in reading a file is about the machine, such as too many open files, and not about it."""
    return isinstance(error.__cause__, OSError) and error.__cause__.errno in _OF_THE_MACHINE


class _Attempts(SampleSet[Any]):
    """Samples, or what kept them from being read."""

    def __init__(self, samples: InputFiles[Any]) -> None:
        self._samples = samples

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Any:
        name = self._samples.ids[index]
        try:
            return self._samples[index]
        except DataError as error:
            if is_of_the_machine(error):
                raise
            return Failure(name, str(error))
        except MemoryError as error:
            return Failure(name, f"'{name}' is too large for the memory that is free: {error}".rstrip(": "))
        except Exception as error:
            return Failure(name, f"'{name}': {type(error).__name__}: {error}", traceback.format_exc())


def _part(collate: _Collate, attempts: Sequence[Any]) -> tuple[Any, list[Failure]]:
    """Part samples, joined into a batch, from failures; None for a batch without samples."""
    failures = [attempt for attempt in attempts if isinstance(attempt, Failure)]
    samples = [attempt for attempt in attempts if not isinstance(attempt, Failure)]
    return (collate(samples) if samples else None), failures
