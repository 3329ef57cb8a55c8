import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks import processes
from benchmarks.machine import ROOT

# Stands for cli.py: it says that it began, and, asked to end, that it ended in good order.
PROGRAM = """
import os, pathlib, signal, sys, time
def end(*_):
    pathlib.Path("ended").touch()
    sys.exit(1)
signal.signal(signal.SIGTERM, end)
pathlib.Path("begun.tmp").write_text(str(os.getpid()))
os.rename("begun.tmp", "begun")
time.sleep(120)
"""
# What a shell starts in the background ignores SIGINT.
TAKE_SIGINT = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
CALLS = {
    "study": "from benchmarks.studies import compare, study; study.ROOT = {folder!r}; "
    "compare.main(['a.yaml', '--metric=test/error', '--seeds=1'])",
    "pretrain": "from benchmarks import processes; processes.ROOT = {folder!r}; "
    "from benchmarks.studies import pretrain; pretrain.main(['cifar10', '--runs={folder}/runs'])",
}


def wait_for(file: Path) -> None:
    deadline = time.monotonic() + 120
    while not file.exists():
        assert time.monotonic() < deadline, f"no {file.name}"
        time.sleep(0.05)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "cli.py").write_text(PROGRAM)
    return tmp_path


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("which", CALLS)
def test_what_was_started_ends_with_the_process(which: str, number: int, folder: Path) -> None:
    command = [sys.executable, "-c", TAKE_SIGINT + CALLS[which].format(folder=str(folder))]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        try:
            wait_for(folder / "begun")
            process.send_signal(number)
            error = process.communicate(timeout=60)[1]
        finally:
            process.kill()
    assert process.returncode == 128 + signal.SIGINT, error
    assert "Traceback" not in error
    assert (folder / "ended").exists()
    with pytest.raises(ProcessLookupError):
        os.kill(int((folder / "begun").read_text()), 0)


def test_a_call_ends_after_its_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "ROOT", folder)
    former = signal.getsignal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        processes.call(["cli.py"], 10)
    assert (folder / "ended").exists()
    assert signal.getsignal(signal.SIGTERM) == former


def test_a_call_that_does_not_end_in_good_order_is_killed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "ROOT", folder)
    monkeypatch.setattr(processes, "_GRACE", 1)
    (folder / "cli.py").write_text(PROGRAM.replace("sys.exit(1)", "pass"))
    with pytest.raises(subprocess.TimeoutExpired):
        processes.call(["cli.py"], 10)
    with pytest.raises(ProcessLookupError):
        os.kill(int((folder / "begun").read_text()), 0)


@pytest.mark.parametrize("code", [0, 3])
def test_a_call_gives_the_exit_code(code: int) -> None:
    assert processes.call(["-c", f"raise SystemExit({code})"]) == code
