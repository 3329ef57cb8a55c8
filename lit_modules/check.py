"""What a data module holds, told and drawn before anything is trained on it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
from PIL import Image, PngImagePlugin, UnidentifiedImageError

from acda.models.contracts import fulfils
from lit_modules.errors import CheckError, UsageError
from lit_modules.output import whole_file

_KEY, _MARK = "Software", "acda check"  # a text in the PNG file, by which a check knows its own pictures


class Survey(Protocol):
    """What was found in the data."""

    @property
    def lines(self) -> Sequence[str]:
        """All there is to say of it."""
        ...

    @property
    def num_faults(self) -> int:
        """How many things are wrong."""
        ...

    @property
    def picture(self) -> npt.NDArray[np.uint8]:
        """What it looks like, RGB ``[H, W, 3]``."""
        ...


@runtime_checkable
class Surveyed(Protocol):
    """A data module that can tell what it holds."""

    def survey(self) -> Survey:
        """Read everything once."""
        ...


def check_data(datamodule: Any, path: Path) -> None:
    """Read all data once, print what it is and what is wrong with it, and save a contact sheet.

    Args:
        datamodule: The data module.
        path: Of the contact sheet, PNG; replaces that of an earlier check, and nothing else.

    Raises:
        UsageError: If the data module cannot be asked, or something else is at ``path``.
        DataError: If data is missing or damaged so that there is nothing to read.
        CheckError: If something is wrong, once all is told.
    """
    if not fulfils(datamodule, Surveyed):
        raise UsageError(
            f"{type(datamodule).__name__} cannot be checked: derive it from datamodules.ImageDataModule, or give it a "
            "method survey() that returns lines, num_faults and picture"
        )
    if not may_replace(path):
        raise UsageError(f"'{path}' exists and is no picture of an earlier check: name another file with --output")
    survey = datamodule.survey()
    print("\n".join(survey.lines), flush=True)
    _save(path, survey.picture)
    print(f"Contact sheet: {path}", flush=True)
    if survey.num_faults:
        things = "thing is" if survey.num_faults == 1 else "things are"
        raise CheckError(f"{survey.num_faults:,} {things} wrong with the data, listed above")


def may_replace(path: Path) -> bool:
    """Tell whether nothing is at a path, or a picture that a check has saved."""
    if not path.exists() and not path.is_symlink():
        return True
    try:
        with Image.open(path) as file:
            return bool(file.info.get(_KEY) == _MARK)
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError):
        return False


def _save(path: Path, picture: npt.NDArray[np.uint8]) -> None:
    notes = PngImagePlugin.PngInfo()
    notes.add_text(_KEY, _MARK)
    with whole_file(path) as unfinished:
        Image.fromarray(picture).save(unfinished, format="PNG", pnginfo=notes)
