"""Files named after the inputs that they are results of."""

import errno
import os
import stat
from hashlib import sha256
from pathlib import Path
from unicodedata import normalize

from lightning.pytorch import Trainer
from lightning.pytorch.utilities import rank_zero_info

from lit_modules.output.output_folder import gather, output_folder
from lit_modules.output.row_writer import write_csv

NAME_ERRORS = (
    *(errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL),  # which names there may be, a file system decides
    *(errno.EEXIST, errno.ENOTDIR, errno.EISDIR),
)
"""Errors in writing a file that are of its name: others may be written."""
_KEPT = 100


class ResultFiles:
    """Gives each input of a prediction file names of its own, in a folder within that of the results.

    They are the input's id with an ending. Where that cannot be, a short name that no other has takes its place, and
    a table beside the folder says whose it is: where the id is too long, names a folder of another input's
    results, or is the name of another input of this process to a file system that does not tell capitals from small
    letters.

    Args:
        trainer: The running trainer; all processes make one together.
        folder: Name of the folder. Default: ``predictions``.
        table: Name of the table. Default: ``renamed.csv``.

    Attributes:
        folder: Where the files go.
    """

    def __init__(self, trainer: Trainer, folder: str = "predictions", table: str = "renamed.csv") -> None:
        self._trainer = trainer
        self._table = output_folder(trainer) / table
        self.folder = self._table.with_name(folder)
        if trainer.is_global_zero:
            self._table.unlink(missing_ok=True)
        self._renamed: dict[str, str] = {}
        self._given: dict[str, str] = {}  # names, by how the least particular file system writes them

    def choose(self, name: str, *endings: str, base: str | None = None) -> list[Path]:
        """Choose the files for the results of an input, and make their folder.

        Args:
            name: The input's id.
            *endings: How the names of the files end.
            base: What comes before. Default: the id.

        Returns:
            A path for each ending.

        Raises:
            OSError: If no file can be written.
        """
        base = name if base is None else base
        try:
            paths = [self.folder / f"{base}{ending}" for ending in endings]
            if self._is_free(base, paths):
                return paths
        except OSError as error:
            if error.errno not in NAME_ERRORS:
                raise
        base = shorten(name)
        self._renamed[name] = base
        return [self.folder / f"{base}{ending}" for ending in endings]

    def finish(self) -> None:
        """Write which inputs' files have other names, if any; all processes do so together."""
        renamed = {name: base for part in gather(self._trainer, self._renamed) for name, base in part.items()}
        if renamed and self._trainer.is_global_zero:
            write_csv(self._table, ["id", "name"], sorted(renamed.items()))
            rank_zero_info(f"Files of {len(renamed)} inputs could not get their names, but others: {self._table}")

    def _is_free(self, base: str, paths: list[Path]) -> bool:
        paths[0].parent.mkdir(parents=True, exist_ok=True)
        other = self._given.setdefault(normalize("NFC", base).casefold(), base)
        for path in paths:
            try:
                if stat.S_ISDIR(path.stat().st_mode):
                    return False
                ending = path.name.removeprefix(Path(base).name)
                if other != base and path.samefile(self.folder / f"{other}{ending}"):
                    return False
            except FileNotFoundError:
                continue
        return True


def shorten(name: str) -> str:
    """Make a short name of an input's id: its last part, or the beginning of that, and what no other has.

    Args:
        name: The id.

    Returns:
        At most 113 bytes in UTF-8, without folders.
    """
    last = name.rpartition("/")[2].encode("utf-8", "replace")[:_KEPT].decode("utf-8", "ignore")
    return f"{last}-{sha256(os.fsencode(name)).hexdigest()[:12]}"
