"""The loggers of a run whose user asks for no others: TensorBoard and a CSV file."""

import csv
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only


def default_loggers(run: Path) -> list[Logger]:
    """TensorBoard events and ``metrics.csv``, both in the run folder."""
    number = run.name.removeprefix("version_")
    version = int(number) if number.isdigit() else run.name  # a number is what the progress bar shows best
    tensorboard = TensorBoardLogger(run.parent, name="", version=version, default_hp_metric=False)
    return [tensorboard, MetricsFile(run / "metrics.csv", version)]


class MetricsFile(Logger):
    """Appends every logged metric to a CSV file.

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
        """Does nothing: the configuration file has them."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Writes one row."""
        row = {"epoch": None, "step": step, **metrics}
        if not self._columns:
            self._columns = self._read()[0]
        new = [key for key in row if key not in self._columns]
        if not new:
            self._write(self.path, "a", [row])
            return
        rows = self._read()[1]
        self._columns += new
        self._write(self.path.with_suffix(".tmp"), "w", [*rows, row])
        os.replace(self.path.with_suffix(".tmp"), self.path)

    def _read(self) -> tuple[list[str], list[dict[str, Any]]]:
        if not self.path.exists():
            return [], []
        with self.path.open(newline="") as file:
            reader = csv.DictReader(file)
            return list(reader.fieldnames or []), list(reader)

    def _write(self, path: Path, mode: str, rows: list[dict[str, Any]]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open(mode, newline="") as file:
            writer = csv.DictWriter(file, self._columns)
            if mode == "w":
                writer.writeheader()
            writer.writerows(rows)
