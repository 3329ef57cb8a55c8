import errno
import os
from pathlib import Path

import pytest

from lit_modules.output import name_in_errors, whole_file, write_csv


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device")])
def test_what_fails_leaves_the_previous_file_and_nothing_else(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "file.txt"
    path.write_text("first")
    with pytest.raises(type(error)), whole_file(path) as unfinished:
        unfinished.write_text("seco")
        raise error
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("length", [1, 100, 101, 250, 255])
def test_a_name_may_be_as_long_as_the_file_system_has_it(tmp_path: Path, length: int) -> None:
    path = tmp_path / ("n" * length)
    for text in ("first", "second"):
        with whole_file(path) as unfinished:
            unfinished.write_text(text)
            assert unfinished.suffix == ".part"
    assert path.read_text() == "second"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"No space .*file\.txt"), whole_file(tmp_path / "file.txt"):
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(OSError, match="another"), name_in_errors(tmp_path / "file.txt"):
        raise OSError(errno.ENOSPC, "No space left on device", "another")


def test_only_a_file_is_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder"):
        with pytest.raises(FileExistsError, match=name):
            write_csv(tmp_path / name, ["id"], [])
    assert (tmp_path / "pipe").is_fifo()
    assert {path.name for path in tmp_path.iterdir()} == {"pipe", "folder"}


def test_interrupted_writing_leaves_the_previous_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.json"
    with whole_file(path) as unfinished:
        unfinished.write_text("first")
        assert not path.exists()
    with pytest.raises(KeyboardInterrupt), whole_file(path) as unfinished:
        unfinished.write_text("seco")
        raise KeyboardInterrupt
    assert path.read_text() == "first"
