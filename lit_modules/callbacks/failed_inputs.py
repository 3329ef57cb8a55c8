"""Keeps a prediction going past inputs that cannot be predicted, and says which."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.combined_loader import CombinedLoader

from acda.models.contracts import fulfils
from datamodules.batches import Failure
from lit_modules.callbacks.contracts import LeavesOut
from lit_modules.errors import Interrupted, TrainingError, UsageError
from lit_modules.lightning_private import guard_prediction
from lit_modules.output import NAME_ERRORS, gather, output_folder, write_csv

_TOLD = 20
_OF_ALL = (UsageError, TrainingError, Interrupted, MemoryError, torch.OutOfMemoryError, torch.AcceleratorError)
_DEVICE_WORDS = ("CUDA", "can't allocate memory", "not enough memory")
_log = logging.getLogger(__name__)


class FailedInputs(Callback):
    """Let a prediction go on past inputs that cannot be read, predicted or written, and say at its end which and why.

    They are listed in ``failed.csv``, with their ids and reasons, and in a line each on the terminal. Of a batch in
    which one fails the others are predicted one by one. What concerns all inputs ends the prediction at once: a full
    disk, memory that is used up, a configuration that does not fit; and an error in the network, or in reading, that
    the data does not explain, if it comes for the first ``patience`` inputs without one that succeeds, or for all.

    On the command line the exit code is then 1. In Python ``Trainer.predict`` raises nothing for such inputs: after it
    ``failures`` has them, and what it returns has an entry for each batch, without those that failed; one in which an
    input failed comes in several entries. Tasks have this callback; a module of one's own gets it by
    ``Trainer(callbacks=[FailedInputs()])``, and without it the first input that fails raises its error.

    Needs batches with ids. Files that cannot be read are left out by the loaders of this project's data modules.

    Args:
        patience: See above. Default: 16.

    Attributes:
        failures: What failed in the last prediction, in all processes, by id.
        predicted: How many inputs did not.
    """

    def __init__(self, patience: int = 16) -> None:
        if patience < 1:
            raise ValueError(f"patience must be at least 1, got {patience}")
        self.patience = patience
        self.failures: list[Failure] = []
        self.predicted = 0
        self.table = Path()
        self._unexplained = 0
        self._first: Exception | None = None
        self._loaders: list[LeavesOut] = []

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take note of failures from now on."""
        self.failures, self.predicted, self._unexplained, self._first = [], 0, 0, None
        self.table = output_folder(trainer) / "failed.csv"
        if trainer.is_global_zero:
            self.table.unlink(missing_ok=True)
        loaders = CombinedLoader(trainer.predict_dataloaders, "sequential").flattened
        self._loaders = [loader for loader in loaders if fulfils(loader, LeavesOut)]
        for loader in self._loaders:
            loader.on_failure = self._note_unread
        guard_prediction(trainer, self._predict)

    def on_predict_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """List what failed.

        Raises:
            Exception: The first one, if there were errors that the data does not explain and no input was predicted.
        """
        self._let_go()
        parts = gather(trainer, (self.predicted, self.failures))
        self.predicted = sum(predicted for predicted, _ in parts)
        if not self.predicted and self._first is not None:
            raise self._first
        self._first = None
        by_id = {failure.id: failure for _, failures in parts for failure in failures}
        self.failures = [by_id[name] for name in sorted(by_id)]
        if self.failures and trainer.is_global_zero:
            write_csv(self.table, ["id", "reason"], [(failure.id, failure.reason) for failure in self.failures])
            self._tell()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Let loaders raise what they cannot read, as before."""
        self._let_go()

    def _let_go(self) -> None:
        for loader in self._loaders:
            del loader.on_failure
        self._loaders = []

    def _tell(self) -> None:
        for failure in self.failures[:_TOLD]:
            _log.warning("%s", failure.reason)
        others = len(self.failures) - _TOLD
        more = f", {others} of them not shown here" if others > 0 else ""
        _log.warning(
            "%d of %d inputs failed%s: listed in %s",
            *(len(self.failures), len(self.failures) + self.predicted, more, self.table),
        )

    def _predict(self, predict: Callable[[Any], None], batch: Any) -> None:
        """Predict a batch, and if that fails each of its samples alone."""
        names = getattr(batch, "id", None)
        if not names:
            predict(batch)
            return
        try:
            predict(batch)
        except Exception as error:
            if _concerns_all(error):
                raise
            if len(names) == 1:
                _log.debug("'%s' failed", names[0], exc_info=True)
                self._note(Failure(names[0], _one_line(f"'{names[0]}' failed: {_describe(error)}")), error)
                return
        else:
            self.predicted += len(names)
            self._first = None
            return
        for index in range(len(names)):  # out of the handler, which keeps the batch's memory
            self._predict(predict, type(batch)(*(field[index : index + 1] for field in batch)))

    def _note_unread(self, failure: Failure) -> None:
        failure = failure._replace(reason=_one_line(failure.reason))
        self._note(failure, RuntimeError(failure.traceback) if failure.traceback else None)

    def _note(self, failure: Failure, error: Exception | None) -> None:
        self.failures.append(failure)
        if error is None or self.predicted:
            return
        self._unexplained += 1
        if self._first is None:
            error.add_note(f"in predicting '{failure.id}'")
            self._first = error
        if self._unexplained >= self.patience:
            raise self._first


def _concerns_all(error: Exception) -> bool:
    if isinstance(error, OSError):
        return error.errno not in NAME_ERRORS
    if isinstance(error, _OF_ALL):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _DEVICE_WORDS)


def _describe(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"'{error.filename}' cannot be written: {error.strerror}"
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _one_line(text: str) -> str:
    """Escape what would break a line or a terminal, which names of files may hold."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
