"""A CSV file that several processes write while they run and that appears whole or not at all."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, Any

from lightning.pytorch import Trainer

from lit_modules.output.whole_file import name_in_errors, whole_file


class RowWriter:
    """Writes rows as they come to a part file for each process, and joins them at the end.

    Rows whose first column (the id) repeats, as when a sampler pads the last batch, are kept once. A run that is
    interrupted leaves its ``.part`` files behind, and no file that looks complete.

    Args:
        path: The final file.
        header: Names of the columns, the id first.
        trainer: Tells the process' rank, and joins them.
    """

    def __init__(self, path: Path, header: Sequence[str], trainer: Trainer) -> None:
        self.path = path
        self.header = list(header)
        self._trainer = trainer
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: IO[str] = _open(self._part(trainer.global_rank), "w")
        self._rows = csv.writer(self._file)

    def _part(self, rank: int) -> Path:
        return self.path.with_name(f"{self.path.name}.rank{rank}.part")

    def write(self, rows: Iterable[Sequence[Any]]) -> None:
        """Append rows; they are on disk when this returns."""
        with name_in_errors(self.path):
            self._rows.writerows(rows)
            self._file.flush()

    def finish(self) -> None:
        """Close the part, and on the first process join all parts, ordered by id, into the final file."""
        self._file.close()
        self._trainer.strategy.barrier("rows written")
        if not self._trainer.is_global_zero:
            return
        parts = [self._part(rank) for rank in range(self._trainer.world_size)]
        rows: dict[str, list[str]] = {}
        for part in parts:
            with _open(part) as file:
                rows.update((row[0], row) for row in csv.reader(file))
        write_csv(self.path, self.header, [rows[key] for key in sorted(rows)])
        for part in parts:
            part.unlink()


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a CSV file that appears whole or not at all.

    Args:
        path: The file; its folder is made.
        header: Names of the columns.
        rows: The rows.
    """
    with whole_file(path) as unfinished, _open(unfinished, "w") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


def _open(path: Path, mode: str = "r") -> IO[str]:
    """Names of files need not be UTF-8: they are written and read as the bytes they are."""
    return path.open(mode, newline="", encoding="utf-8", errors="surrogateescape")
