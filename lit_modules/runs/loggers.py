"""The loggers of a run whose user asks for no others: TensorBoard and a CSV file."""

import csv
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only

from lit_modules.output.whole_file import name_in_errors, whole_file


def make_loggers(run: Path) -> list[Logger]:
    """TensorBoard events and ``metrics.csv``, both in the run folder."""
    number = run.name.removeprefix("version_")
    version = int(number) if number.isdigit() else run.name  # a number is what the progress bar shows best
    events = EventFile(run.parent, name="", version=version, default_hp_metric=False)
    return [events, MetricsFile(run / "metrics.csv", version)]


class EventFile(TensorBoardLogger):
    """TensorBoard's events; an error in writing them names their file, which TensorBoard's does not."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Pass them to the thread that writes."""
        with self._named():
            super().log_metrics(metrics, step)

    @rank_zero_only
    def save(self) -> None:
        """Wait until all is written."""
        with self._named():
            super().save()

    @rank_zero_only
    def begin_session(self, hyper_parameters: Mapping[str, bool | float | str]) -> None:
        """Write what the tab HPARAMS of TensorBoard shows of a run, beside all metrics in its folder and those below.

        Not which metrics there are: TensorBoard would take the list of one run for all.
        """
        _, start, _ = _summarise(hyper_parameters)
        self._add(start)

    @rank_zero_only
    def end_session(self) -> None:
        """Write that the run has come to its end."""
        _, _, end = _summarise({})
        self._add(end)

    def _add(self, summary: Any) -> None:
        with self._named():
            self.experiment.file_writer.add_summary(summary)

    @contextmanager
    def _named(self) -> Iterator[None]:
        with name_in_errors(Path(self.log_dir, "events.out.tfevents.*")):
            try:
                yield
            except ValueError as error:
                if isinstance(error.__cause__, OSError):  # Lightning takes any error for one of the metric's type
                    raise error.__cause__ from None
                raise


def _summarise(hyper_parameters: Mapping[str, bool | float | str]) -> tuple[Any, Any, Any]:
    """Give TensorBoard's summaries: which there are, that a session begins with these, that it has ended."""
    from torch.utils.tensorboard.summary import hparams

    summaries: tuple[Any, Any, Any] = hparams(dict(hyper_parameters), {})  # type: ignore[no-untyped-call]
    return summaries


class MetricsFile(Logger):
    """Append every logged metric to a CSV file.

    Lightning's ``CSVLogger`` deletes an existing file when a run is resumed in its folder. This one goes on in it;
    a new column is added by writing a new file that replaces the old one, so no row is ever lost.

    Args:
        path: The file.
        version: Lightning's name for the run.
    """

    def __init__(self, path: Path, version: int | str) -> None:
        super().__init__()
        self.path = path
        self._version = version
        self._columns: list[str] = []

    @property
    def name(self) -> str:
        """Lightning's name for a group of runs: none."""
        return ""

    @property
    def version(self) -> int | str:
        """Lightning's name for the run."""
        return self._version

    @property
    def save_dir(self) -> str:
        """The experiment's folder."""
        return str(self.path.parent.parent)

    @rank_zero_only
    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: the configuration file has them."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Write one row."""
        row = {"epoch": None, "step": step, **metrics}
        if not self._columns:
            self._columns = self._read()[0]
        new = [key for key in row if key not in self._columns]
        if not new and self.path.exists():
            self._append(row)
            return
        rows = self._read()[1]
        self._columns += new
        with whole_file(self.path) as unfinished, unfinished.open("w", newline="") as file:
            writer = csv.DictWriter(file, self._columns)
            writer.writeheader()
            writer.writerows([*rows, row])

    def _read(self) -> tuple[list[str], list[dict[str, Any]]]:
        if not self.path.exists():
            return [], []
        with self.path.open(newline="") as file:
            reader = csv.DictReader(file)
            return list(reader.fieldnames or []), list(reader)

    def _append(self, row: dict[str, Any]) -> None:
        size = self.path.stat().st_size
        try:
            with name_in_errors(self.path), self.path.open("a", newline="") as file:
                csv.DictWriter(file, self._columns).writerow(row)
        except OSError:
            os.truncate(self.path, size)  # the beginning of a row would be taken for a row
            raise
