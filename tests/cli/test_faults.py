"""Which errors are told in a few words, and that all others keep their traceback."""

import errno
import os
from pathlib import Path

import pytest
import torch
from torch.multiprocessing.reductions import rebuild_storage_fd

import cli
from lit_modules.cli.faults import explain
from lit_modules.errors import TrainingError
from tests.cli.conftest import run


def raised_from(error: Exception, cause: Exception | None = None, context: Exception | None = None) -> Exception:
    """Make an error as it is when it was raised from another one, or while another was handled."""
    try:
        if cause is not None:
            raise error from cause
        try:
            raise context or ValueError
        except Exception:
            raise error  # noqa: B904
    except Exception as caught:
        return caught


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS])
@pytest.mark.parametrize("name", [None, "runs/file"])
def test_a_file_that_cannot_be_written(number: int, name: str | None) -> None:
    text = explain(OSError(number, os.strerror(number), name))
    assert text is not None
    assert os.strerror(number) in text
    assert "'runs/file'" in text or name is None
    assert "--trainer.default_root_dir=FOLDER" in text


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EIO])
def test_a_file_that_cannot_be_reached(number: int) -> None:
    text = explain(OSError(number, os.strerror(number), "runs/file"))
    assert text is not None
    assert text.startswith("'runs/file'")
    assert os.strerror(number) in text
    assert explain(OSError(number, os.strerror(number))) is None  # no file: no fault of one


def test_a_fault_is_found_within_others() -> None:
    full = OSError(errno.ENOSPC, "No space left on device", "file")
    text = explain(full)
    assert explain(raised_from(ValueError("odd"), cause=full)) == text
    assert explain(raised_from(ValueError("odd"), context=full)) == text
    assert explain(raised_from(ValueError("odd"), cause=KeyError("a"), context=full)) is None


@pytest.mark.parametrize(
    "how", ["is killed by signal: Killed.", "is killed by signal: Bus error. It is possible", "exited unexpectedly"]
)
def test_a_worker_that_was_killed(how: str) -> None:
    pid = "(pid(s) 12, 13)" if "exited" in how else "(pid 12)"
    text = explain(RuntimeError(f"DataLoader worker {pid} {how}"))
    assert text is not None
    for words in ("memory", "/dev/shm", "num_workers=0", "--ckpt_path last"):
        assert words in text
    assert ("Bus error" in text) == ("Bus error" in how)


class GoneAway:
    """What a batch in shared memory is asked from, when its worker was killed."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def detach(self) -> int:
        raise self.error


@pytest.mark.parametrize("error", [ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), EOFError()])
def test_a_worker_that_was_killed_while_it_handed_over_a_batch(error: Exception) -> None:
    with pytest.raises(type(error)) as raised:
        rebuild_storage_fd(torch.UntypedStorage, GoneAway(error), 8)
    text = explain(raised.value)
    assert text is not None
    assert "num_workers=0" in text


def test_a_gpu_without_free_memory() -> None:
    text = explain(
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total of 8 GiB.")
    )
    assert text is not None
    assert "Tried to allocate 2.00 GiB." in text
    for words in ("batches", "tile", "--trainer.precision"):
        assert words in text
    assert len(text.splitlines()) == 1


@pytest.mark.parametrize(
    "error",
    [
        ValueError("No space left on device"),
        RuntimeError("mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)"),
        FileNotFoundError(errno.ENOENT, "No such file or directory", "file"),
        OSError("30000 requested and 4872 written"),
        ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
        EOFError(),
        MemoryError(),
        KeyboardInterrupt(),
    ],
)
def test_everything_else_is_left_alone(error: BaseException) -> None:
    assert explain(error) is None


def failing(error: Exception) -> type:
    class Failing:
        def __init__(self, args: object) -> None:
            raise error

    return Failing


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device", "file"), TrainingError("no more")])
def test_faults_are_told_and_debugging_shows_where_they_were_raised(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "CLI", failing(error))
    with pytest.raises(SystemExit) as ended:
        run("fit")
    assert ended.value.code == 1
    assert capsys.readouterr().err == f"error: {explain(error) or error}\n"
    monkeypatch.setenv("ACDA_DEBUG", "1")
    with pytest.raises(type(error)):
        run("fit")


def test_errors_of_the_program_are_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "CLI", failing(FileNotFoundError(errno.ENOENT, "No such file", str(Path("file")))))
    with pytest.raises(FileNotFoundError):
        run("fit")
