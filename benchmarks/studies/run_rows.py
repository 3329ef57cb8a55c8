"""The rows of a study's runs in their file."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks import records
from benchmarks.machine import machine


class RunRows:
    """Rows of runs, which are written as they come; those of other runs that stand in the file are kept.

    A run is told from others by the columns of its row that are known before it: here ``run``.

    Args:
        path: The file, CSV; None writes nothing.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._rows = records.read(path) if path is not None and path.is_file() else []

    def find(self, run: records.Row, metrics: Sequence[str]) -> records.Row | None:
        """Give what was measured of a run, wherever that was; None if it, or one of the metrics, is not there."""
        for row in self._rows:
            if _is_of(row, run) and all(row.get(metric) for metric in metrics):
                left_out = {*run, *machine()}
                return {key: float(value) for key, value in row.items() if value and key not in left_out}
        return None

    def put(self, run: records.Row, measured: records.Row) -> None:
        """Write the row of a run, in place of its earlier one."""
        if self._path is None:
            return
        row = run | measured
        earlier = [number for number, other in enumerate(self._rows) if _is_of(other, run)]
        if earlier:
            self._rows[earlier[0]] = row
        else:
            self._rows.append(row)
        records.write(self._path, self._rows)


def _is_of(row: records.Row, run: records.Row) -> bool:
    """Whether a row read from a file, or put together here, is one of this run; a row may lack what is empty."""
    return all(str(row.get(key) or "") == str(run.get(key, "")) for key in {*run, "options"})
